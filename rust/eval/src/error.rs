//! Errors of a session: what kind, and the text that the user sees.

use pyo3::{prelude::*, types::PyDict};
use rudf_columns::ColumnError;
use rudf_segment::{
    message::{MessageError, Settings},
    worker::FailureKind,
};

/// Why a session could not be opened, or a batch not be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct SessionError {
    pub kind: FailureKind,
    /// For [`FailureKind::Python`] the traceback, as PySpark would show it.
    pub text: String,
}

impl SessionError {
    /// This environment cannot run the session.
    pub(crate) fn environment(text: String) -> Self {
        Self { kind: FailureKind::Environment, text }
    }

    /// A defect in rudf, or input that breaks the protocol.
    pub(crate) fn internal(text: String) -> Self {
        Self { kind: FailureKind::Internal, text }
    }
}

impl From<MessageError> for SessionError {
    fn from(error: MessageError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<ColumnError> for SessionError {
    fn from(error: ColumnError) -> Self {
        Self::internal(error.to_string())
    }
}

/// Where in the input a function failed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// Batch of the session, from 0.
    pub batch: usize,
    /// Row within the batch, from 0; none for functions of whole batches.
    pub row: Option<usize>,
}

/// A failed function: its traceback, followed by a line that names the function and the place.
pub(crate) fn python_error(
    py: Python<'_>,
    error: PyErr,
    name: &str,
    place: Option<Place>,
    settings: &Settings,
) -> SessionError {
    let described = describe(py, &error, name, place, settings);
    let text = described.unwrap_or_else(|_| format!("{error} [rudf: in the function `{name}`]"));
    SessionError { kind: FailureKind::Python, text }
}

fn describe(py: Python<'_>, error: &PyErr, name: &str, place: Option<Place>, settings: &Settings) -> PyResult<String> {
    let arguments = PyDict::new(py);
    arguments.set_item("name", name)?;
    arguments.set_item("batch", place.map(|place| place.batch))?;
    arguments.set_item("row", place.and_then(|place| place.row))?;
    arguments.set_item("simplified", settings.simplified_traceback)?;
    arguments.set_item("hidden", settings.hide_traceback)?;
    arguments.set_item("with_locals", settings.traceback_with_locals)?;
    let value = error.value(py);
    // Before Python 3.12 an error that was fetched keeps its traceback beside the exception and not in it.
    if let Some(traceback) = error.traceback(py) {
        value.setattr("__traceback__", traceback)?;
    }
    py.import("rudf.worker.errors")?.call_method("describe", (value,), Some(&arguments))?.extract()
}
