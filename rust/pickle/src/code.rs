//! Code objects as a call of `types.CodeType`, and the names that code looks up in its globals.
//!
//! Opcodes share strings with the rest of the pickle and are shorter than marshal's fixed-width fields. Equal code gives
//! equal bytes: sets get an order, and file names lose the directory they were started from. The layout of
//! instructions (two bytes each, `EXTENDED_ARG` prefixes, inline caches as zeros) is that of `Lib/dis.py`.

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyBytes, PyComplex, PyComplexMethods, PyDict, PyEllipsis, PyFloat, PyFrozenSet, PyInt, PySlice, PyString,
    PyTuple,
};

use crate::getters::Getter;
use crate::known::Known;
use crate::memo;
use crate::opcodes as op;

/// `CO_OPTIMIZED`: local variables have places; in class bodies and modules they stand in a dictionary.
const OPTIMIZED: i64 = 0x1;
/// `CO_HAS_DOCSTRING` (3.14 and later; before, a string as first constant is the docstring).
const HAS_DOCSTRING: i64 = 0x400_0000;
const MAX_DEPTH: usize = 500;

/// The numbers of the instructions that name globals, which change with every minor version.
#[derive(Clone, Default)]
pub(crate) struct Opmap {
    pub(crate) minor: u8,
    pub(crate) extended_arg: u8,
    /// By opcode: 1 where the argument is an index into `co_names`, 2 where a flag bit stands below it, else 0.
    pub(crate) names_global: Vec<u8>,
}

/// What a piece of a code object's pickle is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Opcodes that are written as they are: of protocol 2, or `SHORT_BINBYTES`.
    Raw,
    /// A string.
    Text,
    /// A string that nothing else holds.
    Unique,
    /// A tuple of so many strings, which follow; its own bytes are what it is shared by.
    Names(u32),
    /// A byte string too long for `Raw`.
    Bytes,
    /// The function that makes code objects: `types.CodeType`.
    Maker,
    /// The function that reads marshalled code.
    Unmarshal,
    /// An object of `builtins`: `Ellipsis`, `complex`, `slice`.
    Builtin,
    FrozensetBegins,
    FrozensetEnds,
}

/// One piece: its bytes end in `Template::data` where the next one's begin.
pub(crate) struct Piece {
    pub(crate) kind: Kind,
    pub(crate) end: u32,
    /// Of a text or tuple of texts, for the memo.
    pub(crate) hash: u64,
}

/// The pickle of a code object, but for what the memo knows already.
#[derive(Default)]
pub(crate) struct Template {
    pub(crate) data: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
}

impl Template {
    fn close(&mut self, kind: Kind, hash: u64) {
        self.pieces.push(Piece { kind, end: u32::try_from(self.data.len()).unwrap_or(u32::MAX), hash });
    }

    /// Ends the piece of raw opcodes, if any were written since the last piece.
    fn flush(&mut self) {
        if self.pieces.last().map_or(0, |piece| piece.end as usize) < self.data.len() {
            self.close(Kind::Raw, 0);
        }
    }

    fn op(&mut self, opcodes: &[u8]) {
        self.data.extend_from_slice(opcodes);
    }

    fn piece(&mut self, kind: Kind, bytes: &[u8]) {
        self.flush();
        self.data.extend_from_slice(bytes);
        self.close(kind, 0);
    }

    fn text(&mut self, text: &[u8]) {
        self.flush();
        self.data.extend_from_slice(text);
        self.close(Kind::Text, memo::hash(text));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len) => {
                self.op(&[op::SHORT_BINBYTES, len]);
                self.op(bytes);
            }
            Err(_) => self.piece(Kind::Bytes, bytes),
        }
    }

    fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.op(&[op::BININT1, byte]);
        } else if let Ok(short) = u16::try_from(value) {
            let [low, high] = short.to_le_bytes();
            self.op(&[op::BININT2, low, high]);
        } else if let Ok(int) = i32::try_from(value) {
            self.op(&[op::BININT]);
            self.op(&int.to_le_bytes());
        } else {
            self.long(&value.to_le_bytes());
        }
    }

    /// Little-endian two's complement; bytes that only repeat the sign are dropped.
    fn long(&mut self, mut bytes: &[u8]) {
        while let [rest @ .., last] = bytes
            && let [.., before] = rest
            && *last == if before & 0x80 == 0 { 0 } else { 0xff }
        {
            bytes = rest;
        }
        if let Ok(len) = u8::try_from(bytes.len()) {
            self.op(&[op::LONG1, len]);
        } else {
            self.op(&[op::LONG4]);
            self.op(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        }
        self.op(bytes);
    }

    fn float(&mut self, value: f64) {
        self.op(&[op::BINFLOAT]);
        self.op(&value.to_bits().to_be_bytes());
    }

    fn begin_tuple(&mut self, len: usize) {
        if len > 3 {
            self.op(&[op::MARK]);
        }
    }

    fn end_tuple(&mut self, len: usize) {
        self.op(&[match len {
            0 => op::EMPTY_TUPLE,
            1 => op::TUPLE1,
            2 => op::TUPLE2,
            3 => op::TUPLE3,
            _ => op::TUPLE,
        }]);
    }

    /// A tuple of strings.
    fn names(&mut self, names: &Bound<'_, PyTuple>) -> PyResult<()> {
        let count = names.len();
        if count >= 2 {
            self.flush();
            let start = self.data.len();
            self.data.push(0xfe); // no UTF-8: cannot be taken for a string
            for name in names.iter_borrowed() {
                with_utf8(&name, |text| self.data.extend_from_slice(text))?;
                self.data.push(0);
            }
            let hash = memo::hash(&self.data[start..]);
            self.close(Kind::Names(u32::try_from(count).unwrap_or(u32::MAX)), hash);
        }
        for name in names.iter_borrowed() {
            self.string(&name)?;
        }
        if count < 2 {
            self.end_tuple(count);
        }
        Ok(())
    }

    fn string(&mut self, text: &Bound<'_, PyAny>) -> PyResult<()> {
        with_utf8(text, |text| self.text(text))
    }
}

