//! The worker interface of `rudf_segment::worker`, for hosts that embed the interpreter.
//!
//! Every function comes in through [`guarded`], which catches panics and turns errors into a filled [`Failure`].

use std::{
    cell::Cell,
    ffi::{c_long, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, Instant},
};

use pyo3::{exceptions::PyKeyboardInterrupt, ffi, prelude::*, types::PyDict};
use rudf_columns::BatchMemory;
use rudf_eval::{Session, SessionError};
use rudf_segment::{
    PROTOCOL_VERSION,
    worker::{Failure, FailureKind, InputBatch, OutputBatch, StartConfig, WorkerApi},
};

use crate::output;

static API: WorkerApi =
    WorkerApi { version: PROTOCOL_VERSION, start, attach_thread, detach_thread, open, evaluate, close, interrupt };

/// The table of the worker interface; see `rudf_segment::worker::WORKER_API_SYMBOL`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn rudf_worker_api() -> *const WorkerApi {
    &raw const API
}

/// A session as a host sees it.
struct EmbeddedSession {
    session: Session,
    /// Python's number of the thread that is evaluating a batch right now.
    running: Arc<Mutex<Option<c_long>>>,
}

thread_local! {
    /// What [`attach_thread`] got, for [`detach_thread`].
    static ATTACHED: Cell<Option<(ffi::PyGILState_STATE, NonNull<ffi::PyThreadState>)>> = const { Cell::new(None) };
}

/// Runs `body`; an error or a panic fills `failure` and gives 1.
///
/// # Safety
/// `failure` is null or valid for writing.
unsafe fn guarded(failure: *mut Failure, body: impl FnOnce() -> Result<(), SessionError>) -> i32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(panic) => SessionError {
            kind: FailureKind::Internal,
            text: format!("defect in rudf's native module: {}", panic_text(panic.as_ref())),
        },
    };
    if !failure.is_null() {
        let text = Box::leak(error.text.into_bytes().into_boxed_slice());
        let filled = Failure {
            kind: error.kind as u32,
            text: text.as_mut_ptr(),
            length: text.len(),
            release: Some(release_text),
        };
        // SAFETY: valid for writing, by the caller's promise.
        unsafe { failure.write(filled) };
    }
    1
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown panic")
}

unsafe extern "C" fn release_text(text: *mut u8, length: usize) {
    // SAFETY: `guarded` leaked a boxed slice of exactly this address and length, and the host calls this once.
    drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(text, length)) });
}

fn environment_error(error: &PyErr) -> SessionError {
    SessionError { kind: FailureKind::Environment, text: format!("the embedded Python cannot be prepared: {error}") }
}

unsafe extern "C" fn start(config: *const u8, length: usize, failure: *mut Failure) -> i32 {
    let body = || {
        // SAFETY: the host keeps `length` bytes at `config` for the length of the call.
        let config = unsafe { std::slice::from_raw_parts(config, length) };
        let config: StartConfig = serde_json::from_slice(config)
            .map_err(|error| SessionError { kind: FailureKind::Internal, text: error.to_string() })?;
        Python::attach(|py| prepare(py, &config)).map_err(|error| environment_error(&error))
    };
    // SAFETY: the host passes a failure that it has made for this call.
    unsafe { guarded(failure, body) }
}

/// Makes `rudf` importable and lets its Python side do the rest.
fn prepare(py: Python<'_>, config: &StartConfig) -> PyResult<()> {
    py.import("sys")?.getattr("path")?.call_method1("insert", (0, &config.package_directory))?;
    let arguments = PyDict::new(py);
    arguments.set_item("python_path", &config.python_path)?;
    arguments.set_item("executable", &config.executable)?;
    py.import("rudf.worker.embedded")?.call_method("prepare", (), Some(&arguments))?;
    Ok(())
}

unsafe extern "C" fn attach_thread(failure: *mut Failure) -> i32 {
    let body = || {
        // SAFETY: the interpreter is initialised (the host's promise), and this thread does not hold its lock.
        let (state, thread) = unsafe { (ffi::PyGILState_Ensure(), ffi::PyEval_SaveThread()) };
        let thread = NonNull::new(thread).ok_or_else(|| SessionError {
            kind: FailureKind::Internal,
            text: "Python gave this thread no state".to_owned(),
        })?;
        ATTACHED.set(Some((state, thread)));
        Ok(())
    };
    // SAFETY: the host passes a failure that it has made for this call.
    unsafe { guarded(failure, body) }
}

unsafe extern "C" fn detach_thread() {
    if let Some((state, thread)) = ATTACHED.take() {
        // SAFETY: both come from `attach_thread` on this very thread.
        unsafe {
            ffi::PyEval_RestoreThread(thread.as_ptr());
            ffi::PyGILState_Release(state);
        }
    }
}

unsafe extern "C" fn open(message: *const u8, length: usize, session: *mut *mut c_void, failure: *mut Failure) -> i32 {
    let body = || {
        // SAFETY: the host keeps `length` bytes at `message` for the length of the call.
        let message = unsafe { std::slice::from_raw_parts(message, length) };
        let turn = turn_to_open();
        let opened = Python::attach(|py| Session::open(py, message))?;
        drop(turn);
        let boxed = Box::new(EmbeddedSession { session: opened, running: Arc::default() });
        // SAFETY: the host passes a place for the session.
        unsafe { session.write(Box::into_raw(boxed).cast()) };
        Ok(())
    };
    // SAFETY: the host passes a failure that it has made for this call.
    unsafe { guarded(failure, body) }
}

