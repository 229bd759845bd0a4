//! The extension module `rudf._native`: what Python and a worker see of rudf.

mod embedded;
mod evaluate;
mod fork_server;
mod output;
mod rows;
mod stream;
mod worker;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    evaluate::register(module)?;
    module.add_class::<fork_server::ForkServer>()?;
    module.add_class::<rows::RowMaker>()?;
    module.add_function(wrap_pyfunction!(worker::worker_main, module)?)?;
    module.add_function(wrap_pyfunction!(worker::note_function, module)?)?;
    rudf_pickle::register(module)?;
    Ok(())
}
