//! The extension module `rudf._native`: what Python and a worker see of rudf.

mod embedded;
mod evaluate;
mod output;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    evaluate::register(module)?;
    rudf_pickle::register(module)?;
    Ok(())
}
