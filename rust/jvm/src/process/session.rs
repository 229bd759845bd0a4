//! One operator's functions in one worker process. All waiting is done on the task's own thread.

use std::{
    os::fd::AsFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rudf_segment::{
    control::{ControlError, Kind, Message},
    layout::{Column, ColumnDescriptor, Form, header_bytes, read_results},
    link::{Borrowed, Incoming, LinkError},
    memory::Segment,
    message::{SessionMessage, SessionSpec},
    shared::{file_of_bytes, text_of_file},
};
use rustix::io::Errno;

use super::{
    Workers, lock,
    worker::{Event, Worker},
};
use crate::{
    error::NativeError,
    host::{ResultBatch, WorkerSession},
};

/// Most result segments of one worker that are mapped at once: far more than batches can be under way.
pub(super) const MOST_RESULTS: usize = 1024;

/// How long to wait at a time while a session is opened.
const OPENING: Duration = Duration::from_millis(100);

/// A session whose functions run in a process of their own.
pub(super) struct ProcessSession {
    workers: Arc<Workers>,
    /// None once the worker is given back or gone.
    worker: Option<Worker>,
    number: u64,
    /// Names of the functions, for messages.
    names: String,
    forms: Vec<Form>,
    /// How long one batch may take.
    limit: Option<Duration>,
    /// Whether the functions take an iterator of batches and give one.
    stream: bool,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Messages that are answered, and of them those with a batch.
    sent: u64,
    batches: u64,
    answered: u64,
    /// Since when the worker has been at its oldest unanswered batch.
    since: Instant,
    /// A function has failed, so there will be no more results.
    failed: bool,
    /// The worker is dead, or is about to be.
    lost: bool,
    /// The worker has been asked what it has to tell, and has not answered yet.
    finishing: bool,
    /// The functions of a stream are at their end.
    ended: bool,
}

impl ProcessSession {
    /// Opens a session and waits until its functions are unpickled.
    pub(super) fn open(workers: &Arc<Workers>, message: &[u8]) -> Result<Self, NativeError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let spec = SessionMessage::decode(message).map_err(|error| NativeError::Internal(error.to_string()))?.spec;
        let forms = forms(&spec)?;
        let limit = Some(spec.timeout_seconds).filter(|seconds| *seconds > 0.0);
        let file = file_of_bytes(message).map_err(|error| NativeError::Environment(error.to_string()))?;
        let session = Self {
            workers: Arc::clone(workers),
            worker: Some(workers.take()?),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            names: names(&spec),
            forms,
            stream: !spec.stream.is_null(),
            limit: limit.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            progress: Mutex::new(Progress {
                sent: 0,
                batches: 0,
                answered: 0,
                since: Instant::now(),
                failed: true,
                lost: false,
                finishing: false,
                ended: false,
            }),
        };
        let open = Message { length: message.len() as u64, ..Message::new(Kind::Open, session.number) };
        let worker = session.worker()?;
        worker.link.send(open, &[file.as_fd()]).or_else(|error| session.unsent(worker, error))?;
        session.await_opened(worker)?;
        lock(&session.progress).failed = false;
        Ok(session)
    }

    fn await_opened(&self, worker: &Worker) -> Result<(), NativeError> {
        loop {
            match worker.wait(OPENING).map_err(|error| self.broken(worker, &error))? {
                Event::Nothing => {}
                Event::Died => return Err(self.died(worker, "while its functions were loaded")),
                Event::Message(incoming) if incoming.message.session != self.number => {
                    return Err(self.broken(worker, &"an answer to another session"));
                }
                Event::Message(incoming) => {
                    return match incoming.message.kind {
                        Kind::Opened => Ok(()),
                        Kind::Failed => Err(self.failure(worker, incoming)),
                        other => Err(self.broken(worker, &format!("{other:?} is no answer to Open"))),
                    };
                }
            }
        }
    }

    fn worker(&self) -> Result<&Worker, NativeError> {
        self.worker.as_ref().ok_or_else(|| NativeError::Internal("this session has ended".to_owned()))
    }

    /// What a worker says went wrong. It stays usable.
    fn failure(&self, worker: &Worker, incoming: Incoming) -> NativeError {
        let code = incoming.message.code;
        self.text(worker, incoming).map_or_else(|broken| broken, |text| NativeError::of_code(code, text))
    }

    /// The text of a message, which may lie in a file.
    fn text(&self, worker: &Worker, incoming: Incoming) -> Result<String, NativeError> {
        let Incoming { message, descriptors, .. } = incoming;
        match descriptors.into_iter().next() {
            None => Ok(message.text()),
            Some(file) => text_of_file(file, message.length).map_err(|error| self.broken(worker, &error)),
        }
    }

    fn receive_finished(&self, worker: &Worker, timeout: Duration) -> Result<Option<String>, NativeError> {
        match worker.wait(timeout).map_err(|error| self.broken(worker, &error))? {
            Event::Nothing => Ok(None),
            Event::Died => Err(self.died(worker, "at the end of the partition")),
            Event::Message(incoming) => {
                let Message { kind, session, .. } = incoming.message;
                match kind {
                    Kind::Finished if session == self.number => {
                        lock(&self.progress).finishing = false;
                        self.text(worker, incoming).map(Some)
                    }
                    Kind::Failed if session == self.number => {
                        lock(&self.progress).finishing = false;
                        Err(self.failure(worker, incoming))
                    }
                    other => Err(self.broken(worker, &format!("{other:?} is no answer to Finish"))),
                }
            }
        }
    }

    /// A worker that does not keep the protocol is ended: nothing that it says can be relied on.
    fn broken(&self, worker: &Worker, error: &dyn std::fmt::Display) -> NativeError {
        self.lose(worker);
        NativeError::Internal(format!(
            "the Python worker of {} (process {}) broke the protocol and was ended: {error}",
            self.names,
            worker.process()
        ))
    }

    fn died(&self, worker: &Worker, when: &str) -> NativeError {
        let obituary = worker.obituary();
        self.lose(worker);
        NativeError::Crashed(format!(
            "the Python worker of {} (process {}) died {when}: it {obituary}",
            self.names,
            worker.process()
        ))
    }

    /// Ends the worker: it is not used again.
    fn lose(&self, worker: &Worker) {
        lock(&self.progress).lost = true;
        worker.kill();
    }

    /// A message could not be sent: where the worker is gone, `take` tells how.
    fn unsent(&self, worker: &Worker, error: LinkError) -> Result<(), NativeError> {
        match error {
            LinkError::Control(ControlError::Socket(Errno::PIPE | Errno::CONNRESET)) => Ok(()),
            other => Err(self.broken(worker, &other)),
        }
    }

    fn receive(&self, worker: &Worker, timeout: Duration) -> Result<Option<Box<dyn ResultBatch>>, NativeError> {
        let event = worker.wait(timeout).map_err(|error| self.broken(worker, &error))?;
        let batch = lock(&self.progress).answered;
        match event {
            Event::Nothing => Ok(None),
            Event::Died => Err(self.died(worker, &format!("in batch {batch} of the partition"))),
            Event::Message(incoming) => {
                let Message { kind, session, sequence, .. } = incoming.message;
                if session != self.number || sequence != batch {
                    return Err(self.broken(worker, &format!("{kind:?} to session {session}, batch {sequence}")));
                }
                match (kind, incoming.segment) {
                    (Kind::Result, Some(segment)) => {
                        let result = ProcessResult::new(segment, &self.forms, incoming.message.code);
                        let result = result.map_err(|error| self.broken(worker, &error))?;
                        self.answered(worker, result.taken)?;
                        Ok(Some(Box::new(result)))
                    }
                    (Kind::Waiting, None) if self.stream => {
                        self.answered(worker, incoming.message.code)?;
                        Ok(Some(Box::new(NoResult { taken: incoming.message.code })))
                    }
                    (Kind::Failed, segment) => Err(self.failure(worker, Incoming { segment, ..incoming })),
                    (other, _) => Err(self.broken(worker, &format!("{other:?} is no answer to Batch"))),
                }
            }
        }
    }

    /// Notes an answer. Nothing that a worker says of batches may go beyond those that there are.
    fn answered(&self, worker: &Worker, taken: u32) -> Result<(), NativeError> {
        let mut progress = lock(&self.progress);
        progress.answered += 1;
        progress.since = Instant::now();
        progress.ended = taken & 1 == 1;
        let more = u64::from(taken >> 1) > progress.batches;
        drop(progress);
        if more {
            Err(self.broken(worker, &format!("it says that it has begun {} batches", taken >> 1)))
        } else {
            Ok(())
        }
    }

    /// What is left of the time that the oldest batch may take; none where there is no limit.
    fn left(&self) -> Option<Duration> {
        let progress = lock(&self.progress);
        self.limit
            .filter(|_| progress.sent > progress.answered)
            .map(|limit| limit.saturating_sub(progress.since.elapsed()))
    }

    fn overdue(&self, worker: &Worker) -> NativeError {
        let stack = worker.dump();
        self.lose(worker);
        let batch = lock(&self.progress).answered;
        let limit = self.limit.unwrap_or_default().as_secs_f64();
        NativeError::Crashed(format!(
            "{} ran for longer than {limit} s on batch {batch} of the partition (spark.rudf.timeout), and its worker was \
             ended; Python was here:\n{stack}",
            self.names
        ))
    }
}

