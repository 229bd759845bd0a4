//! Errors that lead to the object: `cannot pickle '_thread.lock' object: at score → closure 'cfg' → ['db'] → .lock`.

use pyo3::exceptions::{PyMemoryError, PyNotImplementedError, PyRecursionError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::facts::place;
use crate::frame::{Elements, Frame, Label, Role};
use crate::global::repr;
use crate::save::Saver;

const DEEPEST: usize = 24;

impl<'py> Saver<'py> {
    /// A `PicklingError`.
    pub(crate) fn pickling_error(&self, message: &str) -> PyErr {
        match self.known.pickling_error.bind(self.py).call1((message,)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }

    /// Adds the path to an error that came out of the work, if it is one about pickling.
    pub(crate) fn explain(&self, root: &Bound<'py, PyAny>, error: PyErr) -> PyErr {
        let py = self.py;
        if error.is_instance_of::<PyMemoryError>(py) {
            return error; // a sentence would need memory
        }
        let is_own = error.value(py).get_type().is(&self.known.pickling_error);
        let message = error.value(py).str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default();
        let refused = (error.is_instance_of::<PyTypeError>(py) || error.is_instance_of::<PyNotImplementedError>(py))
            && ["pickl", "Pickl", "__reduce"].iter().any(|word| message.contains(word));
        if error.is_instance_of::<PyRecursionError>(py) {
            let text = format!(
                "Could not pickle object as excessively deep recursion required: {}",
                self.describe(root, &message)
            );
            return self.chain(&text, error);
        }
        // Spark's driver-side objects refuse with errors of their own, which do not say where they were captured.
        let by_spark = error.get_type(py).module().is_ok_and(|module| module.to_string_lossy().starts_with("pyspark."));
        if is_own || refused || by_spark {
            return self.chain(&self.describe(root, &message), error);
        }
        // Anything else is the user's own exception: it stays what it is, with a note. That is a courtesy: an exception
        // class that refuses it is raised without.
        let note = format!("while pickling {}", self.path(root));
        let _ = match error.value(py).getattr_opt(intern!(py, "add_note")) {
            Ok(Some(add_note)) => add_note.call1((note,)).map(drop),
            _ => error.value(py).setattr(intern!(py, "__notes__"), vec![note]), // 3.10 has no method for it
        };
        error
    }

    fn chain(&self, text: &str, cause: PyErr) -> PyErr {
        let error = self.pickling_error(text);
        if !cause.value(self.py).get_type().is(&self.known.pickling_error) {
            error.set_cause(self.py, Some(cause));
        }
        error
    }

    fn describe(&self, root: &Bound<'py, PyAny>, message: &str) -> String {
        let mut text = format!("{message}: at {}", self.path(root));
        if let Some(origin) = self.origin() {
            text.push_str(&origin);
        }
        if let Some(hint) = self.hint(message) {
            text.push_str(&format!(". Hint: {hint}"));
        }
        text
    }

    /// Where the innermost function or class on the way was defined.
    fn origin(&self) -> Option<String> {
        let code = self.stack.iter().rev().find_map(|frame| match frame {
            Frame::Script(script) => script.code.as_ref().map(|(code, _)| code),
            _ => None,
        })?;
        let (file, line) = place(code)?;
        Some(format!("; defined in {file}, line {line}"))
    }

    /// The way from the root to where the work stands.
    fn path(&self, root: &Bound<'py, PyAny>) -> String {
        let steps = || {
            let below = std::iter::once(None).chain(self.stack.iter().map(Some));
            below.zip(&self.stack).flat_map(|(below, frame)| [function_name(below, frame), step(frame)]).flatten()
        };
        // Of a way that is too long only the ends are put into words.
        let len = steps().count();
        let left_out = (len + 1).saturating_sub(DEEPEST);
        let mut parts = vec![root_name(root)];
        let ahead = if left_out == 0 { len } else { DEEPEST / 2 - 1 };
        parts.extend(steps().take(ahead).map(|step| step.text()));
        if left_out > 0 {
            parts.push(format!("… {left_out} more …"));
            parts.extend(steps().skip(ahead + left_out).map(|step| step.text()));
        }
        parts.join(" → ")
    }
}

/// A step of the way, not yet in words.
pub(crate) enum PathStep<'f, 'py> {
    Index(usize),
    Key(&'f Bound<'py, PyAny>),
    Argument(usize),
    Attribute(&'f Bound<'py, PyString>),
    /// On the way into a key.
    IntoKey(&'f Bound<'py, PyAny>),
    Named(&'static str, &'f Bound<'py, PyString>),
    Global(&'f Bound<'py, PyString>),
    Function(&'f Bound<'py, PyAny>),
    Part(&'static str),
}

impl PathStep<'_, '_> {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Index(index) => format!("[{index}]"),
            Self::Key(key) => format!("[{}]", repr(key)),
            Self::Argument(number) => format!("argument {number}"),
            Self::Attribute(name) => format!(".{name}"),
            Self::IntoKey(key) => format!("key {}", repr(key)),
            Self::Named(kind, name) => format!("{kind} '{name}'"),
            Self::Global(name) => format!("global '{name}'"),
            Self::Function(name) => name.extract().unwrap_or_default(),
            Self::Part(part) => (*part).to_owned(),
        }
    }
}

/// The name of a function or class in a container, which has no place in the path yet.
fn function_name<'f, 'py>(below: Option<&Frame<'py>>, frame: &'f Frame<'py>) -> Option<PathStep<'f, 'py>> {
    let Frame::Script(script) = frame else { return None };
    let (code, facts) = script.code.as_ref()?;
    let in_container =
        matches!(below, Some(Frame::List(..) | Frame::Tuple(..) | Frame::Dict(..) | Frame::Elements(..)));
    in_container.then(|| PathStep::Function(facts.qualname.bind(code.py())))
}

fn root_name(root: &Bound<'_, PyAny>) -> String {
    root.getattr_opt("__qualname__")
        .ok()
        .flatten()
        .and_then(|name| name.extract().ok())
        .or_else(|| root.get_type().name().ok().map(|name| name.to_string_lossy().into_owned()))
        .unwrap_or_else(|| "object".to_owned())
}

/// Whether a state is of the kind that `copyreg` makes: attributes in two dictionaries.
fn is_state_of_slots(state: &Bound<'_, PyTuple>) -> bool {
    state.len() == 2 && state.iter_borrowed().all(|part| part.is_none() || part.is_exact_instance_of::<PyDict>())
}

/// The step that a frame is taking.
pub(crate) fn step<'f, 'py>(frame: &'f Frame<'py>) -> Option<PathStep<'f, 'py>> {
    match frame {
        Frame::List(_, next, _) => next.checked_sub(1).map(PathStep::Index),
        Frame::Tuple(tuple, next, role) => match role {
            Role::Data => next.checked_sub(1).map(PathStep::Index),
            Role::Arguments => (*next > 0).then_some(PathStep::Argument(*next)),
            Role::State if is_state_of_slots(tuple) => None,
            Role::State => next.checked_sub(1).map(PathStep::Index),
        },
        Frame::Dict(dict) => {
            let key = dict.key.as_ref()?;
            if dict.in_key {
                return Some(PathStep::IntoKey(key));
            }
            match (dict.role, key.cast::<PyString>()) {
                (Role::State, Ok(name)) => Some(PathStep::Attribute(name)),
                _ => Some(PathStep::Key(key)),
            }
        }
        Frame::Elements(elements) => match elements.kind {
            Elements::Set | Elements::Frozen(_) => Some(PathStep::Part("element")),
            Elements::Appends(_) => Some(PathStep::Index(elements.next.saturating_sub(1))),
            Elements::SetItems(_) if elements.next % 2 == 0 => {
                elements.items.get(elements.next.checked_sub(2)?).map(PathStep::Key)
            }
            Elements::SetItems(_) => Some(PathStep::Part("key")),
        },
        Frame::Script(script) => match &script.label {
            Label::Silent => None,
            Label::Named(kind, name) => Some(PathStep::Named(kind, name)),
            Label::Part(part) => (*part != "arguments").then_some(PathStep::Part(part)),
            Label::Attribute(name) => Some(PathStep::Attribute(name)),
        },
        Frame::Globals(globals) => {
            let name = globals.facts.globals.get(globals.next.checked_sub(1)?)?;
            Some(PathStep::Global(name.bind(globals.dict.py())))
        }
    }
}
