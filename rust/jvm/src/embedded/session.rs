//! One session in the embedded interpreter: batches go to its Python thread and results come back through channels.

use std::{
    ffi::c_void,
    ptr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use rudf_segment::{
    layout::ColumnDescriptor,
    memory::{Segment, SegmentPool},
    worker::{Failure, InputBatch, OutputBatch, WorkerApi},
};

use super::threads::PythonThreads;
use crate::{
    error::NativeError,
    host::{ResultBatch, WorkerSession},
};

/// A batch on its way to Python.
struct Submission {
    segment: Arc<Segment>,
    length: usize,
}

type Outcome = Result<EmbeddedResult, NativeError>;

/// The session as the interpreter knows it, while its thread serves it.
struct Running(*mut c_void);

// SAFETY: the pointer is only passed to `interrupt`, which the worker interface allows from any thread, and only while
// the serving thread has not taken it out of the mutex (which it does before it closes the session).
unsafe impl Send for Running {}

/// A session whose functions run on one thread of the pool.
pub(super) struct EmbeddedSession {
    pool: SegmentPool,
    threads: Arc<PythonThreads>,
    submissions: Option<Sender<Submission>>,
    results: Receiver<Outcome>,
    /// Tells once that the session is open, or why it is not.
    opened: Receiver<Result<(), NativeError>>,
    running: Arc<Mutex<Option<Running>>>,
}

impl EmbeddedSession {
    /// Opens a session.
    pub(super) fn open(threads: &Arc<PythonThreads>, message: Vec<u8>) -> Result<Self, NativeError> {
        let (submissions, submitted) = unbounded();
        let (finished, results) = unbounded();
        let (opened_sender, opened) = bounded(1);
        let running = Arc::new(Mutex::new(None));
        let serving = Arc::clone(&running);
        threads.assign(Box::new(move |api| match open_in_interpreter(api, &message) {
            Err(error) => {
                let _receiver_may_be_gone = opened_sender.send(Err(error));
            }
            Ok(session) => {
                drop(message);
                set_running(&serving, Some(Running(session)));
                let _receiver_may_be_gone = opened_sender.send(Ok(()));
                serve(api, session, &submitted, &finished);
                set_running(&serving, None);
                // SAFETY: `open` returned this session, and nothing else refers to it after `running` is cleared.
                unsafe { (api.close)(session) };
            }
        }))?;
        Ok(Self {
            pool: SegmentPool::new(),
            threads: Arc::clone(threads),
            submissions: Some(submissions),
            results,
            opened,
            running,
        })
    }
}

fn set_running(running: &Mutex<Option<Running>>, value: Option<Running>) {
    *running.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

fn open_in_interpreter(api: &WorkerApi, message: &[u8]) -> Result<*mut c_void, NativeError> {
    let mut session = ptr::null_mut();
    let mut failure = Failure::none();
    // SAFETY: this thread is attached, and all pointers live through the call.
    let status = unsafe { (api.open)(message.as_ptr(), message.len(), &raw mut session, &raw mut failure) };
    if status == 0 { Ok(session) } else { Err(NativeError::from_failure(&failure)) }
}

/// Evaluates batches until the task side hangs up or a batch fails.
fn serve(api: &WorkerApi, session: *mut c_void, submitted: &Receiver<Submission>, finished: &Sender<Outcome>) {
    let (returned, returns) = unbounded();
    for submission in submitted {
        returns.try_iter().for_each(drop);
        let outcome = evaluate(api, session, submission).map(|output| EmbeddedResult::new(output, &returned));
        let failed = outcome.is_err();
        if finished.send(outcome).is_err() || failed {
            break;
        }
    }
    returns.try_iter().for_each(drop);
}

fn evaluate(api: &WorkerApi, session: *mut c_void, submission: Submission) -> Result<OutputBatch, NativeError> {
    let Submission { segment, length } = submission;
    let base = segment.base().cast_const();
    let input = InputBatch {
        base,
        length: length.min(segment.capacity()),
        owner: Arc::into_raw(segment).cast_mut().cast(),
        release: release_segment,
    };
    let mut output = OutputBatch::empty();
    let mut failure = Failure::none();
    // SAFETY: this thread is attached and serves this session; `input` owns one reference to the segment, which the
    // callee takes over.
    let status = unsafe { (api.evaluate)(session, input, &raw mut output, &raw mut failure) };
    if status == 0 { Ok(output) } else { Err(NativeError::from_failure(&failure)) }
}

/// Gives back the reference that [`evaluate`] handed to the interpreter.
unsafe extern "C" fn release_segment(owner: *mut c_void) {
    // SAFETY: `owner` came from `Arc::into_raw` in `evaluate`, and the interpreter calls this exactly once.
    drop(unsafe { Arc::from_raw(owner.cast::<Segment>()) });
}

impl WorkerSession for EmbeddedSession {
    fn opened(&self, timeout: Duration) -> Result<bool, NativeError> {
        match self.opened.recv_timeout(timeout) {
            Ok(opened) => opened.map(|()| true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                Err(NativeError::Environment("no thread could be attached to Python".to_owned()))
            }
        }
    }

    fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, NativeError> {
        self.pool.acquire(capacity).map_err(|error| NativeError::Internal(error.to_string()))
    }

    fn submit(&self, segment: Arc<Segment>, length: usize) -> Result<(), NativeError> {
        // A send fails only after a batch has failed: `take` then tells why.
        if let Some(submissions) = &self.submissions {
            let _told_by_take = submissions.send(Submission { segment, length });
        }
        Ok(())
    }

    fn take(&self, timeout: Duration) -> Result<Option<Box<dyn ResultBatch>>, NativeError> {
        match self.results.recv_timeout(timeout) {
            Ok(outcome) => outcome.map(|result| Some(Box::new(result) as Box<dyn ResultBatch>)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(NativeError::Internal("the Python thread of this session has ended".to_owned()))
            }
        }
    }

    /// Nothing: functions that want services with something to tell run in processes.
    fn finish(&self, _timeout: Duration) -> Result<Option<String>, NativeError> {
        Ok(Some("{}".to_owned()))
    }

    fn interrupt(&self) {
        let running = Arc::clone(&self.running);
        // On a thread of the pool: it may have to wait for the interpreter's attention, and the task thread must not.
        let _without_a_thread_it_runs_to_its_end = self.threads.assign(Box::new(move |api| {
            let running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(Running(session)) = *running {
                // SAFETY: the session is open for as long as `running` holds it, and the lock keeps it there.
                unsafe { (api.interrupt)(session) };
            }
        }));
    }
}

impl Drop for EmbeddedSession {
    fn drop(&mut self) {
        // Hanging up ends the serving loop; what it still computes is dropped with its channel.
        self.submissions = None;
    }
}

/// Results that nobody reads any more.
struct Returned(OutputBatch);

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some(release) = self.0.release {
            // SAFETY: called once, with the owner that came with it.
            unsafe { release(self.0.owner) };
        }
    }
}

