//! The order in which the elements of a set are written: by value where the values have an order that every process
//! agrees on, so that the bytes do not depend on `PYTHONHASHSEED`.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};

/// The elements of `set`, sorted if all of them are plain values.
pub(crate) fn in_order<'py>(set: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let items: Vec<_> = set.try_iter()?.collect::<PyResult<_>>()?;
    if items.len() < 2 {
        return Ok(items);
    }
    let mut keyed = Vec::with_capacity(items.len());
    for item in &items {
        let mut key = Vec::new();
        if !sort_key(item, &mut key, 0) {
            return Ok(items);
        }
        keyed.push((key, item.clone()));
    }
    keyed.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(keyed.into_iter().map(|(_, item)| item).collect())
}

/// Appends bytes that order plain values; false for anything else.
fn sort_key(obj: &Bound<'_, PyAny>, key: &mut Vec<u8>, depth: u8) -> bool {
    if let Ok(text) = obj.cast_exact::<PyString>() {
        key.push(b's');
        let Ok(utf8) = text.to_str() else { return false };
        key.extend_from_slice(utf8.as_bytes());
        key.push(0);
    } else if obj.is_exact_instance_of::<PyInt>() {
        // Large ones have no fixed width: leave such sets as they are.
        let Ok(value) = obj.extract::<i64>() else { return false };
        key.push(b'i');
        key.extend_from_slice(&(value.cast_unsigned() ^ (1 << 63)).to_be_bytes());
    } else if let Ok(float) = obj.cast_exact::<PyFloat>() {
        key.push(b'f');
        key.extend_from_slice(&float.value().to_bits().to_be_bytes());
    } else if let Ok(truth) = obj.cast_exact::<PyBool>() {
        key.extend_from_slice(&[b'b', u8::from(truth.is_true())]);
    } else if let Ok(bytes) = obj.cast_exact::<PyBytes>() {
        key.push(b'y');
        key.extend_from_slice(&(bytes.as_bytes().len() as u64).to_be_bytes());
        key.extend_from_slice(bytes.as_bytes());
    } else if obj.is_none() {
        key.push(b'n');
    } else if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
        key.push(b't');
        if depth > 8 || !tuple.iter().all(|item| sort_key(&item, key, depth + 1)) {
            return false;
        }
        key.push(0);
    } else {
        return false;
    }
    true
}
