//! `nebula serve`: starting, draining, restarts, crashes, the data directory, socket activation.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nebula_tests::{Nebula, eventually, guests, nebula};

/// Runs `nebula serve` with arguments that make it exit.
fn serve(arguments: &[&str]) -> nebula_tests::CommandRun {
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0"];
    all.extend(arguments);
    // Without a data directory it would make one where it runs.
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().display().to_string();
    if !arguments.contains(&"--data-dir") {
        all.extend(["--data-dir", &directory]);
    }
    nebula(&all)
}

#[test]
fn a_data_directory_is_locked_by_its_server() {
    let first = Nebula::start();
    let directory = first.data_dir().display().to_string();
    serve(&["--data-dir", &directory])
        .exits(1)
        .explains("is in use by another process")
        .explains(&format!("(pid {})", first.pid()))
        .explains("hint: stop the other server");
    first.get("/healthz").is(200);
    // The lock is released when its holder exits, even when it is killed.
    let home = first.home();
    first.kill();
    Nebula::start_over(home, &[]).get("/healthz").is(200);
}

/// A server whose address is taken names the process that has it, and offers free ports.
#[test]
fn a_port_in_use_is_reported() {
    let first = Nebula::start();
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for (flag, address) in [("--listen", first.calls_address()), ("--control", first.control_address())] {
        for command in [&["serve"][..], &["up", repository]] {
            let home = tempfile::tempdir().unwrap();
            let other = if flag == "--listen" { "--control" } else { "--listen" };
            let directory = home.path().display().to_string();
            let address = address.to_string();
            let addresses = [flag, &address, other, "127.0.0.1:0", "--data-dir", &directory];
            nebula(&[command, &addresses].concat())
                .exits(1)
                .explains(&format!("cannot listen on {address}"))
                .explains(&format!("hint: process {} (`", first.pid()))
                .explains(" serve --listen 127.0.0.1:0")
                .explains("take free ports with `--listen 127.0.0.1:0 --control 127.0.0.1:0`");
        }
    }
    first.get("/healthz").is(200);
}

/// A server keeps the mode of an existing directory. It warns because anyone who can write to the
/// directory controls the server.
#[test]
fn a_data_directory_open_to_others_is_reported() {
    let fresh = Nebula::start();
    assert_eq!(fresh.data_dir().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(!fresh.stderr().contains("WARN"), "{}", fresh.stderr());
    let (home, directory) = (fresh.home(), fresh.data_dir());
    fresh.kill();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o750)).unwrap();
    let nebula = Nebula::start_over(home, &[]);
    let line = eventually("the server warns", || {
        nebula.stderr().lines().find(|line| line.contains(" WARN ")).map(str::to_owned)
    });
    assert!(line.contains("(mode 0750)"), "{line}");
    assert!(line.ends_with(&format!("hint: `chmod 700 {}`", directory.display())), "{line}");
}

/// Not even root can create a directory in `/proc`.
#[test]
fn an_unwritable_data_directory_is_reported() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = file.path().join("data").display().to_string();
    for directory in ["/proc/nebula", &below_a_file] {
        serve(&["--data-dir", directory])
            .exits(1)
            .explains("cannot write to the data directory")
            .explains("hint: give one that this user may write to");
    }
}

#[test]
fn a_data_directory_of_an_unknown_format_is_refused_unchanged() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("FORMAT"), "nebula registry 99\n").unwrap();
    serve(&["--data-dir", &home.path().display().to_string()]).exits(1).explains("nebula registry 99");
    assert_eq!(std::fs::read_to_string(home.path().join("FORMAT")).unwrap(), "nebula registry 99\n");
}

