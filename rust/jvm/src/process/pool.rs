//! Workers that wait for their next session.
//!
//! A worker is put here as soon as its session is closed, before it has said that it closed it: nobody waits for that, and
//! whoever takes the worker next finds the answer there. Only a worker that says that the session left nothing behind is
//! used again.

use std::{
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rudf_segment::{
    control::{CLEAN, Kind},
    link::Incoming,
};

use super::{
    Workers, lock,
    worker::{Event, Worker},
};
use crate::error::NativeError;

/// How long a worker may take to close a session. User code that runs on in a thread may hold Python's lock.
const CLOSING: Duration = Duration::from_secs(1);

/// How often the pool is looked through.
const WATCH: Duration = Duration::from_secs(1);

struct Idle {
    worker: Worker,
    since: Instant,
    /// The session whose end it has not confirmed yet.
    closing: Option<u64>,
    /// It is still at batches that nobody waits for.
    busy: bool,
}

/// What became of a worker that was closing a session.
enum Confirmed {
    Clean,
    NotYet,
    /// Not to be used again.
    Unusable,
}

/// Idle workers, the one that was used last on top.
pub(super) struct Pool {
    idle: Mutex<Vec<Idle>>,
    most: AtomicUsize,
    age: Duration,
}

impl Pool {
    pub(super) fn new(most: usize, age: Duration) -> Self {
        Self { idle: Mutex::default(), most: AtomicUsize::new(most), age }
    }

    /// Keeps a worker that has been asked to close a session, and may be `busy` with its batches until then.
    pub(super) fn put(&self, worker: Worker, closing: u64, busy: bool) {
        let mut idle = lock(&self.idle);
        idle.push(Idle { worker, since: Instant::now(), closing: Some(closing), busy });
        let surplus = if idle.len() > self.most.load(Ordering::Relaxed) { Some(idle.remove(0)) } else { None };
        drop(idle);
        drop(surplus);
    }

    /// A worker that can be used, the one that was used last if possible.
    pub(super) fn take(&self) -> Option<Worker> {
        let mut busy = Vec::new();
        let mut found = None;
        while found.is_none() {
            let Some(mut idle) = lock(&self.idle).pop() else { break };
            // A new worker is there sooner than one that is at work.
            let patience = if idle.busy { Duration::ZERO } else { CLOSING };
            match idle.confirm(patience) {
                Confirmed::Clean => found = Some(idle.worker),
                Confirmed::NotYet if idle.busy && idle.since.elapsed() < CLOSING => busy.push(idle),
                Confirmed::NotYet | Confirmed::Unusable => {}
            }
        }
        if !busy.is_empty() {
            lock(&self.idle).extend(busy.into_iter().rev());
        }
        found
    }

    /// Ends all workers, and those that come back later.
    pub(super) fn stop(&self) {
        self.most.store(0, Ordering::Relaxed);
        let idle = std::mem::take(&mut *lock(&self.idle));
        drop(idle);
    }

    /// Ends workers that are dead, too old, or not to be used again.
    fn sweep(&self) {
        let mut ended = Vec::new();
        let mut idle = lock(&self.idle);
        let mut index = 0;
        while index < idle.len() {
            let one = &mut idle[index];
            let usable = match one.confirm(Duration::ZERO) {
                Confirmed::Clean => one.since.elapsed() < self.age,
                Confirmed::NotYet => one.since.elapsed() < CLOSING,
                Confirmed::Unusable => false,
            };
            if usable {
                index += 1;
            } else {
                ended.push(idle.remove(index));
            }
        }
        drop(idle);
        drop(ended);
    }
}

impl Idle {
    /// Whether the worker has closed its last session and says nothing else.
    fn confirm(&mut self, timeout: Duration) -> Confirmed {
        let end = Instant::now() + timeout;
        while let Some(session) = self.closing {
            match self.worker.wait(end.saturating_duration_since(Instant::now())) {
                Ok(Event::Message(Incoming { message, .. })) if message.session == session => match message.kind {
                    Kind::Closed if message.code == CLEAN => self.closing = None,
                    // Of batches that nobody waits for any more.
                    Kind::Result | Kind::Waiting | Kind::Failed if self.busy => {}
                    _ => return Confirmed::Unusable,
                },
                Ok(Event::Nothing) if Instant::now() >= end => return Confirmed::NotYet,
                Ok(Event::Nothing) => {}
                _ => return Confirmed::Unusable,
            }
        }
        match self.worker.wait(Duration::ZERO) {
            Ok(Event::Nothing) => Confirmed::Clean,
            _ => Confirmed::Unusable,
        }
    }
}

/// Looks through a pool for as long as its host lives.
///
/// # Errors
/// [`NativeError::Environment`] where no thread can be started.
pub(super) fn watch(workers: &Arc<Workers>) -> Result<(), NativeError> {
    let workers = Arc::downgrade(workers);
    let watch = move || {
        while let Some(workers) = Weak::upgrade(&workers) {
            workers.pool.sweep();
            workers.rest();
            drop(workers);
            thread::sleep(WATCH);
        }
    };
    thread::Builder::new()
        .name("rudf-idle-workers".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(|error| NativeError::Environment(format!("cannot start a thread: {error}")))
}
