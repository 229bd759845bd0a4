//! The control protocol between the JVM side and Python processes: messages, their layout, and their limits.
//!
//! # Who talks to whom
//!
//! Both ends use this file. Each pair of processes has one `socketpair(AF_UNIX, SOCK_SEQPACKET)`: no port, no path, no
//! secret, and message boundaries are the kernel's. The fork server gets its end as standard input; a worker's end goes
//! from the JVM to the fork server with `SCM_RIGHTS`, which keeps it across `fork`. A process that is gone is an end of
//! file, whatever ended it.
//!
//! | message | from → to | descriptors | fields |
//! | --- | --- | --- | --- |
//! | [`Kind::Hello`] | fork server → JVM | | `text`: JSON about its Python |
//! | [`Kind::Fork`] | JVM → fork server | the worker's socket, its report | `session`: number of the worker |
//! | [`Kind::Forked`] | fork server → JVM | pidfd | `session`, `code`: process number |
//! | [`Kind::ForkFailed`] | fork server → JVM | | `session`, `text` |
//! | [`Kind::Status`] | JVM → fork server | | `session`: number of the worker |
//! | [`Kind::Ended`] | fork server → JVM | | `session`, `code`: status as `waitpid` gives it, `sequence`: 1 where it is known |
//! | [`Kind::Open`] | JVM → worker | session message | `session`, `length` of the message |
//! | [`Kind::Opened`] | worker → JVM | | `session` |
//! | [`Kind::Batch`] | JVM → worker | segment, where it is new | `session`, `sequence`, `segment`, `length` |
//! | [`Kind::Result`] | worker → JVM | segment, where it is new | as of the batch; `spent`; of a stream also `code`: [`taken`] |
//! | [`Kind::Ask`] | JVM → worker | | `session`, `sequence`, `code`: 1 where there are no more batches |
//! | [`Kind::Waiting`] | worker → JVM | | `session`, `sequence`, `spent`, `code`: [`taken`] |
//! | [`Kind::Failed`] | worker → JVM | text, where it is long | `session`, `sequence`, `code`: a [`FailureKind`](crate::worker::FailureKind), `text` or `length` |
//! | [`Kind::Finish`] | JVM → worker | | `session` |
//! | [`Kind::Finished`] | worker → JVM | text, where it is long | `session`, `text` or `length`: what the session tells at its end, as JSON |
//! | [`Kind::Keep`] | JVM → worker | session message, batches | `session`, `sequence` of the first batch, `text`: lengths of the message and the batches with commas between, a space, and the failure |
//! | [`Kind::Kept`] | worker → JVM | | `session`, `text`: the file that was written |
//! | [`Kind::Close`] | JVM → worker | | `session` |
//! | [`Kind::Closed`] | worker → JVM | | `session`, `code`: [`CLEAN`], or a set of reasons not to use the worker again |
//!
//! # Course of a session
//!
//! `Open` is answered by `Opened` or `Failed`; each `Batch`, in order, by a `Result` with the same `sequence` or by one
//! `Failed`, after which the session's further batches are not answered; `Finish`,
//! which comes after the last batch has been answered and may be left out, by `Finished` or `Failed`; `Close` by `Closed`.
//! `Close` may come before the batches have been answered: their answers come first. `Keep` opens no session, runs nothing,
//! and is answered by `Kept` or `Failed`. Batches and results are
//! laid out as [`crate::layout`] says, in segments that [`crate::link`] follows: a segment travels as a descriptor once and is
//! named by its number afterwards. It is used again only when the other side has *released* that number. Releases, and
//! numbers that are *retired* because the segment is gone, ride on whatever message goes out next.
//!
//! # Streams
//!
//! A session whose functions take an iterator of batches and give one (its message has a `stream`) answers each `Batch` and
//! each `Ask`, in order, by a `Result` of any number of rows, by `Waiting` where the functions want more batches than there
//! are or have come to their end, or by one `Failed`. A `Close` before that end makes the functions' frames be left, and is
//! then answered; messages before it may go unanswered. `Ask` wants further results without a batch. [`taken`] tells the JVM
//! how many batches the functions have begun, by which it bounds those that wait, and whether they are at their end.
//!
//! # Layout of a message
//!
//! Little-endian, at most [`LONGEST_MESSAGE`] bytes and [`MOST_DESCRIPTORS`] descriptors:
//!
//! | bytes | field |
//! | --- | --- |
//! | 0–3 | [`MAGIC`] with [`PROTOCOL_VERSION`] |
//! | 4–7 | [`Kind`] |
//! | 8–15 | `session` |
//! | 16–23 | `sequence` |
//! | 24–31 | `length` |
//! | 32–35 | `segment` |
//! | 36–39 | `code` |
//! | 40–43 | how many numbers are released |
//! | 44–47 | how many are retired |
//! | 48–51 | bytes of `text` |
//! | 52–55 | `spent`: microseconds that Python has been at work since the answer before; time beyond 71 minutes goes with the next |
//! | 56 … | released numbers, retired numbers (32 bits each), `text` |
//!
//! A message is exactly as long as its counts say. Nothing that comes from a worker is believed: it runs the user's code.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

