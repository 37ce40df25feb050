//! Checks that no two commands build wasmtime with different features.
//!
//! cargo chooses the features of a crate from the packages that a command names. A set that differs anywhere below
//! wasmtime has all of wasmtime compiled again, which takes minutes.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::{cargo, output};

/// The packages that people build by name.
const PACKAGES: &[&str] = &["nebula-cli", "nebula-bench"];

/// Crates that are compiled once only, for tests and for everything else.
const ALWAYS_ONCE: &[&str] = &["wasmtime", "wasmtime-internal-cranelift"];

/// Crates that are compiled once only in a build for use: tests have another tokio below them.
const ONCE_TO_USE: &[&str] = &["wasmtime", "wasmtime-internal-cranelift", "wasmtime-wasi-http", "hyper"];

/// One crate to compile, in one way.
struct Unit {
    /// Name and version.
    package: String,
    target: String,
    features: Vec<String>,
    dependencies: Vec<u64>,
}

/// What one command builds, by a hash over all that decides a unit: its package, features, profile and dependencies.
type Units = HashMap<u64, Unit>;

pub(crate) fn check() -> Result<(), String> {
    let command = |arguments: &[&str]| arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let builds = PACKAGES.iter().map(|package| command(&["build", "--package", package]));
    let builds: Vec<Vec<String>> = std::iter::once(command(&["build"])).chain(builds).collect();
    compare("release", &builds, ONCE_TO_USE)?;

    let tests = PACKAGES.iter().map(|package| command(&["test", "--no-run", "--package", package]));
    let whole = [&["test", "--workspace", "--no-run"][..], &["build", "--workspace", "--bin", "nebula"]];
    let dev: Vec<Vec<String>> = builds.iter().cloned().chain(tests).chain(whole.map(command)).collect();
    compare("dev", &dev, ALWAYS_ONCE)?;
    eprintln!("{} packages share one wasmtime", PACKAGES.len());
    Ok(())
}

/// Checks that the other commands compile the crates in `once` as the first does.
fn compare(profile: &str, commands: &[Vec<String>], once: &[&str]) -> Result<(), String> {
    let mut first: Option<(String, Units)> = None;
    for command in commands {
        let shown = format!("cargo {} --profile {profile}", command.join(" "));
        let units = units(profile, command)?;
        let Some((reference, expected)) = &first else {
            first = Some((shown, units));
            continue;
        };
        let is_once = |unit: &Unit| once.iter().any(|name| unit.package.starts_with(&format!("{name}@")));
        if let Some((_, again)) = units.iter().find(|(id, unit)| is_once(unit) && !expected.contains_key(*id))
        {
            return Err(format!(
                "`{shown}` compiles {} in another way than `{reference}`:\n{}\n\n\
                 hint: ask for the same features in host/runtime/Cargo.toml",
                again.package,
                differences(&units, expected)
            ));
        }
    }
    Ok(())
}

/// The units whose dependencies are those of the other command, and which differ all the same.
fn differences(units: &Units, expected: &Units) -> String {
    let mut others: BTreeMap<(&str, &str), Vec<&Unit>> = BTreeMap::new();
    for unit in expected.values() {
        others.entry((&unit.package, &unit.target)).or_default().push(unit);
    }
    let mut lines: Vec<String> = Vec::new();
    for (id, unit) in units {
        let is_cause = unit.dependencies.iter().all(|id| expected.contains_key(id));
        if expected.contains_key(id) || !is_cause {
            continue;
        }
        for other in others.get(&(unit.package.as_str(), unit.target.as_str())).into_iter().flatten() {
            lines.push(format!("  {}: {:?} instead of {:?}", unit.package, unit.features, other.features));
        }
    }
    lines.sort();
    lines.join("\n")
}

/// What cargo would compile.
fn units(profile: &str, command: &[String]) -> Result<Units, String> {
    // The pinned toolchain is a stable one; the option is not.
    let mut cargo = cargo(".");
    cargo.env("RUSTC_BOOTSTRAP", "1").args(command).args(["--profile", profile]);
    let graph = output(cargo.args(["-Z", "unstable-options", "--unit-graph"]))?;
    let graph: Value = serde_json::from_slice(&graph).map_err(|error| error.to_string())?;
    let list = graph["units"].as_array().ok_or("cargo's unit graph has another form")?;
    let mut ids = vec![None; list.len()];
    let mut units = Units::new();
    for index in 0..list.len() {
        identify(list, index, &mut ids, &mut units);
    }
    Ok(units)
}

/// Adds the unit at `index` and those below it; returns its hash.
fn identify(list: &[Value], index: usize, ids: &mut [Option<u64>], units: &mut Units) -> u64 {
    if let Some(id) = ids[index] {
        return id;
    }
    let unit = &list[index];
    let below: Vec<usize> = unit["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|dependency| usize::try_from(dependency["index"].as_u64()?).ok())
        .collect();
    let mut dependencies: Vec<u64> =
        below.into_iter().map(|index| identify(list, index, ids, units)).collect();
    dependencies.sort_unstable();
    let mut profile = unit["profile"].clone();
    if let Some(profile) = profile.as_object_mut() {
        profile.remove("name");
    }
    let mut hasher = DefaultHasher::new();
    for part in
        [&unit["pkg_id"], &unit["target"], &unit["mode"], &unit["platform"], &unit["features"], &profile]
    {
        part.to_string().hash(&mut hasher);
    }
    dependencies.hash(&mut hasher);
    let id = hasher.finish();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let features = unit["features"].as_array().into_iter().flatten().map(text).collect();
    let package = text(&unit["pkg_id"]);
    let package = package.rsplit(['#', '/']).next().unwrap_or_default().to_owned();
    units.insert(id, Unit { package, target: text(&unit["target"]["name"]), features, dependencies });
    ids[index] = Some(id);
    id
}
