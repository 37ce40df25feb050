//! Throughput of an echo over HTTP/2 with prior knowledge (h2c).
//!
//! Includes: parse, route, decode, the instance and its guest or the lookup in the cache, encode,
//! answer. Excludes: connect, compile, load, and a warm-up before every measurement.
//! Guest: `functions/echo`. The load is h2load of nghttp2 on its own cores; it sleeps while it has
//! nothing to read.
//! The run checks h2load's counts: every response has a success status, and the bodies add up to
//! the length of those sent. Peer in the same run: hyper alone, with HTTP/2 only. Reports requests
//! per second, their ratio to hyper alone round by round, server CPU per request, and the
//! utilisation of the load. If h2load isn't installed, the section contains a note instead of
//! figures.

use std::io::Write;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args as ClapArgs;

use crate::cores::{self, Cores};
use crate::cpu;
use crate::machine;
use crate::measure;
use crate::peers::{BASE, NEBULA_REMEMBERED, NEBULA_TYPED, Programs};
use crate::prepare;
use crate::results::{Column, Row, Section, plural};
use crate::server::{Deploy, Nebula, Server, StandardStream};
use crate::stats::Figure;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Rounds; each measures every server
    #[arg(long, default_value = "5")]
    rounds: NonZeroU32,
    /// Duration of a measurement, seconds
    #[arg(long, default_value = "2")]
    seconds: NonZeroU64,
    /// Connections; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "32")]
    connections: Vec<NonZeroUsize>,
    /// Requests in flight per connection; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    streams: Vec<NonZeroUsize>,
    /// Size of the body in and out, bytes; a list is measured in order
    #[arg(long, value_delimiter = ',', default_value = "36")]
    body_bytes: Vec<NonZeroUsize>,
}

const COLUMNS: [Column; 4] = [
    Column::spread("throughput", "requests/s", 0),
    Column::spread("of hyper alone", "", 3),
    Column::median("server CPU", "µs/request", 1),
    Column::median("load busy", "%", 0),
];

/// The duration of the warm-up before every measurement, in seconds.
const WARM_UP_S: u64 = 1;

/// A server and the path of its echo.
struct Subject<'a> {
    name: &'static str,
    server: &'a Server,
    path: &'static str,
}

