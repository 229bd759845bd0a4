//! The Spark types that rudf runs.

use arrow_schema::{DataType, TimeUnit};

use crate::ColumnError;

/// A Spark type with a form of its own in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SparkType {
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    String,
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01 UTC.
    Timestamp,
}

impl SparkType {
    /// Reads the form of Spark's `DataType.json`.
    ///
    /// # Errors
    /// [`ColumnError::Type`] for a type that rudf leaves to Spark.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ColumnError> {
        Ok(match json.as_str().unwrap_or_default() {
            "boolean" => Self::Boolean,
            "byte" => Self::Byte,
            "short" => Self::Short,
            "integer" => Self::Integer,
            "long" => Self::Long,
            "float" => Self::Float,
            "double" => Self::Double,
            "string" => Self::String,
            "binary" => Self::Binary,
            "date" => Self::Date,
            "timestamp" => Self::Timestamp,
            _ => return Err(ColumnError::Type(json.to_string())),
        })
    }

    /// The Arrow type of a column; timestamps carry `time_zone`, as Spark's do.
    #[must_use]
    pub fn arrow(self, time_zone: &str) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Byte => DataType::Int8,
            Self::Short => DataType::Int16,
            Self::Integer => DataType::Int32,
            Self::Long => DataType::Int64,
            Self::Float => DataType::Float32,
            Self::Double => DataType::Float64,
            Self::String => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(time_zone.into())),
        }
    }

    /// Bytes of one value; 0 for booleans, which are bits, and for strings and binaries.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Boolean | Self::String | Self::Binary => 0,
            Self::Byte => 1,
            Self::Short => 2,
            Self::Integer | Self::Float | Self::Date => 4,
            Self::Long | Self::Double | Self::Timestamp => 8,
        }
    }

    /// Whether values are runs of bytes behind offsets.
    #[must_use]
    pub fn is_variable(self) -> bool {
        matches!(self, Self::String | Self::Binary)
    }
}
