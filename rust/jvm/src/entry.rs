//! The native methods of `org.rudf.spark.RudfNative`.
//!
//! Only longs cross: addresses, lengths and handles. A handle is the address of a boxed value that Java gives back with
//! the matching release method. Every method goes through `native_method!`, which catches panics, and [`ThrowNative`],
//! which turns errors into `RudfNativeException`.

use std::{
    os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd},
    slice,
    sync::Arc,
    time::Duration,
};

use jni::{Env, NativeMethod, native_method, objects::JClass, sys::jlong};
use rudf_segment::{PROTOCOL_VERSION, memory::Segment};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::{
    embedded::{EmbeddedConfig, EmbeddedHost},
    error::{NativeError, ThrowNative},
    host::{ResultBatch, WorkerHost, WorkerSession},
    process::{ProcessConfig, ProcessHost},
};

type Host = Box<dyn WorkerHost>;
type Session = Box<dyn WorkerSession>;
type Results = Box<dyn ResultBatch>;

macro_rules! native {
    ($($name:ident($($argument:ident),*);)*) => {
        /// The table of all methods; `native_method!` also exports each under its JNI name, so the JVM finds it.
        pub const METHODS: &[NativeMethod] = &[$(
            native_method! {
                java_type = "org.rudf.spark.RudfNative",
                error_policy = ThrowNative,
                static extern fn $name($($argument: jlong),*) -> jlong,
            },
        )*];
    };
}

native! {
    protocol_version();
    start_embedded(config, length);
    start_process(config, length);
    describe_host(host);
    stop_host(host);
    open_session(host, message, length);
    await_opened(session, timeout_millis);
    close_session(session);
    interrupt_session(session);
    acquire_segment(session, capacity);
    segment_address(segment);
    segment_capacity(segment);
    release_segment(segment);
    submit(session, segment, length);
    ask(session, end);
    take(session, timeout_millis);
    finish(session, timeout_millis);
    result_rows(result);
    result_taken(result);
    result_bytes(result);
    result_nanos(result);
    result_columns(result);
    release_result(result);
    text_address(text);
    text_length(text);
    release_text(text);
    create_file();
    close_file(file);
}

type Answer = Result<jlong, NativeError>;
type Class<'local> = JClass<'local>;

fn to_handle<T>(value: T) -> jlong {
    Box::into_raw(Box::new(value)) as jlong
}

/// Borrows what a handle stands for.
///
/// # Safety
/// `handle` came from [`to_handle`] with the same type and has not been released.
unsafe fn borrow<'a, T>(handle: jlong) -> Result<&'a T, NativeError> {
    // SAFETY: the caller's promise; a null handle is refused.
    unsafe { (handle as *const T).as_ref() }.ok_or_else(null_handle)
}

/// Takes back what a handle stands for; 0 is nothing.
///
/// # Safety
/// As for [`borrow`], and the handle is not used again.
unsafe fn release<T>(handle: jlong) -> Answer {
    if handle != 0 {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(handle as *mut T) });
    }
    Ok(0)
}

fn null_handle() -> NativeError {
    NativeError::Internal("a handle is 0: it was released, or never made".to_owned())
}

fn size(value: jlong) -> Result<usize, NativeError> {
    usize::try_from(value).map_err(|_| NativeError::Internal(format!("a size is negative: {value}")))
}

/// # Safety
/// `address` and `length` describe memory that the caller keeps for the length of the call.
unsafe fn bytes<'a>(address: jlong, length: jlong) -> Result<&'a [u8], NativeError> {
    let length = size(length)?;
    if address == 0 {
        return Err(null_handle());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { slice::from_raw_parts(address as *const u8, length) })
}

fn protocol_version(_: &mut Env<'_>, _: Class<'_>) -> Answer {
    Ok(jlong::from(PROTOCOL_VERSION))
}

