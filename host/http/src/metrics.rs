//! The metrics of a server, written when they are scraped.
//!
//! ```text
//! tallies of the threads --(scrape)--> counts --> families --> text of Prometheus or OpenMetrics
//! ```
//!
//! `family` is the table of all metrics. `functions` writes those of functions, this file those of the
//! host. `process` and `energy` read the machine.
//!
//! Invariants:
//! * Nothing runs between two scrapes: no timer, no thread.
//! * A counter never falls while the server runs. Only one scrape is written at a time.

mod energy;
mod family;
mod functions;
mod process;
mod samples;

use std::fmt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use nebula_runtime::{
    CompilerUsage, DeployKind, FunctionSeries, HostReport, LaneUsage, LoadedReport, ResultsUsage, Runtime,
    identity,
};
use nebula_telemetry::rapl::POWERCAP;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use self::energy::EnergyMeter;
use self::process::ProcessUsage;
use self::samples::MetricWriter;
use crate::bodies::{BodyMemory, BodyMemoryUsage};
use crate::connections::{ConnectionUsage, Connections};

/// The format of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Prometheus' own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// Returns the value of `Content-Type`.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The connections of a plane, by thread.
pub(crate) struct Plane {
    /// The value of the label.
    pub(crate) name: &'static str,
    pub(crate) threads: Vec<Connections>,
}

/// The sources of a server's metrics.
pub(crate) struct Metrics {
    registry: Registry,
}

/// Reads the sources at each scrape.
struct Sources {
    runtime: Runtime,
    planes: Vec<Plane>,
    bodies: BodyMemory,
    state: Mutex<State>,
}

/// The memory of earlier scrapes.
struct State {
    series: FunctionSeries,
    energy: EnergyMeter,
}

impl Metrics {
    /// Creates the metrics of a server. At most `functions_max` functions have series of their own.
    pub(crate) fn new(
        runtime: Runtime,
        planes: Vec<Plane>,
        bodies: BodyMemory,
        functions_max: usize,
    ) -> Self {
        let state = State {
            series: FunctionSeries::new(functions_max),
            energy: EnergyMeter::start(Path::new(POWERCAP)),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Sources { runtime, planes, bodies, state: Mutex::new(state) }));
        Self { registry }
    }

    /// Writes all metrics. Blocks on the disk.
    ///
    /// # Errors
    /// Never: a `String` takes any text.
    pub(crate) fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut written = String::new();
        match format {
            Format::Prometheus => prometheus_text::encode(&mut written, &self.registry)?,
            Format::OpenMetrics => text::encode(&mut written, &self.registry)?,
        }
        Ok(written)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Held to the end: of two scrapes, the later one has the higher counts.
        let State { series, energy } = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut metrics = MetricWriter(encoder);
        functions::write(&mut metrics, &self.runtime.show_counts(series))?;
        write_host(&mut metrics, &self.runtime.host_report())?;
        metrics.family(&family::DEPLOYS, |series| {
            for kind in DeployKind::ALL {
                let counts = self.runtime.deploy_counts(*kind);
                for (outcome, count) in [("done", counts.done), ("failed", counts.failed)] {
                    series.add(&[("kind", kind.name()), ("outcome", outcome)], count)?;
                }
            }
            Ok(())
        })?;
        write_planes(&mut metrics, &self.planes)?;
        write_bodies(&mut metrics, self.bodies.usage())?;
        write_process(&mut metrics, energy)?;
        let version = env!("CARGO_PKG_VERSION");
        metrics
            .family(&family::BUILD, |series| series.add(&[("version", version), ("engine", identity())], 1))
    }
}

fn write_host(metrics: &mut MetricWriter<'_>, report: &HostReport) -> fmt::Result {
    let HostReport { lane, compilers, loaded, instances_ready, instances_max, results } = *report;
    let LaneUsage { running, running_max, waiting, waiting_max } = lane;
    metrics.single(&family::LANE_RUNNING, running)?;
    metrics.single(&family::LANE_RUNNING_MAX, running_max)?;
    metrics.single(&family::LANE_WAITING, waiting)?;
    metrics.single(&family::LANE_WAITING_MAX, waiting_max)?;
    metrics.single(&family::INSTANCES_READY, instances_ready)?;
    metrics.single(&family::INSTANCES_MAX, instances_max)?;
    let LoadedReport { components, bytes, bytes_max, reads, loads, evictions } = loaded;
    metrics.single(&family::LOADED_COMPONENTS, components)?;
    metrics.single(&family::LOADED, bytes)?;
    metrics.single(&family::LOADED_MAX, bytes_max)?;
    metrics.single(&family::CODE_READS, reads)?;
    metrics.single(&family::CODE_LOADS, loads)?;
    metrics.single(&family::CODE_EVICTIONS, evictions)?;
    let CompilerUsage { running, running_max, waiting } = compilers;
    metrics.single(&family::COMPILERS_RUNNING, running)?;
    metrics.single(&family::COMPILERS_MAX, running_max)?;
    metrics.single(&family::COMPILERS_WAITING, waiting)?;
    let ResultsUsage { memory, memory_bytes_max, disk, disk_bytes_max } = results;
    for (family, in_memory, on_disk) in [
        (&family::RESULTS, memory.entries, disk.entries),
        (&family::RESULTS_SIZE, memory.bytes, disk.bytes),
        (&family::RESULTS_MAX, memory_bytes_max, disk_bytes_max),
    ] {
        metrics.family(family, |series| {
            series.add(&[("tier", "memory")], in_memory)?;
            series.add(&[("tier", "disk")], on_disk)
        })?;
    }
    Ok(())
}

