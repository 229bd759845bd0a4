//! Functions of pyarrow arrays and pandas Series: called once for a batch, over arrays that lie in the batch itself.
//!
//! What has to be like PySpark to the letter (conversion of Series, casts, checks and their messages) is Python code in
//! `rudf.worker.vectorized`; here arrays go in and come out.

use arrow_data::ArrayData;
use pyo3::{
    intern,
    prelude::*,
    types::{PyDict, PyList},
};
use rudf_segment::message::Settings;

use crate::{
    bridge,
    error::{Place, SessionError, python_error},
    session::{Function, eval_type},
};

/// All functions of one node.
pub(crate) struct VectorizedFunctions {
    names: Vec<String>,
    /// `rudf.worker.vectorized.Evaluator`.
    evaluator: Py<PyAny>,
    arrays: bridge::ArrayMaker,
    results: usize,
}

impl VectorizedFunctions {
    pub(crate) fn new(
        py: Python<'_>,
        kind: i32,
        functions: Vec<Function>,
        inputs: &[serde_json::Value],
        settings: &Settings,
    ) -> Result<Self, SessionError> {
        let names: Vec<_> = functions.iter().map(|function| function.name.clone()).collect();
        let first = names.first().cloned().unwrap_or_default();
        Self::prepare(py, kind, functions, names, inputs, settings)
            .map_err(|error| python_error(py, error, &first, None, settings))
    }

    fn prepare(
        py: Python<'_>,
        kind: i32,
        functions: Vec<Function>,
        names: Vec<String>,
        inputs: &[serde_json::Value],
        settings: &Settings,
    ) -> PyResult<Self> {
        let options = PyDict::new(py);
        options.set_item("time_zone", &settings.session_time_zone)?;
        options.set_item("safe_cast", settings.safe_cast)?;
        options.set_item("int_to_decimal", settings.int_to_decimal)?;
        options.set_item("prefer_int_ext_dtype", settings.prefer_int_ext_dtype)?;
        let list = PyList::empty(py);
        for function in functions {
            list.append((function.chain, function.declared_type, function.columns, function.keywords))?;
        }
        let types: Vec<_> = inputs.iter().map(|json| json.as_str().unwrap_or_default()).collect();
        let module = py.import("rudf.worker.vectorized")?;
        let class = if kind == eval_type::SCALAR_PANDAS { "PandasEvaluator" } else { "ArrowEvaluator" };
        Ok(Self {
            names,
            evaluator: module.call_method(class, (&list, types), Some(&options))?.unbind(),
            arrays: bridge::ArrayMaker::new(py, inputs.len())?,
            results: list.len(),
        })
    }

    /// The results of one batch.
    pub(crate) fn evaluate(
        &mut self,
        py: Python<'_>,
        arrays: Vec<ArrayData>,
        rows: usize,
        place: Place,
        settings: &Settings,
    ) -> Result<Vec<ArrayData>, SessionError> {
        self.run(py, arrays, rows).map_err(|error| {
            // The evaluator notes which of its functions it was running.
            let running: usize =
                self.evaluator.bind(py).getattr("running").and_then(|index| index.extract()).unwrap_or_default();
            let name = self.names.get(running).map_or("?", String::as_str);
            python_error(py, error, name, Some(place), settings)
        })
    }

    fn run(&mut self, py: Python<'_>, arrays: Vec<ArrayData>, rows: usize) -> PyResult<Vec<ArrayData>> {
        let columns = self.arrays.list(py, arrays)?;
        let results = self.evaluator.bind(py).call_method1(intern!(py, "evaluate"), (columns, rows))?;
        let mut outputs = Vec::with_capacity(self.results);
        for result in results.try_iter()? {
            outputs.push(bridge::from_pyarrow(&result?)?);
        }
        Ok(outputs)
    }
}
