//! What the pickle of a function begins with, nearly always the same: made once, then copied.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::code::{Kind, Template};
use crate::memo::Memo;
use crate::opcodes as op;
use crate::options::Options;
use crate::save::Saver;

/// The bytes from `FunctionType` to `CodeType`, with the stamp between them, and what the memo knows then.
struct Opening {
    bytes: Vec<u8>,
    memo: Memo,
    literals: Vec<(&'static str, &'static str, u32)>,
}

impl Opening {
    fn of(py: Python<'_>, has_closure: bool) -> PyResult<Self> {
        let mut saver = Saver::new(py, Options::new(None)?, Memo::default())?;
        saver.function_maker(has_closure)?;
        saver.stamp()?;
        saver.code_maker()?;
        let bytes = saver.writer.body().to_vec();
        Ok(Self { bytes, memo: std::mem::take(&mut saver.memo), literals: std::mem::take(&mut saver.literals) })
    }
}

static OPENINGS: PyOnceLock<[Opening; 2]> = PyOnceLock::new();

impl Saver<'_> {
    /// Begins a function: leaves `FunctionType` on the pickle's stack and, where there is a closure, a mark.
    pub(crate) fn begin_function(&mut self, template: &Template, has_closure: bool) -> PyResult<()> {
        let is_first = self.memo.is_empty() && self.writer.is_empty() && self.options.protocol >= 4;
        let is_made = template.pieces.first().is_some_and(|piece| piece.kind == Kind::Maker);
        if !is_first || !is_made || self.trace.is_some() {
            return self.function_maker(has_closure);
        }
        let py = self.py;
        let openings =
            OPENINGS.get_or_try_init(py, || Ok::<_, PyErr>([Opening::of(py, false)?, Opening::of(py, true)?]))?;
        let opening = &openings[usize::from(has_closure)];
        self.writer.prefer_bare();
        self.writer.bytes(&opening.bytes);
        self.memo.adopt_texts(&opening.memo);
        self.literals.extend_from_slice(&opening.literals);
        self.code_maker_written = true;
        Ok(())
    }

    fn function_maker(&mut self, has_closure: bool) -> PyResult<()> {
        self.standard("types", "FunctionType")?;
        if has_closure {
            self.writer.byte(op::MARK);
        }
        Ok(())
    }

    /// Leaves `CodeType` on the pickle's stack, if it is not there already.
    pub(crate) fn code_maker(&mut self) -> PyResult<()> {
        if std::mem::take(&mut self.code_maker_written) {
            return Ok(());
        }
        self.standard("types", "CodeType")
    }
}
