//! The JVM side of the fork server: starts it, asks it for workers and for how they ended.
//!
//! The server is spawned, and this process is never forked. Its control socket is its standard input, so no descriptor
//! of this process has to be inheritable for a moment in which another thread might start a program.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rudf_segment::{
    control::{self, ControlError, Kind, Message, Received},
    link::Link,
    shared::report_file,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::RecvFlags,
    process::Pid,
};

use super::{ProcessConfig, lock, report, worker::Worker};
use crate::error::NativeError;

/// What `python` runs. A failure to get as far as the protocol is told in its place: a text that begins with [`TROUBLE`].
const BOOTSTRAP: &str = r"
import sys
sys.path.insert(0, sys.argv[1])
try:
    from rudf.worker.server import main
except BaseException as error:
    import os, socket
    socket.socket(fileno=os.dup(0)).send(('!%s: %s' % (type(error).__name__, error)).encode()[:4000])
    raise
main()
";

/// First byte of a message from a server that cannot serve.
const TROUBLE: u8 = b'!';

/// How long a Python may take to start, or a server to answer: it may be importing.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a server that has been told to end may take before it is killed.
const FAREWELL: Duration = Duration::from_secs(2);

/// A running fork server.
pub(super) struct Server {
    /// Name of the Python, for messages.
    python: String,
    connection: Mutex<Connection>,
}

struct Connection {
    /// None once the server is gone.
    socket: Option<OwnedFd>,
    child: Child,
    /// What it said of itself.
    about: Option<String>,
}

/// Why there is no worker.
pub(super) enum ForkError {
    /// The server is gone; another may do.
    Gone(String),
    /// It cannot be done here.
    Refused(String),
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where the Python cannot be started.
    pub(super) fn spawn(config: &ProcessConfig) -> Result<Self, NativeError> {
        let refuse = |why: String| {
            NativeError::Environment(format!("Python `{}` cannot be used: it cannot be started ({why})", config.python))
        };
        let (ours, theirs) = control::pair().map_err(|error| refuse(error.to_string()))?;
        let log = std::io::stderr().as_fd().try_clone_to_owned().map_err(|error| refuse(error.to_string()))?;
        let mut command = Command::new(&config.python);
        if let Some(directory) = &config.directory {
            // A relative path of the Python is one from there, as in PySpark. With glibc 2.29 this is still no fork.
            command.current_dir(directory);
        }
        let child = command
            .args(["-c", BOOTSTRAP, &config.package_directory])
            .envs(&config.environment)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(log))
            .stderr(Stdio::inherit())
            // Signals of a terminal are for the driver. No `pre_exec`: with one, this would be a fork of the JVM.
            .process_group(0)
            .spawn()
            .map_err(|error| refuse(error.to_string()))?;
        let connection = Mutex::new(Connection { socket: Some(ours), child, about: None });
        Ok(Self { python: config.python.clone(), connection })
    }

    /// What the server says of its Python, in JSON; waits until it says it.
    ///
    /// # Errors
    /// [`NativeError::Environment`] where it cannot serve.
    pub(super) fn about(&self) -> Result<String, NativeError> {
        lock(&self.connection).about(&self.python).map_err(NativeError::Environment)
    }

    /// A new worker.
    ///
    /// # Errors
    /// A [`ForkError`].
    pub(super) fn fork(self: &Arc<Self>, number: u64) -> Result<Worker, ForkError> {
        let refuse = |error: &dyn std::fmt::Display| ForkError::Refused(format!("no worker process: {error}"));
        let (ours, theirs) = control::pair().map_err(|error| refuse(&error))?;
        let report = report_file(report::TEXT_AT).map_err(|error| refuse(&error))?;
        report::start_text(&report).map_err(|error| refuse(&error))?;
        let mut connection = lock(&self.connection);
        connection.about(&self.python).map_err(ForkError::Gone)?;
        let request = Message::new(Kind::Fork, number);
        let Received { message, descriptors } = connection
            .ask(&request, &[theirs.as_fd(), report.as_fd()])
            .map_err(|why| ForkError::Gone(format!("the fork server of `{}`: {why}", self.python)))?;
        drop(connection);
        if message.kind == Kind::ForkFailed {
            return Err(refuse(&message.text()));
        }
        let process = Pid::from_raw(message.code.cast_signed());
        let (Some(process), Some(pidfd)) = (process, descriptors.into_iter().next()) else {
            return Err(refuse(&"the fork server's answer names no process"));
        };
        let link = Link::new(ours, super::session::MOST_RESULTS);
        Ok(Worker::new(link, number, process, pidfd, report, Arc::clone(self)))
    }

    /// The status that `waitpid` gave for a worker that has ended; `None` where that is not known.
    pub(super) fn status(&self, number: u64) -> Option<i32> {
        let answer = lock(&self.connection).ask(&Message::new(Kind::Status, number), &[]).ok()?;
        (answer.message.sequence == 1).then(|| answer.message.code.cast_signed())
    }
}

