//! Rows of arrays as Python values: the very values that PySpark's Arrow path gives to a `udf`.

use std::{borrow::Cow, ffi::c_char, io::Write as _, ops::Range};

use arrow_data::ArrayData;
use arrow_schema::DataType;
use pyo3::{
    ffi,
    prelude::*,
    types::{PyList, PyString},
};

use crate::{SparkType, datetime::DateTimes};

/// Python's objects for the values of one session.
pub struct ValueMaker {
    pub times: DateTimes,
    /// `decimal.Decimal`.
    decimal: Py<PyAny>,
    /// `pyspark.sql.types.Row`; none where no input has structs.
    row: Option<Py<PyAny>>,
    /// `__fields__`.
    fields: Py<PyString>,
    /// Binaries are `bytes` and not `bytearray`.
    binary_as_bytes: bool,
    /// Values are those of Spark's pickles: what is no UTF-8 in a string is replaced, as Java does, and small decimals
    /// have the zeros that Java's engineering notation adds.
    pub as_pickled: bool,
}

impl ValueMaker {
    /// Objects for values of `types`.
    ///
    /// # Errors
    /// What importing Python's and PySpark's modules raises.
    pub fn new(py: Python<'_>, types: &[SparkType], binary_as_bytes: bool) -> PyResult<Self> {
        let row = if types.iter().any(has_struct) {
            Some(py.import("pyspark.sql.types")?.getattr("Row")?.unbind())
        } else {
            None
        };
        Ok(Self {
            times: DateTimes::new(py)?,
            decimal: py.import("decimal")?.getattr("Decimal")?.unbind(),
            row,
            fields: PyString::intern(py, "__fields__").unbind(),
            binary_as_bytes,
            as_pickled: false,
        })
    }
}

fn has_struct(spark_type: &SparkType) -> bool {
    match spark_type {
        SparkType::Struct(_) => true,
        SparkType::Array { element, .. } => has_struct(element),
        SparkType::Map { key, value, .. } => has_struct(key) || has_struct(value),
        _ => false,
    }
}

/// Reads one column, a row at a time.
pub struct ColumnReader<'a> {
    /// Bitmap and the bit of row 0.
    validity: Option<(&'a [u8], usize)>,
    values: Values<'a>,
    maker: &'a ValueMaker,
}

