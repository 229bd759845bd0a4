//! The extension module `rudf._native`: what Python and a worker see of rudf.

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    rudf_pickle::register(module)?;
    Ok(())
}
