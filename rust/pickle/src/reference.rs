//! What the receiver can import, and under which name.

use pyo3::{prelude::*, types::PyDict};

/// Module and qualified name of something that can be imported.
pub(crate) struct Reference<'py> {
    pub module: Bound<'py, PyAny>,
    pub name: Bound<'py, PyAny>,
}

/// How the receiver imports a function or class, if it can: not what was defined in `__main__`, and only what its module
/// really holds under its name.
pub(crate) fn find<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Reference<'py>>> {
    let py = object.py();
    let Some(name) = string_attribute(object, "__qualname__")?.or(string_attribute(object, "__name__")?) else {
        return Ok(None);
    };
    let Some(module) = module_of(object, &name)? else { return Ok(None) };
    if module.to_string() == "__main__" {
        return Ok(None);
    }
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    let Some(mut found) = modules.get_item(&module)? else { return Ok(None) };
    for part in name.to_string().split('.') {
        match found.getattr_opt(part) {
            Ok(Some(next)) => found = next,
            _ => return Ok(None),
        }
    }
    Ok(found.is(object).then_some(Reference { module, name }))
}

fn string_attribute<'py>(object: &Bound<'py, PyAny>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
    let value = object.getattr_opt(name)?;
    Ok(value.filter(|value| value.is_instance_of::<pyo3::types::PyString>()))
}

/// The module that an object says it comes from; where it says none, the one that holds it.
fn module_of<'py>(object: &Bound<'py, PyAny>, name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(module) = string_attribute(object, "__module__")? {
        return Ok(Some(module));
    }
    // The standard library's own search, which tolerates faulty modules.
    let found = object.py().import("pickle")?.call_method1("whichmodule", (object, name))?;
    Ok((found.to_string() != "__main__").then_some(found))
}
