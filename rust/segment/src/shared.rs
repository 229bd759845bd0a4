//! Files in memory that two processes map: made and sealed on one side, checked and mapped on the other.
//!
//! A shared segment is a memfd: it has no name that anyone could open, and is gone when the last process that maps it is
//! gone, however that ends. It is sealed before the other side gets it, against
//!
//! - shrinking and growing, so that neither side can make the other's mapping end in a `SIGBUS`;
//! - writing, except through the mapping that its maker has: the other side can only read it;
//! - further seals.
//!
//! The side that maps it trusts none of that: it asks the kernel for the seals, the size and the kind of file.

use std::{
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
};

use rustix::{
    fs::{
        FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_get_seals, fstat, fstatfs, ftruncate,
        memfd_create,
    },
    io::Errno,
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

use crate::memory::MemoryError;

/// Seals without which memory of another process is not mapped.
const NEEDED_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The file system that memfds of ordinary pages live in (`TMPFS_MAGIC` in the kernel's `linux/magic.h`). Huge pages are
/// refused: the kernel may find none when a page is first read, and ends the reader with a `SIGBUS`.
const TMPFS: i64 = 0x0102_1994;

/// Largest text that is taken from the other side's memory.
const LONGEST_TEXT: usize = 16 << 20;

/// A sealed file and the one mapping through which it can be written.
#[derive(Debug)]
pub(crate) struct SharedFile {
    pub(crate) file: OwnedFd,
    /// Page-aligned; whoever takes this over unmaps it.
    pub(crate) base: NonNull<u8>,
}

impl SharedFile {
    pub(crate) fn create(bytes: usize) -> Result<Self, MemoryError> {
        let failed = |call| move |source| MemoryError::Share { bytes, call, source };
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create(c"rudf-batch", flags).map_err(failed("memfd_create"))?;
        ftruncate(&file, bytes as u64).map_err(failed("ftruncate"))?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint without MAP_FIXED overlaps nothing; the file was made here, so nobody else writes to it.
        let base = unsafe { mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, &file, 0) }
            .map_err(failed("mmap"))?;
        let base: NonNull<u8> = NonNull::new(base.cast()).ok_or(MemoryError::TooLarge { bytes })?;
        let sealed = fcntl_add_seals(&file, NEEDED_SEALS | SealFlags::FUTURE_WRITE);
        if let Err(source) = sealed {
            // SAFETY: mapped above with this length, and nothing refers to it yet.
            let _unmapped = unsafe { munmap(base.as_ptr().cast(), bytes) };
            return Err(MemoryError::Share { bytes, call: "sealing", source });
        }
        Ok(Self { file, base })
    }
}

/// Why memory of another process was not mapped.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SharedError {
    #[error("what was sent as shared memory is no memory file: {0}")]
    Kind(Errno),
    #[error("shared memory lies in a file system of the kind {0:#x}, not in ordinary memory")]
    FileSystem(i64),
    #[error("shared memory is not sealed against changes of its size (seals {0:#x})")]
    Seals(u32),
    #[error("shared memory has {have} bytes and should have {need}")]
    Size { have: u64, need: u64 },
    #[error("shared memory cannot be mapped: {0}")]
    Map(Errno),
}

/// Memory that another process made and may still write to; mapped here for reading.
#[derive(Debug)]
pub struct ReadMapping {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: a mapping is memory of this process; which thread reads or unmaps it does not matter.
unsafe impl Send for ReadMapping {}
// SAFETY: as above, and nothing here writes to it.
unsafe impl Sync for ReadMapping {}

impl ReadMapping {
    /// Maps a file that another process sent, with all of its bytes, if they are at least `need`.
    ///
    /// # Errors
    /// A [`SharedError`] where reading the file could end in anything but bytes.
    pub fn new(file: impl AsFd, need: u64) -> Result<Self, SharedError> {
        let seals = fcntl_get_seals(&file).map_err(SharedError::Kind)?;
        if !seals.contains(NEEDED_SEALS) {
            return Err(SharedError::Seals(seals.bits()));
        }
        let system = fstatfs(&file).map_err(SharedError::Kind)?.f_type;
        if system != TMPFS {
            return Err(SharedError::FileSystem(system));
        }
        let have = u64::try_from(fstat(&file).map_err(SharedError::Kind)?.st_size).unwrap_or(0);
        if have < need || have == 0 {
            return Err(SharedError::Size { have, need });
        }
        let length = usize::try_from(have).map_err(|_| SharedError::Size { have, need })?;
        // SAFETY: a null hint without MAP_FIXED overlaps nothing, and the seals above keep the file's size.
        let base = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) }
            .map_err(SharedError::Map)?;
        let base = NonNull::new(base.cast()).ok_or(SharedError::Map(Errno::NOMEM))?;
        Ok(Self { base, length })
    }

    /// First byte; page-aligned.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes that can be read from [`Self::base`].
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// A copy of the first `length` bytes (at most all): what the other side does to them afterwards changes nothing.
    #[must_use]
    pub fn copy(&self, length: usize) -> Vec<u8> {
        let length = length.min(self.length);
        let mut copy = vec![0_u8; length];
        // SAFETY: both are that long and apart. The other side may write meanwhile: then the copy holds some mixture of
        // bytes, every one of which is a valid `u8`.
        unsafe { std::ptr::copy_nonoverlapping(self.base.as_ptr(), copy.as_mut_ptr(), length) };
        copy
    }
}

