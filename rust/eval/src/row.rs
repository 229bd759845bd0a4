//! Functions of plain values, called for every row from here: no loop in Python, and no pyarrow unless a result is not of
//! the declared type.

use std::{ptr, sync::OnceLock};

use arrow_data::ArrayData;
use libloading::os::unix::Library;
use pyo3::{
    exceptions::PyStopIteration,
    ffi,
    prelude::*,
    types::{PyDict, PyList, PyTuple},
};
use rudf_columns::{
    SparkType,
    input::{ColumnReader, ValueMaker},
    output::{Pushed, ResultColumn},
};
use rudf_segment::{message::Settings, progress};

use crate::{
    bridge,
    error::{Place, SessionError, python_error},
    session::Function,
};

/// One batch, as functions of rows take it.
pub(crate) struct Batch<'a> {
    /// The columns of the session, of `rows` values each.
    pub(crate) arrays: &'a [ArrayData],
    pub(crate) types: &'a [SparkType],
    pub(crate) rows: usize,
    /// How many batches came before it.
    pub(crate) number: usize,
}

impl Batch<'_> {
    /// Where a row of it is, for errors.
    pub(crate) fn place(&self, row: usize) -> Place {
        Place { batch: self.number, row: Some(row) }
    }
}

/// `PyObject_Vectorcall` of PEP 590: the callable, its arguments, their number with a flag, the names of the last ones.
type Vectorcall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// Part of the limited API since 3.12 and exported since 3.11. In 3.10 it is no function of the library: see `tuple_call`.
fn vectorcall() -> Vectorcall {
    static FOUND: OnceLock<Vectorcall> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: a symbol of this name is this function of the interpreter, which is never unloaded.
        let found = unsafe { Library::this().get::<Vectorcall>(b"PyObject_Vectorcall\0").map(|symbol| *symbol) };
        found.unwrap_or(tuple_call)
    })
}

/// The same call by way of a tuple and a dictionary.
unsafe extern "C" fn tuple_call(
    callable: *mut ffi::PyObject,
    arguments: *const *mut ffi::PyObject,
    count_and_flags: usize,
    keywords: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let positional = count_and_flags & !ARGUMENTS_OFFSET;
    // SAFETY: the caller holds the lock and lends live objects: the callable, `positional` arguments, a tuple of names or
    // null, and as many further arguments as there are names.
    unsafe {
        let py = Python::assume_attached();
        let argument = |index: usize| Bound::from_borrowed_ptr(py, *arguments.add(index));
        let call = || -> PyResult<Bound<'_, PyAny>> {
            let values = PyTuple::new(py, (0..positional).map(argument).collect::<Vec<_>>())?;
            let named = PyDict::new(py);
            if let Some(names) = Bound::from_borrowed_ptr_or_opt(py, keywords) {
                for (index, name) in names.try_iter()?.enumerate() {
                    named.set_item(name?, argument(positional + index))?;
                }
            }
            Bound::from_borrowed_ptr(py, callable).call(values, Some(&named))
        };
        match call() {
            Ok(result) => result.into_ptr(),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }
}

/// PEP 590's flag: the slot before the first argument may be written to, which makes calls of bound methods cheap.
const ARGUMENTS_OFFSET: usize = 1 << (usize::BITS - 1);

/// One function of plain values.
pub(crate) struct RowFunction {
    pub(crate) function: Function,
    /// A tuple of names, or none.
    keywords: Option<Py<PyTuple>>,
    pub(crate) maker: ValueMaker,
}

/// What stopped the fast loop: the value of this row is not of the declared type.
struct Foreign {
    row: usize,
    value: Py<PyAny>,
}

impl RowFunction {
    pub(crate) fn new(
        py: Python<'_>,
        function: Function,
        types: &[SparkType],
        settings: &Settings,
    ) -> Result<Self, SessionError> {
        let name = function.name.clone();
        let taken: Vec<_> = function.columns.iter().map(|column| types[*column].clone()).collect();
        Self::prepare(py, function, &taken, settings).map_err(|error| python_error(py, error, &name, None, settings))
    }

    fn prepare(py: Python<'_>, function: Function, types: &[SparkType], settings: &Settings) -> PyResult<Self> {
        let keywords =
            if function.keywords.is_empty() { None } else { Some(PyTuple::new(py, &function.keywords)?.unbind()) };
        let maker = ValueMaker::new(py, types, settings.binary_as_bytes)?;
        Ok(Self { function, keywords, maker })
    }

