//! What is known of a code object, found out when it is first met, and how it is written.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple, PyWeakrefReference};

use crate::code::{self, FileNames, Kind, Template};
use crate::memo::FastMap;
use crate::opcodes as op;
use crate::save::{Rest, Saver};

/// What is known of a code object: it never changes, so it is kept for as long as the code lives.
pub(crate) struct CodeFacts {
    /// Names looked up in globals.
    pub(crate) globals: Vec<Py<PyString>>,
    pub(crate) template: Template,
    pub(crate) name: Py<PyAny>,
    pub(crate) qualname: Py<PyAny>,
    pub(crate) doc: Option<Py<PyAny>>,
    /// `co_names` of the code and of nested code.
    names: Vec<Py<PyTuple>>,
}

impl CodeFacts {
    /// Every name that the code uses, attributes included.
    pub(crate) fn names(&self, py: Python<'_>) -> Vec<String> {
        self.names.iter().flat_map(|names| names.bind(py)).filter_map(|name| name.extract().ok()).collect()
    }
}

/// Facts by the address of the code, with a weak reference that tells whether the code is still the one.
type KnownCodes = FastMap<usize, (Py<PyWeakrefReference>, Arc<CodeFacts>)>;

static KNOWN_CODES: Mutex<Option<KnownCodes>> = Mutex::new(None);
/// At this many all are forgotten.
const MAX_CODES: usize = 4096;

/// Few enough for the table to stay in a cache.
const SEEN_CODES: usize = 1 << 11;
/// Addresses of code that was met once, shortened. Facts are kept when code is met again: most code is pickled once, and
/// keeping takes longer than finding out.
static SEEN: [AtomicU32; SEEN_CODES] = [const { AtomicU32::new(0) }; SEEN_CODES];

fn cached_facts(code: &Bound<'_, PyAny>) -> Option<Arc<CodeFacts>> {
    let known = KNOWN_CODES.lock().ok()?;
    let (reference, facts) = known.as_ref()?.get(&(code.as_ptr() as usize))?;
    let alive = reference.bind(code.py()).upgrade()?;
    alive.is(code).then(|| facts.clone())
}

/// Whether this address was seen lately; remembers it.
fn seen_before(code: &Bound<'_, PyAny>) -> bool {
    let mixed = (code.as_ptr() as u64 >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let short = mixed as u32;
    SEEN[(mixed >> 32) as usize % SEEN_CODES].swap(short, Ordering::Relaxed) == short
}

fn cache_facts(code: &Bound<'_, PyAny>, facts: &Arc<CodeFacts>) -> PyResult<()> {
    let reference = PyWeakrefReference::new(code)?.unbind();
    let mut dropped = KnownCodes::default();
    if let Ok(mut known) = KNOWN_CODES.lock() {
        let known = known.get_or_insert_default();
        if known.len() >= MAX_CODES {
            dropped = std::mem::take(known);
        }
        known.insert(code.as_ptr() as usize, (reference, facts.clone()));
    }
    // Not under the lock: letting go of Python objects can run Python code.
    drop(dropped);
    Ok(())
}

/// How much of each file name to cut off: found once per name, so that it does not change when `sys.path` does.
static CUTS: Mutex<Option<FastMap<Box<[u8]>, usize>>> = Mutex::new(None);
/// No program has more files of code than this; one that makes them up has to look again.
const MAX_CUTS: usize = 4096;

/// File names without the directory that Python found them in.
pub(crate) struct ShortNames<'py>(pub(crate) Python<'py>);

impl ShortNames<'_> {
    fn find_cut(&self, name: &[u8]) -> usize {
        let entries: Vec<String> = self
            .0
            .import("sys")
            .and_then(|sys| sys.getattr(intern!(self.0, "path")))
            .and_then(|path| {
                path.try_iter()?.map(|entry| Ok(entry?.extract().unwrap_or_default())).collect::<PyResult<_>>()
            })
            .unwrap_or_default();
        let roots = entries.iter().map(|entry| entry.trim_end_matches('/').as_bytes());
        let under = roots
            .filter(|root| !root.is_empty() && name.strip_prefix(*root).is_some_and(|rest| rest.starts_with(b"/")));
        match under.map(<[u8]>::len).max() {
            Some(root) => root + 1,
            None => name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1),
        }
    }
}

