//! Functions of plain values whose results go to the JVM as PySpark's pickled `udf` has it: what is of the very type lies in
//! a column, and all else is pickled, for Spark's own conversion there (`EvaluatePython.makeFromJava`) to decide on.

use arrow_array::{Array, builder::LargeBinaryBuilder};
use arrow_data::ArrayData;
use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyList},
};
use rudf_columns::{
    SparkType,
    output::{Pushed, ResultColumn},
};
use rudf_segment::{message::Settings, progress};

use crate::{
    error::{SessionError, python_error},
    row::{Batch, Calls, RowFunction},
    session::Function,
};

/// How many results one pickle holds at most: as many as PySpark puts into one.
const PICKLED_TOGETHER: usize = 100;

/// One function of a pickled `udf`.
pub(crate) struct PickledFunction {
    row: RowFunction,
    /// `toInternal` of the declared type, where PySpark calls it.
    to_internal: Option<Py<PyAny>>,
    /// `rudf.worker.services.pickle_results`.
    dumps: Py<PyAny>,
}

impl PickledFunction {
    pub(crate) fn new(
        py: Python<'_>,
        function: Function,
        types: &[SparkType],
        settings: &Settings,
    ) -> Result<Self, SessionError> {
        let failed = |error: PyErr, name: &str| python_error(py, error, name, None, settings);
        let to_internal =
            to_internal(function.declared_type.bind(py)).map_err(|error| failed(error, &function.name))?;
        let dumps = py.import("rudf.worker.services").and_then(|services| services.getattr("pickle_results"));
        let dumps = dumps.map_err(|error| failed(error, &function.name))?.unbind();
        let row = RowFunction::new(py, function, types, settings)?.with_texts_repaired();
        Ok(Self { row, to_internal, dumps })
    }

    /// The results of `rows` rows: those of the very type, with nulls for the others; and binaries of which each holds a
    /// pickled list, of the results of its row and of those after it that are not of the type.
    pub(crate) fn evaluate(
        &self,
        py: Python<'_>,
        batch: &Batch<'_>,
        settings: &Settings,
    ) -> Result<[ArrayData; 2], SessionError> {
        let rows = batch.rows;
        let readers = self.row.readers(py, batch);
        let times = &self.row.maker.times;
        let result_type = &self.row.function.result_type;
        let fail = |error: PyErr, row: usize| self.row.failure(py, error, batch.place(row), settings);
        times.refresh(py).map_err(|error| fail(error, 0))?;
        let mut calls = Calls::new(&self.row, &readers);
        let mut values = ResultColumn::exact(&result_type.internal(), rows, times);
        let mut others = Others::new(self.dumps.bind(py));
        let progress = progress::of_this_process();
        for row in 0..rows {
            progress.at_row(row);
            let value =
                calls.call(py, row).and_then(|value| self.internal(py, value)).map_err(|error| fail(error, row))?;
            if value.is_none() {
                values.push_null();
                continue;
            }
            // SAFETY: the value is live until the end of the loop's body.
            match unsafe { values.push(py, value.as_ptr()) } {
                Pushed::Taken => {}
                Pushed::Raised => return Err(fail(PyErr::fetch(py), row)),
                Pushed::Foreign => {
                    values.push_null();
                    others.push(row, value).map_err(|error| fail(error, row))?;
                }
            }
        }
        let others = others.finish(rows).map_err(|error| fail(error, rows.saturating_sub(1)))?;
        let values = match result_type.has_builder() {
            true => values.finish().0,
            false => ArrayData::new_null(&result_type.arrow("UTC"), rows),
        };
        Ok([values, others])
    }

    /// The form in which PySpark sends a result.
    fn internal<'py>(&self, py: Python<'py>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match &self.to_internal {
            Some(convert) if !value.is_none() => convert.bind(py).call1((value,)),
            _ => Ok(value),
        }
    }
}

fn to_internal(declared_type: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let py = declared_type.py();
    if !declared_type.call_method0(intern!(py, "needConversion"))?.is_truthy()? {
        return Ok(None);
    }
    declared_type.getattr(intern!(py, "toInternal")).map(|convert| Some(convert.unbind()))
}

/// Results that are not of the declared type, pickled in lists of rows that follow one another.
struct Others<'a, 'py> {
    dumps: &'a Bound<'py, PyAny>,
    open: Option<Run<'py>>,
    /// First rows and pickles.
    closed: Vec<(usize, Bound<'py, PyBytes>)>,
}

/// Results of rows from `row` on.
struct Run<'py> {
    row: usize,
    values: Bound<'py, PyList>,
}

impl<'a, 'py> Others<'a, 'py> {
    fn new(dumps: &'a Bound<'py, PyAny>) -> Self {
        Self { dumps, open: None, closed: Vec::new() }
    }

    fn push(&mut self, row: usize, value: Bound<'py, PyAny>) -> PyResult<()> {
        match &self.open {
            Some(run) if run.row + run.values.len() == row && run.values.len() < PICKLED_TOGETHER => {
                run.values.append(value)
            }
            _ => {
                self.close()?;
                self.open = Some(Run { row, values: PyList::new(value.py(), [&value])? });
                Ok(())
            }
        }
    }

    fn close(&mut self) -> PyResult<()> {
        if let Some(run) = self.open.take() {
            let pickle = self.dumps.call1((run.values,))?.cast_into::<PyBytes>()?;
            self.closed.push((run.row, pickle));
        }
        Ok(())
    }

    /// A column of `rows` binaries.
    fn finish(mut self, rows: usize) -> PyResult<ArrayData> {
        self.close()?;
        let mut column = LargeBinaryBuilder::with_capacity(
            rows,
            self.closed.iter().map(|(_, pickle)| pickle.as_bytes().len()).sum(),
        );
        let mut next = 0;
        for (row, pickle) in &self.closed {
            column.append_nulls(row - next);
            column.append_value(pickle.as_bytes());
            next = row + 1;
        }
        column.append_nulls(rows - next);
        Ok(column.finish().into_data())
    }
}