/// Waits until no other thread opens a session: unpickling imports, and two threads that import packages whose modules
/// import each other (PySpark is one) can end in an import that Python breaks off as a deadlock. A function that
/// does not come back from being unpickled does not stop the others for ever.
fn turn_to_open() -> Option<MutexGuard<'static, ()>> {
    static OPENING: Mutex<()> = Mutex::new(());
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        match OPENING.try_lock() {
            Ok(turn) => return Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return None,
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// One reference to a segment of the host's.
struct SegmentOwner {
    owner: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: `release` may be called from any thread (see `InputBatch`), and nothing else is done with `owner`.
unsafe impl Send for SegmentOwner {}
// SAFETY: as above; a shared reference gives access to nothing.
unsafe impl Sync for SegmentOwner {}

impl Drop for SegmentOwner {
    fn drop(&mut self) {
        // SAFETY: called once, with the owner that came with the batch.
        unsafe { (self.release)(self.owner) };
    }
}

unsafe extern "C" fn evaluate(
    session: *mut c_void,
    input: InputBatch,
    result: *mut OutputBatch,
    failure: *mut Failure,
) -> i32 {
    let owner = Arc::new(SegmentOwner { owner: input.owner, release: input.release });
    let body = || {
        let session = session.cast::<EmbeddedSession>();
        // SAFETY: the session came from `open`; the host uses it on one thread at a time, and `interrupt`, which may come
        // from another, touches only `running`.
        let (session, running) = unsafe { (&mut (*session).session, &(*session).running) };
        let base = NonNull::new(input.base.cast_mut())
            .ok_or_else(|| SessionError { kind: FailureKind::Internal, text: "a batch without memory".to_owned() })?;
        // SAFETY: the batch stays in place and unchanged until `owner` is dropped (see `InputBatch`).
        let memory = unsafe { BatchMemory::new(base, input.length, owner) };
        let (arrays, spent) = Python::attach(|py| {
            let start = Instant::now();
            set_running(running, Some(thread_number(py)));
            let evaluated = session.evaluate(py, memory);
            set_running(running, None);
            // An interrupt that came too late must not hit the next session on this thread.
            clear_interrupt(py);
            evaluated.map(|arrays| (arrays, start.elapsed()))
        })?;
        // SAFETY: the host passes a place for the results.
        unsafe { result.write(output::export(arrays, spent)) };
        Ok(())
    };
    // SAFETY: the host passes a failure that it has made for this call.
    unsafe { guarded(failure, body) }
}

unsafe extern "C" fn close(session: *mut c_void) {
    let _failed_quietly = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|_py| {
            // SAFETY: the session came from `open`, and the host closes it once, when nothing else uses it.
            drop(unsafe { Box::from_raw(session.cast::<EmbeddedSession>()) });
        });
    }));
}

unsafe extern "C" fn interrupt(session: *mut c_void) {
    let session = session.cast::<EmbeddedSession>();
    // SAFETY: the session is open (the host's promise); only the part that is shared between threads is touched.
    let running = Arc::clone(unsafe { &(*session).running });
    let _failed_quietly = catch_unwind(AssertUnwindSafe(|| {
        Python::attach(|py| {
            // With the interpreter's lock held, the thread cannot leave `evaluate` in between.
            if let Some(thread) = *running.lock().unwrap_or_else(PoisonError::into_inner) {
                let exception = py.get_type::<PyKeyboardInterrupt>();
                // SAFETY: the interpreter's lock is held and the exception is a class.
                unsafe { set_async_exception(thread, exception.as_ptr()) };
            }
        });
    }));
}

fn set_running(running: &Mutex<Option<c_long>>, thread: Option<c_long>) {
    *running.lock().unwrap_or_else(PoisonError::into_inner) = thread;
}

fn thread_number(py: Python<'_>) -> c_long {
    py.import("_thread").and_then(|module| module.call_method0("get_ident")?.extract::<c_long>()).unwrap_or_default()
}

fn clear_interrupt(py: Python<'_>) {
    // SAFETY: the interpreter's lock is held; null clears what is pending.
    unsafe { set_async_exception(thread_number(py), std::ptr::null_mut()) };
}

/// # Safety
/// The interpreter's lock is held; `exception` is a class or null.
unsafe fn set_async_exception(thread: c_long, exception: *mut ffi::PyObject) {
    unsafe extern "C" {
        // In CPython's stable interface since 3.2: https://docs.python.org/3/c-api/init.html
        fn PyThreadState_SetAsyncExc(thread: std::ffi::c_ulong, exception: *mut ffi::PyObject) -> std::ffi::c_int;
    }
    // SAFETY: the caller's promise. A number that is no thread's any more is ignored.
    unsafe { PyThreadState_SetAsyncExc(thread as std::ffi::c_ulong, exception) };
}
