//! The platforms of the idle hour, in the terms of its model: measured events of the arms, and what
//! waits for calls.

use std::time::Duration;

use super::arms::ArmKind;
use super::hour::{EventCost, IdleCost, KeepAlive, Platform};
use super::waiting::Waiting;

/// Everything that platforms are made of. `event` returns the cost of a call of an arm that ran.
#[derive(Clone, Copy)]
pub(crate) struct Measured<'a> {
    pub(crate) waiting: &'a Waiting,
    pub(crate) event: &'a dyn Fn(ArmKind) -> Option<EventCost>,
}

impl Measured<'_> {
    /// Returns the cost of a call in a server, whose memory is in what waits.
    fn in_server(&self, arm: ArmKind) -> Option<EventCost> {
        Some(EventCost { memory_bytes: 0.0, ..(self.event)(arm)? })
    }

    /// A server of Nebula that has the whole population. It keeps the code of every
    /// function that was called, because calls go on.
    pub(crate) fn nebula(&self) -> Option<Platform> {
        let Waiting { functions, nebula_uncalled: always, nebula: called, .. } = self.waiting;
        let of_one = |called: f64, always: f64| (called - always).max(0.0) / (*functions).max(1) as f64;
        Some(Platform {
            cold: self.in_server(ArmKind::NebulaCold)?,
            warm: self.in_server(ArmKind::NebulaFresh)?,
            keep_alive: KeepAlive::Always,
            instance: IdleCost {
                memory_bytes: of_one(called.memory_bytes, always.memory_bytes),
                cpu_share: of_one(called.cpu_share, always.cpu_share),
            },
            always: *always,
        })
    }

    /// A server of Nebula with one function.
    pub(crate) fn nebula_single(&self) -> Option<Platform> {
        let always = self.waiting.nebula_single;
        Some(Platform { instance: IdleCost::default(), always, ..self.nebula()? })
    }

    /// A server of Nebula with one function that a call starts and that ends when it has waited.
    pub(crate) fn nebula_scaled_to_zero(&self, waits: Duration) -> Option<Platform> {
        Some(Platform {
            cold: (self.event)(ArmKind::NebulaScaledToZero)?,
            warm: self.in_server(ArmKind::NebulaFresh)?,
            keep_alive: KeepAlive::For(waits),
            instance: self.waiting.nebula_single,
            always: IdleCost::default(),
        })
    }

    /// An arm that starts something for each call.
    pub(crate) fn per_call(&self, arm: ArmKind) -> Option<Platform> {
        let call = (self.event)(arm)?;
        let none = IdleCost::default();
        let keep_alive = KeepAlive::For(Duration::ZERO);
        Some(Platform { cold: call, warm: call, keep_alive, instance: none, always: none })
    }

    /// Containers that wait for the next call. Starting one costs as much as one per call does.
    pub(crate) fn container_kept(&self, arm: ArmKind, keep_alive: Duration) -> Option<Platform> {
        Some(Platform {
            cold: (self.event)(arm)?,
            warm: self.in_server(ArmKind::ContainerWarm)?,
            keep_alive: KeepAlive::For(keep_alive),
            instance: self.waiting.container?,
            always: IdleCost::default(),
        })
    }

    /// A container for each function that runs whether it is called or not.
    pub(crate) fn container_always(&self, functions: usize) -> Option<Platform> {
        let IdleCost { memory_bytes, cpu_share } = self.waiting.container?;
        let functions = functions as f64;
        Some(Platform {
            cold: (self.event)(ArmKind::ContainerMinimal)?,
            warm: self.in_server(ArmKind::ContainerWarm)?,
            keep_alive: KeepAlive::Always,
            instance: IdleCost::default(),
            always: IdleCost { memory_bytes: memory_bytes * functions, cpu_share: cpu_share * functions },
        })
    }

    /// Returns the platforms whose arms ran, in the order of the report.
    pub(crate) fn platforms(&self) -> Vec<NamedPlatform> {
        let mut platforms = Vec::new();
        let mut add = |name: &str, platform: Option<Platform>, is_single| {
            platforms.extend(platform.map(|platform| NamedPlatform {
                name: name.to_owned(),
                platform,
                is_single,
            }));
        };
        add("Nebula, always on", self.nebula(), Some(false));
        add("Nebula, always on", self.nebula_single(), Some(true));
        // A server ends after its idle time, or up to twice that. Two settings: a minute, a second.
        for (name, waits_s) in
            [("Nebula, scaled to zero after 1 min", 90.0), ("Nebula, scaled to zero after 1 s", 1.5)]
        {
            let platform = self.nebula_scaled_to_zero(Duration::from_secs_f64(waits_s));
            add(name, platform, Some(true));
        }
        add("native process per call", self.per_call(ArmKind::NativeProcess), None);
        for (arm, root) in [(ArmKind::ContainerMinimal, "minimal"), (ArmKind::ContainerDebian, "Debian")] {
            add(&format!("container ({root}) per call"), self.per_call(arm), None);
            for minutes in [1, 10] {
                let platform = self.container_kept(arm, Duration::from_secs(minutes * 60));
                add(&format!("container ({root}) kept for {minutes} min"), platform, None);
            }
        }
        for (functions, is_single) in [(self.waiting.functions, false), (1, true)] {
            add("container that always runs", self.container_always(functions), Some(is_single));
        }
        platforms
    }
}

/// A platform of the hour.
pub(crate) struct NamedPlatform {
    pub(crate) name: String,
    pub(crate) platform: Platform,
    /// The population that it belongs to: a single function, many, or either.
    pub(crate) is_single: Option<bool>,
}
