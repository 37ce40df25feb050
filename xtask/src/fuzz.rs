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

use std::process::Command;

use crate::command::{root, run};
use crate::tools;

/// The time to fuzz each target by default.
const SECONDS: u64 = 60;

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

/// Fuzzes every target, one after the other.
pub(crate) fn all(seconds: u64) -> Result<(), String> {
    targets()?.iter().try_for_each(|target| one(target, seconds))
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
    let build = root().join("target/fuzz");
    let discovered = build.join("corpus").join(target);
    std::fs::create_dir_all(&discovered)
        .map_err(|error| format!("cannot create `{}`: {error}", discovered.display()))?;
    let mut fuzz = Command::new(tools::fuzz()?);
    fuzz.current_dir(root());
    // cargo-fuzz requires a nightly compiler. This makes the pinned stable one accept its flags.
    fuzz.env("RUSTC_BOOTSTRAP", "1");
    // A fuzzer can't use two settings of the release profile: LTO, and stripping the symbols that
    // its crash reports need.
    fuzz.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_STRIP", "none")]);
    fuzz.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--features", "libfuzzer", "--target-dir"]).arg(&build);
    // The targets are safe Rust, so the address sanitizer would only cost time.
    fuzz.args(["--sanitizer", "none", target]).arg(&discovered).arg(root().join("fuzz/corpus").join(target));
    run(fuzz.arg("--").arg(format!("-max_total_time={seconds}")))
}
