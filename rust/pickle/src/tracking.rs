//! The identity of classes across pickles: the registry that travels in the bytes, and the keys that it goes by.
//!
//! A key is made from what the class is (its names, its code, its plain attributes) and a number that tells apart equal
//! classes of one process; so the same program gives the same keys in every run.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString, PyTuple, PyType};

use crate::code::{self, FileNames};
use crate::known::known;
use crate::opcodes as op;
use crate::save::Saver;

/// The receiver's half, as source; see there.
const SOURCE: &str = include_str!("receiver.py");

/// The name under which the registry is in `sys.modules`.
const NAME: &str = "_rudf_classes_1";

/// Finds the registry, or makes it: called with the compressed source, `sys.modules`, `zlib.decompress` and the name.
const FINDER: &str = "lambda d, m, z, n: m.get(n) or exec(z(d), {}) or m[n]";

/// The receiver's half in this process, and what the others need to make their own.
struct Registry {
    module: Py<PyAny>,
    finder: Vec<u8>,
    source: Vec<u8>,
}

static REGISTRY: PyOnceLock<Registry> = PyOnceLock::new();

/// Gives the finder's code a name, whatever it was compiled from.
struct OneName;

impl FileNames for OneName {
    fn shorten<'n>(&mut self, _: &'n [u8]) -> std::borrow::Cow<'n, [u8]> {
        std::borrow::Cow::Borrowed(b"rudf")
    }
}

