//! Where a worker process is: function, row, and since when, noted in the first page of its report.
//!
//! The worker maps that page and writes four words to it while it works; the JVM side reads them when it has waited for
//! long, or when the worker has died. They come from a process that runs the user's code: they are shown, and compared
//! with this side's own clock, and nothing else.

use std::{
    os::fd::AsFd,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    io::{Errno, pread},
    mm::{MapFlags, ProtFlags, mmap},
    time::{ClockId, clock_gettime},
};

/// Bytes at the beginning of a report that are for this.
pub const PROGRESS_BYTES: usize = 4096;

/// The words. Batch and row count from 1, so that 0 is none.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Progress {
    batch: AtomicU64,
    function: AtomicU64,
    row: AtomicU64,
    /// In nanoseconds of the machine's monotonic clock.
    since: AtomicU64,
}

/// For processes that have no report.
static NOWHERE: Progress = Progress {
    batch: AtomicU64::new(0),
    function: AtomicU64::new(0),
    row: AtomicU64::new(0),
    since: AtomicU64::new(0),
};

static REPORT: OnceLock<&'static Progress> = OnceLock::new();

/// The words of this process.
#[must_use]
pub fn of_this_process() -> &'static Progress {
    REPORT.get().copied().unwrap_or(&NOWHERE)
}

/// Makes a report the one of this process, for as long as it lives.
///
/// # Errors
/// What the kernel says.
pub fn report_to(report: impl AsFd) -> Result<(), Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a null hint without MAP_FIXED overlaps nothing.
    let page = unsafe { mmap(std::ptr::null_mut(), PROGRESS_BYTES, protection, MapFlags::SHARED, report, 0) }?;
    // SAFETY: the page is never unmapped, aligned, and holds atomics, for which every bytes are values. Where the user's
    // code cuts the file off, this process ends with a signal, as it may by a hundred other ways.
    REPORT.get_or_init(|| unsafe { &*page.cast::<Progress>() });
    Ok(())
}

/// Nanoseconds of a clock that all processes of a machine share.
#[must_use]
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

impl Progress {
    /// A session begins: no batch of it has come.
    pub fn begin_session(&self) {
        self.batch.store(0, Ordering::Release);
    }

    /// Batch `batch` of the session has come.
    pub fn begin_batch(&self, batch: usize) {
        self.row.store(0, Ordering::Relaxed);
        self.function.store(0, Ordering::Relaxed);
        self.since.store(now(), Ordering::Relaxed);
        self.batch.store(batch as u64 + 1, Ordering::Release);
    }

    /// Function `function` of the session takes its turn.
    pub fn begin_function(&self, function: usize) {
        self.row.store(0, Ordering::Relaxed);
        self.since.store(now(), Ordering::Relaxed);
        self.function.store(function as u64, Ordering::Release);
    }

    /// Row `row` of the batch has come.
    #[inline]
    pub fn at_row(&self, row: usize) {
        self.row.store(row as u64 + 1, Ordering::Relaxed);
    }
}

/// What a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    pub batch: u64,
    pub function: usize,
    /// None for functions of whole batches.
    pub row: Option<u64>,
    /// See [`now`].
    pub since: u64,
}

impl Whereabouts {
    /// Reads a report of another process; `None` where it has not begun, or has been cut off.
    #[must_use]
    pub fn read(report: impl AsFd) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        let read = pread(report, &mut bytes, 0).ok()?;
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        let batch = word(0).checked_sub(1).filter(|_| read == bytes.len())?;
        Some(Self { batch, function: usize::try_from(word(8)).ok()?, row: word(16).checked_sub(1), since: word(24) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::shared::report_file;

    #[test]
    fn what_a_process_notes_another_reads() {
        let report = report_file(PROGRESS_BYTES).unwrap();
        assert_eq!(Whereabouts::read(&report), None);
        report_to(&report).unwrap();
        let progress = of_this_process();
        progress.begin_batch(3);
        progress.begin_function(1);
        assert_eq!(Whereabouts::read(&report).unwrap().row, None);
        progress.at_row(7);
        let read = Whereabouts::read(&report).unwrap();
        assert_eq!((read.batch, read.function, read.row), (3, 1, Some(7)));
        assert!(read.since <= now() && read.since > 0);
        progress.begin_session();
        assert_eq!(Whereabouts::read(&report), None);
    }

    #[test]
    fn a_report_that_was_cut_off_says_nothing() {
        let report = report_file(PROGRESS_BYTES).unwrap();
        rustix::fs::ftruncate(&report, 31).unwrap();
        assert_eq!(Whereabouts::read(&report), None);
    }
}
