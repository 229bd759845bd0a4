//! Classes: by reference where the receiver can import them, else as a bare class that is filled afterwards.
//!
//! The bare class is made with its bases, its slots and what the metaclass needs to see, and remembered; then its
//! attributes are set without asking anyone (`type.__setattr__`), so that neither `__set_name__` nor a metaclass nor
//! `__init_subclass__` of a class that travels runs a second time.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::enums::is_plain;
use crate::frame::{Filler, Frame, Label, Role, Step};
use crate::functions_ffi::{FunctionParts, in_class};
use crate::global::Reference;
use crate::known::Known;
use crate::opcodes as op;
use crate::save::{Rest, Saver};

/// `Py_TPFLAGS_HEAPTYPE`: made at run time.
pub(crate) const HEAP_TYPE: u64 = 1 << 9;

/// Entries of a class's `__dict__` that the bare class has already or that belong to this process.
const NOT_ATTRIBUTES: &[&str] = &[
    "__weakref__",
    "__module__",
    "__qualname__",
    "__slots__",
    "__orig_bases__",
    "_abc_impl",
    "__classdictcell__",
    "__slotnames__", // copyreg's notes, made when the first instance is pickled
    "__annotate_func__",
    "__annotations_cache__",
];

/// What a class can have an attribute of its own for, but cannot be given it later: `type` has something of that name.
const ONLY_AT_BIRTH: &[&str] = &[
    "__dict__",
    "__class__",
    "__name__",
    "__bases__",
    "__base__",
    "__mro__",
    "__flags__",
    "__basicsize__",
    "__itemsize__",
    "__dictoffset__",
    "__weakrefoffset__",
    "__text_signature__",
];

