//! By reference or by value, and the writing of references.
//!
//! An object goes by reference if the module it names holds this very object under its qualified name, and that module
//! is neither `__main__` nor registered to go by value.

use std::ptr;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyModule, PyString, PyTuple, PyType};

use crate::frame::{Frame, Label, Role, Step};
use crate::memo;
use crate::opcodes as op;
use crate::save::{Rest, Saver};

/// Where an object can be imported from.
pub(crate) struct Reference<'py> {
    pub(crate) module: Bound<'py, PyString>,
    pub(crate) name: Bound<'py, PyString>,
}

impl<'py> Saver<'py> {
    /// Where `obj` (a function or class) can be imported from at the receiver; `None` if it has to go by value.
    pub(crate) fn reference(&self, obj: &Bound<'py, PyAny>) -> PyResult<Option<Reference<'py>>> {
        // The most frequent answer takes one look.
        let module = self.own_module(obj);
        if module.as_ref().is_some_and(|module| module == "__main__") {
            return Ok(None);
        }
        let name = match obj.cast::<PyType>() {
            Ok(class) => self.known.getters.class_qualname.of_class(class)?.cast_into::<PyString>().ok(),
            Err(_) => qualified_name(obj)?,
        };
        let Some(name) = name else { return Ok(None) };
        match module {
            Some(module) => self.reference_in(obj, module, name),
            None => self.reference_as(obj, name),
        }
    }

    /// The same, under a given name.
    pub(crate) fn reference_as(
        &self,
        obj: &Bound<'py, PyAny>,
        name: Bound<'py, PyString>,
    ) -> PyResult<Option<Reference<'py>>> {
        match self.module_of(obj, &name)? {
            Some(module) => self.reference_in(obj, module, name),
            None => Ok(None),
        }
    }

