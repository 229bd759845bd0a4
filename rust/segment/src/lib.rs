//! What the two native libraries of rudf agree on, and nothing else.
//!
//! `librudf_jvm.so` (no Python) and `_native.abi3.so` (no JVM) meet here:
//!
//! - [`layout`]: how one record batch lies in memory (written by the JVM, read in place by Python, and back);
//! - [`message`]: the session message that says which functions run over which columns;
//! - [`worker`]: the C interface through which a host runs sessions in an interpreter of its own process;
//! - [`memory`]: the segments that batches lie in;
//! - [`control`]: the messages between the JVM side and Python processes;
//! - [`link`]: one end of such a connection, with the segments that go through it;
//! - [`shared`]: memory that two processes map;
//! - [`progress`]: where a worker process is, for those who wait for it.
//! - [`stopwatch`]: how long a worker has been at work, as its answers tell.
//!
//! This crate knows neither Python objects nor JNI.

pub mod control;
pub mod layout;
pub mod link;
pub mod memory;
pub mod message;
pub mod progress;
pub mod shared;
pub mod stopwatch;
pub mod worker;

/// Version of everything in this crate. Both libraries refuse to talk across different versions.
pub const PROTOCOL_VERSION: u32 = 4;