fn registry(py: Python<'_>) -> PyResult<&'static Registry> {
    REGISTRY.get_or_try_init(py, || {
        let known = known(py)?;
        let ast = py.import("ast")?;
        let zlib = py.import("zlib")?;
        // Neither comments nor deep indentation travel.
        let bare = ast.getattr("unparse")?.call1((ast.getattr("parse")?.call1((SOURCE,))?,))?;
        let bare = bare.extract::<String>()?.replace("    ", " ");
        let source = zlib.getattr("compress")?.call1((PyBytes::new(py, bare.as_bytes()), 9))?.cast_into::<PyBytes>()?;
        let finder = py.import("builtins")?.getattr("eval")?.call1((FINDER,))?;
        let empty = PyDict::new(py);
        empty.set_item("co_linetable", PyBytes::new(py, b""))?;
        let code = finder.getattr("__code__")?.call_method("replace", (), Some(&empty))?;
        let marshalled = known.marshal_dumps.bind(py).call1((code, 2))?.cast_into::<PyBytes>()?;
        let code = code::rewrite(marshalled.as_bytes(), &known.opmap, &mut OneName)?.bytes;
        let modules = py.import("sys")?.getattr("modules")?;
        let module = finder.call1((&source, modules, zlib.getattr("decompress")?, NAME))?;
        Ok(Registry { module: module.unbind(), finder: code, source: source.as_bytes().to_vec() })
    })
}

/// Two lanes of multiplications, eight bytes at a time: fast, the same everywhere, and nobody gains from a collision.
struct Digest(u64, u64);

impl Digest {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f)
    }

    fn add(&mut self, bytes: &[u8]) {
        let mut word = |word: u64| {
            self.0 = (self.0 ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
            self.1 = self.1.wrapping_add(word).rotate_left(31).wrapping_mul(0xd6e8_feb8_6659_fd93);
        };
        let chunks = bytes.chunks_exact(8);
        let mut last = [0; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        for chunk in chunks {
            let mut eight = [0; 8];
            eight.copy_from_slice(chunk);
            word(u64::from_le_bytes(eight));
        }
        word(u64::from_le_bytes(last));
        word(bytes.len() as u64);
    }

    /// Sixteen characters.
    fn text(&self) -> String {
        let mixed = (self.0 ^ (self.0 >> 32) ^ self.1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{:016x}", mixed ^ (mixed >> 29))
    }
}

impl<'py> Saver<'py> {
    /// Puts a function of the receiver's registry on the pickle's stack.
    pub(crate) fn receiver(&mut self, name: &'static str) -> PyResult<()> {
        let key = [b"\xff\xff", name.as_bytes()].concat();
        if let Some(number) = self.memo.get_text(&key) {
            self.writer.get(number);
            return Ok(());
        }
        self.standard("builtins", "getattr")?;
        let module_key = b"\xff\xff";
        if let Some(number) = self.memo.get_text(module_key) {
            self.writer.get(number);
        } else {
            let start = self.writer.position();
            self.standard("types", "FunctionType")?;
            self.standard("marshal", "loads")?;
            let registry = registry(self.py)?;
            self.writer.raw_bytes_object(&registry.finder);
            self.writer.bytes(&[op::TUPLE1, op::REDUCE, op::EMPTY_DICT, op::TUPLE2, op::REDUCE, op::MARK]);
            self.writer.raw_bytes_object(&registry.source);
            self.standard("sys", "modules")?;
            self.standard("zlib", "decompress")?;
            self.text(NAME.as_bytes());
            self.writer.bytes(&[op::TUPLE, op::REDUCE]);
            let number = self.memo.put_text(module_key);
            self.writer.put(number);
            self.trace_leaf(start, || ("registry of classes".to_owned(), "travels once in each pickle".to_owned()));
        }
        self.text(name.as_bytes());
        self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        let number = self.memo.put_text(&key);
        self.writer.put(number);
        Ok(())
    }

    /// The key of a class or type variable, given when it is first asked for.
    pub(crate) fn key_of(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        let py = self.py;
        let module = registry(py)?.module.bind(py);
        let keys = module.getattr(intern!(py, "keys"))?.cast_into::<PyDict>()?;
        if let Some(key) = keys.get_item(obj.as_ptr() as usize)? {
            return Ok(key.cast_into::<PyString>()?);
        }
        let digest = self.digest(obj)?;
        // Another thread may have given it a key meanwhile: from here to the entry no Python code runs.
        if let Some(key) = keys.get_item(obj.as_ptr() as usize)? {
            return Ok(key.cast_into::<PyString>()?);
        }
        let counts = module.getattr(intern!(py, "counts"))?.cast_into::<PyDict>()?;
        let count: u64 = counts.get_item(&digest)?.map_or(Ok(0), |count| count.extract())?;
        counts.set_item(&digest, count + 1)?;
        let key = PyString::new(py, &if count == 0 { digest } else { format!("{digest}.{count}") });
        keys.set_item(obj.as_ptr() as usize, &key)?;
        if let Err(error) = module.call_method1(intern!(py, "remember"), (&key, obj, true)) {
            // Nothing would forget the key when the object goes.
            keys.del_item(obj.as_ptr() as usize)?;
            return Err(error);
        }
        Ok(key)
    }

    fn digest(&mut self, obj: &Bound<'py, PyAny>) -> PyResult<String> {
        let py = self.py;
        let mut digest = Digest::new();
        for name in ["__module__", "__qualname__", "__name__"] {
            if let Some(value) = obj.getattr_opt(name)? {
                self.digest_value(&mut digest, &value, 0)?;
            }
        }
        let Ok(class) = obj.cast::<PyType>() else { return Ok(digest.text()) };
        for base in class.getattr(intern!(py, "__bases__"))?.try_iter()? {
            digest.add(base?.getattr(intern!(py, "__qualname__"))?.str()?.to_string_lossy().as_bytes());
        }
        for item in class.getattr(intern!(py, "__dict__"))?.call_method0(intern!(py, "items"))?.try_iter()? {
            let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item?.extract()?;
            // What `copyreg` notes at the first instance would make another key of it.
            if name.cast::<PyString>().is_ok_and(|name| name == "__slotnames__") {
                continue;
            }
            self.digest_value(&mut digest, &name, 0)?;
            self.digest_value(&mut digest, &value, 0)?;
        }
        Ok(digest.text())
    }

    /// Adds a value: the code of functions, plain values as they are, the type's name of anything else.
    fn digest_value(&mut self, digest: &mut Digest, value: &Bound<'py, PyAny>, depth: u8) -> PyResult<()> {
        let py = self.py;
        if let Ok(text) = value.cast_exact::<PyString>() {
            digest.add(text.to_string_lossy().as_bytes());
        } else if value.is_exact_instance_of::<PyInt>() {
            // In base 16: Python limits the length of decimal ones.
            digest.add(value.call_method1(intern!(py, "__format__"), ("x",))?.str()?.to_string_lossy().as_bytes());
        } else if value.get_type().is(&self.known.function) {
            let facts = self.code_facts(&value.getattr(intern!(py, "__code__"))?)?;
            digest.add(&facts.bytes);
            if let Ok(cells) = value.getattr(intern!(py, "__closure__"))?.cast::<PyTuple>()
                && depth < 3
            {
                for cell in cells.iter() {
                    if let Ok(contents) = cell.getattr(intern!(py, "cell_contents")) {
                        self.digest_value(digest, &contents, depth + 1)?;
                    }
                }
            }
        } else if let Ok(tuple) = value.cast_exact::<PyTuple>()
            && depth < 3
        {
            for item in tuple.iter() {
                self.digest_value(digest, &item, depth + 1)?;
            }
        } else {
            digest.add(value.get_type().name()?.to_string_lossy().as_bytes());
        }
        Ok(())
    }
}
