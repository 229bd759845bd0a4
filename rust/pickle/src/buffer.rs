//! Read access to objects that offer the buffer protocol.
//!
//! `Py_buffer` joined the limited API with Python 3.11 with the layout it has had since 3.3; the functions are
//! exported by every CPython since 3.0. They are declared here because this crate is built for 3.10 and later.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// `Py_buffer` as the stable ABI of 3.11 fixes it.
#[repr(C)]
struct RawBuffer {
    buf: *mut c_void,
    obj: *mut PyObject,
    len: Py_ssize_t,
    itemsize: Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut Py_ssize_t,
    strides: *mut Py_ssize_t,
    suboffsets: *mut Py_ssize_t,
    internal: *mut c_void,
}

unsafe extern "C" {
    fn PyObject_GetBuffer(obj: *mut PyObject, view: *mut RawBuffer, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut RawBuffer);
}

/// `PyBUF_ANY_CONTIGUOUS | PyBUF_STRIDES` of the C API: contiguous in C or Fortran order, read-only or not.
const ANY_CONTIGUOUS: c_int = 0x0080 | 0x0018;

/// A buffer held open: the bytes stay where they are until it is dropped.
pub(crate) struct Buffer<'py> {
    raw: Box<RawBuffer>,
    _py: Python<'py>,
}

impl<'py> Buffer<'py> {
    /// Opens the buffer of `obj`, which must be contiguous in C or Fortran order.
    ///
    /// # Errors
    /// Whatever the object raises: `TypeError` if it has no buffer, `BufferError` if it is not contiguous.
    pub(crate) fn open(obj: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut raw = Box::new(MaybeUninit::<RawBuffer>::zeroed());
        // SAFETY: `obj` is a live object and `raw` has the layout the interpreter fills in.
        let status = unsafe { PyObject_GetBuffer(obj.as_ptr(), raw.as_mut_ptr(), ANY_CONTIGUOUS) };
        if status != 0 {
            return Err(PyErr::fetch(obj.py()));
        }
        // SAFETY: the call succeeded, so every field is set; all-zero is valid for each of them anyway.
        let raw = unsafe { raw.assume_init() };
        Ok(Self { raw, _py: obj.py() })
    }

    /// The bytes, in memory order.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.raw.len == 0 || self.raw.buf.is_null() {
            return &[];
        }
        // SAFETY: the exporter promises `len` bytes at `buf` while the export lives, which is as long as `self`.
        unsafe { std::slice::from_raw_parts(self.raw.buf.cast::<u8>(), self.raw.len.unsigned_abs()) }
    }

    pub(crate) fn is_readonly(&self) -> bool {
        self.raw.readonly != 0
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: opened in `open`, released once, and `_py` says that the interpreter is held.
        unsafe { PyBuffer_Release(&raw mut *self.raw) }
    }
}