    fn reference_in(
        &self,
        obj: &Bound<'py, PyAny>,
        module: Bound<'py, PyString>,
        name: Bound<'py, PyString>,
    ) -> PyResult<Option<Reference<'py>>> {
        let module_name = module.to_str()?;
        if module_name == "__main__" || self.options.is_by_value(module_name) {
            return Ok(None);
        }
        // The name as it is first: nearly every module and name is found so.
        let holder = self.modules.get_item(&module)?;
        let plain = holder.and_then(|holder| holder.cast_into::<PyModule>().ok());
        let plain = plain.map(|module| module.dict().get_item(&name)).transpose()?.flatten();
        let found = match plain {
            Some(value) => value.is(obj),
            None => match self.look_up(module_name, name.to_str()?) {
                // The function of a classmethod.
                Some(value) if value.get_type().is(&self.known.method) => {
                    if !value.is(obj) && value.getattr(intern!(self.py, "__func__"))?.is(obj) {
                        let name = PyString::new(self.py, &format!("{}.__func__", name.to_str()?));
                        return Ok(Some(Reference { module, name }));
                    }
                    value.is(obj)
                }
                value => value.is_some_and(|value| value.is(obj)),
            },
        };
        Ok(found.then_some(Reference { module, name }))
    }

    /// Whether `name` in `module` leads to `obj`.
    pub(crate) fn find(&self, module: &str, name: &str, obj: &Bound<'py, PyAny>) -> bool {
        self.look_up(module, name).is_some_and(|found| found.is(obj))
    }

    /// What a qualified name leads to in a module that is imported.
    fn look_up(&self, module: &str, name: &str) -> Option<Bound<'py, PyAny>> {
        let mut holder = self.modules.get_item(module).ok().flatten()?;
        let (path, last) = match name.rsplit_once('.') {
            None => (None, name),
            Some((path, last)) => (Some(path), last),
        };
        for part in path.into_iter().flat_map(|path| path.split('.')) {
            if part == "<locals>" {
                return None;
            }
            holder = member(&holder, part)?;
        }
        member(&holder, last)
    }

    /// The name of the module that `obj` says it is from, or the one that is found to hold it.
    pub(crate) fn module_of(
        &self,
        obj: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        match self.own_module(obj) {
            Some(module) => Ok(Some(module)),
            None => self.module_that_holds(obj, name),
        }
    }

    /// The name of the module that `obj` says it is from. A class says it itself: no metaclass is asked.
    fn own_module(&self, obj: &Bound<'py, PyAny>) -> Option<Bound<'py, PyString>> {
        let module = match obj.cast::<PyType>() {
            Ok(class) => self.known.getters.class_module.of_class(class),
            Err(_) => obj.getattr(intern!(self.py, "__module__")),
        };
        module.ok()?.cast_into::<PyString>().ok()
    }

    fn module_that_holds(
        &self,
        obj: &Bound<'py, PyAny>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        // The names first, because looking into lazy modules can import others; and in an order that does not depend on
        // what was imported when: the package of the object's type, then short names before long ones.
        let package = obj.get_type().module().ok();
        let package = package.as_ref().and_then(|module| module.to_str().ok()).and_then(|name| name.split('.').next());
        let mut candidates = Vec::new();
        for (key, module) in self.modules.iter() {
            if module.is_instance_of::<PyModule>()
                && let Ok(key) = key.cast_into::<PyString>()
                && let Ok(text) = key.to_str()
                && !matches!(text, "__main__" | "__mp_main__")
            {
                let is_elsewhere = text.split('.').next() != package;
                candidates.push((is_elsewhere, text.len(), text.to_owned(), key));
            }
        }
        candidates.sort_by(|left, right| (left.0, left.1, &left.2).cmp(&(right.0, right.1, &right.2)));
        let name = name.to_str()?;
        Ok(candidates.into_iter().find(|(_, _, text, _)| self.find(text, name, obj)).map(|(.., key)| key))
    }

    /// Writes a reference to `obj` and remembers it.
    pub(crate) fn save_reference(&mut self, obj: &Bound<'py, PyAny>, reference: &Reference<'py>) -> Rest<'py> {
        self.held_now(obj);
        if let Some(code) = self.extension_code(reference)? {
            self.writer.extension(code);
            return Ok(None);
        }
        let (module, name) = (reference.module.to_str()?, reference.name.to_str()?);
        if self.options.protocol >= 4 {
            let has_getter = module == "builtins" && !name.contains('.') && self.getter(module, name).is_some();
            if has_getter || self.has_standard(module, name) {
                let number = self.standard_numbered(module, name)?;
                self.memo.alias(obj, number);
                return Ok(None);
            }
            self.name(&reference.module)?;
            self.name(&reference.name)?;
            self.writer.byte(op::STACK_GLOBAL);
            self.memoize(obj);
            return Ok(None);
        }
        // One look-up in another: what holds the object may be the object itself under this name, too.
        let mut parts = name.split('.');
        let first = parts.next().unwrap_or(name);
        for _ in parts.clone() {
            self.standard("builtins", "getattr")?;
        }
        self.old_global(module, first)?;
        for part in parts {
            self.text(part.as_bytes());
            self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        }
        self.memoize(obj);
        Ok(None)
    }

    fn extension_code(&self, reference: &Reference<'py>) -> PyResult<Option<u32>> {
        let registry = self.known.extension_registry.bind(self.py);
        if registry.is_empty() {
            return Ok(None);
        }
        let Some(code) = registry.get_item((&reference.module, &reference.name))? else { return Ok(None) };
        match code.cast_exact::<PyInt>() {
            Ok(code) => code.extract().map(Some),
            Err(_) => Err(self.pickling_error("extension codes must be integers")),
        }
    }

    /// `GLOBAL` of protocol 2 and 3, under the names of Python 2 where `fix_imports` asks for them.
    fn old_global(&mut self, module: &str, name: &str) -> PyResult<()> {
        let (mut module, mut name) = (module.to_owned(), name.to_owned());
        if self.options.fix_imports && self.options.protocol < 3 {
            let names = self.known.old_names.bind(self.py);
            if let Some(old) = names.get_item((&module, &name))? {
                (module, name) = old.extract()?;
            } else if let Some(old) = self.known.old_modules.bind(self.py).get_item(&module)? {
                module = old.extract()?;
            }
        }
        self.writer.global_line(module.as_bytes(), name.as_bytes());
        Ok(())
    }

    /// The bound `get` of a module's dictionary, where the pickle has one or has a use for it.
    ///
    /// A look-up of the reader's own takes as long as four calls of it: `types` is asked several times for each function,
    /// `builtins` for what classes are made of.
    fn getter(&self, module: &str, name: &str) -> Option<&'static str> {
        let has = |getter| self.literal("types", getter).is_some() || self.has_standard("types", getter);
        match module {
            "types" => {
                let is_part = matches!(name, "FunctionType" | "CodeType" | "CellType" | "__builtins__");
                (is_part || has(TYPES)).then_some(TYPES)
            }
            "builtins" => (has(BUILTINS) || has(TYPES)).then_some(BUILTINS),
            _ => None,
        }
    }

    /// Whether such a reference is written.
    pub(crate) fn has_standard(&self, module: &str, name: &str) -> bool {
        self.memo.get_text(&standard_key(module, name)).is_some()
    }

    /// Writes a reference to something of the standard library, once per pickle.
    pub(crate) fn standard(&mut self, module: &'static str, name: &'static str) -> PyResult<()> {
        if let Some(number) = self.literal(module, name) {
            self.writer.get(number);
            return Ok(());
        }
        let number = self.standard_numbered(module, name)?;
        self.literals.push((module, name, number));
        Ok(())
    }

    /// The number of a reference by the addresses of its literals: most of the structure of a pickle asks for the same few.
    fn literal(&self, module: &'static str, name: &'static str) -> Option<u32> {
        let found = self.literals.iter().find(|(m, n, _)| ptr::eq(*m, module) && ptr::eq(*n, name));
        found.map(|(.., number)| *number)
    }

    /// The same for names found at run time; returns its number in the memo.
    pub(crate) fn standard_numbered(&mut self, module: &str, name: &str) -> PyResult<u32> {
        let key = standard_key(module, name);
        let hash = memo::hash(&key);
        if let Some(number) = self.memo.get_hashed(&key, hash) {
            self.writer.get(number);
            return Ok(number);
        }
        if self.options.protocol >= 4
            && !name.contains('.')
            && let Some(getter) = self.getter(module, name)
        {
            self.standard("types", getter)?;
            match self.memo.get_text(name.as_bytes()) {
                Some(number) => self.writer.get(number),
                None => self.writer.text(name.as_bytes()),
            }
            self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
        } else if self.options.protocol >= 4 {
            self.text(module.as_bytes());
            match self.memo.get_text(name.as_bytes()) {
                Some(number) => self.writer.get(number),
                None => self.writer.text(name.as_bytes()),
            }
            self.writer.byte(op::STACK_GLOBAL);
        } else if let Some((parent, last)) = name.rsplit_once('.') {
            self.standard("builtins", "getattr")?;
            self.standard_numbered(module, parent)?;
            self.text(last.as_bytes());
            self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        } else {
            self.old_global(module, name)?;
        }
        let number = self.memo.put_hashed(&key, hash);
        self.writer.put(number);
        Ok(number)
    }

    /// A module: imported at the receiver, or rebuilt there if it was made at run time.
    pub(crate) fn module(&mut self, module: &Bound<'py, PyAny>) -> Rest<'py> {
        let name = module.getattr(intern!(self.py, "__name__"))?.cast_into::<PyString>()?;
        let text = name.to_str()?;
        if self.modules.contains(&name)? && !self.options.is_by_value(text) {
            self.held_now(module);
            self.import(text)?;
            self.memoize(module);
            return Ok(None);
        }
        self.standard("types", "ModuleType")?;
        self.name(&name)?;
        self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
        self.memoize(module);
        let namespace = module.getattr(intern!(self.py, "__dict__"))?.cast_into::<PyDict>()?;
        self.adopt_globals(&namespace)?;
        let state = namespace.copy()?;
        for name in ["__loader__", "__spec__"] {
            if state.contains(name)? {
                state.set_item(name, self.py.None())?;
            }
        }
        if state.contains(intern!(self.py, "__builtins__"))? {
            state.set_item(intern!(self.py, "__builtins__"), self.py.import("builtins")?)?;
        }
        let steps = vec![Step::Save(state.into_any(), Role::State, Label::Silent), Step::Op(&[op::BUILD])];
        Ok(Some(Frame::script(steps)))
    }

    /// Puts an imported module on the pickle's stack.
    pub(crate) fn import(&mut self, name: &str) -> PyResult<()> {
        if name.contains('.') {
            self.standard("importlib", "import_module")?;
        } else {
            self.standard("builtins", "__import__")?;
        }
        self.text(name.as_bytes());
        self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
        Ok(())
    }

    /// Writes an object that names itself (a reducer returned a string, or the object is a builtin function).
    pub(crate) fn save_named(&mut self, obj: &Bound<'py, PyAny>, name: Option<Bound<'py, PyString>>) -> Rest<'py> {
        let name = match name {
            Some(name) => Some(name),
            None => qualified_name(obj)?,
        };
        let Some(name) = name else {
            return Err(self.pickling_error(&format!("Can't pickle {}: it has no name", repr(obj))));
        };
        if let Some(reference) = self.reference_as(obj, name.clone())? {
            return self.save_reference(obj, &reference);
        }
        if let Some(reducer) = self.reducer_of_unnamed(obj)? {
            return self.unnamed(obj, &reducer);
        }
        if let Some(module) = self.module_of(obj, &name)?
            && self.importable(module.to_str()?, name.to_str()?, obj)?
        {
            return self.save_reference(obj, &Reference { module, name });
        }
        Err(self.pickling_error(&format!("Can't pickle {}: it's not found under the name {name}", repr(obj))))
    }

    /// As `find`, but imports the module if it is not loaded.
    fn importable(&self, module: &str, name: &str, obj: &Bound<'py, PyAny>) -> PyResult<bool> {
        if self.modules.get_item(module)?.is_none() && self.py.import(module).is_err() {
            return Ok(false);
        }
        Ok(self.find(module, name, obj))
    }

    /// Another name for a class in its own module: `_json.Encoder` is `_json.make_encoder` there.
    pub(crate) fn alias(&self, class: &Bound<'py, PyAny>) -> PyResult<Option<Reference<'py>>> {
        let Some(module) = class.getattr(intern!(self.py, "__module__"))?.cast_into::<PyString>().ok() else {
            return Ok(None);
        };
        let text = module.to_str()?;
        if text == "__main__" || self.options.is_by_value(text) {
            return Ok(None);
        }
        self.name_in(class, &module)
    }

    /// The name under which a module that is imported has a class.
    pub(crate) fn name_in(
        &self,
        class: &Bound<'py, PyAny>,
        module: &Bound<'py, PyString>,
    ) -> PyResult<Option<Reference<'py>>> {
        let Some(parent) = self.modules.get_item(module)? else { return Ok(None) };
        let Ok(names) = parent.getattr(intern!(self.py, "__dict__")).and_then(|names| Ok(names.cast_into::<PyDict>()?))
        else {
            return Ok(None);
        };
        let found = names.iter().find(|(_, value)| value.is(class)).map(|(name, _)| name);
        let Some(name) = found.and_then(|name| name.cast_into::<PyString>().ok()) else { return Ok(None) };
        Ok(Some(Reference { module: module.clone(), name }))
    }

    /// A type that its own module does not offer, but `types` does: `CodeType`, `CellType`, ...
    pub(crate) fn name_in_types(&self, class: &Bound<'py, PyAny>) -> Option<&'static str> {
        self.known.names_in_types.get(&(class.as_ptr() as usize)).copied()
    }
}