impl<'py> Saver<'py> {
    /// A class.
    pub(crate) fn class(&mut self, class: &Bound<'py, PyType>) -> Rest<'py> {
        let obj = class.as_any();
        if let Some(name) = self.known.builtin_types.get(&(obj.as_ptr() as usize))
            && self.options.protocol >= 4
            && !self.options.is_by_value("builtins")
            && self.known.extension_registry.bind(self.py).is_empty()
        {
            let reference =
                Reference { module: intern!(self.py, "builtins").clone(), name: name.bind(self.py).clone() };
            return self.save_reference(obj, &reference);
        }
        if self.singleton_type(obj)? {
            return Ok(None);
        }
        let metaclass = class.get_type();
        if !metaclass.is(self.py.get_type::<PyType>())
            && let Some(reducer) = self.registered(metaclass.as_any())?
        {
            return self.save_reduced(obj, &reducer.call1((class,))?);
        }
        if let Some(reference) = self.reference(obj)? {
            return self.save_reference(obj, &reference);
        }
        let module = self.known.getters.class_module.of_class(class)?;
        if !module.cast::<PyString>().is_ok_and(|module| module == "__main__") {
            if let Some(name) = self.name_in_types(obj) {
                self.standard("types", name)?;
                return Ok(None);
            }
            let alias = match self.alias(obj)? {
                Some(reference) => Some(reference),
                // Iterators and views have names there.
                None => self.name_in(obj, intern!(self.py, "_collections_abc"))?,
            };
            if let Some(reference) = alias {
                return self.save_reference(obj, &reference);
            }
        }
        let flags: u64 = self.known.getters.class_flags.of_class(class)?.extract()?;
        if flags & HEAP_TYPE == 0 {
            let name = class.fully_qualified_name()?;
            return Err(self.pickling_error(&format!("cannot pickle the class '{name}': it cannot be imported")));
        }
        self.class_by_value(class)
    }

    /// `type(None)` and its like have no name to import: they are asked of their only instance.
    fn singleton_type(&mut self, class: &Bound<'py, PyAny>) -> PyResult<bool> {
        let py = self.py;
        let none = py.None();
        for (instance, name) in
            [(&none, ""), (&self.known.ellipsis, "Ellipsis"), (&self.known.not_implemented, "NotImplemented")]
        {
            if class.is(instance.bind(py).get_type()) {
                self.standard("builtins", "type")?;
                if name.is_empty() {
                    self.writer.byte(op::NONE);
                } else {
                    self.standard("builtins", name)?;
                }
                self.writer.bytes(&[op::TUPLE1, op::REDUCE]);
                self.memoize(class);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The script of a class: make it bare, remember it, fill it.
    fn class_by_value(&mut self, class: &Bound<'py, PyType>) -> Rest<'py> {
        let attributes = self.class_dict(class)?;
        let key = self.key_of_class(class, &attributes)?;
        let name: Bound<'py, PyString> = self.known.getters.class_name.of_class(class)?.cast_into()?;
        let bases = self.known.getters.class_bases.of_class(class)?;
        if let Some(plain) = self.plain_enum(class, &attributes)? {
            return self.plain_enum_by_value(class, &key, plain, &attributes);
        }
        let mut make = self.shielded_bases(class)?;
        if !make.is_empty() {
            make.splice(0..0, [Step::Receiver("shielded"), Step::Op(&[op::MARK])]);
            make.push(Step::Op(&[op::TUPLE]));
        }
        self.maker(class, &mut make)?;
        make.extend([
            Step::Text(name),
            Step::Save(bases, Role::Data, Label::Part("bases")),
            Step::Op(&[op::EMPTY_DICT, op::MARK]),
        ]);
        self.namespace(class, &attributes, &mut make)?;
        make.push(Step::Op(&[op::SETITEMS, op::TUPLE, op::REDUCE]));
        let mut steps = self.tracked(class.as_any(), &key, make)?;
        let members = self.enum_members(class, &attributes)?;
        self.new_members(class, &members, &mut steps)?;
        self.fill_steps(class, &key, &attributes, true, &mut steps)?;
        self.member_states(&key, &members, &mut steps)?;
        self.registered_subclasses(class, &mut steps)?;
        Ok(Some(Frame::script(steps)))
    }

    /// The bases that travel and have an `__init_subclass__`, which has run where the class was defined.
    fn shielded_bases(&self, class: &Bound<'py, PyType>) -> PyResult<Vec<Step<'py>>> {
        let mut steps = Vec::new();
        if !self.has_subclass_hook(class) {
            return Ok(steps);
        }
        for base in self.mro(class)?.iter().skip(1) {
            if base.is(self.py.get_type::<PyAny>()) {
                break;
            }
            let own = self.known.getters.class_dict.of_class(base.cast()?)?;
            if own.contains(intern!(self.py, "__init_subclass__"))? && self.reference(&base)?.is_none() {
                steps.push(Step::Save(base, Role::Data, Label::Silent));
            }
        }
        Ok(steps)
    }

    /// Whether a class has or inherits another `__init_subclass__` than that of `object`.
    fn has_subclass_hook(&self, class: &Bound<'py, PyType>) -> bool {
        let hook = in_class(class, intern!(self.py, "__init_subclass__"));
        !hook.is_some_and(|hook| hook.is(&self.known.object_init_subclass))
    }

    /// What makes the bare class: `type`, a metaclass that can be imported, or the `__new__` below one that cannot.
    fn maker(&self, class: &Bound<'py, PyType>, steps: &mut Vec<Step<'py>>) -> PyResult<()> {
        let py = self.py;
        let metaclass = class.get_type();
        if metaclass.is(py.get_type::<PyType>()) {
            steps.push(Step::Global("builtins", "type"));
            return Ok(());
        }
        let needs = |method| needs_keywords(self.known, metaclass.as_any(), method);
        let runs = metaclass.is(&self.known.abstract_metaclass)
            || self.reference(metaclass.as_any())?.is_some()
                && !self.builds_from_members(&metaclass)?
                && !needs(intern!(py, "__new__"))?
                && !needs(intern!(py, "__init__"))?;
        if runs {
            steps.push(Step::Save(metaclass.into_any(), Role::Data, Label::Part("metaclass")));
            return Ok(());
        }
        if metaclass.is_subclass(self.known.abstract_metaclass.bind(py))? && !self.has_metaclass_between(&metaclass)? {
            steps.push(Step::Global("abc", "ABCMeta.__new__"));
        } else {
            steps.push(Step::Global("builtins", "type.__new__"));
        }
        steps.push(Step::Save(metaclass.into_any(), Role::Data, Label::Part("metaclass")));
        Ok(())
    }

    /// Whether `ABCMeta.__new__` would hand on to another metaclass's `__new__`: that of enums, for one.
    fn has_metaclass_between(&self, metaclass: &Bound<'py, PyType>) -> PyResult<bool> {
        let order = self.mro(metaclass)?;
        let mut after = order.iter().skip_while(|class| !class.is(&self.known.abstract_metaclass)).skip(1);
        Ok(after.next().is_some_and(|class| !class.is(self.py.get_type::<PyType>())))
    }

    /// Metaclasses whose `__new__` makes something else of the finished class: enums, typed dictionaries.
    fn builds_from_members(&self, metaclass: &Bound<'py, PyType>) -> PyResult<bool> {
        let enums = self.enum_metaclass_for(metaclass)?;
        if enums.is_some_and(|enums| metaclass.is_subclass(&enums).unwrap_or(false)) {
            return Ok(true);
        }
        Ok(metaclass.name()? == "_TypedDictMeta")
    }

    /// What the bare class has to have from the start.
    fn namespace(
        &self,
        class: &Bound<'py, PyType>,
        attributes: &Bound<'py, PyDict>,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let py = self.py;
        let get = &self.known.getters;
        for (name, getter) in [("__module__", &get.class_module), ("__qualname__", &get.class_qualname)] {
            let value = getter.of_class(class)?;
            steps.push(Step::Name(name));
            match value.cast_into::<PyString>() {
                Ok(text) => steps.push(Step::Text(text)),
                Err(other) => steps.push(Step::Save(other.into_inner(), Role::Data, Label::Part(name))),
            }
        }
        if let Some(slots) = attributes.get_item(intern!(py, "__slots__"))? {
            let is_kept = slots.is_exact_instance_of::<PyTuple>() || slots.is_exact_instance_of::<PyString>();
            let is_used_up = !is_kept && slots.hasattr(intern!(py, "__next__"))?;
            let slots = if is_used_up { self.slot_names(attributes)? } else { slots };
            steps.push(Step::Name("__slots__"));
            steps.push(Step::Save(slots, Role::Data, Label::Part("__slots__")));
        }
        if let Some(bases) = attributes.get_item(intern!(py, "__orig_bases__"))? {
            steps.push(Step::Name("__orig_bases__"));
            steps.push(Step::Save(bases, Role::Data, Label::Part("__orig_bases__")));
        }
        if attributes.contains(intern!(py, "_abc_impl"))? && self.has_metaclass_between(&class.get_type())? {
            // What `ABCMeta.__new__` would have given it.
            steps.extend([
                Step::Name("_abc_impl"),
                Step::Global("builtins", "type"),
                Step::Global("abc", "ABC._abc_impl"),
                Step::Op(&[op::TUPLE1, op::REDUCE, op::EMPTY_TUPLE, op::REDUCE]),
            ]);
        }
        for (name, value) in attributes.iter() {
            if let Ok(name) = name.cast::<PyString>()
                && let Ok(name) = name.to_str()
                && name.starts_with("__")
                && let Some(name) = ONLY_AT_BIRTH.iter().find(|other| **other == name)
                && !value.get_type().is(&self.known.getset)
            {
                steps.push(Step::Name(name));
                steps.push(Step::Save(value, Role::Data, Label::Part(name)));
            }
        }
        if !attributes.contains(intern!(py, "__slots__"))? && self.is_looked_at(class)? {
            for (name, value) in attributes.iter() {
                if let Ok(name) = name.cast_into::<PyString>()
                    && !name.to_str()?.starts_with("__")
                    && is_plain(&value)
                {
                    steps.push(Step::Text(name));
                    steps.push(Step::Save(value, Role::Data, Label::Silent));
                }
            }
        }
        self.check_bases(class)
    }

    /// Whether code that the receiver imports looks at the class when it is made: a base's `__init_subclass__`, or a metaclass.
    /// It sees the plain attributes then, as names and keys to register by.
    fn is_looked_at(&self, class: &Bound<'py, PyType>) -> PyResult<bool> {
        let metaclass = class.get_type();
        if !metaclass.is(self.py.get_type::<PyType>()) && !metaclass.is(&self.known.abstract_metaclass) {
            return Ok(!self.builds_from_members(&metaclass)? && self.reference(metaclass.as_any())?.is_some());
        }
        if !self.has_subclass_hook(class) {
            return Ok(false);
        }
        for base in self.mro(class)?.iter().skip(1) {
            let base = base.cast_into::<PyType>()?;
            let own = self.known.getters.class_dict.of_class(&base)?;
            if own.contains(intern!(self.py, "__init_subclass__"))? && self.reference(base.as_any())?.is_some() {
                // Those of `typing` look at the bases only.
                let module = self.known.getters.class_module.of_class(&base)?;
                if !base.is(self.py.get_type::<PyAny>()) && !module.eq("typing")? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The names of the slots, where `__slots__` was an iterator that is used up.
    fn slot_names(&self, attributes: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let slots = attributes.iter().filter(|(_, value)| value.get_type().is(&self.known.slot));
        let names: Vec<_> = slots.map(|(name, _)| name).collect();
        Ok(PyTuple::new(self.py, names)?.into_any())
    }

    /// Refuses at the sender what could not be made at the receiver.
    fn check_bases(&self, class: &Bound<'py, PyType>) -> PyResult<()> {
        let py = self.py;
        let metaclass_module = self.known.getters.class_module.of_class(&class.get_type())?;
        if metaclass_module.cast::<PyString>().is_ok_and(|module| module == "msgspec._core") {
            return Err(self.pickling_error(&format!(
                "cannot pickle the class '{}' by value: msgspec makes its structs in C, from annotations: define it in a \
                 module that the receiver can import",
                class.fully_qualified_name()?
            )));
        }
        if !self.has_subclass_hook(class) {
            return Ok(());
        }
        for base in self.mro(class)?.iter().skip(1) {
            let own = self.known.getters.class_dict.of_class(base.cast()?)?;
            if !own.contains(intern!(py, "__init_subclass__"))? {
                continue;
            }
            if base.is(py.get_type::<PyAny>()) {
                return Ok(());
            }
            let hook = intern!(py, "__init_subclass__");
            if self.reference(&base)?.is_some() && needs_keywords(self.known, &base, hook)? {
                return Err(self.pickling_error(&format!(
                    "cannot pickle the class '{}' by value: {}.__init_subclass__ wants keywords that a class does not keep",
                    class.fully_qualified_name()?,
                    base.getattr(intern!(py, "__qualname__"))?
                )));
            }
            return Ok(());
        }
        Ok(())
    }

    /// Sets the attributes, if there are any.
    pub(crate) fn fill_steps(
        &mut self,
        class: &Bound<'py, PyType>,
        key: &Bound<'py, PyString>,
        attributes: &Bound<'py, PyDict>,
        sets_members: bool,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let filler = self.filler(class, sets_members)?;
        steps.reserve(3 * attributes.len() + 8);
        let hashing = self.hashing_attributes(attributes)?;
        if hashing.is_empty() {
            return self.fill_part(class, key, attributes, filler, steps);
        }
        let rest = attributes.copy()?;
        for (name, _) in hashing.iter() {
            rest.del_item(name)?;
        }
        self.fill_part(class, key, &hashing, filler, steps)?;
        self.fill_part(class, key, &rest, filler, steps)
    }

    /// What a hash or a comparison of instances runs: set before anything that may hold instances in sets, or as keys.
    fn hashing_attributes(&mut self, attributes: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let py = self.py;
        let found = PyDict::new(py);
        let hash = attributes.get_item(intern!(py, "__hash__"))?;
        if hash.is_none_or(|hash| hash.is_none()) {
            return Ok(found);
        }
        let mut wanted = vec!["__hash__".to_owned(), "__eq__".to_owned()];
        while let Some(name) = wanted.pop() {
            if found.contains(&name)? {
                continue;
            }
            let Some(value) = attributes.get_item(&name)? else { continue };
            let is_property = value.get_type().is(&self.known.property);
            let function = if is_property { value.getattr(intern!(py, "fget"))? } else { value.clone() };
            if function.get_type().is(&self.known.function) {
                found.set_item(&name, value)?;
                if let Some(code) = FunctionParts::of(&function).code()? {
                    wanted.extend(self.code_facts_kept(&code)?.names(py));
                }
            }
        }
        Ok(found)
    }

    /// Sets some of the attributes, if there are any.
    fn fill_part(
        &mut self,
        class: &Bound<'py, PyType>,
        key: &Bound<'py, PyString>,
        attributes: &Bound<'py, PyDict>,
        filler: Filler,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let before = steps.len();
        if filler == Filler::Build {
            steps.push(Step::Target(key.clone(), class.clone().into_any(), filler));
            steps.push(Step::Op(&[op::NONE, op::EMPTY_DICT, op::MARK]));
        }
        let begun = steps.len();
        self.attribute_steps(class, key, attributes, filler, steps)?;
        if steps.len() == begun {
            steps.truncate(before);
        } else if filler == Filler::Build {
            steps.push(Step::Op(&[op::SETITEMS, op::TUPLE2, op::BUILD, op::POP]));
        }
        Ok(())
    }

    /// How the receiver sets the attributes of a class: `BUILD` does it where no metaclass and no `__setstate__` is in its way.
    fn filler(&self, class: &Bound<'py, PyType>, sets_members: bool) -> PyResult<Filler> {
        let py = self.py;
        let (plain, metaclass) = (py.get_type::<PyType>(), class.get_type());
        let is_enum = self.enum_metaclass_for(&metaclass)?.is_some_and(|enums| metaclass.is(&enums));
        let (setter, state_setter) = (intern!(py, "__setattr__"), intern!(py, "__setstate__"));
        // `BUILD` asks the class for `__setstate__`, so a metaclass that answers for its classes may have it, too.
        let may_answer = || {
            in_class(&metaclass, state_setter).is_some()
                || in_class(&metaclass, intern!(py, "__getattr__")).is_some()
                || !same_in(&metaclass, &plain, intern!(py, "__getattribute__"))
        };
        let takes_state = in_class(class, state_setter).is_some()
            || (!metaclass.is(&plain) && !is_enum && may_answer() && class.getattr_opt(state_setter)?.is_some());
        // The metaclass of enums guards its members only, which are no attributes here.
        let is_usual = metaclass.is(&plain) || (is_enum && !sets_members) || same_in(&metaclass, &plain, setter);
        Ok(if is_usual && !takes_state { Filler::Build } else { Filler::Calls })
    }

    /// The names and values of the attributes, as items of a dictionary or as calls.
    fn attribute_steps(
        &mut self,
        class: &Bound<'py, PyType>,
        class_key: &Bound<'py, PyString>,
        attributes: &Bound<'py, PyDict>,
        filler: Filler,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let py = self.py;
        // A bare class has these two already: they come first, or the order would differ when it is pickled again.
        let (first, rest): (Vec<_>, Vec<_>) = attributes.iter().partition(|(key, _)| {
            key.cast::<PyString>().is_ok_and(|name| name == "__doc__" || name == "__abstractmethods__")
        });
        for (key, value) in first.into_iter().chain(rest) {
            let Ok(name) = key.cast_into::<PyString>() else { continue };
            let text = name.to_str()?;
            let is_slot =
                value.get_type().is(&self.known.slot) && value.getattr(intern!(py, "__objclass__"))?.is(class);
            let is_made = text.starts_with('_') && (NOT_ATTRIBUTES.contains(&text) || ONLY_AT_BIRTH.contains(&text));
            if is_made || is_slot || (text == "__doc__" && value.is_none()) {
                continue;
            }
            if filler == Filler::Calls {
                steps.push(Step::Global("builtins", "type.__setattr__"));
                steps.push(Step::Target(class_key.clone(), class.clone().into_any(), filler));
            }
            let label = Label::Attribute(name.clone());
            steps.push(Step::Text(name));
            match value.cast_into_exact::<PyString>() {
                Ok(text) => steps.push(Step::Text(text)),
                Err(other) => steps.push(Step::Save(other.into_inner(), Role::Data, label)),
            }
            if filler == Filler::Calls {
                steps.push(Step::Op(&[op::TUPLE3, op::REDUCE, op::POP]));
            }
        }
        Ok(())
    }

    /// A copy of the class's own `__dict__`.
    pub(crate) fn class_dict(&self, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyDict>> {
        // The mapping proxy's own method: a metaclass may hide it.
        let proxy = self.known.getters.class_dict.of_class(class)?;
        Ok(proxy.call_method0(intern!(self.py, "copy"))?.cast_into::<PyDict>()?)
    }

    /// The method resolution order.
    pub(crate) fn mro(&self, class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyTuple>> {
        Ok(self.known.getters.class_mro.of_class(class)?.cast_into::<PyTuple>()?)
    }

    /// Virtual subclasses of an abstract base class, registered again at the receiver.
    fn registered_subclasses(&self, class: &Bound<'py, PyType>, steps: &mut Vec<Step<'py>>) -> PyResult<()> {
        let py = self.py;
        if !class.get_type().is_subclass(self.known.abstract_metaclass.bind(py))? {
            return Ok(());
        }
        let Ok(dump) = self.known.abstract_dump.bind(py).call1((class,)) else { return Ok(()) };
        let mut subclasses = Vec::new();
        for reference in dump.get_item(0)?.try_iter()? {
            let subclass = reference?.call0()?;
            if !subclass.is_none() {
                let name =
                    |part| -> PyResult<String> { Ok(subclass.getattr(part)?.str()?.to_string_lossy().into_owned()) };
                subclasses.push(((name("__qualname__")?, name("__module__")?), subclass));
            }
        }
        subclasses.sort_by(|left, right| left.0.cmp(&right.0));
        for (_, subclass) in subclasses {
            steps.extend([
                Step::Global("abc", "ABCMeta.register"),
                Step::Save(class.clone().into_any(), Role::Data, Label::Silent),
                Step::Save(subclass, Role::Data, Label::Part("registered subclass")),
                Step::Op(&[op::TUPLE2, op::REDUCE, op::POP]),
            ]);
        }
        Ok(())
    }
}

/// Whether two classes have or inherit the same under a name.
fn same_in(left: &Bound<'_, PyType>, right: &Bound<'_, PyType>, name: &Bound<'_, PyString>) -> bool {
    match (in_class(left, name), in_class(right, name)) {
        (Some(left), Some(right)) => left.is(&right),
        (None, None) => true,
        _ => false,
    }
}

/// Whether a method written in Python has keyword-only parameters without a default.
fn needs_keywords(known: &Known, holder: &Bound<'_, PyAny>, method: &Bound<'_, PyString>) -> PyResult<bool> {
    let py = holder.py();
    let mut function = holder.getattr(method)?;
    if [&known.method, &known.class_method, &known.static_method].iter().any(|class| function.get_type().is(*class)) {
        function = function.getattr(intern!(py, "__func__"))?;
    }
    if !function.get_type().is(&known.function) {
        return Ok(false);
    }
    let code = function.getattr(intern!(py, "__code__"))?;
    let required: usize = code.getattr(intern!(py, "co_kwonlyargcount"))?.extract()?;
    if required == 0 {
        return Ok(false);
    }
    let defaults = function.getattr(intern!(py, "__kwdefaults__"))?;
    let given = if defaults.is_none() { 0 } else { defaults.len()? };
    Ok(required > given)
}