use crate::{PROTOCOL_VERSION, message::KEPT_OF_STREAM};

/// First four bytes of every message.
pub const MAGIC: u32 = u32::from_le_bytes([b'R', b'U', b'D', PROTOCOL_VERSION as u8]);

/// Longest message in bytes. Longer texts travel in a file of their own.
pub const LONGEST_MESSAGE: usize = 32 << 10;

/// Most numbers in each of a message's two lists; what is left goes with the next message.
pub const MOST_NUMBERS: usize = 1024;

/// Longest text inside a message.
pub const LONGEST_TEXT: usize = 16 << 10;

/// Most descriptors with one message.
pub const MOST_DESCRIPTORS: usize = 1 + KEPT_OF_STREAM;

const HEADER: usize = 56;

/// `code` of [`Kind::Closed`]: the worker is as it was before the session.
pub const CLEAN: u32 = 0;
/// The session's code left Python threads behind.
pub const LEFT_THREADS: u32 = 1;
/// The session's code left child processes behind.
pub const LEFT_CHILDREN: u32 = 2;
/// The session's code changed something of its process that cannot be made as it was.
pub const LEFT_CHANGES: u32 = 4;

/// `code` of what a stream answers: how many batches its functions have begun, and whether they are at their end.
#[must_use]
pub fn taken(batches: u32, ended: bool) -> u32 {
    batches << 1 | u32::from(ended)
}

/// What a message says; see the module's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Hello = 1,
    Fork = 2,
    Forked = 3,
    ForkFailed = 4,
    Status = 5,
    Ended = 6,
    Open = 16,
    Opened = 17,
    Batch = 18,
    Result = 19,
    Failed = 20,
    Close = 21,
    Closed = 22,
    Finish = 23,
    Finished = 24,
    Keep = 25,
    Kept = 26,
    Ask = 27,
    Waiting = 28,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Hello,
        Self::Fork,
        Self::Forked,
        Self::ForkFailed,
        Self::Status,
        Self::Ended,
        Self::Open,
        Self::Opened,
        Self::Batch,
        Self::Result,
        Self::Failed,
        Self::Close,
        Self::Closed,
        Self::Finish,
        Self::Finished,
        Self::Keep,
        Self::Kept,
        Self::Ask,
        Self::Waiting,
    ];

    fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u32 == number)
    }
}

/// One message, without its descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    pub session: u64,
    pub sequence: u64,
    pub length: u64,
    pub segment: u32,
    pub code: u32,
    /// Microseconds.
    pub spent: u32,
    /// Numbers of the receiver's segments that the sender has let go of.
    pub released: Vec<u32>,
    /// Numbers of the sender's segments that are gone.
    pub retired: Vec<u32>,
    pub text: Vec<u8>,
}

