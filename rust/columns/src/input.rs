//! Rows of arrays as Python values: the very values that PySpark's Arrow path gives to a `udf`.

use std::ffi::c_char;

use arrow_data::ArrayData;
use pyo3::{ffi, prelude::*};

use crate::SparkType;

/// Python callables for values that have no constructor in Python's stable C interface (`rudf.worker.datetimes`).
#[derive(Debug)]
pub struct TimeConverters {
    /// Days since 1970-01-01 to `datetime.date`.
    pub date: Py<PyAny>,
    /// Microseconds since 1970-01-01 UTC to `datetime.datetime`.
    pub timestamp: Py<PyAny>,
}

/// Reads one column, a row at a time.
#[derive(Debug)]
pub struct ColumnReader<'a> {
    /// Bitmap and the bit of row 0.
    validity: Option<(&'a [u8], usize)>,
    values: Values<'a>,
}

#[derive(Debug)]
enum Values<'a> {
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
    Date(&'a [i32], &'a TimeConverters),
    Timestamp(&'a [i64], &'a TimeConverters),
}

#[derive(Clone, Copy, Debug)]
enum Offsets<'a> {
    Narrow(&'a [i32]),
    Wide(&'a [i64]),
}

impl Offsets<'_> {
    fn range(self, row: usize) -> std::ops::Range<usize> {
        match self {
            Self::Narrow(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            Self::Wide(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
        }
    }
}

impl<'a> ColumnReader<'a> {
    /// Reads `array`, which has the Arrow form of `spark_type` (or the large one).
    #[must_use]
    pub fn new(array: &'a ArrayData, spark_type: SparkType, binary_as_bytes: bool, times: &'a TimeConverters) -> Self {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        let validity = nulls.map(|nulls| (nulls.buffer().as_slice(), nulls.offset()));
        let bytes = || array.buffers().get(1).map_or(&[][..], |buffer| buffer.as_slice());
        let offsets = || {
            if matches!(array.data_type(), arrow_schema::DataType::LargeUtf8 | arrow_schema::DataType::LargeBinary) {
                Offsets::Wide(array.buffer(0))
            } else {
                Offsets::Narrow(array.buffer(0))
            }
        };
        // `ArrayData::buffer` starts at the array's offset.
        let values = match spark_type {
            SparkType::Boolean => Values::Boolean(array.buffers()[0].as_slice(), array.offset()),
            SparkType::Byte => Values::Byte(array.buffer(0)),
            SparkType::Short => Values::Short(array.buffer(0)),
            SparkType::Integer => Values::Integer(array.buffer(0)),
            SparkType::Long => Values::Long(array.buffer(0)),
            SparkType::Float => Values::Float(array.buffer(0)),
            SparkType::Double => Values::Double(array.buffer(0)),
            SparkType::String => Values::String(offsets(), bytes()),
            SparkType::Binary if binary_as_bytes => Values::Binary(offsets(), bytes()),
            SparkType::Binary => Values::ByteArray(offsets(), bytes()),
            SparkType::Date => Values::Date(array.buffer(0), times),
            SparkType::Timestamp => Values::Timestamp(array.buffer(0), times),
        };
        Self { validity, values }
    }

    /// The value of a row, as a new reference; null where a Python exception is set.
    pub fn value(&self, py: Python<'_>, row: usize) -> *mut ffi::PyObject {
        if self.validity.is_some_and(|(bits, first)| !bit(bits, first + row)) {
            return py.None().into_ptr();
        }
        // SAFETY: the interpreter's lock is held, and each call gets the memory and length that belong together.
        unsafe {
            match &self.values {
                Values::Boolean(bits, first) => ffi::PyBool_FromLong(bit(bits, first + row).into()),
                Values::Byte(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Short(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Integer(values) => ffi::PyLong_FromLong(values[row].into()),
                Values::Long(values) => ffi::PyLong_FromLongLong(values[row]),
                Values::Float(values) => ffi::PyFloat_FromDouble(values[row].into()),
                Values::Double(values) => ffi::PyFloat_FromDouble(values[row]),
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
                Values::Date(days, times) => call(times.date.as_ptr(), ffi::PyLong_FromLong(days[row].into())),
                Values::Timestamp(micros, times) => {
                    call(times.timestamp.as_ptr(), ffi::PyLong_FromLongLong(micros[row]))
                }
            }
        }
    }
}

fn address(bytes: &[u8]) -> *const c_char {
    bytes.as_ptr().cast()
}

fn bit(bits: &[u8], index: usize) -> bool {
    bits[index >> 3] >> (index & 7) & 1 != 0
}

/// Calls a converter and drops its argument.
///
/// # Safety
/// The interpreter's lock is held; `argument` is a new reference or null with an exception set.
unsafe fn call(converter: *mut ffi::PyObject, argument: *mut ffi::PyObject) -> *mut ffi::PyObject {
    if argument.is_null() {
        return argument;
    }
    // SAFETY: the caller's promise; a null after the argument ends the list.
    unsafe {
        let result = ffi::PyObject_CallFunctionObjArgs(converter, argument, std::ptr::null_mut::<ffi::PyObject>());
        ffi::Py_DECREF(argument);
        result
    }
}
