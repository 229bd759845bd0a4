//! The fork server's side of the control protocol: forks workers on request, and knows how they ended.
//!
//! It lives in a Python process with one thread (see `rudf.worker.server`), which the JVM side has spawned. When that
//! side is gone, whatever ended it, the control socket says so, and the server ends its workers and itself.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd, RawFd},
};

use pyo3::{
    exceptions::{PyEOFError, PyOSError},
    prelude::*,
};
use rudf_segment::control::{self, ControlError, Kind, Message, Received};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::RecvFlags,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, kill_process_group, pidfd_open,
        set_parent_process_death_signal, setpgid, waitpid,
    },
};

/// How many ended workers' statuses are remembered for a JVM side that may ask.
const REMEMBERED: usize = 1024;

/// Forks workers for the JVM side at the other end of a socket.
#[pyclass(unsendable)]
pub(crate) struct ForkServer {
    /// None in a worker that was forked off.
    control: Option<OwnedFd>,
    workers: Vec<Forked>,
    ended: VecDeque<(u64, i32)>,
}

struct Forked {
    number: u64,
    process: Pid,
    pidfd: OwnedFd,
}

/// What a request leaves the process as.
enum Side {
    Server,
    /// Socket and report of the worker that this process has become.
    Worker(RawFd, RawFd),
}

#[pymethods]
impl ForkServer {
    /// Takes a control socket over, and the workers that this process had before it started itself again.
    #[new]
    fn new(control: RawFd, workers: Vec<(u64, i32)>) -> PyResult<Self> {
        // SAFETY: `rudf.worker.server` made this descriptor and hands it over.
        let control = unsafe { OwnedFd::from_raw_fd(control) };
        let again = |(number, process)| {
            let process = Pid::from_raw(process).ok_or(Errno::SRCH)?;
            // It is this process's child and nobody has waited for it, so the number is still its own.
            Ok(Forked { number, process, pidfd: pidfd_open(process, PidfdFlags::empty())? })
        };
        let workers = workers.into_iter().map(again).collect::<Result<_, Errno>>();
        let workers = workers.map_err(|error| PyOSError::new_err(format!("pidfd_open: {error}")))?;
        Ok(Self { control: Some(control), workers, ended: VecDeque::new() })
    }

    /// Number and process of each worker that has not been seen to end.
    fn workers(&self) -> Vec<(u64, i32)> {
        self.workers.iter().map(|worker| (worker.number, worker.process.as_raw_nonzero().get())).collect()
    }

    /// Tells the JVM side that the server takes requests, and what Python it is.
    fn hello(&self, about: &str) -> PyResult<()> {
        self.send(&Message::new(Kind::Hello, 0).with_text(about), &[])
    }

    /// Serves requests: those that are there (`wait` false, returns `None`), or for ever.
    ///
    /// Returns in a worker as well, with the numbers of its socket and its report. Raises `EOFError` in the server when
    /// the JVM side is gone and the workers have been killed.
    fn serve(&mut self, py: Python<'_>, wait: bool) -> PyResult<Option<(RawFd, RawFd)>> {
        loop {
            let (request, ended) = self.wait(py, wait)?;
            self.reap(&ended);
            if !request {
                if wait {
                    continue;
                }
                return Ok(None);
            }
            match self.receive()? {
                None => {
                    self.kill_workers();
                    return Err(PyEOFError::new_err("the JVM side is gone"));
                }
                Some(received) => {
                    if let Side::Worker(socket, report) = self.handle(py, received)? {
                        return Ok(Some((socket, report)));
                    }
                }
            }
        }
    }
}

impl ForkServer {
    fn control(&self) -> PyResult<&OwnedFd> {
        self.control.as_ref().ok_or_else(|| PyOSError::new_err("this process is a worker"))
    }

