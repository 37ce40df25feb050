//! The state of the live table: the last answers, the order, the filter, and the lines they make.
//!
//! Invariants:
//! * A line is never wider than the screen, and there are never more lines than it has.
//! * While the server doesn't answer, the last figures stay, marked as old.

use std::fmt;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use nebula_http::wire::Stats;

use super::figures::FunctionFigures;
use super::header::server_lines;
use super::table::{Column, Table, clip, sort};
use crate::figures::age;
use crate::stats::Interval;

/// An answer that is later than this is mentioned, beside the interval.
const LATE: Duration = Duration::from_secs(3);

/// A restart is mentioned until the server has been up for this long.
const RESTART_SHOWN: Duration = Duration::from_secs(60);

/// The least height of a screen that shows the keys.
const KEYS_HEIGHT_MIN: usize = 12;

const KEYS: &str = "q quit   ←→ sort   ↑↓ scroll   / filter";

/// The size of a screen, characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

/// A line of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) style: Style,
}

/// The use of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    /// Hand the terminal back to the shell until the command is continued.
    Stop,
    Quit,
}

/// The state of the live table.
#[derive(Debug)]
pub(crate) struct View {
    /// The URL of the server.
    server: String,
    interval: Duration,
    last: Stats,
    answered_at: Instant,
    /// The change up to the last answer; `None` until there are two.
    change: Option<Interval>,
    /// The reason why the last question has no answer.
    failure: Option<String>,
    has_restarted: bool,
    sorted: Column,
    filter: String,
    /// Keys are added to the filter.
    is_filtering: bool,
    /// The number of rows above those that are shown.
    scrolled: usize,
    /// The rows that the screen has room for, and its columns, when it was last drawn.
    page: usize,
    table: Table,
}

impl View {
    /// Begins with a first answer.
    pub(crate) fn new(server: impl fmt::Display, interval: Duration, first: Stats) -> Self {
        Self {
            server: server.to_string(),
            interval,
            last: first,
            answered_at: Instant::now(),
            change: None,
            failure: None,
            has_restarted: false,
            sorted: Column::Calls,
            filter: String::new(),
            is_filtering: false,
            scrolled: 0,
            page: 1,
            table: Table::fit(0, &[]),
        }
    }

    /// Takes the answer to a question, or the reason why there is none.
    pub(crate) fn answer(&mut self, answer: anyhow::Result<Stats>) {
        match answer {
            Ok(stats) => {
                if let Some(change) = Interval::between(&self.last, &stats) {
                    self.has_restarted |= change.restarted;
                    self.change = Some(change);
                }
                (self.last, self.answered_at, self.failure) = (stats, Instant::now(), None);
            }
            Err(error) => self.failure = Some(error.to_string()),
        }
    }