fn names(spec: &SessionSpec) -> String {
    spec.functions.iter().map(|function| format!("`{}`", function.name)).collect::<Vec<_>>().join(", ")
}

fn forms(spec: &SessionSpec) -> Result<Vec<Form>, NativeError> {
    let form = |function: &rudf_segment::message::FunctionSpec| {
        Form::of(&function.result_type).ok_or_else(|| {
            NativeError::Internal(format!(
                "`{}` returns {}, which batches do not hold",
                function.name, function.result_type
            ))
        })
    };
    spec.functions.iter().map(form).collect()
}

impl WorkerSession for ProcessSession {
    fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, NativeError> {
        self.worker()?.link.acquire(capacity).map_err(|error| NativeError::Internal(error.to_string()))
    }

    fn submit(&self, segment: Arc<Segment>, length: usize) -> Result<(), NativeError> {
        let worker = self.worker()?;
        let mut progress = lock(&self.progress);
        if progress.failed {
            return Ok(());
        }
        let sequence = progress.sent;
        if progress.sent == progress.answered {
            progress.since = Instant::now();
        }
        progress.sent += 1;
        progress.batches += 1;
        drop(progress);
        let batch = Message { sequence, length: length as u64, ..Message::new(Kind::Batch, self.number) };
        worker.link.lend(batch, segment).or_else(|error| self.unsent(worker, error))
    }

