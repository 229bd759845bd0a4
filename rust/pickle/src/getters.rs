//! Attributes of builtin objects, fetched through their descriptors: a third of what a look-up by name takes.

use std::ffi::c_int;

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// One attribute of one builtin type.
pub(crate) struct Getter {
    name: &'static str,
    descriptor: Py<PyAny>,
    get: Option<ffi::descrgetfunc>,
    owner: *mut PyTypeObject,
}

// SAFETY: the pointer is to a builtin type, which lives as long as the interpreter, and is only compared.
unsafe impl Send for Getter {}
// SAFETY: as above.
unsafe impl Sync for Getter {}

impl Getter {
    /// Looks an attribute of a type up.
    ///
    /// # Errors
    /// `KeyError` if the type has no such attribute of its own.
    pub(crate) fn new(class: &Bound<'_, PyType>, name: &'static str) -> PyResult<Self> {
        const TP_DESCR_GET: c_int = ffi::Py_tp_descr_get;
        let descriptor = class.getattr("__dict__")?.get_item(name)?;
        // SAFETY: the type of a descriptor is a live type; the slot, where there is one, holds a function of this type.
        let get = unsafe {
            let slot = ffi::PyType_GetSlot(ffi::Py_TYPE(descriptor.as_ptr()), TP_DESCR_GET);
            (!slot.is_null()).then(|| std::mem::transmute::<*mut std::ffi::c_void, ffi::descrgetfunc>(slot))
        };
        Ok(Self { name, descriptor: descriptor.unbind(), get, owner: class.as_type_ptr() })
    }

    /// The attribute of `obj`.
    ///
    /// # Errors
    /// What the attribute raises.
    #[inline]
    pub(crate) fn of<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let class = obj.get_type_ptr();
        match self.get {
            // SAFETY: `obj` is an instance of exactly the type that the descriptor belongs to; the function returns a
            // new reference, or null with an exception.
            Some(get) if class == self.owner => unsafe {
                let value: *mut PyObject = get(self.descriptor.as_ptr(), obj.as_ptr(), class.cast());
                Bound::from_owned_ptr_or_err(obj.py(), value)
            },
            _ => obj.getattr(self.name),
        }
    }
}

/// The attributes of code objects that a pickle holds, and those of functions that are compared with them.
pub(crate) struct Getters {
    pub(crate) argcount: Getter,
    pub(crate) posonlyargcount: Getter,
    pub(crate) kwonlyargcount: Getter,
    pub(crate) nlocals: Getter,
    pub(crate) stacksize: Getter,
    pub(crate) flags: Getter,
    pub(crate) instructions: Getter,
    pub(crate) consts: Getter,
    pub(crate) names: Getter,
    pub(crate) varnames: Getter,
    pub(crate) freevars: Getter,
    pub(crate) cellvars: Getter,
    pub(crate) filename: Getter,
    pub(crate) name: Getter,
    /// From 3.11 on; before, the name again.
    pub(crate) qualname: Getter,
    pub(crate) firstlineno: Getter,
    pub(crate) linetable: Getter,
    /// From 3.11 on; before, the line table again.
    pub(crate) exceptiontable: Getter,
    pub(crate) function_name: Getter,
    pub(crate) function_qualname: Getter,
    pub(crate) function_doc: Getter,
}

impl Getters {
    /// # Errors
    /// `KeyError` if this is a Python whose code objects are not as this crate knows them.
    pub(crate) fn new(code: &Bound<'_, PyType>, function: &Bound<'_, PyType>, minor: u8) -> PyResult<Self> {
        let of_code = |name: &'static str| Getter::new(code, name);
        let of_function = |name: &'static str| Getter::new(function, name);
        Ok(Self {
            argcount: of_code("co_argcount")?,
            posonlyargcount: of_code("co_posonlyargcount")?,
            kwonlyargcount: of_code("co_kwonlyargcount")?,
            nlocals: of_code("co_nlocals")?,
            stacksize: of_code("co_stacksize")?,
            flags: of_code("co_flags")?,
            instructions: of_code("co_code")?,
            consts: of_code("co_consts")?,
            names: of_code("co_names")?,
            varnames: of_code("co_varnames")?,
            freevars: of_code("co_freevars")?,
            cellvars: of_code("co_cellvars")?,
            filename: of_code("co_filename")?,
            name: of_code("co_name")?,
            qualname: of_code(if minor >= 11 { "co_qualname" } else { "co_name" })?,
            firstlineno: of_code("co_firstlineno")?,
            linetable: of_code("co_linetable")?,
            exceptiontable: of_code(if minor >= 11 { "co_exceptiontable" } else { "co_linetable" })?,
            function_name: of_function("__name__")?,
            function_qualname: of_function("__qualname__")?,
            function_doc: of_function("__doc__")?,
        })
    }
}
