//! The loop of a worker process: sessions and batches come through a control socket, results go back through it.
//!
//! It runs on the main thread of a Python process of its own, so signal handlers, `threading.main_thread()` and the size
//! of the stack are what libraries expect. See `rudf_segment::control` for the protocol.

use std::{
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use arrow_data::ArrayData;
use pyo3::{exceptions::PyRuntimeError, prelude::*};
use rudf_columns::{BatchImage, BatchMemory};
use rudf_eval::{Session, SessionError, keep_batches};
use rudf_segment::{
    control::{ControlError, Kind, LONGEST_TEXT, Message},
    link::{Borrowed, Incoming, Link, LinkError},
    progress,
    shared::{ReadMapping, file_of_bytes},
    stopwatch::Stopwatch,
    worker::FailureKind,
};
use rustix::{
    io::Errno,
    net::RecvFlags,
    process::{Pid, getpid},
};

use crate::stream::{self, BatchStream};

/// A worker may be handed as many segments as it keeps: the JVM bounds those that are not kept.
const MOST_SEGMENTS: usize = usize::MAX;

/// Runs sessions until the JVM side hangs up, and notes in `report` where it is. `socket` is taken over.
#[pyfunction]
pub(crate) fn worker_main(py: Python<'_>, socket: RawFd, report: RawFd) -> PyResult<()> {
    // SAFETY: `rudf.worker.process` got this descriptor for this worker and hands it over.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: as above; `faulthandler` writes to the descriptor as long as this process lives.
    progress::report_to(unsafe { BorrowedFd::borrow_raw(report) })
        .map_err(|error| PyRuntimeError::new_err(format!("the report of this worker: {error}")))?;
    let mut worker = Worker { link: Arc::new(Link::new(socket, MOST_SEGMENTS)), open: None, process: getpid() };
    worker.serve(py).map_err(|error| PyRuntimeError::new_err(format!("the control socket of this worker: {error}")))
}

/// Notes that a function of the session takes its turn.
#[pyfunction]
pub(crate) fn note_function(index: usize) {
    progress::of_this_process().begin_function(index);
}

struct Worker {
    link: Arc<Link>,
    open: Option<Open>,
    /// This process; a copy that the user's code forked off has another number.
    process: Pid,
}

/// The session that is open.
struct Open {
    number: u64,
    /// None after a failure: further batches are not answered.
    session: Option<Session>,
    /// The functions of a stream have come to their end.
    ended: bool,
    /// How long batches take; a stream has a watch of its own.
    watch: Stopwatch,
}

impl Open {
    fn new(number: u64, session: Option<Session>) -> Self {
        Self { number, session, ended: false, watch: Stopwatch::stopped() }
    }
}

impl Worker {
    fn serve(&mut self, py: Python<'_>) -> Result<(), LinkError> {
        loop {
            let incoming = match py.detach(|| self.link.receive(RecvFlags::empty())) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Ok(()),
                Err(LinkError::Control(ControlError::Socket(Errno::INTR))) => {
                    // Python's handlers run here; what they raise has no function to go to.
                    if let Err(error) = py.check_signals() {
                        error.print(py);
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.handle(py, incoming)?;
        }
    }

    fn handle(&mut self, py: Python<'_>, incoming: Incoming) -> Result<(), LinkError> {
        let Incoming { message, segment, descriptors } = incoming;
        match message.kind {
            Kind::Batch | Kind::Ask if self.is_stream(&message) => {
                self.stream(py, Incoming { message, segment, descriptors })
            }
            Kind::Open => {
                let opened = open(py, &message, descriptors);
                let answer = match opened {
                    Ok(session) => {
                        self.open = Some(Open::new(message.session, Some(session)));
                        self.link.send(Message::new(Kind::Opened, message.session), &[])
                    }
                    Err(error) => {
                        self.open = Some(Open::new(message.session, None));
                        self.fail(&message, &error)
                    }
                };
                self.leave_if_forked(py);
                answer
            }
            Kind::Ask => Ok(()),
            Kind::Batch => match segment {
                Some(segment) => self.batch(py, &message, segment),
                None => Ok(()),
            },
            Kind::Finish => match self.finish(py) {
                Ok(text) => self.tell(Message::new(Kind::Finished, message.session), &text),
                Err(error) => self.fail(&message, &error),
            },
            Kind::Keep => match keep(&message, descriptors) {
                Ok(path) => self.tell(Message::new(Kind::Kept, message.session), &path),
                Err(error) => self.fail(&message, &error),
            },
            Kind::Close => self.close(py, message.session),
            other => {
                let error = internal(format!("a message of the kind {other:?} is not for a worker"));
                self.fail(&message, &error)
            }
        }
    }

    /// Ends the session, and says whether another can follow.
    fn close(&mut self, py: Python<'_>, session: u64) -> Result<(), LinkError> {
        self.open = None;
        let state =
            py.import("rudf.worker.process").and_then(|module| module.call_method0("after_session")?.extract::<u32>());
        let code = state.unwrap_or_else(|error| {
            error.print(py);
            u32::MAX
        });
        self.leave_if_forked(py);
        self.link.send(Message { code, ..Message::new(Kind::Closed, session) }, &[])
    }

    fn batch(&mut self, py: Python<'_>, message: &Message, segment: Borrowed) -> Result<(), LinkError> {
        let Some(open) = self.open.as_mut().filter(|open| open.number == message.session) else { return Ok(()) };
        let Some(session) = open.session.as_mut() else { return Ok(()) };
        open.watch.start();
        let evaluated = catch_unwind(AssertUnwindSafe(|| session.evaluate(py, stream::batch_in(Arc::new(segment)))))
            .unwrap_or_else(|panic| Err(internal(format!("defect in rudf's native module: {}", text_of(&*panic)))));
        self.leave_if_forked(py);
        let sent = match evaluated {
            Ok(arrays) => BatchImage::plan(&arrays, arrays.first().map_or(0, ArrayData::len))
                .map_err(|error| internal(error.to_string()))
                .and_then(|image| {
                    self.link.acquire(image.length()).map(|s| (image, s)).map_err(|e| internal(e.to_string()))
                })
                .map(|(image, segment)| {
                    // SAFETY: the segment is at least that long, and nothing refers to it yet.
                    unsafe { image.write(segment.base()) };
                    let answer = Message {
                        sequence: message.sequence,
                        length: image.length() as u64,
                        spent: self.open.as_mut().map_or(0, |open| open.watch.stop()),
                        ..Message::new(Kind::Result, message.session)
                    };
                    self.link.lend(answer, segment)
                }),
            Err(error) => Err(error),
        };
        match sent {
            Ok(sent) => sent,
            Err(error) => {
                open_failed(&mut self.open);
                self.fail(message, &error)
            }
        }
    }

    fn is_stream(&self, message: &Message) -> bool {
        let open = self.open.as_ref().filter(|open| open.number == message.session);
        open.and_then(|open| open.session.as_ref()).is_some_and(Session::is_stream)
    }

    /// Runs a stream from its first message to the end of its functions. What comes afterwards is told that there is no more.
    fn stream(&mut self, py: Python<'_>, first: Incoming) -> Result<(), LinkError> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        let Some(session) = open.session.as_ref() else { return Ok(()) };
        if open.ended {
            return stream::answer_ended(&self.link, &first.message);
        }
        let number = open.number;
        let cause = Message { sequence: first.message.sequence, ..Message::new(first.message.kind, number) };
        let stream = session.reader(py).and_then(|reader| {
            Py::new(py, BatchStream::new(Arc::clone(&self.link), number, reader, first, session.keeps()))
                .map_err(|error| internal(error.to_string()))
        });
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => {
                open_failed(&mut self.open);
                return self.fail(&cause, &error);
            }
        };
        let ran = catch_unwind(AssertUnwindSafe(|| session.run_stream(py, stream.bind(py).as_any())))
            .unwrap_or_else(|panic| Err(internal(format!("defect in rudf's native module: {}", text_of(&*panic)))));
        open.ended = true;
        leave_if_not(py, self.process);
        let stream = stream.get();
        let ran = ran.map_err(|error| {
            let (last, first) = stream.take_last(py);
            session.keep_last(error, &last, first)
        });
        match ran {
            Ok(()) if stream.is_closed(py) => {}
            Ok(()) => stream.end()?,
            Err(error) => {
                open_failed(&mut self.open);
                if let Some(sequence) = stream.await_request(py) {
                    self.fail(&Message { sequence, ..Message::new(Kind::Ask, number) }, &error)?;
                }
            }
        }
        if stream.is_closed(py) { self.close(py, number) } else { Ok(()) }
    }

    /// Tells of a failure.
    fn fail(&self, cause: &Message, error: &SessionError) -> Result<(), LinkError> {
        let mut answer = Message::new(Kind::Failed, cause.session);
        answer.sequence = cause.sequence;
        answer.code = error.kind as u32;
        self.tell(answer, &error.text)
    }

    /// Sends a message with a text; one that is too long for a message goes in a file of its own.
    fn tell(&self, mut message: Message, text: &str) -> Result<(), LinkError> {
        if text.len() > LONGEST_TEXT
            && let Ok(file) = file_of_bytes(text.as_bytes())
        {
            message.length = text.len() as u64;
            return self.link.send(message, &[file.as_fd()]);
        }
        self.link.send(message.with_text(text), &[])
    }

    /// Where the user's code forked and the copy came back from the function: it must not answer in the worker's name.
    fn leave_if_forked(&self, py: Python<'_>) {
        leave_if_not(py, self.process);
    }

    /// What a session tells at its end.
    fn finish(&self, py: Python<'_>) -> Result<String, SessionError> {
        let finished =
            py.import("rudf.worker.services").and_then(|services| services.call_method0("finish")?.extract());
        self.leave_if_forked(py);
        finished.map_err(|error: PyErr| SessionError {
            kind: FailureKind::Python,
            text: format!("the updates of accumulators cannot be sent: {error}\n"),
        })
    }
}

fn open_failed(open: &mut Option<Open>) {
    if let Some(open) = open {
        open.session = None;
    }
}

fn open(py: Python<'_>, message: &Message, descriptors: Vec<OwnedFd>) -> Result<Session, SessionError> {
    let file = descriptors.into_iter().next().ok_or_else(|| internal("a session without its message".to_owned()))?;
    let mapping = ReadMapping::new(file, message.length).map_err(|error| internal(error.to_string()))?;
    let bytes = mapping.copy(usize::try_from(message.length).unwrap_or(usize::MAX));
    drop(mapping);
    catch_unwind(AssertUnwindSafe(|| Session::open(py, &bytes)))
        .unwrap_or_else(|panic| Err(internal(format!("defect in rudf's native module: {}", text_of(&*panic)))))
}

/// Keeps batches of a session whose worker is gone.
fn keep(message: &Message, descriptors: Vec<OwnedFd>) -> Result<String, SessionError> {
    let refuse = |error: &dyn std::fmt::Display| internal(error.to_string());
    let text = message.text();
    let (lengths, failure) = text.split_once(' ').ok_or_else(|| refuse(&"no lengths"))?;
    let parsed = lengths.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
    let lengths = parsed.map_err(|error| refuse(&error))?;
    if lengths.len() < 2 || lengths.len() != descriptors.len() {
        return Err(refuse(&"batches to keep without their files"));
    }
    let mut files = lengths.into_iter().zip(descriptors).map(|(length, file)| {
        let mapping = ReadMapping::new(file, length).map_err(|error| refuse(&error))?;
        Ok((usize::try_from(length).map_err(|error| refuse(&error))?, mapping))
    });
    let (length, session) = files.next().unwrap_or_else(|| Err(refuse(&"no session")))?;
    let session = session.copy(length);
    let batches = files.map(|file| {
        let (length, mapping) = file?;
        // SAFETY: the mapping stays with its owner, is at least that long, and the JVM does not write to it.
        Ok(unsafe { BatchMemory::new(mapping.base(), length, Arc::new(mapping)) })
    });
    let batches = batches.collect::<Result<Vec<_>, SessionError>>()?;
    keep_batches(&session, &batches, usize::try_from(message.sequence).unwrap_or(usize::MAX), failure)
}

fn leave_if_not(py: Python<'_>, process: Pid) {
    if getpid() != process {
        leave(py);
    }
}

/// Ends this process, which is a copy of a worker.
pub(crate) fn leave(py: Python<'_>) -> ! {
    let _it_does_not_return = py.import("os").and_then(|os| os.call_method1("_exit", (0,)));
    std::process::abort()
}

fn internal(text: String) -> SessionError {
    SessionError { kind: FailureKind::Internal, text }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    crate::embedded::panic_text(panic)
}