fn start_embedded(_: &mut Env<'_>, _: Class<'_>, config: jlong, length: jlong) -> Answer {
    // SAFETY: RudfNative's caller keeps the configuration's memory until this returns.
    let config: EmbeddedConfig = serde_json::from_slice(unsafe { bytes(config, length) }?)
        .map_err(|error| NativeError::Internal(format!("start configuration: {error}")))?;
    let host = EmbeddedHost::start(&config)?;
    Ok(to_handle::<Host>(Box::new(host)))
}

fn start_process(_: &mut Env<'_>, _: Class<'_>, config: jlong, length: jlong) -> Answer {
    // SAFETY: RudfNative's caller keeps the configuration's memory until this returns.
    let config: ProcessConfig = serde_json::from_slice(unsafe { bytes(config, length) }?)
        .map_err(|error| NativeError::Internal(format!("start configuration: {error}")))?;
    Ok(to_handle::<Host>(Box::new(ProcessHost::start(config)?)))
}

fn describe_host(_: &mut Env<'_>, _: Class<'_>, host: jlong) -> Answer {
    // SAFETY: `host` came from `start_embedded` or `start_process`.
    unsafe { borrow::<Host>(host) }?.describe().map(to_handle::<String>)
}

fn stop_host(_: &mut Env<'_>, _: Class<'_>, host: jlong) -> Answer {
    // SAFETY: `host` came from `start_embedded` or `start_process`, and hosts are never released.
    unsafe { borrow::<Host>(host) }?.stop();
    Ok(0)
}

fn open_session(_: &mut Env<'_>, _: Class<'_>, host: jlong, message: jlong, length: jlong) -> Answer {
    // SAFETY: `host` came from `start_embedded` or `start_process`; the caller keeps the message until this returns.
    let (host, message) = unsafe { (borrow::<Host>(host)?, bytes(message, length)?) };
    host.open(message.to_vec()).map(to_handle::<Session>)
}

fn await_opened(_: &mut Env<'_>, _: Class<'_>, session: jlong, timeout_millis: jlong) -> Answer {
    let timeout = Duration::from_millis(size(timeout_millis)? as u64);
    // SAFETY: `session` came from `open_session`.
    unsafe { borrow::<Session>(session) }?.opened(timeout).map(jlong::from)
}

fn close_session(_: &mut Env<'_>, _: Class<'_>, session: jlong) -> Answer {
    // SAFETY: `session` came from `open_session` and Java forgets it.
    unsafe { release::<Session>(session) }
}

fn interrupt_session(_: &mut Env<'_>, _: Class<'_>, session: jlong) -> Answer {
    // SAFETY: `session` came from `open_session`.
    unsafe { borrow::<Session>(session) }?.interrupt();
    Ok(0)
}

fn acquire_segment(_: &mut Env<'_>, _: Class<'_>, session: jlong, capacity: jlong) -> Answer {
    // SAFETY: `session` came from `open_session`.
    let segment = unsafe { borrow::<Session>(session) }?.acquire(size(capacity)?)?;
    Ok(to_handle::<Arc<Segment>>(segment))
}

fn segment_address(_: &mut Env<'_>, _: Class<'_>, segment: jlong) -> Answer {
    // SAFETY: `segment` came from `acquire_segment`.
    Ok(unsafe { borrow::<Arc<Segment>>(segment) }?.base() as jlong)
}

fn segment_capacity(_: &mut Env<'_>, _: Class<'_>, segment: jlong) -> Answer {
    // SAFETY: `segment` came from `acquire_segment`.
    let capacity = unsafe { borrow::<Arc<Segment>>(segment) }?.capacity();
    jlong::try_from(capacity).map_err(|error| NativeError::Internal(error.to_string()))
}

fn release_segment(_: &mut Env<'_>, _: Class<'_>, segment: jlong) -> Answer {
    // SAFETY: `segment` came from `acquire_segment` and Java forgets it.
    unsafe { release::<Arc<Segment>>(segment) }
}