/// Why bytes are no message, or the socket gave none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ControlError {
    #[error("the socket failed: {0}")]
    Socket(Errno),
    #[error("a message is cut off or too long ({0} bytes)")]
    Length(usize),
    #[error("a message does not begin as this version's messages do: {0:02x?}")]
    Magic([u8; 4]),
    #[error("a message is of no known kind: {0}")]
    Kind(u32),
    #[error("a message says of its own parts that they have {need} bytes, and has {have}")]
    Parts { need: u64, have: usize },
    #[error("a message came with more than {MOST_DESCRIPTORS} descriptors")]
    Descriptors,
}

impl Message {
    /// A message with nothing in it.
    #[must_use]
    pub fn new(kind: Kind, session: u64) -> Self {
        Self {
            kind,
            session,
            sequence: 0,
            length: 0,
            segment: 0,
            code: 0,
            spent: 0,
            released: Vec::new(),
            retired: Vec::new(),
            text: Vec::new(),
        }
    }

    /// The same with a text, cut to what a message may hold.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.text = text.as_bytes()[..text.len().min(LONGEST_TEXT)].to_vec();
        self
    }

    /// The text, whatever bytes it is made of.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    /// The bytes of this message.
    ///
    /// # Errors
    /// [`ControlError::Length`] where it has more than a message may have.
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        let length = HEADER + 4 * (self.released.len() + self.retired.len()) + self.text.len();
        if length > LONGEST_MESSAGE || self.released.len().max(self.retired.len()) > MOST_NUMBERS {
            return Err(ControlError::Length(length));
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend((self.kind as u32).to_le_bytes());
        for word in [self.session, self.sequence, self.length] {
            bytes.extend(word.to_le_bytes());
        }
        let counts = [self.released.len(), self.retired.len(), self.text.len()].map(|count| count as u32);
        for half in [self.segment, self.code].into_iter().chain(counts).chain([self.spent]) {
            bytes.extend(half.to_le_bytes());
        }
        for number in self.released.iter().chain(&self.retired) {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(&self.text);
        Ok(bytes)
    }

    /// The message that bytes are.
    ///
    /// # Errors
    /// A [`ControlError`] for every sequence of bytes that [`Self::encode`] does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        if !(HEADER..=LONGEST_MESSAGE).contains(&bytes.len()) {
            return Err(ControlError::Length(bytes.len()));
        }
        let half = |at: usize| bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk));
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        if half(0) != MAGIC {
            return Err(ControlError::Magic(half(0).to_le_bytes()));
        }
        let kind = Kind::of(half(4)).ok_or(ControlError::Kind(half(4)))?;
        let (released, retired, text) = (half(40) as usize, half(44) as usize, half(48) as usize);
        let need = HEADER as u64 + 4 * (released as u64 + retired as u64) + text as u64;
        if need != bytes.len() as u64 || released.max(retired) > MOST_NUMBERS {
            return Err(ControlError::Parts { need, have: bytes.len() });
        }
        let numbers = |from: usize, count: usize| (0..count).map(|index| half(from + 4 * index)).collect();
        Ok(Self {
            kind,
            session: word(8),
            sequence: word(16),
            length: word(24),
            segment: half(32),
            code: half(36),
            spent: half(52),
            released: numbers(HEADER, released),
            retired: numbers(HEADER + 4 * released, retired),
            text: bytes[bytes.len() - text..].to_vec(),
        })
    }
}

/// Two connected sockets, both closed when this process executes another program.
///
/// # Errors
/// [`ControlError::Socket`] where there are no more descriptors.
pub fn pair() -> Result<(OwnedFd, OwnedFd), ControlError> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(ControlError::Socket)
}

