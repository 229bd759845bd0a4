//! The identity of classes across pickles: the registry that travels in the bytes, and the keys that it goes by.
//!
//! A key is made from what the class is (its names, its code, its plain attributes) and a number that tells apart equal
//! classes of one process; so the same program gives the same keys in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyInt, PySet, PyString, PyTuple, PyType, PyWeakrefReference};

use crate::code::{self, FileNames, Template};
use crate::frame::{Filler, Label, Role, Step};
use crate::functions_ffi::{FunctionParts, in_class};
use crate::global::BUILTINS;
use crate::known::known;
use crate::opcodes as op;
use crate::save::Saver;

/// The receiver's half, as source; see there.
const RECEIVER: &str = include_str!("receiver.py");
/// The sender's half.
const REGISTRY: &str = include_str!("registry.py");

/// The name of the registry in `copyreg`.
const NAME: &str = "_rudf";

/// Of more digests than these is not remembered how many keys they were given.
const MOST_COUNTS: usize = 100_000;

/// What a digest that is not remembered begins to count at: no number was given twice.
static FIRST: AtomicU64 = AtomicU64::new(0);

/// The functions of the receiver's half.
const HELPERS: [&str; 2] = ["shielded", "member"];

/// The registry of this process, and the functions that others need.
struct Registry {
    classes: Py<PyAny>,
    /// Keys by address: whether a key is still that of the object, `references` says.
    keys: Py<PyDict>,
    /// Weak references by key: `classes` itself, as the dictionary that it is.
    references: Py<PyDict>,
    /// Keys of what was defined here.
    own: Py<PySet>,
    /// How many keys were given with the same digest.
    counts: Py<PyDict>,
    /// `functools.partial`, and the registry's `pop`: what forgets a key.
    partial: Py<PyAny>,
    pop: Py<PyAny>,
    helpers: Vec<Template>,
}

impl Registry {
    fn key<'py>(&self, obj: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyString>>> {
        let py = obj.py();
        let Some(key) = self.keys.bind(py).get_item(obj.as_ptr() as usize)? else { return Ok(None) };
        let Some(reference) = self.references.bind(py).get_item(&key)? else { return Ok(None) };
        Ok(if reference.call0()?.is(obj) { Some(key.cast_into::<PyString>()?) } else { None })
    }
}

static INSTANCE: PyOnceLock<Registry> = PyOnceLock::new();

/// Gives the helpers' code a name, whatever it was compiled from.
struct OneName;

impl FileNames for OneName {
    fn cut(&mut self, _: &[u8]) -> usize {
        0
    }

    fn fixed(&self) -> Option<&'static str> {
        Some("rudf")
    }
}

fn registry(py: Python<'_>) -> PyResult<&'static Registry> {
    INSTANCE.get_or_try_init(py, || {
        let known = known(py)?;
        let run = |source: &str| -> PyResult<Bound<'_, PyDict>> {
            let space = PyDict::new(py);
            space.set_item("__name__", "rudf.pickle")?;
            space.set_item("NAME", NAME)?;
            space.set_item("tidy", wrap_pyfunction!(tidy, py)?)?;
            py.import("builtins")?.getattr("exec")?.call1((source, &space))?;
            Ok(space)
        };
        let space = run(RECEIVER)?;
        let mut helpers = Vec::with_capacity(HELPERS.len());
        for name in HELPERS {
            let code = space.as_any().get_item(name)?.getattr("__code__")?;
            // Nothing in them can fail in a way that lines would explain.
            let changes = PyDict::new(py);
            let len = code.getattr("co_code")?.len()?;
            changes.set_item("co_linetable", PyBytes::new(py, &no_lines(len, known.opmap.minor)))?;
            let code = code.call_method("replace", (), Some(&changes))?;
            helpers.push(code::translate(&code, known, &mut OneName)?.template);
        }
        let classes = run(REGISTRY)?.as_any().get_item("classes")?;
        let dict = |name: &str| -> PyResult<Py<PyDict>> { Ok(classes.getattr(name)?.cast_into::<PyDict>()?.unbind()) };
        Ok(Registry {
            keys: dict("keys_by_address")?,
            references: classes.cast::<PyDict>()?.clone().unbind(),
            own: classes.getattr("own")?.cast_into::<PySet>()?.unbind(),
            counts: dict("counts")?,
            partial: py.import("functools")?.getattr("partial")?.unbind(),
            pop: classes.getattr("pop")?.unbind(),
            classes: classes.clone().unbind(),
            helpers,
        })
    })
}

