//! A command in a terminal: its keys, its signals, and the screen that it shows.
//!
//! `script` provides the terminal. A shell runs the command in it, as a user's does, and tells after it
//! how the terminal was left.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use rustix::termios::{Winsize, tcsetwinsize};
use tempfile::TempDir;

use crate::cli::{binary, clean};
use crate::{WAIT_MAX, eventually};

/// The files hold what the shell tells about the command and its terminal.
const SHELL: &str = r#"
stty rows "$ROWS_OF_TEST" cols "$COLUMNS_OF_TEST"
tty >"$TOLD/tty"
stty -g >"$TOLD/before"
sh -c 'echo $$ >"$TOLD/pid"; exec "$BINARY" '"$ARGUMENTS"
code=$?
stty -g >"$TOLD/after"
echo "$code" >"$TOLD/code"
"#;

/// A size of a terminal.
#[derive(Clone, Copy, Debug)]
pub struct TerminalSize {
    /// Its width, characters.
    pub columns: u16,
    /// Its height, lines.
    pub rows: u16,
}

/// A command that runs in a terminal. Dropping it closes the terminal.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Shown>>,
    told: TempDir,
}

struct Shown {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A command that has ended, and its terminal.
#[derive(Debug)]
pub struct Ended {
    /// The exit code that the shell got.
    pub code: i32,
    /// Everything that the terminal was sent.
    pub sent: String,
    /// The settings are those from before.
    pub has_same_settings: bool,
    /// The first screen is shown, with its cursor.
    pub shows_first_screen: bool,
}

impl TerminalSize {
    fn parts(self) -> (NonZeroU16, NonZeroU16) {
        let part = |count| NonZeroU16::new(count).expect("a terminal isn't empty");
        (part(self.rows), part(self.columns))
    }
}

impl Terminal {
    /// Runs `nebula arguments…`, none of which has white space, in a terminal with these environment
    /// variables.
    #[track_caller]
    pub fn run(arguments: &[&str], size: TerminalSize, variables: &[(&str, &str)]) -> Self {
        let told = tempfile::tempdir().expect("a temporary directory");
        let (rows, columns) = size.parts();
        let mut child = clean(Command::new("script"))
            .args(["--quiet", "--command", SHELL, "/dev/null"])
            .env("BINARY", binary())
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env("ARGUMENTS", arguments.join(" "))
            .env("TOLD", told.path())
            .env("ROWS_OF_TEST", rows.to_string())
            .env("COLUMNS_OF_TEST", columns.to_string())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` runs");
        let keys = child.stdin.take().expect("piped");
        let mut stdout = child.stdout.take().expect("piped");
        let parser = vt100::Parser::new(rows, columns, 0);
        let shown = Arc::new(Mutex::new(Shown { parser, bytes: Vec::new() }));
        let into = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut buffer) {
                let mut shown = into.lock().unwrap();
                shown.parser.process(&buffer[..length]);
                shown.bytes.extend_from_slice(&buffer[..length]);
            }
        });
        Self { child, keys, shown, told }
    }

    /// Returns the text on the screen.
    pub fn text(&self) -> String {
        self.shown.lock().unwrap().parser.screen().contents()
    }

    /// Waits until the text on the screen passes the check, and returns it. `what` completes "gave up
    /// waiting until …".
    #[track_caller]
    pub fn until(&self, what: &str, check: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let text = self.text();
            if check(&text) {
                return text;
            }
            let is_late = started.elapsed() > WAIT_MAX;
            assert!(!is_late, "gave up waiting until {what}; the screen shows:\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Presses keys.
    #[track_caller]
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("an open terminal");
        self.keys.flush().expect("an open terminal");
    }

    /// Changes the size, which the command is told of by a signal.
    #[track_caller]
    pub fn resize(&self, size: TerminalSize) {
        let (rows, columns) = size.parts();
        let mut shown = self.shown.lock().unwrap();
        shown.parser.set_size(rows, columns);
        let tty = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        let tty = rustix::fs::open(self.told("tty"), tty, rustix::fs::Mode::empty()).expect("a terminal");
        let size = Winsize { ws_row: rows.get(), ws_col: columns.get(), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(tty, size).expect("a terminal");
    }

    /// Sends the command a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("a running process");
    }

    /// Returns the process id of the command.
    #[track_caller]
    pub fn pid(&self) -> Pid {
        let pid = self.told("pid").parse().expect("a number");
        Pid::from_raw(pid).expect("a process id")
    }

    /// Waits until the command ends.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        let code = self.told("code").parse().expect("a number");
        eventually("`script` ends", || self.child.try_wait().expect("a child"));
        let shown = self.shown.lock().unwrap();
        let screen = shown.parser.screen();
        Ended {
            code,
            sent: String::from_utf8_lossy(&shown.bytes).into_owned(),
            has_same_settings: self.told("before") == self.told("after"),
            shows_first_screen: !screen.alternate_screen() && !screen.hide_cursor(),
        }
    }

    /// Returns a line that the shell tells.
    #[track_caller]
    fn told(&self, name: &str) -> String {
        let path: PathBuf = self.told.path().join(name);
        eventually(&format!("the shell tells `{name}`"), || {
            let text = std::fs::read_to_string(&path).ok()?;
            text.strip_suffix('\n').map(str::to_owned)
        })
    }
}

impl Ended {
    /// Asserts the exit code, and that the terminal is as it was before.
    #[track_caller]
    pub fn is_restored(self, code: i32) -> Self {
        let Self { code: found, has_same_settings, shows_first_screen, .. } = &self;
        assert_eq!((*found, *has_same_settings, *shows_first_screen), (code, true, true), "{self:?}");
        self
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
