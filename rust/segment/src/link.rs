//! One end of a control socket together with the segments that go through it: who refers to which, and who may use it again.
//!
//! Both ends are alike. Each makes the segments that it *lends* to the other, and maps the ones that it *borrows*. A lent
//! segment stays referred to here until the other side has released its number; a borrowed one is released when the last
//! [`Borrowed`] for it is dropped, on whichever thread that is. So a segment is never written again while anything on
//! either side refers to it.
//!
//! The other end may be a process that runs a user's code: every number that it names is checked.

use std::{
    collections::HashMap,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::NonNull,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::net::RecvFlags;

use crate::{
    control::{self, ControlError, Kind, MOST_NUMBERS, Message, Received},
    memory::{MemoryError, Segment, SegmentPool},
    shared::{ReadMapping, SharedError},
};

/// What goes wrong between the two ends.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error(transparent)]
    Memory(#[from] MemoryError),
    #[error("segment {number}: {error}")]
    Mapping { number: u32, error: SharedError },
    #[error("segment {0} is not of this session's worker")]
    Foreign(u32),
    #[error("segment {0} was sent without its memory, or with memory that is known already")]
    Unknown(u32),
    #[error("segment {0} was sent, or declared to be gone, while it is still in use here")]
    InUse(u32),
    #[error("segment {0} was released and had not been lent")]
    NotLent(u32),
    #[error("segment {number} has {have} bytes and the message says {need}")]
    Short { number: u32, have: usize, need: u64 },
    #[error("more than {0} segments are mapped at once")]
    TooMany(usize),
    #[error("a message of kind {0:?} came with descriptors that it should not have")]
    Descriptors(Kind),
}

/// One end.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    pool: SegmentPool,
    /// Segments that the other side refers to.
    lent: Mutex<HashMap<u32, Arc<Segment>>>,
    borrowed: Arc<Mutex<Loans>>,
    most_segments: usize,
}

/// What is borrowed from the other side.
#[derive(Debug, Default)]
struct Loans {
    mapped: HashMap<u32, Loan>,
    /// Numbers that nothing refers to any more, and of which the other side has not been told.
    returned: Vec<u32>,
}

#[derive(Debug)]
struct Loan {
    mapping: Arc<ReadMapping>,
    in_use: bool,
}

/// A segment of the other side's, in use here until this is dropped.
#[derive(Debug)]
pub struct Borrowed {
    number: u32,
    length: usize,
    mapping: Arc<ReadMapping>,
    loans: Arc<Mutex<Loans>>,
}

/// What came in: a message, the segment it speaks of, and other descriptors.
#[derive(Debug)]
pub struct Incoming {
    pub message: Message,
    pub segment: Option<Borrowed>,
    pub descriptors: Vec<OwnedFd>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    /// An end that maps at most `most_segments` segments of the other side's at once.
    #[must_use]
    pub fn new(socket: OwnedFd, most_segments: usize) -> Self {
        Self { socket, pool: SegmentPool::shared(), lent: Mutex::default(), borrowed: Arc::default(), most_segments }
    }

    /// The socket, to wait for.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Memory of at least `capacity` bytes for the next [`Self::lend`].
    ///
    /// # Errors
    /// [`MemoryError`] where the kernel refuses.
    pub fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, MemoryError> {
        self.pool.acquire(capacity)
    }

    /// How many segments the other side refers to.
    #[must_use]
    pub fn lent(&self) -> usize {
        lock(&self.lent).len()
    }

