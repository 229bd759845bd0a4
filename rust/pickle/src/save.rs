//! The loop: takes an object, writes what can be written at once, and puts a frame on the stack for the rest.

use pyo3::exceptions::{PyMemoryError, PyRecursionError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString, PyTuple, PyType,
};

use crate::error::{self, PathStep};
use crate::frame::{Frame, Label, Role, Step};
use crate::function::FunctionState;
use crate::known::{Known, known};
use crate::memo::{self, FastMap, Memo};
use crate::memory;
use crate::opcodes as op;
use crate::options::Options;
use crate::reduce::TypePlan;
use crate::trace::Trace;
use crate::writer::Writer;

/// How many objects are written between two looks for a pending `KeyboardInterrupt`, and at the memory.
const PAUSE_INTERVAL: u32 = 4096;

/// More frames than a million nested containers need.
const MAX_DEPTH: usize = 2_500_000;

/// So many objects that describe themselves may be inside of each other: what goes deeper makes new ones as it is pickled,
/// and would take all memory before it fails.
const MAX_REDUCTIONS: usize = 500_000;

/// One dump in progress.
pub(crate) struct Saver<'py> {
    pub(crate) py: Python<'py>,
    pub(crate) known: &'static Known,
    pub(crate) writer: Writer<'py>,
    pub(crate) memo: Memo,
    pub(crate) options: Options<'py>,
    pub(crate) modules: Bound<'py, PyDict>,
    pub(crate) plans: FastMap<usize, TypePlan<'py>>,
    pub(crate) functions: FunctionState<'py>,
    /// Frames below the one that runs.
    pub(crate) stack: Vec<Frame<'py>>,
    /// How many of them are scripts.
    reductions: usize,
    ticks: u32,
    /// What is pickled.
    root: Option<Bound<'py, PyAny>>,
    /// By address: objects that only weak references hold so far, with the error that it is if it stays so.
    weak: FastMap<usize, PyErr>,
    /// Numbers of what this dump names of the standard library: see `Saver::standard`.
    pub(crate) literals: Vec<(&'static str, &'static str, u32)>,
    /// Whether `CodeType` stands on the pickle's stack already: see `opening.rs`.
    pub(crate) code_maker_written: bool,
    /// What each part takes, where that was asked for: see `trace.rs`.
    pub(crate) trace: Option<Box<Trace>>,
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
            reductions: 0,
            // The first look comes early: a small dump needs none, the next thousand objects of a large one might not fit.
            ticks: PAUSE_INTERVAL - 64,
            root: None,
            weak: FastMap::default(),
            literals: Vec::with_capacity(16),
            code_maker_written: false,
            trace: None,
        })
    }

    /// Writes `root` and everything it reaches.
    ///
    /// # Errors
    /// `PicklingError` with the path to the object that cannot be written, or whatever user code raised on the way.
    pub(crate) fn run(&mut self, root: &Bound<'py, PyAny>) -> PyResult<()> {
        self.root = Some(root.clone());
        let outcome = self.save(root, Role::Data).and_then(|rest| self.drive(rest));
        outcome.map_err(|error| self.explain(root, error))?;
        self.weak.drain().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    fn drive(&mut self, start: Option<Frame<'py>>) -> PyResult<()> {
        let Some(mut current) = start else { return Ok(()) };
        if let Some(trace) = &mut self.trace {
            trace.entered(0, None, false);
        }
        loop {
            self.tick()?;
            match self.advance(&mut current) {
                Ok(Some(child)) => {
                    if !memory::reserve(&mut self.stack, 1) {
                        return Err(PyMemoryError::new_err(()));
                    }
                    if let Some(trace) = &mut self.trace {
                        let step = error::step(&current);
                        let in_key = matches!(step, Some(PathStep::IntoKey(_)));
                        trace.entered(self.stack.len() + 1, step.map(|step| step.text()), in_key);
                    }
                    self.reductions += usize::from(matches!(current, Frame::Script(_)));
                    self.stack.push(std::mem::replace(&mut current, child));
                    if self.stack.len() > MAX_DEPTH || self.reductions > MAX_REDUCTIONS {
                        return Err(PyRecursionError::new_err("an object reduces to itself, or without end"));
                    }
                }
                Ok(None) => {
                    if let Some(trace) = &mut self.trace {
                        trace.left(self.stack.len(), self.writer.position());
                    }
                    let Some(parent) = self.stack.pop() else { return Ok(()) };
                    self.reductions -= usize::from(matches!(parent, Frame::Script(_)));
                    current = parent;
                }
                Err(error) => {
                    self.stack.push(current);
                    return Err(error);
                }
            }
        }
    }

    /// Counts a piece of work; takes a look around now and then.
    #[inline]
    pub(crate) fn tick(&mut self) -> PyResult<()> {
        self.ticks += 1;
        if self.ticks >= PAUSE_INTERVAL { self.pause() } else { Ok(()) }
    }

    #[cold]
    fn pause(&mut self) -> PyResult<()> {
        self.ticks = 0;
        self.py.check_signals()?;
        if self.writer.has_failed() || self.memo.has_failed() || !memory::has_headroom() {
            return Err(PyMemoryError::new_err(()));
        }
        Ok(())
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
                        Step::Id(id) => {
                            script.label = Label::Part("persistent id");
                            self.save_itself(&id, Role::Data)?
                        }
                        Step::SaveWeak(object) => self.save_weak(&object)?,
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
            Step::Method(module, name) => drop(self.standard_numbered(&module, &name)?),
            Step::Receiver(name) => self.receiver(name)?,
            Step::Hold => {
                let number = self.memo.put_anonymous();
                self.writer.put(number);
            }
            Step::Target(key, obj, filler) => self.target(&key, &obj, filler)?,
            Step::Memoize(obj) => self.memoize_result(&obj),
            Step::Save(..) | Step::SaveWeak(_) | Step::Id(_) | Step::Enter(_) => {}
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
    #[inline]
    pub(crate) fn save(&mut self, obj: &Bound<'py, PyAny>, role: Role) -> Rest<'py> {
        if self.trace.is_some() { self.save_traced(obj, role) } else { self.save_untraced(obj, role) }
    }

    pub(crate) fn save_untraced(&mut self, obj: &Bound<'py, PyAny>, role: Role) -> Rest<'py> {
        self.tick()?;
        if let Some(persistent_id) = &self.options.persistent_id {
            let id = persistent_id.call1((obj,))?;
            if !id.is_none() {
                return Ok(Some(Frame::script(vec![Step::Id(id), Step::Op(&[op::BINPERSID])])));
            }
        }
        self.save_itself(obj, role)
    }

    /// Writes `obj` and not a persistent id for it.
    fn save_itself(&mut self, obj: &Bound<'py, PyAny>, role: Role) -> Rest<'py> {
        self.writer.boundary();
        if self.atom(obj)? {
            return Ok(None);
        }
        if let Some(number) = self.memo.get(obj) {
            self.writer.get(number);
            self.held_now(obj);
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

    /// Writes what a weak reference refers to. Where that is the first place with it, another has to follow.
    fn save_weak(&mut self, obj: &Bound<'py, PyAny>) -> Rest<'py> {
        if let Some(number) = self.memo.get(obj) {
            self.writer.get(number);
            return Ok(None);
        }
        let message =
            "cannot pickle 'weakref.ReferenceType' object: nothing else in the pickle holds what it refers to";
        let mut error = self.pickling_error(message);
        if let Some(root) = self.root.clone() {
            error = self.explain(&root, error);
        }
        self.weak.insert(obj.as_ptr() as usize, error);
        self.save(obj, Role::Data)
    }

    /// An object that goes by weak reference is held by something else, too.
    pub(crate) fn held_now(&mut self, obj: &Bound<'py, PyAny>) {
        if !self.weak.is_empty() {
            self.weak.remove(&(obj.as_ptr() as usize));
        }
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
        self.writer.long(long_bytes(obj)?.as_bytes())
    }

    fn string(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        let text = obj.cast::<PyString>()?;
        match text.to_str() {
            Ok(utf8) => self.writer.text_object(text, utf8.as_bytes()),
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
        self.text_hashed(text, memo::hash(text));
    }

    /// The same, where the hash is known.
    pub(crate) fn text_hashed(&mut self, text: &[u8], hash: u64) {
        if let Some(number) = self.memo.get_hashed(text, hash) {
            self.writer.get(number);
        } else {
            self.writer.text(text);
            let number = self.memo.put_hashed(text, hash);
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
        let mut rest = self.instance(obj, &class)?;
        if let Some(Frame::Script(script)) = &mut rest {
            script.subject = Some(obj.clone());
        }
        Ok(rest)
    }
}

/// A large integer as little-endian two's complement, in as few bytes as it takes.
pub(crate) fn long_bytes<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = obj.py();
    let bits: usize = obj.call_method0(intern!(py, "bit_length"))?.extract()?;
    let arguments = PyDict::new(py);
    arguments.set_item(intern!(py, "signed"), true)?;
    let arguments = Some(&arguments);
    let bytes = obj.call_method(intern!(py, "to_bytes"), (bits / 8 + 1, intern!(py, "little")), arguments)?;
    let bytes = bytes.cast_into::<PyBytes>()?;
    // A negative power of 256 needs a byte less.
    if let [rest @ .., 0xff] = bytes.as_bytes()
        && rest.last().is_some_and(|byte| byte & 0x80 != 0)
    {
        return Ok(PyBytes::new(py, rest));
    }
    Ok(bytes)
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
