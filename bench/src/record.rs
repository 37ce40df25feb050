//! Runs all measurements and writes their results to files.
//!
//! ```text
//! command lines -> sections -> results.json, results.md, chart.svg
//! ```
//!
//! The results name the command line of each section, so that any of them can be repeated alone.
//! The files are written after every command. If a command fails, the results say so, the others
//! still run, and the run fails at its end.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use clap::{Args as ClapArgs, Parser};
use serde::Serialize;

use crate::chart;
use crate::cores;
use crate::machine;
use crate::results::Section;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Take a few minutes instead of about an hour; the figures are a check, not to be quoted
    #[arg(long)]
    quick: bool,
    /// Directory of `results.json`, `results.md` and `chart.svg`
    #[arg(long, default_value = "docs/bench")]
    out: PathBuf,
    /// Run only the commands that contain this; requires `--out`, because the files there are
    /// overwritten
    #[arg(long, requires = "out")]
    only: Option<String>,
    /// Path of a `spin` binary to measure
    #[arg(long)]
    spin: Option<PathBuf>,
}

/// The commands whose figures are quoted.
const FULL: [&str; 15] = [
    "throughput --connections 1,32,256",
    "throughput --rounds 3 --body-bytes 1024,65536,1048576",
    "http2",
    "latency --rounds 3",
    "sequential",
    "remembered --rounds 3",
    "cold",
    "start",
    "idle",
    "mixed --rounds 3",
    "scaling",
    "pipelines",
    "call",
    "initialise",
    "instructions",
];

/// The commands of a quick run, which checks that everything works.
const QUICK: [&str; 15] = [
    "throughput --rounds 2 --seconds 1 --connections 1,32,256",
    "throughput --rounds 2 --seconds 1 --body-bytes 1024,65536,1048576",
    "http2 --rounds 2 --seconds 1",
    "latency --rounds 2 --seconds 1",
    "sequential --rounds 2 --seconds 1 --rate-seconds 2 --idle-seconds 5",
    "remembered --rounds 1 --seconds 1 --exponents 1.1 --duplicates 20",
    "cold --rounds 2 --functions 100",
    "start --rounds 5 --functions 1,1000",
    "idle --seconds 5 --load-seconds 1 --functions 1,1000",
    "mixed --rounds 2 --seconds 2 --fibonacci 38",
    "scaling --rounds 2 --seconds 1",
    "pipelines --rounds 2 --calls 200 --items 1000",
    "call --rounds 2 --calls 5000",
    "initialise --rounds 2 --calls 50 --functions 5",
    "instructions --rounds 1 --requests 500",
];

/// The subcommands that can measure Spin.
const WITH_SPIN: [&str; 4] = ["throughput", "latency", "start", "idle"];

/// The content of `results.json`.
#[derive(Debug, Serialize)]
struct Record {
    machine: String,
    /// The commit of the repository, if git knows it.
    commit: Option<String>,
    finished_at_unix_s: u64,
    commands: Vec<CommandRecord>,
}

/// A command line and its results.
#[derive(Debug, Serialize)]
struct CommandRecord {
    command: String,
    sections: Vec<Section>,
    failed: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot create `{}`", args.out.display()))?;
    let mut record = Record {
        machine: machine::description(),
        commit: commit(),
        finished_at_unix_s: 0,
        commands: Vec::new(),
    };
    let cores = cores::allowed()?;
    let commands = if args.quick { QUICK } else { FULL };
    let selected = |command: &&str| args.only.as_ref().is_none_or(|only| command.contains(only.as_str()));
    for command in commands.into_iter().filter(selected) {
        eprintln!("== {command}");
        // A command pins this thread to the load's cores; give the next one all cores.
        cores::pin(&cores)?;
        let (sections, failed) = match run_line(command, args.spin.as_deref()) {
            Ok(sections) => (sections, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        if let Some(failed) = &failed {
            eprintln!("failed: {failed}");
        }
        record.commands.push(CommandRecord { command: command.to_owned(), sections, failed });
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        record.finished_at_unix_s = now.map_or(0, |since| since.as_secs());
        write(&record, args)?;
    }
    let failed = record.commands.iter().filter(|command| command.failed.is_some()).count();
    ensure!(failed == 0, "{failed} of {} commands failed", record.commands.len());
    Ok(())
}

fn run_line(line: &str, spin: Option<&Path>) -> anyhow::Result<Vec<Section>> {
    let mut words: Vec<std::ffi::OsString> = vec!["nebula-bench".into()];
    words.extend(line.split_ascii_whitespace().map(Into::into));
    if let Some(spin) = spin
        && WITH_SPIN.iter().any(|bench| line.starts_with(bench))
    {
        words.extend(["--spin".into(), spin.into()]);
    }
    Ok(crate::Args::try_parse_from(words)?.run()?.sections())
}

fn write(record: &Record, args: &Args) -> anyhow::Result<()> {
    let sections: Vec<&Section> = record.commands.iter().flat_map(|command| &command.sections).collect();
    let file = |name: &str, content: &str| {
        let path = args.out.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write `{}`", path.display()))
    };
    file("results.json", &format!("{}\n", serde_json::to_string_pretty(record)?))?;
    file("results.md", &markdown(record, args.quick))?;
    file("chart.svg", &chart::svg(&sections))
}

fn markdown(record: &Record, quick: bool) -> String {
    let mut text = "# Results\n\n![The most important figures](chart.svg)\n\n".to_owned();
    let commit = record.commit.as_deref().unwrap_or("unknown");
    // Writing to a `String` can't fail.
    let _ = writeln!(text, "{} Commit {commit}.\n", record.machine);
    if quick {
        let _ = writeln!(text, "A quick run: the figures are a check, not to be quoted.\n");
    }
    for CommandRecord { command, sections, failed } in &record.commands {
        let _ = writeln!(text, "    nebula-bench {command}\n");
        for section in sections {
            let _ = writeln!(text, "{}", section.markdown());
        }
        if let Some(failed) = failed {
            let _ = writeln!(text, "Failed: {failed}\n");
        }
    }
    text
}

/// Describes the commit of the sources, and whether they have changes.
pub(crate) fn commit() -> Option<String> {
    let described = Command::new("git")
        .args(["describe", "--always", "--dirty"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let described = described.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&described.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partial run must not overwrite the complete record.
    #[test]
    fn a_partial_run_requires_an_output_directory() {
        let parse =
            |words: &[&str]| crate::Args::try_parse_from([&["nebula-bench", "record"], words].concat());
        assert!(parse(&["--only", "call"]).is_err());
        assert!(parse(&["--only", "call", "--out", "elsewhere"]).is_ok());
    }

    #[test]
    fn every_command_line_is_valid() {
        for line in FULL.iter().chain(&QUICK) {
            let words = ["nebula-bench"].into_iter().chain(line.split_ascii_whitespace());
            crate::Args::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }
}