/// Results that lie in the interpreter's memory.
///
/// They may belong to Python objects, and to give those back takes the interpreter's lock: so they go back to the thread
/// that made them, which holds the lock anyway, and the task thread does not wait for it.
struct EmbeddedResult {
    output: OutputBatch,
    returned: Sender<Returned>,
}

impl EmbeddedResult {
    fn new(output: OutputBatch, returned: &Sender<Returned>) -> Self {
        Self { output, returned: returned.clone() }
    }
}

impl ResultBatch for EmbeddedResult {
    fn rows(&self) -> u64 {
        self.output.rows
    }

    fn bytes(&self) -> u64 {
        self.output.bytes
    }

    fn spent(&self) -> Duration {
        Duration::from_nanos(self.output.nanos)
    }

    fn columns(&self) -> &[ColumnDescriptor] {
        if self.output.columns.is_null() {
            return &[];
        }
        // SAFETY: the worker filled in that many descriptors, and they live until `release` (see `OutputBatch`).
        unsafe {
            std::slice::from_raw_parts(self.output.columns, usize::try_from(self.output.column_count).unwrap_or(0))
        }
    }
}

impl Drop for EmbeddedResult {
    fn drop(&mut self) {
        let output = std::mem::replace(&mut self.output, OutputBatch::empty());
        // A thread that serves another session by now refuses, and the results are released here.
        drop(self.returned.send(Returned(output)));
    }
}
