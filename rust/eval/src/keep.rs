//! Keeps a batch with which a function failed, or with which its worker died: an Arrow file that also holds the session.
//! Of a stream it keeps the last batches that the functions have taken.
//!
//! The file is an Arrow IPC file with the functions' input columns, a record batch each. Its schema's metadata say the
//! rest; `rudf.replay` reads them:
//!
//! | key | value |
//! | --- | --- |
//! | `rudf.session` | the session message ([`rudf_segment::message`]) with the pickled functions, in base64 |
//! | `rudf.batch` | number of the first batch in its partition |
//! | `rudf.failure` | what went wrong |
//! | `rudf.broadcast.N` | the pickled value of broadcast variable `N`, in base64, where it is not too large |

use std::{
    collections::HashMap,
    fs::{DirBuilder, File, OpenOptions},
    io::BufWriter,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow_array::{RecordBatch, RecordBatchOptions, make_array};
use arrow_data::ArrayData;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Field, Schema};
use base64::{Engine, prelude::BASE64_STANDARD};
use rudf_columns::{BatchMemory, SparkType};
use rudf_segment::message::{Keep, SessionMessage, SessionSpec};

use crate::error::SessionError;

/// Values of broadcast variables are kept up to this many bytes each.
const LARGEST_BROADCAST: u64 = 64 << 20;

/// Longest parts of a function's name, and of what tells the files of tasks apart, in a file's name.
const LONGEST_NAME: usize = 40;
const LONGEST_LABEL: usize = 150;

/// Why a batch was not kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    #[error(transparent)]
    Arrow(#[from] ArrowError),
}

/// Keeps batches of a session that is not open here; `number` is that of the first.
///
/// # Errors
/// `Internal` where message or batches are not understood, or the file cannot be written.
pub fn keep_batches(
    message: &[u8],
    batches: &[BatchMemory],
    number: usize,
    failure: &str,
) -> Result<String, SessionError> {
    let spec = SessionMessage::decode(message)?.spec;
    let types = spec.inputs.iter().map(SparkType::from_json).collect::<Result<Vec<_>, _>>()?;
    let batches = arrays_of(batches, &types, &spec.settings.session_time_zone)?;
    let directory = spec.keep.clone().ok_or_else(|| SessionError::internal("no directory to keep in".to_owned()))?;
    let kept = Kept { keep: &directory, message, spec: &spec };
    let path = kept.write(batches, number, failure).map_err(|error| SessionError::internal(error.to_string()))?;
    Ok(path.display().to_string())
}

/// The rows and the columns of batches.
pub(crate) fn arrays_of(
    batches: &[BatchMemory],
    types: &[SparkType],
    time_zone: &str,
) -> Result<Vec<(usize, Vec<ArrayData>)>, SessionError> {
    batches.iter().map(|batch| batch.arrays(types, time_zone).map_err(SessionError::from)).collect()
}

/// What is kept of a session.
pub(crate) struct Kept<'a> {
    pub keep: &'a Keep,
    pub message: &'a [u8],
    pub spec: &'a SessionSpec,
}

impl Kept<'_> {
    pub(crate) fn write(
        &self,
        batches: Vec<(usize, Vec<ArrayData>)>,
        number: usize,
        failure: &str,
    ) -> Result<PathBuf, KeepError> {
        let (path, file) = self.create(number)?;
        let first = batches.first().map_or(&[][..], |(_, arrays)| arrays);
        let fields: Vec<_> = first
            .iter()
            .enumerate()
            .map(|(index, array)| Field::new(format!("_{index}"), array.data_type().clone(), true))
            .collect();
        let mut metadata = HashMap::from([
            ("rudf.session".to_owned(), BASE64_STANDARD.encode(self.message)),
            ("rudf.batch".to_owned(), number.to_string()),
            ("rudf.failure".to_owned(), failure.to_owned()),
        ]);
        for (id, broadcast) in &self.spec.broadcasts {
            if let Some(bytes) = small_file(Path::new(broadcast)) {
                metadata.insert(format!("rudf.broadcast.{id}"), BASE64_STANDARD.encode(bytes));
            }
        }
        let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
        let mut writer = FileWriter::try_new(BufWriter::new(file), &schema)?;
        for (rows, arrays) in batches {
            let columns = arrays.into_iter().map(make_array).collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            writer.write(&RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?)?;
        }
        writer.finish()?;
        Ok(path)
    }

    /// A new file that nobody else may read: it holds the user's data.
    fn create(&self, number: usize) -> Result<(PathBuf, File), KeepError> {
        let directory = Path::new(&self.keep.directory);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| KeepError::File(path, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
        let name = self.spec.functions.first().map_or("", |function| &function.name);
        let stem = format!("rudf-{}-{}-batch{number}", safe(&self.keep.label, LONGEST_LABEL), safe(name, LONGEST_NAME));
        for copy in 0.. {
            let suffix = if copy == 0 { String::new() } else { format!("-{copy}") };
            let path =
                std::path::absolute(directory.join(format!("{stem}{suffix}.arrow"))).map_err(failed(directory))?;
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && copy < 1000 => {}
                Err(error) => return Err(KeepError::File(path, error)),
            }
        }
        unreachable!("the last number is one of the errors above")
    }
}

/// The sentence behind a failure that says where its batch is.
pub(crate) fn sentence(kept: &Result<PathBuf, KeepError>) -> String {
    match kept {
        Ok(path) => format!(
            "[rudf: the batch and its functions were kept; run them again with: rudf replay {}]\n",
            path.display()
        ),
        Err(error) => format!("[rudf: the batch could not be kept: {error}]\n"),
    }
}

fn safe(name: &str, longest: usize) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    name.chars().take(longest).map(plain).collect()
}

fn small_file(path: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > LARGEST_BROADCAST { None } else { std::fs::read(path).ok() }
}
