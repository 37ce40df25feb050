//! Tests of finding and removing what a run has left behind.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// The number of a process that has ended.
pub(crate) fn ended_process() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// Starts a process that waits and starts no other, with more arguments.
fn waiting(arguments: &[&str]) -> Child {
    let mut wait = Command::new("sh");
    wait.args(["-c", "read line", "sh"]).args(arguments);
    let child = wait.stdin(Stdio::piped()).spawn().unwrap();
    // The kernel sets the arguments after the start.
    while std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty() {
        std::thread::yield_now();
    }
    child
}

#[test]
fn only_names_of_runs_are_parsed() {
    assert_eq!(RunId::parse("nebula-experiment-17"), Some(RunId::of(17)));
    for other in [
        "nebula-experiment-",
        "nebula-experiment-x",
        "nebula-experiment-+7",
        "nebula-experiment-07",
        "17",
        "",
    ] {
        assert_eq!(RunId::parse(other), None, "{other}");
    }
}

#[test]
fn a_run_is_over_when_its_number_is_free_or_that_of_another_program() {
    assert!(!RunId::of(ended_process()).is_running());
    for (arguments, expected) in [(&["experiment", "--check"], true), (&["record", "experiments"], false)] {
        let mut child = waiting(arguments);
        assert_eq!(RunId::of(child.id()).is_running(), expected, "{arguments:?}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn mounts_below_a_directory_are_found() {
    let mountinfo = "30 1 0:26 / /dev/shm rw - tmpfs tmpfs rw\n\
                     31 30 0:27 / /dev/shm/run/root/overlay rw - overlay overlay rw\n\
                     32 30 0:28 / /dev/shm/running rw - tmpfs tmpfs rw\n";
    let found = mounts_below(mountinfo, Path::new("/dev/shm/run"));
    assert_eq!(found, [PathBuf::from("/dev/shm/run/root/overlay")]);
}

/// A killed run: groups at two levels with processes, files and a mount.
#[test]
fn what_a_killed_run_has_left_behind_is_removed() {
    let run = RunId::of(ended_process());
    for directory in [run.files(), run.files_in_memory()] {
        std::fs::create_dir(&directory).unwrap();
        std::fs::write(directory.join("file"), "content").unwrap();
    }
    let mounted = run.files_in_memory().join("mounted");
    std::fs::create_dir(&mounted).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&mounted).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        println!("not tested: this process may not mount");
    }
    let accounts = account::Accounts::open(&run.to_string());
    let mut children = Vec::new();
    match accounts.group("arm") {
        Ok(account::Group::Procfs) | Err(_) => println!("not tested: this process may not create groups"),
        Ok(group) => {
            children.extend([waiting(&[]), waiting(&[])]);
            for (child, part) in children.iter().zip(["caller", "container"]) {
                for directory in run.groups().map(|run| run.join("arm").join(part)) {
                    if directory.is_dir() {
                        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
                    }
                }
            }
            // A killed run doesn't drop it.
            std::mem::forget(group);
        }
    }
    assert!(abandoned().contains(&run));

    run.remove().unwrap();

    assert!(!abandoned().contains(&run));
    for directory in run.groups().chain([run.files(), run.files_in_memory()]) {
        assert!(!directory.exists(), "{}", directory.display());
    }
    for mut child in children {
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    }
    // A second removal finds nothing, and succeeds.
    run.remove().unwrap();
}