impl Connection {
    fn about(&mut self, python: &str) -> Result<String, String> {
        if let Some(about) = &self.about {
            return Ok(about.clone());
        }
        let refuse = |why: String| format!("Python `{python}` cannot be used: {why}");
        let first = self.first_words().map_err(refuse)?;
        let environment: serde_json::Value = serde_json::from_str(&first)
            .map_err(|error| refuse(format!("its answer about itself was not understood ({error})")))?;
        if environment["implementation"] != "cpython" {
            return Err(refuse(format!("it is {}, and only CPython can be used", environment["implementation"])));
        }
        if environment["free_threaded"] == true {
            return Err(refuse("free-threaded builds are not supported yet".to_owned()));
        }
        self.about = Some(first.clone());
        Ok(first)
    }

    /// The text of the server's first message.
    fn first_words(&mut self) -> Result<String, String> {
        let socket = self.socket.as_ref().ok_or("it has ended")?;
        wait_for(socket.as_fd(), PATIENCE)?;
        let mut peeked = [0_u8; 4096];
        let (length, _) = rustix::net::recv(socket, &mut peeked, RecvFlags::PEEK).map_err(|error| error.to_string())?;
        if peeked[0] == TROUBLE && length > 0 {
            self.socket = None;
            self.bury();
            return Err(format!(
                "rudf's worker code cannot be imported: {}",
                String::from_utf8_lossy(&peeked[1..length])
            ));
        }
        match control::receive(socket, RecvFlags::empty()) {
            Ok(Some(received)) if received.message.kind == Kind::Hello => Ok(received.message.text()),
            Ok(Some(received)) => Err(format!("its first message is of the kind {:?}", received.message.kind)),
            Ok(None) => {
                self.socket = None;
                let status = self.bury();
                Err(format!("it ended with {status} before it was ready; what it said is in this executor's log"))
            }
            Err(error) => Err(format!("its first message was not understood ({error})")),
        }
    }

    /// Sends a request and waits for its answer.
    fn ask(&mut self, request: &Message, descriptors: &[BorrowedFd<'_>]) -> Result<Received, String> {
        let answer = self.exchange(request, descriptors);
        if answer.is_err() {
            // Answers would be out of step with requests from here on.
            self.socket = None;
            self.bury();
        }
        answer
    }

    fn exchange(&mut self, request: &Message, descriptors: &[BorrowedFd<'_>]) -> Result<Received, String> {
        let socket = self.socket.as_ref().ok_or("it has ended")?;
        control::send(socket, request, descriptors).map_err(|error| match error {
            ControlError::Socket(Errno::PIPE | Errno::CONNRESET) => "it has ended".to_owned(),
            other => other.to_string(),
        })?;
        loop {
            wait_for(socket.as_fd(), PATIENCE)?;
            let received = control::receive(socket, RecvFlags::empty()).map_err(|error| error.to_string())?;
            let received = received.ok_or("it has ended")?;
            match received.message.kind {
                // A server that has started itself again, because an import had started threads.
                Kind::Hello => {}
                _ if received.message.session == request.session => return Ok(received),
                other => return Err(format!("its answer {other:?} is to another request")),
            }
        }
    }

    /// Waits for the end of the process, which the end of the socket brings about, so that no zombie stays.
    fn bury(&mut self) -> String {
        let end = Instant::now() + FAREWELL;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.to_string();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _it_may_be_gone = self.child.kill();
        self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.socket = None;
        self.bury();
    }
}

/// Waits until there is something to receive.
fn wait_for(socket: BorrowedFd<'_>, patience: Duration) -> Result<(), String> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = left.try_into().ok();
        match poll(&mut [PollFd::from_borrowed_fd(socket, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) => return Err(format!("it has not answered for {} s", patience.as_secs())),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}
