//! The host that runs each session in a Python process of its own, fed through shared memory.
//!
//! - [`server`]: the fork server, one for a Python and its environment variables;
//! - [`worker`]: a worker process, watched through its socket and its pidfd;
//! - [`pool`]: workers that wait for their next session;
//! - [`session`]: one operator's functions in one worker;
//! - [`report`]: how a worker ended, in words.
//!
//! No threads but one that ends workers which have been idle for long: a task's own thread waits for its worker.

mod pool;
mod report;
mod server;
mod session;
mod worker;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    error::NativeError,
    host::{WorkerHost, WorkerSession},
};
use pool::Pool;
use server::{ForkError, Server};
use worker::Worker;

/// What the JVM says when it makes the host.
#[derive(Clone, Debug, Deserialize)]
pub struct ProcessConfig {
    /// The `python` to start: a path, or a name on `PATH`.
    pub python: String,
    /// Directory that holds the package `rudf`, with its native module.
    pub package_directory: String,
    /// Environment variables that are set for Python, in addition to this process's own.
    pub environment: BTreeMap<String, String>,
    /// Where Python starts, if not in this process's own working directory.
    #[serde(default)]
    pub directory: Option<String>,
    /// How many workers may wait for their next session.
    pub most_idle: usize,
    /// After how long without a session a worker ends.
    pub idle_seconds: u64,
}

/// Workers of one Python with one set of environment variables.
pub struct ProcessHost {
    workers: Arc<Workers>,
}

/// Makes workers, and keeps those that wait.
struct Workers {
    config: ProcessConfig,
    /// None while nobody needs one, and once the host has been stopped.
    server: Mutex<Option<Arc<Server>>>,
    stopped: AtomicBool,
    /// When the server had a worker last.
    used: Mutex<Instant>,
    pool: Pool,
    next: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ProcessHost {
    /// Starts a fork server and does not wait for it.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where the Python cannot be started.
    pub fn start(config: ProcessConfig) -> Result<Self, NativeError> {
        let server = Mutex::new(Some(Arc::new(Server::spawn(&config)?)));
        let pool = Pool::new(config.most_idle, Duration::from_secs(config.idle_seconds));
        let (stopped, used) = (AtomicBool::new(false), Mutex::new(Instant::now()));
        let workers = Arc::new(Workers { config, server, stopped, used, pool, next: AtomicU64::new(1) });
        pool::watch(&workers)?;
        Ok(Self { workers })
    }
}

impl Workers {
    /// A worker that nobody else uses: one that waits, or a new one.
    fn take(&self) -> Result<Worker, NativeError> {
        match self.pool.take() {
            Some(worker) => Ok(worker),
            None => self.fork(),
        }
    }

    fn fork(&self) -> Result<Worker, NativeError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let server = self.server()?;
        match Server::fork(&server, number) {
            Ok(worker) => Ok(worker),
            Err(ForkError::Refused(why)) => Err(NativeError::Environment(why)),
            // Somebody has ended it: another one does its work.
            Err(ForkError::Gone(_)) => Server::fork(&self.replace(&server)?, number).map_err(|error| match error {
                ForkError::Refused(why) | ForkError::Gone(why) => NativeError::Environment(why),
            }),
        }
    }

    fn replace(&self, gone: &Arc<Server>) -> Result<Arc<Server>, NativeError> {
        let mut server = lock(&self.server);
        if server.as_ref().is_some_and(|server| Arc::ptr_eq(server, gone)) {
            *server = Some(Arc::new(Server::spawn(&self.config)?));
        }
        drop(server);
        self.server()
    }

    fn server(&self) -> Result<Arc<Server>, NativeError> {
        let mut server = lock(&self.server);
        if self.stopped.load(Ordering::Relaxed) {
            let why = "the Spark application that the workers were for has ended";
            return Err(NativeError::Environment(why.to_owned()));
        }
        if let Some(server) = &*server {
            return Ok(Arc::clone(server));
        }
        *lock(&self.used) = Instant::now();
        Ok(Arc::clone(server.insert(Arc::new(Server::spawn(&self.config)?))))
    }

    /// Ends the server of a session which has had no worker for long: an executor sees many sessions, and any of them may have
    /// ended. Another one is started where it has not.
    fn rest(&self) {
        if self.config.directory.is_none() {
            return;
        }
        let mut server = lock(&self.server);
        // Workers hold on to their server.
        let is_used = server.as_ref().is_some_and(|server| Arc::strong_count(server) > 1);
        let mut used = lock(&self.used);
        if is_used {
            *used = Instant::now();
        } else if used.elapsed() >= Duration::from_secs(self.config.idle_seconds) {
            let unused = server.take();
            drop((server, used));
            drop(unused);
        }
    }
}

impl WorkerHost for ProcessHost {
    fn open(&self, message: Vec<u8>) -> Result<Box<dyn WorkerSession>, NativeError> {
        Ok(Box::new(session::ProcessSession::open(&self.workers, &message)?))
    }

    fn describe(&self) -> Result<String, NativeError> {
        self.workers.server()?.about()
    }

    fn stop(&self) {
        self.workers.pool.stop();
        self.workers.stopped.store(true, Ordering::Relaxed);
        // The last worker that is still at work keeps it for as long.
        let server = lock(&self.workers.server).take();
        drop(server);
    }
}