fn write_planes(metrics: &mut MetricWriter<'_>, planes: &[Plane]) -> fmt::Result {
    let usage = |plane: &Plane| {
        let mut usage = ConnectionUsage::default();
        plane.threads.iter().for_each(|thread| thread.add_to(&mut usage));
        (plane.name, usage)
    };
    let planes: Vec<_> = planes.iter().map(usage).collect();
    metrics.family(&family::REQUEST_DURATION, |series| {
        planes
            .iter()
            .try_for_each(|(plane, usage)| series.add_histogram(&[("plane", plane)], &usage.counts.durations))
    })?;
    let mut by_plane = |family, value: fn(&ConnectionUsage) -> u64| {
        metrics.family(family, |series| {
            planes.iter().try_for_each(|(plane, usage)| series.add(&[("plane", plane)], value(usage)))
        })
    };
    by_plane(&family::ACTIVE_REQUESTS, |usage| usage.requests_in_flight)?;
    by_plane(&family::CONNECTIONS, |usage| usage.open)?;
    by_plane(&family::CONNECTIONS_MAX, |usage| usage.connections_max)?;
    by_plane(&family::ACCEPTED, |usage| usage.counts.accepted)?;
    by_plane(&family::NOT_ACCEPTED, |usage| usage.counts.accept_errors)?;
    metrics.family(&family::RESPONSES, |series| {
        for (plane, usage) in &planes {
            for (status, count) in usage.counts.by_status() {
                let status = status.to_string();
                series.add(&[("plane", *plane), ("http_response_status_code", &status)], count)?;
            }
        }
        Ok(())
    })?;
    let mut all = ConnectionUsage::default().counts;
    for (_, usage) in &planes {
        all.repeated += usage.counts.repeated;
        all.repeat_durations += usage.counts.repeat_durations;
    }
    metrics.single(&family::REPEATED, all.repeated)?;
    metrics.family(&family::REPEAT_DURATION, |series| series.add_histogram(&[], &all.repeat_durations))
}

fn write_bodies(metrics: &mut MetricWriter<'_>, usage: BodyMemoryUsage) -> fmt::Result {
    let BodyMemoryUsage { bytes, bytes_max, refused } = usage;
    metrics.single(&family::BODIES, bytes)?;
    metrics.single(&family::BODIES_MAX, bytes_max)?;
    metrics.single(&family::BODIES_REFUSED, refused)
}

/// Writes what the kernel shows of this process, and its energy.
fn write_process(metrics: &mut MetricWriter<'_>, energy: &mut EnergyMeter) -> fmt::Result {
    // Without `/proc`, these metrics have no series.
    let usage = ProcessUsage::read().ok();
    metrics.family(&family::ENERGY, |series| {
        if let Some(usage) = &usage {
            series.add(&[("method", "modelled")], energy.modelled(usage))?;
        }
        energy.measured().map_or(Ok(()), |joules| series.add(&[("method", "measured")], joules))
    })?;
    let Some(usage) = usage else { return Ok(()) };
    metrics.single(&family::PROCESS_CPU, usage.cpu.as_secs_f64())?;
    metrics.single(&family::PROCESS_RESIDENT, usage.resident_bytes)?;
    metrics.single(&family::PROCESS_VIRTUAL, usage.virtual_bytes)?;
    metrics.single(&family::PROCESS_FDS, usage.open_fds)?;
    metrics.family(&family::PROCESS_FDS_MAX, |series| {
        usage.max_fds.map_or(Ok(()), |max_fds| series.add(&[], max_fds))
    })?;
    metrics.single(&family::PROCESS_THREADS, usage.threads)?;
    metrics.single(&family::PROCESS_START, usage.started_unix_s)
}
