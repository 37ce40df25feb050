//! The OpenAPI document of a server with every function deployed, before an independent validator.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{functions, output, root, run, tools};

/// A server that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn check() -> Result<(), String> {
    let python = tools::openapi_validator()?;
    let nebula = tools::nebula()?;
    let components = functions::build(&nebula, &["build"])?;
    let data_dir = root().join("target/tools/openapi-data");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).map_err(|error| error.to_string())?;
    }
    let (_server, control) = serve(&nebula, &data_dir)?;
    for component in &components {
        output(
            Command::new(&nebula)
                .arg("deploy")
                .arg(component)
                .args(["--server", &control, "--data-dir"])
                .arg(&data_dir),
        )?;
    }
    let token = data_dir.join("token");
    let script = root().join("xtask/validate_openapi.py");
    run(Command::new(python).arg(script).arg(control).arg(token).arg(components.len().to_string()))
}

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
    let control = lines.find_map(|line| line.strip_prefix("control").map(|url| url.trim().to_owned()));
    Ok((server, control.ok_or("the server did not start")?))
}
