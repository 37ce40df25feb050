//! A line from a terminal that doesn't show what is typed.
//!
//! Invariant: the terminal shows input again when the line is read, and when a signal ends or stops the
//! command before that.

use std::io::{BufRead, Stdin};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::report::note;
use crate::terminal_mode::{ActiveMode, TerminalMode, leave_at_signals};

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
struct HiddenInput {
    /// `None` if the terminal can't hide it.
    _mode: Option<ActiveMode<Hidden>>,
}

/// The settings of a terminal, before and while it hides what is typed.
#[derive(Clone)]
struct Hidden {
    before: Termios,
    hidden: Termios,
}

impl HiddenInput {
    /// Does nothing if the terminal can't hide it.
    fn start(stdin: &Stdin) -> anyhow::Result<Self> {
        let Ok(before) = tcgetattr(stdin) else { return Ok(Self { _mode: None }) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        let mode = Hidden { before, hidden };
        // First: a signal may come at once.
        let active = leave_at_signals(mode.clone()).context("cannot catch signals")?;
        mode.enter();
        Ok(Self { _mode: Some(active) })
    }
}

impl TerminalMode for Hidden {
    fn leave(&self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }

    fn enter(&self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.hidden);
    }

    fn end(&self) {
        note("");
    }
}
