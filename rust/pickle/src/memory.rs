//! Memory that may be refused: a large payload in a small container has to end in `MemoryError`, not in the process.
//!
//! What grows with the payload asks here. The many small allocations in between cannot be refused in Rust without ending
//! the process, so some room is always left for them.

/// More than what is allocated in small pieces between two looks at the memory.
const HEADROOM: usize = 4 << 20;

/// Whether the allocator could still give out the headroom.
pub(crate) fn has_headroom() -> bool {
    let mut probe = Vec::<u8>::new();
    let granted = probe.try_reserve_exact(HEADROOM).is_ok();
    // The compiler must not take an allocation that nobody uses for a granted one.
    std::hint::black_box(&mut probe);
    granted
}

/// Makes room for `more` elements; false where there is no memory for them.
#[inline]
pub(crate) fn reserve<T>(vector: &mut Vec<T>, more: usize) -> bool {
    more <= vector.capacity() - vector.len() || grow(vector, more)
}

#[cold]
fn grow<T>(vector: &mut Vec<T>, more: usize) -> bool {
    let before = vector.capacity();
    let granted = vector.try_reserve(more).is_ok();
    granted && ((vector.capacity() - before) * size_of::<T>() < HEADROOM / 16 || has_headroom())
}