    /// Sends a message that speaks of no segment.
    ///
    /// # Errors
    /// [`LinkError::Control`] where the other side is gone.
    pub fn send(&self, mut message: Message, descriptors: &[BorrowedFd<'_>]) -> Result<(), LinkError> {
        message.released = take(&mut lock(&self.borrowed).returned);
        message.retired = self.pool.take_retired(MOST_NUMBERS);
        Ok(control::send(&self.socket, &message, descriptors)?)
    }

    /// Sends a message about the first `message.length` bytes of a segment, which is not written any more until the other
    /// side has let go of it.
    ///
    /// # Errors
    /// As [`Self::send`]; [`LinkError::Foreign`] where the segment is not from [`Self::acquire`].
    pub fn lend(&self, mut message: Message, segment: Arc<Segment>) -> Result<(), LinkError> {
        let number = segment.number().filter(|_| self.pool.owns(&segment));
        let number = number.ok_or(LinkError::Foreign(u32::MAX))?;
        message.segment = number;
        let file = segment.take_file();
        lock(&self.lent).insert(number, segment);
        let descriptor = file.as_ref().map(|file| file.as_fd());
        self.send(message, descriptor.as_slice())
    }

    /// The next message; `None` where the other side is gone.
    ///
    /// # Errors
    /// [`ControlError::Socket`] with `EINTR` or `EAGAIN` where there is none yet; every other error says that the other
    /// side does not keep the protocol, and nothing more should be received from it.
    pub fn receive(&self, flags: RecvFlags) -> Result<Option<Incoming>, LinkError> {
        match control::receive(&self.socket, flags)? {
            Some(received) => self.accept(received).map(Some),
            None => Ok(None),
        }
    }

    fn accept(&self, received: Received) -> Result<Incoming, LinkError> {
        let Received { message, mut descriptors } = received;
        self.take_back(&message.released)?;
        let mut loans = lock(&self.borrowed);
        loans.forget(&message.retired)?;
        let segment = if matches!(message.kind, Kind::Batch | Kind::Result) {
            if descriptors.len() > 1 {
                return Err(LinkError::Descriptors(message.kind));
            }
            loans.map(message.segment, descriptors.pop(), message.length, self.most_segments)?;
            let mapping = loans.lend(message.segment, message.length)?;
            let length = usize::try_from(message.length).unwrap_or(0);
            let loans = Arc::clone(&self.borrowed);
            Some(Borrowed { number: message.segment, length, mapping, loans })
        } else {
            None
        };
        drop(loans);
        Ok(Incoming { message, segment, descriptors })
    }

    fn take_back(&self, released: &[u32]) -> Result<(), LinkError> {
        let mut lent = lock(&self.lent);
        for number in released {
            lent.remove(number).ok_or(LinkError::NotLent(*number))?;
        }
        Ok(())
    }
}

/// Up to [`MOST_NUMBERS`] numbers from the front.
fn take(numbers: &mut Vec<u32>) -> Vec<u32> {
    let count = numbers.len().min(MOST_NUMBERS);
    numbers.drain(..count).collect()
}

impl Loans {
    fn forget(&mut self, retired: &[u32]) -> Result<(), LinkError> {
        for number in retired {
            match self.mapped.get(number) {
                Some(loan) if loan.in_use => return Err(LinkError::InUse(*number)),
                Some(_) => drop(self.mapped.remove(number)),
                None => return Err(LinkError::Unknown(*number)),
            }
        }
        Ok(())
    }

    /// Maps the segment where its file came along: then it must be new, and else it must be known.
    fn map(&mut self, number: u32, file: Option<OwnedFd>, need: u64, most: usize) -> Result<(), LinkError> {
        match (file, self.mapped.contains_key(&number)) {
            (None, true) => Ok(()),
            (Some(_), true) | (None, false) => Err(LinkError::Unknown(number)),
            (Some(_), false) if self.mapped.len() >= most => Err(LinkError::TooMany(most)),
            (Some(file), false) => {
                let mapping = ReadMapping::new(&file, need).map_err(|error| LinkError::Mapping { number, error })?;
                self.mapped.insert(number, Loan { mapping: Arc::new(mapping), in_use: false });
                Ok(())
            }
        }
    }

    fn lend(&mut self, number: u32, need: u64) -> Result<Arc<ReadMapping>, LinkError> {
        let loan = self.mapped.get_mut(&number).ok_or(LinkError::Unknown(number))?;
        if loan.in_use {
            return Err(LinkError::InUse(number));
        }
        if need > loan.mapping.length() as u64 {
            return Err(LinkError::Short { number, have: loan.mapping.length(), need });
        }
        loan.in_use = true;
        Ok(Arc::clone(&loan.mapping))
    }
}

impl Borrowed {
    /// First byte; page-aligned, readable until this is dropped.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    /// Bytes that the message spoke of.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// A copy of the first `length` bytes, which the other side cannot change.
    #[must_use]
    pub fn copy(&self, length: usize) -> Vec<u8> {
        self.mapping.copy(length.min(self.length))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut loans = lock(&self.loans);
        if let Some(loan) = loans.mapped.get_mut(&self.number) {
            loan.in_use = false;
        }
        loans.returned.push(self.number);
    }
}