/// The result of one measurement.
struct Round {
    requests_per_s: f64,
    /// CPU time of the server per request.
    server_cpu_us: f64,
    /// The share of the load's cores that were busy.
    load_busy: f64,
    /// The number of cores that neither server nor load used.
    others_cores: f64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<Vec<Section>> {
    let mut sections = Vec::new();
    if !prepare::is_installed("h2load") {
        sections.push(Section {
            bench: "http2",
            title: "Throughput over HTTP/2".to_owned(),
            conditions: Vec::new(),
            columns: COLUMNS.to_vec(),
            rows: Vec::new(),
            notes: vec!["Not measured: h2load (Debian package `nghttp2-client`) isn't installed.".to_owned()],
        });
        return Ok(sections);
    }
    let (programs, cores) = (Programs::prepare()?, Cores::available()?);
    let mut hyper = programs.hyper()?;
    hyper.arg("--http2");
    let hyper = Server::start(&hyper, StandardStream::Stdout, 1, &cores)?;
    let functions = [Deploy { name: "echo", component: &programs.echo, limits: &[] }];
    let fresh = Nebula::start(&programs.nebula, &functions, &cores)?;
    let caching = Nebula::start_with_cache(&programs.nebula, &functions, None, &cores)?;
    let subjects = [
        Subject { name: BASE, server: &hyper, path: "/echo" },
        Subject { name: NEBULA_TYPED, server: &fresh.server, path: "/f/echo" },
        Subject { name: NEBULA_REMEMBERED, server: &caching.server, path: "/f/echo" },
    ];
    // h2load inherits these cores.
    cores::pin(&cores.load)?;
    for body_bytes in &args.body_bytes {
        for connections in &args.connections {
            for streams in &args.streams {
                let load = Load {
                    body_bytes: body_bytes.get(),
                    connections: connections.get(),
                    streams: streams.get(),
                    threads: cores.load.len().min(connections.get()),
                };
                sections.push(measure_one(args, &subjects, load, &cores)?);
            }
        }
    }
    Ok(sections)
}

fn measure_one(args: &Args, subjects: &[Subject<'_>], load: Load, cores: &Cores) -> anyhow::Result<Section> {
    let load_average = machine::load_average()?;
    let mut body = tempfile::NamedTempFile::new()?;
    body.write_all(&prepare::body(load.body_bytes))?;
    let mut rounds: Vec<Vec<Round>> = subjects.iter().map(|_| Vec::new()).collect();
    for round in 0..args.rounds.get() as usize {
        eprintln!("{load:?}: round {} of {}", round + 1, args.rounds);
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let Subject { name, server, path } = subjects[index];
            let address = server.addresses[0];
            let measured = || -> anyhow::Result<Round> {
                load.run(address, path, body.path(), WARM_UP_S)?;
                let used = || -> anyhow::Result<[Duration; 3]> {
                    Ok([cpu::of_tree(server.pid())?, cpu::of_ended_children()?, cpu::of_machine()?])
                };
                let (started, before) = (Instant::now(), used()?);
                let report = load.run(address, path, body.path(), args.seconds.get())?;
                let (elapsed_s, after) = (started.elapsed().as_secs_f64(), used()?);
                let [server_s, load_s, machine_s] =
                    [0, 1, 2].map(|index| (after[index] - before[index]).as_secs_f64());
                Ok(Round {
                    requests_per_s: report.requests_per_s,
                    server_cpu_us: server_s * 1e6 / report.answers,
                    load_busy: load_s / elapsed_s / load.threads as f64,
                    others_cores: (machine_s - server_s - load_s).max(0.0) / elapsed_s,
                })
            };
            rounds[index].push(measured().with_context(|| format!("measuring {name}"))?);
        }
    }
    let figure = |rounds: &[Round], of: fn(&Round) -> f64| Figure::of(rounds.iter().map(of));
    let base = figure(&rounds[0], |round| round.requests_per_s);
    let row = |(subject, own): (&Subject<'_>, &Vec<Round>)| {
        let throughput = figure(own, |round| round.requests_per_s);
        let ratio = throughput.as_ref().zip(base.as_ref()).and_then(|(own, base)| own.over(base));
        let cpu = figure(own, |round| round.server_cpu_us);
        let figures = vec![throughput, ratio, cpu, figure(own, |round| round.load_busy * 100.0)];
        Row { name: subject.name.to_owned(), figures }
    };
    let mut notes = vec![format!("Load average before the first round: {load_average}.")];
    notes.extend(measure::disturbance_by(rounds.iter().flatten().map(|round| round.others_cores)));
    Ok(Section {
        bench: "http2",
        title: format!(
            "Throughput over HTTP/2: echo of {} B over {}, {} in flight on each",
            load.body_bytes,
            plural(load.connections, "connection"),
            plural(load.streams, "request"),
        ),
        conditions: vec![
            format!(
                "h2load; {} rounds of {} s each, in turns; {cores}. Median over the rounds, with the lowest and \
                 highest in parentheses; ratios to {BASE} are computed round by round.",
                args.rounds, args.seconds
            ),
            machine::description(),
        ],
        columns: COLUMNS.to_vec(),
        rows: subjects.iter().zip(&rounds).map(row).collect(),
        notes,
    })
}

/// The parameters of h2load.
#[derive(Clone, Copy, Debug)]
struct Load {
    body_bytes: usize,
    connections: usize,
    streams: usize,
    threads: usize,
}

impl Load {
    /// Runs h2load for `seconds` and checks its report.
    fn run(
        &self,
        address: SocketAddr,
        path: &str,
        body: &Path,
        seconds: u64,
    ) -> anyhow::Result<H2loadReport> {
        let mut h2load = Command::new("h2load");
        h2load.args(["--duration", &seconds.to_string(), "--clients", &self.connections.to_string()]);
        h2load.args(["--max-concurrent-streams", &self.streams.to_string()]);
        h2load.args(["--threads", &self.threads.to_string(), "--header"]);
        h2load.args(["content-type: application/octet-stream", "--data"]).arg(body);
        let output = h2load.arg(format!("http://{address}{path}")).output().context("cannot run h2load")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let report = parse(&text).with_context(|| format!("unknown format of h2load's output:\n{text}"))?;
        let H2loadReport { answers, others, data_bytes, .. } = report;
        let expected = answers * self.body_bytes as f64;
        // Answers that are in flight at the end may have arrived in part.
        let in_flight = (self.connections * self.streams * self.body_bytes) as f64;
        let is_echo = (expected..=expected + in_flight).contains(&data_bytes);
        ensure!(
            output.status.success() && answers > 0.0 && others == 0.0 && is_echo,
            "wrong answers:\n{text}"
        );
        Ok(report)
    }
}

/// The counts that h2load prints.
#[derive(Debug, PartialEq)]
struct H2loadReport {
    requests_per_s: f64,
    /// Complete answers. (h2load may count the status of an answer that is in flight at the end,
    /// too.)
    answers: f64,
    /// Answers with another status and failed requests.
    others: f64,
    data_bytes: f64,
}

/// Parses the output of h2load.
fn parse(text: &str) -> Option<H2loadReport> {
    let line = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    // Returns the number before a word: 12 before `2xx` in `12 2xx, 0 3xx`.
    let before = |line: &str, word: &str| {
        let part = line.split(',').map(str::trim).find(|part| part.ends_with(word))?;
        part.split([' ', '(', ')']).find_map(|text| text.parse::<f64>().ok())
    };
    let statuses = line("status codes:")?;
    let (requests, traffic) = (line("requests:")?, line("traffic:")?);
    let others = ["3xx", "4xx", "5xx"].into_iter().map(|word| before(statuses, word));
    let others = others.chain([before(requests, "failed"), before(requests, "timeout")]);
    let rate = line("finished in")?.split(',').find_map(|part| part.trim().strip_suffix(" req/s"))?;
    Some(H2loadReport {
        requests_per_s: rate.parse().ok()?,
        answers: before(requests, "succeeded")?,
        others: others.sum::<Option<f64>>()?,
        data_bytes: before(traffic, "data")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_h2load_is_parsed() {
        let text = "finished in 2.00s, 75321.50 req/s, 5.03MB/s\n\
                    requests: 150643 total, 150675 started, 150643 done, 150640 succeeded, 3 failed, 0 errored, 0 timeout\n\
                    status codes: 150641 2xx, 1 3xx, 2 4xx, 0 5xx\n\
                    traffic: 10.06MB (10547042) total, 1.44MB (1509238) headers (space savings 95.43%), \
                    5.17MB (5423148) data\n";
        let expected = H2loadReport {
            requests_per_s: 75321.5,
            answers: 150_640.0,
            others: 6.0,
            data_bytes: 5_423_148.0,
        };
        assert_eq!(parse(text), Some(expected));
        assert_eq!(parse("nothing"), None);
    }
}