    /// Applies a key.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other keys do nothing")]
    pub(crate) fn key(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Quit,
                KeyCode::Char('z') => Next::Stop,
                _ => Next::Continue,
            };
        }
        match key.code {
            KeyCode::Char(character) if self.is_filtering => {
                self.filter.push(character);
                self.scrolled = 0;
            }
            KeyCode::Backspace if self.is_filtering => _ = self.filter.pop(),
            KeyCode::Enter => self.is_filtering = false,
            KeyCode::Esc => {
                self.is_filtering = false;
                self.filter.clear();
            }
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Char('/') => self.is_filtering = true,
            KeyCode::Char(character) => {
                if let Some(column) = Column::of_key(character) {
                    self.sort_by(column);
                }
            }
            KeyCode::Left => self.sort_by(self.table.beside(self.sorted, false)),
            KeyCode::Right => self.sort_by(self.table.beside(self.sorted, true)),
            KeyCode::Up => self.scrolled = self.scrolled.saturating_sub(1),
            // `lines` bounds it.
            KeyCode::Down => self.scrolled += 1,
            KeyCode::PageUp => self.scrolled = self.scrolled.saturating_sub(self.page),
            KeyCode::PageDown => self.scrolled += self.page,
            KeyCode::Home => self.scrolled = 0,
            KeyCode::End => self.scrolled = self.last.functions.len(),
            _ => {}
        }
        Next::Continue
    }

    fn sort_by(&mut self, column: Column) {
        (self.sorted, self.scrolled) = (column, 0);
    }

    /// Returns the lines for a screen of this size.
    pub(crate) fn lines(&mut self, Size { columns, rows: height }: Size) -> Vec<Line> {
        let plain = |text: String| Line { text, style: Style::new() };
        let mut lines =
            vec![Line { text: format!("nebula top   {}", self.server), style: Style::new().bold() }];
        lines.extend(server_lines(&self.last, self.change.as_ref(), columns).into_iter().map(plain));
        lines.extend(self.notices());
        let mut functions = self
            .change
            .as_ref()
            .map_or_else(Vec::new, |change| FunctionFigures::of_all(change, &self.last.bucket_bounds_us));
        functions.retain(|function| function.name.as_str().contains(&self.filter));
        sort(&mut functions, self.sorted);
        self.table = Table::fit(columns, &functions);
        lines.push(Line { text: self.table.heading(self.sorted), style: Style::new().invert() });
        let shows_keys = height >= KEYS_HEIGHT_MIN;
        self.page = height.saturating_sub(lines.len() + usize::from(shows_keys)).max(1);
        self.scrolled = self.scrolled.min(functions.len().saturating_sub(self.page));
        let shown = functions.iter().skip(self.scrolled).take(self.page);
        lines.extend(shown.map(|function| plain(self.table.row(function))));
        if functions.is_empty() {
            lines.push(plain(self.nothing()));
        }
        if shows_keys {
            lines.truncate(height - 1);
            lines.resize(height - 1, plain(String::new()));
            let (first, last) = (self.scrolled + 1, functions.len().min(self.scrolled + self.page));
            let text = match functions.len() {
                all if all > self.page => format!("{KEYS}   functions {first} to {last} of {all}"),
                all => format!("{KEYS}   functions {all}"),
            };
            lines.push(Line { text, style: Style::new().dimmed() });
        }
        lines.truncate(height);
        for line in &mut lines {
            line.text = clip(&line.text, columns);
        }
        // The bar of the headings has the width of the screen.
        if let Some(heading) = lines.iter_mut().find(|line| line.style == Style::new().invert()) {
            heading.text = format!("{:columns$}", heading.text);
        }
        lines
    }

    /// Returns the lines about what isn't as usual.
    fn notices(&self) -> Vec<Line> {
        let warning = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        let silent = self.answered_at.elapsed();
        let old = format!("the figures are {} old", age(silent));
        let mut notices = Vec::new();
        if let Some(failure) = &self.failure {
            notices.push(Line { text: format!("{failure}: trying again; {old}"), style: warning });
        } else if silent > self.interval + LATE {
            notices.push(Line { text: format!("the server doesn't answer; {old}"), style: warning });
        }
        let up = Duration::from_micros(self.last.at_unix_us.saturating_sub(self.last.started_at_unix_us));
        if self.has_restarted && up < RESTART_SHOWN {
            let text = format!("the server has restarted {} ago: its counts begin at 0", age(up));
            notices.push(Line { text, style: warning });
        }
        if self.is_filtering || !self.filter.is_empty() {
            let end =
                if self.is_filtering { "▏  (Enter keeps it, Esc ends it)" } else { "   (Esc ends it)" };
            let text = format!("functions with /{}{end}", self.filter);
            notices.push(Line { text, style: Style::new().bold() });
        }
        notices
    }

    /// Returns the reason why there is no row.
    fn nothing(&self) -> String {
        match &self.change {
            None => format!("the first figures come in {}", crate::figures::duration(self.interval)),
            Some(_) if !self.filter.is_empty() => "no function has this in its name".to_owned(),
            Some(_) => "no function was called since the server's start".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::samples::{answer, calls, restarted};

    const SIZE: Size = Size { columns: 80, rows: 24 };

    fn view() -> View {
        let mut view = View::new("http://127.0.0.1:8081", Duration::from_secs(1), answer(1, &[]));
        view.answer(Ok(answer(2, &[("add", calls(5)), ("busy", calls(50)), ("csv-stats", calls(7))])));
        view
    }

    fn press(view: &mut View, keys: &[KeyCode]) -> Next {
        keys.iter().fold(Next::Continue, |_, key| view.key(KeyEvent::new(*key, KeyModifiers::NONE)))
    }

    fn type_in(view: &mut View, text: &str) {
        text.chars().for_each(|key| _ = press(view, &[KeyCode::Char(key)]));
    }

    fn text(view: &mut View, size: Size) -> String {
        view.lines(size).into_iter().map(|line| line.text.trim_end().to_owned() + "\n").collect()
    }

    /// Returns the names in the rows, in order.
    fn names(view: &mut View) -> Vec<String> {
        let text = text(view, SIZE);
        let (lines, _keys) = text.trim_end().rsplit_once('\n').unwrap();
        let is_heading = |line: &&str| line.starts_with("function") && line.contains("calls/s");
        let rows = lines.lines().skip_while(|line| !is_heading(line)).skip(1);
        let rows = rows.take_while(|line| !line.is_empty());
        rows.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    #[test]
    fn functions_are_shown_by_rate() {
        let mut view = view();
        let text = text(&mut view, SIZE);
        assert!(text.starts_with("nebula top   http://127.0.0.1:8081\nup 2 s   calls 62/s"), "{text}");
        assert_eq!(names(&mut view), ["busy", "csv-stats", "add"], "{text}");
        assert!(text.ends_with("/ filter   functions 3\n"), "{text}");
    }

    #[test]
    fn keys_sort_filter_and_quit() {
        let mut view = view();
        type_in(&mut view, "n");
        assert_eq!(names(&mut view), ["add", "busy", "csv-stats"]);
        assert!(text(&mut view, SIZE).contains("function↑"));
        press(&mut view, &[KeyCode::Right]);
        assert!(text(&mut view, SIZE).contains("calls/s↓"));
        // In a filter, letters are letters.
        type_in(&mut view, "/sq");
        assert_eq!(names(&mut view), ["no"]);
        press(&mut view, &[KeyCode::Backspace]);
        assert_eq!(names(&mut view), ["busy", "csv-stats"]);
        press(&mut view, &[KeyCode::Enter]);
        type_in(&mut view, "n");
        assert_eq!(names(&mut view), ["busy", "csv-stats"]);
        assert!(text(&mut view, SIZE).contains("functions with /s   (Esc ends it)"));
        press(&mut view, &[KeyCode::Esc]);
        assert_eq!(names(&mut view).len(), 3);
        assert_eq!(press(&mut view, &[KeyCode::Char('q')]), Next::Quit);
        let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
        assert_eq!([view.key(control('c')), view.key(control('z'))], [Next::Quit, Next::Stop]);
    }

    #[test]
    fn rows_scroll_and_stop_at_the_end() {
        let functions: Vec<_> = (0..100).map(|index| (format!("f{index:02}"), calls(1000 - index))).collect();
        let functions: Vec<_> =
            functions.iter().map(|(name, calls)| (name.as_str(), calls.clone())).collect();
        let mut view = View::new("server", Duration::from_secs(1), answer(1, &[]));
        view.answer(Ok(answer(2, &functions)));
        let page = names(&mut view).len();
        assert!((10..24).contains(&page), "{page}");
        assert!(text(&mut view, SIZE).contains(&format!("functions 1 to {page} of 100")));
        press(&mut view, &[KeyCode::Down]);
        assert_eq!(names(&mut view)[0], "f01");
        press(&mut view, &[KeyCode::PageDown]);
        assert_eq!(names(&mut view)[0], format!("f{:02}", page + 1));
        press(&mut view, &[KeyCode::End]);
        assert_eq!(names(&mut view).last().unwrap(), "f99");
        press(&mut view, &[KeyCode::Down, KeyCode::PageDown]);
        assert_eq!(names(&mut view).last().unwrap(), "f99");
        press(&mut view, &[KeyCode::Up]);
        assert_eq!(names(&mut view).last().unwrap(), "f98");
        press(&mut view, &[KeyCode::Home]);
        assert_eq!(names(&mut view)[0], "f00");
    }

    #[test]
    fn a_server_that_is_gone_or_restarts_is_mentioned() {
        let mut view = view();
        view.answer(Err(anyhow::anyhow!("no server answers at http://127.0.0.1:8081")));
        let gone = text(&mut view, SIZE);
        assert!(gone.contains("no server answers at http://127.0.0.1:8081: trying again"), "{gone}");
        assert_eq!(names(&mut view).len(), 3, "the last figures stay");
        view.answer(Ok(restarted(answer(20, &[("add", calls(6))]), 18)));
        let back = text(&mut view, SIZE);
        assert!(back.contains("the server has restarted 2 s ago"), "{back}");
        assert!(!back.contains("trying again") && back.contains("calls 3/s"), "{back}");
        view.answer(Ok(restarted(answer(200, &[("add", calls(6))]), 18)));
        assert!(!text(&mut view, SIZE).contains("restarted"));
    }

    #[test]
    fn without_figures_there_is_a_reason() {
        let mut view = View::new("server", Duration::from_millis(500), answer(1, &[("add", calls(5))]));
        assert!(text(&mut view, SIZE).contains("the first figures come in 500 ms"));
        view.answer(Ok(answer(2, &[])));
        assert!(text(&mut view, SIZE).contains("no function was called since the server's start"));
    }

    proptest! {
        /// Lines fit every screen, whatever keys came before.
        #[test]
        fn lines_fit_the_screen(
            columns in 0..200_usize,
            rows in 0..60_usize,
            keys in prop::collection::vec(prop_oneof![
                prop::sample::select(vec![
                    KeyCode::Left, KeyCode::Right, KeyCode::Up, KeyCode::Down, KeyCode::PageUp, KeyCode::PageDown,
                    KeyCode::Home, KeyCode::End, KeyCode::Enter, KeyCode::Esc, KeyCode::Backspace,
                ]),
                any::<char>().prop_map(KeyCode::Char),
            ], 0..20),
            gone: bool,
        ) {
            let mut view = view();
            if gone {
                view.answer(Err(anyhow::anyhow!("the connection to http://127.0.0.1:8081 broke off")));
            }
            let size = Size { columns, rows };
            for key in keys {
                if view.key(KeyEvent::new(key, KeyModifiers::NONE)) == Next::Quit {
                    break;
                }
                let lines = view.lines(size);
                prop_assert!(lines.len() <= rows);
                for line in lines {
                    prop_assert!(line.text.chars().count() <= columns, "{}", line.text);
                }
            }
        }
    }
}
