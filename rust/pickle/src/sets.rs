//! The order in which the elements of a set are written: by value where the values have an order that every process
//! agrees on, so that the bytes do not depend on `PYTHONHASHSEED` or on addresses.

use std::ops::Range;

use pyo3::exceptions::PyMemoryError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyString, PyTuple, PyType};

use crate::known::{Known, known};
use crate::memo::Memo;
use crate::memory;

/// Values inside of values are looked at to this depth.
const MAX_DEPTH: u8 = 8;
/// So many values are looked at for each element: what leads to more is no plain value.
const VALUES_EACH: usize = 64;

/// The elements of `set`, sorted if the order can be told from what they are.
///
/// Which elements that is: plain values, tuples and frozen sets of them, functions and classes (by name), members of
/// enums, and objects that hold nothing else (dates, decimals, named tuples, frozen dataclasses). Others come last, in the
/// order in which they were written before; a set with one that was not stays in its own order.
///
/// # Errors
/// `MemoryError`, or what iterating over a set raises.
pub(crate) fn in_order<'py>(set: &Bound<'py, PyAny>, memo: &Memo) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let mut items = Vec::new();
    for item in set.try_iter()? {
        granted(memory::reserve(&mut items, 1))?;
        items.push(item?);
        look_at_signals(set.py(), items.len())?;
    }
    if items.len() < 2 {
        return Ok(items);
    }
    let mut keys = Keys::new(set.py(), items.len() * VALUES_EACH)?;
    let mut ranges: Vec<(Range<usize>, usize)> = Vec::new();
    granted(memory::reserve(&mut ranges, items.len()))?;
    for (index, item) in items.iter().enumerate() {
        let start = keys.bytes.len();
        if !keys.add(item, 0)? {
            let Some(number) = memo.get(item) else { return Ok(items) };
            keys.bytes.truncate(start);
            keys.push(b'\xff', &number.to_be_bytes())?;
        }
        ranges.push((start..keys.bytes.len(), index));
        look_at_signals(set.py(), index)?;
    }
    keys.sort(&mut ranges);
    let mut sorted = Vec::new();
    granted(memory::reserve(&mut sorted, items.len()))?;
    sorted.extend(ranges.iter().filter_map(|(_, index)| items.get(*index).cloned()));
    Ok(sorted)
}

/// Lets a `KeyboardInterrupt` through now and then.
fn look_at_signals(py: Python<'_>, count: usize) -> PyResult<()> {
    if count.is_multiple_of(8192) { py.check_signals() } else { Ok(()) }
}

fn granted(memory: bool) -> PyResult<()> {
    if memory { Ok(()) } else { Err(PyMemoryError::new_err(())) }
}

/// Bytes that order values, one after the other.
struct Keys {
    known: &'static Known,
    bytes: Vec<u8>,
    /// How many more values may be looked at.
    budget: usize,
}

impl Keys {
    fn new(py: Python<'_>, budget: usize) -> PyResult<Self> {
        Ok(Self { known: known(py)?, bytes: Vec::new(), budget })
    }

    fn sort(&self, ranges: &mut [(Range<usize>, usize)]) {
        let key = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        // The stable sort would ask for memory; the numbers make this one stable.
        ranges.sort_unstable_by(|left, right| key(&left.0).cmp(key(&right.0)).then(left.1.cmp(&right.1)));
    }

    fn push(&mut self, kind: u8, bytes: &[u8]) -> PyResult<()> {
        granted(memory::reserve(&mut self.bytes, bytes.len() + 1))?;
        self.bytes.push(kind);
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn sized(&mut self, kind: u8, bytes: &[u8]) -> PyResult<()> {
        self.push(kind, &(bytes.len() as u64).to_be_bytes())?;
        self.push(b':', bytes)
    }

    /// Adds what `obj` is; false if that cannot be told.
    fn add(&mut self, obj: &Bound<'_, PyAny>, depth: u8) -> PyResult<bool> {
        let Some(budget) = self.budget.checked_sub(1) else { return Ok(false) };
        self.budget = budget;
        if let Ok(text) = obj.cast_exact::<PyString>() {
            let lossy = text.to_string_lossy(); // two lone surrogates stay in the set's own order
            self.push(b's', lossy.as_bytes())?;
            self.push(0, &[])?;
        } else if obj.is_exact_instance_of::<PyInt>() {
            match obj.extract::<i64>() {
                Ok(value) => self.push(b'i', &(value.cast_unsigned() ^ (1 << 63)).to_be_bytes())?,
                // Any order will do.
                Err(_) => {
                    let digits = obj.call_method1(intern!(obj.py(), "__format__"), ("x",))?;
                    self.sized(b'j', digits.cast::<PyString>()?.to_string_lossy().as_bytes())?;
                }
            }
        } else if let Ok(float) = obj.cast_exact::<PyFloat>() {
            self.push(b'f', &float.value().to_bits().to_be_bytes())?;
        } else if let Ok(truth) = obj.cast_exact::<PyBool>() {
            self.push(b'b', &[u8::from(truth.is_true())])?;
        } else if let Ok(bytes) = obj.cast_exact::<PyBytes>() {
            self.sized(b'y', bytes.as_bytes())?;
        } else if obj.is_none() {
            self.push(b'n', &[])?;
        } else if depth > MAX_DEPTH {
            return Ok(false);
        } else if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
            self.push(b't', &(tuple.len() as u64).to_be_bytes())?;
            for item in tuple.iter() {
                if !self.add(&item, depth + 1)? {
                    return Ok(false);
                }
            }
        } else if obj.is_exact_instance_of::<PyFrozenSet>() {
            return self.add_frozen_set(obj, depth);
        } else if obj.is_instance_of::<PyType>() || obj.get_type().is(&self.known.function) {
            return self.add_names(obj);
        } else {
            return self.add_instance(obj, depth);
        }
        Ok(true)
    }

