//! A worker process as this side sees it: a socket, a pidfd, and a report that is read when it dies.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use rudf_segment::{
    control::ControlError,
    link::{Incoming, Link, LinkError},
    progress::Whereabouts,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::RecvFlags,
    process::{Pid, Signal, pidfd_send_signal},
};

use super::{report, server::Server};

/// How long a worker that has closed its socket may take to be gone.
const DYING: Duration = Duration::from_millis(500);

/// How long Python may take to write down where it is.
const DUMPING: Duration = Duration::from_millis(500);

/// A worker process that belongs to one session, or to the pool. Dropping it ends the process.
pub(super) struct Worker {
    pub(super) link: Link,
    number: u64,
    process: Pid,
    pidfd: OwnedFd,
    report: OwnedFd,
    /// Knows how its workers ended.
    server: Arc<Server>,
}

/// What waiting for a worker brought.
pub(super) enum Event {
    Message(Incoming),
    /// The process, or its end of the socket, is gone.
    Died,
    /// Nothing in the time that was given.
    Nothing,
}

impl Worker {
    pub(super) fn new(
        link: Link,
        number: u64,
        process: Pid,
        pidfd: OwnedFd,
        report: OwnedFd,
        server: Arc<Server>,
    ) -> Self {
        Self { link, number, process, pidfd, report, server }
    }

    /// The process's number, for messages.
    pub(super) fn process(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// The next message, if it comes within `timeout`.
    ///
    /// The pidfd is watched as well as the socket: a process that the user's code has forked off may keep the socket open
    /// when the worker is long dead.
    ///
    /// # Errors
    /// A [`LinkError`] where the worker does not keep the protocol.
    pub(super) fn wait(&self, timeout: Duration) -> Result<Event, LinkError> {
        let timeout = timeout.try_into().ok();
        let mut polled =
            [PollFd::from_borrowed_fd(self.link.socket(), PollFlags::IN), PollFd::new(&self.pidfd, PollFlags::IN)];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(Event::Nothing),
            Ok(_) => {}
            Err(error) => return Err(ControlError::Socket(error).into()),
        }
        // What it said before it died counts.
        if polled[0].revents().is_empty() {
            return Ok(Event::Died);
        }
        match self.link.receive(RecvFlags::DONTWAIT) {
            Ok(Some(incoming)) => Ok(Event::Message(incoming)),
            Ok(None) => Ok(Event::Died),
            Err(LinkError::Control(ControlError::Socket(Errno::AGAIN | Errno::INTR))) => Ok(Event::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Where it said last that it was.
    pub(super) fn whereabouts(&self) -> Option<Whereabouts> {
        Whereabouts::read(&self.report)
    }

    fn has_ended(&self, within: Duration) -> bool {
        let timeout = within.try_into().ok();
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], timeout.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Ends the process at once. What it has started is ended by the fork server, which hears of it.
    pub(super) fn kill(&self) {
        let _it_may_be_gone = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// How it ended, after [`Event::Died`].
    pub(super) fn obituary(&self) -> report::Obituary {
        if !self.has_ended(DYING) {
            self.kill();
            return report::Obituary { end: report::End::HungUp, stack: report::stack(&self.report) };
        }
        let end = match self.server.status(self.number) {
            Some(status) => report::End::of(status),
            None => report::End::Unknown,
        };
        report::Obituary { end, stack: report::stack(&self.report) }
    }

    /// Where Python is right now, in all its threads.
    pub(super) fn dump(&self) -> String {
        let before = report::length(&self.report);
        let _it_may_be_gone = pidfd_send_signal(&self.pidfd, report::DUMP_SIGNAL);
        let end = Instant::now() + DUMPING;
        let mut length = before;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            let now = report::length(&self.report);
            if now > before && now == length {
                break;
            }
            length = now;
        }
        report::stack(&self.report)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
