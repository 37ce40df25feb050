//! The metrics of a server, written when they are scraped, and the same counts as JSON.
//!
//! ```text
//! tallies of the threads --(scrape)--> counts --> families --> text of Prometheus or OpenMetrics
//!                        --(stats)---> counts --> wire::Stats
//! ```
//!
//! `family` is the table of all metrics. `functions` writes those of functions, this file those of the
//! host. `process` and `energy` read the machine. `stats` has the JSON, with every function: it has no
//! series, and takes none.
//!
//! Invariants:
//! * Nothing runs between two readings: no timer, no thread.
//! * A counter never falls while the server runs. Only one scrape is written at a time.

mod energy;
mod family;
mod functions;
mod process;
mod samples;
mod stats;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nebula_runtime::id::FunctionName;
use nebula_runtime::{
    CallReport, CompilerUsage, DeployKind, FunctionSeries, HostReport, InstanceUsage, LaneUsage,
    LoadedReport, ResultsUsage, Runtime, identity, now_unix_us,
};
use nebula_telemetry::rapl::POWERCAP;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text, text};
use prometheus_client::registry::Registry;

use self::energy::{EnergyMeter, EnergyUsage};
use self::process::ProcessUsage;
use self::samples::MetricWriter;
use crate::bodies::{BodyMemory, BodyMemoryUsage};
use crate::connections::{ConnectionUsage, Connections};
use crate::wire::{ConnectionStats, FunctionStats, Stats};

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
    pub(crate) name: PlaneName,
    pub(crate) threads: Vec<Connections>,
}

/// The value of the label `plane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaneName {
    Data,
    Control,
    Metrics,
}

/// The metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    sources: Arc<Sources>,
}

/// The sources of the metrics, which are read at each scrape.
struct Sources {
    runtime: Runtime,
    planes: Vec<Plane>,
    bodies: BodyMemory,
    started: Start,
    rustc: &'static str,
    /// The functions that have series.
    series: Mutex<FunctionSeries>,
    energy: Mutex<EnergyMeter>,
}

/// The start of the server.
#[derive(Clone, Copy)]
struct Start {
    unix_us: u64,
    instant: Instant,
}

/// Writes the text of a scrape.
#[derive(Debug)]
struct Scrape(Arc<Sources>);

impl PlaneName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Control => "control",
            Self::Metrics => "metrics",
        }
    }
}

impl Start {
    fn now() -> Self {
        Self { unix_us: now_unix_us(), instant: Instant::now() }
    }

    /// Returns the time, microseconds since the Unix epoch. It doesn't follow a clock that is set.
    fn time_unix_us(&self) -> u64 {
        let elapsed_us = u64::try_from(self.instant.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.unix_us.saturating_add(elapsed_us)
    }
}

impl Metrics {
    /// Creates the metrics of a server that starts now. At most `functions_max` functions have series
    /// of their own. `rustc` is the compiler that built the program.
    pub(crate) fn new(
        runtime: Runtime,
        planes: Vec<Plane>,
        bodies: BodyMemory,
        functions_max: usize,
        rustc: &'static str,
    ) -> Self {
        let sources = Arc::new(Sources {
            runtime,
            planes,
            bodies,
            started: Start::now(),
            rustc,
            series: Mutex::new(FunctionSeries::new(functions_max)),
            energy: Mutex::new(EnergyMeter::start(Path::new(POWERCAP))),
        });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape(Arc::clone(&sources))));
        Self { registry, sources }
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

    /// Returns the counts of all functions and the use of the server. Blocks on the disk.
    pub(crate) fn stats(&self) -> Stats {
        let Sources { runtime, planes, started, .. } = &*self.sources;
        let at_unix_us = started.time_unix_us();
        let CallReport { functions, all } = runtime.call_report();
        let (process, energy) = self.sources.process();
        let open = |name| {
            let planes = planes.iter().filter(|plane| plane.name == name);
            planes.map(|plane| plane.usage().open).sum()
        };
        let connections = ConnectionStats { data: open(PlaneName::Data), control: open(PlaneName::Control) };
        Stats {
            at_unix_us,
            started_at_unix_us: started.unix_us,
            bucket_bounds_us: stats::bucket_bounds_us(),
            server: stats::of_server(&runtime.host_report(), process.as_ref(), energy, connections),
            all: stats::of_calls(&all),
            functions: functions
                .iter()
                .map(|(name, counts)| (name.clone(), stats::of_calls(counts)))
                .collect(),
        }
    }

