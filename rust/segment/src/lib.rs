//! What the two native libraries of rudf agree on, and nothing else.
//!
//! `librudf_jvm.so` (no Python) and `_native.abi3.so` (no JVM) meet here:
//!
//! - [`layout`]: how one record batch lies in memory (written by the JVM, read in place by Python, and back);
//! - [`message`]: the session message that says which functions run over which columns;
//! - [`worker`]: the C interface through which a host runs sessions in an interpreter of its own process;
//! - [`memory`]: the segments that batches lie in.
//!
//! This crate knows neither Python objects nor JNI.

pub mod layout;
pub mod memory;
pub mod message;
pub mod worker;

/// Version of everything in this crate. Both libraries refuse to talk across different versions.
pub const PROTOCOL_VERSION: u32 = 1;
