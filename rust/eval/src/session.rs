//! One operator's functions: opened from a session message, then run over one batch after another.

use arrow_data::ArrayData;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};
use rudf_columns::{BatchMemory, SparkType};
use rudf_segment::{
    message::{FunctionSpec, SessionMessage, SessionSpec, Settings},
    progress,
    worker::FailureKind,
};

use crate::{
    error::{Place, SessionError, python_error},
    keep::{self, Kept},
    pickled::PickledFunction,
    row::{Batch, RowFunction},
    stream::{BatchReader, StreamFunctions},
    vectorized::VectorizedFunctions,
};

/// PySpark's eval types (`pyspark.util.PythonEvalType`) that are run here.
pub mod eval_type {
    /// `udf` over pickled rows: a function of plain values, whose results Spark's JVM side converts.
    pub const BATCHED: i32 = 100;
    /// `udf` over Arrow: a function of plain values.
    pub const ARROW_BATCHED: i32 = 101;
    /// `pandas_udf`: a function of pandas Series.
    pub const SCALAR_PANDAS: i32 = 200;
    /// `arrow_udf`: a function of pyarrow arrays.
    pub const SCALAR_ARROW: i32 = 250;
    /// Those whose functions take pandas objects, streams included.
    pub const OF_PANDAS: [i32; 9] = [SCALAR_PANDAS, 201, 202, 203, 204, 205, 206, 216, 217];
}

/// A function with everything that the message says of it, unpickled.
pub(crate) struct Function {
    pub name: String,
    /// Innermost first.
    pub chain: Vec<Py<PyAny>>,
    pub result_type: SparkType,
    /// The declared type, as PySpark's object: PySpark's own conversion takes it.
    pub declared_type: Py<PyAny>,
    /// Input columns, positional ones first.
    pub columns: Vec<usize>,
    /// Names of the last columns, which are passed by keyword.
    pub keywords: Vec<String>,
}

enum Functions {
    Rows(Vec<RowFunction>),
    Pickled(Vec<PickledFunction>),
    Vectorized(VectorizedFunctions),
    Stream(StreamFunctions),
}

/// Functions that are ready to run. Belongs to one task; its functions are unpickled for it alone, so that what one task
/// leaves in a function's globals is not seen by another, as in PySpark.
pub struct Session {
    inputs: Vec<SparkType>,
    settings: Settings,
    functions: Functions,
    batches: usize,
    /// The message and what it says, where batches that fail are to be kept.
    kept: Option<(Vec<u8>, SessionSpec)>,
}

impl Session {
    /// Opens a session from an encoded [`rudf_segment::message`].
    ///
    /// # Errors
    /// `Environment` where this Python cannot run the functions, `Python` where one cannot be unpickled, `Internal` where
    /// the message is not understood.
    pub fn open(py: Python<'_>, message: &[u8]) -> Result<Self, SessionError> {
        progress::of_this_process().begin_session();
        let bytes = message;
        let message = SessionMessage::decode(bytes)?;
        let spec = &message.spec;
        check_version(py, &spec.python_version)?;
        check_packages(py, spec)?;
        set_up_services(py, &message)?;
        let inputs = spec.inputs.iter().map(SparkType::from_json).collect::<Result<Vec<_>, _>>()?;
        let functions =
            spec.functions.iter().map(|f| unpickle(py, &message, f)).collect::<Result<Vec<_>, SessionError>>()?;
        let functions = match spec.eval_type {
            kind if !spec.stream.is_null() => {
                Functions::Stream(StreamFunctions::new(py, kind, functions, &spec.stream)?)
            }
            eval_type::ARROW_BATCHED => {
                let prepare = |function| RowFunction::new(py, function, &inputs, &spec.settings);
                Functions::Rows(functions.into_iter().map(prepare).collect::<Result<_, SessionError>>()?)
            }
            eval_type::BATCHED => {
                let prepare = |function| PickledFunction::new(py, function, &inputs, &spec.settings);
                Functions::Pickled(functions.into_iter().map(prepare).collect::<Result<_, SessionError>>()?)
            }
            kind @ (eval_type::SCALAR_PANDAS | eval_type::SCALAR_ARROW) => {
                Functions::Vectorized(VectorizedFunctions::new(py, kind, functions, &spec.inputs, &spec.settings)?)
            }
            other => return Err(SessionError::internal(format!("eval type {other} is not known here"))),
        };
        let kept = spec.keep.is_some().then(|| (bytes.to_vec(), spec.clone()));
        Ok(Self { inputs, settings: message.spec.settings, functions, batches: 0, kept })
    }

