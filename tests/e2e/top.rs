//! `nebula top`: the figures of calls that were made, as a plain table, as JSON, and live in a terminal.

use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nebula_tests::{
    Nebula, Scrape, Terminal, TerminalSize, binary, command, data_dir_in, eventually, guests, nebula_in,
};
use rustix::process::Signal;

const SIZE: TerminalSize = TerminalSize { columns: 80, rows: 24 };

fn server() -> Nebula {
    Nebula::start().deploy("adds", guests::ADDS).deploy("traps", guests::TRAPS)
}

/// Makes calls of both functions while `work` runs: most of `adds`, a few of `traps`, which fail.
fn with_traffic<T>(nebula: &Nebula, work: impl FnOnce() -> T) -> T {
    let done = &AtomicBool::new(false);
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        // Also if `work` panics.
        let _done = Done(done);
        scope.spawn(move || {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                let sum = format!("[{},1]", calls % 50);
                let sent = nebula.request("POST", "/f/adds").header("content-type", "application/json");
                // A test may stop the server.
                let _ = sent.body(sum).try_send();
                if calls % 8 == 0 {
                    let _ = nebula.request("POST", "/f/traps").try_send();
                }
                calls += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        work()
    })
}

/// Runs `nebula top` in a terminal.
fn top(nebula: &Nebula, arguments: &[&str], size: TerminalSize, variables: &[(&str, &str)]) -> Terminal {
    let remote = nebula.remote_arguments();
    let remote = remote.iter().map(String::as_str);
    let all: Vec<_> = ["top"].into_iter().chain(arguments.iter().copied()).chain(remote).collect();
    Terminal::run(&all, size, variables)
}

/// Returns the names in the rows of a table.
fn names(text: &str) -> Vec<&str> {
    let is_heading = |line: &&str| line.starts_with("function") && line.contains("calls/s");
    let rows = text.lines().skip_while(|line| !is_heading(line)).skip(1);
    rows.map_while(|line| line.split_whitespace().next()).collect()
}

/// Without a terminal there is one table, without any control character.
#[test]
fn a_plain_table_is_printed_after_one_interval() {
    let nebula = server();
    with_traffic(&nebula, || {
        eventually("both functions are called in an interval", || {
            let run = nebula.cli(&["top", "--interval", "0.3"]).exits(0);
            let text = run.stdout();
            assert!(!text.contains('\x1b') && text.starts_with("up "), "{text}");
            for part in ["calls ", "errors ", "memory ", "lane 0/64 running", "instances ", "cached "] {
                assert!(text.contains(part), "no `{part}` in:\n{text}");
            }
            let heading = text.lines().find(|line| line.starts_with("function ")).unwrap();
            assert!(heading.contains("calls/s↓") && heading.ends_with("out/s"), "{heading}");
            (names(&text) == ["adds", "traps"]).then_some(())
        });
    });
}

