//! Functions by value.
//!
//! A function is made empty, remembered, and filled afterwards: so it may refer to itself through its closure, its
//! globals or its attributes. At the receiver `types.FunctionType` makes it of its code (`marshal`), and BUILD sets the
//! rest with `setattr`. All functions of one pickle that shared their globals share a new dictionary of only those names
//! that they use.

use pyo3::{
    intern,
    prelude::*,
    types::{PyCode, PyDict, PyFunction, PyModule, PyString, PyTuple},
};

use crate::{
    code::{self, Names},
    opcodes as op,
    path::Step,
    pickler::{Pickler, Work},
};

/// Marshal's format without back references: those depend on reference counts, and the same code would give other bytes.
const MARSHAL_VERSION: i32 = 2;

/// Attributes of a function that are set one by one; the rest is its `__dict__`.
const ATTRIBUTES: [&str; 7] = [
    "__defaults__",
    "__kwdefaults__",
    "__annotations__",
    "__doc__",
    "__module__",
    "__qualname__",
    "__type_params__",
];

/// Module attributes that go along with globals: relative imports and loggers by `__name__` need them.
const MODULE_NAMES: [&str; 4] = ["__package__", "__name__", "__path__", "__file__"];

impl<'py> Pickler<'py> {
    /// Writes a function by value.
    pub(crate) fn save_function(&mut self, function: &Bound<'py, PyFunction>) -> PyResult<()> {
        let code = function.getattr(intern!(self.py, "__code__"))?;
        let globals = function.getattr(intern!(self.py, "__globals__"))?.cast_into::<PyDict>()?;
        let names = code::names(&code)?;
        self.save_named("types", "FunctionType")?;
        self.out.op(op::MARK);
        self.save_code(code.cast::<PyCode>()?)?;
        self.save_globals_dictionary(&globals)?;
        self.save_leaf(&code.getattr(intern!(self.py, "co_name"))?)?;
        self.out.op(op::NONE);
        let cells = self.save_empty_cells(function, &code)?;
        self.out.ops(&[op::TUPLE, op::REDUCE]);
        self.memoize(function.as_any());
        let mut work = self.cell_contents(&cells)?;
        work.extend(self.used_globals(&globals, &names)?);
        work.extend(self.submodules(function, &globals, &names)?);
        work.extend(self.function_state(function)?);
        self.then(work);
        Ok(())
    }

    /// Writes a code object.
    pub(crate) fn save_code(&mut self, code: &Bound<'py, PyCode>) -> PyResult<()> {
        if self.get_memoized(code.as_any()) {
            return Ok(());
        }
        self.save_named("marshal", "loads")?;
        let marshalled = self.py.import("marshal")?.call_method1("dumps", (code, MARSHAL_VERSION))?;
        self.out.byte_string(marshalled.extract()?);
        self.out.ops(&[op::TUPLE1, op::REDUCE]);
        self.memoize(code.as_any());
        Ok(())
    }

    /// Writes the dictionary that stands for `globals`: new and almost empty, or the one of the function before.
    fn save_globals_dictionary(&mut self, globals: &Bound<'py, PyDict>) -> PyResult<()> {
        if let Some(shared) = self.globals.get(&(globals.as_ptr() as usize)) {
            self.out.get(shared.index);
            return Ok(());
        }
        self.out.op(op::EMPTY_DICT);
        let index = self.memoize_hidden();
        self.globals.insert(globals.as_ptr() as usize, crate::pickler::SharedGlobals::new(index, globals));
        // `import` and `eval` inside of functions look for the builtins there.
        self.out.op(op::MARK);
        self.save_text("__builtins__")?;
        self.save_named("builtins", "__dict__")?;
        for name in MODULE_NAMES {
            if let Some(value) = globals.get_item(name)?
                && (value.is_none() || value.is_instance_of::<PyString>())
            {
                self.save_text(name)?;
                self.save_leaf(&value)?;
            }
        }
        self.out.op(op::SETITEMS);
        Ok(())
    }

    /// Writes a function's cells, empty, as a tuple (or None), and returns those that are new with their names.
    fn save_empty_cells(
        &mut self,
        function: &Bound<'py, PyFunction>,
        code: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
        let closure = function.getattr(intern!(self.py, "__closure__"))?;
        if closure.is_none() {
            self.out.op(op::NONE);
            return Ok(Vec::new());
        }
        let closure = closure.cast_into::<PyTuple>()?;
        let names = code.getattr(intern!(self.py, "co_freevars"))?.cast_into::<PyTuple>()?;
        let mut fresh = Vec::new();
        self.out.op(op::MARK);
        for (cell, name) in closure.iter().zip(names.iter()) {
            if self.save_empty_cell(&cell)? {
                fresh.push((cell, name.to_string()));
            }
        }
        self.out.op(op::TUPLE);
        Ok(fresh)
    }

    /// Writes a cell, empty; false where it was written before.
    pub(crate) fn save_empty_cell(&mut self, cell: &Bound<'py, PyAny>) -> PyResult<bool> {
        if self.get_memoized(cell) {
            return Ok(false);
        }
        self.save_named("types", "CellType")?;
        self.out.ops(&[op::EMPTY_TUPLE, op::REDUCE]);
        self.memoize(cell);
        Ok(true)
    }

