//! Python results as arrays.
//!
//! A builder takes only values of exactly the declared Python type (and the few others for which PySpark's own conversion
//! gives the same): for anything else it says so, and the whole batch goes through PySpark's conversion.

use arrow_array::{
    Array,
    builder::{
        ArrayBuilder as _, BinaryBuilder, BooleanBuilder, Date32Builder, DurationMicrosecondBuilder, Float32Builder,
        Float64Builder, Int8Builder, Int16Builder, Int32Builder, Int64Builder, LargeBinaryBuilder, LargeStringBuilder,
        StringBuilder, TimestampMicrosecondBuilder,
    },
};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use pyo3::{ffi, prelude::*};

use crate::{SparkType, datetime::DateTimes};

/// Doubles represent every integer up to here; pyarrow refuses larger ones.
const DOUBLE_INTEGERS: i64 = 1 << 53;
/// The same for floats.
const FLOAT_INTEGERS: i64 = 1 << 24;
/// No integer lies between this with the one sign and with the other.
const NO_INTEGERS: i64 = -1;
/// A column of strings changes to 64-bit offsets before its bytes reach what 32-bit ones can address.
const NARROW_BYTES: usize = i32::MAX as usize;

/// What became of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the column.
    Taken,
    /// It is not of the declared type: PySpark's conversion has to decide.
    Foreign,
    /// A Python exception is set.
    Raised,
}

/// Collects the results of one function over one batch.
pub struct ResultColumn<'a> {
    builder: Builder,
    times: &'a DateTimes,
    /// Rows of a float or double column whose values were integers: should PySpark's conversion get the results after
    /// all, it has to get them as they were.
    integers: Vec<(usize, i64)>,
    /// Whether an integer is no value of a float or double column.
    exact: bool,
}

enum Builder {
    Boolean(BooleanBuilder),
    Byte(Int8Builder),
    Short(Int16Builder),
    Integer(Int32Builder),
    Long(Int64Builder),
    Float(Float32Builder),
    Double(Float64Builder),
    String(StringBuilder),
    LargeString(LargeStringBuilder),
    Binary(BinaryBuilder),
    LargeBinary(LargeBinaryBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampNtz(TimestampMicrosecondBuilder),
    DayTimeInterval(DurationMicrosecondBuilder),
    /// All values of such a type are PySpark's to convert.
    Foreign,
}

impl<'a> ResultColumn<'a> {
    /// An empty column with room for `rows`.
    #[must_use]
    pub fn new(spark_type: &SparkType, time_zone: &str, rows: usize, times: &'a DateTimes) -> Self {
        let builder = match spark_type {
            SparkType::Boolean => Builder::Boolean(BooleanBuilder::with_capacity(rows)),
            SparkType::Byte => Builder::Byte(Int8Builder::with_capacity(rows)),
            SparkType::Short => Builder::Short(Int16Builder::with_capacity(rows)),
            SparkType::Integer => Builder::Integer(Int32Builder::with_capacity(rows)),
            SparkType::Long => Builder::Long(Int64Builder::with_capacity(rows)),
            SparkType::Float => Builder::Float(Float32Builder::with_capacity(rows)),
            SparkType::Double => Builder::Double(Float64Builder::with_capacity(rows)),
            SparkType::String => Builder::String(StringBuilder::with_capacity(rows, rows * 16)),
            SparkType::Binary => Builder::Binary(BinaryBuilder::with_capacity(rows, rows * 16)),
            SparkType::Date => Builder::Date(Date32Builder::with_capacity(rows)),
            SparkType::Timestamp => {
                Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone(time_zone))
            }
            SparkType::TimestampNtz => Builder::TimestampNtz(TimestampMicrosecondBuilder::with_capacity(rows)),
            SparkType::DayTimeInterval => Builder::DayTimeInterval(DurationMicrosecondBuilder::with_capacity(rows)),
            SparkType::Null
            | SparkType::Time
            | SparkType::Decimal { .. }
            | SparkType::Array { .. }
            | SparkType::Map { .. }
            | SparkType::Struct(_) => Builder::Foreign,
        };
        Self { builder, times, integers: Vec::new(), exact: false }
    }

    /// The same for results that Spark's JVM side converts where they are not of the very type: no integer is a float.
    #[must_use]
    pub fn exact(spark_type: &SparkType, rows: usize, times: &'a DateTimes) -> Self {
        Self { exact: true, ..Self::new(spark_type, "UTC", rows, times) }
    }