/// Makes room in the registry of this process where most of what it notes is gone.
///
/// Here and not in `registry.py`: while it goes through its tables no Python code runs, so no other thread finds a class that
/// lives without its key, and gives it another one.
#[pyfunction]
fn tidy(classes: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = classes.py();
    let references = classes.cast::<PyDict>()?;
    let keys = classes.getattr(intern!(py, "keys_by_address"))?.cast_into::<PyDict>()?;
    if keys.len() > 2 * references.len() + 1000 {
        for (address, _) in keys.copy()?.iter() {
            // Another class may be at this address by now.
            let Some(key) = keys.get_item(&address)? else { continue };
            if !references.contains(key)? {
                keys.del_item(address)?;
            }
        }
        let own = classes.getattr(intern!(py, "own"))?.cast_into::<PySet>()?;
        let all: Vec<_> = own.iter().collect();
        for key in all {
            if !references.contains(&key)? {
                own.discard(key)?;
            }
        }
    }
    let counts = classes.getattr(intern!(py, "counts"))?.cast_into::<PyDict>()?;
    if counts.len() > MOST_COUNTS {
        for count in counts.values() {
            FIRST.fetch_max(count.extract()?, Ordering::Relaxed);
        }
        counts.clear();
    }
    Ok(())
}

/// The shortest table of lines that `traceback` can read: no part of the code has a line. Its layout is that of CPython's
/// `Objects/locations.md`: an entry for up to eight instructions.
fn no_lines(len: usize, minor: u8) -> Vec<u8> {
    const NO_LOCATION: usize = 0x80 | 15 << 3;
    if minor < 11 {
        return Vec::new();
    }
    let units = len / 2;
    (0..units).step_by(8).map(|start| (NO_LOCATION | ((units - start).min(8) - 1)) as u8).collect()
}

