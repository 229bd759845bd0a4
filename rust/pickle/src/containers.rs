//! Lists, tuples, dictionaries and sets: in batches, as the standard library writes them.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PyIterator, PyList, PySet, PyString, PyTuple};

use crate::frame::{DictFrame, Elements, ElementsFrame, Frame, Label, Role, Step};
use crate::opcodes as op;
use crate::save::{Rest, Saver, is_leaf};
use crate::sets;

impl<'py> Saver<'py> {
    pub(crate) fn dict(&mut self, dict: &Bound<'py, PyDict>, role: Role) -> Option<Frame<'py>> {
        self.writer.byte(op::EMPTY_DICT);
        self.memoize(dict.as_any());
        self.dict_items(dict, role)
    }

    /// The items of a dictionary that stands on the pickle's stack already.
    pub(crate) fn dict_items(&mut self, dict: &Bound<'py, PyDict>, role: Role) -> Option<Frame<'py>> {
        let len = dict.len();
        if len == 0 {
            return None;
        }
        let single = len == 1;
        if !single {
            self.writer.byte(op::MARK);
        }
        Some(Frame::Dict(Box::new(DictFrame {
            dict: dict.clone(),
            position: 0,
            len,
            in_batch: 0,
            single,
            key: None,
            value: None,
            in_key: false,
            role,
        })))
    }

    pub(crate) fn advance_dict(&mut self, frame: &mut DictFrame<'py>) -> Rest<'py> {
        loop {
            if frame.in_key {
                frame.in_key = false;
                if let Some(value) = frame.value.take()
                    && let Some(rest) = self.save(&value, Role::Data)?
                {
                    return Ok(Some(rest));
                }
            }
            if frame.in_batch == op::BATCH {
                self.writer.bytes(&[op::SETITEMS, op::MARK]);
                frame.in_batch = 0;
            }
            if frame.dict.len() != frame.len {
                return Err(PyRuntimeError::new_err("dictionary changed size during iteration"));
            }
            let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
            // SAFETY: the dictionary is alive, and the position is one that this function left there.
            let more =
                unsafe { ffi::PyDict_Next(frame.dict.as_ptr(), &raw mut frame.position, &raw mut key, &raw mut value) };
            if more == 0 {
                self.writer.byte(if frame.single { op::SETITEM } else { op::SETITEMS });
                return Ok(None);
            }
            // SAFETY: `PyDict_Next` lends both; references of our own are taken before anything else can run.
            let (key, value) =
                unsafe { (Bound::from_borrowed_ptr(self.py, key), Bound::from_borrowed_ptr(self.py, value)) };
            frame.in_batch += 1;
            frame.value = Some(value);
            frame.in_key = true;
            frame.key = Some(key.clone());
            let rest = if frame.role == Role::State
                && let Ok(text) = key.cast_exact::<PyString>()
                && self.options.persistent_id.is_none()
            {
                self.name(text)?;
                None
            } else {
                self.save(&key, Role::Data)?
            };
            if rest.is_some() {
                return Ok(rest);
            }
        }
    }

    pub(crate) fn advance_list(&mut self, list: &Bound<'py, PyList>, next: &mut usize, single: bool) -> Rest<'py> {
        // `next` counts what has been begun; a batch is closed when its last item is done.
        let plain = self.options.persistent_id.is_none();
        loop {
            let done = *next;
            let ended = done >= list.len() || (single && done == 1);
            if done > 0 && (ended || done.is_multiple_of(op::BATCH)) {
                self.writer.byte(if single { op::APPEND } else { op::APPENDS });
            }
            if ended {
                return Ok(None);
            }
            self.tick()?;
            if done.is_multiple_of(op::BATCH) && !single {
                self.writer.byte(op::MARK);
            }
            let batch_end = if single { 1 } else { (done / op::BATCH + 1) * op::BATCH };
            while *next < batch_end {
                if plain && self.list_int(list, *next) {
                    *next += 1;
                    continue;
                }
                // The list may have shrunk meanwhile.
                let Ok(item) = list.get_item(*next) else { break };
                *next += 1;
                let rest = self.save(&item, Role::Data)?;
                if rest.is_some() {
                    return Ok(rest);
                }
            }
        }
    }

    /// Writes an item that is a small integer; false if it is anything else. Lists of numbers are what this is for.
    #[inline]
    fn list_int(&mut self, list: &Bound<'py, PyList>, index: usize) -> bool {
        // SAFETY: the item is borrowed from the list, which nothing can change before the value is read: the type is
        // compared by address and reading an exact int runs no code. An index beyond the end gives null and an error,
        // which is cleared.
        unsafe {
            let item = ffi::PyList_GetItem(list.as_ptr(), index.cast_signed());
            if item.is_null() {
                ffi::PyErr_Clear();
                return false;
            }
            if ffi::Py_TYPE(item) != &raw mut ffi::PyLong_Type {
                return false;
            }
            let mut overflow = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(item, &raw mut overflow);
            if overflow != 0 {
                return false;
            }
            self.writer.boundary();
            self.writer.int(value);
        }
        true
    }

    pub(crate) fn tuple(&mut self, tuple: &Bound<'py, PyTuple>, role: Role) -> Rest<'py> {
        let len = tuple.len();
        if len == 0 {
            self.writer.byte(op::EMPTY_TUPLE);
            return Ok(None);
        }
        if len > 3 {
            self.writer.byte(op::MARK);
        }
        // Leaves need no frame; anything else gets one, or nested tuples would nest calls.
        let mut next = 0;
        let at_once = self.options.persistent_id.is_none() && self.options.protocol >= 3 && self.trace.is_none();
        if at_once && tuple.iter_borrowed().all(is_leaf) {
            return self.advance_tuple(tuple, &mut next, role);
        }
        Ok(Some(Frame::Tuple(tuple.clone(), next, role)))
    }

    pub(crate) fn advance_tuple(&mut self, tuple: &Bound<'py, PyTuple>, next: &mut usize, role: Role) -> Rest<'py> {
        let len = tuple.len();
        let child_role = if role == Role::State { Role::State } else { Role::Data };
        while *next < len {
            let item = tuple.get_borrowed_item(*next)?;
            *next += 1;
            let rest = self.save(&item, child_role)?;
            if rest.is_some() {
                return Ok(rest);
            }
        }
        if let Some(number) = self.memo.get(tuple.as_any()) {
            // A cycle through the tuple has written it meanwhile.
            if len > 3 {
                self.writer.byte(op::POP_MARK);
            } else {
                for _ in 0..len {
                    self.writer.byte(op::POP);
                }
            }
            self.writer.get(number);
            return Ok(None);
        }
        self.writer.byte(match len {
            1 => op::TUPLE1,
            2 => op::TUPLE2,
            3 => op::TUPLE3,
            _ => op::TUPLE,
        });
        self.memoize(tuple.as_any());
        Ok(None)
    }

    pub(crate) fn set(&mut self, set: &Bound<'py, PySet>) -> Rest<'py> {
        let items = sets::in_order(set.as_any(), &self.memo)?;
        if self.options.protocol < 4 {
            return self.old_set(set.as_any(), "set", items);
        }
        self.writer.byte(op::EMPTY_SET);
        self.memoize(set.as_any());
        if items.is_empty() {
            return Ok(None);
        }
        self.writer.byte(op::MARK);
        Ok(Some(Frame::Elements(Box::new(ElementsFrame { items, next: 0, kind: Elements::Set }))))
    }

    pub(crate) fn frozenset(&mut self, set: &Bound<'py, PyFrozenSet>) -> Rest<'py> {
        let items = sets::in_order(set.as_any(), &self.memo)?;
        if self.options.protocol < 4 {
            return self.old_set(set.as_any(), "frozenset", items);
        }
        self.writer.byte(op::MARK);
        let kind = Elements::Frozen(set.clone().into_any());
        Ok(Some(Frame::Elements(Box::new(ElementsFrame { items, next: 0, kind }))))
    }

    fn old_set(&mut self, set: &Bound<'py, PyAny>, class: &'static str, items: Vec<Bound<'py, PyAny>>) -> Rest<'py> {
        let arguments = PyTuple::new(self.py, [PyList::new(self.py, items)?])?;
        let steps =
            vec![Step::Global("builtins", class), Step::Save(arguments.into_any(), Role::Arguments, Label::Silent)];
        Ok(Some(self.call_script(steps, set)))
    }

    pub(crate) fn advance_elements(&mut self, frame: &mut ElementsFrame<'py>) -> Rest<'py> {
        loop {
            while let Some(item) = frame.items.get(frame.next) {
                let item = item.clone();
                if matches!(frame.kind, Elements::Set) && frame.next > 0 && frame.next.is_multiple_of(op::BATCH) {
                    self.writer.bytes(&[op::ADDITEMS, op::MARK]);
                }
                frame.next += 1;
                let rest = self.save(&item, Role::Data)?;
                if rest.is_some() {
                    return Ok(rest);
                }
            }
            match &frame.kind {
                Elements::Set => self.writer.byte(op::ADDITEMS),
                Elements::Frozen(set) => self.close_frozenset(&set.clone()),
                Elements::Appends(iterator) => {
                    let iterator = iterator.clone();
                    if self.next_batch(frame, &iterator, false)? {
                        continue;
                    }
                }
                Elements::SetItems(iterator) => {
                    let iterator = iterator.clone();
                    if self.next_batch(frame, &iterator, true)? {
                        continue;
                    }
                }
            }
            return Ok(None);
        }
    }

    fn close_frozenset(&mut self, set: &Bound<'py, PyAny>) {
        if let Some(number) = self.memo.get(set) {
            self.writer.byte(op::POP_MARK);
            self.writer.get(number);
        } else {
            self.writer.byte(op::FROZENSET);
            self.memoize(set);
        }
    }

    /// Closes the batch that is done and takes the next one from the iterator; false at its end.
    fn next_batch(
        &mut self,
        frame: &mut ElementsFrame<'py>,
        iterator: &Bound<'py, PyIterator>,
        pairs: bool,
    ) -> PyResult<bool> {
        let width = if pairs { 2 } else { 1 };
        let (one, many) = if pairs { (op::SETITEM, op::SETITEMS) } else { (op::APPEND, op::APPENDS) };
        match frame.items.len() / width {
            0 => {}
            1 => self.writer.byte(one),
            _ => self.writer.byte(many),
        }
        frame.items.clear();
        frame.next = 0;
        let mut items = iterator.clone();
        while frame.items.len() < op::BATCH * width {
            let Some(item) = items.next().transpose()? else { break };
            if pairs {
                let pair = item.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2);
                let Some(pair) = pair else {
                    return Err(self.pickling_error("dict items iterator must return 2-tuples"));
                };
                frame.items.push(pair.get_item(0)?);
                frame.items.push(pair.get_item(1)?);
            } else {
                frame.items.push(item);
            }
        }
        if frame.items.len() / width > 1 {
            self.writer.byte(op::MARK);
        }
        Ok(!frame.items.is_empty())
    }
}