/// Calls with the UTF-8 of a string, lone surrogates as `surrogatepass` writes them.
fn with_utf8(text: &Bound<'_, PyAny>, use_it: impl FnOnce(&[u8])) -> PyResult<()> {
    let text = text.cast::<PyString>()?;
    match text.to_str() {
        Ok(utf8) => use_it(utf8.as_bytes()),
        Err(_) => {
            let encoded = text.call_method1(intern!(text.py(), "encode"), ("utf-8", "surrogatepass"))?;
            use_it(encoded.cast::<PyBytes>()?.as_bytes());
        }
    }
    Ok(())
}

/// What a by-value function needs to know about its code.
pub(crate) struct CodeInfo<'py> {
    pub(crate) template: Template,
    /// Names looked up in globals, in order of first use, nested code included.
    pub(crate) globals: Vec<Bound<'py, PyString>>,
    /// `co_names` of the code and of nested code: attributes, too.
    pub(crate) names: Vec<Bound<'py, PyTuple>>,
    pub(crate) head: Head<'py>,
}

/// The fields of one code object that its function is compared with.
pub(crate) struct Head<'py> {
    pub(crate) name: Bound<'py, PyAny>,
    pub(crate) qualname: Bound<'py, PyAny>,
    pub(crate) doc: Option<Bound<'py, PyAny>>,
}

/// How a file name is to be written: how much of its front is left out.
pub(crate) trait FileNames {
    fn cut(&mut self, name: &[u8]) -> usize;
    /// What is written in place of any name.
    fn fixed(&self) -> Option<&'static str> {
        None
    }
}

/// Reads a code object.
///
/// # Errors
/// `ValueError` where it holds what code does not hold.
pub(crate) fn translate<'py>(
    code: &Bound<'py, PyAny>,
    known: &'static Known,
    files: &mut dyn FileNames,
) -> PyResult<CodeInfo<'py>> {
    let template = Template { data: Vec::with_capacity(512), pieces: Vec::with_capacity(32) };
    let mut reader = Reader { out: template, globals: Vec::new(), names: Vec::new(), known, files };
    let head = reader.code(code, 0)?;
    reader.out.flush();
    if reader.out.data.len() >= u32::MAX as usize {
        return Err(PyValueError::new_err("code is too large"));
    }
    Ok(CodeInfo { template: reader.out, globals: reader.globals, names: reader.names, head })
}

struct Reader<'py, 'f> {
    out: Template,
    globals: Vec<Bound<'py, PyString>>,
    names: Vec<Bound<'py, PyTuple>>,
    known: &'static Known,
    files: &'f mut dyn FileNames,
}

