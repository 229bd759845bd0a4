//! The session message: what a worker needs to know before the first record batch.
//!
//! On the wire: `u32` little-endian length of a JSON document, the document ([`SessionSpec`]), then the
//! pickled functions back to back. The document refers to them by [`BlobRange`].

use serde::{Deserialize, Serialize};

use crate::PROTOCOL_VERSION;

/// Bytes `offset..offset + length` behind the JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRange {
    pub offset: usize,
    pub length: usize,
}

/// One argument of a function: an input column, by position or by keyword.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// Index into [`SessionSpec::inputs`].
    pub column: usize,
    /// Keyword name; `None` is positional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One output column: a chain of pickled functions over some of the input columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// Name of the UDF, for messages.
    pub name: String,
    /// Spark type of the result, in the form of Spark's `DataType.json` (`"double"`, or an object).
    pub result_type: serde_json::Value,
    /// Pickled `(function, return type)` pairs, innermost first: `g(f(x))` is `[f, g]`.
    pub chain: Vec<BlobRange>,
    pub arguments: Vec<Argument>,
    /// The function's own longest time for one batch, in seconds; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<f64>,
}

/// Spark confs that change what a UDF sees or returns; names and meanings are Spark's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `spark.sql.session.timeZone`.
    pub session_time_zone: String,
    /// `spark.sql.execution.pandas.convertToArrowArraySafely`.
    pub safe_cast: bool,
    /// `spark.sql.execution.pyspark.binaryAsBytes`.
    pub binary_as_bytes: bool,
    /// `spark.sql.execution.pythonUDF.pandas.intToDecimalCoercionEnabled`.
    pub int_to_decimal: bool,
    /// `spark.sql.execution.pythonUDF.pandas.preferIntExtensionDtype`.
    pub prefer_int_ext_dtype: bool,
    /// `spark.sql.execution.arrow.useLargeVarTypes`.
    pub large_var_types: bool,
    /// `spark.sql.execution.pyspark.udf.simplifiedTraceback.enabled`.
    pub simplified_traceback: bool,
    /// `spark.sql.execution.pyspark.udf.hideTraceback.enabled`.
    pub hide_traceback: bool,
    /// `spark.sql.execution.pyspark.udf.tracebackWithLocals.enabled`.
    pub traceback_with_locals: bool,
    /// `spark.rudf.worker.reuseFunctions`: whether a worker process unpickles a function once for all its tasks.
    pub reuse_functions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_time_zone: "UTC".to_owned(),
            safe_cast: true,
            binary_as_bytes: true,
            int_to_decimal: false,
            prefer_int_ext_dtype: false,
            large_var_types: false,
            simplified_traceback: true,
            hide_traceback: false,
            traceback_with_locals: false,
            reuse_functions: true,
        }
    }
}

/// So many batches are kept of a stream, the last that its functions have begun: where one fails in the last group of a batch,
/// it has taken the next.
pub const KEPT_OF_STREAM: usize = 2;

/// Where a batch is written when a function fails or its worker dies (`spark.rudf.crash.keep`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    pub directory: String,
    /// Tells the files of tasks apart; part of their names.
    pub label: String,
}

/// Everything a worker needs to run one operator's functions over one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// [`PROTOCOL_VERSION`] of the sender.
    pub protocol: u32,
    /// PySpark's eval type (`pyspark.util.PythonEvalType`).
    pub eval_type: i32,
    /// Spark types of the input columns, in the form of Spark's `DataType.json`.
    pub inputs: Vec<serde_json::Value>,
    pub functions: Vec<FunctionSpec>,
    /// `major.minor` of the Python that pickled the functions.
    pub python_version: String,
    pub settings: Settings,
    /// Directories and archives to put on `sys.path` (files added with `addPyFile`).
    #[serde(default)]
    pub python_path: Vec<String>,
    /// Root directory of `SparkFiles` on this executor.
    #[serde(default)]
    pub spark_files: Option<String>,
    /// Broadcast variables: Spark's id and the local file that holds the pickled value.
    #[serde(default)]
    pub broadcasts: Vec<(i64, String)>,
    /// Longest time of a function for one batch, in seconds, where it has none of its own; 0 is without end. Kept by
    /// hosts that can end a worker.
    #[serde(default)]
    pub timeout_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// For functions that take an iterator of batches and give one: what `rudf.worker.streams` has to know.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub stream: serde_json::Value,
    /// Inputs that come back as the first columns of the results, before those of the functions: the keys of groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<usize>,
    /// What PySpark's other services need (task context, accumulators); `rudf.worker.services` knows the names.
    #[serde(default)]
    pub services: serde_json::Map<String, serde_json::Value>,
}

/// A decoded session message, borrowing the pickled functions from the received bytes.
#[derive(Clone, Debug)]
pub struct SessionMessage<'a> {
    pub spec: SessionSpec,
    blobs: &'a [u8],
}