/// Sends a message with descriptors, which stay open here.
///
/// # Errors
/// [`ControlError::Socket`] with `EPIPE` or `ECONNRESET` where the other side is gone.
pub fn send(socket: impl AsFd, message: &Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), ControlError> {
    let bytes = message.encode()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(ControlError::Descriptors);
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(ControlError::Socket(error)),
        }
    }
}

/// What came through a socket.
#[derive(Debug)]
pub struct Received {
    pub message: Message,
    /// Closed when this process executes another program.
    pub descriptors: Vec<OwnedFd>,
}

/// The next message; `None` where the other side is gone. Waits for it unless `flags` say otherwise.
///
/// # Errors
/// [`ControlError::Socket`] with `EINTR` where a signal came first, others where what came is no message.
pub fn receive(socket: impl AsFd, flags: RecvFlags) -> Result<Option<Received>, ControlError> {
    let mut bytes = [0_u8; LONGEST_MESSAGE];
    // Room for more than is allowed, so that too many are noticed, received, and so closed.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS + 2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags | RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received,
            // Unread messages at a closed end become this.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(ControlError::Socket(error)),
        };
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = part {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(ControlError::Length(LONGEST_MESSAGE + 1));
    }
    if received.flags.contains(ReturnFlags::CTRUNC) || descriptors.len() > MOST_DESCRIPTORS {
        return Err(ControlError::Descriptors);
    }
    if received.bytes == 0 {
        // A message of no bytes would look the same; nobody who speaks this protocol sends one.
        return Ok(None);
    }
    Ok(Some(Received { message: Message::decode(&bytes[..received.bytes])?, descriptors }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::{io::FdFlags, io::fcntl_getfd};

    use super::*;

    fn full() -> Message {
        Message {
            sequence: 2,
            length: 3,
            segment: 4,
            code: 5,
            spent: 9,
            released: vec![6, 7],
            retired: vec![8],
            ..Message::new(Kind::Batch, 1).with_text("text")
        }
    }

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (ours, theirs) = pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        send(&ours, &full(), &[file.as_fd(), file.as_fd()]).unwrap();
        let received = receive(&theirs, RecvFlags::empty()).unwrap().unwrap();
        assert_eq!(received.message, full());
        assert_eq!(received.descriptors.len(), 2);
        assert!(fcntl_getfd(&received.descriptors[0]).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn the_other_sides_end_is_an_end_and_no_error() {
        let (ours, theirs) = pair().unwrap();
        send(&ours, &full(), &[]).unwrap();
        drop(theirs);
        assert!(receive(&ours, RecvFlags::empty()).unwrap().is_none());
        assert_eq!(send(&ours, &full(), &[]), Err(ControlError::Socket(Errno::PIPE)));
    }

    #[test]
    fn too_many_descriptors_are_refused_and_closed() {
        let (ours, theirs) = pair().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let many = [write.as_fd(); MOST_DESCRIPTORS + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS + 1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&many)));
        sendmsg(&ours, &[IoSlice::new(&full().encode().unwrap())], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
        drop(write);
        assert_eq!(receive(&theirs, RecvFlags::empty()).unwrap_err(), ControlError::Descriptors);
        // No writer is left: the received ones were closed.
        assert_eq!(rustix::io::read(&read, &mut [0_u8; 1]).unwrap(), 0);
    }

    #[test]
    fn too_long_messages_are_refused_on_both_sides() {
        let mut long = full();
        long.text = vec![0; LONGEST_MESSAGE];
        assert!(matches!(long.encode(), Err(ControlError::Length(_))));
        let mut numbers = full();
        numbers.released = vec![0; MOST_NUMBERS + 1];
        assert!(matches!(numbers.encode(), Err(ControlError::Length(_))));
        let (ours, theirs) = pair().unwrap();
        rustix::net::send(&ours, &vec![0; LONGEST_MESSAGE + 1], SendFlags::NOSIGNAL).unwrap();
        assert!(matches!(receive(&theirs, RecvFlags::empty()), Err(ControlError::Length(_))));
    }
}
