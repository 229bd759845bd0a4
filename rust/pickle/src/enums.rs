//! Enums: made anew from the names and values of their members where that gives the same class, else as other classes are,
//! with members that are made bare and filled.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::class::HEAP_TYPE;
use crate::frame::{Filler, Frame, Label, Role, Step};
use crate::functions_ffi::in_class;
use crate::opcodes as op;
use crate::save::{Rest, Saver, is_leaf};

/// What `EnumMeta` puts into the dictionary of every enum it makes.
const MADE_BY_METACLASS: &[&str] = &[
    "__module__",
    "__qualname__",
    "__new__",
    "_new_member_",
    "_use_args_",
    "_member_names_",
    "_member_map_",
    "_value2member_map_",
    "_hashable_values_",
    "_unhashable_values_",
    "_unhashable_values_map_",
    "_member_type_",
    "_value_repr_",
    "_boundary_",
    "_flag_mask_",
    "_singles_mask_",
    "_all_bits_",
    "_inverted_",
];

/// What every member has in its `__dict__`.
const MEMBER_STATE: &[&str] = &["_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"];

/// An enum that the functional API makes again: `Enum(name, {member: value})`.
pub(crate) struct PlainEnum<'py> {
    base: Bound<'py, PyType>,
    /// The type of the values, unless it is `object`.
    mixin: Option<Bound<'py, PyAny>>,
    boundary: Option<Bound<'py, PyAny>>,
    values: Bound<'py, PyDict>,
}

/// A member of an enum, with what made it.
pub(crate) struct Member<'py> {
    pub(crate) object: Bound<'py, PyAny>,
    /// The table of the class that holds it, and under what.
    pub(crate) table: &'static str,
    pub(crate) entry: Bound<'py, PyAny>,
}