impl FileNames for ShortNames<'_> {
    fn cut(&mut self, name: &[u8]) -> usize {
        if !name.starts_with(b"/") {
            return 0;
        }
        let known = CUTS.lock().ok().and_then(|cuts| cuts.as_ref()?.get(name).copied());
        known.unwrap_or_else(|| {
            // The lock is not held here: looking at `sys.path` runs Python code.
            let cut = self.find_cut(name);
            if let Ok(mut cuts) = CUTS.lock() {
                let cuts = cuts.get_or_insert_default();
                if cuts.len() >= MAX_CUTS {
                    cuts.clear();
                }
                cuts.insert(name.into(), cut);
            }
            cut
        })
    }
}

/// The file, by its short name, and the line where code begins.
pub(crate) fn place(code: &Bound<'_, PyAny>) -> Option<(String, i64)> {
    let file: String = code.getattr("co_filename").ok()?.extract().ok()?;
    let line = code.getattr("co_firstlineno").ok()?.extract().ok()?;
    let cut = ShortNames(code.py()).cut(file.as_bytes());
    Some((file[cut..].to_owned(), line))
}

impl<'py> Saver<'py> {
    /// Reads a code object, or remembers having read it.
    pub(crate) fn code_facts(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Arc<CodeFacts>> {
        if let Some(facts) = self.functions.read.get(&(code.as_ptr() as usize)) {
            return Ok(facts.clone());
        }
        if let Some(facts) = cached_facts(code) {
            return Ok(facts);
        }
        let py = self.py;
        let info = code::translate(code, self.known, &mut ShortNames(py))?;
        let facts = Arc::new(CodeFacts {
            globals: info.globals.into_iter().map(Bound::unbind).collect(),
            names: info.names.into_iter().map(Bound::unbind).collect(),
            template: info.template,
            name: info.head.name.unbind(),
            qualname: info.head.qualname.unbind(),
            doc: info.head.doc.map(Bound::unbind),
        });
        if seen_before(code) {
            cache_facts(code, &facts)?;
        }
        Ok(facts)
    }

    /// The same for code that is met again in this very dump: that of a class's methods.
    pub(crate) fn code_facts_kept(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Arc<CodeFacts>> {
        let facts = self.code_facts(code)?;
        self.memo.keep(code);
        self.functions.read.insert(code.as_ptr() as usize, facts.clone());
        Ok(facts)
    }

    /// Writes a code object, or gets the one written before.
    pub(crate) fn code(&mut self, code: &Bound<'py, PyAny>, facts: &CodeFacts) -> PyResult<()> {
        if let Some(number) = self.memo.get(code) {
            self.writer.get(number);
            return Ok(());
        }
        let start = self.writer.position();
        self.template(&facts.template)?;
        self.memoize(code);
        self.trace_leaf(start, || {
            let place = place(code).map_or_else(|| "?".to_owned(), |(file, line)| format!("{file}, line {line}"));
            ("code".to_owned(), place)
        });
        Ok(())
    }

    /// A code object on its own.
    pub(crate) fn lone_code(&mut self, code: &Bound<'py, PyAny>) -> Rest<'py> {
        let facts = self.code_facts(code)?;
        self.code(code, &facts)?;
        Ok(None)
    }

    /// Writes the pieces of a code object.
    pub(crate) fn template(&mut self, template: &Template) -> PyResult<()> {
        self.stamp()?;
        let mut start = 0;
        let mut pieces = template.pieces.iter();
        while let Some(piece) = pieces.next() {
            let bytes = &template.data[start..piece.end as usize];
            start = piece.end as usize;
            match piece.kind {
                Kind::Raw => self.writer.bytes(bytes),
                Kind::Text => self.text_hashed(bytes, piece.hash),
                Kind::Names(count) => {
                    let texts = pieces.by_ref().take(count as usize);
                    if let Some(number) = self.memo.get_hashed(bytes, piece.hash) {
                        self.writer.get(number);
                        start = texts.last().map_or(start, |last| last.end as usize);
                        continue;
                    }
                    if count > 3 {
                        self.writer.byte(op::MARK);
                    }
                    for text in texts {
                        self.text_hashed(&template.data[start..text.end as usize], text.hash);
                        start = text.end as usize;
                    }
                    self.writer.byte(match count {
                        2 => op::TUPLE2,
                        3 => op::TUPLE3,
                        _ => op::TUPLE,
                    });
                    let number = self.memo.put_hashed(bytes, piece.hash);
                    self.writer.put(number);
                }
                Kind::Unique => self.writer.text(bytes),
                Kind::Bytes => self.writer.raw_bytes_object(bytes),
                Kind::Maker => self.code_maker()?,
                Kind::Unmarshal => self.standard("marshal", "loads")?,
                Kind::Builtin => drop(self.standard_numbered("builtins", &String::from_utf8_lossy(bytes))?),
                Kind::FrozensetBegins => {
                    if self.options.protocol < 4 {
                        self.standard("builtins", "frozenset")?;
                    }
                    self.writer.byte(op::MARK);
                }
                Kind::FrozensetEnds if self.options.protocol < 4 => {
                    self.writer.bytes(&[op::TUPLE, op::TUPLE1, op::REDUCE]);
                }
                Kind::FrozensetEnds => self.writer.byte(op::FROZENSET),
            }
        }
        Ok(())
    }

    /// Has the receiver compare the version of Python that wrote the code with its own, once per pickle.
    ///
    /// A set with one pair in it, the writer's sentence and minor version, has the pair with the reader's minor version
    /// removed: `KeyError: ('pickled by Python 3.11, loading on 3.', 13)`. Nothing is left on the pickle's stack.
    pub(crate) fn stamp(&mut self) -> PyResult<()> {
        if self.memo.stamped {
            return Ok(());
        }
        self.memo.stamped = true;
        self.writer.prefer_bare();
        if self.options.protocol < 4 {
            return self.old_stamp();
        }
        let minor = self.known.opmap.minor;
        for name in ["builtins", "set.remove"] {
            self.writer.text(name.as_bytes());
        }
        self.writer.bytes(&[op::STACK_GLOBAL, op::EMPTY_SET, op::MARK]);
        self.writer.text(format!("{}, loading on 3.", self.known.version).as_bytes());
        let number = self.memo.put_anonymous();
        self.writer.put(number);
        self.writer.int(i64::from(minor));
        self.writer.bytes(&[op::TUPLE2, op::ADDITEMS]);
        self.writer.get(number);
        for name in ["sys", "version_info.minor"] {
            self.writer.text(name.as_bytes());
        }
        self.writer.bytes(&[op::STACK_GLOBAL, op::TUPLE2, op::TUPLE2, op::REDUCE, op::POP]);
        Ok(())
    }

    /// The same without attributes of attributes, which older protocols cannot name: the import system's own check of
    /// compiled files raises `ImportError: bad magic number in 'pickled by Python 3.11'`.
    fn old_stamp(&mut self) -> PyResult<()> {
        self.writer.global_line(b"_frozen_importlib_external", b"_classify_pyc");
        // The header of a compiled file: the magic number, and no flags, time or size.
        let mut header = [0; 16];
        header[..4].copy_from_slice(&self.known.magic);
        self.writer.bytes(&[op::SHORT_BINBYTES, 16]);
        self.writer.bytes(&header);
        self.writer.text(self.known.version.as_bytes());
        self.writer.bytes(&[op::EMPTY_DICT, op::TUPLE3, op::REDUCE, op::POP]);
        Ok(())
    }
}
