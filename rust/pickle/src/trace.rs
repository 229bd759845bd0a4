//! What goes into the bytes and how much of them each part takes: the tree behind `rudf.pickle.explain`.
//!
//! The writer says where it stands before and after each object, so the sizes are those of the very bytes, and nothing is
//! guessed. What is written is the same as without a trace. Objects that need no frame get an empty one here, so that
//! every part begins and ends in the main loop, where the frame below says what the part is to its holder.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyModule, PyString, PyTuple, PyType};

use crate::frame::{Frame, Role};
use crate::global::type_name;
use crate::save::{Rest, Saver};

/// Parts of a part that are kept by name: the largest. Of the others the number and the size are told.
const KEPT: usize = 256;
/// Parts further inside are counted with what holds them; the tree is walked by calls.
const DEEPEST: usize = 64;

/// One object, as it went into the bytes.
#[derive(Default)]
pub(crate) struct Part {
    /// What it is to its holder: `closure 'cfg'`, `.pool`, `[1]`. The root has none.
    label: Option<String>,
    /// On the way into a dictionary's key.
    in_key: bool,
    type_name: String,
    /// `value`, `reference`, `data` or `shared`.
    how: &'static str,
    why: String,
    start: usize,
    size: usize,
    parts: Vec<Part>,
    others: usize,
    others_size: usize,
    /// How many frames are below its own; unknown until that is on the stack.
    depth: Option<usize>,
}

/// The parts that are being written, the outermost first.
#[derive(Default)]
pub(crate) struct Trace {
    open: Vec<Part>,
    root: Option<Part>,
}

impl Trace {
    /// The frame of the part opened last goes on the stack.
    pub(crate) fn entered(&mut self, depth: usize, label: Option<String>, in_key: bool) {
        if let Some(part) = self.open.last_mut()
            && part.depth.is_none()
        {
            part.depth = Some(depth);
            part.label = label;
            part.in_key = in_key;
        }
    }

    /// The frame with that many below it is done.
    pub(crate) fn left(&mut self, depth: usize, position: usize) {
        if self.open.last().is_some_and(|part| part.depth == Some(depth))
            && let Some(mut part) = self.open.pop()
        {
            part.size = position.saturating_sub(part.start);
            self.close(part);
        }
    }

    /// The tree of what was written; the root takes all of `size`.
    pub(crate) fn into_tree(self, py: Python<'_>, size: usize) -> PyResult<Option<Bound<'_, PyTuple>>> {
        let Some(mut root) = self.root else { return Ok(None) };
        root.size = size;
        root.into_tuple(py).map(Some)
    }

    fn close(&mut self, part: Part) {
        let Some(holder) = self.open.last_mut() else {
            self.root = Some(part);
            return;
        };
        if part.label.is_some() && !(part.in_key && part.parts.is_empty()) {
            holder.add(part);
            return;
        }
        // A state dictionary, a tuple of arguments: only what is in it has a name.
        holder.others += part.others;
        holder.others_size += part.others_size;
        for inner in part.parts {
            holder.add(inner);
        }
    }
}

impl Part {
    fn add(&mut self, part: Part) {
        self.parts.push(part);
        if self.parts.len() >= 2 * KEPT {
            self.fold();
        }
    }

    fn fold(&mut self) {
        self.parts.sort_by_key(|part| std::cmp::Reverse(part.size));
        for part in self.parts.drain(KEPT.min(self.parts.len())..) {
            self.others += 1;
            self.others_size += part.size;
        }
    }

    /// `(label, type, how, why, size, parts, others, size of others)`, parts by falling size.
    fn into_tuple<'py>(mut self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.fold();
        let parts: Vec<_> = self.parts.into_iter().map(|part| part.into_tuple(py)).collect::<PyResult<_>>()?;
        let label = self.label.as_deref().unwrap_or_default();
        (label, &self.type_name, self.how, &self.why, self.size, parts, self.others, self.others_size).into_pyobject(py)
    }
}

