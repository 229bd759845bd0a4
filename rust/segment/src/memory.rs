//! The memory that record batches lie in.
//!
//! A [`Segment`] is one mapping that holds one batch at a time. It is shared by reference count: the host that fills it,
//! the Python arrays that read it and the Spark vectors that pass its columns through each hold one. When the last
//! reference goes, the mapping returns to the [`SegmentPool`] it came from. So a segment is never handed out again
//! while anything still refers to it: that is the invariant of the whole transport.
//!
//! A pool's segments are private to this process ([`SegmentPool::new`]) or can be mapped by another one
//! ([`SegmentPool::shared`]). What the other process does with a shared one is followed by [`crate::link`].

use std::{
    os::fd::OwnedFd,
    ptr::NonNull,
    slice,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::shared::SharedFile;

/// Smallest mapping, and the granularity of sizes: batches of similar size then fit each other's segments.
const MINIMUM_CAPACITY: usize = 64 * 1024;

/// Mappings that a pool keeps for the next batch; the rest are unmapped at once.
const KEPT_MAPPINGS: usize = 4;

/// Why there is no segment.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    #[error("cannot map {bytes} bytes for a record batch: {source}")]
    Map { bytes: usize, source: rustix::io::Errno },
    #[error("a record batch of {bytes} bytes is more than this machine can address")]
    TooLarge { bytes: usize },
    #[error("cannot make shared memory of {bytes} bytes: {call}: {source}")]
    Share { bytes: usize, call: &'static str, source: rustix::io::Errno },
}

/// A writable mapping, unmapped on drop.
#[derive(Debug)]
struct Mapping {
    base: NonNull<u8>,
    capacity: usize,
    /// What another process knows the memory by; none where it is private.
    identity: Option<Identity>,
}

/// The name of shared memory.
#[derive(Debug)]
struct Identity {
    number: u32,
    /// Until the other process has got it.
    file: Mutex<Option<OwnedFd>>,
}

// SAFETY: the mapping is plain memory owned by this value; which thread unmaps it does not matter.
unsafe impl Send for Mapping {}
// SAFETY: all access through `&Mapping` goes through the unsafe methods of `Segment`, whose callers order it.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn private(capacity: usize) -> Result<Self, MemoryError> {
        // SAFETY: a null hint with neither MAP_FIXED nor a file cannot overlap or alias anything.
        let base = unsafe {
            mmap_anonymous(std::ptr::null_mut(), capacity, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }
        .map_err(|source| MemoryError::Map { bytes: capacity, source })?;
        let base = NonNull::new(base.cast()).ok_or(MemoryError::TooLarge { bytes: capacity })?;
        Ok(Self { base, capacity, identity: None })
    }

    fn shared(capacity: usize, number: u32) -> Result<Self, MemoryError> {
        let SharedFile { file, base } = SharedFile::create(capacity)?;
        Ok(Self { base, capacity, identity: Some(Identity { number, file: Mutex::new(Some(file)) }) })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `base` and `capacity` are exactly what mmap returned, and this value was their only owner.
        // An error (it cannot be one of ours) leaves the memory mapped, which is safe.
        let _unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.capacity) };
    }
}

/// Memory for one record batch; see the module's documentation for who may hold it.
#[derive(Debug)]
pub struct Segment {
    /// `None` only while being dropped.
    mapping: Option<Mapping>,
    pool: Weak<PoolState>,
}

impl Segment {
    /// First byte; page-aligned, so aligned for every buffer.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.mapping.as_ref().map_or(std::ptr::null_mut(), |m| m.base.as_ptr())
    }

    /// Bytes that may be used from [`Self::base`].
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.mapping.as_ref().map_or(0, |m| m.capacity)
    }

    /// The number by which another process knows this segment; none for a private one.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        self.mapping.as_ref()?.identity.as_ref().map(|identity| identity.number)
    }

    /// The file of a shared segment, for the other process: once, and none afterwards.
    pub(crate) fn take_file(&self) -> Option<OwnedFd> {
        let identity = self.mapping.as_ref()?.identity.as_ref()?;
        identity.file.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The first `length` bytes (at most the capacity).
    ///
    /// # Safety
    /// Nothing may write to these bytes while the slice lives: the host hands a segment to Python or to Spark only
    /// after it has written the batch, and writes again only after all of them have let go.
    #[must_use]
    pub unsafe fn bytes(&self, length: usize) -> &[u8] {
        // SAFETY: the mapping is that long, initialised (the kernel zeroes it), and not written (the caller's promise).
        unsafe { slice::from_raw_parts(self.base(), length.min(self.capacity())) }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let (Some(mapping), Some(pool)) = (self.mapping.take(), self.pool.upgrade()) {
            pool.keep(mapping);
        }
    }
}

#[derive(Debug, Default)]
struct PoolState {
    /// Whether the segments can be mapped by another process.
    shared: bool,
    /// Number of the next shared segment: never used twice, so a number means one segment for ever.
    next: AtomicU32,
    mappings: Mutex<Mappings>,
}

#[derive(Debug, Default)]
struct Mappings {
    free: Vec<Mapping>,
    /// Numbers of segments that another process has got and that are gone here.
    retired: Vec<u32>,
}

