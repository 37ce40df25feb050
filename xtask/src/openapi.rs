//! Reads the OpenAPI documents of both planes with programs that aren't part of Nebula.
//!
//! ```text
//! functions/, a guest -> a server -> two documents -> openapi-spec-validator
//!                                                  -> openapi-python-client -> client.py calls
//!                                                  -> openapi-typescript -> tsc -> client.js calls
//!                                                  -> schemathesis calls
//! ```
//!
//! Every warning of these programs is an error. What they read and run is in `xtask/openapi/`, what
//! they generate in `target/tools/openapi/`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::command::{cargo, output, root, run};
use crate::{functions, tools};

/// A guest with every type of WIT in its input and output.
const EVERY_TYPE: &str = "mirrors";

/// The functions that schemathesis calls, as a pattern of paths: those that accept most inputs of
/// their types. It warns of an operation that refuses most.
const CALLED: &str =
    "^/f/(add|compare-tables|csv-stats|echo|markdown|mirrors|sha256|slugify|stats-markdown|top-words)$";

/// The most requests that schemathesis derives from each operation at random. Those that follow from
/// the schemas come on top.
const EXAMPLES_MAX: &str = "5";

/// A running `nebula serve`, killed when this value is dropped.
struct Server {
    process: Child,
    calls_url: String,
    control_url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail if the process has already ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The OpenAPI document of one plane.
struct Document {
    /// The name of what is generated from it.
    name: &'static str,
    path: PathBuf,
}

/// Checks the documents of a server with every function of `functions/`.
pub(crate) fn check() -> Result<(), String> {
    let folder = root().join("target/tools/openapi");
    let python = tools::openapi_tools()?;
    let node = tools::node_packages(&folder, &tools::OPENAPI_PACKAGES)?;
    let nebula = tools::nebula()?;
    let mut components = functions::build(&nebula, &["build"])?;
    components.push(guest(EVERY_TYPE)?);
    let data_dir = folder.join("data");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).map_err(|error| error.to_string())?;
    }
    let server = serve(&nebula, &data_dir)?;
    // Components that import others come after them.
    let imports = |component: &PathBuf| component.to_string_lossy().contains("compare_tables");
    components.sort_by_key(imports);
    let mut digest = String::new();
    for component in &components {
        let mut deploy = Command::new(&nebula);
        deploy.arg("deploy").arg(component).args(["--server", &server.control_url, "--data-dir"]);
        let deployed = output(deploy.arg(&data_dir))?;
        let deployed = String::from_utf8_lossy(&deployed);
        let found = deployed.split_whitespace().find(|word| word.starts_with("sha256:"));
        found.ok_or("`nebula deploy` printed no digest")?.clone_into(&mut digest);
    }
    let token = std::fs::read_to_string(data_dir.join("token")).map_err(|error| error.to_string())?;
    let token = format!("Authorization: Bearer {}", token.trim());

    let pipeline = format!("{}/api/v1/pipelines/slugs", server.control_url);
    request(&python, "PUT", &pipeline, &token, r#"{"steps": ["slugify"]}"#)?;

    let documents = [("calls", &server.calls_url), ("control", &server.control_url)].map(|(name, url)| {
        let path = folder.join(format!("{name}.json"));
        // A request to the data plane needs no token, and gets none.
        let header = if name == "control" { token.as_str() } else { "Accept: application/json" };
        let document = request(&python, "GET", &format!("{url}/openapi.json"), header, "")?;
        std::fs::write(&path, document)
            .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        Ok::<_, String>(Document { name, path })
    });
    for document in documents {
        let document = document?;
        let mut validate = Command::new(python.join("python"));
        validate.arg(file("validate.py")).arg(&document.path);
        // The pipeline is one more.
        run(validate.arg((components.len() + 1).to_string()))?;
        generate_python(&python, &document, &folder)?;
        generate_typescript(&node, &document, &folder)?;
    }
    let mut client = Command::new(python.join("python"));
    run(client.env("PYTHONPATH", &folder).arg(file("client.py")).arg(&server.calls_url))?;
    call_typescript(&node, &folder, &server.calls_url)?;
    call_at_random(&python, &folder, &server, &token, &digest)
}

/// Returns the path of a file of this task.
fn file(name: &str) -> PathBuf {
    root().join("xtask/openapi").join(name)
}