enum Values<'a> {
    Null,
    /// Bitmap and the bit of row 0.
    Boolean(&'a [u8], usize),
    Byte(&'a [i8]),
    Short(&'a [i16]),
    Integer(&'a [i32]),
    Long(&'a [i64]),
    Float(&'a [f32]),
    Double(&'a [f64]),
    String(Offsets<'a>, &'a [u8]),
    Binary(Offsets<'a>, &'a [u8]),
    /// Binary as `bytearray`.
    ByteArray(Offsets<'a>, &'a [u8]),
    Date(&'a [i32]),
    Timestamp(&'a [i64]),
    /// Timestamps that keep their instant.
    AwareTimestamp(&'a [i64]),
    TimestampNtz(&'a [i64]),
    DayTimeInterval(&'a [i64]),
    Time(&'a [i64]),
    Decimal(&'a [i128], i8),
    Array(Offsets<'a>, Box<ColumnReader<'a>>),
    Map(Offsets<'a>, Box<[ColumnReader<'a>; 2]>),
    Struct(Vec<ColumnReader<'a>>, Py<PyList>),
}

#[derive(Clone, Copy)]
enum Offsets<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl<'a> Offsets<'a> {
    fn of(array: &'a ArrayData) -> Self {
        match array.data_type() {
            DataType::LargeUtf8 | DataType::LargeBinary => Self::Wide(array.buffer(0)),
            _ => Self::Narrow(array.buffer(0)),
        }
    }

    fn range(self, row: usize) -> Range<usize> {
        match self {
            Self::Narrow(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Self::Wide(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
        }
    }
}

impl<'a> ColumnReader<'a> {
    /// Reads `array`, which has the Arrow form of `spark_type` (or the large one).
    #[must_use]
    pub fn new(py: Python<'_>, array: &'a ArrayData, spark_type: &SparkType, maker: &'a ValueMaker) -> Self {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let validity = nulls.map(|nulls| (nulls.buffer().as_slice(), nulls.offset()));
        let bytes = || array.buffers().get(1).map_or(&[][..], |buffer| buffer.as_slice());
        let child = |index: usize, child: &SparkType| Self::new(py, &array.child_data()[index], child, maker);
        // `ArrayData::buffer` starts at the array's offset.
        let values = match spark_type {
            SparkType::Null => Values::Null,
            SparkType::Boolean => Values::Boolean(array.buffers()[0].as_slice(), array.offset()),
            SparkType::Byte => Values::Byte(array.buffer(0)),
            SparkType::Short => Values::Short(array.buffer(0)),
            SparkType::Integer => Values::Integer(array.buffer(0)),
            SparkType::Long => Values::Long(array.buffer(0)),
            SparkType::Float => Values::Float(array.buffer(0)),
            SparkType::Double => Values::Double(array.buffer(0)),
            SparkType::String => Values::String(Offsets::of(array), bytes()),
            SparkType::Binary if maker.binary_as_bytes => Values::Binary(Offsets::of(array), bytes()),
            SparkType::Binary => Values::ByteArray(Offsets::of(array), bytes()),
            SparkType::Date => Values::Date(array.buffer(0)),
            SparkType::Timestamp => Values::Timestamp(array.buffer(0)),
            SparkType::TimestampNtz => Values::TimestampNtz(array.buffer(0)),
            SparkType::DayTimeInterval => Values::DayTimeInterval(array.buffer(0)),
            SparkType::Time => Values::Time(array.buffer(0)),
            SparkType::Decimal { scale, .. } => Values::Decimal(array.buffer(0), *scale),
            SparkType::Array { element, .. } => Values::Array(Offsets::of(array), Box::new(child(0, element))),
            SparkType::Map { key, value, .. } => {
                let entries = &array.child_data()[0];
                let part = |index: usize, part| Self::new(py, &entries.child_data()[index], part, maker);
                Values::Map(Offsets::of(array), Box::new([part(0, key), part(1, value)]))
            }
            SparkType::Struct(fields) => {
                let names = PyList::empty(py);
                for field in fields {
                    // Appending fails only without memory; then a row's names are too few.
                    let _out_of_memory = names.append(&field.name);
                }
                let readers = fields.iter().enumerate().map(|(index, field)| child(index, &field.spark_type));
                Values::Struct(readers.collect(), names.unbind())
            }
        };
        Self { validity, values, maker }
    }

    /// For results of which PySpark's conversion has to see what the function returned: timestamps keep their instant,
    /// binaries are `bytes`.
    #[must_use]
    pub fn of_results(py: Python<'_>, array: &'a ArrayData, spark_type: &SparkType, maker: &'a ValueMaker) -> Self {
        let mut reader = Self::new(py, array, spark_type, maker);
        reader.values = match reader.values {
            Values::Timestamp(micros) => Values::AwareTimestamp(micros),
            Values::ByteArray(offsets, bytes) => Values::Binary(offsets, bytes),
            other => other,
        };
        reader
    }

    /// The value of a row, as a new reference; null where a Python exception is set.
    pub fn value(&self, py: Python<'_>, row: usize) -> *mut ffi::PyObject {
        if self.validity.is_some_and(|(bits, first)| !bit(bits, first + row)) {
            return py.None().into_ptr();
        }
        let times = &self.maker.times;
        // SAFETY: the interpreter's lock is held, and each call gets the memory and length that belong together.
        unsafe {
            match &self.values {
                Values::Null => py.None().into_ptr(),
                Values::Boolean(bits, first) => ffi::PyBool_FromLong(bit(bits, first + row).into()),
                Values::Byte(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Short(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Integer(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Long(values) => ffi::PyLong_FromLongLong(values[row]),
                Values::Float(values) => ffi::PyFloat_FromDouble(values[row].into()),
                Values::Double(values) => ffi::PyFloat_FromDouble(values[row]),
                Values::String(offsets, bytes) if self.maker.as_pickled => {
                    let text = without_surrogates(&bytes[offsets.range(row)]);
                    ffi::PyUnicode_DecodeUTF8(address(&text), text.len() as isize, c"replace".as_ptr())
                }
                Values::String(offsets, bytes) => {
                    let text = &bytes[offsets.range(row)];
                    ffi::PyUnicode_DecodeUTF8(address(text), text.len() as isize, std::ptr::null())
                }
                Values::Binary(offsets, bytes) => {
                    let data = &bytes[offsets.range(row)];
                    ffi::PyBytes_FromStringAndSize(address(data), data.len() as isize)
                }
                Values::ByteArray(offsets, bytes) => {
                    let data = &bytes[offsets.range(row)];
                    ffi::PyByteArray_FromStringAndSize(address(data), data.len() as isize)
                }
                Values::Date(days) => times.date(py, days[row]),
                Values::Timestamp(micros) => times.local(py, micros[row]),
                Values::AwareTimestamp(micros) => times.aware(py, micros[row]),
                Values::TimestampNtz(micros) => times.naive(py, micros[row]),
                Values::DayTimeInterval(micros) => times.delta(py, micros[row]),
                Values::Time(nanos) => times.time(py, nanos[row]),
                Values::Decimal(values, scale) => self.decimal(values[row], *scale),
                Values::Array(offsets, element) => list(py, element, offsets.range(row)),
                Values::Map(offsets, entries) => map(py, entries, offsets.range(row)),
                Values::Struct(fields, names) => self.row(py, fields, names, row),
            }
        }
    }

    /// # Safety
    /// The interpreter's lock is held.
    unsafe fn decimal(&self, unscaled: i128, scale: i8) -> *mut ffi::PyObject {
        let zeros = if self.maker.as_pickled { engineering_zeros(unscaled, scale) } else { 0 };
        let (unscaled, scale) = (unscaled * 10_i128.pow(zeros.into()), scale.saturating_add_unsigned(zeros));
        let mut text = [0_u8; 48];
        let mut rest = &mut text[..];
        // 39 digits, a sign and an exponent fit.
        let _it_fits = write!(rest, "{unscaled}E{}", -i32::from(scale));
        let length = 48 - rest.len();
        // SAFETY: the lock is held, and the text is ASCII of that length.
        unsafe {
            let text = ffi::PyUnicode_DecodeUTF8(text.as_ptr().cast(), length as isize, std::ptr::null());
            if text.is_null() {
                return text;
            }
            let kind = self.maker.decimal.as_ptr();
            let value = ffi::PyObject_CallFunctionObjArgs(kind, text, std::ptr::null_mut::<ffi::PyObject>());
            ffi::Py_DECREF(text);
            value
        }
    }

    /// A `Row` with the names of a struct's fields.
    ///
    /// # Safety
    /// The interpreter's lock is held.
    unsafe fn row(&self, py: Python<'_>, fields: &[Self], names: &Py<PyList>, row: usize) -> *mut ffi::PyObject {
        let Some(class) = &self.maker.row else { return py.None().into_ptr() };
        // SAFETY: the lock is held; the tuple takes each value over, and is ours alone until it is handed on.
        unsafe {
            let values = ffi::PyTuple_New(fields.len() as isize);
            if values.is_null() {
                return values;
            }
            for (index, field) in fields.iter().enumerate() {
                let value = field.value(py, row);
                if value.is_null() {
                    ffi::Py_DECREF(values);
                    return value;
                }
                ffi::PyTuple_SetItem(values, index as isize, value);
            }
            let made = ffi::PyObject_CallObject(class.as_ptr(), values);
            ffi::Py_DECREF(values);
            if !made.is_null() && ffi::PyObject_SetAttr(made, self.maker.fields.as_ptr(), names.as_ptr()) != 0 {
                ffi::Py_DECREF(made);
                return std::ptr::null_mut();
            }
            made
        }
    }
}

/// # Safety
/// The interpreter's lock is held.
unsafe fn list(py: Python<'_>, element: &ColumnReader<'_>, rows: Range<usize>) -> *mut ffi::PyObject {
    // SAFETY: the lock is held; the list takes each value over, and is ours alone until it is complete.
    unsafe {
        let list = ffi::PyList_New(rows.len() as isize);
        if list.is_null() {
            return list;
        }
        for (index, row) in rows.enumerate() {
            let value = element.value(py, row);
            if value.is_null() {
                ffi::Py_DECREF(list);
                return value;
            }
            ffi::PyList_SetItem(list, index as isize, value);
        }
        list
    }
}

/// # Safety
/// The interpreter's lock is held.
unsafe fn map(py: Python<'_>, [keys, values]: &[ColumnReader<'_>; 2], rows: Range<usize>) -> *mut ffi::PyObject {
    // SAFETY: the lock is held; the dictionary gets references of its own.
    unsafe {
        let map = ffi::PyDict_New();
        if map.is_null() {
            return map;
        }
        for row in rows {
            let key = keys.value(py, row);
            let value = if key.is_null() { key } else { values.value(py, row) };
            let failed = value.is_null() || ffi::PyDict_SetItem(map, key, value) != 0;
            ffi::Py_XDECREF(key);
            ffi::Py_XDECREF(value);
            if failed {
                ffi::Py_DECREF(map);
                return std::ptr::null_mut();
            }
        }
        map
    }
}

/// How many zeros `BigDecimal.toEngineeringString` adds to the digits of a number, which have then a smaller exponent: its
/// exponents are multiples of three.
fn engineering_zeros(unscaled: i128, scale: i8) -> u8 {
    let Some(last) = unscaled.unsigned_abs().checked_ilog10() else { return 0 };
    let last = last as i32;
    let exponent = last - i32::from(scale);
    // Larger numbers are written without one.
    if exponent < -6 { (exponent.rem_euclid(3) - last).clamp(0, 2) as u8 } else { 0 }
}

/// Puts one replacement character in place of each surrogate that is written as UTF-8, as Java does; Python has three.
fn without_surrogates(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&0xED) || std::str::from_utf8(text).is_ok() {
        return Cow::Borrowed(text);
    }
    let mut repaired = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, more @ ..] = rest {
        match more {
            [0xA0..=0xBF, third, ..] if *first == 0xED => {
                repaired.extend("\u{FFFD}".as_bytes());
                rest = if matches!(third, 0x80..=0xBF) { &rest[3..] } else { &rest[2..] };
            }
            [0xA0..=0xBF] if *first == 0xED => {
                repaired.extend("\u{FFFD}".as_bytes());
                rest = &[];
            }
            _ => {
                repaired.push(*first);
                rest = more;
            }
        }
    }
    Cow::Owned(repaired)
}

fn address(bytes: &[u8]) -> *const c_char {
    bytes.as_ptr().cast()
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits[index >> 3] >> (index & 7) & 1 != 0
}
