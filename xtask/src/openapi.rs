//! Validates the OpenAPI document with a tool that isn't part of Nebula.
//!
//! Starts a server, deploys every function of `functions/` to it, and passes its document to
//! `validate_openapi.py`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::command::{output, root, run};
use crate::{functions, tools};

/// A running `nebula serve`, killed when this value is dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails if the document is invalid or doesn't contain every function.
pub(crate) fn check() -> Result<(), String> {
    let python = tools::openapi_validator()?;
    let nebula = tools::nebula()?;
    let components = functions::build(&nebula, &["build"])?;
    let data_dir = root().join("target/tools/openapi-data");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).map_err(|error| error.to_string())?;
    }
    let (_server, control_url) = serve(&nebula, &data_dir)?;
    for component in &components {
        output(
            Command::new(&nebula)
                .arg("deploy")
                .arg(component)
                .args(["--server", &control_url, "--data-dir"])
                .arg(&data_dir),
        )?;
    }
    let token = data_dir.join("token");
    let script = root().join("xtask/validate_openapi.py");
    run(Command::new(python).arg(script).arg(control_url).arg(token).arg(components.len().to_string()))
}

/// Starts a server on free ports and returns it with the URL of its control plane.
fn serve(nebula: &Path, data_dir: &Path) -> Result<(Server, String), String> {
    let mut child = Command::new(nebula)
        .args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdout = child.stdout.take();
    let server = Server(child);
    let mut lines =
        stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
    let control_url = lines.find_map(|line| line.strip_prefix("control").map(|url| url.trim().to_owned()));
    Ok((server, control_url.ok_or("the server did not start")?))
}