    fn send(&self, message: &Message, descriptors: &[std::os::fd::BorrowedFd<'_>]) -> PyResult<()> {
        match control::send(self.control()?, message, descriptors) {
            // The next `receive` tells.
            Ok(()) | Err(ControlError::Socket(Errno::PIPE | Errno::CONNRESET)) => Ok(()),
            Err(error) => Err(PyOSError::new_err(error.to_string())),
        }
    }

    /// Whether there is a request, and which workers have ended.
    fn wait(&self, py: Python<'_>, wait: bool) -> PyResult<(bool, Vec<u64>)> {
        let mut polled = vec![PollFd::new(self.control()?, PollFlags::IN)];
        polled.extend(self.workers.iter().map(|worker| PollFd::new(&worker.pidfd, PollFlags::IN)));
        let timeout = if wait { None } else { Some(Timespec::default()) };
        match poll(&mut polled, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => {
                py.check_signals()?;
                return Ok((false, Vec::new()));
            }
            Err(error) => return Err(PyOSError::new_err(error.to_string())),
        }
        let request = !polled[0].revents().is_empty();
        let ended = polled[1..].iter().zip(&self.workers).filter(|(poll, _)| !poll.revents().is_empty());
        Ok((request, ended.map(|(_, worker)| worker.number).collect()))
    }

    /// Ends what ended workers have left running, and remembers how they ended.
    fn reap(&mut self, ended: &[u64]) {
        for number in ended {
            let Some(index) = self.workers.iter().position(|worker| worker.number == *number) else { continue };
            let worker = self.workers.swap_remove(index);
            // Until `waitpid` the number is the ended worker's, so this can hit nobody else.
            let _none_left = kill_process_group(worker.process, Signal::KILL);
            if let Ok(Some((_, status))) = waitpid(Some(worker.process), WaitOptions::empty()) {
                if self.ended.len() == REMEMBERED {
                    self.ended.pop_front();
                }
                self.ended.push_back((worker.number, status.as_raw()));
            }
        }
    }

    fn receive(&self) -> PyResult<Option<Received>> {
        match control::receive(self.control()?, RecvFlags::empty()) {
            Ok(received) => Ok(received),
            Err(error) => Err(PyOSError::new_err(error.to_string())),
        }
    }

    fn handle(&mut self, py: Python<'_>, received: Received) -> PyResult<Side> {
        let number = received.message.session;
        match received.message.kind {
            Kind::Fork => match self.fork(py, number, received.descriptors) {
                Ok(side) => return Ok(side),
                Err(why) => self.send(&Message::new(Kind::ForkFailed, number).with_text(&why), &[])?,
            },
            Kind::Status => {
                let running: Vec<_> = self.workers.iter().map(|worker| worker.number).collect();
                if running.contains(&number) {
                    // It may have ended this very moment.
                    let (_, ended) = self.wait(py, false)?;
                    self.reap(&ended);
                }
                let known = self.ended.iter().find(|(ended, _)| *ended == number).map(|(_, status)| *status);
                let mut answer = Message::new(Kind::Ended, number);
                answer.sequence = u64::from(known.is_some());
                answer.code = known.unwrap_or(0).cast_unsigned();
                self.send(&answer, &[])?;
            }
            other => {
                return Err(PyOSError::new_err(format!("a message of the kind {other:?} is not for a fork server")));
            }
        }
        Ok(Side::Server)
    }

    fn fork(&mut self, py: Python<'_>, number: u64, descriptors: Vec<OwnedFd>) -> Result<Side, String> {
        let Ok([socket, report]) = <[OwnedFd; 2]>::try_from(descriptors) else {
            return Err("a request to fork came without its two descriptors".to_owned());
        };
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads > 1 {
            return Err(format!(
                "the fork server has {threads} threads, and only a process with one can be forked safely (does a \
                 `sitecustomize` or a `.pth` file of this Python start threads?)"
            ));
        }
        let server = getpid();
        // Python's own `fork`, so that what it and its libraries have to do around one is done.
        let process: i32 = py
            .import("os")
            .and_then(|os| os.call_method0("fork")?.extract())
            .map_err(|error| format!("fork: {error}"))?;
        let Some(process) = Pid::from_raw(process) else {
            self.become_worker(server);
            return Ok(Side::Worker(socket.into_raw_fd(), report.into_raw_fd()));
        };
        // On both sides, so that it is done whoever comes first.
        let _done_by_the_worker = setpgid(Some(process), Some(process));
        let pidfd = pidfd_open(process, PidfdFlags::empty()).map_err(|error| {
            let _it_may_be_gone = kill_process_group(process, Signal::KILL);
            let _reaped = waitpid(Some(process), WaitOptions::empty());
            format!("pidfd_open: {error}")
        })?;
        let mut answer = Message::new(Kind::Forked, number);
        answer.code = process.as_raw_nonzero().get().cast_unsigned();
        let sent = self.send(&answer, &[pidfd.as_fd()]);
        self.workers.push(Forked { number, process, pidfd });
        sent.map(|()| Side::Server).map_err(|error| error.to_string())
    }

    /// In the new process: it must not outlive the server, and has nothing of the server's.
    fn become_worker(&mut self, server: Pid) {
        let _done_by_the_server = setpgid(None, None);
        let bound = set_parent_process_death_signal(Some(Signal::KILL));
        if bound.is_err() || getppid() != Some(server) {
            // The server was gone before the signal was asked for.
            std::process::abort();
        }
        self.control = None;
        self.workers.clear();
        self.ended.clear();
    }

    fn kill_workers(&mut self) {
        for worker in self.workers.drain(..) {
            let _it_may_be_gone = kill_process_group(worker.process, Signal::KILL);
        }
    }
}
