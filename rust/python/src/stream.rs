//! The batches of a stream, from inside the functions that take them: an iterator that receives, and a way to send.
//!
//! The functions run on the main thread and wait here for the next batch, with their frames on the stack. They may hand the
//! iterator to threads of their own.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use pyo3::{
    exceptions::{PyGeneratorExit, PyRuntimeError, PySystemExit},
    prelude::*,
    sync::MutexExt,
    types::PyList,
};
use rudf_columns::{BatchImage, BatchMemory};
use rudf_eval::{bridge, stream::BatchReader};
use rudf_segment::{
    control::{ControlError, Kind, Message, taken},
    link::{Borrowed, Incoming, Link, LinkError},
    message::KEPT_OF_STREAM,
    progress,
    stopwatch::Stopwatch,
};
use rustix::{
    io::Errno,
    net::RecvFlags,
    process::{Pid, getpid},
};

use crate::worker::leave;

/// Answers what comes after the functions' end.
pub(crate) fn answer_ended(link: &Link, asked: &Message) -> Result<(), LinkError> {
    let answer =
        Message { sequence: asked.sequence, code: taken(0, true), ..Message::new(Kind::Waiting, asked.session) };
    link.send(answer, &[])
}

#[pyclass(frozen)]
pub(crate) struct BatchStream {
    link: Arc<Link>,
    /// The worker; a copy that the user's code forked off has another number.
    process: Pid,
    session: u64,
    /// Batches that the functions have begun. Read without the lock, which a thread of theirs may hold as it waits.
    taken: AtomicU32,
    state: Mutex<State>,
}

struct State {
    reader: BatchReader,
    /// Messages that have not been answered.
    requests: VecDeque<u64>,
    /// Batches that have not been taken.
    batches: VecDeque<Borrowed>,
    /// The last batches that have been taken, where they may have to be kept.
    last: Option<VecDeque<Arc<Borrowed>>>,
    /// There are no more batches.
    exhausted: bool,
    /// Why nobody wants results any more, if so.
    over: Option<Over>,
    /// Runs while the functions do, and stands while they wait for what the JVM side sends.
    watch: Stopwatch,
}

/// Why a stream is over before its functions are at their end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The session is closed: the functions' frames are left, and the process goes on.
    Closed,
    /// The JVM side is gone, and so this process is at its end.
    Gone,
}

impl Over {
    /// What functions get that ask for more. Not an `Exception`, which they might take for one of their own.
    fn error(self) -> PyErr {
        match self {
            Self::Closed => PyGeneratorExit::new_err("nobody wants the results any more"),
            Self::Gone => PySystemExit::new_err(0),
        }
    }
}

impl BatchStream {
    pub(crate) fn new(link: Arc<Link>, session: u64, reader: BatchReader, first: Incoming, keeps: bool) -> Self {
        let mut state = State {
            reader,
            requests: VecDeque::new(),
            batches: VecDeque::new(),
            last: keeps.then(VecDeque::new),
            exhausted: false,
            over: None,
            watch: Stopwatch::started(),
        };
        state.note(first);
        Self { link, process: getpid(), session, taken: AtomicU32::new(0), state: Mutex::new(state) }
    }

    fn state(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        if getpid() != self.process {
            // A copy must not take batches or answer in the worker's name.
            leave(py);
        }
        // The interpreter's lock is given up meanwhile: the thread that has this one may want it.
        self.state.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, state: &mut State, sequence: u64, ended: bool) -> Result<(), LinkError> {
        let (code, spent) = (taken(self.taken.load(Ordering::Relaxed), ended), state.watch.lap());
        self.link.send(Message { sequence, code, spent, ..Message::new(Kind::Waiting, self.session) }, &[])
    }

    /// Waits for a message and notes what it brings.
    fn receive(&self, py: Python<'_>, state: &mut State) -> PyResult<()> {
        state.watch.pause();
        let received = self.receive_next(py, state);
        state.watch.start();
        received
    }

    fn receive_next(&self, py: Python<'_>, state: &mut State) -> PyResult<()> {
        loop {
            if let Some(over) = state.over {
                return Err(over.error());
            }
            match py.detach(|| self.link.receive(RecvFlags::empty())) {
                Ok(Some(incoming)) if matches!(incoming.message.kind, Kind::Batch | Kind::Ask) => {
                    state.note(incoming);
                    return Ok(());
                }
                Err(LinkError::Control(ControlError::Socket(Errno::INTR))) => py.check_signals()?,
                Ok(Some(Incoming { message, .. }))
                    if message.kind == Kind::Close && message.session == self.session =>
                {
                    state.over = Some(Over::Closed);
                }
                Ok(_) | Err(_) => state.over = Some(Over::Gone),
            }
        }
    }

    /// The last batches that have been taken, where they may have to be kept, and the number of the first.
    pub(crate) fn take_last(&self, py: Python<'_>) -> (Vec<BatchMemory>, usize) {
        let last = self.state(py).last.take().unwrap_or_default();
        let last: Vec<_> = last.into_iter().map(batch_in).collect();
        let first = (self.taken.load(Ordering::Relaxed) as usize).saturating_sub(last.len());
        (last, first)
    }

    /// Whether the session has been closed before the functions' end.
    pub(crate) fn is_closed(&self, py: Python<'_>) -> bool {
        self.state(py).over == Some(Over::Closed)
    }

    /// The oldest message that has not been answered, waited for; none where nobody wants an answer.
    pub(crate) fn await_request(&self, py: Python<'_>) -> Option<u64> {
        let mut state = self.state(py);
        while state.requests.is_empty() && state.over.is_none() {
            let _over_or_interrupted = self.receive(py, &mut state);
        }
        if state.over.is_none() { state.requests.pop_front() } else { None }
    }

    /// Answers everything that has been asked: the functions are at their end.
    pub(crate) fn end(&self) -> Result<(), LinkError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(sequence) = state.requests.pop_front() {
            self.answer(&mut state, sequence, true)?;
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

/// The batch in a segment.
pub(crate) fn batch_in(segment: Arc<Borrowed>) -> BatchMemory {
    let (base, length) = (segment.base(), segment.length());
    // SAFETY: the segment stays mapped and in use until its last owner is dropped, and the JVM does not write to it before
    // it has been told so.
    unsafe { BatchMemory::new(base, length, segment) }
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
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                progress::of_this_process().begin_batch(number as usize);
                let segment = Arc::new(segment);
                if let Some(last) = &mut state.last {
                    if last.len() == KEPT_OF_STREAM {
                        last.pop_front();
                    }
                    last.push_back(Arc::clone(&segment));
                }
                return state.reader.read(py, batch_in(segment)).map(Some);
            }
            if state.exhausted {
                return Ok(None);
            }
            while let Some(sequence) = state.requests.pop_front() {
                self.answer(&mut state, sequence, false).map_err(|error| failed(&error))?;
            }
            self.receive(py, &mut state)?;
        }
    }

    /// How many batches have been taken.
    #[getter]
    fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
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
            code: taken(self.taken.load(Ordering::Relaxed), false),
            spent: state.watch.lap(),
            ..Message::new(Kind::Result, self.session)
        };
        self.link.lend(answer, segment).map_err(|error| failed(&error))
    }
}
