//! The metrics of a server: parsed, checked by promtool, and scraped by Prometheus with the
//! configuration that docs/metrics.md shows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::answer::Answer;
use crate::server::{Nebula, RequestBuilder, agent};

const METRICS: &str = include_str!("../../docs/metrics.md");

/// The metrics of one scrape.
#[derive(Clone, Debug)]
pub struct Scrape {
    text: String,
    samples: Vec<Sample>,
}

/// One line.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Parses the text of a scrape, in either format.
    #[track_caller]
    pub fn of(answer: &Answer) -> Self {
        let text = answer.text().to_owned();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| Sample::parse(line).unwrap_or_else(|| panic!("not a sample: {line}")));
        Self { samples: samples.collect(), text }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the sum of the series of a metric that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Returns whether a metric has a series with these labels.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// Asserts the sum of the series of a metric that have these labels.
    #[track_caller]
    pub fn is(&self, name: &str, labels: &[(&str, &str)], value: f64) -> &Self {
        let found = self.sum(name, labels);
        assert!((found - value).abs() < 1e-9, "{name}{labels:?} is {found}, not {value}:\n{}", self.text);
        self
    }

    /// Returns the values of a label of a metric, in order.
    pub fn values_of(&self, name: &str, label: &str) -> Vec<&str> {
        let mut values: Vec<_> = self
            .matching(name, &[])
            .filter_map(|sample| sample.labels.get(label))
            .map(String::as_str)
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Returns every series with its value: `name{label="value"}`.
    pub fn series(&self) -> BTreeMap<String, f64> {
        self.samples
            .iter()
            .map(|sample| (format!("{}{:?}", sample.name, sample.labels), sample.value))
            .collect()
    }

    /// Returns the names of the metrics, as their `TYPE` lines have them.
    pub fn families(&self) -> Vec<&str> {
        let names = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        names.collect()
    }

    /// Returns the names of the labels of a metric's series; `None` if it has no series.
    pub fn labels(&self, name: &str) -> Option<BTreeSet<&str>> {
        let mut series = self.matching(name, &[]).peekable();
        series.peek()?;
        Some(series.flat_map(|sample| sample.labels.keys().map(String::as_str)).collect())
    }

    fn matching<'a>(&'a self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|it| it == value))
        })
    }
}

impl Sample {
    /// Parses a line. No label of Nebula has a quote or a comma in its value.
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
            let (name, value) = label.split_once('=')?;
            Some((name.to_owned(), value.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
        });
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().ok()? };
        Some(Self { name: name.to_owned(), labels: labels.collect::<Option<_>>()?, value })
    }
}

/// Asserts that promtool finds no fault in the text of a scrape.
#[track_caller]
pub fn lint(scrape: &Scrape) {
    let mut promtool = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    // It reads everything before it prints.
    promtool.stdin.take().expect("piped").write_all(scrape.text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("a child");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let is_clean = output.status.success() && stdout.trim().is_empty() && stderr.trim().is_empty();
    assert!(is_clean, "promtool, {}: {stdout}{stderr}", output.status);
}

/// Runs `promtool arguments…` in a directory, asserts that it succeeds, and returns what it printed.
#[track_caller]
pub fn promtool(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program("promtool")).args(arguments).current_dir(directory).output();
    let output = output.expect("promtool runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}, {}: {printed}", output.status);
    printed
}

/// A running Prometheus. Dropping it kills the process and removes its directory.
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    agent: ureq::Agent,
    /// Holds the configuration and the database.
    _home: TempDir,
}

impl Prometheus {
    /// Starts Prometheus with the documented configuration, for a server that has its metrics at
    /// `metrics` too. It scrapes every second.
    #[track_caller]
    pub fn scraping(nebula: &Nebula, metrics: &str) -> Self {
        let token = nebula.data_dir().join("token").display().to_string();
        let mut configuration = "global: {scrape_interval: 1s}\n".to_owned() + documented_configuration();
        for (documented, used) in [
            ("127.0.0.1:8081", nebula.control_address().to_string()),
            ("10.0.0.5:9090", metrics.to_owned()),
            ("/etc/prometheus/nebula-token", token),
        ] {
            assert!(configuration.contains(documented), "no `{documented}` in {configuration}");
            configuration = configuration.replace(documented, &used);
        }
        let home = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(home.path().join("prometheus.yml"), configuration).expect("a directory to write to");
        Self::start(home)
    }

    /// Starts Prometheus with `prometheus.yml` in a directory, which also gets its database.
    #[track_caller]
    pub fn start(home: TempDir) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", home.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", home.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus runs");
        Self { child, address, agent: agent(), _home: home }
    }

    /// Returns the values of a query by the job that scraped them; none while it has no data.
    pub fn query(&self, query: &str) -> BTreeMap<String, f64> {
        let series = self.series(query).unwrap_or_default();
        let job_and_value =
            |series: &Value| Some((series["metric"]["job"].as_str()?.to_owned(), series_value(series)?));
        series.iter().filter_map(job_and_value).collect()
    }

    /// Returns the series of a query with their labels as `metric`; `None` while Prometheus isn't
    /// ready. Fails the test if it refuses the query.
    #[track_caller]
    pub fn series(&self, query: &str) -> Option<Vec<Value>> {
        let encoded = percent_encoding::utf8_percent_encode(query, percent_encoding::NON_ALPHANUMERIC);
        let answer = self.get(&format!("query?query={encoded}"))?;
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        Some(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// Returns the answer at a path of its API; `None` while Prometheus isn't ready.
    pub fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.address);
        // It listens before it is ready.
        let answer = RequestBuilder::new(&self.agent, "GET", url).try_send().ok();
        Some(answer.filter(|answer| answer.status() != 503)?.json())
    }
}

/// Returns the value of a series, unless it isn't a number.
pub fn series_value(series: &Value) -> Option<f64> {
    series["value"][1].as_str()?.parse().ok().filter(|value: &f64| !value.is_nan())
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the configuration in docs/metrics.md.
#[track_caller]
fn documented_configuration() -> &'static str {
    let block = METRICS.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
    block.expect("docs/metrics.md has a configuration")
}

/// Returns the path of a program of Prometheus, where `cargo xtask test` looks for it, too.
#[track_caller]
fn program(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/prometheus/usr/bin");
    let candidates = [PathBuf::from(name), unpacked.join(name)];
    let runs = |path: &PathBuf| {
        let version =
            Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    candidates.into_iter().find(runs).unwrap_or_else(|| {
        panic!("{name} isn't installed: `cargo xtask test` downloads it, or install the package `prometheus`")
    })
}
