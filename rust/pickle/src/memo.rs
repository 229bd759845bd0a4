//! What has been written already: objects by identity, and the strings of the code structure by value.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use pyo3::prelude::*;

use crate::memory;

/// A hasher for addresses: one multiplication, because objects are spread by the allocator already.
#[derive(Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut add = |word: [u8; 8]| {
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95);
        };
        let chunks = bytes.chunks_exact(8);
        let mut last = [0u8; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        for chunk in chunks {
            let mut word = [0u8; 8];
            word.copy_from_slice(chunk);
            add(word);
        }
        add(last);
    }

    fn write_u8(&mut self, value: u8) {
        self.write_usize(usize::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.write_usize(value as usize);
    }

    fn write_usize(&mut self, value: usize) {
        let mixed = (self.0.rotate_left(5) ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

/// The hash by which texts are found.
pub(crate) fn hash(text: &[u8]) -> u64 {
    let mut hasher = AddressHasher::default();
    hasher.write(text);
    hasher.write_usize(text.len());
    hasher.finish()
}

/// Tables below this many entries grow by less than what is always left.
const SMALL_TABLE: usize = 1 << 12;
/// Tables of more entries than this are only doubled.
const LARGE_TABLE: usize = 1 << 16;

/// Makes room for one more entry; false where there is no memory for it.
#[inline]
fn has_room<K: Eq + Hash, V>(map: &mut FastMap<K, V>) -> bool {
    map.len() < map.capacity() || grow(map)
}

/// Fourfold, as long as that is not much: putting entries from one table into the next is most of what a table costs.
#[cold]
fn grow<K: Eq + Hash, V>(map: &mut FastMap<K, V>) -> bool {
    let more = if map.len() < LARGE_TABLE { 2 * map.len() + 1 } else { 1 };
    map.try_reserve(more).is_ok() && (map.len() < SMALL_TABLE || memory::has_headroom())
}

pub(crate) type FastMap<K, V> = HashMap<K, V, BuildHasherDefault<AddressHasher>>;

/// The memo of one pickle (or of one `Pickler` across its dumps).
///
/// It keeps a reference to every object it knows, so that no address is reused while it lives.
pub(crate) struct Memo {
    by_address: FastMap<usize, u32>,
    /// By hash: where in `texts` it stands, and its number.
    by_text: FastMap<u64, (u32, u32, u32)>,
    texts: Vec<u8>,
    kept: Vec<Py<PyAny>>,
    len: u32,
    /// Memory was refused: what was to be remembered is not.
    failed: bool,
    /// Whether the version of Python has been written: see `Saver::stamp`.
    pub(crate) stamped: bool,
}

/// How far a memo had come: see [`Memo::rewind`].
pub(crate) struct Mark {
    len: u32,
    texts: usize,
    kept: usize,
    stamped: bool,
}

impl Default for Memo {
    fn default() -> Self {
        // Room for a small function, so that the tables are not rebuilt while it is written.
        Self {
            by_address: FastMap::with_capacity_and_hasher(14, Default::default()),
            by_text: FastMap::with_capacity_and_hasher(28, Default::default()),
            texts: Vec::with_capacity(512),
            kept: Vec::with_capacity(16),
            len: 0,
            failed: false,
            stamped: false,
        }
    }
}

/// Tables with more room than this are not left to the next dump.
const MAX_SPARE: usize = 1 << 10;

thread_local! {
    /// The tables of the last dump.
    static SPARE: Cell<Option<Memo>> = const { Cell::new(None) };
}

impl Memo {
    /// An empty memo, in the tables of an earlier one where those are free: a class would have them rebuilt twice.
    pub(crate) fn fresh() -> Self {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Leaves the tables to the next dump of this thread.
    pub(crate) fn retire(mut self, py: Python<'_>) {
        // Letting go of objects can run Python code, which may pickle something: it finds no tables here.
        for obj in self.kept.drain(..) {
            obj.drop_ref(py);
        }
        let is_small = self.by_address.capacity().max(self.by_text.capacity()).max(self.kept.capacity()) <= MAX_SPARE;
        if !is_small || self.texts.capacity() > 16 * MAX_SPARE {
            return;
        }
        self.by_address.clear();
        self.by_text.clear();
        self.texts.clear();
        (self.len, self.failed, self.stamped) = (0, false, false);
        // Where the thread ends, nobody comes after.
        let _unless_it_ends = SPARE.try_with(|spare| spare.set(Some(self)));
    }

    /// The number under which `obj` was written.
    pub(crate) fn get(&self, obj: &Bound<'_, PyAny>) -> Option<u32> {
        self.by_address.get(&(obj.as_ptr() as usize)).copied()
    }

    /// Gives `obj` the next number.
    pub(crate) fn put(&mut self, obj: &Bound<'_, PyAny>) -> u32 {
        let number = self.len;
        if has_room(&mut self.by_address) && self.keep(obj) {
            self.by_address.insert(obj.as_ptr() as usize, number);
        } else {
            self.failed = true;
        }
        self.len += 1;
        number
    }

    /// Has `obj` found under a number that is given already.
    pub(crate) fn alias(&mut self, obj: &Bound<'_, PyAny>, number: u32) {
        if has_room(&mut self.by_address) && self.keep(obj) {
            self.by_address.insert(obj.as_ptr() as usize, number);
        }
    }

    /// Whether nothing was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins as another memo, which knows texts only.
    pub(crate) fn adopt_texts(&mut self, other: &Self) {
        self.by_text.extend(&other.by_text);
        self.texts.extend_from_slice(&other.texts);
        self.len = other.len;
        self.stamped = other.stamped;
    }

    /// Whether memory was refused on the way. To be asked now and then.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// The number under which a string of the code structure (a name, a module) was written.
    pub(crate) fn get_text(&self, text: &[u8]) -> Option<u32> {
        self.get_hashed(text, hash(text))
    }

    /// The same, where the hash is known.
    #[inline]
    pub(crate) fn get_hashed(&self, text: &[u8], hash: u64) -> Option<u32> {
        let (start, len, number) = self.by_text.get(&hash)?;
        let found = self.texts.get(*start as usize..)?.get(..*len as usize)?;
        (found == text).then_some(*number)
    }

    /// Gives a string the next number. Of two with the same hash the later one is found from then on.
    pub(crate) fn put_text(&mut self, text: &[u8]) -> u32 {
        self.put_hashed(text, hash(text))
    }

    /// The same, where the hash is known.
    #[inline]
    pub(crate) fn put_hashed(&mut self, text: &[u8], hash: u64) -> u32 {
        let number = self.len;
        // Texts that do not fit 32 bits are written again rather than remembered.
        if let (Ok(start), Ok(len)) = (u32::try_from(self.texts.len()), u32::try_from(text.len()))
            && memory::reserve(&mut self.texts, text.len())
            && has_room(&mut self.by_text)
        {
            self.texts.extend_from_slice(text);
            self.by_text.insert(hash, (start, len, number));
        }
        self.len += 1;
        number
    }

    /// Gives the next number to something that has no address (a dictionary that stands for globals, say).
    pub(crate) fn put_anonymous(&mut self) -> u32 {
        self.len += 1;
        self.len - 1
    }

    /// The number given last.
    pub(crate) fn last(&self) -> u32 {
        self.len.saturating_sub(1)
    }

    /// Keeps `obj` alive as long as the memo; false where there is no memory for it.
    pub(crate) fn keep(&mut self, obj: &Bound<'_, PyAny>) -> bool {
        let has_room = memory::reserve(&mut self.kept, 1);
        if has_room {
            self.kept.push(obj.clone().unbind());
        }
        self.failed |= !has_room;
        has_room
    }

    /// How far the memo has come.
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.len, texts: self.texts.len(), kept: self.kept.len(), stamped: self.stamped }
    }

    /// Forgets what was written since `mark`: it has not reached the file.
    pub(crate) fn rewind(&mut self, mark: &Mark) {
        self.by_address.retain(|_, number| *number < mark.len);
        self.by_text.retain(|_, (_, _, number)| *number < mark.len);
        self.texts.truncate(mark.texts);
        self.kept.truncate(mark.kept);
        self.len = mark.len;
        self.stamped = mark.stamped;
        self.failed = false;
    }

    /// The memo with these objects and their numbers.
    pub(crate) fn from_objects<'py>(objects: impl Iterator<Item = (u32, Bound<'py, PyAny>)>) -> Self {
        let mut memo = Self::default();
        let mut len = 0;
        for (number, obj) in objects {
            memo.len = number;
            memo.put(&obj);
            len = len.max(memo.len);
        }
        memo.len = len;
        memo
    }

    /// Every object that is kept.
    pub(crate) fn kept(&self) -> &[Py<PyAny>] {
        &self.kept
    }

    /// The objects with their numbers, for `Pickler.memo`.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (usize, u32, &Py<PyAny>)> {
        self.kept.iter().filter_map(|obj| {
            let address = obj.as_ptr() as usize;
            self.by_address.get(&address).map(|number| (address, *number, obj))
        })
    }
}
