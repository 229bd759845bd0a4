//! What a caller can choose for one dump.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The protocol written when none is asked for: the highest of every Python supported.
pub(crate) const HIGHEST_PROTOCOL: u8 = 5;
/// Older protocols are read by every Python there is, and nothing needs them.
pub(crate) const LOWEST_PROTOCOL: u8 = 2;

/// Reducers written in Python, by type.
pub(crate) struct Reducers {
    /// Used for instances of exactly this type.
    pub(crate) always: Py<PyDict>,
    /// Used for subclasses that have no reducer of their own.
    pub(crate) subclasses: Py<PyDict>,
    /// Used where an object reduces to a name that the receiver cannot import.
    pub(crate) unnamed: Py<PyDict>,
}

/// See the module's sentence.
pub(crate) struct Options<'py> {
    pub(crate) protocol: u8,
    pub(crate) fix_imports: bool,
    pub(crate) buffer_callback: Option<Bound<'py, PyAny>>,
    pub(crate) persistent_id: Option<Bound<'py, PyAny>>,
    pub(crate) reducer_override: Option<Bound<'py, PyAny>>,
    /// Reducers by type that take the place of `copyreg.dispatch_table`.
    pub(crate) dispatch_table: Option<Bound<'py, PyAny>>,
    /// Reducers of our own for what the standard library refuses.
    pub(crate) reducers: Option<&'static Reducers>,
    /// Whether the receiver has PySpark, and is to know classes by their keys there, too.
    pub(crate) for_pyspark: bool,
    /// Modules whose functions and classes go by value, their submodules included.
    pub(crate) by_value: Vec<String>,
}

impl Options<'_> {
    /// All defaults.
    ///
    /// # Errors
    /// `ValueError` for a protocol that is not written here.
    pub(crate) fn new(protocol: Option<i64>) -> PyResult<Self> {
        let protocol = match protocol {
            None => HIGHEST_PROTOCOL,
            Some(number) if number < 0 => HIGHEST_PROTOCOL,
            Some(number) => u8::try_from(number)
                .ok()
                .filter(|number| (LOWEST_PROTOCOL..=HIGHEST_PROTOCOL).contains(number))
                .ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "pickle protocol must be between {LOWEST_PROTOCOL} and {HIGHEST_PROTOCOL}, not {number}"
                    ))
                })?,
        };
        Ok(Self {
            protocol,
            fix_imports: true,
            buffer_callback: None,
            persistent_id: None,
            reducer_override: None,
            dispatch_table: None,
            reducers: None,
            for_pyspark: false,
            by_value: Vec::new(),
        })
    }

    /// Whether objects of `module` are to go by value although they can be imported.
    pub(crate) fn is_by_value(&self, module: &str) -> bool {
        self.by_value
            .iter()
            .any(|name| module.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }
}
