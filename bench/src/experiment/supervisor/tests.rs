//! Tests of the ends of a worker. Only one of them sends a signal, because all tests of a process
//! would receive it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::experiment::remains::tests::ended_process;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn assert_nothing_is_left(run: RunId) {
    for directory in [run.files(), run.files_in_memory()] {
        assert!(!directory.exists(), "{}", directory.display());
    }
}

#[test]
fn the_end_of_the_worker_is_that_of_the_supervisor() {
    for (script, expected) in [
        ("exit 0", End::Exit(0)),
        ("touch $TMPDIR/file; exit 3", End::Exit(3)),
        ("touch $TMPDIR/file; kill -KILL $$", End::Signal(9)),
    ] {
        let run = RunId::of(ended_process());
        assert_eq!(supervise(shell(script), run).unwrap(), expected, "{script}");
        assert_nothing_is_left(run);
    }
    let run = RunId::of(ended_process());
    let error = supervise(Command::new("/no/such/program"), run).unwrap_err();
    assert!(format!("{error:#}").contains("/no/such/program"), "{error:#}");
    assert_nothing_is_left(run);
}

/// A worker that ignores the signal, and one process below it that has left its group of processes.
#[test]
fn a_signal_ends_the_worker_and_all_its_descendants() {
    let told = tempfile::tempdir().unwrap();
    let ready = told.path().join("ready");
    let mut worker = shell(
        "trap '' TERM; setsid sh -c 'echo $$ > \"$0.part\"; mv \"$0.part\" \"$0\"; sleep 600' \"$READY\" & wait; wait",
    );
    worker.env("READY", &ready);
    let signalled = std::thread::spawn({
        let ready = ready.clone();
        move || {
            let begun = Instant::now();
            while !ready.exists() && begun.elapsed() < Duration::from_secs(60) {
                std::thread::sleep(Duration::from_millis(5));
            }
            rustix::process::kill_process(rustix::process::getpid(), Signal::TERM).unwrap();
        }
    });
    let run = RunId::of(ended_process());
    let end = supervise(worker, run).unwrap();
    signalled.join().unwrap();
    assert_eq!(end, End::Signal(15));
    assert_nothing_is_left(run);
    let descendant = std::fs::read_to_string(&ready).unwrap();
    let process = PathBuf::from("/proc").join(descendant.trim());
    let is_gone = || match std::fs::read_to_string(process.join("stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    // Another process reaps it.
    let begun = Instant::now();
    while !is_gone() && begun.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(is_gone(), "{descendant}");
}
