//! The batches of a stream, from inside the functions that take them: an iterator that receives, and a way to send.
//!
//! The functions run on the main thread and wait here for the next batch, with their frames on the stack. They may hand the
//! iterator to threads of their own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyo3::{
    exceptions::{PyRuntimeError, PySystemExit},
    prelude::*,
    sync::MutexExt,
    types::PyList,
};
use rudf_columns::{BatchImage, BatchMemory};
use rudf_eval::{bridge, stream::BatchReader};
use rudf_segment::{
    control::{ControlError, Kind, Message, taken},
    link::{Borrowed, Incoming, Link, LinkError},
};
use rustix::{io::Errno, net::RecvFlags};

/// Answers what comes after the functions' end.
pub(crate) fn answer_ended(link: &Link, asked: &Message) -> Result<(), LinkError> {
    let answer =
        Message { sequence: asked.sequence, code: taken(0, true), ..Message::new(Kind::Waiting, asked.session) };
    link.send(answer, &[])
}

#[pyclass(frozen)]
pub(crate) struct BatchStream {
    link: Arc<Link>,
    session: u64,
    state: Mutex<State>,
}

struct State {
    reader: BatchReader,
    /// Messages that have not been answered.
    requests: VecDeque<u64>,
    /// Batches that have not been taken.
    batches: VecDeque<Borrowed>,
    taken: u32,
    /// There are no more batches.
    exhausted: bool,
    /// The JVM side is gone.
    gone: bool,
}

impl BatchStream {
    pub(crate) fn new(link: Arc<Link>, session: u64, reader: BatchReader, first: Incoming) -> Self {
        let mut state = State {
            reader,
            requests: VecDeque::new(),
            batches: VecDeque::new(),
            taken: 0,
            exhausted: false,
            gone: false,
        };
        state.note(first);
        Self { link, session, state: Mutex::new(state) }
    }

    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        // The interpreter's lock is given up meanwhile: the thread that has this one may want it.
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, state: &State, sequence: u64, ended: bool) -> Result<(), LinkError> {
        let code = taken(state.taken, ended);
        self.link.send(Message { sequence, code, ..Message::new(Kind::Waiting, self.session) }, &[])
    }

    /// Waits for a message and notes what it brings.
    fn receive(&self, py: Python<'_>, state: &mut State) -> PyResult<()> {
        loop {
            match py.detach(|| self.link.receive(RecvFlags::empty())) {
                Ok(Some(incoming)) if matches!(incoming.message.kind, Kind::Batch | Kind::Ask) => {
                    state.note(incoming);
                    return Ok(());
                }
                Err(LinkError::Control(ControlError::Socket(Errno::INTR))) => py.check_signals()?,
                // Nobody wants the results any more, so this process is at its end.
                Ok(_) | Err(_) => {
                    state.gone = true;
                    return Err(PySystemExit::new_err(0));
                }
            }
        }
    }

    /// The oldest message that has not been answered, waited for; none where the JVM side is gone.
    pub(crate) fn await_request(&self, py: Python<'_>) -> Result<Option<u64>, LinkError> {
        let mut state = self.state(py);
        while state.requests.is_empty() && !state.gone {
            let _gone_or_interrupted = self.receive(py, &mut state);
        }
        Ok(state.requests.pop_front())
    }

    /// Answers everything that has been asked: the functions are at their end.
    pub(crate) fn end(&self) -> Result<(), LinkError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sequence) = state.requests.pop_front() {
            self.answer(&state, sequence, true)?;
        }
        Ok(())
    }
}

impl State {
    fn note(&mut self, incoming: Incoming) {
        self.requests.push_back(incoming.message.sequence);
        self.batches.extend(incoming.segment);
        self.exhausted |= incoming.message.kind == Kind::Ask && incoming.message.code == 1;
    }
}

fn failed(error: &dyn std::fmt::Display) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

#[pymethods]
impl BatchStream {
    /// The columns of the next batch with its number of rows, or None where there is none.
    fn next_batch<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyList>, usize)>> {
        let mut state = self.state(py);
        loop {
            if let Some(segment) = state.batches.pop_front() {
                state.taken += 1;
                let (base, length) = (segment.base(), segment.length());
                // SAFETY: the segment stays mapped and in use until its last owner is dropped, and the JVM does not write
                // to it before it has been told so.
                let memory = unsafe { BatchMemory::new(base, length, Arc::new(segment)) };
                return state.reader.read(py, memory).map(Some);
            }
            if state.exhausted {
                return Ok(None);
            }
            while let Some(sequence) = state.requests.pop_front() {
                self.answer(&state, sequence, false).map_err(|error| failed(&error))?;
            }
            self.receive(py, &mut state)?;
        }
    }

    /// Whether the next batch is here already.
    fn has_batch(&self, py: Python<'_>) -> bool {
        !self.state(py).batches.is_empty()
    }

    /// Gives results, one pyarrow array a column, when they are asked for.
    fn send(&self, py: Python<'_>, columns: Vec<Bound<'_, PyAny>>, rows: usize) -> PyResult<()> {
        let arrays = columns.iter().map(bridge::from_pyarrow).collect::<PyResult<Vec<_>>>()?;
        let image = BatchImage::plan(&arrays, rows).map_err(|error| failed(&error))?;
        let segment = self.link.acquire(image.length()).map_err(|error| failed(&error))?;
        // SAFETY: the segment is at least that long, and nothing refers to it yet.
        unsafe { image.write(segment.base()) };
        let mut state = self.state(py);
        let sequence = loop {
            match state.requests.pop_front() {
                Some(sequence) => break sequence,
                None => self.receive(py, &mut state)?,
            }
        };
        let answer = Message {
            sequence,
            length: image.length() as u64,
            code: taken(state.taken, false),
            ..Message::new(Kind::Result, self.session)
        };
        self.link.lend(answer, segment).map_err(|error| failed(&error))
    }
}
