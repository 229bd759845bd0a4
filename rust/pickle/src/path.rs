//! Where in the pickled object the pickler is: the way from the object to what cannot be pickled.

use pyo3::{prelude::*, types::PyString};

/// One step down.
#[derive(Debug)]
pub(crate) enum Step<'py> {
    /// A variable that a function closes over.
    Closure(String),
    /// A global that a function names.
    Global(String),
    /// A part of a function, such as its defaults.
    Part(&'static str),
    /// An element of a list, tuple or set.
    Index(usize),
    /// The value of a dictionary's key.
    Item(Bound<'py, PyAny>),
    /// A key of a dictionary.
    Key,
    /// An attribute of an object.
    Attribute(Bound<'py, PyAny>),
    /// An argument of an object's constructor.
    Argument(usize),
}

/// The steps from the object to where the pickler is.
#[derive(Debug, Default)]
pub(crate) struct Path<'py> {
    pub steps: Vec<Step<'py>>,
}

/// A path is cut in the middle where it is longer.
const SHOWN_STEPS: usize = 24;
/// A key's text is cut where it is longer.
const SHOWN_CHARACTERS: usize = 40;

impl Path<'_> {
    /// The path as a reader writes it: `score → closure 'cfg' → ['db'] → .pool → [1]`.
    pub(crate) fn describe(&self, root: &str) -> String {
        let mut text = root.to_owned();
        let omitted = self.steps.len().saturating_sub(SHOWN_STEPS);
        for (index, step) in self.steps.iter().enumerate() {
            if omitted > 0 && index == SHOWN_STEPS / 2 {
                text.push_str(&format!(" → … {omitted} more …"));
            }
            if omitted == 0 || index < SHOWN_STEPS / 2 || index >= SHOWN_STEPS / 2 + omitted {
                text.push_str(" → ");
                text.push_str(&step.describe());
            }
        }
        text
    }
}

impl Step<'_> {
    fn describe(&self) -> String {
        match self {
            Self::Closure(name) => format!("closure '{name}'"),
            Self::Global(name) => format!("global '{name}'"),
            Self::Part(part) => (*part).to_owned(),
            Self::Index(index) => format!("[{index}]"),
            Self::Item(key) => format!("[{}]", shortened(key)),
            Self::Key => "a key".to_owned(),
            Self::Attribute(name) => match name.cast::<PyString>() {
                Ok(name) => format!(".{name}"),
                Err(_) => format!("[{}]", shortened(name)),
            },
            Self::Argument(index) => format!("argument {index}"),
        }
    }
}

fn shortened(key: &Bound<'_, PyAny>) -> String {
    let text = key.repr().map_or_else(|_| "?".to_owned(), |repr| repr.to_string());
    if text.chars().count() <= SHOWN_CHARACTERS {
        return text;
    }
    text.chars().take(SHOWN_CHARACTERS).chain(['…']).collect()
}
