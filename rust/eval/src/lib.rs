//! Runs Python UDFs over record batches. Knows no JNI and no transport: batches are memory with an owner.
//!
//! - [`session`]: one operator's functions, from the session message to results;
//! - [`row`]: functions of plain values, called from here for every row;
//! - [`pickled`]: the same where Spark's JVM side converts what is not of the declared type;
//! - [`vectorized`]: functions of pyarrow arrays and pandas Series, called once for a batch;
//! - [`stream`]: functions that take an iterator of batches and give one;
//! - [`texts`]: strings of pandas as arrays;
//! - [`bridge`]: arrays to pyarrow and back without a copy;
//! - [`keep`]: batches that failed, in files that can be run again;
//! - [`error`]: Python errors as text.

pub mod bridge;
pub mod error;
pub mod keep;
pub mod pickled;
pub mod row;
pub mod session;
pub mod stream;
pub mod texts;
pub mod vectorized;

pub use error::SessionError;
pub use keep::keep_batches;
pub use session::Session;
