//! How a worker process ended, in words: signal or exit code, and Python's stack where `faulthandler` could write it.
//!
//! The report is a memory file that this side makes and that the worker gets when it is forked. What stands in it comes
//! from a process that runs the user's code: it is shown, and nothing else.

use std::{
    fmt,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{SeekFrom, fstat, seek},
    io::{Errno, pread},
    process::Signal,
};

/// Makes Python write every thread's stack into the report; `rudf.worker.process` registers the same.
pub(super) const DUMP_SIGNAL: Signal = Signal::STKFLT;

/// Where the text begins, behind what the worker notes of where it is.
pub(super) const TEXT_AT: usize = rudf_segment::progress::PROGRESS_BYTES;

/// Exit code of a worker whose control socket fails; `rudf.worker.process` has the same.
const LOST: i32 = 76;

/// Longest stack that is shown.
const LONGEST_STACK: usize = 16 << 10;

/// Names of the signals that end processes.
const SIGNALS: [(i32, &str); 14] = [
    (1, "SIGHUP"),
    (2, "SIGINT"),
    (3, "SIGQUIT"),
    (4, "SIGILL"),
    (5, "SIGTRAP"),
    (6, "SIGABRT"),
    (7, "SIGBUS"),
    (8, "SIGFPE"),
    (9, "SIGKILL"),
    (11, "SIGSEGV"),
    (13, "SIGPIPE"),
    (14, "SIGALRM"),
    (15, "SIGTERM"),
    (24, "SIGXCPU"),
];

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    Exited(i32),
    Killed(i32),
    /// It closed its end of the socket and lived on.
    HungUp,
    /// The fork server, which would know, is gone too.
    Unknown,
}

/// How a worker ended, and where it was.
pub(super) struct Obituary {
    pub(super) end: End,
    pub(super) stack: String,
}

impl End {
    /// The end that a status of `waitpid` means.
    pub(super) fn of(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(status >> 8 & 0xff),
            signal => Self::Killed(signal),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(LOST) => write!(
                f,
                "ended with exit code {LOST}, because its connection failed (does the function close descriptors that it did \
                 not open?)"
            ),
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Killed(9) => write!(
                f,
                "was killed by signal 9 (SIGKILL; if nobody sent it on purpose, the machine or the container was out of memory)"
            ),
            Self::Killed(signal) => {
                let name =
                    SIGNALS.iter().find(|(number, _)| number == signal).map_or("no common one", |(_, name)| name);
                write!(f, "was killed by signal {signal} ({name})")
            }
            Self::HungUp => {
                write!(
                    f,
                    "closed its connection, so it was ended (does the function close descriptors that it did not open?)"
                )
            }
            Self::Unknown => write!(f, "is gone, and so is the fork server that would know why"),
        }
    }
}

impl fmt::Display for Obituary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.end)?;
        if self.stack.is_empty() { Ok(()) } else { write!(f, "; Python was here:\n{}", self.stack) }
    }
}

/// Makes the worker write behind [`TEXT_AT`].
///
/// # Errors
/// What the kernel says.
pub(super) fn start_text(report: impl AsFd) -> Result<(), Errno> {
    seek(report, SeekFrom::Start(TEXT_AT as u64)).map(drop)
}

/// Bytes of the report.
pub(super) fn length(report: &OwnedFd) -> u64 {
    fstat(report).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

/// What `faulthandler` wrote.
pub(super) fn stack(report: &OwnedFd) -> String {
    let mut bytes = vec![0_u8; LONGEST_STACK];
    let mut length = 0;
    while length < bytes.len() {
        match pread(report, &mut bytes[length..], (TEXT_AT + length) as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rudf_segment::shared::report_file;

    use super::*;

    #[test]
    fn an_end_is_told_by_signal_or_exit_code() {
        assert_eq!(End::of(3 << 8), End::Exited(3));
        assert_eq!(End::of(11 | 0x80), End::Killed(11));
        assert!(End::of(11).to_string().contains("signal 11 (SIGSEGV)"));
        assert!(End::of(9).to_string().contains("out of memory"));
        assert!(End::of(3 << 8).to_string().contains("exit code 3"));
    }

    #[test]
    fn a_report_is_empty_until_somebody_writes_to_it() {
        let report = report_file(TEXT_AT).unwrap();
        start_text(&report).unwrap();
        assert_eq!(stack(&report), "");
        rustix::io::write(&report, b"Fatal Python error\n").unwrap();
        assert_eq!(stack(&report), "Fatal Python error");
        assert_eq!(length(&report), TEXT_AT as u64 + 19);
    }

    #[test]
    fn a_flood_is_cut() {
        let report = report_file(TEXT_AT).unwrap();
        start_text(&report).unwrap();
        rustix::io::write(&report, &vec![b'x'; 10 * LONGEST_STACK]).unwrap();
        assert_eq!(stack(&report).len(), LONGEST_STACK);
    }
}
