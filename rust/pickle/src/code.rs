//! Code objects: `marshal`'s bytes rewritten so that equal code gives equal bytes, and the names that the code uses.
//!
//! `marshal.dumps(code, 2)` writes no back references, so its stream does not depend on reference counts or on
//! interning. It is read here once. While it is copied, strings get back references of our own, sets get an order,
//! file names lose the directory they were started from, and the names that instructions load from globals are noted.
//! The format is that of `Python/marshal.c`; the instruction layout (two bytes each, `EXTENDED_ARG` prefixes, inline
//! caches as zeros) is that of `Lib/dis.py`.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

const FLAG_REF: u8 = 0x80;
/// From this length on a back reference (5 bytes) is no longer than the string again.
const MIN_SHARED: usize = 4;
/// `CO_FAST_FREE` in the kinds of local variables (3.11 and later).
const KIND_FREE: u8 = 0x80;
/// `CO_HAS_DOCSTRING` (3.14 and later; before, a string as first constant is the docstring).
const HAS_DOCSTRING: i32 = 0x400_0000;
const MAX_DEPTH: usize = 500;
/// Buckets of the strings of one code object.
const CHAINS: usize = 64;
const NO_STRING: u32 = u32::MAX;

/// The numbers of the instructions that name globals, which change with every minor version.
#[derive(Clone, Default)]
pub(crate) struct Opmap {
    pub(crate) minor: u8,
    pub(crate) extended_arg: u8,
    pub(crate) load_global: Option<u8>,
    /// Instructions whose argument is an index into `co_names` without a flag bit.
    pub(crate) plain: Vec<u8>,
}

/// What a by-value function needs to know about its code.
pub(crate) struct CodeInfo<'s> {
    /// The code object for `marshal.loads`.
    pub(crate) bytes: Vec<u8>,
    /// Names looked up in globals, in order of first use, nested code included.
    pub(crate) globals: Vec<&'s [u8]>,
    /// Every entry of `co_names`, nested code included: attributes, too.
    pub(crate) names: Vec<&'s [u8]>,
    pub(crate) name: &'s [u8],
    pub(crate) qualname: &'s [u8],
    pub(crate) free: Vec<&'s [u8]>,
    pub(crate) doc: Option<&'s [u8]>,
    pub(crate) file: Vec<u8>,
    pub(crate) line: i32,
}

/// How a file name is to be written.
pub(crate) trait FileNames {
    fn shorten<'n>(&mut self, name: &'n [u8]) -> Cow<'n, [u8]>;
}

/// Rewrites `source`, the marshalled form (version 2) of one code object.
///
/// # Errors
/// `ValueError` when the stream is not what this reader knows.
pub(crate) fn rewrite<'s>(source: &'s [u8], opmap: &Opmap, files: &mut dyn FileNames) -> PyResult<CodeInfo<'s>> {
    let mut reader = Rewriter {
        source,
        at: 0,
        out: Vec::with_capacity(source.len()),
        shared: Vec::new(),
        chains: [NO_STRING; CHAINS],
        sharing: true,
        globals: Vec::new(),
        names: Vec::new(),
        opmap,
        files,
    };
    if reader.u8()? != b'c' {
        return Err(reader.bad());
    }
    reader.out.push(b'c');
    let head = reader.code(0)?;
    Ok(CodeInfo {
        bytes: reader.out,
        globals: reader.globals,
        names: reader.names,
        name: head.name,
        qualname: head.qualname,
        free: head.free,
        doc: head.doc,
        file: head.file,
        line: head.line,
    })
}

/// The fields of one code object that its function wants to see.
struct Head<'s> {
    name: &'s [u8],
    qualname: &'s [u8],
    free: Vec<&'s [u8]>,
    doc: Option<&'s [u8]>,
    file: Vec<u8>,
    line: i32,
}

struct Rewriter<'s, 'f> {
    source: &'s [u8],
    at: usize,
    out: Vec<u8>,
    /// Strings written with `FLAG_REF`, with their number.
    shared: Vec<(Cow<'s, [u8]>, u32)>,
    /// Last string of each hash value; each string points to the one before.
    chains: [u32; CHAINS],
    sharing: bool,
    globals: Vec<&'s [u8]>,
    names: Vec<&'s [u8]>,
    opmap: &'f Opmap,
    files: &'f mut dyn FileNames,
}

impl<'s> Rewriter<'s, '_> {
    fn bad(&self) -> PyErr {
        PyValueError::new_err(format!("cannot read the marshalled code at byte {}", self.at))
    }