/// Why a session message was refused.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("session message is cut off: it has {have} bytes and needs {need}")]
    Truncated { have: usize, need: usize },
    #[error("session message is not the expected JSON document: {0}")]
    Json(#[from] serde_json::Error),
    #[error(
        "session message speaks protocol {theirs}, this library speaks {PROTOCOL_VERSION}: the jar and the Python package come from different builds of rudf"
    )]
    Protocol { theirs: u32 },
    #[error("function `{function}` refers to bytes {offset}..{end} of {have} behind the session document")]
    Blob { function: String, offset: usize, end: usize, have: usize },
    #[error("function `{function}` takes input column {column} of {columns}")]
    Column { function: String, column: usize, columns: usize },
}

/// Encodes `spec` followed by `blobs`.
///
/// # Errors
/// [`MessageError::Json`] where `spec` cannot be written as JSON.
pub fn encode(spec: &SessionSpec, blobs: &[u8]) -> Result<Vec<u8>, MessageError> {
    let json = serde_json::to_vec(spec)?;
    let length =
        u32::try_from(json.len()).map_err(|_| MessageError::Truncated { have: u32::MAX as usize, need: json.len() })?;
    let mut bytes = Vec::with_capacity(4 + json.len() + blobs.len());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&json);
    bytes.extend_from_slice(blobs);
    Ok(bytes)
}

impl<'a> SessionMessage<'a> {
    /// Decodes a message and checks every reference in it.
    ///
    /// # Errors
    /// A [`MessageError`] that says what is wrong; nothing is assumed of `bytes`.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let truncated = |need| MessageError::Truncated { have: bytes.len(), need };
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or_else(|| truncated(4))?;
        let length = u32::from_le_bytes(*head) as usize;
        if rest.len() < length {
            return Err(truncated(4 + length));
        }
        let (json, blobs) = rest.split_at(length);
        let spec: SessionSpec = serde_json::from_slice(json)?;
        if spec.protocol != PROTOCOL_VERSION {
            return Err(MessageError::Protocol { theirs: spec.protocol });
        }
        let message = Self { spec, blobs };
        message.check()?;
        Ok(message)
    }

    /// The pickled function at `range`, which belongs to this message's [`SessionSpec`].
    #[must_use]
    pub fn blob(&self, range: BlobRange) -> &'a [u8] {
        &self.blobs[range.offset..range.offset + range.length]
    }

    fn check(&self) -> Result<(), MessageError> {
        for function in &self.spec.functions {
            for range in &function.chain {
                let end = range.offset.saturating_add(range.length);
                if end > self.blobs.len() {
                    return Err(MessageError::Blob {
                        function: function.name.clone(),
                        offset: range.offset,
                        end,
                        have: self.blobs.len(),
                    });
                }
            }
            let columns = self.spec.inputs.len();
            if let Some(argument) = function.arguments.iter().find(|a| a.column >= columns) {
                return Err(MessageError::Column { function: function.name.clone(), column: argument.column, columns });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spec() -> SessionSpec {
        SessionSpec {
            protocol: PROTOCOL_VERSION,
            eval_type: 101,
            inputs: vec!["double".into()],
            functions: vec![FunctionSpec {
                name: "f".to_owned(),
                result_type: "double".into(),
                chain: vec![BlobRange { offset: 1, length: 2 }],
                arguments: vec![Argument { column: 0, name: None }],
                timeout_seconds: None,
            }],
            python_version: "3.11".to_owned(),
            settings: Settings::default(),
            python_path: Vec::new(),
            spark_files: None,
            broadcasts: Vec::new(),
            timeout_seconds: 0.0,
            keep: None,
            stream: serde_json::Value::Null,
            returned: Vec::new(),
            services: serde_json::Map::new(),
        }
    }

    #[test]
    fn a_message_comes_back_with_its_functions() {
        let bytes = encode(&spec(), b"xfgy").unwrap();
        let message = SessionMessage::decode(&bytes).unwrap();
        assert_eq!(message.spec, spec());
        assert_eq!(message.blob(spec().functions[0].chain[0]), b"fg");
    }

    #[test]
    fn every_cut_of_a_message_is_refused() {
        let bytes = encode(&spec(), b"xfgy").unwrap();
        for end in 0..bytes.len() - 1 {
            assert!(SessionMessage::decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn references_outside_the_message_are_refused() {
        let mut far = spec();
        far.functions[0].chain[0] = BlobRange { offset: usize::MAX, length: 2 };
        let bytes = encode(&far, b"xfgy").unwrap();
        assert!(matches!(SessionMessage::decode(&bytes), Err(MessageError::Blob { .. })));
        let mut column = spec();
        column.functions[0].arguments[0].column = 1;
        let bytes = encode(&column, b"xfgy").unwrap();
        assert!(matches!(SessionMessage::decode(&bytes), Err(MessageError::Column { .. })));
    }

    #[test]
    fn another_protocol_is_refused_by_number() {
        let mut other = spec();
        other.protocol = PROTOCOL_VERSION + 1;
        let bytes = encode(&other, b"xfgy").unwrap();
        let error = SessionMessage::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains(&format!("speaks protocol {}", PROTOCOL_VERSION + 1)), "{error}");
    }
}
