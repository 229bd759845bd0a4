//! Functions by value.
//!
//! `types.FunctionType(code, globals, None, None, closure)` is written at once: the code as marshalled bytes, an empty
//! globals dictionary that all functions of one module share, cells still empty. The function is remembered then, and
//! only after that its globals, cells and attributes are filled in, so that any of them may lead back to it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyModule, PyString, PyTuple, PyWeakrefReference};

use crate::code::{self, FileNames};
use crate::frame::{Frame, GlobalsFrame, Label, Origin, Role, Step};
use crate::global::type_name;
use crate::memo::FastMap;
use crate::opcodes as op;
use crate::save::{Rest, Saver};

/// What is known of a code object: it never changes, so it is kept for as long as the code lives.
pub(crate) struct CodeFacts {
    /// Names looked up in globals.
    pub(crate) globals: Vec<Py<PyString>>,
    /// All of `co_names`, nested code included, each followed by a zero byte.
    names: String,
    free: Vec<Py<PyString>>,
    name: String,
    qualname: String,
    doc: Option<String>,
    pub(crate) origin: Arc<Origin>,
    /// For `marshal.loads`.
    pub(crate) bytes: Vec<u8>,
}

/// Facts by the address of the code, with a weak reference that tells whether the code is still the one.
type KnownCodes = FastMap<usize, (Py<PyWeakrefReference>, Arc<CodeFacts>)>;

static KNOWN_CODES: Mutex<Option<KnownCodes>> = Mutex::new(None);
/// At this many all are forgotten.
const MAX_CODES: usize = 4096;

fn cached_facts(code: &Bound<'_, PyAny>) -> Option<Arc<CodeFacts>> {
    let known = KNOWN_CODES.lock().ok()?;
    let (reference, facts) = known.as_ref()?.get(&(code.as_ptr() as usize))?;
    let alive = reference.bind(code.py()).upgrade()?;
    alive.is(code).then(|| facts.clone())
}

fn cache_facts(code: &Bound<'_, PyAny>, facts: &Arc<CodeFacts>) -> PyResult<()> {
    let reference = PyWeakrefReference::new(code)?.unbind();
    let mut dropped = KnownCodes::default();
    if let Ok(mut known) = KNOWN_CODES.lock() {
        let known = known.get_or_insert_default();
        if known.len() >= MAX_CODES {
            dropped = std::mem::take(known);
        }
        known.insert(code.as_ptr() as usize, (reference, facts.clone()));
    }
    // Not under the lock: letting go of Python objects can run Python code.
    drop(dropped);
    Ok(())
}

/// One globals dictionary of the sender and what of it has been written.
struct SharedGlobals {
    number: u32,
    done: FastMap<Box<[u8]>, ()>,
}

/// What the functions of one dump share.
#[derive(Default)]
pub(crate) struct FunctionState {
    globals: FastMap<usize, SharedGlobals>,
}

/// How much of each file name to cut off: found once per name, so that it does not change when `sys.path` does.
static CUTS: Mutex<Option<FastMap<Box<[u8]>, usize>>> = Mutex::new(None);
/// No program has more files of code than this; one that makes them up has to look again.
const MAX_CUTS: usize = 4096;

/// File names without the directory that Python found them in.
pub(crate) struct ShortNames<'py>(pub(crate) Python<'py>);

impl ShortNames<'_> {
    fn cut(&self, name: &[u8]) -> usize {
        let entries: Vec<String> = self
            .0
            .import("sys")
            .and_then(|sys| sys.getattr(intern!(self.0, "path")))
            .and_then(|path| {
                path.try_iter()?.map(|entry| Ok(entry?.extract().unwrap_or_default())).collect::<PyResult<_>>()
            })
            .unwrap_or_default();
        let roots = entries.iter().map(|entry| entry.trim_end_matches('/').as_bytes());
        let under = roots
            .filter(|root| !root.is_empty() && name.strip_prefix(*root).is_some_and(|rest| rest.starts_with(b"/")));
        match under.map(<[u8]>::len).max() {
            Some(root) => root + 1,
            None => name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1),
        }
    }
}

