//! One operator's functions in one worker process. All waiting is done on the task's own thread.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rudf_segment::{
    control::{ControlError, Kind, LONGEST_TEXT, Message},
    layout::{Column, ColumnDescriptor, Form, header_bytes, read_results},
    link::{Borrowed, Incoming, LinkError},
    memory::Segment,
    message::{KEPT_OF_STREAM, SessionMessage, SessionSpec},
    progress::{self, Whereabouts},
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

/// How long a batch may take to be kept.
const KEEPING: Duration = Duration::from_secs(30);

/// Longest part of a failure that is kept with its batch.
const LONGEST_FAILURE: usize = LONGEST_TEXT - 64;
/// The eval type of functions whose results Spark's JVM side converts where they are not of the very type.
const PICKLED_ROWS: i32 = 100;
/// The eval type of table functions whose results Spark's JVM side converts.
const PICKLED_TABLE: i32 = 300;

/// A session whose functions run in a process of their own.
pub(super) struct ProcessSession {
    workers: Arc<Workers>,
    /// None once the worker is given back or gone.
    worker: Option<Worker>,
    number: u64,
    functions: Vec<Named>,
    forms: Vec<Form>,
    /// Whether the functions take an iterator of batches and give one.
    stream: bool,
    /// The session message, where batches are kept that a worker dies with.
    keep: Option<(OwnedFd, usize)>,
    progress: Mutex<Progress>,
}

/// What messages say of a function.
struct Named {
    name: String,
    limit: Option<Limit>,
}

/// How long a function may take for one batch.
#[derive(Clone, Copy)]
struct Limit {
    time: Duration,
    /// Whose it is, for messages.
    source: &'static str,
}

struct Progress {
    /// The functions are not unpickled yet.
    opening: bool,
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
    /// The batches under way with their lengths, where they may have to be kept; of a stream those, too, that its
    /// functions have begun last.
    under_way: VecDeque<(Arc<Segment>, usize)>,
    /// The number of the first of them.
    oldest: u64,
}

impl Progress {
    /// Lets go of batches that are not to be kept: those before a number.
    fn forget_before(&mut self, number: u64) {
        while self.oldest < number && self.under_way.pop_front().is_some() {
            self.oldest += 1;
        }
    }
}