    /// What fills cells that were written empty.
    pub(crate) fn cell_contents(&mut self, cells: &[(Bound<'py, PyAny>, String)]) -> PyResult<Vec<Work<'py>>> {
        let mut work = Vec::new();
        for (cell, name) in cells {
            // An empty cell has no such attribute.
            if let Some(content) = cell.getattr_opt(intern!(self.py, "cell_contents")).unwrap_or_default() {
                work.push(Work::Get(cell.clone()));
                work.push(Work::Write(&[op::NONE, op::EMPTY_DICT, op::MARK]));
                work.push(Work::Text("cell_contents"));
                work.push(Work::Enter(Step::Closure(name.clone())));
                work.push(Work::Save(content));
                work.push(Work::Leave);
                work.push(Work::Write(&[op::SETITEMS, op::TUPLE2, op::BUILD, op::POP]));
            }
        }
        Ok(work)
    }

    /// What adds the globals that a function names to the dictionary that stands for its globals.
    fn used_globals(&mut self, globals: &Bound<'py, PyDict>, names: &Names<'py>) -> PyResult<Vec<Work<'py>>> {
        let mut work = Vec::new();
        let Some(shared) = self.globals.get_mut(&(globals.as_ptr() as usize)) else { return Ok(work) };
        for name in &names.globals {
            let Some(value) = globals.get_item(name)? else { continue };
            if shared.written.insert(name.to_string()) {
                work.push(Work::Save(name.clone().into_any()));
                work.push(Work::Enter(Step::Global(name.to_string())));
                work.push(Work::Save(value));
                work.push(Work::Leave);
            }
        }
        if !work.is_empty() {
            work.insert(0, Work::GetIndex(shared.index));
            work.insert(1, Work::Write(&[op::MARK]));
            work.push(Work::Write(&[op::SETITEMS, op::POP]));
        }
        Ok(work)
    }

    /// What imports submodules that a function reaches as attributes of a package (`import a.b` binds only `a`).
    fn submodules(
        &mut self,
        function: &Bound<'py, PyFunction>,
        globals: &Bound<'py, PyDict>,
        names: &Names<'py>,
    ) -> PyResult<Vec<Work<'py>>> {
        let modules = self.py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
        let mut packages = Vec::new();
        for name in &names.globals {
            packages.extend(globals.get_item(name)?.and_then(package_name));
        }
        if let Ok(closure) = function.getattr(intern!(self.py, "__closure__"))?.cast_into::<PyTuple>() {
            for cell in closure.iter() {
                let content = cell.getattr_opt(intern!(self.py, "cell_contents")).unwrap_or_default();
                packages.extend(content.and_then(package_name));
            }
        }
        let mut work = Vec::new();
        while let Some(package) = packages.pop() {
            for name in &names.all {
                let submodule = format!("{package}.{name}");
                if modules.contains(&submodule)? && self.imported.insert(submodule.clone()) {
                    work.push(Work::Import(submodule.clone()));
                    packages.push(submodule);
                }
            }
        }
        Ok(work)
    }

    /// What sets everything else of a function: it is on the stack.
    fn function_state(&mut self, function: &Bound<'py, PyFunction>) -> PyResult<Vec<Work<'py>>> {
        let mut work = Vec::new();
        let attributes = function.getattr(intern!(self.py, "__dict__"))?;
        if attributes.len()? == 0 {
            work.push(Work::Write(&[op::NONE]));
        } else {
            work.push(Work::Enter(Step::Part("attributes")));
            work.push(Work::Save(attributes));
            work.push(Work::Leave);
        }
        work.push(Work::Write(&[op::EMPTY_DICT, op::MARK]));
        for name in ATTRIBUTES {
            let value = function.getattr_opt(name)?;
            if let Some(value) = value.filter(|value| !is_default(name, value)) {
                work.push(Work::Text(name));
                work.push(Work::Enter(Step::Part(part_name(name))));
                work.push(Work::Save(value));
                work.push(Work::Leave);
            }
        }
        work.push(Work::Write(&[op::SETITEMS, op::TUPLE2, op::BUILD]));
        Ok(work)
    }
}

/// Name of a module that has submodules.
fn package_name(value: Bound<'_, PyAny>) -> Option<String> {
    let module = value.cast_into::<PyModule>().ok()?;
    module.hasattr("__path__").ok()?.then(|| module.name().ok().map(|name| name.to_string()))?
}

/// Whether a new function has the attribute like this anyway.
fn is_default(name: &str, value: &Bound<'_, PyAny>) -> bool {
    match name {
        // The docstring is among a code object's constants, but only sometimes taken from there.
        "__doc__" | "__module__" | "__qualname__" => false,
        _ => value.is_none() || value.len().is_ok_and(|length| length == 0),
    }
}

fn part_name(attribute: &'static str) -> &'static str {
    match attribute {
        "__defaults__" => "default arguments",
        "__kwdefaults__" => "keyword defaults",
        "__annotations__" => "annotations",
        other => other,
    }
}
