//! The byte stream: opcodes with their arguments, cut into frames as PEP 3154 asks.
//!
//! Large strings and byte strings are not copied here: they are held and copied once, when the result is put together.

use pyo3::exceptions::{PyMemoryError, PyOverflowError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::buffer::Buffer;
use crate::memory;
use crate::opcodes as op;

/// A frame is closed at the first opcode boundary after this many bytes; the standard library's figure.
const FRAME_TARGET: usize = 64 * 1024;
/// Shorter frames are written bare.
const FRAME_MIN: usize = 4;
const FRAME_HEADER: usize = 9;
/// Where the first frame begins: after `PROTO`.
const BEGIN: usize = 2;

/// Bytes that belong at an offset of the stream, held instead of copied.
enum Held<'py> {
    Bytes(Bound<'py, PyBytes>),
    Text(Bound<'py, PyString>),
    Buffer(Buffer<'py>),
}

impl Held<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            // It was asked for before, and the string keeps it.
            Self::Text(text) => text.to_str().unwrap_or_default().as_bytes(),
            Self::Buffer(buffer) => buffer.bytes(),
        }
    }
}

/// The output of one dump.
pub(crate) struct Writer<'py> {
    out: Vec<u8>,
    held: Vec<(usize, Held<'py>)>,
    held_len: usize,
    frame_start: Option<usize>,
    /// What the headers of frames take in `out`.
    headers_len: usize,
    /// Where the open frame is full; never, while none is open.
    frame_end: usize,
    framing: bool,
    protocol: u8,
    /// Memory was refused: what is here is no longer a pickle.
    failed: bool,
    /// Whether a frame that holds the whole pickle is left out.
    bare: bool,
}

impl<'py> Writer<'py> {
    pub(crate) fn new(protocol: u8) -> Self {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(&[op::PROTO, protocol]);
        Self {
            out,
            held: Vec::new(),
            held_len: 0,
            frame_start: None,
            headers_len: 0,
            frame_end: usize::MAX,
            framing: protocol >= 4,
            protocol,
            failed: false,
            bare: false,
        }
    }