    /// Appends a value, which stays the caller's.
    ///
    /// # Safety
    /// `value` is a live Python object.
    pub unsafe fn push(&mut self, py: Python<'_>, value: *mut ffi::PyObject) -> Pushed {
        // SAFETY: the interpreter's lock is held (`py`), and the value is live (the caller's promise).
        unsafe {
            if matches!(self.builder, Builder::Foreign) {
                return Pushed::Foreign;
            }
            if value == ffi::Py_None() {
                self.push_null();
                return Pushed::Taken;
            }
            match &mut self.builder {
                Builder::Boolean(builder) => match () {
                    () if value == ffi::Py_True() => builder.append_value(true),
                    () if value == ffi::Py_False() => builder.append_value(false),
                    () => return Pushed::Foreign,
                },
                Builder::Byte(builder) => match integer(py, value).and_then(|v| i8::try_from(v).ok()) {
                    Some(number) => builder.append_value(number),
                    None => return Pushed::Foreign,
                },
                Builder::Short(builder) => match integer(py, value).and_then(|v| i16::try_from(v).ok()) {
                    Some(number) => builder.append_value(number),
                    None => return Pushed::Foreign,
                },
                Builder::Integer(builder) => match integer(py, value).and_then(|v| i32::try_from(v).ok()) {
                    Some(number) => builder.append_value(number),
                    None => return Pushed::Foreign,
                },
                Builder::Long(builder) => match integer(py, value) {
                    Some(number) => builder.append_value(number),
                    None => return Pushed::Foreign,
                },
                Builder::Float(builder) => {
                    match floating(py, value, if self.exact { NO_INTEGERS } else { FLOAT_INTEGERS }) {
                        Some(Number::Real(number)) => builder.append_value(number as f32),
                        Some(Number::Integer(number)) => {
                            self.integers.push((builder.len(), number));
                            builder.append_value(number as f32);
                        }
                        None => return Pushed::Foreign,
                    }
                }
                Builder::Double(builder) => {
                    match floating(py, value, if self.exact { NO_INTEGERS } else { DOUBLE_INTEGERS }) {
                        Some(Number::Real(number)) => builder.append_value(number),
                        Some(Number::Integer(number)) => {
                            self.integers.push((builder.len(), number));
                            builder.append_value(number as f64);
                        }
                        None => return Pushed::Foreign,
                    }
                }
                Builder::String(_) | Builder::LargeString(_) => return self.push_string(py, value),
                Builder::Binary(_) | Builder::LargeBinary(_) => return self.push_binary(value),
                Builder::Date(builder) => match self.times.days_of(py, value) {
                    Some(Ok(days)) => builder.append_value(days),
                    Some(Err(())) => return Pushed::Raised,
                    None => return Pushed::Foreign,
                },
                Builder::Timestamp(builder) => match self.times.instant(py, value) {
                    Some(Ok(micros)) => builder.append_value(micros),
                    Some(Err(())) => return Pushed::Raised,
                    None => return Pushed::Foreign,
                },
                Builder::TimestampNtz(builder) => match self.times.naive_micros(py, value) {
                    Some(Ok(micros)) => builder.append_value(micros),
                    Some(Err(())) => return Pushed::Raised,
                    None => return Pushed::Foreign,
                },
                Builder::DayTimeInterval(builder) => match self.times.micros_of_delta(py, value) {
                    Some(micros) => builder.append_value(micros),
                    None => return Pushed::Foreign,
                },
                Builder::Foreign => return Pushed::Foreign,
            }
        }
        Pushed::Taken
    }

