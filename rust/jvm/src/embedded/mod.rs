//! The host that runs the interpreter inside this process, on threads of its own.
//!
//! One interpreter lives for as long as the process: it cannot be ended safely while libraries such as numpy are loaded.
//! Python code never runs on Spark's task threads: their stacks are too small for deep C frames (a stack overflow would
//! take the executor along), and a thread of ours can work on one batch while the task thread lays out the next.

mod environment;
mod interpreter;
mod session;
mod threads;

use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use crate::{
    error::NativeError,
    host::{WorkerHost, WorkerSession},
};
use environment::Environment;
use threads::PythonThreads;

/// What the JVM says when it starts the host.
#[derive(Clone, Debug, Deserialize)]
pub struct EmbeddedConfig {
    /// The `python` to be like: a path, or a name on `PATH`.
    pub python: String,
    /// Directory that holds the package `rudf`, with its native module.
    pub package_directory: String,
    /// Absolute path of the native module.
    pub native_module: String,
    /// Entries for `sys.path` behind the package directory.
    pub python_path: Vec<String>,
}

/// The one embedded interpreter of this process.
pub struct EmbeddedHost {
    environment: Environment,
    threads: Arc<PythonThreads>,
}

impl EmbeddedHost {
    /// Starts the interpreter, or returns the one that runs already when it is the same Python.
    ///
    /// # Errors
    /// [`NativeError::Environment`] with a sentence that says what is missing. A failure is final for this process where
    /// the interpreter had begun to start, because it cannot be started twice.
    pub fn start(config: &EmbeddedConfig) -> Result<&'static Self, NativeError> {
        static HOST: OnceLock<Result<EmbeddedHost, String>> = OnceLock::new();
        let environment = Environment::discover(&config.python)?;
        let wanted = environment.executable.clone();
        let host = HOST.get_or_init(|| {
            let threads = interpreter::start(&environment, config).map_err(|error| error.to_string())?;
            Ok(Self { environment, threads })
        });
        match host {
            Err(text) => Err(NativeError::Environment(text.clone())),
            Ok(host) if host.environment.executable != wanted => Err(NativeError::Environment(format!(
                "this executor already embeds `{}` and one process can embed only one Python (`{wanted}` was asked for)",
                host.environment.executable
            ))),
            Ok(host) => Ok(host),
        }
    }
}

impl WorkerHost for &'static EmbeddedHost {
    fn open(&self, message: Vec<u8>) -> Result<Box<dyn WorkerSession>, NativeError> {
        let session = session::EmbeddedSession::open(&self.threads, message)?;
        Ok(Box::new(session))
    }

    fn describe(&self) -> Result<String, NativeError> {
        Ok(self.environment.to_json())
    }
}
