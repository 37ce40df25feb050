//! `--experiment`: the control plane shows the chart of an experiment, and nothing else of its
//! directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nebula_tests::{Answer, Nebula};

const PATH: &str = "/api/v1/experiment";

/// The experiment of this repository.
fn experiment() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/experiment")
}

fn get(nebula: &Nebula) -> Answer {
    nebula.control("GET", PATH).send()
}

#[test]
fn the_chart_of_the_experiment_is_shown() {
    let experiment = experiment();
    let nebula = Nebula::start_with(&["--experiment", experiment.to_str().unwrap()]);
    let chart = fs::read(experiment.join("charts/start-time.svg")).unwrap();
    let answer = get(&nebula).is(200).bytes(&chart).has("content-type", "image/svg+xml");
    answer
        .has("x-content-type-options", "nosniff")
        .has("content-security-policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'");
    nebula.control_without_token("GET", PATH).send().is(401).problem("unauthorized");
    // Nothing in a request names a file.
    for path in ["/raw", "/../report.html", "/%2e%2e/results.md", "/charts/start-cpu.svg"] {
        nebula.control("GET", &format!("{PATH}{path}")).send().is(404).problem("unknown-path");
    }
    nebula.control("GET", &format!("{PATH}?chart=../results.md")).send().is(200).bytes(&chart);
}

/// The file is read for each request, so a later run of the experiment shows without a restart.
#[test]
fn a_directory_without_a_chart_is_a_404_until_it_has_one() {
    let directory = tempfile::tempdir().unwrap();
    let shown = directory.path().join("experiment");
    let variables = [("NEBULA_EXPERIMENT", shown.to_str().unwrap())];
    let nebula = Nebula::run(Arc::new(tempfile::tempdir().unwrap()), &["serve"], Path::new("/"), &variables);
    let absent = |detail: &str| {
        let problem = get(&nebula).is(404).problem("no-experiment");
        problem.detail(detail).mentions("hint", "cargo xtask experiment");
    };
    absent("has no `charts/start-time.svg`");
    fs::create_dir_all(shown.join("charts")).unwrap();
    let chart = shown.join("charts/start-time.svg");
    absent("has no `charts/start-time.svg`");
    for content in ["<svg/>", "<svg></svg>"] {
        fs::write(&chart, content).unwrap();
        get(&nebula).is(200).says(content);
    }
    // A chart has some kilobytes.
    fs::write(&chart, vec![b' '; 1024 * 1024]).unwrap();
    get(&nebula).is(200);
    fs::write(&chart, vec![b' '; 1024 * 1024 + 1]).unwrap();
    absent("is over 1048576 bytes");
    fs::remove_file(&chart).unwrap();
    // Reading a pipe would never end.
    let pipe = std::process::Command::new("mkfifo").arg(&chart).status().unwrap();
    assert!(pipe.success());
    absent("has no `charts/start-time.svg`");
    fs::remove_file(&chart).unwrap();
    fs::create_dir(&chart).unwrap();
    absent("has no `charts/start-time.svg`");
}

#[test]
fn a_server_without_an_experiment_says_how_to_show_one() {
    let nebula = Nebula::start();
    let problem = get(&nebula).is(404).problem("no-experiment");
    problem.detail("shows no experiment").mentions("hint", "--experiment DIR");
}