    /// Appends a null; where all values are foreign, nothing.
    pub fn push_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(builder) => builder.append_null(),
            Builder::Byte(builder) => builder.append_null(),
            Builder::Short(builder) => builder.append_null(),
            Builder::Integer(builder) => builder.append_null(),
            Builder::Long(builder) => builder.append_null(),
            Builder::Float(builder) => builder.append_null(),
            Builder::Double(builder) => builder.append_null(),
            Builder::String(builder) => builder.append_null(),
            Builder::LargeString(builder) => builder.append_null(),
            Builder::Binary(builder) => builder.append_null(),
            Builder::LargeBinary(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Timestamp(builder) | Builder::TimestampNtz(builder) => builder.append_null(),
            Builder::DayTimeInterval(builder) => builder.append_null(),
            Builder::Foreign => {}
        }
    }

    /// # Safety
    /// As for [`Self::push`].
    unsafe fn push_string(&mut self, _py: Python<'_>, value: *mut ffi::PyObject) -> Pushed {
        // SAFETY: the lock is held and the value is live; the text lives as long as the value.
        let text = unsafe {
            if ffi::PyUnicode_CheckExact(value) == 0 {
                return Pushed::Foreign;
            }
            let mut length = 0;
            let bytes = ffi::PyUnicode_AsUTF8AndSize(value, &raw mut length);
            if bytes.is_null() {
                // Lone surrogates: PySpark's conversion says it in its own words.
                ffi::PyErr_Clear();
                return Pushed::Foreign;
            }
            std::str::from_utf8_unchecked(std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize))
        };
        if let Builder::String(builder) = &mut self.builder
            && builder.values_slice().len() + text.len() > NARROW_BYTES
        {
            let narrow = builder.finish();
            let mut wide = LargeStringBuilder::with_capacity(narrow.len() + 1, narrow.value_data().len() * 2);
            narrow.iter().for_each(|value| wide.append_option(value));
            self.builder = Builder::LargeString(wide);
        }
        match &mut self.builder {
            Builder::String(builder) => builder.append_value(text),
            Builder::LargeString(builder) => builder.append_value(text),
            _ => return Pushed::Foreign,
        }
        Pushed::Taken
    }

    /// # Safety
    /// As for [`Self::push`].
    unsafe fn push_binary(&mut self, value: *mut ffi::PyObject) -> Pushed {
        // SAFETY: the lock is held and the value is live. A bytearray cannot change while no Python code runs.
        let data = unsafe {
            let (bytes, length) = if ffi::PyBytes_CheckExact(value) != 0 {
                (ffi::PyBytes_AsString(value), ffi::PyBytes_Size(value))
            } else if ffi::PyByteArray_CheckExact(value) != 0 {
                (ffi::PyByteArray_AsString(value), ffi::PyByteArray_Size(value))
            } else {
                return Pushed::Foreign;
            };
            std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize)
        };
        if let Builder::Binary(builder) = &mut self.builder
            && builder.values_slice().len() + data.len() > NARROW_BYTES
        {
            let narrow = builder.finish();
            let mut wide = LargeBinaryBuilder::with_capacity(narrow.len() + 1, narrow.value_data().len() * 2);
            narrow.iter().for_each(|value| wide.append_option(value));
            self.builder = Builder::LargeBinary(wide);
        }
        match &mut self.builder {
            Builder::Binary(builder) => builder.append_value(data),
            Builder::LargeBinary(builder) => builder.append_value(data),
            _ => return Pushed::Foreign,
        }
        Pushed::Taken
    }

    /// The column so far, and its rows that hold a number which was an integer in Python though the column's are not.
    #[must_use]
    pub fn finish(mut self) -> (ArrayData, Vec<(usize, i64)>) {
        let array = match &mut self.builder {
            Builder::Boolean(builder) => builder.finish().into_data(),
            Builder::Byte(builder) => builder.finish().into_data(),
            Builder::Short(builder) => builder.finish().into_data(),
            Builder::Integer(builder) => builder.finish().into_data(),
            Builder::Long(builder) => builder.finish().into_data(),
            Builder::Float(builder) => builder.finish().into_data(),
            Builder::Double(builder) => builder.finish().into_data(),
            Builder::String(builder) => builder.finish().into_data(),
            Builder::LargeString(builder) => builder.finish().into_data(),
            Builder::Binary(builder) => builder.finish().into_data(),
            Builder::LargeBinary(builder) => builder.finish().into_data(),
            Builder::Date(builder) => builder.finish().into_data(),
            Builder::Timestamp(builder) | Builder::TimestampNtz(builder) => builder.finish().into_data(),
            Builder::DayTimeInterval(builder) => builder.finish().into_data(),
            Builder::Foreign => ArrayData::new_empty(&DataType::Null),
        };
        (array, self.integers)
    }
}

/// The number of an `int` that is nothing else (a `bool` is) and fits.
///
/// # Safety
/// `value` is a live Python object.
unsafe fn integer(_py: Python<'_>, value: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: the lock is held and the value is live.
    unsafe {
        if ffi::PyLong_CheckExact(value) == 0 {
            return None;
        }
        let mut overflow = 0;
        let number = ffi::PyLong_AsLongLongAndOverflow(value, &raw mut overflow);
        (overflow == 0).then_some(number)
    }
}

/// A number of a float or double column.
enum Number {
    Real(f64),
    Integer(i64),
}

/// The value of a `float`, or of an `int` of at most `integers` in size, which the column can hold as it is.
///
/// # Safety
/// `value` is a live Python object.
unsafe fn floating(py: Python<'_>, value: *mut ffi::PyObject, integers: i64) -> Option<Number> {
    // SAFETY: the lock is held and the value is live.
    unsafe {
        if ffi::PyFloat_CheckExact(value) != 0 {
            return Some(Number::Real(ffi::PyFloat_AsDouble(value)));
        }
        let number = integer(py, value)?;
        (-integers..=integers).contains(&number).then_some(Number::Integer(number))
    }
}