/// Whether a class has the hash of its identity: a metaclass may forbid it.
fn is_hashable(obj: &Bound<'_, PyAny>) -> bool {
    let hash_of = |class: Bound<'_, PyType>| class.getattr("__hash__").map(Bound::unbind);
    match (hash_of(obj.get_type()), hash_of(obj.py().get_type::<PyType>())) {
        (Ok(own), Ok(usual)) => own.is(&usual) || !obj.is_instance_of::<PyType>(),
        _ => false,
    }
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

    /// Eleven characters.
    fn text(&self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mixed = (self.0 ^ (self.0 >> 32) ^ self.1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ (mixed >> 29);
        (0..11).map(|place| char::from(LETTERS[(mixed >> (6 * place)) as usize % 64])).collect()
    }
}

impl<'py> Saver<'py> {
    /// The steps of something that the receiver makes once and finds again by its key: `make` writes, from the mark on
    /// that stands above `partial`, a call of that.
    ///
    /// In Python: `setdefault(key, ref(get(key, partial(*make))(), partial(pop, key)))()`. What is called is either the weak
    /// reference of what is there or the function that makes it; a thread that comes second takes what the first one set.
    pub(crate) fn tracked(
        &self,
        obj: &Bound<'py, PyAny>,
        key: &Bound<'py, PyString>,
        make: Vec<Step<'py>>,
    ) -> PyResult<Vec<Step<'py>>> {
        let mut steps = Vec::with_capacity(make.len() + 32);
        steps.extend([
            Step::Receiver("setdefault"),
            Step::Text(key.clone()),
            Step::Global("_weakref", "ref"),
            Step::Receiver("get"),
            Step::Text(key.clone()),
            Step::Global("functools", "partial"),
            Step::Op(&[op::MARK]),
        ]);
        steps.extend(make);
        steps.extend([
            Step::Op(&[op::TUPLE2, op::REDUCE, op::EMPTY_TUPLE, op::REDUCE]),
            Step::Hold,
            Step::Global("functools", "partial"),
            Step::Receiver("pop"),
            Step::Text(key.clone()),
            Step::Op(&[
                op::TUPLE2,
                op::REDUCE,
                op::TUPLE2,
                op::REDUCE,
                op::TUPLE2,
                op::REDUCE,
                op::EMPTY_TUPLE,
                op::REDUCE,
            ]),
            Step::Memoize(obj.clone()),
        ]);
        if self.options.for_pyspark && is_hashable(obj) {
            self.tell_pyspark(key, obj)?;
            // Its workers pickle their rows with its own pickler: told the key, that one sends it along, and the class of such a
            // row is found where it comes from, and by other workers.
            steps.extend([
                Step::Global("pyspark.cloudpickle.cloudpickle", "_lookup_class_or_track"),
                Step::Text(key.clone()),
                Step::Save(obj.clone(), Role::Data, Label::Silent),
                Step::Op(&[op::TUPLE2, op::REDUCE, op::POP]),
            ]);
        }
        Ok(steps)
    }

    /// Leaves on the pickle's stack what takes the attributes of `obj`: `obj`, or where it is the receiver's own, something
    /// that is forgotten.
    pub(crate) fn target(
        &mut self,
        key: &Bound<'py, PyString>,
        obj: &Bound<'py, PyAny>,
        filler: Filler,
    ) -> PyResult<()> {
        let again = (filler == Filler::Calls).then(|| [b"\xff\xff", key.to_string_lossy().as_bytes()].concat());
        if let Some(number) = again.as_ref().and_then(|again| self.memo.get_text(again)) {
            self.writer.get(number);
            return Ok(());
        }
        self.receiver("get")?;
        self.name(key)?;
        self.writer.bytes(if again.is_some() { &[op::NONE, op::TUPLE2] } else { &[op::TUPLE1] });
        match self.memo.get(obj) {
            Some(number) => self.writer.get(number),
            None => self.writer.byte(op::NONE),
        }
        self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        if let Some(again) = again {
            let number = self.memo.put_text(&again);
            self.writer.put(number);
        }
        Ok(())
    }

    /// Puts a function of the receiver's half on the pickle's stack, or its registry (no name), or a method of that.
    pub(crate) fn receiver(&mut self, name: &'static str) -> PyResult<()> {
        let mut key = [0xff; 16];
        let key = &mut key[..name.len() + 2];
        key[2..].copy_from_slice(name.as_bytes());
        if let Some(number) = self.memo.get_text(key) {
            self.writer.get(number);
            return Ok(());
        }
        let start = self.writer.position();
        let known = registry(self.py)?;
        if let Some(index) = HELPERS.iter().position(|helper| *helper == name) {
            self.standard("types", "FunctionType")?;
            self.template(&known.helpers[index])?;
            // Importing something in C, below the helper, looks for the builtins here.
            self.writer.byte(op::EMPTY_DICT);
            self.text(b"__builtins__");
            self.standard("types", "__builtins__")?;
            self.writer.bytes(&[op::SETITEM, op::TUPLE2, op::REDUCE]);
        } else if name.is_empty() {
            self.standard("copyreg", "__dict__.setdefault")?;
            self.writer.text(NAME.as_bytes());
            self.writer.bytes(&[op::EMPTY_DICT, op::TUPLE2, op::REDUCE]);
        } else {
            if self.options.protocol >= 4 && !self.has_standard("types", BUILTINS) {
                self.standard("types", BUILTINS)?;
                self.writer.byte(op::POP);
            }
            self.standard("builtins", "getattr")?;
            self.receiver("")?;
            self.writer.text(name.as_bytes());
            self.writer.bytes(&[op::TUPLE2, op::REDUCE]);
        }
        let number = self.memo.put_text(key);
        self.writer.put(number);
        self.trace_leaf(start, || {
            let part = if name.is_empty() { "its entry in copyreg" } else { name };
            ("registry of classes".to_owned(), format!("{part}, travels once in each pickle"))
        });
        Ok(())
    }

    /// The key of a type variable, given when it is first asked for.
    pub(crate) fn key_of(&mut self, variable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyString>> {
        self.key_by(variable, |saver| saver.digest_variable(variable))
    }

    /// The key of a class, by its attributes where it has none yet.
    pub(crate) fn key_of_class(
        &mut self,
        class: &Bound<'py, PyType>,
        attributes: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyString>> {
        self.key_by(class.as_any(), |saver| saver.digest_class(class, attributes))
    }

    fn key_by(
        &mut self,
        obj: &Bound<'py, PyAny>,
        digest: impl FnOnce(&mut Self) -> PyResult<Digest>,
    ) -> PyResult<Bound<'py, PyString>> {
        let py = self.py;
        let known = registry(py)?;
        if let Some(key) = known.key(obj)? {
            return Ok(key);
        }
        let digest = PyString::new(py, &digest(self)?.text());
        let counts = known.counts.bind(py);
        let next = || -> PyResult<u64> {
            match counts.get_item(&digest)? {
                Some(count) => count.extract(),
                None => Ok(FIRST.load(Ordering::Relaxed)),
            }
        };
        loop {
            let count = next()?;
            let key = if count == 0 { digest.clone() } else { PyString::new(py, &format!("{digest}.{count}")) };
            let forget = known.partial.bind(py).call1((&known.pop, &key))?;
            let reference = PyWeakrefReference::new_with(obj, forget)?;
            // Another thread may have given it a key meanwhile. From here to the entries no Python code runs.
            if let Some(key) = known.key(obj)? {
                return Ok(key);
            }
            if next()? != count {
                continue;
            }
            counts.set_item(&digest, count + 1)?;
            known.own.bind(py).add(&key)?;
            known.references.bind(py).set_item(&key, reference)?;
            known.keys.bind(py).set_item(obj.as_ptr() as usize, &key)?;
            tidy(known.classes.bind(py))?;
            return Ok(key);
        }
    }

    /// Has the pickler of PySpark know the key in this process, too: what its workers send back names the class by it.
    fn tell_pyspark(&self, key: &Bound<'py, PyString>, obj: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = self.py;
        if let Some(module) = self.modules.get_item(intern!(py, "pyspark.cloudpickle.cloudpickle"))? {
            let track = module.getattr(intern!(py, "_lookup_class_or_track"))?;
            track.call1((key, obj))?;
        }
        Ok(())
    }

    fn digest_variable(&mut self, variable: &Bound<'py, PyAny>) -> PyResult<Digest> {
        let py = self.py;
        let mut digest = Digest::new();
        for name in [intern!(py, "__module__"), intern!(py, "__qualname__"), intern!(py, "__name__")] {
            if let Some(value) = variable.getattr_opt(name)? {
                self.digest_value(&mut digest, &value, 0)?;
            }
        }
        Ok(digest)
    }

    fn digest_class(&mut self, class: &Bound<'py, PyType>, attributes: &Bound<'py, PyDict>) -> PyResult<Digest> {
        let mut digest = Digest::new();
        let get = &self.known.getters;
        for getter in [&get.class_module, &get.class_qualname, &get.class_name] {
            self.digest_value(&mut digest, &getter.of_class(class)?, 0)?;
        }
        let bases = get.class_bases.of_class(class)?.cast_into::<PyTuple>()?;
        for base in bases.iter() {
            self.digest_value(&mut digest, &get.class_qualname.of_class(base.cast()?)?, 0)?;
        }
        for (name, value) in attributes.iter() {
            let Ok(name) = name.cast_into::<PyString>() else { continue };
            // What `copyreg` notes at the first instance would make another key of it.
            if name == "__slotnames__" {
                continue;
            }
            self.digest_value(&mut digest, name.as_any(), 0)?;
            // What a base has, too, tells nothing more: enums copy what makes their members.
            let is_function = value.get_type().is(&self.known.function);
            let inherited = is_function
                && bases.iter_borrowed().any(|base| {
                    base.cast::<PyType>().is_ok_and(|base| in_class(&base, &name).is_some_and(|other| other.is(&value)))
                });
            if !inherited {
                self.digest_value(&mut digest, &value, 0)?;
            }
        }
        Ok(digest)
    }

    /// Adds a value: the code of functions, plain values as they are, the type's name of anything else.
    fn digest_value(&mut self, digest: &mut Digest, value: &Bound<'py, PyAny>, depth: u8) -> PyResult<()> {
        let py = self.py;
        if let Ok(text) = value.cast_exact::<PyString>() {
            digest.add(text.to_string_lossy().as_bytes());
        } else if let Ok(number) = value.cast_exact::<PyInt>() {
            if let Ok(number) = number.extract::<i64>() {
                digest.add(&number.to_le_bytes());
            } else {
                // In base 16: Python limits the length of decimal ones.
                digest.add(value.call_method1(intern!(py, "__format__"), ("x",))?.str()?.to_string_lossy().as_bytes());
            }
        } else if value.get_type().is(&self.known.function) {
            let parts = FunctionParts::of(value);
            if let Some(code) = parts.code()? {
                digest.add(&self.code_facts_kept(&code)?.template.data);
            }
            if let Some(cells) = parts.closure()?.and_then(|cells| cells.cast_into::<PyTuple>().ok())
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
            let class = value.get_type();
            let name = match self.known.builtin_types.get(&(class.as_ptr() as usize)) {
                Some(name) => name.bind(py).clone(),
                None => self.known.getters.class_name.of_class(&class)?.cast_into::<PyString>()?,
            };
            digest.add(name.to_string_lossy().as_bytes());
        }
        Ok(())
    }
}
