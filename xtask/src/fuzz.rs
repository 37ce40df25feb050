//! Fuzzes the code that parses untrusted bytes, with cargo-fuzz.
//!
//! ```text
//! fuzz/fuzz_targets/    one file for each target
//! fuzz/corpus/          the inputs to start from; a test in fuzz/ replays them
//! target/fuzz/corpus/   inputs that a run discovers
//! fuzz/artifacts/       inputs that crash
//! ```
//!
//! After a bug is fixed, move the input that found it to `fuzz/corpus/`.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::command::{root, run};
use crate::tools;

/// The time to fuzz each target by default.
const SECONDS: u64 = 60;

/// The target that compares two servers on every input, and so runs fewer of them.
const SLOW: &str = "fast_path";

/// Flags of a build. The folder to build in follows. The targets are safe Rust, so the address
/// sanitizer would only cost time.
const BUILD_FLAGS: [&str; 7] =
    ["--fuzz-dir", "fuzz", "--features", "libfuzzer", "--sanitizer", "none", "--target-dir"];

/// Fuzzes one target, or all of them: `[TARGET] [--seconds N]`.
pub(crate) fn fuzz(options: &[&str]) -> Result<(), String> {
    let (target, seconds) = match options {
        [] => (None, SECONDS),
        ["--seconds", seconds] => (None, number(seconds)?),
        [target] => (Some(*target), SECONDS),
        [target, "--seconds", seconds] | ["--seconds", seconds, target] => (Some(*target), number(seconds)?),
        _ => return Err("usage: cargo xtask fuzz [TARGET] [--seconds N]".to_owned()),
    };
    match target {
        None => all(seconds),
        Some(target) => one(target, seconds),
    }
}

/// Fuzzes every target, as many at a time as there are cores, the slow one for twice the time. What
/// a target prints goes to `target/fuzz/TARGET.log`.
pub(crate) fn all(seconds: u64) -> Result<(), String> {
    run(cargo_fuzz("build")?.args(BUILD_FLAGS).arg(build_folder()))?;
    let (mut targets, next) = (targets()?, AtomicUsize::new(0));
    // The longest first, so that the cores finish at about the same time.
    targets.sort_by_key(|target| target != SLOW);
    let fuzz_next = || {
        let mut failures = Vec::new();
        while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let factor = if target == SLOW { 2 } else { 1 };
            failures.extend(logged(target, seconds * factor).err());
        }
        failures
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let failures = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(fuzz_next)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| vec!["a thread panicked".to_owned()]))
            .collect::<Vec<_>>()
            .concat()
    });
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// Fuzzes one target, and writes its output to a file.
fn logged(target: &str, seconds: u64) -> Result<(), String> {
    let path = build_folder().join(format!("{target}.log"));
    let failed = |error: std::io::Error| format!("cannot write `{}`: {error}", path.display());
    let log = File::create(&path).map_err(failed)?;
    let mut fuzz = fuzzing(target, seconds)?;
    fuzz.stdout(log.try_clone().map_err(failed)?).stderr(log);
    eprintln!("fuzzing {target} for {seconds} s, see {}", path.display());
    let status = fuzz.status().map_err(|error| format!("cannot run cargo-fuzz: {error}"))?;
    let output = std::fs::read(&path).map_err(failed)?;
    let output = String::from_utf8_lossy(&output);
    eprintln!("{target}: {}", output.lines().rfind(|line| line.starts_with("Done ")).unwrap_or("no runs"));
    if status.success() { Ok(()) } else { Err(format!("{target} failed, see `{}`", path.display())) }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))
}

/// Returns the names of all targets, sorted.
fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries =
        std::fs::read_dir(&folder).map_err(|error| format!("cannot read `{}`: {error}", folder.display()))?;
    let files = entries.flatten().map(|entry| entry.path());
    let mut targets: Vec<String> =
        files.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    targets.sort();
    Ok(targets)
}

fn one(target: &str, seconds: u64) -> Result<(), String> {
    let targets = targets()?;
    if !targets.iter().any(|name| name == target) {
        return Err(format!("unknown fuzz target `{target}`; the targets are {}", targets.join(", ")));
    }
    run(&mut fuzzing(target, seconds)?)
}

/// Returns the command that fuzzes a target.
fn fuzzing(target: &str, seconds: u64) -> Result<Command, String> {
    let discovered = build_folder().join("corpus").join(target);
    std::fs::create_dir_all(&discovered)
        .map_err(|error| format!("cannot create `{}`: {error}", discovered.display()))?;
    let mut fuzz = cargo_fuzz("run")?;
    fuzz.args(BUILD_FLAGS).arg(build_folder());
    fuzz.arg(target).arg(&discovered).arg(root().join("fuzz/corpus").join(target));
    fuzz.arg("--").arg(format!("-max_total_time={seconds}"));
    Ok(fuzz)
}

fn cargo_fuzz(subcommand: &str) -> Result<Command, String> {
    let mut fuzz = Command::new(tools::fuzz()?);
    fuzz.current_dir(root());
    // cargo-fuzz requires a nightly compiler. This makes the pinned stable one accept its flags.
    fuzz.env("RUSTC_BOOTSTRAP", "1");
    // A fuzzer can't use two settings of the release profile: LTO, and stripping the symbols that
    // its crash reports need.
    fuzz.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_STRIP", "none")]);
    fuzz.args(["fuzz", subcommand]);
    Ok(fuzz)
}

fn build_folder() -> PathBuf {
    root().join("target/fuzz")
}
