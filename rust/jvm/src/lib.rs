//! The JNI library of rudf: what the Spark operators call, and the hosts that run Python for them. Links no Python.
//!
//! - [`entry`]: the native methods of `org.rudf.spark.RudfNative`, all through one wrapper;
//! - [`host`]: what a worker host is, whichever way it runs Python;
//! - [`process`]: the host that runs each session in a Python process of its own;
//! - [`embedded`]: the host that runs the interpreter inside this process;
//! - [`error`]: what goes wrong, and how Java hears of it.

pub mod embedded;
pub mod entry;
pub mod error;
pub mod host;
pub mod process;
