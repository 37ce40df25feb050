//! Replays the corpus of each fuzz target as an ordinary test.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use nebula_fuzz::TARGETS;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_target_passes_on_its_corpus() {
    for (name, run) in TARGETS {
        let corpus = here().join("corpus").join(name);
        let mut replayed = 0;
        for entry in fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{}: {error}", corpus.display())) {
            let file = entry.unwrap().path();
            let input = fs::read(&file).unwrap();
            assert!(catch_unwind(|| run(&input)).is_ok(), "{name} fails on {}", file.display());
            replayed += 1;
        }
        assert!(replayed > 0, "{name} has no corpus");
    }
}

#[test]
fn every_target_has_a_harness() {
    let harnesses: BTreeSet<String> = fs::read_dir(here().join("fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(harnesses, targets);
}