#[test]
fn json_has_an_object_for_each_interval() {
    let nebula = server();
    with_traffic(&nebula, || {
        eventually("both functions are called in an interval", || {
            let json = nebula.cli(&["top", "--json", "--once", "--interval", "0.3"]).exits(0).json();
            assert_eq!(json["restarted"], false);
            assert!((0.3..30.0).contains(&json["interval_s"].as_f64().unwrap()), "{json}");
            assert!(json["server"]["watts"].as_f64().is_some_and(|watts| watts > 0.0), "{json}");
            assert!(json["server"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{json}");
            let functions = json["functions"].as_array().unwrap();
            let [adds, traps] = functions.as_slice() else { return None };
            assert_eq!((&adds["name"], &traps["name"]), (&"adds".into(), &"traps".into()));
            let rate = |of: &serde_json::Value, name: &str| of[name].as_f64().unwrap();
            assert!(rate(adds, "calls_per_s") > rate(traps, "calls_per_s"), "{json}");
            let failed = rate(traps, "errors_per_s");
            assert!((failed - rate(traps, "calls_per_s")).abs() < 1e-9, "all calls of `traps` fail: {json}");
            let all = rate(adds, "calls_per_s") + failed;
            assert!((all - rate(&json["all"], "calls_per_s")).abs() < 1e-6, "{json}");
            traps["run_p50_us"].as_f64().filter(|us| *us > 0.0)
        });
    });
    // A reader that has enough ends it.
    let remote = nebula.remote_arguments().join(" ");
    let pipeline = format!("'{}' top --json --interval 0.1 {remote} | head -2", binary().display());
    let output = std::process::Command::new("bash").args(["-c", &pipeline]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("{\"at\":\"20") && line.ends_with('}')), "{lines}");
}

/// The server pays one request for each interval, and nothing else.
#[test]
fn an_interval_costs_one_request() {
    let nebula = server();
    let requests = || {
        let metrics = Scrape::of(&nebula.control("GET", "/metrics").send().is(200));
        let labels = [("plane", "control")];
        (
            metrics.sum("nebula_responses_total", &labels),
            metrics.sum("nebula_connections_accepted_total", &labels),
        )
    };
    let before = requests();
    nebula.cli(&["top", "--json", "--once", "--interval", "0.1"]).exits(0);
    let after = requests();
    // Two answers, over one connection, and the scrape before.
    assert_eq!((after.0 - before.0, after.1 - before.1), (3.0, 1.0));
}

#[test]
fn mistakes_are_reported_like_those_of_other_commands() {
    let nebula = server();
    let token = std::fs::read_to_string(nebula.data_dir().join("token")).unwrap();
    let with =
        |arguments: &[&str], token: &str| nebula_in("/".as_ref(), arguments, &[("NEBULA_TOKEN", token)]);
    with(&["top", "--server", "127.0.0.1:1"], &token)
        .exits(6)
        .explains("cannot show the stats of the server")
        .explains("no server answers");
    let address = nebula.control_address().to_string();
    with(&["top", "--json", "--server", &address], "wrong").exits(7).explains("unauthorized");
    nebula.cli(&["top", "--interval", "0"]).exits(2).explains("an interval is a number from 0.1 to 3600");
    // In a terminal, too, before the screen is used.
    let terminal = Terminal::run(&["top", "--server", "127.0.0.1:1"], SIZE, &[("NEBULA_TOKEN", &token)]);
    let ended = terminal.end().is_restored(6);
    assert!(ended.sent.contains("no server answers") && !ended.sent.contains("\x1b[?1049h"), "{ended:?}");
}

#[test]
fn the_live_table_sorts_filters_and_resizes() {
    let nebula = server();
    with_traffic(&nebula, || {
        let mut terminal = top(&nebula, &["--interval", "0.3"], SIZE, &[]);
        let text = terminal
            .until("both functions are shown", |text| names(text)[..].starts_with(&["adds", "traps"]));
        let first = text.lines().next().unwrap();
        assert_eq!(first, format!("nebula top   http://{}", nebula.control_address()));
        for part in ["up ", "calls ", "memory ", "power ", "connections ", "lane 0/64", "q quit"] {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        assert!(text.contains("power") && !text.contains("out/s"), "{text}");
        terminal.press("e");
        terminal.until("the function that fails is first", |text| {
            text.contains("errors/s↓") && names(text)[..].starts_with(&["traps", "adds"])
        });
        // The arrow to the left.
        terminal.press("\x1b[D");
        terminal.until("rows are sorted by cold starts", |text| text.contains("cold/s↓"));
        terminal.press("/add\r");
        terminal.until("one function is left", |text| {
            text.contains("functions with /add")
                && names(text).first() == Some(&"adds")
                && !text.contains("\ntraps")
        });
        terminal.resize(TerminalSize { columns: 150, rows: 40 });
        terminal.until("more columns are shown", |text| text.contains("out/s") && text.contains("queue p99"));
        terminal.resize(TerminalSize { columns: 40, rows: 16 });
        terminal.until("few columns are left", |text| {
            text.contains("run p50")
                && !text.contains("power  ")
                && !text.contains("errors/s ")
                && text.lines().all(|line| line.chars().count() <= 40)
        });
        terminal.press("q");
        terminal.end().is_restored(0);
    });
}

/// `NO_COLOR` is set in all tests of the harness; an empty value counts as not set.
#[test]
fn colours_are_used_unless_they_are_refused() {
    let nebula = Nebula::start();
    for (variable, has_colours) in [("1", false), ("", true)] {
        let mut terminal = top(&nebula, &["--interval", "0.2"], SIZE, &[("NO_COLOR", variable)]);
        terminal.until("the table is shown", |text| text.contains("no function was called"));
        nebula_stops_answering(&nebula, || {
            terminal.until("the server doesn't answer", |text| text.contains("the server doesn't answer"));
        });
        terminal.press("q");
        let ended = terminal.end().is_restored(0);
        assert_eq!(ended.sent.contains("\x1b[31m"), has_colours, "{ended:?}");
    }
}

/// Stops the server while `work` runs: it accepts connections and doesn't answer.
fn nebula_stops_answering(nebula: &Nebula, work: impl FnOnce()) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(nebula.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    work();
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
}

#[test]
fn a_signal_restores_the_terminal() {
    let nebula = server();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let terminal = top(&nebula, &[], SIZE, &[]);
        terminal.until("the table is shown", |text| text.contains("q quit"));
        terminal.signal(signal);
        let ended = terminal.end().is_restored(code);
        assert!(ended.sent.contains("\x1b[?1049h"), "it used the second screen: {ended:?}");
    }
    let mut terminal = top(&nebula, &[], SIZE, &[]);
    terminal.until("the table is shown", |text| text.contains("q quit"));
    terminal.press("\x03");
    terminal.end().is_restored(0);
}

/// Ctrl-Z gives the terminal back, and the table is there again when the command continues.
#[test]
fn a_stopped_command_leaves_the_screen_until_it_continues() {
    let nebula = server();
    let mut terminal = top(&nebula, &[], SIZE, &[]);
    terminal.until("the table is shown", |text| text.contains("q quit"));
    terminal.press("\x1a");
    terminal.until("the first screen is shown", |text| !text.contains("q quit"));
    terminal.signal(Signal::CONT);
    terminal.until("the table is shown again", |text| text.contains("q quit"));
    terminal.press("q");
    terminal.end().is_restored(0);
}

/// A server that is killed is mentioned, and so is the one that takes its place.
#[test]
fn a_server_that_restarts_is_found_again() {
    let nebula = server();
    let (home, control) = (nebula.home(), nebula.control_address().to_string());
    for _ in 0..20 {
        nebula.post("/f/adds", "[1,2]").is(200);
    }
    let mut terminal = top(&nebula, &["--interval", "0.3"], SIZE, &[]);
    terminal.until("the function is shown", |text| names(text).first() == Some(&"adds"));
    nebula.kill();
    let gone = terminal.until("the server is gone", |text| text.contains("trying again"));
    assert_eq!(names(&gone).first(), Some(&"adds"), "the last figures stay:\n{gone}");
    let successor = Successor(
        command()
            .args(["serve", "--listen", "127.0.0.1:0", "--control", &control, "--data-dir"])
            .arg(data_dir_in(&home))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let back = terminal.until("the restart is noticed", |text| text.contains("the server has restarted"));
    assert!(!back.contains("trying again"), "{back}");
    terminal.press("q");
    terminal.end().is_restored(0);
    drop(successor);
}

/// A server that is killed with the test.
struct Successor(Child);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A dumb terminal gets the plain table.
#[test]
fn a_terminal_without_a_screen_gets_the_plain_table() {
    let nebula = server();
    nebula.post("/f/adds", "[1,2]").is(200);
    for (arguments, term) in
        [(&["--interval", "0.1"][..], "dumb"), (&["--interval", "0.1", "--once"], "xterm")]
    {
        let terminal = top(&nebula, arguments, SIZE, &[("TERM", term)]);
        let ended = terminal.end().is_restored(0);
        assert!(ended.sent.contains("calls/s") && !ended.sent.contains('\x1b'), "{ended:?}");
        // It has the width of the terminal.
        assert!(ended.sent.lines().all(|line| line.trim_end().chars().count() <= 80), "{ended:?}");
    }
}
