//! Objects that say how to rebuild them: `copyreg`, `__reduce_ex__`, `__reduce__`, and what they return.

use pyo3::exceptions::{PyBaseException, PyKeyError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::frame::{Elements, ElementsFrame, Frame, Label, Role, Step};
use crate::functions_ffi::in_class;
use crate::global::{repr, type_name};
use crate::opcodes as op;
use crate::save::{Rest, Saver, is_leaf};

/// How instances of one type are written, found out once per dump.
#[derive(Clone)]
pub(crate) enum TypePlan<'py> {
    /// A function of `copyreg` or of the pickler's own table.
    Call(Bound<'py, PyAny>),
    /// The type has a `__reduce__` of its own and the `__reduce_ex__` of `object`.
    Reduce,
    /// Whatever `__reduce_ex__` says.
    ReduceEx,
    /// As `ReduceEx`, and `object`'s own answer for it is known to be `cls.__new__(cls)` and `__dict__`.
    Plain,
    /// The same with the attributes in these slots, and no `__dict__`.
    Slots(Bound<'py, PyList>),
    Module,
    Cell,
    Code,
    Method,
    /// `staticmethod`, `classmethod`: rebuilt around their function.
    Wrapper(&'static str),
    Property,
    /// A builtin function: by name, unless it is bound to an instance.
    Builtin,
    /// An exception, which does not tell its cause.
    Exception,
    WeakReference,
    WeakProxy,
    Ellipsis,
}

/// What `staticmethod` and `classmethod` take over from their function.
const OF_THE_FUNCTION: &[&str] =
    &["__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__"];

impl<'py> Saver<'py> {
    /// Any object that is neither a container nor a function nor a class.
    pub(crate) fn instance(&mut self, obj: &Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> Rest<'py> {
        let address = class.as_ptr() as usize;
        let plan = match self.plans.get(&address) {
            Some(plan) => plan.clone(),
            None => {
                let plan = self.plan(class)?;
                self.memo.keep(class.as_any());
                self.plans.insert(address, plan.clone());
                plan
            }
        };
        let py = self.py;
        match plan {
            TypePlan::Call(reducer) => {
                let reduced = reducer.call1((obj,))?;
                self.save_reduced(obj, &reduced)
            }
            TypePlan::Reduce => {
                let reduced = obj.call_method0(intern!(py, "__reduce__"))?;
                self.save_reduced(obj, &reduced)
            }
            TypePlan::ReduceEx => {
                let reduced = obj.call_method1(intern!(py, "__reduce_ex__"), (self.options.protocol,))?;
                self.learn(class, &reduced)?;
                self.save_reduced(obj, &reduced)
            }
            TypePlan::Plain => {
                let state = obj.getattr(intern!(py, "__dict__"))?;
                self.plain_instance(obj, class, state)
            }
            TypePlan::Slots(names) => {
                let state = PyDict::new(py);
                for name in names.iter() {
                    if let Some(value) = obj.getattr_opt(name.cast::<PyString>()?)? {
                        state.set_item(name, value)?;
                    }
                }
                // An object whose slots are all empty has no state, and is told so.
                if state.is_empty() {
                    let reduced = obj.call_method1(intern!(py, "__reduce_ex__"), (self.options.protocol,))?;
                    return self.save_reduced(obj, &reduced);
                }
                self.plain_instance(obj, class, (py.None(), state).into_pyobject(py)?.into_any())
            }
            TypePlan::Module => self.module(obj),
            TypePlan::Cell => self.cell(obj),
            TypePlan::Code => self.lone_code(obj),
            TypePlan::Method => self.method(obj),
            TypePlan::Builtin => self.builtin(obj),
            TypePlan::Exception => self.exception(obj, class),
            TypePlan::WeakReference => self.weak_reference(obj),
            TypePlan::WeakProxy => self.weak_proxy(obj),
            TypePlan::Wrapper(name) => self.wrapper(obj, name),
            TypePlan::Property => self.property(obj),
            TypePlan::Ellipsis => {
                let name = if obj.is(&self.known.ellipsis) { "Ellipsis" } else { "NotImplemented" };
                self.standard("builtins", name)?;
                Ok(None)
            }
        }
    }

    fn plan(&self, class: &Bound<'py, PyType>) -> PyResult<TypePlan<'py>> {
        let py = self.py;
        let known = self.known;
        if let Some(reducer) = self.registered(class.as_any())? {
            return Ok(TypePlan::Call(reducer));
        }
        if class.is(&known.module) || class.is_subclass(known.module.bind(py))? {
            return Ok(TypePlan::Module);
        }
        if class.is(&known.cell) {
            return Ok(TypePlan::Cell);
        }
        if class.is(&known.code) {
            return Ok(TypePlan::Code);
        }
        if class.is(&known.method) {
            return Ok(TypePlan::Method);
        }
        if class.is(&known.builtin_function) {
            return Ok(TypePlan::Builtin);
        }
        for (name, exact) in
            [("staticmethod", class.is(&known.static_method)), ("classmethod", class.is(&known.class_method))]
        {
            if exact {
                return Ok(TypePlan::Wrapper(name));
            }
        }
        if class.is(&known.property) {
            return Ok(TypePlan::Property);
        }
        if class.is(known.ellipsis.bind(py).get_type()) || class.is(known.not_implemented.bind(py).get_type()) {
            return Ok(TypePlan::Ellipsis);
        }
        if class.is_subclass_of::<PyBaseException>()? {
            return Ok(TypePlan::Exception);
        }
        if class.is(&known.weak_reference) {
            return Ok(TypePlan::WeakReference);
        }
        if known.weak_proxies.iter().any(|proxy| class.is(proxy)) {
            return Ok(TypePlan::WeakProxy);
        }
        if let Some(reducers) = self.options.reducers
            && let Some(reducer) = reducers.always.bind(py).get_item(class)?
        {
            return Ok(TypePlan::Call(reducer));
        }
        if !class.getattr(intern!(py, "__reduce_ex__"))?.is(&known.object_reduce_ex) {
            return Ok(TypePlan::ReduceEx);
        }
        if !class.getattr(intern!(py, "__reduce__"))?.is(&known.object_reduce) {
            return Ok(TypePlan::Reduce);
        }
        if let Some(reducers) = self.options.reducers {
            for (base, reducer) in reducers.subclasses.bind(py).iter() {
                if class.is_subclass(&base)? {
                    return Ok(TypePlan::Call(reducer));
                }
            }
        }
        Ok(TypePlan::ReduceEx)
    }

    /// The reducer registered for a type: in the pickler's own table if it has one, else with `copyreg`.
    pub(crate) fn registered(&self, class: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(table) = &self.options.dispatch_table else {
            return self.known.copyreg_dispatch.bind(self.py).get_item(class);
        };
        match table.get_item(class) {
            Ok(reducer) => Ok(Some(reducer)),
            Err(error) if error.is_instance_of::<PyKeyError>(self.py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How to rebuild an object that reduces to a name which the receiver does not have, if we know.
    pub(crate) fn reducer_of_unnamed(&self, obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.options.reducers.map_or(Ok(None), |reducers| reducers.unnamed.bind(self.py).get_item(obj.get_type()))
    }

    /// Such an object, by that reducer.
    pub(crate) fn unnamed(&mut self, obj: &Bound<'py, PyAny>, reducer: &Bound<'py, PyAny>) -> Rest<'py> {
        let reduced = reducer.call1((obj,))?;
        let kind = type_name(obj);
        let is_variable = kind.starts_with("typing.") && reduced.len()? == 2 || kind == "typing.TypeVar";
        if !is_variable {
            return self.save_reduced(obj, &reduced);
        }
        // Type variables are compared by identity, as classes are: the receiver keeps them apart by key, too.
        let key = self.key_of(obj)?;
        let arguments = reduced.get_item(1)?.cast_into::<PyTuple>()?;
        let mut make = vec![Step::Save(reduced.get_item(0)?, Role::Data, Label::Silent)];
        make.extend(arguments.iter().map(|argument| Step::Save(argument, Role::Arguments, Label::Silent)));
        make.push(Step::Op(&[op::TUPLE, op::REDUCE]));
        let mut steps = self.tracked(obj, &key, make)?;
        if reduced.len()? == 6 {
            steps.extend([
                Step::Save(reduced.get_item(5)?, Role::Data, Label::Silent),
                Step::Save(obj.clone(), Role::Data, Label::Silent),
                Step::Save(reduced.get_item(2)?, Role::State, Label::Part("bound")),
                Step::Op(&[op::TUPLE2, op::REDUCE, op::POP]),
            ]);
        }
        Ok(Some(Frame::script(steps)))
    }

    /// Remembers a type whose instances `object.__reduce_ex__` rebuilds from nothing but their `__dict__`, or their slots.
    fn learn(&mut self, class: &Bound<'py, PyType>, reduced: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = self.py;
        let Ok(parts) = reduced.cast::<PyTuple>() else { return Ok(()) };
        if parts.len() < 3 || !parts.get_item(0)?.is(&self.known.copyreg_newobj) {
            return Ok(());
        }
        let alone = parts.get_item(1)?.cast::<PyTuple>().is_ok_and(|arguments| arguments.len() == 1);
        let empty = parts.iter_borrowed().skip(3).all(|part| part.is_none());
        let state = parts.get_item(2)?;
        let only_slots = state
            .cast::<PyTuple>()
            .is_ok_and(|state| state.len() == 2 && state.iter_borrowed().next().is_some_and(|dict| dict.is_none()));
        if !alone || !empty || !(only_slots || state.is_instance_of::<PyDict>()) {
            return Ok(());
        }
        let own_getstate = match (in_class(class, intern!(py, "__getstate__")), &self.known.object_getstate) {
            (None, _) => false,
            (Some(getstate), Some(default)) => !getstate.is(default),
            (Some(_), None) => true,
        };
        let asks = own_getstate
            || in_class(class, intern!(py, "__getnewargs_ex__")).is_some()
            || in_class(class, intern!(py, "__getnewargs__")).is_some()
            || in_class(class, intern!(py, "__getattr__")).is_some()
            || !in_class(class, intern!(py, "__reduce_ex__")).is_some_and(|own| own.is(&self.known.object_reduce_ex));
        let items = class.is_subclass_of::<PyList>()? || class.is_subclass_of::<PyDict>()?;
        if asks || items {
            return Ok(());
        }
        // `object.__reduce_ex__` has noted them just now, where the class takes notes.
        let noted = self.known.getters.class_dict.of_class(class)?.get_item(intern!(py, "__slotnames__"));
        let Some(slots) = noted.ok().and_then(|noted| noted.cast_into::<PyList>().ok()) else { return Ok(()) };
        let plan = match (only_slots, slots.is_empty()) {
            (false, true) => TypePlan::Plain,
            (true, false) if class.getattr(intern!(py, "__dictoffset__"))?.eq(0)? => TypePlan::Slots(slots),
            _ => return Ok(()),
        };
        self.plans.insert(class.as_ptr() as usize, plan);
        Ok(())
    }

    /// `NEWOBJ` and `BUILD`, without asking `copyreg`.
    fn plain_instance(
        &mut self,
        obj: &Bound<'py, PyAny>,
        class: &Bound<'py, PyType>,
        state: Bound<'py, PyAny>,
    ) -> Rest<'py> {
        if let Some(number) = self.memo.get(class.as_any()) {
            self.writer.get(number);
            self.writer.bytes(&[op::EMPTY_TUPLE, op::NEWOBJ]);
            self.memoize(obj);
            return Ok(Some(Frame::script(vec![
                Step::Save(state, Role::State, Label::Silent),
                Step::Op(&[op::BUILD]),
            ])));
        }
        Ok(Some(Frame::script(vec![
            Step::Save(class.clone().into_any(), Role::Data, Label::Part("class")),
            Step::Op(&[op::EMPTY_TUPLE, op::NEWOBJ]),
            Step::Memoize(obj.clone()),
            Step::Save(state, Role::State, Label::Silent),
            Step::Op(&[op::BUILD]),
        ])))
    }

    /// What a reducer returned for `obj`: a name, or a tuple of two to six parts.
    pub(crate) fn save_reduced(&mut self, obj: &Bound<'py, PyAny>, reduced: &Bound<'py, PyAny>) -> Rest<'py> {
        if let Ok(name) = reduced.cast::<PyString>() {
            return self.save_named(obj, Some(name.clone()));
        }
        let Ok(parts) = reduced.cast::<PyTuple>() else {
            return Err(
                self.pickling_error(&format!("__reduce__ must return a string or tuple, not {}", type_name(reduced)))
            );
        };
        if !(2..=6).contains(&parts.len()) {
            return Err(self.pickling_error("tuple returned by __reduce__ must contain 2 through 6 elements"));
        }
        let part = |index: usize| -> PyResult<Option<Bound<'py, PyAny>>> {
            if index < parts.len() {
                parts.get_item(index).map(|part| (!part.is_none()).then_some(part))
            } else {
                Ok(None)
            }
        };
        let function = parts.get_item(0)?;
        if !function.is_callable() {
            return Err(self.pickling_error("first item of the tuple returned by __reduce__ must be callable"));
        }
        let Ok(arguments) = parts.get_item(1)?.cast_into::<PyTuple>() else {
            return Err(self.pickling_error("second item of the tuple returned by __reduce__ must be a tuple"));
        };
        if self.simple_call(obj, &function, &arguments, parts)? {
            return Ok(None);
        }
        let mut steps = Vec::with_capacity(8);
        self.creation_steps(obj, &function, &arguments, &mut steps)?;
        steps.push(Step::Memoize(obj.clone()));
        for (index, what) in [(3, "fourth"), (4, "fifth")] {
            let Some(items) = part(index)? else { continue };
            let Ok(items) = items.cast_into::<PyIterator>() else {
                let name = type_name(&parts.get_item(index)?);
                return Err(self.pickling_error(&format!(
                    "{what} item of the tuple returned by __reduce__ must be an iterator, not {name}"
                )));
            };
            let kind = if index == 3 { Elements::Appends(items) } else { Elements::SetItems(items) };
            let frame = ElementsFrame { items: Vec::new(), next: 0, kind };
            steps.push(Step::Enter(Box::new(Frame::Elements(Box::new(frame)))));
        }
        let setter = part(5)?;
        if let Some(setter) = &setter
            && !setter.is_callable()
        {
            return Err(self.pickling_error("sixth item of the tuple returned by __reduce__ must be callable"));
        }
        if let Some(state) = part(2)? {
            if let Some(setter) = setter {
                steps.push(Step::Save(setter, Role::Data, Label::Part("state setter")));
                steps.push(Step::Save(obj.clone(), Role::Data, Label::Silent));
                steps.push(Step::Save(state, Role::State, Label::Silent));
                steps.push(Step::Op(&[op::TUPLE2, op::REDUCE, op::POP]));
            } else {
                steps.push(Step::Save(state, Role::State, Label::Silent));
                steps.push(Step::Op(&[op::BUILD]));
            }
        }
        Ok(Some(Frame::script(steps)))
    }

    /// Writes a call of a known class with plain arguments and nothing after it at once: dates, fractions, decimals.
    fn simple_call(
        &mut self,
        obj: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        parts: &Bound<'py, PyTuple>,
    ) -> PyResult<bool> {
        let Some(number) = self.memo.get(function) else { return Ok(false) };
        let simple = self.options.persistent_id.is_none()
            && self.trace.is_none()
            && self.options.protocol >= 3
            && function.is_instance_of::<PyType>()
            && parts.iter_borrowed().skip(2).all(|part| part.is_none())
            && arguments.iter_borrowed().all(is_leaf);
        if !simple {
            return Ok(false);
        }
        self.writer.get(number);
        self.save(arguments.as_any(), Role::Arguments)?;
        self.writer.byte(op::REDUCE);
        self.memoize_result(obj);
        Ok(true)
    }

    /// The steps that leave the new object on the stack: `NEWOBJ` where `copyreg` asks for it, else a call.
    fn creation_steps(
        &self,
        obj: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        steps: &mut Vec<Step<'py>>,
    ) -> PyResult<()> {
        let py = self.py;
        let name = if function.is_instance_of::<PyType>() {
            String::new()
        } else {
            let name = function.getattr_opt(intern!(py, "__name__")).ok().flatten();
            name.and_then(|name| name.extract::<String>().ok()).unwrap_or_default()
        };
        if name == "__newobj_ex__" && arguments.len() == 3 {
            let class = arguments.get_item(0)?;
            self.check_class(&class, obj, "__newobj_ex__")?;
            let (Ok(positional), Ok(named)) =
                (arguments.get_item(1)?.cast_into::<PyTuple>(), arguments.get_item(2)?.cast_into::<PyDict>())
            else {
                return Err(self.pickling_error("__newobj_ex__ needs a tuple and a dict of arguments"));
            };
            if self.options.protocol >= 4 {
                steps.push(Step::Save(class, Role::Data, Label::Part("class")));
                steps.push(Step::Save(positional.into_any(), Role::Arguments, Label::Part("arguments")));
                steps.push(Step::Save(named.into_any(), Role::Data, Label::Part("arguments")));
                steps.push(Step::Op(&[op::NEWOBJ_EX]));
            } else {
                let new = class.getattr(intern!(py, "__new__"))?;
                let mut all = vec![new, class];
                all.extend(positional.iter());
                let partial = py.import("functools")?.getattr("partial")?;
                let bound = partial.call(crate::global::arguments(py, all)?, Some(&named))?;
                steps.push(Step::Save(bound, Role::Data, Label::Part("arguments")));
                steps.push(Step::Op(&[op::EMPTY_TUPLE, op::REDUCE]));
            }
            return Ok(());
        }
        if name == "__newobj__" {
            if arguments.is_empty() {
                return Err(self.pickling_error("__newobj__ arglist is empty"));
            }
            let class = arguments.get_item(0)?;
            if class.hasattr(intern!(py, "__new__"))? {
                self.check_class(&class, obj, "__newobj__")?;
                let rest = arguments.get_slice(1, arguments.len());
                steps.push(Step::Save(class, Role::Data, Label::Part("class")));
                steps.push(Step::Save(rest.into_any(), Role::Arguments, Label::Part("arguments")));
                steps.push(Step::Op(&[op::NEWOBJ]));
                return Ok(());
            }
            return Err(self.pickling_error("args[0] from __newobj__ args has no __new__"));
        }
        steps.push(Step::Save(function.clone(), Role::Data, Label::Part("reducer")));
        steps.push(Step::Save(arguments.clone().into_any(), Role::Arguments, Label::Part("arguments")));
        steps.push(Step::Op(&[op::REDUCE]));
        Ok(())
    }

    fn check_class(&self, class: &Bound<'py, PyAny>, obj: &Bound<'py, PyAny>, function: &str) -> PyResult<()> {
        let own = obj.getattr(intern!(self.py, "__class__"))?;
        if own.is(class) {
            return Ok(());
        }
        Err(self.pickling_error(&format!("first argument to {function}() must be {}, not {}", repr(&own), repr(class))))
    }

    /// A bound method: looked up on its object where that gives the same, else rebuilt from its function.
    fn method(&mut self, method: &Bound<'py, PyAny>) -> Rest<'py> {
        let py = self.py;
        let owner = method.getattr(intern!(py, "__self__"))?;
        let function = method.getattr(intern!(py, "__func__"))?;
        let name = function.getattr_opt(intern!(py, "__name__"))?.and_then(|name| name.cast_into::<PyString>().ok());
        let mut steps = Vec::with_capacity(6);
        match name {
            Some(name) if owner.getattr_opt(&name)?.is_some_and(|found| found.eq(method).unwrap_or(false)) => {
                steps.push(Step::Global("builtins", "getattr"));
                steps.push(Step::Save(owner, Role::Data, Label::Part("__self__")));
                steps.push(Step::Text(name));
            }
            _ => {
                steps.push(Step::Global("types", "MethodType"));
                steps.push(Step::Save(function, Role::Data, Label::Part("__func__")));
                steps.push(Step::Save(owner, Role::Data, Label::Part("__self__")));
            }
        }
        steps.push(Step::Op(&[op::TUPLE2, op::REDUCE]));
        steps.push(Step::Memoize(method.clone()));
        Ok(Some(Frame::script(steps)))
    }

    /// As the exception says, and its cause with its other attributes.
    fn exception(&mut self, exception: &Bound<'py, PyAny>, class: &Bound<'py, PyType>) -> Rest<'py> {
        let py = self.py;
        let reduced = exception.call_method1(intern!(py, "__reduce_ex__"), (self.options.protocol,))?;
        let cause = exception.getattr(intern!(py, "__cause__"))?;
        let setstate = intern!(py, "__setstate__");
        let Ok(parts) = reduced.cast::<PyTuple>() else { return self.save_reduced(exception, &reduced) };
        if cause.is_none()
            || !(2..=3).contains(&parts.len())
            || !class.getattr(setstate)?.is(&py.get_type::<PyBaseException>().getattr(setstate)?)
        {
            return self.save_reduced(exception, &reduced);
        }
        let state = match parts.get_item(2) {
            Ok(state) if !state.is_none() => match state.cast_into::<PyDict>() {
                Ok(state) => state.copy()?,
                Err(_) => return self.save_reduced(exception, &reduced),
            },
            _ => PyDict::new(py),
        };
        state.set_item(intern!(py, "__cause__"), cause)?;
        let parts = PyTuple::new(py, [parts.get_item(0)?, parts.get_item(1)?, state.into_any()])?;
        self.save_reduced(exception, parts.as_any())
    }

    /// A weak reference: to an object that something else in the pickle has to hold.
    fn weak_reference(&mut self, reference: &Bound<'py, PyAny>) -> Rest<'py> {
        let object = reference.call0()?;
        if object.is_none() {
            return Err(
                self.pickling_error("cannot pickle 'weakref.ReferenceType' object: what it referred to is gone")
            );
        }
        let mut steps = vec![Step::Global("_weakref", "ref"), Step::SaveWeak(object)];
        let callback = reference.getattr(intern!(self.py, "__callback__"))?;
        if callback.is_none() {
            steps.push(Step::Op(&[op::TUPLE1, op::REDUCE]));
        } else {
            steps.push(Step::Save(callback, Role::Data, Label::Part("callback")));
            steps.push(Step::Op(&[op::TUPLE2, op::REDUCE]));
        }
        steps.push(Step::Memoize(reference.clone()));
        Ok(Some(Frame::script(steps)))
    }

    /// A weak proxy: one again where its object stands in the pickle already, as that of a child does for its parent; else
    /// the object, as in the standard library.
    fn weak_proxy(&mut self, proxy: &Bound<'py, PyAny>) -> Rest<'py> {
        let py = self.py;
        // Asked for an attribute, it gives that of its object.
        let method = proxy.getattr(intern!(py, "__sizeof__"))?;
        let object = method.getattr_opt(intern!(py, "__self__"))?;
        let again = py.import("_weakref")?.getattr("proxy")?;
        // There is one proxy of an object, but for those with a callback, which do not show it.
        let Some(object) = object.filter(|object| again.call1((object,)).is_ok_and(|again| again.is(proxy))) else {
            let reduced = proxy.call_method1(intern!(py, "__reduce_ex__"), (self.options.protocol,))?;
            return self.save_reduced(proxy, &reduced);
        };
        let steps = match self.memo.get(&object) {
            Some(number) => vec![
                Step::Global("_weakref", "proxy"),
                Step::Get(number),
                Step::Op(&[op::TUPLE1, op::REDUCE]),
                Step::Memoize(proxy.clone()),
            ],
            None => vec![Step::Save(object, Role::Data, Label::Silent), Step::Memoize(proxy.clone())],
        };
        Ok(Some(Frame::script(steps)))
    }

    /// `staticmethod` and `classmethod`: around their function, with the attributes that did not come from that.
    fn wrapper(&mut self, wrapper: &Bound<'py, PyAny>, name: &'static str) -> Rest<'py> {
        let py = self.py;
        let function = wrapper.getattr(intern!(py, "__func__"))?;
        let mut steps = vec![
            Step::Global("builtins", name),
            Step::Save(function, Role::Data, Label::Silent),
            Step::Op(&[op::TUPLE1, op::REDUCE]),
            Step::Memoize(wrapper.clone()),
        ];
        let attributes = wrapper.getattr(intern!(py, "__dict__"))?.cast_into::<PyDict>()?;
        let own = |name: &Bound<'py, PyAny>| {
            !name.cast::<PyString>().is_ok_and(|name| name.to_str().is_ok_and(|name| OF_THE_FUNCTION.contains(&name)))
        };
        if attributes.iter().any(|(name, _)| own(&name)) {
            let state = attributes.iter().filter(|(name, _)| own(name)).into_py_dict(py)?;
            steps.extend([Step::Save(state.into_any(), Role::State, Label::Silent), Step::Op(&[op::BUILD])]);
        }
        Ok(Some(Frame::script(steps)))
    }

    fn property(&mut self, property: &Bound<'py, PyAny>) -> Rest<'py> {
        let mut steps = vec![Step::Global("builtins", "property"), Step::Op(&[op::MARK])];
        let py = self.py;
        let parts = [
            ("fget", intern!(py, "fget")),
            ("fset", intern!(py, "fset")),
            ("fdel", intern!(py, "fdel")),
            ("__doc__", intern!(py, "__doc__")),
        ];
        for (label, part) in parts {
            steps.push(Step::Save(property.getattr(part)?, Role::Data, Label::Part(label)));
        }
        steps.push(Step::Op(&[op::TUPLE, op::REDUCE]));
        steps.push(Step::Memoize(property.clone()));
        Ok(Some(Frame::script(steps)))
    }

    /// A builtin function or method of an extension type.
    fn builtin(&mut self, function: &Bound<'py, PyAny>) -> Rest<'py> {
        let reduced = function.call_method1(intern!(self.py, "__reduce_ex__"), (self.options.protocol,))?;
        self.save_reduced(function, &reduced)
    }
}
