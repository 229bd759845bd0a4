//! Functions by value.
//!
//! `types.FunctionType(code, globals, None, None, closure)` is written at once: the code as marshalled bytes, an empty
//! globals dictionary that all functions of one module share, cells still empty. The function is remembered then, and
//! only after that its globals, cells and attributes are filled in, so that any of them may lead back to it.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyModule, PyString, PyTuple};

use crate::facts::CodeFacts;
use crate::frame::{Frame, GlobalsFrame, Label, Role, Step};
use crate::functions_ffi::FunctionParts;
use crate::global::{member, type_name};
use crate::memo::FastMap;
use crate::opcodes as op;
use crate::save::{Rest, Saver, is_leaf};

/// One globals dictionary of the sender and what of it has been written.
struct SharedGlobals<'py> {
    number: u32,
    /// By address: names, which are interned.
    done: FastMap<usize, Bound<'py, PyString>>,
}

/// What the functions of one dump share.
#[derive(Default)]
pub(crate) struct FunctionState<'py> {
    globals: FastMap<usize, SharedGlobals<'py>>,
    /// Code that is known to be met again in this dump.
    pub(crate) read: FastMap<usize, Arc<CodeFacts>>,
}

impl<'py> Saver<'py> {
    /// A Python function: by reference if the receiver can import it.
    pub(crate) fn function(&mut self, function: &Bound<'py, PyAny>) -> Rest<'py> {
        // The most frequent answer takes one look.
        let module = FunctionParts::of(function).module()?;
        if module.is_some_and(|module| module.cast::<PyString>().is_ok_and(|module| module == "__main__")) {
            return self.function_by_value(function);
        }
        match self.reference(function)? {
            Some(reference) => self.save_reference(function, &reference),
            None => self.function_by_value(function),
        }
    }

    /// Writes the function itself; the frame returned fills it.
    pub(crate) fn function_by_value(&mut self, function: &Bound<'py, PyAny>) -> Rest<'py> {
        let parts = FunctionParts::of(function);
        let (Some(code), Some(globals)) = (parts.code()?, parts.globals()?) else {
            return Err(self.pickling_error("cannot pickle a function without code"));
        };
        let globals = globals.cast_into::<PyDict>()?;
        let closure = parts.closure()?.and_then(|cells| cells.cast_into::<PyTuple>().ok());
        let facts = self.code_facts(&code)?;
        self.begin_function(&facts.template, closure.is_some())?;
        self.code(&code, &facts)?;
        let number = self.globals_dict(&globals)?;
        let mut steps = Vec::new();
        match &closure {
            None => self.writer.bytes(&[op::TUPLE2, op::REDUCE]),
            Some(cells) => {
                self.writer.bytes(&[op::NONE, op::NONE]);
                let module = globals.get_item(intern!(self.py, "__name__"))?;
                let has_caches =
                    module.is_some_and(|name| name.cast::<PyString>().is_ok_and(|name| name == "functools"));
                self.closure(cells, &code, &facts, has_caches, &mut steps)?;
                self.writer.bytes(&[op::TUPLE, op::REDUCE]);
            }
        }
        self.memoize(function);
        self.attributes(function, &globals, &facts, &mut steps)?;
        if !facts.globals.is_empty() {
            steps.push(Step::Enter(Box::new(Frame::Globals(Box::new(GlobalsFrame {
                dict: globals.clone(),
                number,
                facts: facts.clone(),
                next: 0,
                open: false,
            })))));
        }
        if steps.is_empty() {
            return Ok(None);
        }
        Ok(Some(Frame::script_from(steps, (code, facts))))
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
        let done = FastMap::with_capacity_and_hasher(14, Default::default());
        self.functions.globals.insert(address, SharedGlobals { number, done });
        // C code that imports something while the function runs looks for the builtins here, and nowhere else: pyarrow
        // aborts the process where they are missing.
        // Every module of Python code has them; `builtins` itself takes longer to look up when it is loaded.
        self.text(b"__builtins__");
        self.standard("types", "__builtins__")?;
        self.writer.byte(op::SETITEM);
        self.mark_global(globals, intern!(self.py, "__builtins__"));
        for (key, name) in
            [("__name__", intern!(self.py, "__name__")), ("__package__", intern!(self.py, "__package__"))]
        {
            if let Some(value) = globals.get_item(name)?
                && let Ok(text) = value.cast::<PyString>()
            {
                self.text(key.as_bytes());
                self.name(text)?;
                self.writer.byte(op::SETITEM);
                self.mark_global(globals, name);
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
        let names = namespace.keys().iter().filter_map(|name| name.cast_into::<PyString>().ok());
        let names = names.map(|name| interned(&name));
        let done = names.map(|name| (name.as_ptr() as usize, name)).collect();
        self.functions.globals.insert(address, SharedGlobals { number, done });
        Ok(())
    }

    /// Notes that a global is written; false if it was before.
    fn mark_global(&mut self, globals: &Bound<'py, PyDict>, name: &Bound<'py, PyString>) -> bool {
        let shared = self.functions.globals.get_mut(&(globals.as_ptr() as usize));
        let name = interned(name);
        shared.is_some_and(|shared| shared.done.insert(name.as_ptr() as usize, name).is_none())
    }

    pub(crate) fn advance_globals(&mut self, frame: &mut GlobalsFrame<'py>) -> Rest<'py> {
        while let Some(name) = frame.facts.globals.get(frame.next).map(|name| name.bind(self.py).clone()) {
            frame.next += 1;
            let Some(value) = frame.dict.get_item(&name)? else { continue };
            let text = name.to_str()?;
            if !self.mark_global(&frame.dict, &name) {
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
        if !value.is_instance_of::<PyModule>() || member(value, "__path__").is_none() {
            return Ok(());
        }
        let Ok(name) = value.getattr(intern!(self.py, "__name__"))?.extract::<String>() else { return Ok(()) };
        // Those of a package that goes by value travel with it.
        if !self.modules.contains(&name)? || self.options.is_by_value(&name) {
            return Ok(());
        }
        let mut packages = vec![name];
        while let Some(package) = packages.pop() {
            for part in facts.names(self.py) {
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

    /// The same for packages that are defaults of parameters.
    fn submodules_in(&mut self, defaults: &Bound<'py, PyAny>, facts: &CodeFacts) -> PyResult<()> {
        if let Ok(values) = defaults.cast_exact::<PyTuple>() {
            return values.iter().try_for_each(|value| self.submodules(&value, facts));
        }
        defaults
            .cast_exact::<PyDict>()
            .map_or(Ok(()), |named| named.values().iter().try_for_each(|value| self.submodules(&value, facts)))
    }

    /// Writes the tuple of cells. Cells with plain contents are complete; the others are filled by `steps`.
    fn closure(
        &mut self,
        cells: &Bound<'py, PyTuple>,
        code: &Bound<'py, PyAny>,
        facts: &CodeFacts,
        has_caches: bool,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let names = code.getattr(intern!(self.py, "co_freevars"))?.cast_into::<PyTuple>()?;
        if cells.len() > 3 {
            self.writer.byte(op::MARK);
        }
        for (index, cell) in cells.iter().enumerate() {
            let start = self.writer.position();
            let fresh = if has_caches { self.fresh_cache(&names.get_item(index)?)? } else { None };
            let contents = self.new_cell(&cell, fresh)?;
            if contents.is_none() && self.trace.is_some() {
                let name = names.get_item(index)?;
                self.trace_leaf(start, || (format!("closure '{name}'"), cell_type(&cell)));
            }
            if let Some(contents) = contents {
                let name = names.get_item(index)?.cast_into::<PyString>()?;
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

    /// What a variable of `functools.singledispatch` that belongs to the process is at the receiver: nothing is cached, and
    /// no registration of an abstract base class has been seen.
    fn fresh_cache(&self, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let name = name.cast::<PyString>()?;
        Ok(if name == "dispatch_cache" {
            Some(self.py.import("weakref")?.getattr("WeakKeyDictionary")?.call0()?)
        } else if name == "cache_token" {
            Some(PyInt::new(self.py, -1).into_any())
        } else {
            None
        })
    }

    /// Writes a cell; returns its contents, or those that are given in their place, if they are still to be put in.
    fn new_cell(
        &mut self,
        cell: &Bound<'py, PyAny>,
        given: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
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
        let contents = match contents {
            Some(contents) if !contents.is_none() => given.or(Some(contents)),
            other => other,
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
        let Some(contents) = self.new_cell(cell, None)? else { return Ok(None) };
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
        let name = self.known.getters.function_name.of(function)?;
        if differs(&name, &facts.name)? {
            slots.push(("__name__", name));
        }
        let qualname = self.known.getters.function_qualname.of(function)?;
        if differs(&qualname, &facts.qualname)? {
            slots.push(("__qualname__", qualname));
        }
        let parts = FunctionParts::of(function);
        let module = parts.module()?;
        let expected = globals.get_item(intern!(py, "__name__"))?;
        let same = match (&expected, &module) {
            (Some(expected), Some(module)) => expected.is(module) || expected.eq(module)?,
            (None, None) => true,
            _ => false,
        };
        if !same {
            slots.push(("__module__", module.unwrap_or_else(|| py.None().into_bound(py))));
        }
        let doc = self.known.getters.function_doc.of(function)?;
        if match &facts.doc {
            Some(expected) => differs(&doc, expected)?,
            None => !doc.is_none(),
        } {
            slots.push(("__doc__", doc));
        }
        for (key, value) in [("__defaults__", parts.defaults()?), ("__kwdefaults__", parts.keyword_defaults()?)] {
            if let Some(value) = value {
                self.submodules_in(&value, facts)?;
                slots.push((key, value));
            }
        }
        if let Some(annotations) = parts.annotations()?
            && annotations.is_truthy()?
        {
            slots.push(("__annotations__", annotations));
        }
        if self.known.opmap.minor >= 12
            && let Some(parameters) = function.getattr_opt(intern!(py, "__type_params__"))?
            && parameters.is_truthy()?
        {
            slots.push(("__type_params__", parameters));
        }
        let attributes = parts.attributes().filter(|attributes| !attributes.is_empty());
        if slots.is_empty() && attributes.is_none() {
            return Ok(());
        }
        // The function is on top of the stack here: globals and cells leave it there.
        let at_once = attributes.is_none()
            && self.options.persistent_id.is_none()
            && self.options.protocol >= 3
            && slots.iter().all(|(_, value)| {
                let tuple = value.cast_exact::<PyTuple>();
                value.is_exact_instance_of::<PyString>() || tuple.is_ok_and(|tuple| tuple.iter_borrowed().all(is_leaf))
            });
        if at_once {
            self.writer.bytes(&[op::NONE, op::EMPTY_DICT, op::MARK]);
            for (key, value) in slots {
                self.text(key.as_bytes());
                match value.cast_into::<PyString>() {
                    Ok(text) => self.name(&text)?,
                    Err(other) => {
                        let value = other.into_inner();
                        let start = self.writer.position();
                        // Leaves need no frame, and are no parts of their own in a trace.
                        let trace = self.trace.take();
                        let written = self.save(&value, Role::Data);
                        self.trace = trace;
                        written?;
                        self.trace_leaf(start, || (label_of_slot(key).to_owned(), type_name(&value)));
                    }
                }
            }
            self.writer.bytes(&[op::SETITEMS, op::TUPLE2, op::BUILD]);
            return Ok(());
        }
        match attributes {
            None => steps.push(Step::Op(&[op::NONE])),
            Some(attributes) => steps.push(Step::Save(attributes.into_any(), Role::State, Label::Silent)),
        }
        steps.push(Step::Op(&[op::EMPTY_DICT, op::MARK]));
        for (key, value) in slots {
            steps.push(Step::Name(key));
            let label = Label::Part(label_of_slot(key));
            match value.cast_into::<PyString>() {
                Ok(text) => steps.push(Step::Text(text)),
                Err(other) => steps.push(Step::Save(other.into_inner(), Role::Data, label)),
            }
        }
        steps.push(Step::Op(&[op::SETITEMS, op::TUPLE2, op::BUILD]));
        Ok(())
    }
}

/// What people call an attribute of a function.
fn label_of_slot(slot: &'static str) -> &'static str {
    match slot {
        "__defaults__" | "__kwdefaults__" => "defaults",
        "__annotations__" => "annotations",
        other => other,
    }
}

/// The one string of the interpreter with this text, which lives as long as what holds the names: code, or a module.
fn interned<'py>(name: &Bound<'py, PyString>) -> Bound<'py, PyString> {
    if name.is_exact_instance_of::<PyString>() {
        let mut text = name.clone().into_ptr();
        // SAFETY: takes over the reference to a live string, and puts one to the interned string in its place.
        unsafe {
            ffi::PyUnicode_InternInPlace(&raw mut text);
            return Bound::from_owned_ptr(name.py(), text).cast_into_unchecked();
        }
    }
    name.clone()
}

/// The type of what a cell holds, for a trace.
fn cell_type(cell: &Bound<'_, PyAny>) -> String {
    cell.getattr("cell_contents").map_or_else(|_| "nothing yet".to_owned(), |contents| type_name(&contents))
}

/// Whether a value is another than the string that is expected.
fn differs(value: &Bound<'_, PyAny>, expected: &Py<PyAny>) -> PyResult<bool> {
    if value.is(expected) {
        return Ok(false);
    }
    Ok(!value.is_exact_instance_of::<PyString>() || value.ne(expected)?)
}