    fn add_frozen_set(&mut self, set: &Bound<'_, PyAny>, depth: u8) -> PyResult<bool> {
        let mut inner = Self::new(set.py(), self.budget)?;
        let mut ranges = Vec::new();
        for item in set.try_iter()? {
            let start = inner.bytes.len();
            if !inner.add(&item?, depth + 1)? {
                return Ok(false);
            }
            granted(memory::reserve(&mut ranges, 1))?;
            ranges.push((start..inner.bytes.len(), 0));
        }
        self.budget = inner.budget;
        inner.sort(&mut ranges);
        self.push(b'z', &(ranges.len() as u64).to_be_bytes())?;
        for (range, _) in ranges {
            self.push(b',', inner.bytes.get(range).unwrap_or_default())?;
        }
        Ok(true)
    }

    /// Module and qualified name of a class or function, as far as they are told without running its code.
    fn add_names(&mut self, obj: &Bound<'_, PyAny>) -> PyResult<bool> {
        for name in ["__module__", "__qualname__"] {
            let Ok(Some(text)) = obj.getattr_opt(name) else { return Ok(false) };
            let Ok(text) = text.cast_into::<PyString>() else { return Ok(false) };
            self.sized(b'm', text.to_string_lossy().as_bytes())?;
        }
        Ok(true)
    }

    /// An object that is known by its class, its `__dict__` and, for a subclass of a plain type, the value of that.
    fn add_instance(&mut self, obj: &Bound<'_, PyAny>, depth: u8) -> PyResult<bool> {
        let py = obj.py();
        let class = obj.get_type();
        self.push(b'o', &[])?;
        if !self.add_names(class.as_any())? {
            return Ok(false);
        }
        let module = class.getattr(intern!(py, "__module__"))?;
        if is_library_value(module.cast::<PyString>().ok()) {
            // What these reduce to is a call with plain arguments.
            let Ok(reduced) = obj.call_method1(intern!(py, "__reduce_ex__"), (2,)) else { return Ok(false) };
            if let Ok(name) = reduced.cast::<PyString>() {
                self.sized(b'm', name.to_string_lossy().as_bytes())?;
                return Ok(true);
            }
            let Ok(parts) = reduced.cast::<PyTuple>() else { return Ok(false) };
            for part in parts.iter().skip(1) {
                if !self.add_state(&part, depth)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let mut tells = false;
        if let Ok(tuple) = obj.cast::<PyTuple>() {
            tells = true;
            for item in tuple.iter() {
                if !self.add(&item, depth + 1)? {
                    return Ok(false);
                }
            }
        } else if let Ok(text) = obj.cast::<PyString>() {
            tells = true;
            self.sized(b's', text.to_string_lossy().as_bytes())?;
        }
        match obj.getattr_opt(intern!(py, "__dict__")) {
            Ok(Some(state)) if !tells || state.is_truthy()? => Ok(state.is_truthy()? && self.add_state(&state, depth)?),
            _ => Ok(tells),
        }
    }

    /// A dictionary of attributes, or any other value.
    fn add_state(&mut self, state: &Bound<'_, PyAny>, depth: u8) -> PyResult<bool> {
        let Ok(dict) = state.cast_exact::<PyDict>() else { return self.add(state, depth + 1) };
        if dict.contains(intern!(dict.py(), "__objclass__"))?
            && let Some(name) = dict.get_item(intern!(dict.py(), "_name_"))?
            && !name.is_none()
        {
            return self.add(&name, depth + 1); // a member of an enum
        }
        // The order is the one in which the attributes were set. A copy, because what follows may run code.
        for (name, value) in dict.copy()?.iter() {
            if !self.add(&name, depth + 1)? || !self.add(&value, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Modules of the standard library whose objects are values.
fn is_library_value(module: Option<&Bound<'_, PyString>>) -> bool {
    const MODULES: &[&str] =
        &["datetime", "decimal", "fractions", "uuid", "pathlib", "pathlib._local", "ipaddress", "builtins"];
    module.is_some_and(|module| MODULES.iter().any(|known| module == known))
}
