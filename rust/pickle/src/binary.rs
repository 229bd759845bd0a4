//! Bytes, byte arrays and buffers, in band and out of band (PEP 574).

use pyo3::exceptions::PyBufferError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes};

use crate::frame::{Frame, Label, Role, Step};
use crate::opcodes as op;
use crate::save::{Rest, Saver};

impl<'py> Saver<'py> {
    pub(crate) fn save_bytes(&mut self, bytes: &Bound<'py, PyBytes>) -> Rest<'py> {
        if self.options.protocol >= 3 {
            self.writer.bytes_object(bytes);
            self.memoize(bytes.as_any());
            return Ok(None);
        }
        // Protocol 2 has no bytes: Python 3 writes a call that gives them back there.
        let steps = if bytes.as_bytes().is_empty() {
            vec![Step::Global("builtins", "bytes"), Step::Op(&[op::EMPTY_TUPLE])]
        } else {
            let latin1 = bytes.call_method1(intern!(self.py, "decode"), ("latin-1",))?;
            vec![
                Step::Global("_codecs", "encode"),
                Step::Save(latin1, Role::Data, Label::Silent),
                Step::Name("latin1"),
                Step::Op(&[op::TUPLE2]),
            ]
        };
        Ok(Some(self.call_script(steps, bytes.as_any())))
    }

    pub(crate) fn call_script(&self, mut steps: Vec<Step<'py>>, obj: &Bound<'py, PyAny>) -> Frame<'py> {
        steps.push(Step::Op(&[op::REDUCE]));
        steps.push(Step::Memoize(obj.clone()));
        Frame::script(steps)
    }

    pub(crate) fn save_bytearray(&mut self, array: &Bound<'py, PyByteArray>) -> Rest<'py> {
        if self.options.protocol >= 5 {
            self.writer.bytearray(array)?;
            self.memoize(array.as_any());
            return Ok(None);
        }
        let mut steps = vec![Step::Global("builtins", "bytearray")];
        if array.is_empty() {
            steps.push(Step::Op(&[op::EMPTY_TUPLE]));
        } else {
            // SAFETY: nothing else runs between the look at the bytes and their copy.
            let copy = PyBytes::new(self.py, unsafe { array.as_bytes() });
            steps.push(Step::Save(copy.into_any(), Role::Data, Label::Silent));
            steps.push(Step::Op(&[op::TUPLE1]));
        }
        Ok(Some(self.call_script(steps, array.as_any())))
    }

    /// An instance of `PickleBuffer`: out of band where there is a callback, else as bytes.
    pub(crate) fn pickle_buffer(&mut self, obj: &Bound<'py, PyAny>) -> Rest<'py> {
        if self.options.protocol < 5 {
            return Err(self.pickling_error("PickleBuffer can only be pickled with protocol >= 5"));
        }
        let buffer = crate::buffer::Buffer::open(obj).map_err(|error| {
            if error.is_instance_of::<PyBufferError>(self.py) {
                self.pickling_error("PickleBuffer can not be pickled when pointing to a non-contiguous buffer")
            } else {
                error
            }
        })?;
        let readonly = buffer.is_readonly();
        if let Some(callback) = &self.options.buffer_callback
            && !callback.call1((obj,))?.is_truthy()?
        {
            self.writer.byte(op::NEXT_BUFFER);
            if readonly {
                self.writer.byte(op::READONLY_BUFFER);
            }
            return Ok(None);
        }
        self.writer.buffer(buffer, !readonly);
        self.memoize(obj);
        Ok(None)
    }
}
