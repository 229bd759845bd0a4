//! Rows of arrays as tuples of Python values: what PySpark's pickled functions get.

use arrow_data::ArrayData;
use arrow_schema::DataType;
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyList, PyTuple},
};
use rudf_columns::{
    SparkType,
    input::{ColumnReader, ValueMaker},
};
use rudf_eval::bridge;

/// Makes rows of the columns of batches.
#[pyclass(unsendable)]
pub(crate) struct RowMaker {
    types: Vec<(SparkType, DataType)>,
    maker: ValueMaker,
}

#[pymethods]
impl RowMaker {
    /// For columns of Spark types, which are a JSON list; timestamps carry the time zone.
    #[new]
    fn new(py: Python<'_>, types: &str, time_zone: &str, binary_as_bytes: bool) -> PyResult<Self> {
        let types: Vec<serde_json::Value> =
            serde_json::from_str(types).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let types = types.iter().map(SparkType::from_json).collect::<Result<Vec<_>, _>>();
        let types = types.map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut maker = ValueMaker::new(py, &types, binary_as_bytes)?;
        maker.as_pickled = true;
        let with_arrow = |spark_type: SparkType| {
            let arrow = spark_type.arrow(time_zone);
            (spark_type, arrow)
        };
        Ok(Self { types: types.into_iter().map(with_arrow).collect(), maker })
    }

    /// A tuple for each of `rows` rows of `columns`, which are pyarrow arrays of the types.
    fn rows<'py>(&self, py: Python<'py>, columns: Vec<Bound<'py, PyAny>>, rows: usize) -> PyResult<Bound<'py, PyList>> {
        let arrays = columns.iter().map(bridge::from_pyarrow).collect::<PyResult<Vec<_>>>()?;
        let fits = |(array, (_, arrow)): (&ArrayData, &(SparkType, DataType))| {
            array.len() == rows && array.data_type().equals_datatype(arrow)
        };
        if arrays.len() != self.types.len() || !arrays.iter().zip(&self.types).all(fits) {
            let wanted: Vec<_> = self.types.iter().map(|(_, arrow)| arrow).collect();
            return Err(PyValueError::new_err(format!("columns of {rows} rows are wanted, of the types {wanted:?}")));
        }
        self.maker.times.refresh(py)?;
        let readers: Vec<_> = arrays
            .iter()
            .zip(&self.types)
            .map(|(array, (spark_type, _))| ColumnReader::new(py, array, spark_type, &self.maker))
            .collect();
        let list = PyList::empty(py);
        for row in 0..rows {
            // SAFETY: `value` gives a new reference, or null with an exception set.
            let values =
                readers.iter().map(|reader| unsafe { Bound::from_owned_ptr_or_err(py, reader.value(py, row)) });
            list.append(PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)?)?;
        }
        Ok(list)
    }
}
