//! Objects of the interpreter that the pickler compares with or calls, looked up once per process.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyModule, PyString, PyType};

use crate::code::Opmap;
use crate::getters::Getters;
use crate::memo::FastMap;

/// See the module's sentence. All of it lives as long as the interpreter.
pub(crate) struct Known {
    pub(crate) function: Py<PyType>,
    pub(crate) builtin_function: Py<PyType>,
    pub(crate) code: Py<PyType>,
    pub(crate) cell: Py<PyType>,
    pub(crate) module: Py<PyType>,
    pub(crate) method: Py<PyType>,
    pub(crate) pickle_buffer: Py<PyType>,
    pub(crate) weak_reference: Py<PyType>,
    pub(crate) weak_proxies: [Py<PyType>; 2],
    pub(crate) getset: Py<PyType>,
    pub(crate) slot: Py<PyType>,
    pub(crate) abstract_metaclass: Py<PyType>,
    /// `_abc._get_dump`: the registry of an abstract base class.
    pub(crate) abstract_dump: Py<PyAny>,
    pub(crate) static_method: Py<PyType>,
    pub(crate) class_method: Py<PyType>,
    pub(crate) property: Py<PyType>,
    /// By address: the names that `types` has for types which their own module does not offer, `CodeType` and such.
    pub(crate) names_in_types: FastMap<usize, &'static str>,
    pub(crate) ellipsis: Py<PyAny>,
    pub(crate) not_implemented: Py<PyAny>,
    pub(crate) copyreg_dispatch: Py<PyDict>,
    pub(crate) extension_registry: Py<PyDict>,
    pub(crate) object_reduce_ex: Py<PyAny>,
    pub(crate) object_reduce: Py<PyAny>,
    pub(crate) object_init_subclass: Py<PyAny>,
    pub(crate) object_getstate: Option<Py<PyAny>>,
    pub(crate) copyreg_newobj: Py<PyAny>,
    pub(crate) pickling_error: Py<PyAny>,
    pub(crate) opmap: Opmap,
    pub(crate) getters: Getters,
    /// The number of this Python's byte code, which stands at the head of its compiled files.
    pub(crate) magic: [u8; 4],
    /// What the receiver is told where that number is not its own.
    pub(crate) version: String,
    /// Module and name under which an older Python knows an object: `fix_imports` of protocol 2.
    pub(crate) old_names: Py<PyDict>,
    pub(crate) old_modules: Py<PyDict>,
    /// By address: the names of types that a builtin name stands for.
    pub(crate) builtin_types: FastMap<usize, Py<PyString>>,
}

static KNOWN: PyOnceLock<Known> = PyOnceLock::new();