    /// Runs all functions over one batch: one array a function, each with the batch's number of rows; of functions over
    /// pickled rows two, the second as [`PickledFunction::evaluate`] says.
    ///
    /// # Errors
    /// `Python` where a function fails or returns what its type does not allow, `Internal` where the batch is not what its
    /// header says.
    pub fn evaluate(&mut self, py: Python<'_>, batch: BatchMemory) -> Result<Vec<ArrayData>, SessionError> {
        let number = self.batches;
        self.batches += 1;
        progress::of_this_process().begin_batch(number);
        let (rows, arrays) = batch.arrays(&self.inputs, &self.settings.session_time_zone)?;
        drop(batch);
        let copies = self.kept.is_some().then(|| arrays.clone());
        let evaluated = self.run(py, arrays, rows, number);
        match (evaluated, copies) {
            (Err(error), Some(copies)) if error.kind == FailureKind::Python => {
                Err(self.keep(error, vec![(rows, copies)], number))
            }
            (evaluated, _) => evaluated,
        }
    }

    fn run(
        &mut self,
        py: Python<'_>,
        arrays: Vec<ArrayData>,
        rows: usize,
        number: usize,
    ) -> Result<Vec<ArrayData>, SessionError> {
        let batch = Batch { arrays: &arrays, types: &self.inputs, rows, number };
        match &mut self.functions {
            Functions::Rows(functions) => {
                let each = functions.iter().enumerate().map(|(index, function)| {
                    progress::of_this_process().begin_function(index);
                    function.evaluate(py, &batch, &self.settings)
                });
                each.collect()
            }
            Functions::Pickled(functions) => {
                let mut results = Vec::with_capacity(2 * functions.len());
                for (index, function) in functions.iter().enumerate() {
                    progress::of_this_process().begin_function(index);
                    results.extend(function.evaluate(py, &batch, &self.settings)?);
                }
                Ok(results)
            }
            Functions::Stream(_) => Err(SessionError::internal("a stream is not run batch by batch".to_owned())),
            Functions::Vectorized(functions) => {
                functions.evaluate(py, arrays, rows, Place { batch: number, row: None }, &self.settings)
            }
        }
    }

    /// Whether the functions take an iterator of batches and give one: then [`Self::run_stream`] runs them.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        matches!(self.functions, Functions::Stream(_))
    }

    /// What makes pyarrow arrays of a stream's batches.
    ///
    /// # Errors
    /// `Environment` where there is no pyarrow.
    pub fn reader(&self, py: Python<'_>) -> Result<BatchReader, SessionError> {
        BatchReader::new(py, self.inputs.clone(), self.settings.session_time_zone.clone())
    }

    /// Runs a stream to its end. `batches` is what `rudf.worker.streams` takes batches from and gives results to; its
    /// `taken` is how many have been taken.
    ///
    /// # Errors
    /// `Python` where a function fails.
    pub fn run_stream(&self, py: Python<'_>, batches: &Bound<'_, PyAny>) -> Result<(), SessionError> {
        match &self.functions {
            Functions::Stream(functions) => functions.run(py, batches, &self.settings),
            _ => Err(SessionError::internal("this session is no stream".to_owned())),
        }
    }

    /// Whether batches that fail are to be kept.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// The failure of a stream, with where the last batches that its functions have taken were kept, if they are to be;
    /// `number` is that of the first.
    #[must_use]
    pub fn keep_last(&self, error: SessionError, batches: &[BatchMemory], number: usize) -> SessionError {
        if !self.keeps() || error.kind != FailureKind::Python || batches.is_empty() {
            return error;
        }
        match keep::arrays_of(batches, &self.inputs, &self.settings.session_time_zone) {
            Ok(batches) => self.keep(error, batches, number),
            Err(_) => error,
        }
    }

    /// The failure of batches, with where they were kept.
    fn keep(&self, error: SessionError, batches: Vec<(usize, Vec<ArrayData>)>, number: usize) -> SessionError {
        let Some((message, spec)) = &self.kept else { return error };
        let Some(keep) = &spec.keep else { return error };
        let kept = Kept { keep, message, spec }.write(batches, number, &error.text);
        SessionError { text: error.text + &keep::sentence(&kept), ..error }
    }
}

