//! What Python calls.

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::memo::Memo;
use crate::options::{Options, Reducers};
use crate::save::Saver;

static REDUCERS: PyOnceLock<Reducers> = PyOnceLock::new();

/// Hands over the reducers for what the standard library refuses: see `python/rudf/_pickle_reducers.py`.
///
/// `always` and `unnamed` go by exact type, `subclasses` by base class. The first call counts.
#[pyfunction]
pub(crate) fn pickle_set_reducers(
    py: Python<'_>,
    always: Py<PyDict>,
    subclasses: Py<PyDict>,
    unnamed: Py<PyDict>,
) -> PyResult<()> {
    REDUCERS.get_or_init(py, || Reducers { always, subclasses, unnamed });
    Ok(())
}

/// Pickles `obj`.
///
/// `protocol` is 2 to 5 (the default). `by_value` holds names of modules whose functions and classes go by value. Where
/// the receiver is a worker of PySpark, `for_pyspark` has its own pickler know the classes that travel.
#[pyfunction]
#[pyo3(signature = (obj, protocol=None, buffer_callback=None, by_value=Vec::new(), for_pyspark=false))]
pub(crate) fn pickle_dumps<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    protocol: Option<i64>,
    buffer_callback: Option<Bound<'py, PyAny>>,
    by_value: Vec<String>,
    for_pyspark: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut options = Options::new(protocol)?;
    options.for_pyspark = for_pyspark;
    options.buffer_callback = buffer_callback;
    options.by_value = by_value;
    options.reducers = REDUCERS.get(py);
    let mut saver = Saver::new(py, options, Memo::fresh())?;
    saver.run(obj)?;
    let payload = saver.writer.finish(py, b"");
    saver.memo.retire(py);
    payload
}

/// What goes into the pickle of `obj`: its size, and the tree of parts that `trace.rs` describes.
#[pyfunction]
#[pyo3(signature = (obj, protocol=None, by_value=Vec::new()))]
pub(crate) fn pickle_explain<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    protocol: Option<i64>,
    by_value: Vec<String>,
) -> PyResult<(usize, Option<Bound<'py, PyTuple>>)> {
    let mut options = Options::new(protocol)?;
    options.by_value = by_value;
    options.reducers = REDUCERS.get(py);
    let mut saver = Saver::new(py, options, Memo::default())?;
    saver.start_trace();
    saver.run(obj)?;
    let trace = saver.trace.take();
    let size = saver.writer.finish(py, b"")?.as_bytes().len();
    let tree = trace.map(|trace| trace.into_tree(py, size)).transpose()?.flatten();
    Ok((size, tree))
}

/// The state of a `Pickler`: what it has written so far.
#[pyclass(module = "rudf._native")]
pub(crate) struct PickleMemo {
    memo: Memo,
}

#[pymethods]
impl PickleMemo {
    #[new]
    fn new() -> Self {
        Self { memo: Memo::default() }
    }

    /// Forgets everything.
    fn clear(&mut self) {
        self.memo = Memo::default();
    }

    /// Takes over `{id: (number, object)}`, as `copy` gives it.
    fn restore(&mut self, entries: &Bound<'_, PyDict>) -> PyResult<()> {
        let mut objects = Vec::with_capacity(entries.len());
        for entry in entries.values() {
            let Ok((number, obj)) = entry.extract::<(u32, Bound<'_, PyAny>)>() else {
                return Err(PyTypeError::new_err("'memo' values must be 2-item tuples"));
            };
            objects.push((number, obj));
        }
        self.memo = Memo::from_objects(objects.into_iter());
        Ok(())
    }

    /// A pickler may be part of what it has pickled.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.memo.kept().iter().try_for_each(|obj| visit.call(obj))
    }

    fn __clear__(&mut self) {
        self.memo = Memo::default();
    }

    /// `{id: (number, object)}`, as `pickle.Pickler.memo` has it.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let copy = PyDict::new(py);
        for (address, number, obj) in self.memo.objects() {
            copy.set_item(address, (number, obj))?;
        }
        Ok(copy)
    }

    /// Pickles `obj` as `pickler` asks for: its `dispatch_table`, `reducer_override`, `persistent_id`.
    #[pyo3(signature = (obj, protocol, fix_imports, buffer_callback, by_value, hooks))]
    #[allow(clippy::too_many_arguments)]
    fn dump<'py>(
        &mut self,
        py: Python<'py>,
        obj: &Bound<'py, PyAny>,
        protocol: i64,
        fix_imports: bool,
        buffer_callback: Option<Bound<'py, PyAny>>,
        by_value: Vec<String>,
        hooks: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let hook = |index: usize| -> PyResult<Option<Bound<'py, PyAny>>> {
            hooks.get_item(index).map(|hook| (!hook.is_none()).then_some(hook))
        };
        let mut options = Options::new(Some(protocol))?;
        options.fix_imports = fix_imports;
        options.buffer_callback = buffer_callback;
        options.by_value = by_value;
        options.dispatch_table = hook(0)?;
        options.reducer_override = hook(1)?;
        options.persistent_id = hook(2)?;
        options.reducers = REDUCERS.get(py);
        let mut saver = Saver::new(py, options, std::mem::take(&mut self.memo))?;
        let mark = saver.memo.mark();
        let outcome = saver.run(obj);
        self.memo = std::mem::take(&mut saver.memo);
        let payload = outcome.and_then(|()| saver.writer.finish(py, b""));
        if payload.is_err() {
            self.memo.rewind(&mark);
        }
        payload
    }
}

/// The names that the code of a function loads from its globals, nested code included.
#[pyfunction]
pub(crate) fn pickle_code_globals<'py>(py: Python<'py>, code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let mut saver = Saver::new(py, Options::new(None)?, Memo::default())?;
    let names = PyDict::new(py);
    for name in &saver.code_facts(code)?.globals {
        names.set_item(name, py.None())?;
    }
    Ok(names)
}

/// The module and name under which a receiver would import `obj`, or `None` if it goes by value.
#[pyfunction]
#[pyo3(signature = (obj, name=None, by_value=Vec::new()))]
pub(crate) fn pickle_reference<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    name: Option<Bound<'py, pyo3::types::PyString>>,
    by_value: Vec<String>,
) -> PyResult<Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    let mut options = Options::new(None)?;
    options.by_value = by_value;
    let saver = Saver::new(py, options, Memo::default())?;
    let found = match name {
        Some(name) => saver.reference_as(obj, name)?,
        None => saver.reference(obj)?,
    };
    let Some(found) = found else { return Ok(None) };
    let module = saver.modules.as_any().call_method1(intern!(py, "get"), (&found.module,))?;
    Ok(Some((module, found.name.into_any())))
}

/// The name of the module that `obj` is from: what it says, or the one that is found to hold it under `name`.
#[pyfunction]
pub(crate) fn pickle_module_of<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    name: &Bound<'py, pyo3::types::PyString>,
) -> PyResult<Option<Bound<'py, pyo3::types::PyString>>> {
    Saver::new(py, Options::new(None)?, Memo::default())?.module_of(obj, name)
}
