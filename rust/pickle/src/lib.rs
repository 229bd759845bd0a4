//! By-value pickling of Python objects. Knows no Arrow and no Spark.
//!
//! A writer of pickles (protocol 4 and 5) of its own: what it writes is read by the standard library's `pickle.loads`, in
//! an interpreter of the same minor version that has neither this library nor cloudpickle. Functions that the receiver
//! cannot import travel by value.
//!
//! - [`pickler`]: the loop, with an explicit stack instead of recursion;
//! - [`opcodes`]: the bytes of the protocol;
//! - [`function`]: functions by value;
//! - [`code`]: which globals a code object names;
//! - [`reference`]: what the receiver can import;
//! - [`path`]: where in the object something could not be pickled.

mod code;
mod function;
mod opcodes;
mod path;
mod pickler;
mod reference;

use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyModule},
};

use pickler::Pickler;

/// The newest protocol, and the default.
pub const HIGHEST_PROTOCOL: u8 = 5;
const LOWEST_PROTOCOL: u8 = 4;

/// Pickles `object`.
///
/// # Errors
/// `pickle.PicklingError` with the path to what could not be pickled; `ValueError` for a protocol that is not written.
#[pyfunction]
#[pyo3(signature = (object, protocol = None))]
pub fn dumps<'py>(
    py: Python<'py>,
    object: &Bound<'py, PyAny>,
    protocol: Option<i64>,
) -> PyResult<Bound<'py, PyBytes>> {
    let protocol = match protocol {
        None | Some(-1) => HIGHEST_PROTOCOL,
        Some(number) => u8::try_from(number)
            .ok()
            .filter(|number| (LOWEST_PROTOCOL..=HIGHEST_PROTOCOL).contains(number))
            .ok_or_else(|| PyValueError::new_err(format!("protocol {number} is not written, only 4 and 5 are")))?,
    };
    let bytes = Pickler::new(py, protocol)?.dump(object)?;
    Ok(PyBytes::new(py, &bytes))
}

/// Adds the functions of this crate to a module.
///
/// # Errors
/// What Python raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(dumps, module)?)
}
