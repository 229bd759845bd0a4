//! The loop: takes an object, writes what can be written at once, and puts a frame on the stack for the rest.

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

use crate::frame::{DictFrame, Elements, ElementsFrame, Frame, Label, Role, Step};
use crate::function::FunctionState;
use crate::known::{Known, known};
use crate::memo::{FastMap, Memo};
use crate::opcodes as op;
use crate::options::Options;
use crate::reduce::TypePlan;
use crate::sets;
use crate::writer::Writer;

/// How many frames are advanced between two looks for a pending `KeyboardInterrupt`.
const SIGNAL_INTERVAL: u32 = 4096;

/// One dump in progress.
pub(crate) struct Saver<'py> {
    pub(crate) py: Python<'py>,
    pub(crate) known: &'static Known,
    pub(crate) writer: Writer<'py>,
    pub(crate) memo: Memo,
    pub(crate) options: Options<'py>,
    pub(crate) modules: Bound<'py, PyDict>,
    pub(crate) plans: FastMap<usize, TypePlan<'py>>,
    pub(crate) functions: FunctionState,
    /// Frames below the one that runs.
    pub(crate) stack: Vec<Frame<'py>>,
    ticks: u32,
}

/// What `save` leaves to be done: nothing, or a frame.
pub(crate) type Rest<'py> = PyResult<Option<Frame<'py>>>;

impl<'py> Saver<'py> {
    pub(crate) fn new(py: Python<'py>, options: Options<'py>, memo: Memo) -> PyResult<Self> {
        Ok(Self {
            py,
            known: known(py)?,
            writer: Writer::new(options.protocol),
            memo,
            modules: modules(py)?,
            options,
            plans: FastMap::default(),
            functions: FunctionState::default(),
            stack: Vec::new(),
            ticks: 0,
        })
    }

    /// Writes `root` and everything it reaches.
    ///
    /// # Errors
    /// `PicklingError` with the path to the object that cannot be written, or whatever user code raised on the way.
    pub(crate) fn run(&mut self, root: &Bound<'py, PyAny>) -> PyResult<()> {
        let outcome = self.save(root, Role::Data).and_then(|rest| self.drive(rest));
        outcome.map_err(|error| self.explain(root, error))
    }

    fn drive(&mut self, start: Option<Frame<'py>>) -> PyResult<()> {
        let Some(mut current) = start else { return Ok(()) };
        loop {
            self.ticks += 1;
            if self.ticks >= SIGNAL_INTERVAL {
                self.ticks = 0;
                self.py.check_signals()?;
            }
            match self.advance(&mut current) {
                Ok(Some(child)) => self.stack.push(std::mem::replace(&mut current, child)),
                Ok(None) => match self.stack.pop() {
                    Some(parent) => current = parent,
                    None => return Ok(()),
                },
                Err(error) => {
                    self.stack.push(current);
                    return Err(error);
                }
            }
        }
    }