impl<'py> Saver<'py> {
    /// `enum.EnumMeta`, if anyone has imported `enum` and a metaclass may have to do with it.
    pub(crate) fn enum_metaclass_for(&self, metaclass: &Bound<'py, PyType>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if metaclass.is(self.py.get_type::<PyType>()) || metaclass.is(&self.known.abstract_metaclass) {
            return Ok(None);
        }
        match self.modules.get_item(intern!(self.py, "enum"))? {
            Some(module) => module.getattr_opt(intern!(self.py, "EnumMeta")),
            None => Ok(None),
        }
    }

    /// Every member of an enum once: the named ones, then combinations of flags that have been made.
    pub(crate) fn enum_members(
        &self,
        class: &Bound<'py, PyType>,
        attributes: &Bound<'py, PyDict>,
    ) -> PyResult<Vec<Member<'py>>> {
        let mut members: Vec<Member<'py>> = Vec::new();
        let Some(metaclass) = self.enum_metaclass_for(&class.get_type())? else { return Ok(members) };
        if !class.is_instance(&metaclass)? {
            return Ok(members);
        }
        for table in ["_member_map_", "_value2member_map_"] {
            let Some(entries) = attributes.get_item(table)?.and_then(|entries| entries.cast_into::<PyDict>().ok())
            else {
                continue;
            };
            for (entry, object) in entries.iter() {
                if object.get_type().is(class) && !members.iter().any(|member| member.object.is(&object)) {
                    members.push(Member { object, table, entry });
                }
            }
        }
        Ok(members)
    }

    /// Makes the members bare, so that everything after can refer to them.
    pub(crate) fn new_members(
        &self,
        class: &Bound<'py, PyType>,
        members: &[Member<'py>],
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        for member in members {
            let (module, name, arguments) = self.member_maker(class, &member.object)?;
            steps.extend([
                Step::Receiver("member"),
                Step::Op(&[op::MARK]),
                Step::Save(class.clone().into_any(), Role::Data, Label::Silent),
                Step::Name(member.table),
                Step::Save(member.entry.clone(), Role::Data, Label::Silent),
                Step::Op(&[op::EMPTY_DICT, op::MARK]),
            ]);
            // Dictionaries that the class leads to may have members as keys.
            let state = member.object.getattr(intern!(self.py, "__dict__"))?;
            for part in ["_name_", "_value_"] {
                if let Ok(value) = state.get_item(part)
                    && is_plain(&value)
                {
                    steps.push(Step::Name(part));
                    steps.push(Step::Save(value, Role::Data, Label::Silent));
                }
            }
            steps.push(Step::Op(&[op::SETITEMS]));
            steps.push(Step::Method(module, name));
            for argument in arguments {
                steps.push(Step::Save(argument, Role::Data, Label::Part("value")));
            }
            steps.extend([
                Step::Op(&[op::TUPLE, op::REDUCE]),
                Step::Memoize(member.object.clone()),
                Step::Op(&[op::POP]),
            ]);
        }
        Ok(())
    }

    /// Gives the members their attributes.
    pub(crate) fn member_states(
        &self,
        key: &Bound<'py, PyString>,
        members: &[Member<'py>],
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        for member in members {
            let state = member.object.getattr(intern!(self.py, "__dict__"))?;
            steps.extend([
                Step::Global("builtins", "dict.update"),
                Step::Global("builtins", "getattr"),
                Step::Target(key.clone(), member.object.clone(), Filler::Build),
                Step::Name("__dict__"),
                Step::Op(&[op::TUPLE2, op::REDUCE]),
                Step::Save(state, Role::State, Label::Silent),
                Step::Op(&[op::TUPLE2, op::REDUCE, op::POP]),
            ]);
        }
        Ok(())
    }

    /// The builtin type below an enum's members (`object`, `int`, `str`, ...), and the value it is made from.
    fn member_maker(
        &self,
        class: &Bound<'py, PyType>,
        member: &Bound<'py, PyAny>,
    ) -> PyResult<(String, String, Vec<Bound<'py, PyAny>>)> {
        let py = self.py;
        for base in self.mro(class)?.iter() {
            let flags: u64 = base.getattr(intern!(py, "__flags__"))?.extract()?;
            if flags & HEAP_TYPE != 0 || !base.getattr(intern!(py, "__dict__"))?.contains(intern!(py, "__new__"))? {
                continue;
            }
            let module: String = base.getattr(intern!(py, "__module__"))?.extract()?;
            let name: String = base.getattr(intern!(py, "__qualname__"))?.extract()?;
            let arguments = match name.as_str() {
                "object" => Vec::new(),
                "str" => vec![base.getattr(intern!(py, "__str__"))?.call1((member,))?],
                "int" | "float" | "bytes" | "tuple" | "complex" | "frozenset" => vec![base.call1((member,))?],
                _ => {
                    let reduced = base.getattr(intern!(py, "__reduce_ex__"))?.call1((member, 2))?;
                    let all = reduced.get_item(1)?.cast_into::<PyTuple>()?;
                    let skip = usize::from(reduced.get_item(0)?.is(&self.known.copyreg_newobj));
                    all.iter().skip(skip).collect()
                }
            };
            return Ok((module, format!("{name}.__new__"), arguments));
        }
        Err(PyTypeError::new_err("cannot pickle an enum whose members have no builtin type below"))
    }
}

impl<'py> Saver<'py> {
    /// The parts of an enum with plain values and no code that takes part in making its members.
    pub(crate) fn plain_enum(
        &self,
        class: &Bound<'py, PyType>,
        attributes: &Bound<'py, PyDict>,
    ) -> PyResult<Option<PlainEnum<'py>>> {
        let py = self.py;
        let Some(metaclass) = self.enum_metaclass_for(&class.get_type())? else { return Ok(None) };
        if self.options.protocol < 4 || !class.get_type().is(&metaclass) {
            return Ok(None);
        }
        let takes_part = [
            intern!(py, "__init__"),
            intern!(py, "__new_member__"),
            intern!(py, "__set_name__"),
            intern!(py, "_ignore_"),
            intern!(py, "__slots__"),
            intern!(py, "__init_subclass__"),
        ];
        for name in takes_part {
            if attributes.contains(name)? {
                return Ok(None);
            }
        }
        let bases = self.known.getters.class_bases.of_class(class)?.cast_into::<PyTuple>()?;
        let mut bases = bases.iter().rev();
        let (Some(base), mixin, None) = (bases.next(), bases.next(), bases.next()) else { return Ok(None) };
        // The kinds of the standard library: their own code is at the receiver.
        let base = base.cast_into::<PyType>()?;
        if self.known.getters.class_module.of_class(&base)?.ne("enum")? || self.reference(&base)?.is_none() {
            return Ok(None);
        }
        if let Some(mixin) = &mixin {
            let builtins = self.py.import("builtins")?;
            if !["int", "str", "float", "bytes"].iter().any(|name| builtins.getattr(*name).is_ok_and(|t| t.is(mixin))) {
                return Ok(None);
            }
        }
        let Some(members) = attributes.get_item(intern!(py, "_member_map_"))? else { return Ok(None) };
        let values = PyDict::new(py);
        for (name, member) in members.cast_into::<PyDict>()?.iter() {
            let value = member.getattr(intern!(py, "_value_"))?;
            let plain = is_leaf(value.as_borrowed()) || (mixin.is_none() && is_plain(&value));
            let state = member.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
            let usual = state.iter().all(|(name, _)| {
                let name = name.cast_into::<PyString>();
                name.is_ok_and(|name| name.to_str().is_ok_and(|name| MEMBER_STATE.contains(&name)))
            });
            let named =
                name.cast::<PyString>().is_ok_and(|name| name.to_str().is_ok_and(|name| !name.starts_with('_')));
            if !plain || !usual || !named || !member.get_type().is(class) {
                return Ok(None);
            }
            values.set_item(name, value)?;
        }
        // What is not as the kind of enum has it has to be said.
        let name = intern!(py, "_boundary_");
        let boundary = attributes.get_item(name)?.filter(|boundary| !boundary.is_none());
        let boundary = boundary.filter(|boundary| !in_class(&base, name).is_some_and(|usual| usual.is(boundary)));
        Ok(Some(PlainEnum { base, mixin, boundary, values }))
    }

    /// Makes the enum by a call of its kind, and sets what is not a member.
    pub(crate) fn plain_enum_by_value(
        &mut self,
        class: &Bound<'py, PyType>,
        key: &Bound<'py, PyString>,
        plain: PlainEnum<'py>,
        attributes: &Bound<'py, PyDict>,
    ) -> Rest<'py> {
        let py = self.py;
        let data = |value: Bound<'py, PyAny>| Step::Save(value, Role::Data, Label::Silent);
        let mut steps = vec![
            data(plain.base.clone().into_any()),
            Step::Text(self.known.getters.class_name.of_class(class)?.cast_into()?),
            Step::Op(&[op::EMPTY_DICT, op::MARK]),
        ];
        for (name, value) in plain.values.iter() {
            steps.push(Step::Text(name.cast_into()?));
            steps.push(Step::Save(value, Role::Data, Label::Part("value")));
        }
        steps.push(Step::Op(&[op::SETITEMS, op::TUPLE, op::EMPTY_DICT, op::MARK]));
        let mixed = plain.mixin.is_some();
        let mut keywords = vec![("module", self.known.getters.class_module.of_class(class)?)];
        keywords.push(("qualname", self.known.getters.class_qualname.of_class(class)?));
        keywords.extend(plain.mixin.map(|mixin| ("type", mixin)));
        keywords.extend(plain.boundary.map(|boundary| ("boundary", boundary)));
        for (name, value) in keywords {
            steps.push(Step::Name(name));
            match value.cast_into_exact::<PyString>() {
                Ok(text) => steps.push(Step::Text(text)),
                Err(other) => steps.push(data(other.into_inner())),
            }
        }
        steps.push(Step::Op(&[op::SETITEMS, op::NEWOBJ_EX]));
        let mut steps = self.tracked(class.as_any(), key, steps)?;
        let rest = PyDict::new(py);
        for (name, value) in attributes.iter() {
            let Ok(text) = name.cast::<PyString>() else { continue };
            let made = MADE_BY_METACLASS.contains(&text.to_str()?) || plain.values.contains(text)?;
            // `EnumMeta` copies attributes of the kind into the class.
            let copied = in_class(&plain.base, text).is_some_and(|inherited| inherited.is(&value));
            if made || (copied && !mixed) {
                continue;
            }
            if text == "_generate_next_value_" && self.inherits_numbering(&plain.base, &value)? {
                continue;
            }
            rest.set_item(&name, value)?;
        }
        self.fill_steps(class, key, &rest, false, &mut steps)?;
        Ok(Some(Frame::script(steps)))
    }

    /// Whether the function that numbers members is the one of the kind: in a `staticmethod` in some versions.
    fn inherits_numbering(&self, base: &Bound<'py, PyType>, value: &Bound<'py, PyAny>) -> PyResult<bool> {
        let function = |value: Bound<'py, PyAny>| -> PyResult<Bound<'py, PyAny>> {
            Ok(value.getattr_opt(intern!(self.py, "__func__"))?.unwrap_or(value))
        };
        let Some(inherited) = in_class(base, intern!(self.py, "_generate_next_value_")) else { return Ok(false) };
        Ok(function(value.clone())?.is(&function(inherited)?))
    }
}

/// Whether a value is a plain one or a tuple of such.
pub(crate) fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    is_leaf(value.as_borrowed()) || value.cast_exact::<PyTuple>().is_ok_and(|tuple| tuple.iter_borrowed().all(is_leaf))
}
