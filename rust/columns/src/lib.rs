//! Arrow arrays to Python values and back, with Spark's types.
//!
//! - [`types`]: the Spark types that rudf runs, and their Arrow forms;
//! - [`batch`]: arrays over a batch in somebody else's memory, without a copy;
//! - [`datetime`]: Python's dates and times;
//! - [`input`]: rows of arrays as the Python values that PySpark would give;
//! - [`output`]: Python results as arrays, where their types are the declared ones;
//! - [`writer`]: arrays laid out as a batch.
//!
//! Values whose type is not the declared one are not handled here: PySpark's own coercion is applied to them by
//! `rudf.worker.coercion`.

pub mod batch;
pub mod datetime;
pub mod input;
pub mod output;
pub mod types;
pub mod writer;

pub use batch::BatchMemory;
pub use types::SparkType;
pub use writer::BatchImage;

/// What is wrong with a column.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    #[error("the type {0} is not supported")]
    Type(String),
    #[error(transparent)]
    Layout(#[from] rudf_segment::layout::LayoutError),
    #[error("the batch has {have} columns and {need} are needed")]
    Columns { have: usize, need: usize },
    #[error("column {column}: its {buffer} buffer has {length} bytes, which is not enough for {rows} rows")]
    TooShort { column: usize, buffer: &'static str, length: usize, rows: usize },
    #[error("column {column} has {have} rows and the batch {need}")]
    Rows { column: usize, have: usize, need: usize },
    #[error("column {column}: the offsets of its values do not rise from 0 to at most {end}")]
    Offsets { column: usize, end: u64 },
}
