//! Attributes of builtin objects, fetched through their descriptors: a third of what a look-up by name takes. Plain fields
//! are read where their descriptor says that they are.

use std::ffi::{CStr, c_char, c_int};

use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// `PyMemberDescrObject`, as every CPython since 2.2 has it; not in the limited API.
#[repr(C)]
struct MemberDescriptor {
    object: PyObject,
    owner: *mut PyTypeObject,
    name: *mut PyObject,
    qualified_name: *mut PyObject,
    member: *const Member,
}

/// `PyMemberDef`.
#[repr(C)]
struct Member {
    name: *const c_char,
    kind: c_int,
    offset: isize,
    flags: c_int,
    doc: *const c_char,
}

/// `T_INT` and `T_OBJECT` of `structmember.h`.
const KIND_INT: c_int = 1;
const KIND_OBJECT: c_int = 6;

/// Where a plain field stands in its object.
#[derive(Clone, Copy)]
enum Field {
    Int(isize),
    Object(isize),
}

/// One attribute of one builtin type.
pub(crate) struct Getter {
    name: &'static str,
    descriptor: Py<PyAny>,
    get: Option<ffi::descrgetfunc>,
    field: Option<Field>,
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
        let owner = class.as_type_ptr();
        let field = field(&descriptor, name, owner);
        Ok(Self { name, descriptor: descriptor.unbind(), get, field, owner })
    }

    /// The attribute of `obj`, where it is an integer.
    ///
    /// # Errors
    /// What the attribute raises, or what is raised for something else than an integer of 64 bits.
    #[inline]
    pub(crate) fn int_of(&self, obj: &Bound<'_, PyAny>) -> PyResult<i64> {
        match self.field {
            // SAFETY: `obj` is an instance of exactly the type whose descriptor has told the offset of this `int`.
            Some(Field::Int(offset)) if obj.get_type_ptr() == self.owner => unsafe {
                Ok(i64::from(obj.as_ptr().byte_offset(offset).cast::<c_int>().read()))
            },
            _ => self.of(obj)?.extract(),
        }
    }

    /// The attribute of a class, from its own record of it: no metaclass is asked.
    ///
    /// # Errors
    /// What the attribute raises.
    #[inline]
    pub(crate) fn of_class<'py>(&self, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
        match self.get {
            // SAFETY: the descriptor belongs to `type`, of which every class is an instance; the function returns a new
            // reference, or null with an exception.
            Some(get) if std::ptr::eq(self.owner, &raw const ffi::PyType_Type) => unsafe {
                let value = get(self.descriptor.as_ptr(), class.as_ptr(), ffi::Py_TYPE(class.as_ptr()).cast());
                Bound::from_owned_ptr_or_err(class.py(), value)
            },
            _ => class.getattr(self.name),
        }
    }

    /// The attribute of `obj`.
    ///
    /// # Errors
    /// What the attribute raises.
    #[inline]
    pub(crate) fn of<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let class = obj.get_type_ptr();
        if let Some(Field::Object(offset)) = self.field
            && class == self.owner
        {
            // SAFETY: as in `int_of`; the field is null or holds a live object, to which a reference of our own is taken.
            let value = unsafe {
                let place = obj.as_ptr().byte_offset(offset).cast::<*mut PyObject>();
                Bound::from_borrowed_ptr_or_opt(obj.py(), place.read())
            };
            return Ok(value.unwrap_or_else(|| obj.py().None().into_bound(obj.py())));
        }
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

/// The field behind a descriptor, if it is a plain one.
fn field(descriptor: &Bound<'_, PyAny>, name: &str, owner: *mut PyTypeObject) -> Option<Field> {
    let class = descriptor.get_type();
    let size: usize = class.getattr("__basicsize__").ok()?.extract().ok()?;
    if class.name().ok()? != "member_descriptor" || size != size_of::<MemberDescriptor>() {
        return None;
    }
    // SAFETY: the descriptor is alive and as large as what is read. What it points to is trusted only where the owner,
    // whose address is known, is where it should be; members are constants of the interpreter.
    unsafe {
        let descriptor = descriptor.as_ptr().cast::<MemberDescriptor>();
        if (*descriptor).owner != owner || (*descriptor).member.is_null() {
            return None;
        }
        let member = &*(*descriptor).member;
        if member.name.is_null() || CStr::from_ptr(member.name).to_str() != Ok(name) {
            return None;
        }
        match member.kind {
            KIND_INT => Some(Field::Int(member.offset)),
            KIND_OBJECT => Some(Field::Object(member.offset)),
            _ => None,
        }
    }
}

/// The attributes of code objects that a pickle holds, those of functions that are compared with them, and those of classes.
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
    pub(crate) class_module: Getter,
    pub(crate) class_name: Getter,
    pub(crate) class_qualname: Getter,
    pub(crate) class_bases: Getter,
    pub(crate) class_dict: Getter,
    pub(crate) class_mro: Getter,
    pub(crate) class_flags: Getter,
}

impl Getters {
    /// # Errors
    /// `KeyError` if this is a Python whose code objects are not as this crate knows them.
    pub(crate) fn new(code: &Bound<'_, PyType>, function: &Bound<'_, PyType>, minor: u8) -> PyResult<Self> {
        let of_code = |name: &'static str| Getter::new(code, name);
        let of_function = |name: &'static str| Getter::new(function, name);
        let class = code.py().get_type::<PyType>();
        let of_class = |name: &'static str| Getter::new(&class, name);
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
            class_module: of_class("__module__")?,
            class_name: of_class("__name__")?,
            class_qualname: of_class("__qualname__")?,
            class_bases: of_class("__bases__")?,
            class_dict: of_class("__dict__")?,
            class_mro: of_class("__mro__")?,
            class_flags: of_class("__flags__")?,
        })
    }
}
