//! Fuzzes what reads bytes from outside: `fuzz/fuzz_targets/`, each beginning from its kept corpus.
//!
//! New inputs go to `target/fuzz/corpus/`; one that crashes goes to `fuzz/artifacts/`. An input that found a bug is
//! kept in `fuzz/corpus/`, where an ordinary test replays it.

use std::process::Command;

use crate::{root, run, tools};

const SECONDS: u64 = 60;

/// `[TARGET] [--seconds N]`
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

/// Fuzzes one target after the other.
pub(crate) fn all(seconds: u64) -> Result<(), String> {
    targets()?.iter().try_for_each(|target| one(target, seconds))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number of seconds"))
}

/// The names of all targets.
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
    let known = targets()?;
    if !known.iter().any(|known| known == target) {
        return Err(format!("there is no fuzz target `{target}`: {}", known.join(", ")));
    }
    let build = root().join("target/fuzz");
    let found = build.join("corpus").join(target);
    std::fs::create_dir_all(&found)
        .map_err(|error| format!("cannot create `{}`: {error}", found.display()))?;
    let mut fuzz = Command::new(tools::fuzz()?);
    fuzz.current_dir(root());
    // cargo-fuzz asks for a nightly compiler; the pinned stable one has all that it uses.
    fuzz.env("RUSTC_BOOTSTRAP", "1");
    // The settings of the release profile that a fuzzer can't use: symbols are what its reports are made of.
    fuzz.envs([("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_STRIP", "none")]);
    fuzz.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--features", "libfuzzer", "--target-dir"]).arg(&build);
    // The targets are safe Rust: an address sanitizer would only slow them down.
    fuzz.args(["--sanitizer", "none", target]).arg(&found).arg(root().join("fuzz/corpus").join(target));
    run(fuzz.arg("--").arg(format!("-max_total_time={seconds}")))
}