/// Getters of `types`: its own names, and those of `builtins`.
const TYPES: &str = "__dict__.get";
pub(crate) const BUILTINS: &str = "__builtins__.get";

/// The key by which the memo knows something of the standard library: no UTF-8, so that it cannot be taken for a string.
fn standard_key(module: &str, name: &str) -> Key {
    let mut key = Key::default();
    for part in [module, name] {
        key.push(b"\xff");
        key.push(part.as_bytes());
    }
    key
}

/// A short byte string that rarely needs the heap.
struct Key {
    short: [u8; 64],
    len: usize,
    long: Vec<u8>,
}

impl Default for Key {
    fn default() -> Self {
        Self { short: [0; 64], len: 0, long: Vec::new() }
    }
}

impl Key {
    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if self.long.is_empty() && end <= self.short.len() {
            self.short[self.len..end].copy_from_slice(bytes);
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..self.len]);
            }
            self.long.extend_from_slice(bytes);
        }
        self.len = end;
    }
}

impl std::ops::Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        if self.long.is_empty() { &self.short[..self.len] } else { &self.long }
    }
}

/// An attribute, or `None` where looking it up raises. A module's own dictionary is asked first: a module that has no
/// `__getattr__` would have to make up an error to say that something is not there.
pub(crate) fn member<'py>(holder: &Bound<'py, PyAny>, name: &str) -> Option<Bound<'py, PyAny>> {
    if let Ok(module) = holder.cast_exact::<PyModule>() {
        let names = module.dict();
        if let Some(value) = names.get_item(name).ok()? {
            return Some(value);
        }
        if (name == "__path__" || !name.starts_with("__"))
            && !names.contains(intern!(holder.py(), "__getattr__")).ok()?
        {
            return None;
        }
    }
    holder.getattr(name).ok()
}

/// `__qualname__`, or `__name__` where there is none.
fn qualified_name<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyString>>> {
    let py = obj.py();
    let name = match obj.getattr_opt(intern!(py, "__qualname__"))? {
        Some(name) => Some(name),
        None => obj.getattr_opt(intern!(py, "__name__"))?,
    };
    Ok(name.and_then(|name| name.cast_into::<PyString>().ok()))
}

/// `repr`, for messages: never raises.
pub(crate) fn repr(obj: &Bound<'_, PyAny>) -> String {
    match obj.repr() {
        Ok(text) => text.to_string_lossy().chars().take(200).collect(),
        Err(_) => format!("<{} object>", type_name(obj)),
    }
}

/// The name of an object's type, for messages.
pub(crate) fn type_name(obj: &Bound<'_, PyAny>) -> String {
    obj.get_type()
        .fully_qualified_name()
        .map_or_else(|_| "object".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// A tuple of the arguments given, for the few places that call back into Python.
pub(crate) fn arguments<'py>(py: Python<'py>, items: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, items)
}