/// `tests/data` has a directory of each format that a release has made, with the same functions.
#[test]
fn a_data_directory_of_each_earlier_format_is_served_and_takes_deploys() {
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    for format in ["registry-1", "registry-2"] {
        let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
        copy_all(&data.join(format), &nebula_tests::data_dir_in(&home));
        let nebula = Nebula::start_over(home, &[]);
        let answers = |nebula: &Nebula| {
            nebula.post("/f/double", "5").is(200).says("10");
            nebula.post("/f/double@v2", "5").is(200).says("15");
            nebula.post("/f/sum", "5").is(200).says("11");
            nebula.post("/f/chain", "5").is(200).says("21");
            nebula.post("/f/gone", "5").is(404);
        };
        answers(&nebula);
        nebula.redeploy("new", guests::ADDS);
        answers(&nebula);
        let home = nebula.home();
        nebula.terminate();
        nebula.terminate_and_wait();
        let nebula = Nebula::start_over(home, &[]);
        answers(&nebula);
        nebula.post("/f/new", r#"{"a":1,"b":2}"#).is(200).says("3");
    }
}

fn copy_all(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_all(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn functions_versions_and_the_token_survive_a_restart() {
    let mut nebula =
        Nebula::start().deploy("f", guests::GREETS).deploy("f", guests::COUNTS).deploy("g", guests::ADDS);
    nebula.control("POST", "/api/v1/functions/f/rollback").send().is(200);
    let token = std::fs::read_to_string(nebula.data_dir().join("token")).unwrap();
    let home = nebula.home();
    nebula.terminate();
    nebula.wait_for_exit();
    drop(nebula);

    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/f", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.post("/f/f@v2", "").is(200).says("1");
    nebula.post("/f/g", r#"{"a":1,"b":2}"#).is(200).says("3");
    assert_eq!(std::fs::read_to_string(nebula.data_dir().join("token")).unwrap(), token);
    assert_eq!(nebula.redeploy("f", guests::ADDS).json()["version"], "v3");
}

/// A deploy is durable once it is acknowledged.
#[test]
fn an_acknowledged_deploy_survives_a_kill() {
    let mut home = Nebula::start().home();
    for (round, component) in [guests::GREETS, guests::COUNTS, guests::ADDS].into_iter().enumerate() {
        let nebula = Nebula::start_over(home, &[]);
        home = nebula.home();
        nebula.redeploy(&format!("f{round}"), component);
        nebula.kill();
    }
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/f0", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.post("/f/f1", "").is(200).says("1");
    nebula.post("/f/f2", r#"{"a":1,"b":2}"#).is(200).says("3");
}

/// Compiled code is authenticated before use and can be derived again from the component.
#[test]
fn damaged_compiled_code_is_compiled_again() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let (home, directory) = (nebula.home(), nebula.data_dir().join("compiled"));
    nebula.kill();
    let mut damaged = 0;
    for compatibility in std::fs::read_dir(&directory).unwrap() {
        for file in std::fs::read_dir(compatibility.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            // The MAC at the end of the file stays unchanged and no longer matches.
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    let nebula = Nebula::start_over(home, &[]);
    nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
}

/// On SIGTERM the server answers the calls in flight, accepts no new connections, and exits
/// successfully.
#[test]
fn calls_in_flight_are_answered_before_the_server_stops() {
    let mut nebula = Nebula::start();
    nebula.put("slow?deadline_ms=1500", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let idle = cpu_ticks(nebula.pid());
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| nebula.post("/f/slow", ""));
        // The server uses CPU time only once the call runs; before that it has nothing to drain.
        eventually("the call runs", || (cpu_ticks(nebula.pid()) > idle + 3).then_some(()));
        nebula.terminate();
        eventually("the server accepts no connections", || {
            TcpStream::connect_timeout(&nebula.calls_address(), Duration::from_secs(1)).is_err().then_some(())
        });
        assert!(!slow.is_finished(), "the call ended before the drain began");
        slow.join().unwrap().is(504);
    });
    nebula.wait_for_exit();
    assert!(nebula.stderr().contains("stopping"), "{}", nebula.stderr());
}

/// Calls that are still running after `--drain-seconds` are cancelled, however long their deadline.
#[test]
fn draining_ends_after_the_configured_time() {
    use std::io::Write;

    let mut nebula = Nebula::start_with(&["--drain-seconds", "1"]);
    nebula.put("slow?deadline_ms=600000", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let idle = cpu_ticks(nebula.pid());
    let mut stream = TcpStream::connect(nebula.calls_address()).unwrap();
    stream.write_all(b"POST /f/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n").unwrap();
    eventually("the call runs", || (cpu_ticks(nebula.pid()) > idle + 3).then_some(()));
    nebula.terminate();
    nebula.wait_for_exit();
}

/// Returns the user and system time of a process in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn flags_may_be_environment_variables() {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let nebula = Nebula::run(home, &["serve"], std::path::Path::new("/"), &[("NEBULA_THREADS", "1")]);
    nebula.get("/readyz").is(200);
    let threads = std::fs::read_dir(format!("/proc/{}/task", nebula.pid())).unwrap();
    let names = threads.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap());
    assert_eq!(names.filter(|name| name.starts_with("nebula-data-")).count(), 1);
}

/// A server started by socket activation exits when it is idle. The next connection waits in the
/// socket's queue and is answered by the next server.
#[test]
fn socket_activated_servers_answer_queued_connections() {
    use std::io::{Read, Write};

    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    Nebula::start_over(std::sync::Arc::clone(&home), &[])
        .deploy("greets", guests::GREETS)
        .terminate_and_wait();

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(
                b"POST /f/greets HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
                  content-type: application/json\r\ncontent-length: 5\r\n\r\n\"you\"",
            )
            .unwrap();
        let mut nebula =
            nebula_tests::spawn_with_socket(&home, &listener, &["--exit-after-idle-seconds", "1"]);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("\"Hello, you!\""), "{answer}");
        let status = eventually("the server exits", || nebula.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }
}

/// The listener exists by then, so clients would connect and wait forever if the server stayed.
#[test]
fn a_server_whose_engine_cannot_start_exits() {
    serve(&["--instances-max", "1000000"]).exits(1).explains("the engine cannot start");
}

/// With slots for one or two instances, calls run one after the other and none fails.
#[test]
fn calls_succeed_with_few_instance_slots() {
    for instances in ["1", "2"] {
        let nebula = Nebula::start_uncached_with(&["--threads", "1", "--instances-max", instances])
            .deploy("greets", guests::GREETS)
            .deploy("counts", guests::COUNTS);
        for round in 0..10 {
            nebula.post("/f/greets", "\"you\"").is(200).says("\"Hello, you!\"");
            nebula.post("/f/counts", "").is(200).says("1");
            if round % 3 == 0 {
                nebula.put(
                    &format!("greets?log_bytes_max={}", round + 1),
                    &std::fs::read(guests::GREETS).unwrap(),
                );
            }
        }
    }
}

/// The server removes components without a name some time after its start.
#[test]
fn orphaned_components_are_removed() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let home = nebula.home();
    let components = nebula.data_dir().join("components");
    nebula.kill();
    let orphan = components.join("0".repeat(64));
    std::fs::write(&orphan, b"left over").unwrap();
    let nebula = Nebula::start_over(home, &[]);
    eventually("the orphan is removed", || (!orphan.exists()).then_some(()));
    nebula.post("/f/greets", "\"you\"").is(200);
    assert_eq!(std::fs::read_dir(&components).unwrap().count(), 1);
}
