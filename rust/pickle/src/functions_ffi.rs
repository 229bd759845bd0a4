//! The attributes of a function object, and those that a class has or inherits, read without creating what is not there.
//!
//! `function.__dict__` and `function.__annotations__` make a dictionary where there was none, and a look-up by name takes ten
//! times as long; one on a class asks its metaclass, and raises where there is nothing. These functions are outside the
//! limited API, and exported unchanged by every CPython from 3.10 to 3.14.

use pyo3::ffi::{PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

unsafe extern "C" {
    fn PyFunction_GetCode(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetGlobals(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetModule(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetDefaults(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetKwDefaults(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetClosure(function: *mut PyObject) -> *mut PyObject;
    fn PyFunction_GetAnnotations(function: *mut PyObject) -> *mut PyObject;
    fn _PyObject_GetDictPtr(object: *mut PyObject) -> *mut *mut PyObject;
    fn _PyType_Lookup(class: *mut PyTypeObject, name: *mut PyObject) -> *mut PyObject;
}

/// What the first class of the method resolution order that has `name` in its `__dict__` has there: neither the metaclass
/// is asked nor a descriptor called.
pub(crate) fn in_class<'py>(class: &Bound<'py, PyType>, name: &Bound<'py, PyString>) -> Option<Bound<'py, PyAny>> {
    // SAFETY: both are alive; a reference of our own to what is lent is taken before anything else runs. Null is "nothing
    // there", without an exception.
    unsafe { Bound::from_borrowed_ptr_or_opt(class.py(), _PyType_Lookup(class.as_type_ptr(), name.as_ptr())) }
}

/// A function object, and nothing else: the getters below raise for other objects.
pub(crate) struct FunctionParts<'f, 'py>(&'f Bound<'py, PyAny>);

impl<'f, 'py> FunctionParts<'f, 'py> {
    /// `function` must be an instance of `types.FunctionType`.
    pub(crate) fn of(function: &'f Bound<'py, PyAny>) -> Self {
        Self(function)
    }

    /// Calls a getter that lends what the function holds, or null.
    fn part(
        &self,
        getter: unsafe extern "C" fn(*mut PyObject) -> *mut PyObject,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = self.0.py();
        // SAFETY: the function is alive, and a reference of our own to what it lends is taken before anything else runs.
        let part = unsafe { Bound::from_borrowed_ptr_or_opt(py, getter(self.0.as_ptr())) };
        match part {
            Some(part) => Ok((!part.is_none()).then_some(part)),
            // Null is "nothing there" for a function, and an error for anything else.
            None if PyErr::occurred(py) => Err(PyErr::fetch(py)),
            None => Ok(None),
        }
    }

    pub(crate) fn code(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetCode)
    }

    pub(crate) fn globals(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetGlobals)
    }

    pub(crate) fn module(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetModule)
    }

    pub(crate) fn defaults(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetDefaults)
    }

    pub(crate) fn keyword_defaults(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetKwDefaults)
    }

    pub(crate) fn closure(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetClosure)
    }

    /// Until 3.13: from 3.14 on this runs `__annotate__`.
    pub(crate) fn annotations(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.part(PyFunction_GetAnnotations)
    }

    /// `__dict__`, if the function has one.
    pub(crate) fn attributes(&self) -> Option<Bound<'py, PyDict>> {
        // SAFETY: the function is alive; the pointer that is returned points into it, and a reference of our own to the
        // dictionary is taken before anything else runs.
        let dict = unsafe {
            let place = _PyObject_GetDictPtr(self.0.as_ptr());
            if place.is_null() {
                return None;
            }
            Bound::from_borrowed_ptr_or_opt(self.0.py(), *place)
        };
        dict?.cast_into::<PyDict>().ok()
    }
}
