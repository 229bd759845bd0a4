//! Arrays to pyarrow and back over the Arrow C data interface, without a copy.
//!
//! The structures of the interface live on this side's stack for the length of a call: pyarrow moves their content out
//! of them (or into them), and with it the duty to call the release callback.

use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_data::ArrayData;
use arrow_schema::DataType;
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::PyList,
};

/// Makes the pyarrow arrays of one batch after another, with the types that were made for the first.
pub struct ArrayMaker {
    array_class: Py<PyAny>,
    /// The `pyarrow.DataType` of each column, made when its Arrow type is first seen.
    types: Vec<Option<(DataType, Py<PyAny>)>>,
}

impl ArrayMaker {
    /// For batches of so many columns.
    ///
    /// # Errors
    /// Where there is no pyarrow.
    pub fn new(py: Python<'_>, columns: usize) -> PyResult<Self> {
        let array_class = py.import("pyarrow")?.getattr("Array")?.unbind();
        Ok(Self { array_class, types: (0..columns).map(|_| None).collect() })
    }

    /// One `pyarrow.Array` a column.
    ///
    /// # Errors
    /// What pyarrow raises.
    pub fn list<'py>(&mut self, py: Python<'py>, arrays: Vec<ArrayData>) -> PyResult<Bound<'py, PyList>> {
        let columns = PyList::empty(py);
        for (index, array) in arrays.into_iter().enumerate() {
            let data_type = self.data_type(py, index, array.data_type())?;
            columns.append(to_pyarrow(self.array_class.bind(py), &array, &data_type)?)?;
        }
        Ok(columns)
    }

    fn data_type<'py>(&mut self, py: Python<'py>, index: usize, data_type: &DataType) -> PyResult<Bound<'py, PyAny>> {
        let cached = &mut self.types[index];
        match cached {
            Some((seen, made)) if seen == data_type => Ok(made.bind(py).clone()),
            _ => {
                let made = type_to_pyarrow(py, data_type)?;
                *cached = Some((data_type.clone(), made.clone().unbind()));
                Ok(made)
            }
        }
    }
}

/// `array` as a `pyarrow.Array` of the `pyarrow.DataType` that belongs to it.
///
/// # Errors
/// What pyarrow raises.
pub fn to_pyarrow<'py>(
    array_class: &Bound<'py, PyAny>,
    array: &ArrayData,
    data_type: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let exported = FFI_ArrowArray::new(array);
    // pyarrow sets the release callback to null when it has taken the content, so dropping `exported` then does nothing.
    array_class.call_method1(intern!(array_class.py(), "_import_from_c"), (&raw const exported as usize, data_type))
}

/// The `pyarrow.DataType` of `data_type`.
///
/// # Errors
/// What pyarrow raises.
pub fn type_to_pyarrow<'py>(py: Python<'py>, data_type: &arrow_schema::DataType) -> PyResult<Bound<'py, PyAny>> {
    let schema = FFI_ArrowSchema::try_from(data_type).map_err(|error| PyValueError::new_err(error.to_string()))?;
    py.import("pyarrow")?.getattr("DataType")?.call_method1("_import_from_c", (&raw const schema as usize,))
}

/// A `pyarrow.Array` as an array that keeps it alive.
///
/// # Errors
/// A `TypeError` where it is something else, and what pyarrow raises.
pub fn from_pyarrow(array: &Bound<'_, PyAny>) -> PyResult<ArrayData> {
    let mut exported = FFI_ArrowArray::empty();
    let mut schema = FFI_ArrowSchema::empty();
    array.call_method1(intern!(array.py(), "_export_to_c"), (&raw mut exported as usize, &raw mut schema as usize))?;
    // SAFETY: pyarrow has just filled both structures.
    let data = unsafe { from_ffi(exported, &schema) };
    let data = data.map_err(|error| PyTypeError::new_err(error.to_string()))?;
    check_fields(&data)?;
    Ok(data)
}

/// Refuses structs whose fields have too few rows: pyarrow itself makes such arrays (of casts of slices, for one).
fn check_fields(array: &ArrayData) -> PyResult<()> {
    let end = array.offset() + array.len();
    for child in array.child_data() {
        if matches!(array.data_type(), DataType::Struct(_)) && child.len() < end {
            let message = format!("an array of structs refers to {end} rows of a field that has {}", child.len());
            return Err(PyValueError::new_err(message));
        }
        check_fields(child)?;
    }
    Ok(())
}