fn check_version(py: Python<'_>, pickled_by: &str) -> Result<(), SessionError> {
    let version = py.version_info();
    let ours = format!("{}.{}", version.major, version.minor);
    if ours == pickled_by {
        return Ok(());
    }
    Err(SessionError::environment(format!(
        "the functions were pickled by Python {pickled_by}, and {} is Python {ours}",
        executable(py)
    )))
}

/// The environment's `python`, for messages.
fn executable(py: Python<'_>) -> String {
    let path = py.import("sys").and_then(|sys| sys.getattr("executable")?.extract());
    path.unwrap_or_else(|_| "this Python".to_owned())
}

/// Functions of whole columns, and streams, need the packages whose types they take. Asked before anything is unpickled:
/// annotations refer to these types, and would fail as an error of the function's.
fn check_packages(py: Python<'_>, spec: &SessionSpec) -> Result<(), SessionError> {
    let converted =
        |function: &FunctionSpec| SparkType::from_json(&function.result_type).is_ok_and(|t| !t.has_builder());
    let packages: &[&str] = match spec.eval_type {
        eval_type::BATCHED => &[],
        eval_type::ARROW_BATCHED if !spec.functions.iter().any(converted) => &[],
        kind if eval_type::OF_PANDAS.contains(&kind) => &["pyarrow", "pandas"],
        _ if !spec.stream.is_null() => &["pyarrow", "numpy"],
        _ => &["pyarrow"],
    };
    for package in packages {
        py.import(*package).map_err(|error| {
            SessionError::environment(format!(
                "functions of this kind or type need {package}, and {} has none: {error}",
                executable(py)
            ))
        })?;
    }
    Ok(())
}

fn set_up_services(py: Python<'_>, message: &SessionMessage<'_>) -> Result<(), SessionError> {
    let spec = &message.spec;
    if spec.python_path.is_empty()
        && spec.spark_files.is_none()
        && spec.broadcasts.is_empty()
        && spec.services.is_empty()
    {
        return Ok(());
    }
    let set_up = || -> PyResult<()> {
        let arguments = PyDict::new(py);
        arguments.set_item("python_path", &spec.python_path)?;
        arguments.set_item("spark_files", &spec.spark_files)?;
        arguments.set_item("broadcasts", &spec.broadcasts)?;
        arguments.set_item("services", serde_json::to_string(&spec.services).unwrap_or_default())?;
        py.import("rudf.worker.services")?.call_method("set_up", (), Some(&arguments))?;
        Ok(())
    };
    set_up().map_err(|error| {
        SessionError::environment(format!("Spark's services cannot be set up in this Python: {error}"))
    })
}

fn unpickle(py: Python<'_>, message: &SessionMessage<'_>, spec: &FunctionSpec) -> Result<Function, SessionError> {
    let failed = |error: PyErr| python_error(py, error, &spec.name, None, &message.spec.settings);
    let loads = py.import("rudf.worker.services").and_then(|m| m.getattr("load_command")).map_err(failed)?;
    let mut chain = Vec::with_capacity(spec.chain.len());
    let mut declared = None;
    for range in &spec.chain {
        let (function, declared_type): (Py<PyAny>, Py<PyAny>) = loads
            .call1((PyBytes::new(py, message.blob(*range)), message.spec.settings.reuse_functions))
            .and_then(|command| command.extract())
            .map_err(failed)?;
        chain.push(function);
        declared = Some(declared_type);
    }
    let declared_type =
        declared.ok_or_else(|| SessionError::internal(format!("`{}` is a chain of no functions", spec.name)))?;
    let (named, positional): (Vec<_>, Vec<_>) = spec.arguments.iter().partition(|argument| argument.name.is_some());
    Ok(Function {
        name: spec.name.clone(),
        chain,
        result_type: SparkType::from_json(&spec.result_type)?,
        declared_type,
        columns: positional.iter().chain(&named).map(|argument| argument.column).collect(),
        keywords: named.iter().filter_map(|argument| argument.name.clone()).collect(),
    })
}
