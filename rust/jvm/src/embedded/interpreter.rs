//! Opens libpython, starts the interpreter, and opens rudf's native module in it.
//!
//! The order matters. The JVM opens native libraries with `RTLD_LOCAL`, and the extension modules of numpy, pyarrow and
//! of Python itself expect libpython's symbols to be global: so libpython is opened here, by path, with `RTLD_GLOBAL`,
//! before anything that needs it.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};
use rudf_segment::{
    PROTOCOL_VERSION,
    worker::{Failure, StartConfig, WORKER_API_SYMBOL, WorkerApi},
};

use super::{EmbeddedConfig, environment::Environment, threads::PythonThreads};
use crate::error::NativeError;

/// Stack of the thread that Python takes for its main thread.
const MAIN_STACK_BYTES: usize = 64 << 20;

/// Starts the interpreter of `environment` on a thread that never ends, and opens the native module.
///
/// # Errors
/// [`NativeError::Environment`] with what was tried.
pub(super) fn start(environment: &Environment, config: &EmbeddedConfig) -> Result<Arc<PythonThreads>, NativeError> {
    let libpython = open_libpython(environment)?;
    let (sender, receiver) = mpsc::channel();
    let (environment, config) = (environment.clone(), config.clone());
    thread::Builder::new()
        .name("rudf-python-main".to_owned())
        .stack_size(MAIN_STACK_BYTES)
        .spawn(move || {
            let _sent = sender.send(initialize(&libpython, &environment, &config));
            // The interpreter's main thread must outlive all others, and libpython must stay open: neither ever ends.
            std::mem::forget(libpython);
            loop {
                thread::park();
            }
        })
        .map_err(|error| NativeError::Environment(format!("cannot start a thread for Python: {error}")))?;
    let api = receiver
        .recv()
        .map_err(|_| NativeError::Internal("the thread that starts Python ended without a word".to_owned()))??;
    Ok(PythonThreads::new(api))
}

/// Opens the environment's shared library, after checking that it is the very same version.
fn open_libpython(environment: &Environment) -> Result<Library, NativeError> {
    let mut tried = Vec::new();
    for candidate in environment.library_candidates() {
        match open_candidate(&candidate, environment) {
            Ok(library) => return Ok(library),
            Err(why) => tried.push(format!("{}: {why}", candidate.display())),
        }
    }
    let minor = environment.minor_version();
    Err(NativeError::Environment(format!(
        "no libpython for `{}` (Python {}), which embedding needs; tried {}. On Debian and Ubuntu: `apt-get install libpython{minor}`; \
         with pyenv: build Python with `--enable-shared`",
        environment.executable,
        environment.version,
        if tried.is_empty() { "nothing".to_owned() } else { tried.join("; ") }
    )))
}

fn open_candidate(path: &Path, environment: &Environment) -> Result<Library, String> {
    // SAFETY: libpython's initialisers only set up its own data.
    let local = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_LOCAL) }.map_err(|error| error.to_string())?;
    // SAFETY: this is the documented signature of Py_GetVersion, which may be called before initialisation.
    let version = unsafe {
        let get_version = local
            .get::<unsafe extern "C" fn() -> *const c_char>(b"Py_GetVersion\0")
            .map_err(|error| error.to_string())?;
        CStr::from_ptr(get_version())
    };
    let version = version.to_string_lossy();
    let number = version.split([' ', '+']).next().unwrap_or_default();
    if number != environment.version {
        return Err(format!("it is Python {number}, not {}", environment.version));
    }
    // SAFETY: as above; this makes the symbols of the library that is already open global.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| error.to_string())
}

/// Runs on the main Python thread.
fn initialize(
    libpython: &Library,
    environment: &Environment,
    config: &EmbeddedConfig,
) -> Result<WorkerApi, NativeError> {
    initialize_interpreter(libpython, environment).map_err(|error| {
        NativeError::Environment(format!("Python {} cannot be started here: {error}", environment.version))
    })?;
    let api = open_native_module(&config.native_module)?;
    let start = StartConfig {
        package_directory: config.package_directory.clone(),
        python_path: config.python_path.clone(),
        executable: environment.executable.clone(),
    };
    let start = serde_json::to_vec(&start).map_err(|error| NativeError::Internal(error.to_string()))?;
    let mut failure = Failure::none();
    // SAFETY: the interpreter is initialised and its lock is released; `start` lives through the call.
    match unsafe { (api.start)(start.as_ptr(), start.len(), &raw mut failure) } {
        0 => Ok(api),
        _ => Err(NativeError::from_failure(&failure)),
    }
}

/// Starts the interpreter as the environment's own `python` would start, without signal handlers (the JVM has its own),
/// and releases its lock.
fn initialize_interpreter(libpython: &Library, environment: &Environment) -> Result<(), libloading::Error> {
    let executable = CString::new(environment.executable.as_str()).unwrap_or_default();
    // SAFETY: each signature is the documented one of CPython 3.10 to 3.14, the order is the documented one, and the
    // program name is never freed, as Py_SetProgramName asks.
    unsafe {
        let is_initialized = libpython.get::<unsafe extern "C" fn() -> c_int>(b"Py_IsInitialized\0")?;
        if is_initialized() == 0 {
            // The path of the executable is what leads Python to its prefix, its virtual environment and its packages.
            let decode = libpython
                .get::<unsafe extern "C" fn(*const c_char, *mut usize) -> *mut c_void>(b"Py_DecodeLocale\0")?;
            let set_name = libpython.get::<unsafe extern "C" fn(*mut c_void)>(b"Py_SetProgramName\0")?;
            let initialize = libpython.get::<unsafe extern "C" fn(c_int)>(b"Py_InitializeEx\0")?;
            set_name(decode(executable.as_ptr(), std::ptr::null_mut()));
            initialize(0);
            let save_thread = libpython.get::<unsafe extern "C" fn() -> *mut c_void>(b"PyEval_SaveThread\0")?;
            save_thread();
        }
    }
    Ok(())
}

/// Opens `_native.abi3.so`, whose Python symbols resolve against the global libpython.
fn open_native_module(path: &str) -> Result<WorkerApi, NativeError> {
    let refuse = |error: libloading::Error| {
        NativeError::Environment(format!("rudf's native module `{path}` cannot be opened: {error}"))
    };
    // SAFETY: the module's initialisers touch nothing of ours, and its table stays valid because it is never closed.
    let api = unsafe {
        let library = Library::open(Some(path), RTLD_NOW | RTLD_LOCAL).map_err(refuse)?;
        let table = library.get::<unsafe extern "C" fn() -> *const WorkerApi>(WORKER_API_SYMBOL).map_err(refuse)?();
        let version = table.cast::<u32>().read();
        if version != PROTOCOL_VERSION {
            return Err(NativeError::Environment(format!(
                "rudf's native module `{path}` speaks protocol {version}, the JNI library {PROTOCOL_VERSION}: they come \
                 from different builds"
            )));
        }
        std::mem::forget(library);
        table.read()
    };
    Ok(api)
}