    /// The same function; what is no UTF-8 in its arguments is replaced, as the JVM does where it makes strings of them.
    pub(crate) fn with_texts_repaired(mut self) -> Self {
        self.maker.as_pickled = true;
        self
    }

    /// The results of `rows` rows.
    pub(crate) fn evaluate(
        &self,
        py: Python<'_>,
        batch: &Batch<'_>,
        settings: &Settings,
    ) -> Result<ArrayData, SessionError> {
        let rows = batch.rows;
        let readers = self.readers(py, batch);
        let times = &self.maker.times;
        let result_type = &self.function.result_type;
        let mut results = ResultColumn::new(result_type, &settings.session_time_zone, rows, times);
        let mut calls = Calls::new(self, &readers);
        let fail = |error: PyErr, row: usize| self.failure(py, error, batch.place(row), settings);
        times.refresh(py).map_err(|error| fail(error, 0))?;
        let mut foreign = None;
        let progress = progress::of_this_process();
        for row in 0..rows {
            progress.at_row(row);
            let value = calls.call(py, row).map_err(|error| fail(error, row))?;
            // SAFETY: the value is live until the end of the loop's body.
            match unsafe { results.push(py, value.as_ptr()) } {
                Pushed::Taken => {}
                Pushed::Raised => return Err(fail(PyErr::fetch(py), row)),
                Pushed::Foreign => {
                    foreign = Some(Foreign { row, value: value.unbind() });
                    break;
                }
            }
        }
        let (taken, integers) = results.finish();
        let values = match foreign {
            Some(foreign) => self.collect(py, (&taken, &integers), foreign, rows, &mut calls, &fail)?,
            None if result_type.has_builder() => return Ok(taken),
            // There are no rows.
            None => PyList::empty(py),
        };
        self.coerce(py, &values, settings).map_err(|error| {
            // Which row it was is worth a second pass; that it fails too takes nothing from the error.
            let row = self.coercion(py, "first_refused", &values, settings).and_then(|row| row.extract());
            let place = Place { batch: batch.number, row: row.unwrap_or_default() };
            python_error(py, error, &self.function.name, Some(place), settings)
        })
    }

    /// One reader an argument.
    pub(crate) fn readers<'a>(&'a self, py: Python<'_>, batch: &Batch<'a>) -> Vec<ColumnReader<'a>> {
        let columns = self.function.columns.iter();
        columns
            .map(|column| ColumnReader::new(py, &batch.arrays[*column], &batch.types[*column], &self.maker))
            .collect()
    }

    /// What an error that a function raised at `place` is to the user.
    pub(crate) fn failure(&self, py: Python<'_>, error: PyErr, place: Place, settings: &Settings) -> SessionError {
        python_error(py, self.translate(py, error), &self.function.name, Some(place), settings)
    }

    /// All results of the batch as a list: those taken already are made into values again, the rest is computed.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        (taken, integers): (&ArrayData, &[(usize, i64)]),
        foreign: Foreign,
        rows: usize,
        calls: &mut Calls<'_>,
        fail: &dyn Fn(PyErr, usize) -> SessionError,
    ) -> Result<Bound<'py, PyList>, SessionError> {
        let values = PyList::empty(py);
        let append = |value: Bound<'py, PyAny>, row: usize| values.append(value).map_err(|error| fail(error, row));
        // A type without a builder has taken nothing, and has no column that could be read.
        if foreign.row > 0 {
            let reader = ColumnReader::of_results(py, taken, &self.function.result_type, &self.maker);
            let mut integers = integers.iter().peekable();
            for row in 0..foreign.row {
                if let Some((_, number)) = integers.next_if(|(at, _)| *at == row) {
                    let Ok(number) = number.into_pyobject(py);
                    append(number.into_any(), row)?;
                    continue;
                }
                // SAFETY: `value` gives a new reference, or null with an exception set.
                let value = unsafe { Bound::from_owned_ptr_or_err(py, reader.value(py, row)) };
                append(value.map_err(|error| fail(error, row))?, row)?;
            }
        }
        append(foreign.value.into_bound(py), foreign.row)?;
        for row in foreign.row + 1..rows {
            progress::of_this_process().at_row(row);
            append(calls.call(py, row).map_err(|error| fail(error, row))?, row)?;
        }
        Ok(values)
    }

    /// PySpark's own conversion of results that are not of the declared type.
    fn coerce(&self, py: Python<'_>, values: &Bound<'_, PyList>, settings: &Settings) -> PyResult<ArrayData> {
        bridge::from_pyarrow(&self.coercion(py, "to_arrow", values, settings)?)
    }

    /// What a function of `rudf.worker.coercion` says of all results of a batch.
    fn coercion<'py>(
        &self,
        py: Python<'py>,
        function: &str,
        values: &Bound<'py, PyList>,
        settings: &Settings,
    ) -> PyResult<Bound<'py, PyAny>> {
        py.import("rudf.worker.coercion")?.call_method1(
            function,
            (values, self.function.declared_type.bind(py), settings.int_to_decimal, settings.safe_cast),
        )
    }

    /// `StopIteration` must not leave a function: PySpark reports it in words of its own.
    fn translate(&self, py: Python<'_>, error: PyErr) -> PyErr {
        if !error.is_instance_of::<PyStopIteration>(py) {
            return error;
        }
        let translated = py
            .import("rudf.worker.errors")
            .and_then(|errors| errors.call_method1("stop_iteration", (error.value(py),)));
        translated.map_or_else(|failed| failed, PyErr::from_value)
    }
}