impl<'py> Saver<'py> {
    /// Has the work traced from now on.
    pub(crate) fn start_trace(&mut self) {
        self.trace = Some(Box::default());
    }

    /// As `save`, with a part of the trace for the object.
    pub(crate) fn save_traced(&mut self, obj: &Bound<'py, PyAny>, role: Role) -> Rest<'py> {
        let start = self.writer.position();
        let part = Part { start, ..self.describe_part(obj)? };
        let Some(trace) = self.trace.as_mut().filter(|trace| trace.open.len() < DEEPEST) else {
            return self.save_untraced(obj, role);
        };
        trace.open.push(part);
        let rest = self.save_untraced(obj, role)?;
        Ok(Some(rest.unwrap_or_else(|| Frame::script(Vec::new()))))
    }

    /// Notes something that is no object of its own in the bytes, or is written on the spot: from `start` to here.
    #[inline]
    pub(crate) fn trace_leaf(&mut self, start: usize, describe: impl FnOnce() -> (String, String)) {
        let position = self.writer.position();
        if position > start
            && let Some(holder) = self.trace.as_mut().and_then(|trace| trace.open.last_mut())
        {
            let (label, type_name) = describe();
            let size = position - start;
            holder.add(Part { label: Some(label), type_name, how: "data", start, size, ..Part::default() });
        }
    }

    /// How an object goes, and why.
    fn describe_part(&self, obj: &Bound<'py, PyAny>) -> PyResult<Part> {
        let is_class = obj.is_instance_of::<PyType>();
        let is_module = obj.is_instance_of::<PyModule>();
        let is_function = obj.get_type().is(&self.known.function);
        let type_name = match () {
            () if is_class => format!("class {}", plain_name(obj)),
            () if is_module => format!("module {}", plain_name(obj)),
            () if is_function => format!("function {}", plain_name(obj)),
            () => type_name(obj),
        };
        let (how, why) = if self.memo.get(obj).is_some() {
            ("shared", "is in the bytes already".to_owned())
        } else if is_module {
            let name = plain_name(obj);
            match self.modules.contains(&name)? && !self.options.is_by_value(&name) {
                true => ("reference", "the receiver imports it".to_owned()),
                false => ("value", "made at run time, or registered to go by value".to_owned()),
            }
        } else if is_class || is_function {
            match self.reference(obj)? {
                Some(found) => ("reference", format!("the receiver imports {}.{}", found.module, found.name)),
                None if is_class && (self.name_in_types(obj).is_some() || self.alias(obj)?.is_some()) => {
                    ("reference", "the receiver imports it under another name".to_owned())
                }
                None => ("value", self.why_by_value(obj)?),
            }
        } else {
            ("data", String::new())
        };
        Ok(Part { type_name, how, why, ..Part::default() })
    }

    fn why_by_value(&self, obj: &Bound<'py, PyAny>) -> PyResult<String> {
        let name = plain_name(obj);
        let module =
            obj.getattr_opt(intern!(self.py, "__module__"))?.and_then(|module| module.extract::<String>().ok());
        let Some(module) = module else { return Ok("it names no module".to_owned()) };
        Ok(if module == "__main__" {
            "__main__ is another module at the receiver".to_owned()
        } else if self.options.is_by_value(&module) {
            format!("{module} is registered to go by value")
        } else if name.contains("<lambda>") {
            "a lambda has no name to import".to_owned()
        } else if name.contains("<locals>") {
            "it was made inside a function".to_owned()
        } else if !self.modules.contains(&module)? {
            format!("{module} is not imported here")
        } else {
            format!("{module}.{name} is something else, or nothing")
        })
    }
}

/// `__qualname__` or `__name__`, for messages.
fn plain_name(obj: &Bound<'_, PyAny>) -> String {
    let named = |attribute: &str| obj.getattr_opt(attribute).ok().flatten()?.cast_into::<PyString>().ok();
    match named("__qualname__").or_else(|| named("__name__")) {
        Some(name) => name.to_string_lossy().into_owned(),
        None => "?".to_owned(),
    }
}
