//! Which globals a code object names, read from its bytecode.

use std::collections::HashSet;

use pyo3::{
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyDict, PyString, PyTuple},
};

/// Numbers of the instructions that matter, which change from version to version.
struct Instructions {
    extended_arg: u8,
    /// Takes the name's index in the higher bits from Python 3.11 on.
    load_global: u8,
    /// Take the name's index as it is: of globals, and of names in class bodies.
    by_name: Vec<u8>,
    load_global_shift: u32,
}

impl Instructions {
    fn get(py: Python<'_>) -> PyResult<&Self> {
        static INSTRUCTIONS: PyOnceLock<Instructions> = PyOnceLock::new();
        INSTRUCTIONS.get_or_try_init(py, || {
            let numbers = py.import("opcode")?.getattr("opmap")?.cast_into::<PyDict>()?;
            let number = |name: &str| -> PyResult<Option<u8>> {
                numbers.get_item(name)?.map(|number| number.extract()).transpose()
            };
            let names = ["STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"];
            let by_name = names.iter().map(|name| number(name)).collect::<PyResult<Vec<_>>>()?;
            Ok(Self {
                extended_arg: number("EXTENDED_ARG")?.unwrap_or(u8::MAX),
                load_global: number("LOAD_GLOBAL")?.unwrap_or(u8::MAX),
                by_name: by_name.into_iter().flatten().collect(),
                load_global_shift: u32::from(py.version_info() >= (3, 11)),
            })
        })
    }
}

/// What a code object and the code nested in it name.
#[derive(Debug, Default)]
pub(crate) struct Names<'py> {
    /// Globals, in the order of their first use.
    pub globals: Vec<Bound<'py, PyString>>,
    /// All names, of attributes too: a submodule that is used as an attribute is among them.
    pub all: Vec<Bound<'py, PyString>>,
}

/// Reads the names of `code` and of all code nested in it.
pub(crate) fn names<'py>(code: &Bound<'py, PyAny>) -> PyResult<Names<'py>> {
    let mut names = Names::default();
    let mut seen = HashSet::new();
    let mut waiting = vec![code.clone()];
    let code_type = code.get_type();
    while let Some(code) = waiting.pop() {
        scan(&code, &mut names, &mut seen)?;
        let constants = code.getattr("co_consts")?.cast_into::<PyTuple>()?;
        // Popped from the end: nested code is read in the order in which it stands.
        waiting.extend(constants.iter().rev().filter(|constant| constant.is_exact_instance(&code_type)));
    }
    Ok(names)
}

fn scan<'py>(code: &Bound<'py, PyAny>, names: &mut Names<'py>, seen: &mut HashSet<String>) -> PyResult<()> {
    let instructions = Instructions::get(code.py())?;
    let all = code.getattr("co_names")?.cast_into::<PyTuple>()?;
    let bytecode = code.getattr("co_code")?.cast_into::<PyBytes>()?;
    let mut argument = 0_u32;
    for pair in bytecode.as_bytes().chunks_exact(2) {
        argument = argument << 8 | u32::from(pair[1]);
        let opcode = pair[0];
        if opcode == instructions.extended_arg {
            continue;
        }
        let index = if opcode == instructions.load_global {
            Some(argument >> instructions.load_global_shift)
        } else {
            instructions.by_name.contains(&opcode).then_some(argument)
        };
        if let Some(index) = index {
            let name = all.get_item(index as usize)?.cast_into::<PyString>()?;
            if seen.insert(name.to_string()) {
                names.globals.push(name);
            }
        }
        argument = 0;
    }
    for name in all.iter() {
        names.all.push(name.cast_into::<PyString>()?);
    }
    Ok(())
}
