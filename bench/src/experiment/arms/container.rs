//! Containers by runc: one per call, and one that runs already and serves HTTP.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::experiment::answer::Answer;
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::arms::native::ProcessPerCall;
use crate::experiment::arms::over_http::OverHttp;
use crate::experiment::tools::Root;
use crate::server::{Server, StandardStream};

/// The files of a container: its description, and the state of the runtime.
#[derive(Debug)]
pub(crate) struct Bundle {
    runc: PathBuf,
    config: Value,
    /// The control group of the runtime's containers.
    group: Option<String>,
    directory: tempfile::TempDir,
    id: String,
}

impl Bundle {
    /// Describes a container of `root` that runs `program`.
    ///
    /// # Errors
    /// Returns an error if there is no runc or no root here.
    pub(crate) fn create(
        setup: Setup<'_>,
        root: Root,
        program: &str,
        host_network: bool,
    ) -> anyhow::Result<Self> {
        let runc = setup.tools.runc()?;
        let root = setup.tools.root(root)?;
        let directory = tempfile::tempdir()?;
        let spec = Command::new(&runc).arg("spec").arg("--bundle").arg(directory.path()).output();
        let spec = spec.with_context(|| format!("cannot run `{}`", runc.display()))?;
        ensure!(spec.status.success(), "`runc spec` failed: {}", String::from_utf8_lossy(&spec.stderr));
        let spec = std::fs::read(directory.path().join("config.json"))?;
        let mut config: Value = serde_json::from_slice(&spec)?;
        let mut arguments = vec![format!("/{program}"), setup.function.name().to_owned()];
        arguments.extend(setup.delay.map(|delay| delay.as_millis().to_string()));
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(arguments);
        config["root"] = json!({ "path": root, "readonly": true });
        if host_network && let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
        }
        Self::of(runc, config, setup.container_path.map(str::to_owned))
    }

    /// Gives a container of this description a name of its own.
    fn of(runc: PathBuf, mut config: Value, group: Option<String>) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let id = directory.path().file_name().context("the bundle has no name")?;
        let id = format!("nebula-experiment-{}", id.to_string_lossy().replace('.', ""));
        if let Some(group) = &group {
            config["linux"]["cgroupsPath"] = json!(format!("{group}/{id}"));
        }
        std::fs::write(directory.path().join("config.json"), serde_json::to_vec_pretty(&config)?)?;
        Ok(Self { runc, config, group, directory, id })
    }

    /// Describes another container like this one.
    fn another(&self) -> anyhow::Result<Self> {
        Self::of(self.runc.clone(), self.config.clone(), self.group.clone())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.runc);
        command.arg("--root").arg(self.state()).args(arguments);
        command
    }

    fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Prepares the command that starts the container.
    pub(crate) fn run(&self) -> Command {
        let mut command = self.command(&["run", "--bundle"]);
        command.arg(self.directory.path()).arg(&self.id);
        command
    }

    /// Ends the container if it runs. Another one can be started from the same files.
    pub(crate) fn delete(&self) {
        // A container outlives the runtime's process. Without one, this fails.
        if Path::new(&self.state()).join(&self.id).exists() {
            let mut delete = self.command(&["delete", "--force", &self.id]);
            let _ = delete.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        self.delete();
    }
}

/// A container for each call. The input goes to the program's standard input.
#[derive(Debug)]
pub(crate) struct PerCall {
    process: ProcessPerCall,
    bundle: Bundle,
    input: Vec<u8>,
}

impl PerCall {
    pub(crate) fn open(setup: Setup<'_>, root: Root) -> anyhow::Result<Self> {
        Ok(Self::of(Bundle::create(setup, root, "nebula-native", false)?, setup.input))
    }

    fn of(bundle: Bundle, input: &[u8]) -> Self {
        Self { process: ProcessPerCall::of(bundle.run(), input), bundle, input: input.to_vec() }
    }
}

impl Caller for PerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        Caller::call(&mut self.process)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Caller::settle(&mut self.process)
    }
}

impl Arm for PerCall {
    fn call(&mut self) -> anyhow::Result<Answer> {
        Caller::call(self)
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        Caller::settle(self)
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        let another = |_| Ok(Box::new(Self::of(self.bundle.another()?, &self.input)) as Box<dyn Caller>);
        (0..count).map(another).collect()
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Opens a container that runs already, behind HTTP. It shares the network of the host. The server's
/// process is that of the runtime, of which the container's is a child.
pub(crate) fn open_warm(setup: Setup<'_>, root: Root) -> anyhow::Result<OverHttp<Bundle>> {
    let bundle = Bundle::create(setup, root, "nebula-native-serve", true)?;
    let server = Server::start(&bundle.run(), StandardStream::Stdout, 1, setup.cores)?;
    // The bundle is dropped first: without its container, the runtime's process ends.
    let program_delays = Setup { delay: None, ..setup };
    OverHttp::connect(program_delays, "/", server, bundle)
}
