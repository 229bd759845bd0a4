//! Classes: by reference where the receiver can import them.

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::opcodes as op;
use crate::save::{Rest, Saver};

impl<'py> Saver<'py> {
    /// A class.
    pub(crate) fn class(&mut self, class: &Bound<'py, PyType>) -> Rest<'py> {
        let obj = class.as_any();
        if self.singleton_type(obj)? {
            return Ok(None);
        }
        if let Some(reference) = self.reference(obj)? {
            return self.save_reference(obj, &reference);
        }
        if let Some(name) = self.name_in_types(obj)? {
            self.standard("types", &name)?;
            return Ok(None);
        }
        let name = class.fully_qualified_name()?;
        Err(self.pickling_error(&format!("cannot pickle the class '{name}': it cannot be imported")))
    }

    /// `type(None)` and its like have no name to import: they are asked of their only instance.
    fn singleton_type(&mut self, class: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = self.py;
        let none = py.None();
        for (instance, name) in
            [(&none, ""), (&self.known.ellipsis, "Ellipsis"), (&self.known.not_implemented, "NotImplemented")]
        {
            if class.is(instance.bind(py).get_type()) {
                self.standard("builtins", "type")?;
                if name.is_empty() {
                    self.writer.byte(op::NONE);
                } else {
                    self.standard("builtins", name)?;
                }
                self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
                self.memoize(class);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
