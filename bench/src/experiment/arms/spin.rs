//! Spin: the component of `wasmtime serve` under `spin up`, which has a fresh instance for each
//! request.

use crate::experiment::arm::Setup;
use crate::experiment::arms::over_http::OverHttp;
use crate::peers;
use crate::server::{Server, StandardStream};

/// Opens `spin up` of an application whose directory is removed with the arm.
pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<OverHttp<tempfile::TempDir>> {
    let spin = setup.tools.spin()?;
    let component = setup.tools.wasmtime()?.component(setup.function);
    let (up, application) = peers::spin_up(&spin, &component)?;
    let server = Server::start(&up, StandardStream::Stdout, 1, setup.cores)?;
    OverHttp::connect(setup, &format!("/{}", setup.function.name()), server, application)
}
