//! Strings of pandas as an Arrow array: pyarrow looks at each three times, for nulls, for its type, and to copy it.

use arrow_array::{Array, builder::StringBuilder};
use arrow_data::ArrayData;
use pyo3::{
    ffi,
    prelude::*,
    types::{PyFloat, PyList, PyString},
};

/// The bytes that 32-bit offsets can address.
const MOST_BYTES: usize = i32::MAX as usize;

/// An array of strings, and of `None` and NaN, which are null; none where there is anything else, a string that is no
/// UTF-8, or too much for one array.
#[must_use]
pub fn string_array(values: &Bound<'_, PyList>) -> Option<ArrayData> {
    let mut array = StringBuilder::with_capacity(values.len(), values.len() * 16);
    for value in values.iter() {
        if let Ok(text) = value.cast_exact::<PyString>() {
            let text = utf8(text)?;
            if array.values_slice().len() + text.len() > MOST_BYTES {
                return None;
            }
            array.append_value(text);
        } else if value.is_none() || value.cast_exact::<PyFloat>().is_ok_and(|number| number.value().is_nan()) {
            array.append_null();
        } else {
            return None;
        }
    }
    Some(array.finish().into_data())
}

/// The text of a string, without a copy; none where it has lone surrogates.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Option<&'a str> {
    let mut length = 0;
    // SAFETY: the string is alive; its text, which it keeps, is UTF-8 and lives as long as it does. Null leaves an
    // exception, which is not wanted.
    unsafe {
        let bytes = ffi::PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut length);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(std::str::from_utf8_unchecked(std::slice::from_raw_parts(bytes.cast::<u8>(), length as usize)))
    }
}