fn submit(_: &mut Env<'_>, _: Class<'_>, session: jlong, segment: jlong, length: jlong) -> Answer {
    // SAFETY: the handles came from `open_session` and `acquire_segment`.
    let (session, segment) = unsafe { (borrow::<Session>(session)?, borrow::<Arc<Segment>>(segment)?) };
    session.submit(Arc::clone(segment), size(length)?)?;
    Ok(0)
}

fn ask(_: &mut Env<'_>, _: Class<'_>, session: jlong, end: jlong) -> Answer {
    // SAFETY: `session` came from `open_session`.
    unsafe { borrow::<Session>(session) }?.ask(end != 0)?;
    Ok(0)
}

fn take(_: &mut Env<'_>, _: Class<'_>, session: jlong, timeout_millis: jlong) -> Answer {
    let timeout = Duration::from_millis(size(timeout_millis)? as u64);
    // SAFETY: `session` came from `open_session`.
    let result = unsafe { borrow::<Session>(session) }?.take(timeout)?;
    Ok(result.map_or(0, to_handle::<Results>))
}

fn finish(_: &mut Env<'_>, _: Class<'_>, session: jlong, timeout_millis: jlong) -> Answer {
    let timeout = Duration::from_millis(size(timeout_millis)? as u64);
    // SAFETY: `session` came from `open_session`.
    let told = unsafe { borrow::<Session>(session) }?.finish(timeout)?;
    Ok(told.map_or(0, to_handle::<String>))
}

fn result_rows(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take`.
    let rows = unsafe { borrow::<Results>(result) }?.rows();
    jlong::try_from(rows).map_err(|error| NativeError::Internal(error.to_string()))
}

fn result_taken(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take`.
    Ok(jlong::from(unsafe { borrow::<Results>(result) }?.taken()))
}

fn result_bytes(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take`.
    let bytes = unsafe { borrow::<Results>(result) }?.bytes();
    Ok(jlong::try_from(bytes).unwrap_or(jlong::MAX))
}

fn result_nanos(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take`.
    let spent = unsafe { borrow::<Results>(result) }?.spent();
    Ok(jlong::try_from(spent.as_nanos()).unwrap_or(jlong::MAX))
}

fn result_columns(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take`.
    Ok(unsafe { borrow::<Results>(result) }?.columns().as_ptr() as jlong)
}

fn release_result(_: &mut Env<'_>, _: Class<'_>, result: jlong) -> Answer {
    // SAFETY: `result` came from `take` and Java forgets it.
    unsafe { release::<Results>(result) }
}

fn text_address(_: &mut Env<'_>, _: Class<'_>, text: jlong) -> Answer {
    // SAFETY: `text` came from `describe_host` or `finish`.
    Ok(unsafe { borrow::<String>(text) }?.as_ptr() as jlong)
}

fn text_length(_: &mut Env<'_>, _: Class<'_>, text: jlong) -> Answer {
    // SAFETY: `text` came from `describe_host` or `finish`.
    jlong::try_from(unsafe { borrow::<String>(text) }?.len()).map_err(|error| NativeError::Internal(error.to_string()))
}

fn create_file(_: &mut Env<'_>, _: Class<'_>) -> Answer {
    let file = memfd_create("rudf", MemfdFlags::CLOEXEC)
        .map_err(|error| NativeError::Environment(format!("a file in memory cannot be made: {error}")))?;
    Ok(jlong::from(file.into_raw_fd()))
}

fn close_file(_: &mut Env<'_>, _: Class<'_>, file: jlong) -> Answer {
    let file = RawFd::try_from(file).map_err(|error| NativeError::Internal(error.to_string()))?;
    // SAFETY: `file` came from `create_file` and Java forgets it.
    drop(unsafe { OwnedFd::from_raw_fd(file) });
    Ok(0)
}

fn release_text(_: &mut Env<'_>, _: Class<'_>, text: jlong) -> Answer {
    // SAFETY: `text` came from `describe_host` or `finish` and Java forgets it.
    unsafe { release::<String>(text) }
}