    fn take(&mut self, len: usize) -> PyResult<&'s [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.source.len()).ok_or_else(|| self.bad())?;
        let bytes = &self.source[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn u8(&mut self) -> PyResult<u8> {
        Ok(self.take(1)?[0])
    }

    fn i32(&mut self) -> PyResult<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn size(&mut self) -> PyResult<usize> {
        usize::try_from(self.i32()?).map_err(|_| self.bad())
    }

    /// Copies `len` bytes as they are.
    fn copy(&mut self, len: usize) -> PyResult<&'s [u8]> {
        let bytes = self.take(len)?;
        self.out.extend_from_slice(bytes);
        Ok(bytes)
    }

    fn copy_i32(&mut self) -> PyResult<i32> {
        let value = self.i32()?;
        self.out.extend_from_slice(&value.to_le_bytes());
        Ok(value)
    }

    /// A `bytes` object, which must stand next.
    fn byte_string(&mut self) -> PyResult<&'s [u8]> {
        if self.u8()? != b's' {
            return Err(self.bad());
        }
        let len = self.size()?;
        let bytes = self.take(len)?;
        self.write_bytes(bytes);
        Ok(bytes)
    }

    fn write_bytes(&mut self, bytes: &[u8]) {
        self.out.push(b's');
        self.out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    /// A string, which must stand next; returned, not written.
    fn read_text(&mut self) -> PyResult<&'s [u8]> {
        match self.u8()? {
            b'u' | b't' => {
                let len = self.size()?;
                self.take(len)
            }
            _ => Err(self.bad()),
        }
    }

    fn text(&mut self) -> PyResult<&'s [u8]> {
        let text = self.read_text()?;
        self.write_text(Cow::Borrowed(text));
        Ok(text)
    }

    /// Writes a string in the shortest of marshal's forms, or a reference to where it was written before.
    fn write_text(&mut self, text: Cow<'s, [u8]>) {
        let mut flag = 0;
        let chain = text.len().wrapping_mul(7).wrapping_add(text.last().map_or(0, |byte| usize::from(*byte))) % CHAINS;
        if self.sharing && text.len() >= MIN_SHARED {
            let mut at = self.chains[chain];
            while let Some((known, before)) = self.shared.get(at as usize) {
                if *known == text {
                    self.out.push(b'r');
                    self.out.extend_from_slice(&at.to_le_bytes());
                    return;
                }
                at = *before;
            }
            flag = FLAG_REF;
        }
        let ascii = text.is_ascii();
        match u8::try_from(text.len()) {
            Ok(len) if ascii => self.out.extend_from_slice(&[b'z' | flag, len]),
            _ => {
                self.out.push(if ascii { b'a' } else { b'u' } | flag);
                self.out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
        self.out.extend_from_slice(&text);
        if flag != 0 {
            let number = u32::try_from(self.shared.len()).unwrap_or(NO_STRING);
            self.shared.push((text, self.chains[chain]));
            self.chains[chain] = number;
        }
    }

    fn tuple_header(&mut self, len: usize) {
        match u8::try_from(len) {
            Ok(short) => self.out.extend_from_slice(&[b')', short]),
            Err(_) => {
                self.out.push(b'(');
                self.out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
            }
        }
    }

    /// A tuple of strings, which must stand next.
    fn text_tuple(&mut self) -> PyResult<Vec<&'s [u8]>> {
        if self.u8()? != b'(' {
            return Err(self.bad());
        }
        let len = self.size()?;
        self.tuple_header(len);
        (0..len).map(|_| self.text()).collect()
    }

    /// Any constant.
    fn object(&mut self, depth: usize) -> PyResult<()> {
        if depth > MAX_DEPTH {
            return Err(PyValueError::new_err("code is nested too deeply"));
        }
        let kind = self.u8()?;
        match kind {
            b'u' | b't' => {
                self.at -= 1;
                self.text()?;
            }
            b's' => {
                self.at -= 1;
                self.byte_string()?;
            }
            b'N' | b'F' | b'T' | b'S' | b'.' => self.out.push(kind),
            b'i' => {
                self.out.push(kind);
                self.copy(4)?;
            }
            b'I' | b'g' => {
                self.out.push(kind);
                self.copy(8)?;
            }
            b'y' => {
                self.out.push(kind);
                self.copy(16)?;
            }
            b'l' => {
                self.out.push(kind);
                let digits = self.copy_i32()?.unsigned_abs() as usize;
                self.copy(digits.checked_mul(2).ok_or_else(|| self.bad())?)?;
            }
            b'(' => {
                let len = self.size()?;
                self.tuple_header(len);
                for _ in 0..len {
                    self.object(depth + 1)?;
                }
            }
            b'>' | b'<' => self.set(kind, depth)?,
            b'c' => {
                self.out.push(b'c');
                self.code(depth + 1)?;
            }
            _ => return Err(self.bad()),
        }
        Ok(())
    }

    /// A (frozen) set, in the order of its elements' bytes.
    fn set(&mut self, kind: u8, depth: usize) -> PyResult<()> {
        let len = self.size()?;
        let was_sharing = std::mem::replace(&mut self.sharing, false);
        let before = std::mem::take(&mut self.out);
        let mut elements = Vec::with_capacity(len);
        for _ in 0..len {
            self.object(depth + 1)?;
            elements.push(std::mem::take(&mut self.out));
        }
        elements.sort_unstable();
        self.out = before;
        self.sharing = was_sharing;
        self.out.push(kind);
        self.out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        for element in elements {
            self.out.extend_from_slice(&element);
        }
        Ok(())
    }

    /// The constants of a code object: the first one is returned where it is a string.
    fn constants(&mut self, depth: usize) -> PyResult<Option<&'s [u8]>> {
        if self.u8()? != b'(' {
            return Err(self.bad());
        }
        let len = self.size()?;
        self.tuple_header(len);
        let mut first = None;
        for index in 0..len {
            if index == 0 && matches!(self.source.get(self.at), Some(b'u' | b't')) {
                first = Some(self.text()?);
            } else {
                self.object(depth + 1)?;
            }
        }
        Ok(first)
    }

    fn file_name(&mut self) -> PyResult<Vec<u8>> {
        let name = self.read_text()?;
        let short = self.files.shorten(name);
        let copy = short.to_vec();
        self.write_text(short);
        Ok(copy)
    }

    /// The body of a code object, after its type byte.
    fn code(&mut self, depth: usize) -> PyResult<Head<'s>> {
        if depth > MAX_DEPTH {
            return Err(PyValueError::new_err("code is nested too deeply"));
        }
        let since_311 = self.opmap.minor >= 11;
        // argcount, posonlyargcount, kwonlyargcount, (3.10: nlocals,) stacksize
        self.copy(if since_311 { 16 } else { 20 })?;
        let flags = self.copy_i32()?;
        let instructions = self.byte_string()?;
        // Globals of the outer code come before those of nested code: note the place, fill it when names are known.
        let outer_globals = self.globals.len();
        let outer_names = self.names.len();
        let first = self.constants(depth)?;
        let nested_globals = self.globals.split_off(outer_globals);
        let nested_names = self.names.split_off(outer_names);
        let names = self.text_tuple()?;
        self.scan(instructions, &names);
        for name in nested_globals {
            self.note_global(name);
        }
        self.names.extend(names);
        self.names.extend(nested_names);
        let (free, file, name, qualname, line);
        if since_311 {
            let locals = self.text_tuple()?;
            let kinds = self.byte_string()?;
            free =
                locals.iter().zip(kinds).filter(|(_, kind)| **kind & KIND_FREE != 0).map(|(name, _)| *name).collect();
            file = self.file_name()?;
            name = self.text()?;
            qualname = self.text()?;
            line = self.copy_i32()?;
            self.byte_string()?; // line table
            self.byte_string()?; // exception table
        } else {
            self.text_tuple()?; // varnames
            free = self.text_tuple()?;
            self.text_tuple()?; // cellvars
            file = self.file_name()?;
            name = self.text()?;
            qualname = name;
            line = self.copy_i32()?;
            self.byte_string()?; // line table
        }
        let has_doc = self.opmap.minor < 14 || flags & HAS_DOCSTRING != 0;
        Ok(Head { name, qualname, free, doc: first.filter(|_| has_doc), file, line })
    }

    fn note_global(&mut self, name: &'s [u8]) {
        // A long list is not searched: doubles cost less there, and are skipped when values are written.
        if self.globals.len() > 64 || !self.globals.contains(&name) {
            self.globals.push(name);
        }
    }

    /// Notes the globals that the instructions name.
    fn scan(&mut self, instructions: &[u8], names: &[&'s [u8]]) {
        let mut seen = vec![false; names.len()];
        let mut extended = 0usize;
        for pair in instructions.chunks_exact(2) {
            let argument = extended | usize::from(pair[1]);
            if pair[0] == self.opmap.extended_arg {
                extended = argument << 8;
                continue;
            }
            extended = 0;
            let index = if Some(pair[0]) == self.opmap.load_global {
                if self.opmap.minor >= 11 { argument >> 1 } else { argument }
            } else if self.opmap.plain.contains(&pair[0]) {
                argument
            } else {
                continue;
            };
            if let (Some(name), Some(known)) = (names.get(index), seen.get_mut(index))
                && !std::mem::replace(known, true)
            {
                self.note_global(name);
            }
        }
    }
}