impl FileNames for ShortNames<'_> {
    fn shorten<'n>(&mut self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if !name.starts_with(b"/") {
            return Cow::Borrowed(name);
        }
        let known = CUTS.lock().ok().and_then(|cuts| cuts.as_ref()?.get(name).copied());
        let cut = known.unwrap_or_else(|| {
            // The lock is not held here: looking at `sys.path` runs Python code.
            let cut = self.cut(name);
            if let Ok(mut cuts) = CUTS.lock() {
                let cuts = cuts.get_or_insert_default();
                if cuts.len() >= MAX_CUTS {
                    cuts.clear();
                }
                cuts.insert(name.into(), cut);
            }
            cut
        });
        Cow::Borrowed(&name[cut..])
    }
}

impl<'py> Saver<'py> {
    /// A Python function: by reference if the receiver can import it.
    pub(crate) fn function(&mut self, function: &Bound<'py, PyAny>) -> Rest<'py> {
        match self.reference(function)? {
            Some(reference) => self.save_reference(function, &reference),
            None => self.function_by_value(function),
        }
    }

    /// Writes the function itself; the frame returned fills it.
    pub(crate) fn function_by_value(&mut self, function: &Bound<'py, PyAny>) -> Rest<'py> {
        let py = self.py;
        let code = function.getattr(intern!(py, "__code__"))?;
        let globals = function.getattr(intern!(py, "__globals__"))?.cast_into::<PyDict>()?;
        let closure = function.getattr(intern!(py, "__closure__"))?.cast_into::<PyTuple>().ok();
        self.standard("types", "FunctionType")?;
        if closure.is_some() {
            self.writer.byte(op::MARK);
        }
        let facts = self.code(&code)?;
        let number = self.globals_dict(&globals)?;
        let mut steps = Vec::new();
        match &closure {
            None => self.writer.bytes(&[op::TUPLE2, op::REDUCE]),
            Some(cells) => {
                self.writer.bytes(&[op::NONE, op::NONE]);
                self.closure(cells, &facts, &mut steps)?;
                self.writer.bytes(&[op::TUPLE, op::REDUCE]);
            }
        }
        self.memoize(function);
        if !facts.globals.is_empty() {
            steps.push(Step::Enter(Box::new(Frame::Globals(Box::new(GlobalsFrame {
                dict: globals.clone(),
                number,
                facts: facts.clone(),
                next: 0,
                open: false,
            })))));
        }
        self.attributes(function, &globals, &facts, &mut steps)?;
        if steps.is_empty() {
            return Ok(None);
        }
        Ok(Some(Frame::script_from(steps, facts.origin.clone())))
    }

    /// Writes a code object, or gets the one written before.
    fn code(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Arc<CodeFacts>> {
        let facts = self.code_facts(code)?;
        if let Some(number) = self.memo.get(code) {
            self.writer.get(number);
            return Ok(facts);
        }
        let start = self.writer.position();
        self.standard("marshal", "loads")?;
        self.writer.raw_bytes_object(&facts.bytes);
        self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
        self.memoize(code);
        self.trace_leaf(start, || ("code".to_owned(), format!("{}, line {}", facts.origin.file, facts.origin.line)));
        Ok(facts)
    }

    /// Reads a code object, or remembers having read it.
    pub(crate) fn code_facts(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Arc<CodeFacts>> {
        if let Some(facts) = cached_facts(code) {
            return Ok(facts);
        }
        let py = self.py;
        let marshalled = self.known.marshal_dumps.bind(py).call1((code, 2))?.cast_into::<PyBytes>()?;
        let info = code::rewrite(marshalled.as_bytes(), &self.known.opmap, &mut ShortNames(py))?;
        let string = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let strings = |names: &[&[u8]]| -> PyResult<Vec<Py<PyString>>> {
            names.iter().map(|name| PyString::from_bytes(py, name).map(Bound::unbind)).collect()
        };
        let mut names = String::new();
        for name in &info.names {
            names.push_str(&String::from_utf8_lossy(name));
            names.push('\0');
        }
        let facts = Arc::new(CodeFacts {
            globals: strings(&info.globals)?,
            names,
            free: strings(&info.free)?,
            name: string(info.name),
            qualname: string(info.qualname),
            doc: info.doc.map(string),
            origin: Arc::new(Origin { name: string(info.qualname), file: string(&info.file), line: info.line }),
            bytes: info.bytes,
        });
        cache_facts(code, &facts)?;
        Ok(facts)
    }

    /// A code object on its own.
    pub(crate) fn lone_code(&mut self, code: &Bound<'py, PyAny>) -> Rest<'py> {
        self.code(code)?;
        Ok(None)
    }

    /// Writes the dictionary that stands for `globals`, with the names that every module has.
    fn globals_dict(&mut self, globals: &Bound<'py, PyDict>) -> PyResult<u32> {
        let address = globals.as_ptr() as usize;
        if let Some(shared) = self.functions.globals.get(&address) {
            self.writer.get(shared.number);
            return Ok(shared.number);
        }
        self.memo.keep(globals.as_any());
        self.writer.byte(op::EMPTY_DICT);
        let number = self.memo.put_anonymous();
        self.writer.put(number);
        self.functions.globals.insert(address, SharedGlobals { number, done: FastMap::default() });
        // C code that imports something while the function runs looks for the builtins here, and nowhere else: pyarrow
        // aborts the process where they are missing.
        self.text(b"__builtins__");
        self.standard("builtins", "__dict__")?;
        self.writer.byte(op::SETITEM);
        self.mark_global(globals, "__builtins__");
        for (key, name) in
            [("__name__", intern!(self.py, "__name__")), ("__package__", intern!(self.py, "__package__"))]
        {
            if let Some(value) = globals.get_item(name)?
                && let Ok(text) = value.cast::<PyString>()
            {
                self.text(key.as_bytes());
                self.name(text)?;
                self.writer.byte(op::SETITEM);
                self.mark_global(globals, key);
            }
        }
        Ok(number)
    }

    /// The module on top of the stack is being rebuilt: its functions are to have its own dictionary as globals.
    pub(crate) fn adopt_globals(&mut self, namespace: &Bound<'py, PyDict>) -> PyResult<()> {
        let address = namespace.as_ptr() as usize;
        if self.functions.globals.contains_key(&address) {
            return Ok(());
        }
        let module = self.memo.last();
        self.memo.keep(namespace.as_any());
        self.standard("builtins", "getattr")?;
        self.writer.get(module);
        self.text(b"__dict__");
        self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        let number = self.memo.put_anonymous();
        self.writer.put(number);
        self.writer.byte(op::POP);
        // The module's state holds everything.
        let names = namespace.keys().iter().filter_map(|name| name.extract::<String>().ok());
        let done = names.map(|name| (name.into_bytes().into_boxed_slice(), ())).collect();
        self.functions.globals.insert(address, SharedGlobals { number, done });
        Ok(())
    }

    /// Notes that a global is written; false if it was before.
    fn mark_global(&mut self, globals: &Bound<'py, PyDict>, name: &str) -> bool {
        let shared = self.functions.globals.get_mut(&(globals.as_ptr() as usize));
        shared.is_some_and(|shared| shared.done.insert(name.as_bytes().into(), ()).is_none())
    }

    pub(crate) fn advance_globals(&mut self, frame: &mut GlobalsFrame<'py>) -> Rest<'py> {
        while let Some(name) = frame.facts.globals.get(frame.next).map(|name| name.bind(self.py).clone()) {
            frame.next += 1;
            let Some(value) = frame.dict.get_item(&name)? else { continue };
            let text = name.to_str()?;
            if !self.mark_global(&frame.dict, text) {
                self.submodules(&value, &frame.facts)?;
                continue;
            }
            if !frame.open {
                frame.open = true;
                self.writer.get(frame.number);
                self.writer.byte(op::MARK);
            }
            self.text(text.as_bytes());
            if text == "__builtins__" {
                self.import("builtins")?;
                continue;
            }
            let rest = self.save(&value, Role::Data)?;
            self.submodules(&value, &frame.facts)?;
            if rest.is_some() {
                return Ok(rest);
            }
        }
        if frame.open {
            self.writer.bytes(&[op::SETITEMS, op::POP]);
        }
        Ok(None)
    }

    /// Has the receiver import the submodules of a package that the code reaches as attributes (`package.part.name`).
    fn submodules(&mut self, value: &Bound<'py, PyAny>, facts: &CodeFacts) -> PyResult<()> {
        if !value.is_instance_of::<PyModule>() || !value.hasattr(intern!(self.py, "__path__"))? {
            return Ok(());
        }
        let Ok(name) = value.getattr(intern!(self.py, "__name__"))?.extract::<String>() else { return Ok(()) };
        if !self.modules.contains(&name)? {
            return Ok(());
        }
        let mut packages = vec![name];
        while let Some(package) = packages.pop() {
            for part in facts.names.split_terminator('\0') {
                let full = format!("{package}.{part}");
                let key = [b"\xff", full.as_bytes()].concat();
                if self.modules.contains(&full)? && self.memo.get_text(&key).is_none() {
                    let start = self.writer.position();
                    self.import(&full)?;
                    self.trace_leaf(start, || (format!("submodule '{full}'"), "module".to_owned()));
                    let number = self.memo.put_text(&key);
                    self.writer.put(number);
                    self.writer.byte(op::POP);
                    packages.push(full);
                }
            }
        }
        Ok(())
    }

    /// Writes the tuple of cells. Cells with plain contents are complete; the others are filled by `steps`.
    fn closure(&mut self, cells: &Bound<'py, PyTuple>, facts: &CodeFacts, steps: &mut Vec<Step<'py>>) -> PyResult<()> {
        if cells.len() > 3 {
            self.writer.byte(op::MARK);
        }
        for (index, cell) in cells.iter().enumerate() {
            let start = self.writer.position();
            let contents = self.new_cell(&cell)?;
            let name = match facts.free.get(index) {
                Some(name) => name.bind(self.py).clone(),
                None => PyString::new(self.py, "?"),
            };
            if contents.is_none() {
                self.trace_leaf(start, || (format!("closure '{name}'"), cell_type(&cell)));
            }
            if let Some(contents) = contents {
                if let Ok(module) = contents.cast::<PyModule>() {
                    self.submodules(module.as_any(), facts)?;
                }
                self.fill_cell(&cell, contents, Label::Named("closure", name), steps)?;
            }
        }
        self.writer.byte(match cells.len() {
            0 => op::EMPTY_TUPLE,
            1 => op::TUPLE1,
            2 => op::TUPLE2,
            3 => op::TUPLE3,
            _ => op::TUPLE,
        });
        Ok(())
    }

    /// Writes a cell; returns its contents if they are still to be put in.
    fn new_cell(&mut self, cell: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(number) = self.memo.get(cell) {
            self.writer.get(number);
            return Ok(None);
        }
        self.standard("types", "CellType")?;
        let contents = match cell.getattr(intern!(self.py, "cell_contents")) {
            Ok(contents) => Some(contents),
            Err(error) if error.is_instance_of::<PyValueError>(self.py) => None,
            Err(error) => return Err(error),
        };
        let mut rest = None;
        match contents {
            Some(contents) if self.options.persistent_id.is_none() && self.atom(&contents)? => {
                self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
            }
            contents => {
                self.writer.bytes(&[op::EMPTY_TUPLE, op::REDUCE]);
                rest = contents;
            }
        }
        self.memoize(cell);
        Ok(rest)
    }

    fn fill_cell(
        &mut self,
        cell: &Bound<'py, PyAny>,
        contents: Bound<'py, PyAny>,
        label: Label<'py>,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let Some(number) = self.memo.get(cell) else { return Ok(()) };
        steps.extend([
            Step::Get(number),
            Step::Op(&[op::NONE, op::EMPTY_DICT]),
            Step::Name("cell_contents"),
            Step::Save(contents, Role::Data, label),
            Step::Op(&[op::SETITEM, op::TUPLE2, op::BUILD, op::POP]),
        ]);
        Ok(())
    }

    /// A cell on its own.
    pub(crate) fn cell(&mut self, cell: &Bound<'py, PyAny>) -> Rest<'py> {
        let Some(contents) = self.new_cell(cell)? else { return Ok(None) };
        let mut steps = Vec::new();
        self.fill_cell(cell, contents, Label::Part("cell"), &mut steps)?;
        Ok(Some(Frame::script(steps)))
    }

    /// The attributes that differ from what `FunctionType` sets by itself, as one `BUILD`.
    fn attributes(
        &mut self,
        function: &Bound<'py, PyAny>,
        globals: &Bound<'py, PyDict>,
        facts: &CodeFacts,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let py = self.py;
        let mut slots: Vec<(&'static str, Bound<'py, PyAny>)> = Vec::new();
        let text_differs =
            |value: &Bound<'py, PyAny>, expected: Option<&str>| match (value.cast::<PyString>(), expected) {
                (Ok(text), Some(expected)) => text != expected,
                (Err(_), None) => !value.is_none(),
                _ => true,
            };
        let name = function.getattr(intern!(py, "__name__"))?;
        if text_differs(&name, Some(&facts.name)) {
            slots.push(("__name__", name));
        }
        let qualname = function.getattr(intern!(py, "__qualname__"))?;
        if text_differs(&qualname, Some(&facts.qualname)) {
            slots.push(("__qualname__", qualname));
        }
        let module = function.getattr(intern!(py, "__module__"))?;
        let expected = globals.get_item(intern!(py, "__name__"))?;
        let same = match &expected {
            Some(expected) => expected.is(&module) || expected.eq(&module)?,
            None => module.is_none(),
        };
        if !same {
            slots.push(("__module__", module));
        }
        let doc = function.getattr(intern!(py, "__doc__"))?;
        if text_differs(&doc, facts.doc.as_deref()) {
            slots.push(("__doc__", doc));
        }
        for (key, attribute) in
            [("__defaults__", intern!(py, "__defaults__")), ("__kwdefaults__", intern!(py, "__kwdefaults__"))]
        {
            let value = function.getattr(attribute)?;
            if !value.is_none() {
                slots.push((key, value));
            }
        }
        let annotations = function.getattr(intern!(py, "__annotations__"))?;
        if annotations.is_truthy()? {
            slots.push(("__annotations__", annotations));
        }
        if self.known.opmap.minor >= 12
            && let Some(parameters) = function.getattr_opt(intern!(py, "__type_params__"))?
            && parameters.is_truthy()?
        {
            slots.push(("__type_params__", parameters));
        }
        let attributes = function.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        if slots.is_empty() && attributes.is_empty() {
            return Ok(());
        }
        // The function is on top of the stack here: globals and cells leave it there.
        if attributes.is_empty() {
            steps.push(Step::Op(&[op::NONE]));
        } else {
            steps.push(Step::Save(attributes.into_any(), Role::State, Label::Silent));
        }
        steps.push(Step::Op(&[op::EMPTY_DICT, op::MARK]));
        for (key, value) in slots {
            steps.push(Step::Name(key));
            let label = Label::Part(match key {
                "__defaults__" | "__kwdefaults__" => "defaults",
                "__annotations__" => "annotations",
                other => other,
            });
            match value.cast_into::<PyString>() {
                Ok(text) => steps.push(Step::Text(text)),
                Err(other) => steps.push(Step::Save(other.into_inner(), Role::Data, label)),
            }
        }
        steps.push(Step::Op(&[op::SETITEMS, op::TUPLE2, op::BUILD]));
        Ok(())
    }
}

/// The type of what a cell holds, for a trace.
fn cell_type(cell: &Bound<'_, PyAny>) -> String {
    cell.getattr("cell_contents").map_or_else(|_| "nothing yet".to_owned(), |contents| type_name(&contents))
}
