//! By-value pickling of Python objects: knows no Arrow and no Spark.
//!
//! A pickle writer of its own. What the standard library's `pickle` writes is written here too, opcode for opcode; on
//! top of that, functions and classes that the receiver cannot import travel as their definition. Every pickle loads
//! with the standard library's `pickle.loads` alone, on the minor version of Python that wrote it.
//!
//! Where to look: `save` is the loop, `containers` and `binary` the builtin values, `reduce` the objects that describe themselves, `global`
//! decides between reference and value, `function`, `opening`, `code` and `class` write definitions, `writer` and `memo` are the
//! stream, `memory` what happens where there is none, `error` and `hints` make the messages, `trace` tells sizes.

mod binary;
mod buffer;
mod class;
mod code;
mod containers;
mod enums;
mod error;
mod facts;
mod frame;
mod function;
mod functions_ffi;
mod getters;
mod global;
mod hints;
mod known;
mod memo;
mod memory;
mod opcodes;
mod opening;
mod options;
mod pickler;
mod reduce;
mod save;
mod sets;
mod trace;
mod tracking;
mod writer;

use pyo3::prelude::*;

/// Adds the pickler's functions to the extension module.
///
/// # Errors
/// Whatever adding to a module raises.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(pickler::pickle_dumps, module)?)?;
    module.add_function(wrap_pyfunction!(pickler::pickle_explain, module)?)?;
    module.add_function(wrap_pyfunction!(pickler::pickle_set_reducers, module)?)?;
    module.add_function(wrap_pyfunction!(pickler::pickle_code_globals, module)?)?;
    module.add_function(wrap_pyfunction!(pickler::pickle_reference, module)?)?;
    module.add_function(wrap_pyfunction!(pickler::pickle_module_of, module)?)?;
    module.add_class::<pickler::PickleMemo>()?;
    Ok(())
}