    fn ask(&self, end: bool) -> Result<(), NativeError> {
        let worker = self.worker()?;
        let mut progress = lock(&self.progress);
        if progress.failed {
            return Ok(());
        }
        let sequence = progress.sent;
        if progress.sent == progress.answered {
            progress.since = Instant::now();
        }
        progress.sent += 1;
        drop(progress);
        let ask = Message { sequence, code: u32::from(end), ..Message::new(Kind::Ask, self.number) };
        worker.link.send(ask, &[]).or_else(|error| self.unsent(worker, error))
    }

    fn take(&self, timeout: Duration) -> Result<Option<Box<dyn ResultBatch>>, NativeError> {
        let worker = self.worker()?;
        let left = self.left();
        let taken = self.receive(worker, left.map_or(timeout, |left| left.min(timeout)));
        let taken = match taken {
            Ok(None) if left.is_some() && self.left() == Some(Duration::ZERO) => Err(self.overdue(worker)),
            taken => taken,
        };
        if taken.is_err() {
            lock(&self.progress).failed = true;
        }
        taken
    }

    fn finish(&self, timeout: Duration) -> Result<Option<String>, NativeError> {
        let worker = self.worker()?;
        let asked = std::mem::replace(&mut lock(&self.progress).finishing, true);
        if !asked {
            let finish = Message::new(Kind::Finish, self.number);
            worker.link.send(finish, &[]).or_else(|error| self.unsent(worker, error))?;
        }
        self.receive_finished(worker, timeout)
    }

    fn interrupt(&self) {
        if let Some(worker) = &self.worker {
            self.lose(worker);
        }
    }
}

impl Drop for ProcessSession {
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else { return };
        let progress = lock(&self.progress);
        // With batches under way nobody knows what the worker is doing. After a failure it answers nothing more.
        // Nor where a stream is not at its end: its functions wait for a batch, in the middle of the user's code.
        let idle = progress.sent == progress.answered && (!self.stream || progress.ended || progress.sent == 0);
        let known = !progress.lost && !progress.finishing && (progress.failed || idle);
        drop(progress);
        if known && worker.link.send(Message::new(Kind::Close, self.number), &[]).is_ok() {
            self.workers.pool.put(worker, self.number);
        }
    }
}

/// Results in a segment of the worker's, in use until this is dropped.
struct ProcessResult {
    rows: u64,
    taken: u32,
    columns: Vec<ColumnDescriptor>,
    /// The descriptors of children, which those of their parents point to.
    _children: Vec<Vec<ColumnDescriptor>>,
    _segment: Borrowed,
}

impl ProcessResult {
    fn new(segment: Borrowed, forms: &[Form], taken: u32) -> Result<Self, rudf_segment::layout::LayoutError> {
        let header = segment.copy(header_bytes(forms.iter().map(Form::descriptors).sum()));
        let (rows, columns) = read_results(&header, segment.length(), forms)?;
        let mut children = Vec::new();
        let base = segment.base().as_ptr() as u64;
        let columns = columns.iter().map(|column| absolute(column, base, &mut children)).collect();
        Ok(Self { rows: rows as u64, taken, columns, _children: children, _segment: segment })
    }
}

/// A descriptor with addresses in place of positions. Those of its children are put into `kept`, in this process's own
/// memory, where nobody changes what has been checked.
fn absolute(column: &Column, base: u64, kept: &mut Vec<Vec<ColumnDescriptor>>) -> ColumnDescriptor {
    let children: Vec<_> = column.children.iter().map(|child| absolute(child, base, kept)).collect();
    let mut descriptor = column.descriptor;
    for position in [&mut descriptor.validity, &mut descriptor.offsets, &mut descriptor.values] {
        if *position != 0 {
            *position += base;
        }
    }
    descriptor.children = if children.is_empty() { 0 } else { children.as_ptr() as u64 };
    kept.push(children);
    descriptor
}

impl ResultBatch for ProcessResult {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn taken(&self) -> u32 {
        self.taken
    }

    fn columns(&self) -> &[ColumnDescriptor] {
        &self.columns
    }
}

/// An answer of a stream's without rows.
struct NoResult {
    taken: u32,
}

impl ResultBatch for NoResult {
    fn rows(&self) -> u64 {
        0
    }

    fn taken(&self) -> u32 {
        self.taken
    }

    fn columns(&self) -> &[ColumnDescriptor] {
        &[]
    }
}