/// Calls a function for one row after another, with one array of arguments for all.
pub(crate) struct Calls<'a> {
    chain: &'a [Py<PyAny>],
    readers: &'a [ColumnReader<'a>],
    keywords: *mut ffi::PyObject,
    positional: usize,
    /// A spare slot, as PEP 590 wants it, and the arguments.
    slots: Vec<*mut ffi::PyObject>,
}

impl<'a> Calls<'a> {
    pub(crate) fn new(function: &'a RowFunction, readers: &'a [ColumnReader<'a>]) -> Self {
        Self {
            chain: &function.function.chain,
            readers,
            keywords: function.keywords.as_ref().map_or(ptr::null_mut(), |names| names.as_ptr()),
            positional: readers.len() - function.function.keywords.len(),
            slots: vec![ptr::null_mut(); readers.len() + 1],
        }
    }

    /// The result for `row`.
    pub(crate) fn call<'py>(&mut self, py: Python<'py>, row: usize) -> PyResult<Bound<'py, PyAny>> {
        let mut made = 0;
        for (slot, reader) in self.slots[1..].iter_mut().zip(self.readers) {
            *slot = reader.value(py, row);
            if slot.is_null() {
                break;
            }
            made += 1;
        }
        let mut result = ptr::null_mut();
        if made == self.readers.len() {
            let mut chain = self.chain.iter();
            if let Some(innermost) = chain.next() {
                // SAFETY: the lock is held, the slots hold `positional` live arguments and those of the keywords, and
                // slot 0 is the spare one.
                result = unsafe {
                    vectorcall()(
                        innermost.as_ptr(),
                        self.slots.as_ptr().add(1),
                        self.positional | ARGUMENTS_OFFSET,
                        self.keywords,
                    )
                };
            }
            for outer in chain {
                result = call_one(py, outer, result);
            }
        }
        for slot in &self.slots[1..=made] {
            // SAFETY: each of these slots holds a reference of ours.
            unsafe { ffi::Py_DECREF(*slot) };
        }
        // SAFETY: a new reference, or null with an exception set.
        unsafe { Bound::from_owned_ptr_or_err(py, result) }
    }
}

/// Calls `function` with `argument`, which it takes over; null goes through.
fn call_one(_py: Python<'_>, function: &Py<PyAny>, argument: *mut ffi::PyObject) -> *mut ffi::PyObject {
    if argument.is_null() {
        return argument;
    }
    let slots = [ptr::null_mut(), argument];
    // SAFETY: the lock is held; slot 0 is the spare one and slot 1 a live argument, whose reference is ours.
    unsafe {
        let result = vectorcall()(function.as_ptr(), slots.as_ptr().add(1), 1 | ARGUMENTS_OFFSET, ptr::null_mut());
        ffi::Py_DECREF(argument);
        result
    }
}