    /// Whether memory was refused on the way. To be asked now and then: writing itself reports nothing.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Appends to the output, which may have to grow for it.
    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        if bytes.len() <= self.out.capacity() - self.out.len() || self.grow(bytes.len()) {
            self.out.extend_from_slice(bytes);
        }
    }

    /// Makes room for `more` bytes; false where there is no memory.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        if memory::reserve(&mut self.out, more) {
            return true;
        }
        self.failed = true;
        // What is lost anyway is given back, so that the error can be raised.
        self.out = Vec::new();
        self.headers_len = 0;
        self.held.clear();
        self.frame_start = None;
        self.frame_end = usize::MAX;
        false
    }

    #[inline]
    fn open_frame(&mut self) {
        if self.framing && self.frame_start.is_none() {
            let start = self.out.len();
            self.extend(&[0; FRAME_HEADER]);
            if !self.failed {
                self.frame_start = Some(start);
                self.headers_len += FRAME_HEADER;
                self.frame_end = self.out.len() + FRAME_TARGET;
            }
        }
    }

    /// To be called for a pickle of definitions, which the standard library would not write: the header of a frame is nine
    /// bytes that no reader of a small pickle needs.
    pub(crate) fn prefer_bare(&mut self) {
        self.bare = true;
    }

    /// Fills in the open frame's header, or takes the header out of a frame too short for one.
    fn close_frame(&mut self) {
        let Some(start) = self.frame_start.take() else { return };
        self.frame_end = usize::MAX;
        let len = self.out.len() - start - FRAME_HEADER;
        if len >= FRAME_MIN {
            self.out[start] = op::FRAME;
            self.out[start + 1..start + FRAME_HEADER].copy_from_slice(&(len as u64).to_le_bytes());
        } else {
            self.out.drain(start..start + FRAME_HEADER);
            self.headers_len -= FRAME_HEADER;
        }
    }

    /// Whether nothing was written but the protocol.
    pub(crate) fn is_empty(&self) -> bool {
        self.out.len() == BEGIN
    }

    /// What was written, without the head of the pickle and of the first frame.
    pub(crate) fn body(&self) -> &[u8] {
        self.out.get(BEGIN + FRAME_HEADER..).unwrap_or_default()
    }

    /// How many bytes stand here: where the next one will be, but for the headers of frames.
    pub(crate) fn position(&self) -> usize {
        self.out.len() + self.held_len - self.headers_len
    }

    /// To be called where an opcode begins: closes a frame that is full.
    #[inline]
    pub(crate) fn boundary(&mut self) {
        if self.out.len() >= self.frame_end {
            self.close_frame();
        }
    }

    #[inline]
    pub(crate) fn byte(&mut self, byte: u8) {
        self.open_frame();
        self.extend(&[byte]);
    }

    #[inline]
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.open_frame();
        self.extend(bytes);
    }

    fn op_u32(&mut self, opcode: u8, value: u32) {
        let [a, b, c, d] = value.to_le_bytes();
        self.bytes(&[opcode, a, b, c, d]);
    }

    /// So few bytes that their copy is no call, where lists of numbers are written.
    #[inline(always)]
    fn few<const N: usize>(&mut self, bytes: [u8; N]) {
        self.open_frame();
        if N <= self.out.capacity() - self.out.len() || self.grow(N) {
            self.out.extend_from_slice(&bytes);
        }
    }

    /// An integer that fits 64 bits.
    #[inline(always)]
    pub(crate) fn int(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.few([op::BININT1, byte]);
        } else if let Ok(short) = u16::try_from(value) {
            let [low, high] = short.to_le_bytes();
            self.few([op::BININT2, low, high]);
        } else if let Ok(int) = i32::try_from(value) {
            let [a, b, c, d] = int.to_le_bytes();
            self.few([op::BININT, a, b, c, d]);
        } else {
            self.long_of(value);
        }
    }

    /// An integer of more than 32 bits.
    #[cold]
    fn long_of(&mut self, value: i64) {
        let bytes = value.to_le_bytes();
        let mut len = 8;
        // Drop bytes that only repeat the sign.
        while len > 1 {
            let sign = if bytes[len - 2] & 0x80 == 0 { 0x00 } else { 0xff };
            if bytes[len - 1] != sign {
                break;
            }
            len -= 1;
        }
        self.short_long(&bytes[..len]);
    }

    /// An integer of up to 255 bytes as little-endian two's complement.
    fn short_long(&mut self, bytes: &[u8]) {
        self.bytes(&[op::LONG1, u8::try_from(bytes.len()).unwrap_or(u8::MAX)]);
        self.extend(bytes);
    }

    /// An integer of any size as little-endian two's complement.
    ///
    /// # Errors
    /// `OverflowError` from 2 GiB on: the format has a signed length of four bytes.
    pub(crate) fn long(&mut self, bytes: &[u8]) -> PyResult<()> {
        if bytes.len() <= usize::from(u8::MAX) {
            self.short_long(bytes);
            return Ok(());
        }
        let len = i32::try_from(bytes.len()).map_err(|_| PyOverflowError::new_err("int too large to pickle"))?;
        self.op_u32(op::LONG4, len.cast_unsigned());
        self.extend(bytes);
        Ok(())
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.byte(op::BINFLOAT);
        self.extend(&value.to_bits().to_be_bytes());
    }

    /// A string, given as UTF-8 (lone surrogates as `surrogatepass` writes them).
    pub(crate) fn text(&mut self, utf8: &[u8]) {
        let len = utf8.len();
        if let (Ok(short), true) = (u8::try_from(len), self.protocol >= 4) {
            self.bytes(&[op::SHORT_BINUNICODE, short]);
            self.extend(utf8);
            return;
        }
        let mut header = [0; 9];
        let header = sized_header(&mut header, op::BINUNICODE, op::BINUNICODE8, len);
        self.large(header, utf8);
    }

    /// A `str` object, whose UTF-8 is `utf8`.
    pub(crate) fn text_object(&mut self, object: &Bound<'py, PyString>, utf8: &[u8]) {
        if utf8.len() < FRAME_TARGET {
            return self.text(utf8);
        }
        let mut header = [0; 9];
        let header = sized_header(&mut header, op::BINUNICODE, op::BINUNICODE8, utf8.len());
        self.hold(header, Held::Text(object.clone()));
    }

    /// A `bytes` object; protocol 3 and later.
    pub(crate) fn bytes_object(&mut self, object: &Bound<'py, PyBytes>) {
        let payload = object.as_bytes();
        let mut header = [0; 9];
        let header = bytes_header(&mut header, payload.len());
        if payload.len() >= FRAME_TARGET {
            self.hold(header, Held::Bytes(object.clone()));
        } else {
            self.bytes(header);
            self.extend(payload);
        }
    }

    /// Bytes that stand in a buffer: written as `bytes` or as `bytearray` (protocol 5).
    pub(crate) fn buffer(&mut self, buffer: Buffer<'py>, as_bytearray: bool) {
        let mut header = [0; 9];
        let len = buffer.bytes().len();
        let header =
            if as_bytearray { u64_header(&mut header, op::BYTEARRAY8, len) } else { bytes_header(&mut header, len) };
        if len >= FRAME_TARGET {
            self.hold(header, Held::Buffer(buffer));
        } else {
            self.bytes(header);
            self.extend(buffer.bytes());
        }
    }

    pub(crate) fn bytearray(&mut self, object: &Bound<'py, PyByteArray>) -> PyResult<()> {
        self.buffer(Buffer::open(object.as_any())?, true);
        Ok(())
    }

    /// Raw bytes made here (a marshalled code object), written as `bytes`.
    pub(crate) fn raw_bytes_object(&mut self, payload: &[u8]) {
        let mut header = [0; 9];
        let header = bytes_header(&mut header, payload.len());
        self.large(header, payload);
    }

    /// Header and payload, outside of the frames where the payload is large.
    fn large(&mut self, header: &[u8], payload: &[u8]) {
        if payload.len() < FRAME_TARGET || !self.framing {
            self.bytes(header);
        } else {
            self.close_frame();
            self.extend(header);
        }
        self.extend(payload);
    }

    fn hold(&mut self, header: &[u8], held: Held<'py>) {
        self.close_frame();
        self.extend(header);
        if !memory::reserve(&mut self.held, 1) {
            self.failed = true;
            return;
        }
        self.held_len += held.as_slice().len();
        self.held.push((self.out.len(), held));
    }

    pub(crate) fn get(&mut self, number: u32) {
        if let Ok(short) = u8::try_from(number) {
            self.bytes(&[op::BINGET, short]);
        } else {
            self.op_u32(op::LONG_BINGET, number);
        }
    }

    pub(crate) fn put(&mut self, number: u32) {
        if self.protocol >= 4 {
            self.byte(op::MEMOIZE);
        } else if let Ok(short) = u8::try_from(number) {
            self.bytes(&[op::BINPUT, short]);
        } else {
            self.op_u32(op::LONG_BINPUT, number);
        }
    }

    /// `GLOBAL` of protocol 2 and 3.
    pub(crate) fn global_line(&mut self, module: &[u8], name: &[u8]) {
        self.byte(op::GLOBAL);
        self.extend(module);
        self.extend(b"\n");
        self.extend(name);
        self.extend(b"\n");
    }

    pub(crate) fn extension(&mut self, code: u32) {
        if let Ok(byte) = u8::try_from(code) {
            self.bytes(&[op::EXT1, byte]);
        } else if let Ok(short) = u16::try_from(code) {
            let [low, high] = short.to_le_bytes();
            self.bytes(&[op::EXT2, low, high]);
        } else {
            self.op_u32(op::EXT4, code);
        }
    }

    /// Ends the stream and puts it together: `STOP`, then whatever trails it.
    pub(crate) fn finish(mut self, py: Python<'py>, trailer: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        self.byte(op::STOP);
        if self.bare && self.frame_start == Some(BEGIN) {
            self.out.drain(BEGIN..BEGIN + FRAME_HEADER);
        } else {
            self.close_frame();
        }
        self.extend(trailer);
        if self.failed {
            return Err(PyMemoryError::new_err(()));
        }
        PyBytes::new_with(py, self.out.len() + self.held_len, |mut target| {
            let mut from = 0;
            for (offset, held) in &self.held {
                target = fill(target, &self.out[from..*offset]);
                target = fill(target, held.as_slice());
                from = *offset;
            }
            fill(target, &self.out[from..]);
            Ok(())
        })
    }
}

/// Copies `source` to the front of `target` and returns the rest.
fn fill<'t>(target: &'t mut [u8], source: &[u8]) -> &'t mut [u8] {
    let (front, rest) = target.split_at_mut(source.len());
    front.copy_from_slice(source);
    rest
}

fn bytes_header(header: &mut [u8; 9], len: usize) -> &[u8] {
    match u8::try_from(len) {
        Ok(short) => {
            header[0] = op::SHORT_BINBYTES;
            header[1] = short;
            &header[..2]
        }
        Err(_) => sized_header(header, op::BINBYTES, op::BINBYTES8, len),
    }
}

fn sized_header(header: &mut [u8; 9], opcode: u8, opcode8: u8, len: usize) -> &[u8] {
    match u32::try_from(len) {
        Ok(len) => {
            header[0] = opcode;
            header[1..5].copy_from_slice(&len.to_le_bytes());
            &header[..5]
        }
        Err(_) => u64_header(header, opcode8, len),
    }
}

fn u64_header(header: &mut [u8; 9], opcode: u8, len: usize) -> &[u8] {
    header[0] = opcode;
    header[1..].copy_from_slice(&(len as u64).to_le_bytes());
    &header[..]
}
