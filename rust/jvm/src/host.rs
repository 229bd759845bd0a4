//! What a worker host is: something that runs the functions of a session over record batches.
//!
//! Nothing above this module knows which host runs. A session is driven by one task thread: it lays a batch out in a
//! segment from [`WorkerSession::acquire`], hands it over with [`WorkerSession::submit`], and may lay out the next one
//! before it asks for the result with [`WorkerSession::take`]. Results come in the order of submission.

use std::{sync::Arc, time::Duration};

use rudf_segment::{layout::ColumnDescriptor, memory::Segment};

use crate::error::NativeError;

/// Runs Python somewhere.
pub trait WorkerHost: Send + Sync {
    /// Opens a session from an encoded [`rudf_segment::message`], and does not wait for its functions to be unpickled:
    /// that is what [`WorkerSession::opened`] is for.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where this host cannot run the session at all.
    fn open(&self, message: Vec<u8>) -> Result<Box<dyn WorkerSession>, NativeError>;

    /// One line of JSON about the Python that runs: `executable`, `version`, `packages`.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where it turns out only now that the Python does not run.
    fn describe(&self) -> Result<String, NativeError>;

    /// Ends processes that run for this host and opens no more sessions; those that are open go on to their ends.
    fn stop(&self) {}
}

/// One operator's functions on one partition.
pub trait WorkerSession: Send {
    /// Whether the functions have been unpickled, which takes until at most `timeout`. Asked until it is so, before anything
    /// else.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where this Python cannot run the functions, [`NativeError::Python`] where one cannot
    /// be unpickled.
    fn opened(&self, timeout: Duration) -> Result<bool, NativeError>;

    /// Memory of at least `capacity` bytes for the next batch.
    ///
    /// # Errors
    /// [`NativeError::Internal`] where there is no memory.
    fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, NativeError>;

    /// Hands a batch over; the first `length` bytes of `segment` are not written any more.
    ///
    /// # Errors
    /// [`NativeError::Internal`] where the session has ended.
    fn submit(&self, segment: Arc<Segment>, length: usize) -> Result<(), NativeError>;

    /// The result of the oldest batch that has not been taken yet; `None` where it is not there within `timeout`.
    ///
    /// # Errors
    /// What the function raised, or why the worker is gone.
    fn take(&self, timeout: Duration) -> Result<Option<Box<dyn ResultBatch>>, NativeError>;

    /// Asks a stream for results without a batch; with `end`, says that there are no more batches.
    ///
    /// # Errors
    /// [`NativeError::Internal`] where the session has ended, or its host runs no streams.
    fn ask(&self, end: bool) -> Result<(), NativeError> {
        let _no_stream_here = end;
        Err(NativeError::Internal("functions of this kind run in worker processes only".to_owned()))
    }

    /// What the session tells when all results have been taken, as JSON (`rudf.worker.services.finish`); `None` where it
    /// is not there within `timeout`.
    ///
    /// # Errors
    /// What the worker could not tell, or why it is gone.
    fn finish(&self, timeout: Duration) -> Result<Option<String>, NativeError>;

    /// Asks the running function to stop. The session can only be dropped afterwards.
    fn interrupt(&self);
}

/// The results of one batch, valid until dropped.
pub trait ResultBatch: Send {
    fn rows(&self) -> u64;

    /// Bytes of the results.
    fn bytes(&self) -> u64;

    /// How long Python was at work since the results before; its waits for batches, and those of one thread for another's
    /// turn with the interpreter, are left out.
    fn spent(&self) -> Duration;

    /// Of a stream: [`taken`](rudf_segment::control::taken).
    fn taken(&self) -> u32 {
        0
    }

    /// One descriptor a function, with absolute addresses.
    fn columns(&self) -> &[ColumnDescriptor];
}
