//! The terminal of `nebula top`: its second screen, without echo, and the keys.
//!
//! Invariants:
//! * The terminal is as it was before when the command ends, stops, panics or is ended by a signal.
//! * After that nothing is drawn.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anstyle::Style;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::tcgetwinsize;

use super::view::{Line, Size};
use crate::terminal_mode::{ActiveMode, TerminalMode, leave_at_signals};

/// The size of a terminal that doesn't tell it.
const SIZE_DEFAULT: Size = Size { columns: 80, rows: 24 };

/// The second screen of the terminal. Dropping it shows the first one again.
pub(crate) struct Screen {
    mode: ScreenMode,
    _active: ActiveMode<ScreenMode>,
    has_colours: bool,
}

/// Set while the second screen is shown.
#[derive(Clone)]
struct ScreenMode(Arc<Mutex<bool>>);

/// Something that happened at the terminal.
pub(crate) enum Input {
    Key(KeyEvent),
    /// The size has changed.
    Resized,
}

impl Screen {
    /// Shows the second screen.
    ///
    /// # Errors
    /// If the terminal can't be set, or signals can't be caught.
    pub(crate) fn open(has_colours: bool) -> io::Result<Self> {
        let mode = ScreenMode(Arc::default());
        // First: a signal may come at once.
        let active = leave_at_signals(mode.clone())?;
        let of_panic = mode.clone();
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            of_panic.leave();
            print(panic);
        }));
        let screen = Self { mode, _active: active, has_colours };
        screen.mode.show()?;
        Ok(screen)
    }

    /// Returns the size now.
    pub(crate) fn size(&self) -> Size {
        let told = tcgetwinsize(io::stdout()).ok();
        let told = told.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        told.map_or(SIZE_DEFAULT, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
    }

    /// Draws all lines, which fit the screen.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn draw(&self, lines: &[Line], size: Size) -> io::Result<()> {
        let mut frame = Vec::new();
        queue!(frame, BeginSynchronizedUpdate)?;
        for (row, Line { text, style }) in (0..).zip(lines) {
            let style = if self.has_colours { *style } else { Style::new() | style.get_effects() };
            queue!(frame, MoveTo(0, row))?;
            write!(frame, "{style}{text}{style:#}")?;
            // At the end of a full line, the cursor is still on its last character.
            if text.chars().count() < size.columns {
                queue!(frame, Clear(ClearType::UntilNewLine))?;
            }
        }
        if lines.len() < size.rows {
            queue!(frame, MoveTo(0, u16::try_from(lines.len()).unwrap_or(u16::MAX)))?;
            queue!(frame, Clear(ClearType::FromCursorDown))?;
        }
        queue!(frame, EndSynchronizedUpdate)?;
        let is_shown = self.mode.lock();
        if *is_shown {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&frame)?;
            stdout.flush()?;
        }
        Ok(())
    }

    /// Hands the terminal to the shell, as Ctrl-Z does for other programs, until the command continues.
    pub(crate) fn stop(&self) {
        let _ = kill_process(getpid(), Signal::TSTP);
    }

    /// Waits for input, for as long as `timeout`.
    ///
    /// # Errors
    /// If the terminal is gone.
    pub(crate) fn input(&self, timeout: Duration) -> io::Result<Option<Input>> {
        if !event::poll(timeout)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => Some(Input::Key(key)),
            Event::Resize(..) => Some(Input::Resized),
            Event::Key(_) | Event::Mouse(_) | Event::FocusGained | Event::FocusLost => None,
        })
    }
}

impl ScreenMode {
    fn show(&self) -> io::Result<()> {
        let mut is_shown = self.lock();
        enable_raw_mode()?;
        *is_shown = true;
        execute!(io::stdout(), EnterAlternateScreen, Hide)
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TerminalMode for ScreenMode {
    fn leave(&self) {
        let mut is_shown = self.lock();
        if std::mem::take(&mut *is_shown) {
            // The terminal may be gone.
            let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
            let _ = disable_raw_mode();
        }
    }

    fn enter(&self) {
        let _ = self.show();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Set for the process that [`panics_on_the_screen`] runs in.
    const IN_TERMINAL: &str = "NEBULA_TEST_IN_TERMINAL";

    /// Does nothing unless [`a_panic_restores_the_terminal`] runs it in a terminal.
    #[test]
    fn panics_on_the_screen() {
        if std::env::var_os(IN_TERMINAL).is_some() {
            let screen = Screen::open(false).unwrap();
            let size = screen.size();
            screen.draw(&[Line { text: "the table".to_owned(), style: Style::new() }], size).unwrap();
            panic!("the reason");
        }
    }

    /// The reason is printed on the first screen, after the settings are those from before.
    #[test]
    fn a_panic_restores_the_terminal() {
        let test = std::env::current_exe().unwrap();
        let shell =
            r#"stty -g; "$TEST" --exact top::screen::tests::panics_on_the_screen --nocapture; stty -g"#;
        let output = Command::new("script")
            .args(["--quiet", "--command", shell, "/dev/null"])
            .env("TEST", test)
            .env("SHELL", "/bin/sh")
            .env(IN_TERMINAL, "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let sent = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
        let at = |part: &str| sent.find(part).unwrap_or_else(|| panic!("no {part:?}: {sent}"));
        let order = ["\x1b[?1049h", "the table", "\x1b[?1049l", "the reason"].map(at);
        assert!(order.is_sorted(), "{sent}");
        let settings = [sent.lines().next(), sent.trim_end().lines().last()];
        assert!(settings[0].is_some_and(|line| line.contains(':')) && settings[0] == settings[1], "{sent}");
    }
}