/// The one instance.
///
/// # Errors
/// What importing the standard modules raises.
pub(crate) fn known(py: Python<'_>) -> PyResult<&'static Known> {
    KNOWN.get_or_try_init(py, || Known::look_up(py))
}

impl Known {
    fn look_up(py: Python<'_>) -> PyResult<Self> {
        let types = py.import("types")?;
        let copyreg = py.import("copyreg")?;
        let pickle = py.import("pickle")?;
        let builtins = py.import("builtins")?;
        let object = builtins.getattr("object")?;
        let compat = py.import("_compat_pickle")?;
        let class = |name: &str| -> PyResult<Py<PyType>> { Ok(types.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        let weakref = py.import("_weakref")?;
        let weak = |name: &str| -> PyResult<Py<PyType>> { Ok(weakref.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        let builtin =
            |name: &str| -> PyResult<Py<PyType>> { Ok(builtins.getattr(name)?.cast_into::<PyType>()?.unbind()) };
        Ok(Self {
            function: class("FunctionType")?,
            builtin_function: class("BuiltinFunctionType")?,
            code: class("CodeType")?,
            cell: class("CellType")?,
            module: class("ModuleType")?,
            method: class("MethodType")?,
            pickle_buffer: pickle.getattr("PickleBuffer")?.cast_into::<PyType>()?.unbind(),
            weak_reference: weak("ref")?,
            weak_proxies: [weak("ProxyType")?, weak("CallableProxyType")?],
            getset: class("GetSetDescriptorType")?,
            slot: class("MemberDescriptorType")?,
            abstract_metaclass: py.import("abc")?.getattr("ABCMeta")?.cast_into::<PyType>()?.unbind(),
            abstract_dump: py.import("_abc")?.getattr("_get_dump")?.unbind(),
            static_method: builtin("staticmethod")?,
            class_method: builtin("classmethod")?,
            property: builtin("property")?,
            names_in_types: names_in_types(&types)?,
            ellipsis: builtins.getattr("Ellipsis")?.unbind(),
            not_implemented: builtins.getattr("NotImplemented")?.unbind(),
            copyreg_dispatch: copyreg.getattr("dispatch_table")?.cast_into::<PyDict>()?.unbind(),
            extension_registry: copyreg.getattr("_extension_registry")?.cast_into::<PyDict>()?.unbind(),
            object_reduce_ex: object.getattr("__reduce_ex__")?.unbind(),
            object_reduce: object.getattr("__reduce__")?.unbind(),
            object_init_subclass: object.getattr("__dict__")?.get_item("__init_subclass__")?.unbind(),
            object_getstate: object.getattr_opt("__getstate__")?.map(Bound::unbind),
            copyreg_newobj: copyreg.getattr("__newobj__")?.unbind(),
            pickling_error: pickle.getattr("PicklingError")?.unbind(),
            opmap: opmap(py)?,
            getters: Getters::new(
                types.getattr("CodeType")?.cast::<PyType>()?,
                types.getattr("FunctionType")?.cast::<PyType>()?,
                py.version_info().minor,
            )?,
            magic: py.import("_frozen_importlib_external")?.getattr("MAGIC_NUMBER")?.extract()?,
            version: format!("pickled by Python {}.{}", py.version_info().major, py.version_info().minor),
            old_names: compat.getattr("REVERSE_NAME_MAPPING")?.cast_into::<PyDict>()?.unbind(),
            builtin_types: builtin_types(&builtins)?,
            old_modules: compat.getattr("REVERSE_IMPORT_MAPPING")?.cast_into::<PyDict>()?.unbind(),
        })
    }
}

fn names_in_types(types: &Bound<'_, PyModule>) -> PyResult<FastMap<usize, &'static str>> {
    let mut names = FastMap::default();
    for (name, value) in types.dict().iter() {
        if value.is_instance_of::<PyType>() {
            // A handful of short names, once in a process.
            let name: &'static str = Box::leak(name.extract::<String>()?.into_boxed_str());
            // Of two names of a type the first one is its own.
            names.entry(value.as_ptr() as usize).or_insert(name);
        }
    }
    Ok(names)
}

fn builtin_types(builtins: &Bound<'_, PyModule>) -> PyResult<FastMap<usize, Py<PyString>>> {
    let mut types = FastMap::default();
    for (name, value) in builtins.dict().iter() {
        if let (Ok(name), Ok(class)) = (name.cast_into::<PyString>(), value.cast::<PyType>())
            && class.name()?.as_any().eq(&name)?
            && class.module()?.to_str()? == "builtins"
        {
            types.insert(class.as_ptr() as usize, name.unbind());
        }
    }
    Ok(types)
}

fn opmap(py: Python<'_>) -> PyResult<Opmap> {
    let numbers = py.import("opcode")?.getattr("opmap")?;
    let number = |name: &str| -> PyResult<Option<u8>> {
        match numbers.call_method1("get", (name,))? {
            found if found.is_none() => Ok(None),
            found => found.extract().map(Some),
        }
    };
    let minor = py.version_info().minor;
    let mut names_global = vec![0; 256];
    for name in ["LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_GLOBAL"] {
        if let Some(number) = number(name)? {
            names_global[usize::from(number)] = if name == "LOAD_GLOBAL" && minor >= 11 { 2 } else { 1 };
        }
    }
    Ok(Opmap { minor, extended_arg: number("EXTENDED_ARG")?.unwrap_or(0), names_global })
}