    /// Returns the counts of a function.
    pub(crate) fn function_stats(&self, function: FunctionName) -> FunctionStats {
        let Sources { runtime, started, .. } = &*self.sources;
        let at_unix_us = started.time_unix_us();
        let counts = stats::of_calls(&runtime.call_counts(&function));
        FunctionStats {
            function,
            at_unix_us,
            started_at_unix_us: started.unix_us,
            bucket_bounds_us: stats::bucket_bounds_us(),
            counts,
        }
    }
}

impl Plane {
    fn usage(&self) -> ConnectionUsage {
        let mut usage = ConnectionUsage::default();
        self.threads.iter().for_each(|thread| thread.add_to(&mut usage));
        usage
    }
}

impl Sources {
    fn lock_series(&self) -> MutexGuard<'_, FunctionSeries> {
        self.series.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the kernel shows of this process, and the energy. Without `/proc` there is no usage.
    fn process(&self) -> (Option<ProcessUsage>, EnergyUsage) {
        let mut energy = self.energy.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = ProcessUsage::read().ok();
        let energy = energy.read(usage.as_ref());
        (usage, energy)
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").finish_non_exhaustive()
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Sources { runtime, planes, bodies, rustc, .. } = &*self.0;
        // Held to the end: of two scrapes, the later one has the higher counts.
        let mut series = self.0.lock_series();
        let mut metrics = MetricWriter(encoder);
        functions::write(&mut metrics, &runtime.show_counts(&mut series))?;
        write_host(&mut metrics, &runtime.host_report())?;
        metrics.family(&family::DEPLOYS, |series| {
            for kind in DeployKind::ALL {
                let counts = runtime.deploy_counts(*kind);
                for (outcome, count) in [("done", counts.done), ("failed", counts.failed)] {
                    series.add(&[("kind", kind.name()), ("outcome", outcome)], count)?;
                }
            }
            Ok(())
        })?;
        write_planes(&mut metrics, planes)?;
        write_bodies(&mut metrics, bodies.usage())?;
        write_process(&mut metrics, &self.0)?;
        let build = [("version", env!("CARGO_PKG_VERSION")), ("engine", identity()), ("rustc", *rustc)];
        metrics.family(&family::BUILD, |series| series.add(&build, 1))
    }
}

fn write_host(metrics: &mut MetricWriter<'_>, report: &HostReport) -> fmt::Result {
    let HostReport { lane, compilers, loaded, instances, lane_instances, instances_max, results } = *report;
    let LaneUsage { running, running_max, waiting, waiting_max } = lane;
    metrics.single(&family::LANE_RUNNING, running)?;
    metrics.single(&family::LANE_RUNNING_MAX, running_max)?;
    metrics.single(&family::LANE_WAITING, waiting)?;
    metrics.single(&family::LANE_WAITING_MAX, waiting_max)?;
    let InstanceUsage { ready, running } = instances;
    metrics.single(&family::INSTANCES_READY, ready)?;
    metrics.family(&family::INSTANCES_RUNNING, |series| {
        series.add(&[("lane", "fast")], running)?;
        series.add(&[("lane", "compute")], lane_instances)
    })?;
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
    let planes: Vec<_> = planes.iter().map(|plane| (plane.name.as_str(), plane.usage())).collect();
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
    let BodyMemoryUsage { bodies, bytes, bytes_max, refused } = usage;
    metrics.single(&family::BODIES_HELD, bodies)?;
    metrics.single(&family::BODIES, bytes)?;
    metrics.single(&family::BODIES_MAX, bytes_max)?;
    metrics.single(&family::BODIES_REFUSED, refused)
}

/// Writes what the kernel shows of this process, and its energy. What it doesn't show has no series.
fn write_process(metrics: &mut MetricWriter<'_>, sources: &Sources) -> fmt::Result {
    let (usage, EnergyUsage { measured, modelled }) = sources.process();
    metrics.family(&family::ENERGY, |series| {
        let methods = [("modelled", modelled), ("measured", measured)].into_iter();
        let mut methods = methods.filter_map(|(method, joules)| Some((method, joules?)));
        methods.try_for_each(|(method, joules)| series.add(&[("method", method)], joules))
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
