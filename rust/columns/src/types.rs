//! The Spark types that rudf runs.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, TimeUnit};
use rudf_segment::layout::{DAY_TIME_FIELDS, Form};
use serde_json::Value;

use crate::ColumnError;

/// A Spark type with a form of its own in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SparkType {
    /// Nothing but nulls.
    Null,
    Boolean,
    Byte,
    Short,
    Integer,
    Long,
    Float,
    Double,
    /// Of any collation, and of CHAR and VARCHAR.
    String,
    Binary,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01 UTC.
    Timestamp,
    /// Microseconds since 1970-01-01 in no time zone.
    TimestampNtz,
    /// Microseconds.
    DayTimeInterval,
    /// Nanoseconds since midnight.
    Time,
    /// 128-bit unscaled values.
    Decimal {
        precision: u8,
        scale: i8,
    },
    Array {
        element: Box<SparkType>,
        nullable: bool,
    },
    Map {
        key: Box<SparkType>,
        value: Box<SparkType>,
        nullable: bool,
    },
    Struct(Vec<StructField>),
}

/// A field of a [`SparkType::Struct`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructField {
    pub name: String,
    pub spark_type: SparkType,
    pub nullable: bool,
}

impl SparkType {
    /// Reads the form of Spark's `DataType.json`.
    ///
    /// # Errors
    /// [`ColumnError::Type`] for a type that rudf leaves to Spark.
    pub fn from_json(json: &Value) -> Result<Self, ColumnError> {
        let unknown = || ColumnError::Type(json.to_string());
        let Some(parts) = json.as_object() else {
            return Self::from_name(json.as_str().ok_or_else(unknown)?);
        };
        let part = |name: &str| parts.get(name).unwrap_or(&Value::Null);
        match part("type").as_str() {
            Some("array") => Ok(Self::Array {
                element: Box::new(Self::from_json(part("elementType"))?),
                nullable: part("containsNull").as_bool().unwrap_or(true),
            }),
            Some("map") => Ok(Self::Map {
                key: Box::new(Self::from_json(part("keyType"))?),
                value: Box::new(Self::from_json(part("valueType"))?),
                nullable: part("valueContainsNull").as_bool().unwrap_or(true),
            }),
            Some("struct") => {
                let fields = part("fields").as_array().map_or(&[][..], Vec::as_slice);
                fields.iter().map(StructField::from_json).collect::<Result<_, _>>().map(Self::Struct)
            }
            _ => Err(unknown()),
        }
    }

    fn from_name(name: &str) -> Result<Self, ColumnError> {
        let (word, rest) = name.split_at(name.find([' ', '(']).unwrap_or(name.len()));
        Ok(match (word, rest) {
            ("void", "") => Self::Null,
            ("boolean", "") => Self::Boolean,
            ("byte", "") => Self::Byte,
            ("short", "") => Self::Short,
            ("integer", "") => Self::Integer,
            ("long", "") => Self::Long,
            ("float", "") => Self::Float,
            ("double", "") => Self::Double,
            // `string collate UNICODE`, `varchar(3)`.
            ("string" | "char" | "varchar", _) => Self::String,
            ("binary", "") => Self::Binary,
            ("date", "") => Self::Date,
            ("timestamp", "") => Self::Timestamp,
            ("timestamp_ntz", "") => Self::TimestampNtz,
            ("time", _) => Self::Time,
            ("decimal", _) => Self::decimal(rest).ok_or_else(|| ColumnError::Type(name.to_owned()))?,
            // `interval day to second`, `interval hour`; the others have months.
            ("interval", rest) if DAY_TIME_FIELDS.iter().any(|field| rest.ends_with(field)) => Self::DayTimeInterval,
            _ => return Err(ColumnError::Type(name.to_owned())),
        })
    }

    /// `(10,2)`.
    fn decimal(parameters: &str) -> Option<Self> {
        let (precision, scale) = parameters.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
        let precision = precision.trim().parse().ok().filter(|precision| (1..=38).contains(precision))?;
        Some(Self::Decimal { precision, scale: scale.trim().parse().ok()? })
    }

    /// The Arrow type of a column; timestamps carry `time_zone`, as Spark's do.
    #[must_use]
    pub fn arrow(&self, time_zone: &str) -> DataType {
        match self {
            Self::Null => DataType::Null,
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
            Self::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::DayTimeInterval => DataType::Duration(TimeUnit::Microsecond),
            Self::Time => DataType::Time64(TimeUnit::Nanosecond),
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Array { element, nullable } => {
                DataType::List(Arc::new(Field::new("element", element.arrow(time_zone), *nullable)))
            }
            Self::Map { .. } => {
                DataType::Map(Arc::new(Field::new("entries", self.entries().arrow(time_zone), false)), false)
            }
            Self::Struct(fields) => DataType::Struct(Fields::from_iter(
                fields.iter().map(|field| Field::new(&field.name, field.spark_type.arrow(time_zone), field.nullable)),
            )),
        }
    }

    /// How values lie in memory.
    #[must_use]
    pub fn form(&self) -> Form {
        match self {
            Self::Null => Form::None,
            Self::Boolean => Form::Bits,
            Self::Byte => Form::Fixed(1),
            Self::Short => Form::Fixed(2),
            Self::Integer | Self::Float | Self::Date => Form::Fixed(4),
            Self::Long | Self::Double | Self::Timestamp | Self::TimestampNtz | Self::DayTimeInterval | Self::Time => {
                Form::Fixed(8)
            }
            Self::Decimal { .. } => Form::Fixed(16),
            Self::String | Self::Binary => Form::Variable,
            Self::Array { element, .. } => Form::List(Box::new(element.form())),
            Self::Map { .. } => Form::List(Box::new(self.entries().form())),
            Self::Struct(fields) => Form::Struct(fields.iter().map(|field| field.spark_type.form()).collect()),
        }
    }

    /// The type of what PySpark's `DataType.toInternal` makes of a value: days and microseconds are integers.
    #[must_use]
    pub fn internal(&self) -> Self {
        match self {
            Self::Date => Self::Integer,
            Self::Timestamp | Self::TimestampNtz | Self::DayTimeInterval => Self::Long,
            other => other.clone(),
        }
    }

    /// Whether [`crate::output`] makes columns of results; those of the other types are all PySpark's to convert.
    #[must_use]
    pub fn has_builder(&self) -> bool {
        let foreign = matches!(self, Self::Null | Self::Time | Self::Decimal { .. });
        !foreign && matches!(self.form(), Form::Bits | Form::Fixed(_) | Form::Variable)
    }

    /// The types of a column's children.
    #[must_use]
    pub fn children(&self) -> Vec<Self> {
        match self {
            Self::Array { element, .. } => vec![(**element).clone()],
            Self::Map { .. } => vec![self.entries()],
            Self::Struct(fields) => fields.iter().map(|field| field.spark_type.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// The struct of key and value that an Arrow map is a list of.
    fn entries(&self) -> Self {
        let Self::Map { key, value, nullable } = self else { return Self::Struct(Vec::new()) };
        Self::Struct(vec![
            StructField { name: "key".to_owned(), spark_type: (**key).clone(), nullable: false },
            StructField { name: "value".to_owned(), spark_type: (**value).clone(), nullable: *nullable },
        ])
    }
}

impl StructField {
    fn from_json(json: &Value) -> Result<Self, ColumnError> {
        Ok(Self {
            name: json["name"].as_str().unwrap_or_default().to_owned(),
            spark_type: SparkType::from_json(&json["type"])?,
            nullable: json["nullable"].as_bool().unwrap_or(true),
        })
    }
}