impl ProcessSession {
    /// Opens a session.
    pub(super) fn open(workers: &Arc<Workers>, message: &[u8]) -> Result<Self, NativeError> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let spec = SessionMessage::decode(message).map_err(|error| NativeError::Internal(error.to_string()))?.spec;
        let forms = forms(&spec)?;
        let file = file_of_bytes(message).map_err(|error| NativeError::Environment(error.to_string()))?;
        let mut session = Self {
            workers: Arc::clone(workers),
            worker: Some(workers.take()?),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            functions: functions(&spec),
            forms,
            stream: !spec.stream.is_null(),
            keep: None,
            progress: Mutex::new(Progress {
                opening: true,
                sent: 0,
                batches: 0,
                answered: 0,
                since: Instant::now(),
                failed: false,
                lost: false,
                finishing: false,
                ended: false,
                under_way: VecDeque::new(),
                oldest: 0,
            }),
        };
        let open = Message { length: message.len() as u64, ..Message::new(Kind::Open, session.number) };
        let worker = session.worker()?;
        worker.link.send(open, &[file.as_fd()]).or_else(|error| session.unsent(worker, error))?;
        session.keep = spec.keep.is_some().then_some((file, message.len()));
        Ok(session)
    }

    fn receive_opened(&self, worker: &Worker, timeout: Duration) -> Result<bool, NativeError> {
        let died = || self.died(worker, "while its functions were loaded");
        let Some(incoming) = self.next_message(worker, timeout, died)? else { return Ok(false) };
        lock(&self.progress).opening = false;
        match incoming.message.kind {
            Kind::Opened => Ok(true),
            Kind::Failed => Err(self.failure(worker, incoming)),
            other => Err(self.broken(worker, &format!("{other:?} is no answer to Open"))),
        }
    }

    /// The next message, which has to be of this session; none where there is nothing within the timeout.
    fn next_message(
        &self,
        worker: &Worker,
        timeout: Duration,
        died: impl FnOnce() -> NativeError,
    ) -> Result<Option<Incoming>, NativeError> {
        match worker.wait(timeout).map_err(|error| self.broken(worker, &error))? {
            Event::Nothing => Ok(None),
            Event::Died => Err(died()),
            Event::Message(incoming) if incoming.message.session == self.number => Ok(Some(incoming)),
            Event::Message(Incoming { message: Message { kind, session, .. }, .. }) => {
                Err(self.broken(worker, &format!("{kind:?} to session {session}")))
            }
        }
    }

    fn worker(&self) -> Result<&Worker, NativeError> {
        self.worker.as_ref().ok_or_else(|| NativeError::Internal("this session has ended".to_owned()))
    }

    /// What a worker says went wrong. It stays usable where it is the function that failed.
    fn failure(&self, worker: &Worker, incoming: Incoming) -> NativeError {
        let code = incoming.message.code;
        let text = match self.text(worker, incoming) {
            Ok(text) => text,
            Err(broken) => return broken,
        };
        match NativeError::of_code(code, text) {
            NativeError::Internal(text) => {
                self.lose(worker);
                let process = worker.process();
                NativeError::Internal(format!("the Python worker of {} (process {process}): {text}", self.names()))
            }
            failure => failure,
        }
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
        let died = || self.died(worker, "at the end of the partition");
        let Some(incoming) = self.next_message(worker, timeout, died)? else { return Ok(None) };
        lock(&self.progress).finishing = false;
        match incoming.message.kind {
            Kind::Finished => self.text(worker, incoming).map(Some),
            Kind::Failed => Err(self.failure(worker, incoming)),
            other => Err(self.broken(worker, &format!("{other:?} is no answer to Finish"))),
        }
    }

    /// A worker that does not keep the protocol is ended: nothing that it says can be relied on.
    fn broken(&self, worker: &Worker, error: &dyn std::fmt::Display) -> NativeError {
        self.lose(worker);
        NativeError::Internal(format!(
            "the Python worker of {} (process {}) broke the protocol and was ended: {error}",
            self.names(),
            worker.process()
        ))
    }

    fn died(&self, worker: &Worker, when: &str) -> NativeError {
        let obituary = worker.obituary();
        self.lose(worker);
        NativeError::Crashed(format!(
            "the Python worker of {} (process {}) died {when}: it {obituary}",
            self.names(),
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
        let died = || {
            let place = self.place(worker);
            self.kept(self.died(worker, &place))
        };
        let Some(incoming) = self.next_message(worker, timeout, died)? else { return Ok(None) };
        let answered = lock(&self.progress).answered;
        let Message { kind, sequence, code, spent, .. } = incoming.message;
        let spent = Duration::from_micros(spent.into());
        if sequence != answered {
            return Err(self.broken(worker, &format!("{kind:?} to message {sequence} in place of {answered}")));
        }
        match (kind, incoming.segment) {
            (Kind::Result, Some(segment)) => {
                let result = ProcessResult::new(segment, &self.forms, code, spent);
                let result = result.map_err(|error| self.broken(worker, &error))?;
                self.answered(worker, result.taken)?;
                Ok(Some(Box::new(result)))
            }
            (Kind::Waiting, None) if self.stream => {
                self.answered(worker, code)?;
                Ok(Some(Box::new(NoResult { taken: code, spent })))
            }
            (Kind::Failed, segment) => Err(self.failure(worker, Incoming { segment, ..incoming })),
            (other, _) => Err(self.broken(worker, &format!("{other:?} is no answer to Batch"))),
        }
    }

    /// Where the worker is, in words.
    fn place(&self, worker: &Worker) -> String {
        let progress = lock(&self.progress);
        let (answered, batches) = (progress.answered, progress.batches);
        drop(progress);
        let at = worker.whereabouts();
        if self.stream {
            // Answers are not to batches here: the worker says which one its functions have begun.
            return at.filter(|at| at.batch < batches).map_or_else(
                || "before the first batch of the partition".to_owned(),
                |at| format!("in batch {} of the partition", at.batch),
            );
        }
        let row = at.filter(|at| at.batch == answered).map(|at| self.row(&at));
        format!("in batch {answered} of the partition{}", row.unwrap_or_default())
    }

    /// The number of a message that is to be answered, which may have a batch; none where nothing is answered any more.
    fn next_number(&self, batch: Option<(&Arc<Segment>, usize)>) -> Option<u64> {
        let mut progress = lock(&self.progress);
        if progress.failed {
            return None;
        }
        if progress.sent == progress.answered {
            progress.since = Instant::now();
        }
        if let Some((segment, length)) = batch {
            progress.batches += 1;
            if self.keep.is_some() {
                progress.under_way.push_back((Arc::clone(segment), length));
            }
        }
        progress.sent += 1;
        Some(progress.sent - 1)
    }

    /// Notes an answer. Nothing that a worker says of batches may go beyond those that there are.
    fn answered(&self, worker: &Worker, taken: u32) -> Result<(), NativeError> {
        let mut progress = lock(&self.progress);
        progress.answered += 1;
        let done =
            if self.stream { u64::from(taken >> 1).saturating_sub(KEPT_OF_STREAM as u64) } else { progress.answered };
        progress.forget_before(done);
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

    /// What is left of the time that the oldest batch may take, and the function whose time it is, where the worker has
    /// said that; none where there is no limit.
    fn left(&self, worker: &Worker) -> Option<(Duration, Limit, Option<Whereabouts>)> {
        if self.functions.iter().all(|function| function.limit.is_none()) {
            return None;
        }
        let progress = lock(&self.progress);
        if progress.sent == progress.answered {
            return None;
        }
        let elapsed = progress.since.elapsed();
        let at = worker
            .whereabouts()
            .filter(|at| !self.stream && at.batch == progress.answered && at.function < self.functions.len());
        let (limit, elapsed) = match at {
            Some(at) => {
                let working = Duration::from_nanos(progress::now().saturating_sub(at.since));
                (self.functions[at.function].limit?, elapsed.min(working))
            }
            // It has not come to the batch: then all functions together may take their times.
            None => (self.all_limits()?, elapsed),
        };
        Some((limit.time.saturating_sub(elapsed), limit, at))
    }

    /// The times of all functions; none where one has no limit.
    fn all_limits(&self) -> Option<Limit> {
        let limits = self.functions.iter().map(|function| function.limit);
        limits.reduce(|one, other| {
            let (one, other) = (one?, other?);
            Some(Limit { time: one.time.saturating_add(other.time), source: one.source })
        })?
    }

    fn overdue(&self, worker: &Worker, limit: Limit, at: Option<&Whereabouts>) -> NativeError {
        let stack = worker.dump();
        let place = match at {
            Some(at) => {
                let row = at.row.map_or_else(String::new, |row| format!(", row {row}"));
                format!("on batch {} of the partition{row}", at.batch)
            }
            None => self.place(worker),
        };
        self.lose(worker);
        let name = at.map_or_else(|| self.names(), |at| format!("`{}`", self.functions[at.function].name));
        self.kept(NativeError::Crashed(format!(
            "{name} ran for longer than {} s {place} ({}), and its worker was ended; Python was here:\n{stack}",
            limit.time.as_secs_f64(),
            limit.source
        )))
    }

    /// Names of the functions, for messages.
    fn names(&self) -> String {
        self.functions.iter().map(|function| format!("`{}`", function.name)).collect::<Vec<_>>().join(", ")
    }

    /// Which row the worker said it was at.
    fn row(&self, at: &Whereabouts) -> String {
        let name = self.functions.get(at.function).map_or("?", |function| function.name.as_str());
        at.row.map_or_else(String::new, |row| format!(", row {row} of `{name}`"))
    }

    /// The failure, with where the batch has been kept if it is to be.
    fn kept(&self, failure: NativeError) -> NativeError {
        let Some((message, length)) = &self.keep else { return failure };
        let text = failure.to_string();
        let kept = match self.keep_batches(message, *length, &text) {
            Ok(path) => {
                format!("[rudf: the batch and its functions were kept; run them again with: rudf replay {path}]")
            }
            Err(why) => format!("[rudf: the batch could not be kept: {why}]"),
        };
        NativeError::Crashed(format!("{text}\n{kept}"))
    }

    /// The batches that are kept, with their lengths, and the number of the first: the oldest that nobody has answered; of
    /// a stream, those that its functions have begun last.
    fn batches_to_keep(&self) -> (u64, Vec<(Arc<Segment>, usize)>) {
        let begun = self.worker.as_ref().and_then(Worker::whereabouts).map_or(0, |at| at.batch + 1);
        let mut progress = lock(&self.progress);
        let most = if self.stream { KEPT_OF_STREAM } else { 1 };
        if self.stream {
            let begun = begun.min(progress.batches);
            progress.forget_before(begun.saturating_sub(most as u64));
        }
        let batches = progress.under_way.iter().take(most);
        (progress.oldest, batches.map(|(segment, length)| (Arc::clone(segment), *length)).collect())
    }

    /// Has a new worker write batches into a file.
    fn keep_batches(&self, message: &OwnedFd, length: usize, failure: &str) -> Result<String, String> {
        let (number, batches) = self.batches_to_keep();
        if batches.is_empty() {
            return Err("it is gone".to_owned());
        }
        let written = batches.iter().map(|(segment, length)| {
            // SAFETY: the batch was written up to this length before it was submitted, and nobody writes to it now.
            file_of_bytes(unsafe { std::slice::from_raw_parts(segment.base(), *length) })
        });
        let written = written.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let mut lengths = length.to_string();
        for (_, length) in &batches {
            lengths.push_str(&format!(",{length}"));
        }
        let worker = self.workers.fork().map_err(|error| error.to_string())?;
        let failure: String = failure.chars().take(LONGEST_FAILURE / 4).collect();
        let keep = Message { sequence: number, ..Message::new(Kind::Keep, self.number) };
        let keep = keep.with_text(&format!("{lengths} {failure}"));
        let files: Vec<_> = std::iter::once(message).chain(&written).map(AsFd::as_fd).collect();
        worker.link.send(keep, &files).map_err(|error| error.to_string())?;
        let end = Instant::now() + KEEPING;
        while Instant::now() < end {
            match worker.wait(end.saturating_duration_since(Instant::now())).map_err(|error| error.to_string())? {
                Event::Nothing => {}
                Event::Died => return Err(format!("the process that was to write it {}", worker.obituary())),
                Event::Message(Incoming { message, .. }) if message.kind == Kind::Kept => return Ok(message.text()),
                Event::Message(Incoming { message, .. }) => return Err(message.text()),
            }
        }
        Err(format!("it took longer than {} s", KEEPING.as_secs()))
    }
}

fn functions(spec: &SessionSpec) -> Vec<Named> {
    let limit = |seconds: f64, source| {
        Some(seconds)
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .map(|time| Limit { time, source })
    };
    let named = |function: &rudf_segment::message::FunctionSpec| Named {
        name: function.name.clone(),
        limit: match function.timeout_seconds {
            Some(seconds) => limit(seconds, "its timeout"),
            None => limit(spec.timeout_seconds, "spark.rudf.timeout"),
        },
    };
    spec.functions.iter().map(named).collect()
}

fn forms(spec: &SessionSpec) -> Result<Vec<Form>, NativeError> {
    let form = |function: &rudf_segment::message::FunctionSpec| {
        if spec.eval_type == PICKLED_TABLE {
            return Ok(Form::Variable);
        }
        Form::of(&function.result_type).ok_or_else(|| {
            NativeError::Internal(format!(
                "`{}` returns {}, which batches do not hold",
                function.name, function.result_type
            ))
        })
    };
    let returned = spec.returned.iter().map(|&column| {
        let input = spec.inputs.get(column);
        input.and_then(Form::of).ok_or_else(|| NativeError::Internal(format!("input {column} cannot come back")))
    });
    // What Spark's JVM side is to convert stands, pickled, behind each result of a pickled function.
    let pickled = (spec.eval_type == PICKLED_ROWS).then_some(Form::Variable);
    let functions = spec.functions.iter().flat_map(|f| std::iter::once(form(f)).chain(pickled.clone().map(Ok)));
    returned.chain(functions).collect()
}

impl WorkerSession for ProcessSession {
    fn opened(&self, timeout: Duration) -> Result<bool, NativeError> {
        let opened = self.receive_opened(self.worker()?, timeout);
        if opened.is_err() {
            lock(&self.progress).failed = true;
        }
        opened
    }

    fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, NativeError> {
        self.worker()?.link.acquire(capacity).map_err(|error| NativeError::Internal(error.to_string()))
    }

    fn submit(&self, segment: Arc<Segment>, length: usize) -> Result<(), NativeError> {
        let worker = self.worker()?;
        let Some(sequence) = self.next_number(Some((&segment, length))) else { return Ok(()) };
        let batch = Message { sequence, length: length as u64, ..Message::new(Kind::Batch, self.number) };
        worker.link.lend(batch, segment).or_else(|error| self.unsent(worker, error))
    }

    fn ask(&self, end: bool) -> Result<(), NativeError> {
        let worker = self.worker()?;
        let Some(sequence) = self.next_number(None) else { return Ok(()) };
        let ask = Message { sequence, code: u32::from(end), ..Message::new(Kind::Ask, self.number) };
        worker.link.send(ask, &[]).or_else(|error| self.unsent(worker, error))
    }

    fn take(&self, timeout: Duration) -> Result<Option<Box<dyn ResultBatch>>, NativeError> {
        let worker = self.worker()?;
        let left = self.left(worker);
        let taken = self.receive(worker, left.as_ref().map_or(timeout, |(left, ..)| (*left).min(timeout)));
        let taken = match taken {
            Ok(None) => match self.left(worker) {
                Some((Duration::ZERO, limit, at)) => Err(self.overdue(worker, limit, at.as_ref())),
                _ => Ok(None),
            },
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
        // A stream that is not at its end waits in the middle of the user's code, which it leaves before it answers.
        let mid_stream = self.stream && !progress.ended && progress.sent > 0;
        // After a failure it answers nothing more. Batches under way it answers first: the pool waits for that a while.
        let busy = !progress.failed && (progress.sent > progress.answered || mid_stream);
        let known = !progress.lost && !progress.finishing && !progress.opening;
        drop(progress);
        if known && worker.link.send(Message::new(Kind::Close, self.number), &[]).is_ok() {
            self.workers.pool.put(worker, self.number, busy);
        }
    }
}

/// Results in a segment of the worker's, in use until this is dropped.
struct ProcessResult {
    rows: u64,
    taken: u32,
    spent: Duration,
    columns: Vec<ColumnDescriptor>,
    /// The descriptors of children, which those of their parents point to.
    _children: Vec<Vec<ColumnDescriptor>>,
    segment: Borrowed,
}

impl ProcessResult {
    fn new(
        segment: Borrowed,
        forms: &[Form],
        taken: u32,
        spent: Duration,
    ) -> Result<Self, rudf_segment::layout::LayoutError> {
        let header = segment.copy(header_bytes(forms.iter().map(Form::descriptors).sum()));
        let (rows, columns) = read_results(&header, segment.length(), forms)?;
        let mut children = Vec::new();
        let base = segment.base().as_ptr() as u64;
        let columns = columns.iter().map(|column| absolute(column, base, &mut children)).collect();
        Ok(Self { rows: rows as u64, taken, spent, columns, _children: children, segment })
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

    fn bytes(&self) -> u64 {
        self.segment.length() as u64
    }

    fn spent(&self) -> Duration {
        self.spent
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
    spent: Duration,
}

impl ResultBatch for NoResult {
    fn rows(&self) -> u64 {
        0
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn spent(&self) -> Duration {
        self.spent
    }

    fn taken(&self) -> u32 {
        self.taken
    }

    fn columns(&self) -> &[ColumnDescriptor] {
        &[]
    }
}
