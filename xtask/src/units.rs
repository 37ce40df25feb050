//! Checks that no two cargo commands build wasmtime with different features.
//!
//! cargo unifies the features of a crate over the packages that a command selects. If two commands
//! select different features for wasmtime or one of its dependencies, each compiles its own
//! wasmtime, which takes minutes. The check compares cargo's unit graphs, without building
//! anything.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use serde_json::Value;

use crate::command::{cargo, output};

/// The packages that developers build with `--package`.
const PACKAGES: &[&str] = &["nebula-cli", "nebula-bench"];

/// Crates that all commands share in the `dev` profile, tests included.
const SHARED_IN_DEV: &[&str] = &["wasmtime", "wasmtime-internal-cranelift"];

/// Crates that all commands share in the `release` profile. Tests use other features of tokio, on
/// which the last two depend, so the `dev` profile can't share these.
const SHARED_IN_RELEASE: &[&str] =
    &["wasmtime", "wasmtime-internal-cranelift", "wasmtime-wasi-http", "hyper"];

/// A crate to compile, with one set of features.
struct Unit {
    /// `name@version`.
    package: String,
    target: String,
    features: Vec<String>,
    /// The hashes of the units that this one depends on.
    dependencies: Vec<u64>,
}

/// The units that one command builds, by a hash of everything that distinguishes them: package,
/// target, mode, platform, features, profile and dependencies.
type Units = HashMap<u64, Unit>;

/// Compares the builds and tests of the workspace and of each package in [`PACKAGES`].
pub(crate) fn check() -> Result<(), String> {
    let command = |arguments: &[&str]| arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let builds = PACKAGES.iter().map(|package| command(&["build", "--package", package]));
    let builds: Vec<Vec<String>> = std::iter::once(command(&["build"])).chain(builds).collect();
    compare("release", &builds, SHARED_IN_RELEASE)?;

    let tests = PACKAGES.iter().map(|package| command(&["test", "--no-run", "--package", package]));
    let workspace = [&["test", "--workspace", "--no-run"][..], &["build", "--workspace", "--bin", "nebula"]];
    let dev: Vec<Vec<String>> = builds.iter().cloned().chain(tests).chain(workspace.map(command)).collect();
    compare("dev", &dev, SHARED_IN_DEV)?;
    eprintln!("{} packages share one wasmtime", PACKAGES.len());
    Ok(())
}

/// Checks that all commands compile the crates in `shared` in the same way as the first command.
fn compare(profile: &str, commands: &[Vec<String>], shared: &[&str]) -> Result<(), String> {
    let mut first: Option<(String, Units)> = None;
    for command in commands {
        let shown = format!("cargo {} --profile {profile}", command.join(" "));
        let units = units(profile, command)?;
        let Some((reference, expected)) = &first else {
            first = Some((shown, units));
            continue;
        };
        let is_shared = |unit: &Unit| shared.iter().any(|name| unit.package.starts_with(&format!("{name}@")));
        let differs = |(id, unit): &(&u64, &Unit)| is_shared(unit) && !expected.contains_key(*id);
        if let Some((_, unit)) = units.iter().find(differs) {
            return Err(format!(
                "`{shown}` compiles {} with other features than `{reference}`:\n{}\n\n\
                 hint: add the missing features to host/runtime/Cargo.toml",
                unit.package,
                differences(&units, expected)
            ));
        }
    }
    Ok(())
}

/// Lists the units that cause a difference: their own features differ, and none of their
/// dependencies does.
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

/// Returns the units that a cargo command would compile.
fn units(profile: &str, command: &[String]) -> Result<Units, String> {
    // `--unit-graph` is unstable and the pinned toolchain is stable.
    let mut cargo = cargo(".");
    cargo.env("RUSTC_BOOTSTRAP", "1").args(command).args(["--profile", profile]);
    let graph = output(cargo.args(["-Z", "unstable-options", "--unit-graph"]))?;
    let graph: Value = serde_json::from_slice(&graph).map_err(|error| error.to_string())?;
    let list = graph["units"].as_array().ok_or("unknown format of cargo's unit graph")?;
    let mut ids = vec![None; list.len()];
    let mut units = Units::new();
    for index in 0..list.len() {
        add_unit(list, index, &mut ids, &mut units);
    }
    Ok(units)
}

/// Adds the unit at `index` and its dependencies to `units`, and returns the hash of the unit.
fn add_unit(list: &[Value], index: usize, ids: &mut [Option<u64>], units: &mut Units) -> u64 {
    if let Some(id) = ids[index] {
        return id;
    }
    let unit = &list[index];
    let dependencies: Vec<usize> = unit["dependencies"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|dependency| usize::try_from(dependency["index"].as_u64()?).ok())
        .collect();
    let mut dependencies: Vec<u64> =
        dependencies.into_iter().map(|index| add_unit(list, index, ids, units)).collect();
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
