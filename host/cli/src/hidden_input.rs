//! A line from a terminal that doesn't show what is typed.
//!
//! Invariant: the terminal shows input again when the line is read, and when a signal ends or stops the
//! command before that.

use std::io::{BufRead, Stdin};

use anyhow::Context;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::report::note;

/// Prints the prompt and reads a line from stdin, a terminal.
///
/// # Errors
/// If stdin can't be read, or signals can't be caught.
pub(crate) fn read_line(prompt: &str) -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    let hidden = HiddenInput::start(&stdin)?;
    note(prompt);
    stdin.lock().read_line(&mut line).context("cannot read stdin")?;
    drop(hidden);
    Ok(line)
}

/// A terminal that doesn't show what is typed. Dropping it shows it again.
struct HiddenInput(Option<Termios>);

impl HiddenInput {
    /// Does nothing if the terminal can't hide it.
    fn start(stdin: &Stdin) -> anyhow::Result<Self> {
        let Ok(before) = tcgetattr(stdin) else { return Ok(Self(None)) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // First: a signal may come at once.
        restore_at_signals(before.clone(), hidden.clone()).context("cannot catch signals")?;
        let _ = tcsetattr(stdin, OptionalActions::Now, &hidden);
        Ok(Self(Some(before)))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Lets the signals that end or stop the command restore the terminal first, from now on: a caught
/// signal has no default action any more.
fn restore_at_signals(before: Termios, hidden: Termios) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    // Ctrl-C, Ctrl-\, a closed terminal, `kill`, and Ctrl-Z, after which the shell reads the terminal.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut proceed = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(context);
    std::thread::Builder::new().name("nebula-signals".to_owned()).spawn(move || {
        let ended_by = runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = hangup.recv() => break SignalKind::hangup(),
                    _ = interrupt.recv() => break SignalKind::interrupt(),
                    _ = quit.recv() => break SignalKind::quit(),
                    _ = terminate.recv() => break SignalKind::terminate(),
                    _ = stop.recv() => {
                        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
                        let _ = kill_process(getpid(), Signal::STOP);
                    }
                    // The shell has set the terminal meanwhile.
                    _ = proceed.recv() => {
                        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden);
                    }
                }
            }
        });
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        note("");
        // The code that a shell gives a command which a signal has ended.
        std::process::exit(128 + ended_by.as_raw_value());
    })?;
    Ok(())
}