    /// Goes on with a frame until it is done (`None`) or a child has to be written first.
    fn advance(&mut self, frame: &mut Frame<'py>) -> Rest<'py> {
        match frame {
            Frame::List(list, next, single) => self.advance_list(list, next, *single),
            Frame::Tuple(tuple, next, role) => self.advance_tuple(tuple, next, *role),
            Frame::Dict(frame) => self.advance_dict(frame),
            Frame::Elements(frame) => self.advance_elements(frame),
            Frame::Globals(frame) => self.advance_globals(frame),
            Frame::Script(script) => {
                for step in script.steps.by_ref() {
                    let rest = match step {
                        Step::Save(obj, role, label) => {
                            let rest = self.save(&obj, role);
                            script.label = label;
                            rest?
                        }
                        Step::Enter(frame) => Some(*frame),
                        other => self.small_step(other)?,
                    };
                    if rest.is_some() {
                        return Ok(rest);
                    }
                }
                Ok(None)
            }
        }
    }

    fn small_step(&mut self, step: Step<'py>) -> Rest<'py> {
        match step {
            Step::Text(text) => self.name(&text)?,
            Step::Name(text) => self.text(text.as_bytes()),
            Step::Op(bytes) => self.writer.bytes(bytes),
            Step::Get(number) => self.writer.get(number),
            Step::Global(module, name) => self.standard(module, name)?,
            Step::Method(module, name) => self.standard(&module, &name)?,
            Step::Receiver(name) => self.receiver(name)?,
            Step::Memoize(obj) => self.memoize_result(&obj),
            Step::Save(..) | Step::Enter(_) => {}
        }
        Ok(None)
    }

    /// The top of the stack is `obj`: remembers that, or, where a cycle has made it before, takes the earlier one.
    pub(crate) fn memoize_result(&mut self, obj: &Bound<'py, PyAny>) {
        if let Some(number) = self.memo.get(obj) {
            self.writer.byte(op::POP);
            self.writer.get(number);
        } else {
            self.memoize(obj);
        }
    }

    pub(crate) fn memoize(&mut self, obj: &Bound<'py, PyAny>) {
        let number = self.memo.put(obj);
        self.writer.put(number);
    }

    /// Writes `obj`, or as much of it as needs no child.
    pub(crate) fn save(&mut self, obj: &Bound<'py, PyAny>, role: Role) -> Rest<'py> {
        self.writer.boundary();
        if let Some(persistent_id) = &self.options.persistent_id {
            let id = persistent_id.call1((obj,))?;
            if !id.is_none() {
                let steps = vec![Step::Save(id, Role::Data, Label::Part("persistent id")), Step::Op(&[op::BINPERSID])];
                return Ok(Some(Frame::script(steps)));
            }
        }
        if self.atom(obj)? {
            return Ok(None);
        }
        if let Some(number) = self.memo.get(obj) {
            self.writer.get(number);
            return Ok(None);
        }
        if obj.is_exact_instance_of::<PyString>() {
            self.string(obj)?;
            return Ok(None);
        }
        if let Ok(dict) = obj.cast_exact::<PyDict>() {
            return Ok(self.dict(dict, role));
        }
        if let Ok(list) = obj.cast_exact::<PyList>() {
            self.writer.byte(op::EMPTY_LIST);
            self.memoize(obj);
            return Ok((!list.is_empty()).then(|| Frame::List(list.clone(), 0, list.len() == 1)));
        }
        if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
            return self.tuple(tuple, role);
        }
        if let Ok(bytes) = obj.cast_exact::<PyBytes>() {
            return self.save_bytes(bytes);
        }
        if let Ok(set) = obj.cast_exact::<PySet>() {
            return self.set(set);
        }
        if let Ok(set) = obj.cast_exact::<PyFrozenSet>() {
            return self.frozenset(set);
        }
        if let Ok(array) = obj.cast_exact::<PyByteArray>() {
            return self.save_bytearray(array);
        }
        if obj.get_type().is(&self.known.pickle_buffer) {
            return self.pickle_buffer(obj);
        }
        self.object(obj)
    }

    /// Writes values that have no identity worth keeping: `None`, booleans, numbers.
    pub(crate) fn atom(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<bool> {
        if obj.is_exact_instance_of::<PyInt>() {
            self.int(obj)?;
        } else if obj.is_none() {
            self.writer.byte(op::NONE);
        } else if let Ok(float) = obj.cast_exact::<PyFloat>() {
            self.writer.float(float.value());
        } else if let Ok(truth) = obj.cast_exact::<PyBool>() {
            self.writer.byte(if truth.is_true() { op::NEWTRUE } else { op::NEWFALSE });
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn int(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut overflow = 0;
        // SAFETY: `obj` is an exact int; the call reads it and writes the flag.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(obj.as_ptr(), &raw mut overflow) };
        if overflow == 0 {
            self.writer.int(value);
            return Ok(());
        }
        let py = self.py;
        let bits: usize = obj.call_method0(intern!(py, "bit_length"))?.extract()?;
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "signed"), true)?;
        let bytes =
            obj.call_method(intern!(py, "to_bytes"), (bits / 8 + 1, intern!(py, "little")), Some(&arguments))?;
        let mut digits = bytes.cast::<PyBytes>()?.as_bytes();
        // A negative power of 256 needs a byte less.
        if let [rest @ .., 0xff] = digits
            && rest.last().is_some_and(|byte| byte & 0x80 != 0)
        {
            digits = rest;
        }
        self.writer.long(digits);
        Ok(())
    }

    fn string(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        let text = obj.cast::<PyString>()?;
        match text.to_str() {
            Ok(utf8) => self.writer.text(utf8.as_bytes()),
            Err(_) => {
                let encoded = text.call_method1(intern!(self.py, "encode"), ("utf-8", "surrogatepass"))?;
                self.writer.text(encoded.cast::<PyBytes>()?.as_bytes());
            }
        }
        self.memoize(obj);
        Ok(())
    }

    /// Writes a string that is part of the structure: equal ones are written once, whoever holds them.
    pub(crate) fn text(&mut self, text: &[u8]) {
        if let Some(number) = self.memo.get_text(text) {
            self.writer.get(number);
        } else {
            self.writer.text(text);
            let number = self.memo.put_text(text);
            self.writer.put(number);
        }
    }

    /// The same for a Python string.
    pub(crate) fn name(&mut self, text: &Bound<'py, PyString>) -> PyResult<()> {
        match text.to_str() {
            Ok(utf8) => {
                self.text(utf8.as_bytes());
                Ok(())
            }
            Err(_) => self.string(text.as_any()),
        }
    }

    fn dict(&mut self, dict: &Bound<'py, PyDict>, role: Role) -> Option<Frame<'py>> {
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

    fn advance_dict(&mut self, frame: &mut DictFrame<'py>) -> Rest<'py> {
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

    fn advance_list(&mut self, list: &Bound<'py, PyList>, next: &mut usize, single: bool) -> Rest<'py> {
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

    fn tuple(&mut self, tuple: &Bound<'py, PyTuple>, role: Role) -> Rest<'py> {
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
        if self.options.persistent_id.is_none() && self.options.protocol >= 3 && tuple.iter_borrowed().all(is_leaf) {
            return self.advance_tuple(tuple, &mut next, role);
        }
        Ok(Some(Frame::Tuple(tuple.clone(), next, role)))
    }

    fn advance_tuple(&mut self, tuple: &Bound<'py, PyTuple>, next: &mut usize, role: Role) -> Rest<'py> {
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

    fn save_bytes(&mut self, bytes: &Bound<'py, PyBytes>) -> Rest<'py> {
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

    fn call_script(&self, mut steps: Vec<Step<'py>>, obj: &Bound<'py, PyAny>) -> Frame<'py> {
        steps.push(Step::Op(&[op::REDUCE]));
        steps.push(Step::Memoize(obj.clone()));
        Frame::script(steps)
    }

    fn save_bytearray(&mut self, array: &Bound<'py, PyByteArray>) -> Rest<'py> {
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

    fn set(&mut self, set: &Bound<'py, PySet>) -> Rest<'py> {
        let items = sets::in_order(set.as_any())?;
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

    fn frozenset(&mut self, set: &Bound<'py, PyFrozenSet>) -> Rest<'py> {
        let items = sets::in_order(set.as_any())?;
        if self.options.protocol < 4 {
            return self.old_set(set.as_any(), "frozenset", items);
        }
        self.writer.byte(op::MARK);
        let kind = Elements::Frozen(set.clone().into_any());
        Ok(Some(Frame::Elements(Box::new(ElementsFrame { items, next: 0, kind }))))
    }

    fn old_set(&mut self, set: &Bound<'py, PyAny>, class: &'static str, items: Vec<Bound<'py, PyAny>>) -> Rest<'py> {
        let list = PyList::new(self.py, items)?;
        let steps = vec![
            Step::Global("builtins", class),
            Step::Save(list.into_any(), Role::Data, Label::Silent),
            Step::Op(&[op::TUPLE1]),
        ];
        Ok(Some(self.call_script(steps, set)))
    }

    fn advance_elements(&mut self, frame: &mut ElementsFrame<'py>) -> Rest<'py> {
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
        iterator: &Bound<'py, PyAny>,
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
        let mut items = iterator.try_iter()?;
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

    /// An instance of `PickleBuffer`: out of band where there is a callback, else as bytes.
    fn pickle_buffer(&mut self, obj: &Bound<'py, PyAny>) -> Rest<'py> {
        if self.options.protocol < 5 {
            return Err(self.pickling_error("PickleBuffer can only be pickled with protocol >= 5"));
        }
        let buffer = crate::buffer::Buffer::open(obj).map_err(|_| {
            self.pickling_error("PickleBuffer can not be pickled when pointing to a non-contiguous buffer")
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

    /// Everything that is not a plain container: functions, classes, modules, and objects that say how to reduce them.
    fn object(&mut self, obj: &Bound<'py, PyAny>) -> Rest<'py> {
        if let Some(reducer) = self.options.reducer_override.clone() {
            let reduced = reducer.call1((obj,))?;
            if !reduced.is(&self.known.not_implemented) {
                return self.save_reduced(obj, &reduced);
            }
        }
        let class = obj.get_type();
        if class.is(&self.known.function) {
            return self.function(obj);
        }
        if let Ok(class) = obj.cast::<PyType>() {
            return self.class(class);
        }
        self.instance(obj, &class)
    }
}

/// `sys.modules`.
fn modules(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    // SAFETY: the interpreter lends its dictionary of modules; a reference of our own is taken at once.
    let modules = unsafe { Bound::from_borrowed_ptr(py, ffi::PyImport_GetModuleDict()) };
    Ok(modules.cast_into::<PyDict>()?)
}

/// Whether an object is written without any call and without a frame.
pub(crate) fn is_leaf(obj: pyo3::Borrowed<'_, '_, PyAny>) -> bool {
    obj.is_exact_instance_of::<PyInt>()
        || obj.is_exact_instance_of::<PyString>()
        || obj.is_exact_instance_of::<PyFloat>()
        || obj.is_none()
        || obj.is_exact_instance_of::<PyBytes>()
        || obj.is_exact_instance_of::<PyBool>()
}
