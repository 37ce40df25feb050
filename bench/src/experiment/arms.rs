//! The arms of the experiment, in the order of the report.

pub(crate) mod container;
mod engine;
mod micro_vm;
pub(crate) mod native;
mod nebula;
mod over_http;
mod spin;
pub(crate) mod wasmtime;

use serde::{Deserialize, Serialize};

use self::nebula::State;
use super::arm::{Arm, Setup};
use super::tools::Root;

/// A way to run a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ArmKind {
    NebulaRemembered,
    NebulaFresh,
    NebulaPipeline,
    NebulaCold,
    NebulaScaledToZero,
    NativeCall,
    NativeProcess,
    WasmtimeServe,
    WasmtimeRun,
    Spin,
    ContainerWarm,
    ContainerMinimal,
    ContainerDebian,
    ContainerEngine,
    MicroVm,
}

impl ArmKind {
    pub(crate) const ALL: [Self; 15] = [
        Self::NebulaRemembered,
        Self::NebulaFresh,
        Self::NebulaPipeline,
        Self::NebulaCold,
        Self::NebulaScaledToZero,
        Self::NativeCall,
        Self::NativeProcess,
        Self::WasmtimeServe,
        Self::WasmtimeRun,
        Self::Spin,
        Self::ContainerWarm,
        Self::ContainerMinimal,
        Self::ContainerDebian,
        Self::ContainerEngine,
        Self::MicroVm,
    ];

    /// Returns the name, which is also that of files and of `--only`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NebulaRemembered => "nebula-remembered",
            Self::NebulaFresh => "nebula-fresh",
            Self::NebulaPipeline => "nebula-pipeline",
            Self::NebulaCold => "nebula-cold",
            Self::NebulaScaledToZero => "nebula-scaled-to-zero",
            Self::NativeCall => "native-call",
            Self::NativeProcess => "native-process",
            Self::WasmtimeServe => "wasmtime-serve",
            Self::WasmtimeRun => "wasmtime-run",
            Self::Spin => "spin",
            Self::ContainerWarm => "container-warm",
            Self::ContainerMinimal => "container-minimal",
            Self::ContainerDebian => "container-debian",
            Self::ContainerEngine => "container-engine",
            Self::MicroVm => "micro-vm",
        }
    }

    /// Describes the arm for readers who don't know it.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::NebulaRemembered => "Nebula over HTTP; the result is in its cache",
            Self::NebulaFresh => {
                "Nebula over HTTP; the function is loaded, each call has a fresh instance, no cache"
            }
            Self::NebulaPipeline => {
                "Nebula over HTTP; a pipeline is called whose only step is the function, loaded as in `nebula-fresh`"
            }
            Self::NebulaCold => "Nebula over HTTP; compiled code on disk, the function is not loaded",
            Self::NebulaScaledToZero => {
                "Nebula doesn't run: a connection to its socket starts it, it answers and ends"
            }
            Self::NativeCall => "the native program runs already and is called over a pipe: no platform",
            Self::NativeProcess => "a process of the native program for each call",
            Self::WasmtimeServe => "`wasmtime serve` of the same source, best flags, fresh instances",
            Self::WasmtimeRun => "`wasmtime run` of the same source for each call, compiled before",
            Self::Spin => "`spin up` of the component of `wasmtime-serve`, fresh instances",
            Self::ContainerWarm => "the native program behind HTTP in a container that runs already",
            Self::ContainerMinimal => {
                "a container by runc for each call; its root is the static program alone"
            }
            Self::ContainerDebian => "a container by runc for each call; its root is a minimal Debian",
            Self::ContainerEngine => {
                "a container by Podman for each call, from an image of the same Debian; no network"
            }
            Self::MicroVm => {
                "a virtual machine by qemu (`microvm`) for each call: it boots a kernel whose first program is the \
                 static one"
            }
        }
    }

    /// Returns whether a call starts a process. The caller then shares the cores of the process.
    pub(crate) fn starts_processes(self) -> bool {
        match self {
            Self::NebulaScaledToZero
            | Self::NativeProcess
            | Self::WasmtimeRun
            | Self::ContainerMinimal
            | Self::ContainerDebian
            | Self::ContainerEngine
            | Self::MicroVm => true,
            Self::NebulaRemembered
            | Self::NebulaFresh
            | Self::NebulaPipeline
            | Self::NebulaCold
            | Self::NativeCall
            | Self::WasmtimeServe
            | Self::Spin
            | Self::ContainerWarm => false,
        }
    }

    /// Returns whether several callers can find the arm in its state at the same time. After the
    /// first call, the others wouldn't find the function cold, nor the server ended.
    pub(crate) fn has_concurrent_calls(self) -> bool {
        match self {
            Self::NebulaCold | Self::NebulaScaledToZero => false,
            Self::NebulaRemembered
            | Self::NebulaFresh
            | Self::NebulaPipeline
            | Self::NativeCall
            | Self::NativeProcess
            | Self::WasmtimeServe
            | Self::WasmtimeRun
            | Self::Spin
            | Self::ContainerWarm
            | Self::ContainerMinimal
            | Self::ContainerDebian
            | Self::ContainerEngine
            | Self::MicroVm => true,
        }
    }

    /// Returns whether every machine that can build Nebula can run the arm.
    pub(crate) fn is_required(self) -> bool {
        match self {
            Self::NebulaRemembered
            | Self::NebulaFresh
            | Self::NebulaPipeline
            | Self::NebulaCold
            | Self::NebulaScaledToZero
            | Self::NativeCall
            | Self::NativeProcess => true,
            Self::WasmtimeServe
            | Self::WasmtimeRun
            | Self::Spin
            | Self::ContainerWarm
            | Self::ContainerMinimal
            | Self::ContainerDebian
            | Self::ContainerEngine
            | Self::MicroVm => false,
        }
    }

    /// Opens the arm for calls.
    ///
    /// # Errors
    /// Returns an error if the arm isn't available here, with the reason.
    pub(crate) fn open(self, setup: Setup<'_>) -> anyhow::Result<Box<dyn Arm>> {
        Ok(match self {
            Self::NebulaRemembered => Box::new(nebula::Served::open(setup, State::Remembered)?),
            Self::NebulaFresh => Box::new(nebula::Served::open(setup, State::Fresh)?),
            Self::NebulaPipeline => Box::new(nebula::Served::open(setup, State::InPipeline)?),
            Self::NebulaCold => Box::new(nebula::Served::open(setup, State::Cold)?),
            Self::NebulaScaledToZero => Box::new(nebula::ScaledToZero::open(setup)?),
            Self::NativeCall => Box::new(native::NativeCall::open(setup)?),
            Self::NativeProcess => Box::new(native::ProcessPerCall::open(setup)),
            Self::WasmtimeServe => Box::new(wasmtime::open_serve(setup)?),
            Self::WasmtimeRun => Box::new(wasmtime::open_run(setup)?),
            Self::Spin => Box::new(spin::open(setup)?),
            Self::ContainerWarm => Box::new(container::open_warm(setup, Root::Minimal)?),
            Self::ContainerMinimal => Box::new(container::PerCall::open(setup, Root::Minimal)?),
            Self::ContainerDebian => Box::new(container::PerCall::open(setup, Root::Debian)?),
            Self::ContainerEngine => Box::new(engine::PerCall::open(setup)?),
            Self::MicroVm => Box::new(micro_vm::PerCall::open(setup)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_raw_files() {
        for arm in ArmKind::ALL {
            assert_eq!(serde_json::to_value(arm).unwrap(), arm.name());
        }
    }
}