impl Mappings {
    fn retire(&mut self, mapping: &Mapping) {
        let Some(identity) = &mapping.identity else { return };
        let sent = identity.file.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        if sent {
            self.retired.push(identity.number);
        }
    }
}

impl PoolState {
    fn lock(&self) -> std::sync::MutexGuard<'_, Mappings> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, mapping: Mapping) {
        let mut mappings = self.lock();
        if mappings.free.len() < KEPT_MAPPINGS {
            mappings.free.push(mapping);
        } else {
            mappings.retire(&mapping);
        }
    }

    fn take(&self, capacity: usize) -> Option<Mapping> {
        let mut mappings = self.lock();
        let fitting = mappings.free.iter().position(|m| m.capacity >= capacity);
        // A mapping that is too small for today's batches only takes up room: let the oldest go.
        if fitting.is_none() && mappings.free.len() == KEPT_MAPPINGS {
            let oldest = mappings.free.remove(0);
            mappings.retire(&oldest);
        }
        fitting.map(|index| mappings.free.swap_remove(index))
    }

    fn make(&self, capacity: usize) -> Result<Mapping, MemoryError> {
        if self.shared {
            Mapping::shared(capacity, self.next.fetch_add(1, Ordering::Relaxed))
        } else {
            Mapping::private(capacity)
        }
    }
}

/// Hands out segments and takes them back; dropped with the session, while segments in use live on.
#[derive(Debug, Default)]
pub struct SegmentPool {
    state: Arc<PoolState>,
}

impl SegmentPool {
    /// A pool of memory of this process's own, with none yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pool of memory that can be mapped by another process, with none yet.
    #[must_use]
    pub fn shared() -> Self {
        Self { state: Arc::new(PoolState { shared: true, ..PoolState::default() }) }
    }

    /// A segment of at least `capacity` bytes that nothing else refers to. Its content is whatever it was before.
    ///
    /// # Errors
    /// [`MemoryError`] where the kernel refuses the mapping.
    pub fn acquire(&self, capacity: usize) -> Result<Arc<Segment>, MemoryError> {
        let rounded = capacity
            .max(MINIMUM_CAPACITY)
            .checked_next_power_of_two()
            .ok_or(MemoryError::TooLarge { bytes: capacity })?;
        let mapping = match self.state.take(rounded) {
            Some(mapping) => mapping,
            None => self.state.make(rounded)?,
        };
        Ok(Arc::new(Segment { mapping: Some(mapping), pool: Arc::downgrade(&self.state) }))
    }

    /// Whether a segment came from this pool.
    #[must_use]
    pub(crate) fn owns(&self, segment: &Segment) -> bool {
        std::ptr::eq(segment.pool.as_ptr(), Arc::as_ptr(&self.state))
    }

    /// Up to `limit` numbers of segments that the other process may forget.
    pub(crate) fn take_retired(&self, limit: usize) -> Vec<u32> {
        let retired = &mut self.state.lock().retired;
        let count = retired.len().min(limit);
        retired.drain(..count).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(segment: &Segment, byte: u8) {
        // SAFETY: the tests write only to segments that nothing reads meanwhile, within their capacity.
        unsafe { segment.base().write_bytes(byte, segment.capacity()) };
    }

    #[test]
    fn a_segment_comes_back_only_when_the_last_reference_is_gone() {
        let pool = SegmentPool::new();
        let first = pool.acquire(1000).unwrap();
        let held_by_python = Arc::clone(&first);
        let base = first.base();
        write(&first, 7);
        drop(first);
        let second = pool.acquire(1000).unwrap();
        assert_ne!(second.base(), base);
        write(&second, 9);
        // SAFETY: nothing writes to this segment any more.
        assert!(unsafe { held_by_python.bytes(1000) }.iter().all(|b| *b == 7));
        drop(held_by_python);
        assert_eq!(pool.acquire(1000).unwrap().base(), base);
    }

    #[test]
    fn a_larger_batch_gets_a_larger_segment() {
        let pool = SegmentPool::new();
        drop(pool.acquire(1000).unwrap());
        let large = pool.acquire(10 << 20).unwrap();
        assert!(large.capacity() >= 10 << 20);
        assert!((large.base() as usize).is_multiple_of(crate::layout::BUFFER_ALIGNMENT));
    }

    #[test]
    fn the_pool_keeps_a_bounded_number_of_mappings_and_drops_those_too_small() {
        let pool = SegmentPool::new();
        let many: Vec<_> = (0..20).map(|_| pool.acquire(1).unwrap()).collect();
        drop(many);
        assert_eq!(pool.state.lock().free.len(), KEPT_MAPPINGS);
        for _ in 0..KEPT_MAPPINGS {
            drop(pool.acquire(1 << 20).unwrap());
        }
        assert!(pool.state.lock().free.iter().any(|m| m.capacity >= 1 << 20));
    }

    #[test]
    fn a_segment_outlives_its_pool() {
        let pool = SegmentPool::new();
        let segment = pool.acquire(1).unwrap();
        drop(pool);
        write(&segment, 1);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(matches!(SegmentPool::new().acquire(usize::MAX), Err(MemoryError::TooLarge { .. })));
        assert!(matches!(SegmentPool::new().acquire(1 << 62), Err(MemoryError::Map { .. })));
    }
}
