//! The loop: objects are written one after another from a stack of work, so depth costs memory and not stack.

use std::collections::{HashMap, HashSet};

use pyo3::{
    exceptions::{PyException, PyKeyboardInterrupt, PyTypeError},
    ffi, intern,
    prelude::*,
    types::{
        PyBool, PyByteArray, PyBytes, PyCFunction, PyCode, PyDict, PyFloat, PyFrozenSet, PyFunction, PyInt, PyIterator,
        PyList, PyModule, PySet, PyString, PyTuple, PyType,
    },
};

use crate::{
    opcodes::{self as op, Output},
    path::{Path, Step},
    reference,
};

/// Elements behind one mark: a reader collects that many before it appends them.
const BATCH: usize = 1000;

/// How many objects are written between two looks for a signal such as Ctrl-C.
const SIGNAL_INTERVAL: u32 = 4096;

/// Something still to be written.
pub(crate) enum Work<'py> {
    Save(Bound<'py, PyAny>),
    Write(&'static [u8]),
    Text(&'static str),
    /// What was remembered of an object.
    Get(Bound<'py, PyAny>),
    GetIndex(u32),
    Remember(Bound<'py, PyAny>),
    /// The rest of a list, from an index on.
    Elements(Bound<'py, PyList>, usize),
    /// The rest of the elements of a set.
    Members(Bound<'py, PyList>, usize),
    /// The rest of the items of a dictionary; the flag says that keys are attributes.
    Items(Bound<'py, PyList>, usize, bool),
    /// A tuple whose elements have been written.
    Tuple(Bound<'py, PyTuple>),
    /// A frozenset whose elements have been written.
    Frozen(Bound<'py, PyAny>),
    /// An object whose constructor and arguments have been written, and the opcode that calls it.
    Constructed(Option<Bound<'py, PyAny>>, u8),
    /// The rest of what an iterator gives to `extend`, or to `update` (the flag).
    Iterated(Bound<'py, PyIterator>, bool),
    /// `importlib.import_module(name)`, for what it does.
    Import(String),
    Enter(Step<'py>),
    Leave,
}

/// What stands for the globals of some functions.
pub(crate) struct SharedGlobals<'py> {
    pub index: u32,
    pub written: HashSet<String>,
    /// Keeps the address from being used again.
    _original: Bound<'py, PyDict>,
}

impl<'py> SharedGlobals<'py> {
    pub(crate) fn new(index: u32, original: &Bound<'py, PyDict>) -> Self {
        Self { index, written: HashSet::new(), _original: original.clone() }
    }
}

/// Writes one pickle.
pub(crate) struct Pickler<'py> {
    pub py: Python<'py>,
    pub out: Output,
    protocol: u8,
    /// Address of each object that was written to its number.
    memo: HashMap<usize, u32>,
    next_index: u32,
    /// Keeps those objects, some of which exist only while pickling, from making room for others.
    kept: Vec<Bound<'py, PyAny>>,
    /// Numbers of `module.name` pairs that were written.
    named: HashMap<(&'static str, &'static str), u32>,
    texts: HashMap<&'static str, u32>,
    /// By the address of the original dictionary.
    pub globals: HashMap<usize, SharedGlobals<'py>>,
    pub imported: HashSet<String>,
    work: Vec<Work<'py>>,
    path: Path<'py>,
    until_signal_check: u32,
    dispatch_table: Bound<'py, PyDict>,
    cell_type: Bound<'py, PyAny>,
    buffer_type: Bound<'py, PyAny>,
}

impl<'py> Pickler<'py> {
    pub(crate) fn new(py: Python<'py>, protocol: u8) -> PyResult<Self> {
        Ok(Self {
            py,
            out: Output::default(),
            protocol,
            memo: HashMap::new(),
            next_index: 0,
            kept: Vec::new(),
            named: HashMap::new(),
            texts: HashMap::new(),
            globals: HashMap::new(),
            imported: HashSet::new(),
            work: Vec::new(),
            path: Path::default(),
            until_signal_check: SIGNAL_INTERVAL,
            dispatch_table: py.import("copyreg")?.getattr("dispatch_table")?.cast_into::<PyDict>()?,
            cell_type: py.import("types")?.getattr("CellType")?,
            buffer_type: py.import("pickle")?.getattr("PickleBuffer")?,
        })
    }

    /// Writes `object` and gives the pickle.
    pub(crate) fn dump(mut self, object: &Bound<'py, PyAny>) -> PyResult<Vec<u8>> {
        self.out.ops(&[op::PROTO, self.protocol]);
        self.work.push(Work::Save(object.clone()));
        while let Some(work) = self.work.pop() {
            if let Err(error) = self.run(work) {
                return Err(self.explain(object, error));
            }
        }
        self.out.op(op::STOP);
        Ok(self.out.bytes)
    }

    /// Puts work in front of what waits, to be done in the order of `work`.
    pub(crate) fn then(&mut self, work: Vec<Work<'py>>) {
        self.work.extend(work.into_iter().rev());
    }

    fn run(&mut self, work: Work<'py>) -> PyResult<()> {
        match work {
            Work::Save(object) => self.save(&object)?,
            Work::Write(opcodes) => self.out.ops(opcodes),
            Work::Text(text) => self.save_text(text)?,
            Work::Get(object) => {
                self.get_memoized(&object);
            }
            Work::GetIndex(index) => self.out.get(index),
            Work::Remember(object) => self.memoize(&object),
            Work::Elements(list, index) => self.elements(list, index)?,
            Work::Members(list, index) => self.members(list, index)?,
            Work::Items(items, index, attributes) => self.items(items, index, attributes)?,
            Work::Tuple(tuple) => self.end_tuple(&tuple),
            Work::Frozen(set) => self.end_frozen(&set),
            Work::Constructed(object, opcode) => self.end_constructed(object.as_ref(), opcode),
            Work::Iterated(iterator, update) => self.iterated(iterator, update)?,
            Work::Import(name) => {
                self.save_named("importlib", "import_module")?;
                self.out.text(name.as_bytes());
                self.out.ops(&[op::TUPLE1, op::REDUCE, op::POP]);
            }
            Work::Enter(step) => self.path.steps.push(step),
            Work::Leave => {
                self.path.steps.pop();
            }
        }
        Ok(())
    }

    fn save(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        self.look_for_signals()?;
        if self.save_leaf(object)? || self.get_memoized(object) {
            return Ok(());
        }
        if object.is_exact_instance_of::<PyTuple>() {
            self.tuple(object.cast::<PyTuple>()?);
        } else if object.is_exact_instance_of::<PyList>() {
            self.out.op(op::EMPTY_LIST);
            self.memoize(object);
            self.work.push(Work::Elements(object.cast::<PyList>()?.clone(), 0));
        } else if object.is_exact_instance_of::<PyDict>() {
            self.dict(object.cast::<PyDict>()?, false);
        } else if object.is_exact_instance_of::<PyFunction>() {
            if !self.save_reference(object)? {
                self.save_function(object.cast::<PyFunction>()?)?;
            }
        } else if object.is_exact_instance_of::<PySet>() {
            self.out.op(op::EMPTY_SET);
            self.memoize(object);
            let members = ordered(object)?;
            self.work.push(Work::Members(members, 0));
        } else if object.is_exact_instance_of::<PyFrozenSet>() {
            self.out.op(op::MARK);
            let mut work: Vec<_> = ordered(object)?.iter().map(Work::Save).collect();
            work.push(Work::Frozen(object.clone()));
            self.then(work);
        } else if object.is_exact_instance_of::<PyCode>() {
            self.save_code(object.cast::<PyCode>()?)?;
        } else if object.is_exact_instance_of::<PyModule>() {
            self.module(object.cast::<PyModule>()?)?;
        } else if object.is_instance_of::<PyType>() {
            self.class(object)?;
        } else if object.is_exact_instance_of::<PyCFunction>() && self.save_reference(object)? {
            // A function of a built-in module; a bound one is reduced.
        } else if object.is_exact_instance(&self.cell_type) {
            let name = "cell".to_owned();
            if self.save_empty_cell(object)? {
                let work = self.cell_contents(&[(object.clone(), name)])?;
                self.then(work);
            }
        } else if object.is_exact_instance(&self.buffer_type) {
            self.buffer(object)?;
        } else {
            self.reduce(object)?;
        }
        Ok(())
    }

    /// A buffer (PEP 574), written where it stands: `bytes`, or `bytearray` where it can be written to.
    fn buffer(&mut self, buffer: &Bound<'py, PyAny>) -> PyResult<()> {
        let view = buffer.call_method0("raw")?;
        let content = view.call_method0("tobytes")?.cast_into::<PyBytes>()?;
        if view.getattr("readonly")?.is_truthy()? || self.protocol < 5 {
            self.out.byte_string(content.as_bytes());
        } else {
            self.out.byte_array(content.as_bytes());
        }
        self.memoize(buffer);
        Ok(())
    }

    fn look_for_signals(&mut self) -> PyResult<()> {
        self.until_signal_check -= 1;
        if self.until_signal_check == 0 {
            self.until_signal_check = SIGNAL_INTERVAL;
            self.py.check_signals()?;
        }
        Ok(())
    }

    /// Writes a value that holds no other; false where it is none.
    pub(crate) fn save_leaf(&mut self, object: &Bound<'py, PyAny>) -> PyResult<bool> {
        if object.is_exact_instance_of::<PyString>() {
            if !self.get_memoized(object) {
                self.text_object(object.cast::<PyString>()?)?;
                self.memoize(object);
            }
        } else if object.is_exact_instance_of::<PyInt>() {
            self.integer(object)?;
        } else if object.is_none() {
            self.out.op(op::NONE);
        } else if object.is_exact_instance_of::<PyFloat>() {
            self.out.float(object.extract()?);
        } else if object.is_exact_instance_of::<PyBool>() {
            self.out.op(if object.is_truthy()? { op::NEWTRUE } else { op::NEWFALSE });
        } else if object.is_exact_instance_of::<PyBytes>() {
            if !self.get_memoized(object) {
                self.out.byte_string(object.cast::<PyBytes>()?.as_bytes());
                self.memoize(object);
            }
        } else if object.is_exact_instance_of::<PyByteArray>() && self.protocol >= 5 {
            if !self.get_memoized(object) {
                self.out.byte_array(&object.cast::<PyByteArray>()?.to_vec());
                self.memoize(object);
            }
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn text_object(&mut self, text: &Bound<'py, PyString>) -> PyResult<()> {
        match text.to_str() {
            Ok(utf8) => self.out.text(utf8.as_bytes()),
            Err(_) => {
                // Lone surrogates, as the protocol wants them.
                let bytes = text.call_method1(intern!(self.py, "encode"), ("utf-8", "surrogatepass"))?;
                self.out.text(bytes.extract()?);
            }
        }
        Ok(())
    }

    fn integer(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut overflow = 0;
        // SAFETY: the lock is held and the object is an `int`.
        let small = unsafe { ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &raw mut overflow) };
        if overflow == 0 {
            self.out.integer(small);
            return Ok(());
        }
        let bits: usize = object.call_method0(intern!(self.py, "bit_length"))?.extract()?;
        let signed = pyo3::types::PyDict::new(self.py);
        signed.set_item("signed", true)?;
        let bytes = object.call_method(intern!(self.py, "to_bytes"), (bits / 8 + 1, "little"), Some(&signed))?;
        self.out.long(bytes.extract()?);
        Ok(())
    }

    /// Writes what was remembered of an object; false where it is new.
    pub(crate) fn get_memoized(&mut self, object: &Bound<'py, PyAny>) -> bool {
        let Some(index) = self.memo.get(&(object.as_ptr() as usize)) else { return false };
        self.out.get(*index);
        true
    }

    /// Remembers the object that was written last.
    pub(crate) fn memoize(&mut self, object: &Bound<'py, PyAny>) {
        let index = self.memoize_hidden();
        self.memo.insert(object.as_ptr() as usize, index);
        self.kept.push(object.clone());
    }

    /// Remembers something that is no object here, only at the receiver.
    pub(crate) fn memoize_hidden(&mut self) -> u32 {
        self.out.op(op::MEMOIZE);
        let index = self.next_index;
        self.next_index += 1;
        index
    }

    /// Writes a constant text, once.
    pub(crate) fn save_text(&mut self, text: &'static str) -> PyResult<()> {
        if let Some(index) = self.texts.get(text) {
            self.out.get(*index);
            return Ok(());
        }
        self.out.text(text.as_bytes());
        let index = self.memoize_hidden();
        self.texts.insert(text, index);
        Ok(())
    }

    /// Writes an importable object by a name that is known to be right, once.
    pub(crate) fn save_named(&mut self, module: &'static str, name: &'static str) -> PyResult<()> {
        if let Some(index) = self.named.get(&(module, name)) {
            self.out.get(*index);
            return Ok(());
        }
        self.save_text(module)?;
        self.save_text(name)?;
        self.out.op(op::STACK_GLOBAL);
        let index = self.memoize_hidden();
        self.named.insert((module, name), index);
        Ok(())
    }

    /// Writes an object by reference, if the receiver can import it.
    fn save_reference(&mut self, object: &Bound<'py, PyAny>) -> PyResult<bool> {
        let Some(found) = reference::find(object)? else { return Ok(false) };
        self.save_leaf(&found.module)?;
        self.save_leaf(&found.name)?;
        self.out.op(op::STACK_GLOBAL);
        self.memoize(object);
        Ok(true)
    }

    fn tuple(&mut self, tuple: &Bound<'py, PyTuple>) {
        if tuple.is_empty() {
            self.out.op(op::EMPTY_TUPLE);
            return;
        }
        if tuple.len() > 3 {
            self.out.op(op::MARK);
        }
        let mut work = Vec::with_capacity(tuple.len() * 3 + 1);
        for (index, element) in tuple.iter().enumerate() {
            work.extend([Work::Enter(Step::Index(index)), Work::Save(element), Work::Leave]);
        }
        work.push(Work::Tuple(tuple.clone()));
        self.then(work);
    }

    fn end_tuple(&mut self, tuple: &Bound<'py, PyTuple>) {
        let length = tuple.len();
        if let Some(index) = self.memo.get(&(tuple.as_ptr() as usize)).copied() {
            // One of its elements led back to it, and it was written there.
            if length > 3 {
                self.out.op(op::POP_MARK);
            } else {
                (0..length).for_each(|_| self.out.op(op::POP));
            }
            self.out.get(index);
            return;
        }
        self.out.tuple(length);
        self.memoize(tuple.as_any());
    }

    fn end_frozen(&mut self, set: &Bound<'py, PyAny>) {
        if let Some(index) = self.memo.get(&(set.as_ptr() as usize)).copied() {
            self.out.op(op::POP_MARK);
            self.out.get(index);
            return;
        }
        self.out.op(op::FROZENSET);
        self.memoize(set);
    }

    fn elements(&mut self, list: Bound<'py, PyList>, start: usize) -> PyResult<()> {
        let mut index = start;
        if index < list.len() && index.is_multiple_of(BATCH) {
            self.out.op(op::MARK);
        }
        // The length is asked for each time: pickling an element may change the list.
        while index < list.len() {
            let element = list.get_item(index)?;
            index += 1;
            let batch_ends = index.is_multiple_of(BATCH) || index >= list.len();
            if !self.save_leaf(&element)? {
                let mut work = vec![Work::Enter(Step::Index(index - 1)), Work::Save(element), Work::Leave];
                if batch_ends {
                    work.push(Work::Write(&[op::APPENDS]));
                }
                let next = if batch_ends { index.next_multiple_of(BATCH) } else { index };
                if next < list.len() || !batch_ends {
                    work.push(Work::Elements(list, if batch_ends { index } else { next }));
                }
                self.then(work);
                return Ok(());
            }
            if batch_ends {
                self.out.op(op::APPENDS);
                if index < list.len() {
                    self.out.op(op::MARK);
                }
            }
        }
        // A list that became shorter meanwhile has an open mark.
        if start > 0 && !start.is_multiple_of(BATCH) && start >= list.len() {
            self.out.op(op::APPENDS);
        }
        Ok(())
    }

    fn members(&mut self, members: Bound<'py, PyList>, start: usize) -> PyResult<()> {
        let end = members.len().min(start + BATCH);
        if start == end {
            return Ok(());
        }
        self.out.op(op::MARK);
        let mut work: Vec<_> = (start..end).map(|i| members.get_item(i).map(Work::Save)).collect::<PyResult<_>>()?;
        work.push(Work::Write(&[op::ADDITEMS]));
        work.push(Work::Members(members, end));
        self.then(work);
        Ok(())
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, attributes: bool) {
        self.out.op(op::EMPTY_DICT);
        self.memoize(dict.as_any());
        self.work.push(Work::Items(dict.items(), 0, attributes));
    }

    fn items(&mut self, items: Bound<'py, PyList>, start: usize, attributes: bool) -> PyResult<()> {
        let end = items.len();
        if start < end && start.is_multiple_of(BATCH) {
            self.out.op(op::MARK);
        }
        for index in start..end {
            let item = items.get_item(index)?.cast_into::<PyTuple>()?;
            let (key, value) = (item.get_item(0)?, item.get_item(1)?);
            let batch_ends = (index + 1).is_multiple_of(BATCH) || index + 1 == end;
            let key_done = self.save_leaf(&key)?;
            if key_done && self.save_leaf(&value)? {
                if batch_ends {
                    self.out.op(op::SETITEMS);
                    if index + 1 < end {
                        self.out.op(op::MARK);
                    }
                }
                continue;
            }
            let mut work = Vec::with_capacity(9);
            if !key_done {
                work.extend([Work::Enter(Step::Key), Work::Save(key.clone()), Work::Leave]);
            }
            let step = if attributes { Step::Attribute(key) } else { Step::Item(key) };
            work.extend([Work::Enter(step), Work::Save(value), Work::Leave]);
            if batch_ends {
                work.push(Work::Write(&[op::SETITEMS]));
            }
            if index + 1 < end {
                work.push(Work::Items(items, index + 1, attributes));
            }
            self.then(work);
            return Ok(());
        }
        Ok(())
    }

    fn module(&mut self, module: &Bound<'py, PyModule>) -> PyResult<()> {
        let name = module.name()?;
        let modules = self.py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
        let importable = modules.get_item(&name)?.is_some_and(|found| found.is(module));
        if !importable || name.to_string() == "__main__" {
            let text = format!("cannot pickle the module '{name}': the receiver cannot import it");
            return Err(PyTypeError::new_err(text));
        }
        self.save_named("importlib", "import_module")?;
        self.save_leaf(name.as_any())?;
        self.out.ops(&[op::TUPLE1, op::REDUCE]);
        self.memoize(module.as_any());
        Ok(())
    }

    fn class(&mut self, class: &Bound<'py, PyAny>) -> PyResult<()> {
        for singleton in [self.py.None().into_bound(self.py), self.py.Ellipsis().into_bound(self.py),
            self.py.NotImplemented().into_bound(self.py)]
        {
            if class.is(singleton.get_type()) {
                self.save_named("builtins", "type")?;
                self.then(vec![
                    Work::Save(singleton),
                    Work::Write(&[op::TUPLE1, op::REDUCE]),
                    Work::Remember(class.clone()),
                ]);
                return Ok(());
            }
        }
        if self.save_reference(class)? {
            return Ok(());
        }
        // A metaclass may have a way of its own.
        if let Some(reducer) = self.dispatch_table.get_item(class.get_type())? {
            let reduced = reducer.call1((class,))?;
            return self.reduced(class, &reduced);
        }
        Err(PyTypeError::new_err(format!(
            "cannot pickle the class {}: it was defined in {} and classes do not travel by value yet",
            class.getattr("__qualname__")?,
            class.getattr("__module__")?,
        )))
    }

    fn reduce(&mut self, object: &Bound<'py, PyAny>) -> PyResult<()> {
        let reduced = match self.dispatch_table.get_item(object.get_type())? {
            Some(reducer) => reducer.call1((object,))?,
            None => object.call_method1(intern!(self.py, "__reduce_ex__"), (self.protocol,))?,
        };
        // What was made for this object alone must not make room for something else with its address.
        self.kept.push(reduced.clone());
        self.reduced(object, &reduced)
    }

    /// Writes what `__reduce_ex__` returned.
    fn reduced(&mut self, object: &Bound<'py, PyAny>, reduced: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Ok(name) = reduced.cast::<PyString>() {
            return self.named_object(object, name);
        }
        let wrong = |what: &str| Err(pickling_error(self.py, format!("__reduce__ of {} {what}", type_name(object))));
        let Ok(parts) = reduced.cast::<PyTuple>() else { return wrong("must return a string or tuple") };
        if !(2..=6).contains(&parts.len()) {
            return wrong("must return a tuple of two to six elements");
        }
        let (function, arguments) = (parts.get_item(0)?, parts.get_item(1)?);
        let Ok(arguments) = arguments.cast_into::<PyTuple>() else { return wrong("must give its arguments as a tuple") };
        if !function.is_callable() {
            return wrong("must give something to call");
        }
        let part = |index: usize| parts.get_item(index).ok().filter(|part| !part.is_none());
        let mut work = self.construction(object, function, arguments)?;
        if let Some(elements) = part(3) {
            work.push(Work::Iterated(elements.try_iter()?, false));
        }
        if let Some(items) = part(4) {
            work.push(Work::Iterated(items.try_iter()?, true));
        }
        if let Some(state) = part(2) {
            work.extend(state_work(object, state, part(5)));
        }
        self.then(work);
        Ok(())
    }

    fn construction(
        &mut self,
        object: &Bound<'py, PyAny>,
        function: Bound<'py, PyAny>,
        arguments: Bound<'py, PyTuple>,
    ) -> PyResult<Vec<Work<'py>>> {
        let name = function.getattr_opt("__name__")?.map(|name| name.to_string()).unwrap_or_default();
        let object = Some(object.clone());
        if name == "__newobj__" && !arguments.is_empty() {
            let rest = arguments.get_slice(1, arguments.len());
            let mut work = vec![Work::Save(arguments.get_item(0)?)];
            work.extend(argument_work(&rest));
            work.push(Work::Constructed(object, op::NEWOBJ));
            return Ok(work);
        }
        if name == "__newobj_ex__" && arguments.len() == 3 {
            let positional = arguments.get_item(1)?.cast_into::<PyTuple>()?;
            let mut work = vec![Work::Save(arguments.get_item(0)?)];
            work.extend(argument_work(&positional));
            work.push(Work::Save(arguments.get_item(2)?));
            work.push(Work::Constructed(object, op::NEWOBJ_EX));
            return Ok(work);
        }
        let mut work = vec![Work::Save(function)];
        work.extend(argument_work(&arguments));
        work.push(Work::Constructed(object, op::REDUCE));
        Ok(work)
    }

    fn end_constructed(&mut self, object: Option<&Bound<'py, PyAny>>, opcode: u8) {
        self.out.op(opcode);
        let Some(object) = object else { return };
        if let Some(index) = self.memo.get(&(object.as_ptr() as usize)).copied() {
            // One of its arguments led back to it, and it was written there.
            self.out.op(op::POP);
            self.out.get(index);
        } else {
            self.memoize(object);
        }
    }

    fn iterated(&mut self, iterator: Bound<'py, PyIterator>, update: bool) -> PyResult<()> {
        let mut work = vec![Work::Write(&[op::MARK])];
        let mut count = 0;
        for element in iterator.clone().take(BATCH) {
            let element = element?;
            count += 1;
            if update {
                let (key, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = element.extract()?;
                work.push(Work::Save(key.clone()));
                work.extend([Work::Enter(Step::Item(key)), Work::Save(value), Work::Leave]);
            } else {
                work.push(Work::Save(element));
            }
        }
        if count == 0 {
            return Ok(());
        }
        work.push(Work::Write(if update { &[op::SETITEMS] } else { &[op::APPENDS] }));
        if count == BATCH {
            work.push(Work::Iterated(iterator, update));
        }
        self.then(work);
        Ok(())
    }

    /// An object that is found by name in its module.
    fn named_object(&mut self, object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<()> {
        let module = self.py.import("pickle")?.call_method1("whichmodule", (object, name))?;
        let mut found = self.py.import(module.cast::<PyString>()?)?.into_any();
        for part in name.to_string().split('.') {
            found = found.getattr(part)?;
        }
        if !found.is(object) || module.to_string() == "__main__" {
            let text = format!("cannot pickle {}: {module}.{name} is not found at the receiver", type_name(object));
            return Err(pickling_error(self.py, text));
        }
        self.save_leaf(&module)?;
        self.save_leaf(name.as_any())?;
        self.out.op(op::STACK_GLOBAL);
        self.memoize(object);
        Ok(())
    }

    /// An error with the path to what could not be pickled; interrupts stay what they are.
    fn explain(&self, root: &Bound<'py, PyAny>, error: PyErr) -> PyErr {
        if error.is_instance_of::<PyKeyboardInterrupt>(self.py) || !error.is_instance_of::<PyException>(self.py) {
            return error;
        }
        let reason = error.value(self.py).to_string();
        let path = self.path.describe(&root_name(root));
        let hint = hint(&reason).map_or_else(String::new, |hint| format!(". Hint: {hint}"));
        let explained = pickling_error(self.py, format!("{reason}: at {path}{}{hint}", definition(root)));
        explained.set_cause(self.py, Some(error));
        explained
    }
}

/// Elements of a set in an order that does not depend on hashes, where they can be ordered.
fn ordered<'py>(set: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let members = PyList::empty(set.py());
    for member in set.try_iter()? {
        members.append(member?)?;
    }
    // Elements that cannot be compared keep the order they have.
    let _unordered = members.sort();
    Ok(members)
}

/// Arguments as a tuple that is nobody's, so it is not remembered.
fn argument_work<'py>(arguments: &Bound<'py, PyTuple>) -> Vec<Work<'py>> {
    let mut work = Vec::with_capacity(arguments.len() * 3 + 2);
    if arguments.len() > 3 {
        work.push(Work::Write(&[op::MARK]));
    }
    for (index, argument) in arguments.iter().enumerate() {
        work.extend([Work::Enter(Step::Argument(index)), Work::Save(argument), Work::Leave]);
    }
    work.push(Work::Write(match arguments.len() {
        0 => &[op::EMPTY_TUPLE],
        1 => &[op::TUPLE1],
        2 => &[op::TUPLE2],
        3 => &[op::TUPLE3],
        _ => &[op::TUPLE],
    }));
    work
}

/// What sets the state of an object that is on the stack.
fn state_work<'py>(
    object: &Bound<'py, PyAny>,
    state: Bound<'py, PyAny>,
    setter: Option<Bound<'py, PyAny>>,
) -> Vec<Work<'py>> {
    if let Some(setter) = setter {
        return vec![
            Work::Save(setter),
            Work::Get(object.clone()),
            Work::Save(state),
            Work::Write(&[op::TUPLE2, op::REDUCE, op::POP]),
        ];
    }
    let mut work = Vec::new();
    match state.cast::<PyDict>() {
        // An instance's attributes: written here so that the path speaks of attributes.
        Ok(attributes) => {
            work.push(Work::Write(&[op::EMPTY_DICT]));
            work.push(Work::Remember(attributes.clone().into_any()));
            work.push(Work::Items(attributes.items(), 0, true));
        }
        Err(_) => work.push(Work::Save(state)),
    }
    work.push(Work::Write(&[op::BUILD]));
    work
}

fn pickling_error(py: Python<'_>, text: String) -> PyErr {
    let made = py.import("pickle").and_then(|pickle| pickle.getattr("PicklingError")?.call1((text,)));
    made.map_or_else(|error| error, PyErr::from_value)
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().qualname().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

fn root_name(root: &Bound<'_, PyAny>) -> String {
    let named = |object: &Bound<'_, PyAny>| object.getattr("__qualname__").map(|name| name.to_string());
    named(root).unwrap_or_else(|_| match root.cast::<PyTuple>().ok().and_then(|tuple| tuple.get_item(0).ok()) {
        // PySpark pickles a function together with its return type.
        Some(first) => named(&first).unwrap_or_else(|_| type_name(root)),
        None => type_name(root),
    })
}

/// Where the function that was pickled is defined.
fn definition(root: &Bound<'_, PyAny>) -> String {
    let function = match root.cast::<PyTuple>().ok().and_then(|tuple| tuple.get_item(0).ok()) {
        Some(first) => first,
        None => root.clone(),
    };
    let describe = || -> PyResult<String> {
        let code = function.getattr("__code__")?;
        let file = code.getattr("co_filename")?.to_string();
        let name = file.rsplit('/').next().unwrap_or(&file).to_owned();
        Ok(format!("; defined in {name}, line {}", code.getattr("co_firstlineno")?))
    };
    describe().unwrap_or_default()
}

/// Advice for what is often captured by mistake.
fn hint(reason: &str) -> Option<&'static str> {
    const HINTS: [(&str, &str); 6] = [
        ("CONTEXT_ONLY_VALID_ON_DRIVER", "a SparkSession or SparkContext lives on the driver alone; pass values instead"),
        ("SparkContext", "a SparkSession or SparkContext lives on the driver alone; pass values instead"),
        ("py4j", "DataFrames, columns and sessions live on the driver alone; collect what the function needs"),
        ("lock", "create it inside of the function, or keep it in a module that the workers import"),
        ("socket", "open the connection inside of the function"),
        ("TextIOWrapper", "open the file inside of the function, or read it beforehand"),
    ];
    HINTS.iter().find(|(needle, _)| reason.contains(needle)).map(|(_, hint)| *hint)
}
