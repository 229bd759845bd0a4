//! The bytes of the pickle protocol (<https://github.com/python/cpython/blob/main/Lib/pickletools.py> describes each).

pub(crate) const MARK: u8 = b'(';
pub(crate) const STOP: u8 = b'.';
pub(crate) const POP: u8 = b'0';
pub(crate) const POP_MARK: u8 = b'1';
pub(crate) const BINFLOAT: u8 = b'G';
pub(crate) const BININT: u8 = b'J';
pub(crate) const BININT1: u8 = b'K';
pub(crate) const BININT2: u8 = b'M';
pub(crate) const NONE: u8 = b'N';
pub(crate) const REDUCE: u8 = b'R';
pub(crate) const BINUNICODE: u8 = b'X';
pub(crate) const BUILD: u8 = b'b';
pub(crate) const APPENDS: u8 = b'e';
pub(crate) const BINGET: u8 = b'h';
pub(crate) const LONG_BINGET: u8 = b'j';
pub(crate) const TUPLE: u8 = b't';
pub(crate) const SETITEMS: u8 = b'u';
pub(crate) const EMPTY_TUPLE: u8 = b')';
pub(crate) const EMPTY_LIST: u8 = b']';
pub(crate) const EMPTY_DICT: u8 = b'}';
pub(crate) const BINBYTES: u8 = b'B';
pub(crate) const SHORT_BINBYTES: u8 = b'C';
pub(crate) const PROTO: u8 = 0x80;
pub(crate) const NEWOBJ: u8 = 0x81;
pub(crate) const TUPLE1: u8 = 0x85;
pub(crate) const TUPLE2: u8 = 0x86;
pub(crate) const TUPLE3: u8 = 0x87;
pub(crate) const NEWTRUE: u8 = 0x88;
pub(crate) const NEWFALSE: u8 = 0x89;
pub(crate) const LONG1: u8 = 0x8a;
pub(crate) const LONG4: u8 = 0x8b;
pub(crate) const SHORT_BINUNICODE: u8 = 0x8c;
pub(crate) const BINUNICODE8: u8 = 0x8d;
pub(crate) const BINBYTES8: u8 = 0x8e;
pub(crate) const EMPTY_SET: u8 = 0x8f;
pub(crate) const ADDITEMS: u8 = 0x90;
pub(crate) const FROZENSET: u8 = 0x91;
pub(crate) const NEWOBJ_EX: u8 = 0x92;
pub(crate) const STACK_GLOBAL: u8 = 0x93;
pub(crate) const MEMOIZE: u8 = 0x94;
pub(crate) const BYTEARRAY8: u8 = 0x96;

/// Collects the bytes of one pickle.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub bytes: Vec<u8>,
}

impl Output {
    pub(crate) fn op(&mut self, opcode: u8) {
        self.bytes.push(opcode);
    }

    pub(crate) fn ops(&mut self, opcodes: &[u8]) {
        self.bytes.extend_from_slice(opcodes);
    }

    pub(crate) fn text(&mut self, utf8: &[u8]) {
        self.sized(utf8, SHORT_BINUNICODE, BINUNICODE, BINUNICODE8);
    }

    pub(crate) fn byte_string(&mut self, data: &[u8]) {
        self.sized(data, SHORT_BINBYTES, BINBYTES, BINBYTES8);
    }

    fn sized(&mut self, data: &[u8], short: u8, middle: u8, long: u8) {
        if let Ok(length) = u8::try_from(data.len()) {
            self.ops(&[short, length]);
        } else if let Ok(length) = u32::try_from(data.len()) {
            self.op(middle);
            self.ops(&length.to_le_bytes());
        } else {
            self.op(long);
            self.ops(&(data.len() as u64).to_le_bytes());
        }
        self.ops(data);
    }

    pub(crate) fn byte_array(&mut self, data: &[u8]) {
        self.op(BYTEARRAY8);
        self.ops(&(data.len() as u64).to_le_bytes());
        self.ops(data);
    }

    pub(crate) fn float(&mut self, value: f64) {
        self.op(BINFLOAT);
        self.ops(&value.to_be_bytes());
    }

    pub(crate) fn integer(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.ops(&[BININT1, byte]);
        } else if let Ok(short) = u16::try_from(value) {
            self.op(BININT2);
            self.ops(&short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(value) {
            self.op(BININT);
            self.ops(&int.to_le_bytes());
        } else {
            self.long(&value.to_le_bytes());
        }
    }

    /// A two's complement little-endian number, whose redundant last bytes are left out.
    pub(crate) fn long(&mut self, bytes: &[u8]) {
        let mut length = bytes.len();
        while length > 1 {
            let redundant = match bytes[length - 1] {
                0x00 => bytes[length - 2] < 0x80,
                0xff => bytes[length - 2] >= 0x80,
                _ => false,
            };
            if !redundant {
                break;
            }
            length -= 1;
        }
        if let Ok(short) = u8::try_from(length) {
            self.ops(&[LONG1, short]);
        } else {
            self.op(LONG4);
            self.ops(&(length as u32).to_le_bytes());
        }
        self.ops(&bytes[..length]);
    }

    pub(crate) fn get(&mut self, index: u32) {
        if let Ok(short) = u8::try_from(index) {
            self.ops(&[BINGET, short]);
        } else {
            self.op(LONG_BINGET);
            self.ops(&index.to_le_bytes());
        }
    }

    /// Ends a tuple of `length` elements, which are on the stack (behind a mark where there are more than three).
    pub(crate) fn tuple(&mut self, length: usize) {
        self.op(match length {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => TUPLE,
        });
    }
}
