//! The platforms of the idle hour, in the terms of its model: measured events of the arms, and what
//! waits for calls.

use std::time::Duration;

use super::arms::ArmKind;
use super::dots::Kind;
use super::events::Events;
use super::hour::{EventCost, IdleCost, KeepAlive, Platform, Ready, Serving, WarmCost};
use super::interval::Estimate;
use super::waiting::{NEBULA_RESTS_AFTER, NEBULA_UNLOADS_AFTER, Waiting};

/// Everything that platforms are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured<'a> {
    pub(crate) waiting: &'a Waiting,
    pub(crate) events: &'a Events,
}

impl Measured<'_> {
    fn start(&self, arm: ArmKind) -> Option<EventCost> {
        self.events.starts.get(&arm).copied()
    }

    fn warm(&self, arm: ArmKind) -> Option<WarmCost> {
        self.events.warm.get(&arm).cloned()
    }

    /// A server of Nebula that has the whole population. Calls of some functions go on all the time.
    pub(crate) fn nebula(&self) -> Option<Platform> {
        let waiting = &self.waiting.nebula;
        Some(Platform {
            cold: self.start(ArmKind::NebulaCold)?,
            warm: self.warm(ArmKind::NebulaFresh)?,
            serving: Serving::AllFunctions,
            keep_alive: KeepAlive::For(NEBULA_UNLOADS_AFTER),
            instance: IdleCost { memory_bytes: waiting.loaded_bytes, cpu_share: 0.0 },
            ready: waiting.ready(),
            // It has been called before.
            always: waiting.rested,
        })
    }

    /// A server of Nebula with one function. It unloads the function when no calls come.
    pub(crate) fn nebula_single(&self) -> Option<Platform> {
        let waiting = &self.waiting.nebula_single;
        let cpu_s = Estimate::of(waiting.calls_after_rest.iter().map(|call| call.cpu_s))?.median;
        Some(Platform {
            cold: EventCost { cpu_s, byte_s: 0.0 },
            keep_alive: KeepAlive::For(NEBULA_RESTS_AFTER),
            instance: IdleCost { memory_bytes: waiting.loaded_bytes, cpu_share: 0.0 },
            ready: waiting.ready(),
            always: waiting.rested,
            ..self.nebula()?
        })
    }

    /// A server of Nebula with one function that a call starts and that ends when it has waited.
    pub(crate) fn nebula_scaled_to_zero(&self, waits: Duration) -> Option<Platform> {
        let waiting = &self.waiting.nebula_single;
        let memory_bytes = waiting.uncalled.memory_bytes + waiting.loaded_bytes;
        Some(Platform {
            cold: self.start(ArmKind::NebulaScaledToZero)?,
            keep_alive: KeepAlive::For(waits),
            instance: IdleCost { memory_bytes, cpu_share: 0.0 },
            always: IdleCost::default(),
            ..self.nebula_single()?
        })
    }

    /// An arm that starts something for each call.
    pub(crate) fn per_call(&self, arm: ArmKind) -> Option<Platform> {
        Some(Platform {
            cold: self.start(arm)?,
            warm: WarmCost::default(),
            serving: Serving::OneFunction,
            keep_alive: KeepAlive::For(Duration::ZERO),
            instance: IdleCost::default(),
            ready: Ready::default(),
            always: IdleCost::default(),
        })
    }

    /// Containers that wait for the next call, of a population or of a single function.
    pub(crate) fn container_kept(
        &self,
        arm: ArmKind,
        keep_alive: Duration,
        is_single: bool,
    ) -> Option<Platform> {
        let Waiting { container, container_single, .. } = self.waiting;
        Some(Platform {
            cold: self.events.kept.get(&arm).copied()?,
            warm: self.warm(ArmKind::ContainerWarm)?,
            serving: Serving::OneFunction,
            keep_alive: KeepAlive::For(keep_alive),
            instance: if is_single { *container_single } else { *container }?,
            ready: Ready::default(),
            always: IdleCost::default(),
        })
    }

    /// A container for each function that runs whether it is called or not.
    pub(crate) fn container_always(&self, is_single: bool) -> Option<Platform> {
        let kept = self.container_kept(ArmKind::ContainerMinimal, Duration::ZERO, is_single)?;
        Some(Platform { keep_alive: KeepAlive::Started, ..kept })
    }

    /// A server of wasmtime for each function, which runs whether it is called or not.
    fn wasmtime_always(&self, is_single: bool) -> Option<Platform> {
        let Waiting { wasmtime, wasmtime_single, .. } = self.waiting;
        Some(Platform {
            cold: EventCost::default(),
            warm: self.warm(ArmKind::WasmtimeServe)?,
            serving: Serving::OneFunction,
            keep_alive: KeepAlive::Started,
            instance: if is_single { *wasmtime_single } else { *wasmtime }?,
            ready: Ready::default(),
            always: IdleCost::default(),
        })
    }

    /// Returns the platforms whose arms ran, in the order of the report.
    pub(crate) fn platforms(&self) -> Vec<NamedPlatform> {
        let mut platforms = Vec::new();
        let mut add = |kind, name: &str, platform: Option<Platform>, is_single| {
            let name = name.to_owned();
            platforms.extend(platform.map(|platform| NamedPlatform { kind, name, platform, is_single }));
        };
        add(Kind::Nebula, "Nebula, always on", self.nebula(), Some(false));
        add(Kind::Nebula, "Nebula, always on", self.nebula_single(), Some(true));
        // A server ends after its idle time, or up to twice that. Two settings: a minute, a second.
        for (name, waits_s) in
            [("Nebula, scaled to zero after 1 min", 90.0), ("Nebula, scaled to zero after 1 s", 1.5)]
        {
            let platform = self.nebula_scaled_to_zero(Duration::from_secs_f64(waits_s));
            add(Kind::Nebula, name, platform, Some(true));
        }
        add(Kind::Native, "native process per call", self.per_call(ArmKind::NativeProcess), None);
        add(Kind::Wasm, "wasmtime run per call", self.per_call(ArmKind::WasmtimeRun), None);
        for is_single in [false, true] {
            let platform = self.wasmtime_always(is_single);
            add(Kind::Wasm, "wasmtime serve, always on", platform, Some(is_single));
        }
        for (arm, root) in [(ArmKind::ContainerMinimal, "minimal"), (ArmKind::ContainerDebian, "Debian")] {
            add(Kind::Container, &format!("container ({root}) per call"), self.per_call(arm), None);
            for minutes in [1, 10] {
                for is_single in [false, true] {
                    let platform = self.container_kept(arm, Duration::from_secs(minutes * 60), is_single);
                    let name = format!("container ({root}) kept for {minutes} min");
                    add(Kind::Container, &name, platform, Some(is_single));
                }
            }
        }
        for is_single in [false, true] {
            add(
                Kind::Container,
                "container that always runs",
                self.container_always(is_single),
                Some(is_single),
            );
        }
        platforms
    }
}

/// A platform of the hour.
pub(crate) struct NamedPlatform {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) platform: Platform,
    /// The population that it belongs to: a single function, many, or either.
    pub(crate) is_single: Option<bool>,
}