impl Drop for ReadMapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `mmap` gave, and this value was the only owner of the mapping.
        let _unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Bytes in a sealed file of their own, for what is too long for a message.
///
/// # Errors
/// [`MemoryError`] where the kernel refuses.
pub fn file_of_bytes(bytes: &[u8]) -> Result<OwnedFd, MemoryError> {
    let length = bytes.len().max(1);
    let SharedFile { file, base } = SharedFile::create(length)?;
    // SAFETY: the mapping is that long, and nothing else refers to it; it is unmapped right here.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), bytes.len());
        let _unmapped = munmap(base.as_ptr().cast(), length);
    }
    Ok(file)
}

/// What [`file_of_bytes`] put into a file, as text.
///
/// # Errors
/// A [`SharedError`] where the file is not what it should be.
pub fn text_of_file(file: impl AsFd, length: u64) -> Result<String, SharedError> {
    let mapping = ReadMapping::new(file, length)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_TEXT);
    Ok(String::from_utf8_lossy(&mapping.copy(length)).into_owned())
}

/// An empty memory file that two processes share and one may let grow: for reports.
///
/// # Errors
/// [`MemoryError`] where the kernel refuses.
pub fn report_file(bytes: usize) -> Result<OwnedFd, MemoryError> {
    let failed = |call| move |source| MemoryError::Share { bytes, call, source };
    let file = memfd_create(c"rudf-report", MemfdFlags::CLOEXEC).map_err(failed("memfd_create"))?;
    fallocate(&file, FallocateFlags::empty(), 0, bytes as u64).map_err(failed("fallocate"))?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::{
        fs::{SealFlags, memfd_create},
        io::write,
    };

    use super::*;

    fn file(bytes: u64, seals: SealFlags) -> OwnedFd {
        let file = memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        ftruncate(&file, bytes).unwrap();
        fcntl_add_seals(&file, seals).unwrap();
        file
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let shared = SharedFile::create(100_000).unwrap();
        let mapping = ReadMapping::new(&shared.file, 100_000).unwrap();
        // SAFETY: within the 100,000 bytes.
        unsafe { shared.base.as_ptr().add(99_999).write(7) };
        assert_eq!(mapping.copy(100_000)[99_998..], [0, 7]);
    }

    #[test]
    fn the_other_side_can_neither_write_nor_resize() {
        let shared = SharedFile::create(4096).unwrap();
        assert_eq!(ftruncate(&shared.file, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&shared.file, 8192), Err(Errno::PERM));
        assert_eq!(write(&shared.file, b"x"), Err(Errno::PERM));
        let writable = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a null hint without MAP_FIXED overlaps nothing.
        let mapped = unsafe { mmap(std::ptr::null_mut(), 4096, writable, MapFlags::SHARED, shared.file.as_fd(), 0) };
        assert_eq!(mapped.unwrap_err(), Errno::PERM);
    }

    #[test]
    fn memory_that_could_end_in_a_signal_is_not_mapped() {
        let unsealed = file(4096, SealFlags::empty());
        assert_eq!(ReadMapping::new(&unsealed, 1).unwrap_err(), SharedError::Seals(0));
        let shrinking = file(4096, SealFlags::GROW | SealFlags::SEAL);
        assert!(matches!(ReadMapping::new(&shrinking, 1), Err(SharedError::Seals(_))));
        let small = file(4096, NEEDED_SEALS);
        assert_eq!(ReadMapping::new(&small, 4097).unwrap_err(), SharedError::Size { have: 4096, need: 4097 });
        let empty = file(0, NEEDED_SEALS);
        assert_eq!(ReadMapping::new(&empty, 0).unwrap_err(), SharedError::Size { have: 0, need: 0 });
        let ordinary = std::fs::File::open("/proc/self/exe").unwrap();
        assert!(matches!(ReadMapping::new(&ordinary, 1), Err(SharedError::Kind(_))));
    }

    #[test]
    fn huge_pages_are_not_mapped() {
        // Where the kernel has no huge pages it makes no such file, and none can be sent.
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
        let Ok(huge) = memfd_create(c"test", flags) else { return };
        ftruncate(&huge, 2 << 20).unwrap();
        fcntl_add_seals(&huge, NEEDED_SEALS).unwrap();
        assert!(matches!(ReadMapping::new(&huge, 1), Err(SharedError::FileSystem(_))));
    }

    #[test]
    fn texts_travel_in_files_and_lie_about_nothing() {
        let text = "ä".repeat(100_000);
        let file = file_of_bytes(text.as_bytes()).unwrap();
        assert_eq!(text_of_file(&file, text.len() as u64).unwrap(), text);
        assert!(matches!(text_of_file(&file, 1 << 40), Err(SharedError::Size { .. })));
        assert_eq!(text_of_file(file_of_bytes(b"").unwrap(), 0).unwrap(), "");
    }
}
