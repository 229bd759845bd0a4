//! Sessions from Python: to run functions over arrays without Spark, in tests and by hand.

use std::{
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow_data::ArrayData;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyBytes, PyList},
};
use rudf_columns::{BatchImage, BatchMemory};
use rudf_eval::{Session, SessionError, bridge, texts};
use rudf_segment::{
    memory::{Segment, SegmentPool},
    message::{self, SessionSpec},
};

/// Batches whose memory is still referred to.
static HELD_BATCHES: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NativeSession>()?;
    module.add_function(wrap_pyfunction!(session_message, module)?)?;
    module.add_function(wrap_pyfunction!(held_batches, module)?)?;
    module.add_function(wrap_pyfunction!(string_array, module)?)?;
    Ok(())
}

/// Encodes a session message from its JSON document and the pickled functions.
#[pyfunction]
fn session_message<'py>(py: Python<'py>, document: &str, blobs: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let spec: SessionSpec = serde_json::from_str(document).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let bytes = message::encode(&spec, blobs).map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(PyBytes::new(py, &bytes))
}

/// A `pyarrow.StringArray` of a list, as [`rudf_eval::texts::string_array`] makes it.
#[pyfunction]
fn string_array(py: Python<'_>, values: &Bound<'_, PyList>) -> PyResult<Option<Py<PyAny>>> {
    let Some(array) = texts::string_array(values) else { return Ok(None) };
    let class = py.import("pyarrow")?.getattr("Array")?;
    let data_type = bridge::type_to_pyarrow(py, array.data_type())?;
    Ok(Some(bridge::to_pyarrow(&class, &array, &data_type)?.unbind()))
}

/// How many batches are still referred to by arrays.
#[pyfunction]
fn held_batches() -> usize {
    HELD_BATCHES.load(Ordering::SeqCst)
}

/// A session, opened from an encoded session message.
#[pyclass(name = "Session", unsendable)]
struct NativeSession {
    session: Session,
    pool: SegmentPool,
}

#[pymethods]
impl NativeSession {
    #[new]
    fn new(py: Python<'_>, message: &[u8]) -> PyResult<Self> {
        let session = Session::open(py, message).map_err(|error| raise(&error))?;
        Ok(Self { session, pool: SegmentPool::new() })
    }

    /// Lays `columns` (pyarrow arrays) out as a batch of `rows` rows and runs the functions over it.
    fn evaluate(&mut self, py: Python<'_>, columns: Vec<Bound<'_, PyAny>>, rows: usize) -> PyResult<Vec<Py<PyAny>>> {
        let arrays = columns.iter().map(bridge::from_pyarrow).collect::<PyResult<Vec<_>>>()?;
        let memory = self.lay_out(&arrays, rows)?;
        let results = self.session.evaluate(py, memory).map_err(|error| raise(&error))?;
        let class = py.import("pyarrow")?.getattr("Array")?;
        results
            .iter()
            .map(|array| {
                let data_type = bridge::type_to_pyarrow(py, array.data_type())?;
                Ok(bridge::to_pyarrow(&class, array, &data_type)?.unbind())
            })
            .collect()
    }

    /// Whether the functions take an iterator of batches.
    #[getter]
    fn is_stream(&self) -> bool {
        self.session.is_stream()
    }

    /// Runs a stream over batches that something like a [`crate::stream::BatchStream`] gives.
    fn run_stream(&self, py: Python<'_>, batches: &Bound<'_, PyAny>) -> PyResult<()> {
        self.session.run_stream(py, batches).map_err(|error| raise(&error))
    }
}

/// Fails as `(kind, text)` of the session's error.
fn raise(error: &SessionError) -> PyErr {
    PyValueError::new_err((error.kind as u32, error.text.clone()))
}

/// Counts a batch for as long as somebody refers to it.
struct Counted(#[allow(dead_code, reason = "held for its drop")] Arc<Segment>);

impl Counted {
    fn new(segment: Arc<Segment>) -> Self {
        HELD_BATCHES.fetch_add(1, Ordering::SeqCst);
        Self(segment)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        HELD_BATCHES.fetch_sub(1, Ordering::SeqCst);
    }
}

impl NativeSession {
    fn lay_out(&self, arrays: &[ArrayData], rows: usize) -> PyResult<BatchMemory> {
        let refuse = |error: &dyn std::fmt::Display| PyValueError::new_err(error.to_string());
        let image = BatchImage::plan(arrays, rows).map_err(|error| refuse(&error))?;
        let segment = self.pool.acquire(image.length()).map_err(|error| refuse(&error))?;
        // SAFETY: the segment is at least that long, and nobody else refers to it yet.
        unsafe { image.write(segment.base()) };
        let base = NonNull::new(segment.base()).ok_or_else(|| PyValueError::new_err("no memory"))?;
        let owner = Arc::new(Counted::new(segment));
        // SAFETY: the segment lives with its owner and is not written again before the owner is dropped.
        Ok(unsafe { BatchMemory::new(base, image.length(), owner) })
    }
}