impl<'py> Reader<'py, '_> {
    /// Any constant.
    fn constant(&mut self, obj: &Bound<'py, PyAny>, depth: usize) -> PyResult<()> {
        if depth > MAX_DEPTH {
            return Err(PyValueError::new_err("code is nested too deeply"));
        }
        if obj.is_none() {
            self.out.op(&[op::NONE]);
        } else if obj.is_exact_instance_of::<PyString>() {
            self.out.string(obj)?;
        } else if obj.is_exact_instance_of::<PyInt>() {
            self.int(obj)?;
        } else if let Ok(tuple) = obj.cast_exact::<PyTuple>() {
            self.out.begin_tuple(tuple.len());
            for item in tuple.iter_borrowed() {
                self.constant(&item, depth + 1)?;
            }
            self.out.end_tuple(tuple.len());
        } else if let Ok(float) = obj.cast_exact::<PyFloat>() {
            self.out.float(float.value());
        } else if let Ok(truth) = obj.cast_exact::<PyBool>() {
            self.out.op(&[if truth.is_true() { op::NEWTRUE } else { op::NEWFALSE }]);
        } else if let Ok(bytes) = obj.cast_exact::<PyBytes>() {
            self.out.bytes(bytes.as_bytes());
        } else if obj.get_type().is(&self.known.code) {
            self.code(obj, depth + 1)?;
        } else if let Ok(set) = obj.cast_exact::<PyFrozenSet>() {
            self.frozenset(set, depth)?;
        } else if obj.is_instance_of::<PyEllipsis>() {
            self.out.piece(Kind::Builtin, b"Ellipsis");
        } else if let Ok(complex) = obj.cast_exact::<PyComplex>() {
            self.out.piece(Kind::Builtin, b"complex");
            self.out.float(complex.real());
            self.out.float(complex.imag());
            self.out.op(&[op::TUPLE2, op::REDUCE]);
        } else if obj.is_exact_instance_of::<PySlice>() {
            self.out.piece(Kind::Builtin, b"slice");
            for name in ["start", "stop", "step"] {
                self.constant(&obj.getattr(name)?, depth + 1)?;
            }
            self.out.op(&[op::TUPLE3, op::REDUCE]);
        } else {
            let message = format!("cannot pickle a constant of type '{}' in code", crate::global::type_name(obj));
            return Err(PyValueError::new_err(message));
        }
        Ok(())
    }

    fn int(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        let mut overflow = 0;
        // SAFETY: `obj` is an exact int; the call reads it and writes the flag.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(obj.as_ptr(), &raw mut overflow) };
        if overflow == 0 {
            self.out.int(value);
        } else {
            self.out.long(crate::save::long_bytes(obj)?.as_bytes());
        }
        Ok(())
    }

    /// A frozen set, in the order of its elements' opcodes.
    fn frozenset(&mut self, set: &Bound<'py, PyFrozenSet>, depth: usize) -> PyResult<()> {
        self.out.piece(Kind::FrozensetBegins, b"");
        let before = std::mem::take(&mut self.out);
        let mut elements = Vec::with_capacity(set.len());
        for element in set.iter() {
            self.constant(&element, depth + 1)?;
            self.out.flush();
            elements.push(std::mem::take(&mut self.out));
        }
        elements.sort_by(|left, right| left.data.cmp(&right.data));
        self.out = before;
        for element in elements {
            let base = u32::try_from(self.out.data.len()).unwrap_or(u32::MAX);
            self.out.data.extend_from_slice(&element.data);
            let moved = element.pieces.into_iter().map(|piece| Piece { end: piece.end.saturating_add(base), ..piece });
            self.out.pieces.extend(moved);
        }
        self.out.piece(Kind::FrozensetEnds, b"");
        Ok(())
    }

    /// An integer attribute. `CodeType` takes truth values as well, and 0 and 1, which most are, need one byte so.
    fn count(&mut self, code: &Bound<'py, PyAny>, part: &Getter) -> PyResult<i64> {
        let value = part.int_of(code)?;
        match value {
            0 => self.out.op(&[op::NEWFALSE]),
            1 => self.out.op(&[op::NEWTRUE]),
            _ => self.out.int(value),
        }
        Ok(value)
    }

    fn byte_string(&mut self, code: &Bound<'py, PyAny>, part: &Getter) -> PyResult<()> {
        let bytes = part.of(code)?.cast_into::<PyBytes>()?;
        self.out.bytes(bytes.as_bytes());
        Ok(())
    }

    fn code(&mut self, code: &Bound<'py, PyAny>, depth: usize) -> PyResult<Head<'py>> {
        if depth > MAX_DEPTH {
            return Err(PyValueError::new_err("code is nested too deeply"));
        }
        let since_311 = self.known.opmap.minor >= 11;
        self.out.flush();
        let (first_byte, first_piece) = (self.out.data.len(), self.out.pieces.len());
        self.out.piece(Kind::Maker, b"");
        self.out.op(&[op::MARK]);
        let get = &self.known.getters;
        for part in [&get.argcount, &get.posonlyargcount, &get.kwonlyargcount] {
            self.count(code, part)?;
        }
        let locals = self.count(code, &get.nlocals)?;
        self.count(code, &get.stacksize)?;
        let flags = self.count(code, &get.flags)?;
        let instructions = get.instructions.of(code)?.cast_into::<PyBytes>()?;
        self.out.bytes(instructions.as_bytes());
        let names = tuple(code, &get.names)?;
        // Globals of the outer code come before those of nested code.
        self.scan(instructions.as_bytes(), &names)?;
        if !names.is_empty() {
            self.names.push(names.clone());
        }
        let constants = tuple(code, &get.consts)?;
        self.constant(constants.as_any(), depth + 1)?;
        self.out.names(&names)?;
        self.out.names(&tuple(code, &get.varnames)?)?;
        self.file_name(&get.filename.of(code)?)?;
        let name = get.name.of(code)?;
        self.out.string(&name)?;
        let mut qualname = name.clone();
        if since_311 {
            qualname = get.qualname.of(code)?;
            if qualname.is(&name) || qualname.eq(&name)? {
                self.out.string(&qualname)?;
            } else {
                with_utf8(&qualname, |text| self.out.piece(Kind::Unique, text))?;
            }
        }
        self.count(code, &get.firstlineno)?;
        self.byte_string(code, &get.linetable)?;
        if since_311 {
            self.byte_string(code, &get.exceptiontable)?;
        }
        self.out.names(&tuple(code, &get.freevars)?)?;
        self.out.names(&tuple(code, &get.cellvars)?)?;
        self.out.op(&[op::TUPLE, op::REDUCE]);
        if locals > 0 && flags & OPTIMIZED == 0 {
            self.out.data.truncate(first_byte);
            self.out.pieces.truncate(first_piece);
            self.marshalled(code)?;
        }
        // A string as first constant is the docstring; from 3.14 on a flag says whether it is one.
        let documented = self.known.opmap.minor < 14 || flags & HAS_DOCSTRING != 0;
        let doc = constants.get_item(0).ok().filter(|first| documented && first.is_exact_instance_of::<PyString>());
        Ok(Head { name, qualname, doc })
    }

    fn file_name(&mut self, name: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Some(fixed) = self.files.fixed() {
            self.out.text(fixed.as_bytes());
            return Ok(());
        }
        with_utf8(name, |name| {
            let cut = self.files.cut(name);
            self.out.text(&name[cut..]);
        })
    }

    /// Code whose variables of inlined comprehensions are hidden (3.12 and later, in class bodies): `types.CodeType`
    /// cannot make it, `marshal` can.
    fn marshalled(&mut self, code: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = code.py();
        let code = self.with_short_files(code)?;
        let bytes = py.import("marshal")?.getattr("dumps")?.call1((code, 2))?.cast_into::<PyBytes>()?;
        self.out.piece(Kind::Unmarshal, b"");
        self.out.piece(Kind::Bytes, bytes.as_bytes());
        self.out.op(&[op::TUPLE1, op::REDUCE]);
        Ok(())
    }

    fn with_short_files(&mut self, code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = code.py();
        let mut constants = Vec::new();
        for constant in tuple(code, &self.known.getters.consts)?.iter() {
            let is_code = constant.get_type().is(&self.known.code);
            constants.push(if is_code { self.with_short_files(&constant)? } else { constant });
        }
        let name: String = code.getattr(intern!(py, "co_filename"))?.extract()?;
        let changes = PyDict::new(py);
        changes.set_item("co_filename", &name[self.files.cut(name.as_bytes())..])?;
        changes.set_item("co_consts", PyTuple::new(py, constants)?)?;
        code.call_method(intern!(py, "replace"), (), Some(&changes))
    }

    /// Notes the globals that the instructions name.
    fn scan(&mut self, instructions: &[u8], names: &Bound<'py, PyTuple>) -> PyResult<()> {
        let count = names.len();
        if count == 0 {
            return Ok(());
        }
        let opmap = &self.known.opmap;
        // A bit for each of the first names; those after are looked up in the list.
        let mut seen = 0u64;
        let mut extended = 0usize;
        for pair in instructions.chunks_exact(2) {
            let (opcode, argument) = (pair[0], extended | usize::from(pair[1]));
            if opcode == opmap.extended_arg {
                extended = argument << 8;
                continue;
            }
            extended = 0;
            let index = match opmap.names_global[usize::from(opcode)] {
                0 => continue,
                1 => argument,
                _ => argument >> 1,
            };
            let bit = 1u64.checked_shl(u32::try_from(index).unwrap_or(64)).unwrap_or(0);
            if index >= count || seen & bit != 0 {
                continue;
            }
            seen |= bit;
            let name = names.get_item(index)?.cast_into::<PyString>()?;
            // Names in code are interned. A long list is not searched: doubles cost less there, and are skipped when values are written.
            let is_new = self.globals.len() > 64 || !self.globals.iter().any(|known| known.is(&name));
            if is_new {
                self.globals.push(name);
            }
        }
        Ok(())
    }
}

fn tuple<'py>(code: &Bound<'py, PyAny>, part: &Getter) -> PyResult<Bound<'py, PyTuple>> {
    Ok(part.of(code)?.cast_into::<PyTuple>()?)
}
