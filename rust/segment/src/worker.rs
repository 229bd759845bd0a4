//! The C interface between a host and the interpreter in its own process.
//!
//! `_native.abi3.so` exports one function, [`WORKER_API_SYMBOL`], that returns a table of these functions;
//! a host that embeds Python (`librudf_jvm.so`) opens the file and calls through the table. Only plain
//! addresses and lengths cross, so neither side needs the other's libraries.
//!
//! Threads: every function except [`WorkerApi::interrupt`] runs on a thread that has called
//! [`WorkerApi::attach_thread`] once and keeps its Python thread state until [`WorkerApi::detach_thread`].
//! A session is used by one thread at a time.

use std::ffi::c_void;

use serde::{Deserialize, Serialize};

use crate::layout::ColumnDescriptor;

/// Name of the exported `extern "C" fn() -> *const WorkerApi`.
pub const WORKER_API_SYMBOL: &[u8] = b"rudf_worker_api\0";

/// What [`WorkerApi::start`] is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartConfig {
    /// Directory that holds the package `rudf`; goes first on `sys.path`.
    pub package_directory: String,
    /// Entries for `sys.path` behind it (Spark's own Python files).
    pub python_path: Vec<String>,
    /// The environment's `python`: `sys.executable` and what `multiprocessing` spawns.
    pub executable: String,
}

/// A record batch handed to [`WorkerApi::evaluate`], laid out as [`crate::layout`] says.
#[repr(C)]
pub struct InputBatch {
    /// First byte of the batch header; 64-byte aligned.
    pub base: *const u8,
    /// Bytes that may be read from `base`.
    pub length: usize,
    /// Passed to `release` exactly once, from any thread, when nothing in Python refers to the memory any more.
    pub owner: *mut c_void,
    pub release: unsafe extern "C" fn(owner: *mut c_void),
}

/// The results of one batch: absolute addresses, valid until `release` is called.
#[repr(C)]
pub struct OutputBatch {
    pub rows: u64,
    pub column_count: u64,
    /// Bytes of all values.
    pub bytes: u64,
    /// Nanoseconds that the functions took, without the wait for the interpreter's lock.
    pub nanos: u64,
    /// One descriptor for each function of the session.
    pub columns: *const ColumnDescriptor,
    pub owner: *mut c_void,
    /// Gives the memory back; may be called from any thread.
    pub release: Option<unsafe extern "C" fn(owner: *mut c_void)>,
}

impl OutputBatch {
    /// An output batch with nothing in it, to be filled by [`WorkerApi::evaluate`].
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            rows: 0,
            column_count: 0,
            bytes: 0,
            nanos: 0,
            columns: std::ptr::null(),
            owner: std::ptr::null_mut(),
            release: None,
        }
    }
}

// SAFETY: `owner` is only ever passed to `release`, which may be called from any thread (the field's contract).
unsafe impl Send for OutputBatch {}

/// What kind of failure a call reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum FailureKind {
    /// The user's function raised, or returned what its declared type does not allow.
    /// The text is the Python traceback as PySpark would show it.
    Python = 1,
    /// The environment cannot run the session (a package is missing, another Python version): Spark's own path may.
    Environment = 2,
    /// A defect in rudf, or a message or batch that breaks the protocol.
    Internal = 3,
    /// The worker process died, or was ended because it took too long.
    Crashed = 4,
}

/// A failure's text (UTF-8), owned by the callee until `release` is called with this struct's `text` and `length`.
#[repr(C)]
pub struct Failure {
    /// A [`FailureKind`] as `u32`; 0 is no failure.
    pub kind: u32,
    pub text: *mut u8,
    pub length: usize,
    pub release: Option<unsafe extern "C" fn(text: *mut u8, length: usize)>,
}

impl Failure {
    /// No failure, to be filled by a call.
    #[must_use]
    pub const fn none() -> Self {
        Self { kind: 0, text: std::ptr::null_mut(), length: 0, release: None }
    }
}

/// The functions of an interpreter-side worker. Those that return `i32` return 0 on success and fill `failure` otherwise.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WorkerApi {
    /// [`crate::PROTOCOL_VERSION`] of the library.
    pub version: u32,
    /// Prepares the interpreter: `config` is a [`StartConfig`] as JSON. Called once, after `Py_Initialize` and with the
    /// interpreter's lock released.
    pub start: unsafe extern "C" fn(config: *const u8, length: usize, failure: *mut Failure) -> i32,
    /// Gives the calling thread a Python thread state that lasts until `detach_thread`.
    pub attach_thread: unsafe extern "C" fn(failure: *mut Failure) -> i32,
    /// Ends what `attach_thread` began.
    pub detach_thread: unsafe extern "C" fn(),
    /// Opens a session from an encoded [`crate::message`]; `*session` is passed to the other functions.
    pub open: unsafe extern "C" fn(
        message: *const u8,
        length: usize,
        session: *mut *mut c_void,
        failure: *mut Failure,
    ) -> i32,
    /// Runs the session's functions over `input`, whose ownership passes to the callee whatever it returns.
    pub evaluate: unsafe extern "C" fn(
        session: *mut c_void,
        input: InputBatch,
        output: *mut OutputBatch,
        failure: *mut Failure,
    ) -> i32,
    /// Ends a session and everything it holds.
    pub close: unsafe extern "C" fn(session: *mut c_void),
    /// Asks the Python code that a session is running to stop, by an asynchronous exception. Any thread; never blocks
    /// for longer than it takes to get the interpreter's attention.
    pub interrupt: unsafe extern "C" fn(session: *mut c_void),
}
