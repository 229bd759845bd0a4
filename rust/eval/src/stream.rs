//! Functions that take an iterator of batches and give one: iterators of arrays, maps over partitions, and whatever is done
//! to groups of rows.
//!
//! They are run by PySpark's own code over an iterator of ours (`rudf.worker.streams`), so that conversions, checks and
//! messages are PySpark's. Here batches become pyarrow arrays; who sends them is the transport's business.

use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};
use rudf_columns::{BatchMemory, SparkType};
use rudf_segment::message::Settings;

use crate::{
    bridge::ArrayMaker,
    error::{Place, SessionError, python_error},
    session::Function,
};

/// All functions of one node.
pub(crate) struct StreamFunctions {
    names: String,
    kind: i32,
    /// `(chain, declared type, columns, names of the last columns)` a function.
    functions: Py<PyList>,
    /// JSON.
    stream: String,
}

impl StreamFunctions {
    pub(crate) fn new(
        py: Python<'_>,
        kind: i32,
        functions: Vec<Function>,
        stream: &serde_json::Value,
    ) -> Result<Self, SessionError> {
        let names = functions.iter().map(|function| function.name.clone()).collect::<Vec<_>>().join(", ");
        let list = PyList::empty(py);
        for function in functions {
            list.append((function.chain, function.declared_type, function.columns, function.keywords))
                .map_err(|error| SessionError::internal(error.to_string()))?;
        }
        Ok(Self { names, kind, functions: list.unbind(), stream: stream.to_string() })
    }

    pub(crate) fn run(
        &self,
        py: Python<'_>,
        batches: &Bound<'_, PyAny>,
        settings: &Settings,
    ) -> Result<(), SessionError> {
        let run = || -> PyResult<()> {
            let options = PyDict::new(py);
            options.set_item("time_zone", &settings.session_time_zone)?;
            py.import("rudf.worker.streams")?.call_method(
                "run",
                (batches, self.kind, &self.functions, &self.stream),
                Some(&options),
            )?;
            Ok(())
        };
        run().map_err(|error| {
            let taken = batches.getattr("taken").and_then(|taken| taken.extract::<usize>()).unwrap_or(0);
            let place = taken.checked_sub(1).map(|batch| Place { batch, row: None });
            python_error(py, error, &self.names, place, settings)
        })
    }
}

/// Makes pyarrow arrays of batches, without a copy.
pub struct BatchReader {
    inputs: Vec<SparkType>,
    time_zone: String,
    arrays: ArrayMaker,
}

impl BatchReader {
    pub(crate) fn new(py: Python<'_>, inputs: Vec<SparkType>, time_zone: String) -> Result<Self, SessionError> {
        let arrays = ArrayMaker::new(py, inputs.len()).map_err(|error| SessionError::environment(error.to_string()))?;
        Ok(Self { inputs, time_zone, arrays })
    }

    /// The columns of a batch, as a list, and its number of rows.
    ///
    /// # Errors
    /// Where the batch is not what its header says.
    pub fn read<'py>(&mut self, py: Python<'py>, batch: BatchMemory) -> PyResult<(Bound<'py, PyList>, usize)> {
        let (rows, arrays) = batch
            .arrays(&self.inputs, &self.time_zone)
            .map_err(|error| pyo3::exceptions::PyRuntimeError::new_err(error.to_string()))?;
        drop(batch);
        Ok((self.arrays.list(py, arrays)?, rows))
    }
}