/// Builds the guests of the tests and returns the component of one.
fn guest(name: &str) -> Result<PathBuf, String> {
    let target = root().join("target/guests");
    let mut build = cargo("tests/guests");
    build.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2", "--example", name]);
    run(build.arg("--target-dir").arg(&target))?;
    Ok(target.join("wasm32-wasip2/release/examples").join(format!("{name}.wasm")))
}

/// Starts a server on free ports.
fn serve(nebula: &Path, data_dir: &Path) -> Result<Server, String> {
    let mut process = Command::new(nebula)
        .args(["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir)
        .arg("--experiment")
        .arg(root().join("docs/experiment"))
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let stdout = process.stdout.take();
    let mut server = Server { process, calls_url: String::new(), control_url: String::new() };
    for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok)) {
        if let Some(url) = line.strip_prefix("calls") {
            url.trim().clone_into(&mut server.calls_url);
        } else if let Some(url) = line.strip_prefix("control") {
            url.trim().clone_into(&mut server.control_url);
            return Ok(server);
        }
    }
    Err("the server did not start".to_owned())
}

/// Sends a request with a header and returns the body of the answer.
fn request(python: &Path, method: &str, url: &str, header: &str, body: &str) -> Result<Vec<u8>, String> {
    const SCRIPT: &str = "import sys, httpx\n\
        method, url, header, body = sys.argv[1:]\n\
        headers = dict([header.split(': ')])\n\
        print(httpx.request(method, url, headers=headers, content=body, timeout=60).raise_for_status().text)";
    output(Command::new(python.join("python")).args(["-c", SCRIPT, method, url, header, body]))
}

/// Generates the package `NAME_client`.
fn generate_python(python: &Path, Document { name, path }: &Document, folder: &Path) -> Result<(), String> {
    let mut generate = Command::new(python.join("openapi-python-client"));
    generate.args(["generate", "--fail-on-warning", "--overwrite", "--meta", "none", "--path"]).arg(path);
    generate.arg("--config").arg(file("python-client.yaml"));
    generate.arg("--output-path").arg(folder.join(format!("{name}_client")));
    // It formats what it generates with a program beside it.
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(python.to_owned()).chain(std::env::split_paths(&paths));
    run(generate.env("PATH", std::env::join_paths(paths).map_err(|error| error.to_string())?))
}

/// Generates the types `NAME.d.ts`.
fn generate_typescript(node: &Path, Document { name, path }: &Document, folder: &Path) -> Result<(), String> {
    let mut generate = Command::new(node.join("openapi-typescript"));
    run(generate.arg(path).arg("--output").arg(folder.join(format!("{name}.d.ts"))))
}

/// Checks the types of `client.ts` and of all generated ones, and runs it.
fn call_typescript(node: &Path, folder: &Path, url: &str) -> Result<(), String> {
    for name in ["client.ts", "tsconfig.json"] {
        std::fs::copy(file(name), folder.join(name)).map_err(|error| error.to_string())?;
    }
    let manifest = folder.join("package.json");
    std::fs::write(manifest, r#"{"type": "module", "private": true}"#).map_err(|error| error.to_string())?;
    run(Command::new(node.join("tsc")).arg("--project").arg(folder))?;
    run(Command::new("node").arg(folder.join("client.js")).arg(url))
}

/// Calls functions, and reads from the control plane, with requests that schemathesis derives from
/// the documents.
fn call_at_random(
    python: &Path,
    folder: &Path,
    server: &Server,
    token: &str,
    digest: &str,
) -> Result<(), String> {
    let schemathesis = |config: &str, url: &str| {
        let mut command = Command::new(python.join("schemathesis"));
        command.current_dir(folder).arg("--config-file").arg(file(config));
        command.arg("run").arg(format!("{url}/openapi.json")).args(["--seed", "1", "--no-color"]);
        command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES_MAX]);
        command
    };
    let mut calls = schemathesis("schemathesis-calls.toml", &server.calls_url);
    run(calls.args(["--include-path-regex", CALLED]))?;
    let mut reads = schemathesis("schemathesis-control.toml", &server.control_url);
    // Functions are on the other plane, no caller has asked to keep an input, and the page of the console
    // names its assets.
    reads.args(["--include-method", "GET", "--exclude-path-regex", "^/(f|api/v1/inputs|console)/"]);
    run(reads.env("NEBULA_DIGEST", digest).args(["--header", token]))
}
