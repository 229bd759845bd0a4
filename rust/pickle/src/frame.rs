//! The work stack: one frame for every container or object that is being written.
//!
//! A frame remembers how far it has come. When a child needs work of its own, the child's frame is put on top; nothing
//! here calls itself, so that depth costs memory and not C stack. The frames also say, when something fails, where.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString, PyTuple};

use crate::facts::CodeFacts;

/// What a container is to its parent: decides how the path in an error message reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Data: `[3]`, `['key']`.
    Data,
    /// The state of an object: `.attribute`.
    State,
    /// The arguments of a constructor or reducer.
    Arguments,
}

/// What a child is to the function, class or object that is being written.
#[derive(Clone)]
pub(crate) enum Label<'py> {
    /// Nothing worth a place in the path.
    Silent,
    /// `closure 'x'`, `global 'x'`, ...
    Named(&'static str, Bound<'py, PyString>),
    /// `defaults`, `annotations`, ...
    Part(&'static str),
    /// `.x`
    Attribute(Bound<'py, PyString>),
}

/// How the attributes of an object are set at the receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filler {
    /// By one `BUILD`.
    Build,
    /// By calls of `type.__setattr__`.
    Calls,
}

/// One thing to do in a script.
pub(crate) enum Step<'py> {
    Save(Bound<'py, PyAny>, Role, Label<'py>),
    /// What a weak reference refers to.
    SaveWeak(Bound<'py, PyAny>),
    /// A persistent id: not asked for a persistent id of its own.
    Id(Bound<'py, PyAny>),
    /// A string of the structure, shared by value.
    Text(Bound<'py, PyString>),
    Name(&'static str),
    Op(&'static [u8]),
    Get(u32),
    /// Memoizes the top of the stack as this object; takes the earlier one where recursion has made one.
    Memoize(Bound<'py, PyAny>),
    /// Calls an importable function of the standard library: `module`, `name`.
    Global(&'static str, &'static str),
    /// The same, for names found at run time.
    Method(String, String),
    /// A function of the registry that travels along: see `tracking.rs`.
    Receiver(&'static str),
    /// Has the memo of the reader keep what is on top of the stack.
    Hold,
    /// What takes the attributes of this object at the receiver, by its key.
    Target(Bound<'py, PyString>, Bound<'py, PyAny>, Filler),
    Enter(Box<Frame<'py>>),
}

pub(crate) struct Script<'py> {
    pub(crate) steps: std::vec::IntoIter<Step<'py>>,
    pub(crate) label: Label<'py>,
    /// The code of the function that is written.
    pub(crate) code: Option<(Bound<'py, PyAny>, Arc<CodeFacts>)>,
    /// The object that is being rebuilt, unless it is a function or class.
    pub(crate) subject: Option<Bound<'py, PyAny>>,
}

pub(crate) struct DictFrame<'py> {
    pub(crate) dict: Bound<'py, PyDict>,
    pub(crate) position: isize,
    pub(crate) len: usize,
    pub(crate) in_batch: usize,
    pub(crate) single: bool,
    pub(crate) key: Option<Bound<'py, PyAny>>,
    pub(crate) value: Option<Bound<'py, PyAny>>,
    pub(crate) in_key: bool,
    pub(crate) role: Role,
}

/// The globals that one function's code names, on their way into the dictionary shared by all functions of one module.
pub(crate) struct GlobalsFrame<'py> {
    pub(crate) dict: Bound<'py, PyDict>,
    pub(crate) number: u32,
    pub(crate) facts: Arc<CodeFacts>,
    pub(crate) next: usize,
    pub(crate) open: bool,
}

/// How the collected elements of a frame are written.
pub(crate) enum Elements<'py> {
    Set,
    Frozen(Bound<'py, PyAny>),
    /// Items that a reducer yields for `append`/`extend`, with the rest of the iterator.
    Appends(Bound<'py, PyIterator>),
    /// The same for `__setitem__`: keys and values take turns.
    SetItems(Bound<'py, PyIterator>),
}

pub(crate) struct ElementsFrame<'py> {
    pub(crate) items: Vec<Bound<'py, PyAny>>,
    pub(crate) next: usize,
    pub(crate) kind: Elements<'py>,
}

pub(crate) enum Frame<'py> {
    /// The list, how many items were begun, and whether it is written as one `APPEND`.
    List(Bound<'py, PyList>, usize, bool),
    Tuple(Bound<'py, PyTuple>, usize, Role),
    Dict(Box<DictFrame<'py>>),
    Elements(Box<ElementsFrame<'py>>),
    Script(Box<Script<'py>>),
    Globals(Box<GlobalsFrame<'py>>),
}

impl<'py> Frame<'py> {
    pub(crate) fn script(steps: Vec<Step<'py>>) -> Self {
        Self::Script(Box::new(Script { steps: steps.into_iter(), label: Label::Silent, code: None, subject: None }))
    }

    pub(crate) fn script_from(steps: Vec<Step<'py>>, code: (Bound<'py, PyAny>, Arc<CodeFacts>)) -> Self {
        Self::Script(Box::new(Script {
            steps: steps.into_iter(),
            label: Label::Silent,
            code: Some(code),
            subject: None,
        }))
    }
}
