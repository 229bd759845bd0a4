//! What Python calls.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::memo::Memo;
use crate::options::Options;
use crate::save::Saver;

/// Pickles `obj`.
///
/// `protocol` is 2 to 5 (the default). `by_value` holds names of modules whose functions and classes go by value.
/// `extra_reducers` maps types to functions that reduce their instances.
#[pyfunction]
#[pyo3(signature = (obj, protocol=None, buffer_callback=None, by_value=Vec::new(), extra_reducers=None))]
pub(crate) fn pickle_dumps<'py>(
    py: Python<'py>,
    obj: &Bound<'py, PyAny>,
    protocol: Option<i64>,
    buffer_callback: Option<Bound<'py, PyAny>>,
    by_value: Vec<String>,
    extra_reducers: Option<Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut options = Options::new(protocol)?;
    options.buffer_callback = buffer_callback;
    options.by_value = by_value;
    options.extra_reducers = extra_reducers;
    let mut saver = Saver::new(py, options, Memo::default())?;
    saver.run(obj)?;
    saver.writer.finish(py, b"")
}
