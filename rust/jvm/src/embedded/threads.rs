//! Threads that Python code runs on: large stacks, one Python thread state each for as long as they live.
//!
//! A thread state that is made and destroyed around every call loses thread-local state of C extensions and has crashed
//! real programs; so a thread attaches once, serves one session after another, and ends when it has been idle for long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use rudf_segment::worker::{Failure, WorkerApi};

use crate::error::NativeError;

/// Deep C frames (regular expressions, BLAS, recursive `repr`) fit here and not on a JVM thread.
const STACK_BYTES: usize = 16 << 20;

/// How long a thread waits for another session before it ends.
const IDLE: Duration = Duration::from_secs(60);

/// Work for one thread: runs to its end on a thread that is attached to Python.
pub(super) type Assignment = Box<dyn FnOnce(&WorkerApi) + Send>;

/// A pool that grows with the number of sessions that run at once.
pub(super) struct PythonThreads {
    api: WorkerApi,
    /// Threads that wait for an assignment and are not promised to one yet.
    idle: AtomicUsize,
    sender: Sender<Assignment>,
    receiver: Receiver<Assignment>,
}

impl PythonThreads {
    pub(super) fn new(api: WorkerApi) -> Arc<Self> {
        let (sender, receiver) = crossbeam_channel::unbounded();
        Arc::new(Self { api, idle: AtomicUsize::new(0), sender, receiver })
    }

    /// Runs `assignment` on a thread of its own.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where no thread can be started.
    pub(super) fn assign(self: &Arc<Self>, assignment: Assignment) -> Result<(), NativeError> {
        if !self.reserve_idle() {
            let pool = Arc::clone(self);
            thread::Builder::new()
                .name("rudf-python".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || pool.serve())
                .map_err(|error| NativeError::Environment(format!("cannot start a thread for Python: {error}")))?;
        }
        self.sender.send(assignment).map_err(|_| NativeError::Internal("the Python threads have ended".to_owned()))
    }

    fn reserve_idle(&self) -> bool {
        self.idle.fetch_update(Ordering::AcqRel, Ordering::Acquire, |idle| idle.checked_sub(1)).is_ok()
    }

    fn serve(&self) {
        let mut failure = Failure::none();
        // SAFETY: the interpreter is initialised before the pool exists, and this thread is not attached yet.
        let attached = unsafe { (self.api.attach_thread)(&raw mut failure) } == 0;
        loop {
            match self.receiver.recv_timeout(IDLE) {
                Ok(assignment) if attached => assignment(&self.api),
                // Dropping an assignment tells its session that no thread serves it.
                Ok(_) => return,
                Err(_) if self.reserve_idle() => break,
                // Promised to an assignment that is about to arrive.
                Err(_) => continue,
            }
            self.idle.fetch_add(1, Ordering::AcqRel);
        }
        // SAFETY: this thread attached above and runs no Python code now.
        unsafe { (self.api.detach_thread)() };
    }
}
