//! `nebula top`: shows the functions of a server by rate, as a live table, one plain table, or JSON.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use anyhow::Context;
use nebula_http::wire::{ServerStats, Stats};
use serde::Serialize;

use crate::args::Top;
use crate::client::Client;
use crate::moment::iso;
use crate::report::{self, hinted, line, text};
use crate::stats::Interval;
use crate::top::{
    Column, Figures, FunctionFigures, Input, Next, Screen, TIMEOUT, Table, View, poll, server_lines, sort,
};

/// The longest wait for a key before looking for an answer.
const KEY_WAIT: Duration = Duration::from_millis(50);

/// The time after which ages on the screen are written again.
const REDRAW: Duration = Duration::from_secs(1);

/// The width of the lines about the server if stdout isn't a terminal.
const WIDTH_DEFAULT: usize = 100;

/// The figures of one interval as `--json` prints them.
#[derive(Serialize)]
struct Shown<'a> {
    at: String,
    interval_s: f64,
    /// The server has restarted in the interval.
    restarted: bool,
    server: ShownServer<'a>,
    all: Figures,
    functions: Vec<FunctionFigures>,
}

#[derive(Serialize)]
struct ShownServer<'a> {
    up_s: f64,
    cores: Option<f64>,
    watts: Option<f64>,
    #[serde(flatten)]
    stats: &'a ServerStats,
}

pub(crate) fn run(top: Top) -> anyhow::Result<()> {
    let is_screen = io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    match top {
        Top { once, ref remote, .. } if remote.json => stream(&top, once),
        Top { once: true, .. } => print_once(&top),
        _ if !is_screen => print_once(&top),
        top => live(top),
    }
}

/// Prints one object for each interval, until nothing reads them any more.
fn stream(top: &Top, once: bool) -> anyhow::Result<()> {
    let client = Client::new(&top.remote).within(TIMEOUT);
    let mut before = ask(&client)?;
    loop {
        std::thread::sleep(top.interval.get());
        if !report::has_reader() {
            return Ok(());
        }
        let now = ask(&client)?;
        if let Some(interval) = Interval::between(&before, &now) {
            line(serde_json::to_string(&shown(&now, &interval))?)?;
            if once {
                return Ok(());
            }
        }
        before = now;
    }
}

fn shown<'a>(now: &'a Stats, interval: &Interval) -> Shown<'a> {
    let mut functions = FunctionFigures::of_all(interval, &now.bucket_bounds_us);
    sort(&mut functions, Column::Calls);
    let up_us = now.at_unix_us.saturating_sub(now.started_at_unix_us);
    Shown {
        at: iso(now.at_unix_us),
        interval_s: interval.length.as_secs_f64(),
        restarted: interval.restarted,
        server: ShownServer {
            up_s: Duration::from_micros(up_us).as_secs_f64(),
            cores: interval.cores,
            watts: interval.watts,
            stats: &now.server,
        },
        all: Figures::of(interval, &interval.all, &now.bucket_bounds_us),
        functions,
    }
}

/// Prints the figures of one interval.
fn print_once(top: &Top) -> anyhow::Result<()> {
    let client = Client::new(&top.remote).within(TIMEOUT);
    let before = ask(&client)?;
    std::thread::sleep(top.interval.get());
    let now = ask(&client)?;
    let interval = Interval::between(&before, &now).context("no time has passed between two answers")?;
    let width = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    let width = width.filter(|columns| *columns > 0);
    let mut lines = server_lines(&now, Some(&interval), width.unwrap_or(WIDTH_DEFAULT));
    let mut functions = FunctionFigures::of_all(&interval, &now.bucket_bounds_us);
    sort(&mut functions, Column::Calls);
    // A file or another program gets all columns.
    let table = Table::fit(width.unwrap_or(usize::MAX / 2), &functions);
    lines.push(String::new());
    lines.push(table.heading(Column::Calls));
    lines.extend(functions.iter().map(|function| table.row(function)));
    text(lines.join("\n") + "\n")
}

/// Shows the table until a key or a signal ends it.
fn live(top: Top) -> anyhow::Result<()> {
    let Top { interval, once: _, remote } = top;
    let interval = interval.get();
    let client = Client::new(&remote).within(TIMEOUT);
    // A mistake is reported like that of any other command. Later ones are shown, and it tries again.
    let first = ask(&client)?;
    let mut view = View::new(&client.connection()?.control, interval, first);
    drop(client);
    let answers = poll(remote, interval)?;
    let has_colours = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
    let screen = Screen::open(has_colours).map_err(no_screen)?;
    let mut drawn: Option<Instant> = None;
    loop {
        if drawn.is_none_or(|drawn| drawn.elapsed() >= REDRAW) {
            let size = screen.size();
            screen.draw(&view.lines(size), size).map_err(no_screen)?;
            drawn = Some(Instant::now());
        }
        match screen.input(KEY_WAIT).map_err(no_screen)? {
            Some(Input::Key(key)) => {
                drawn = None;
                match view.key(key) {
                    Next::Quit => return Ok(()),
                    Next::Stop => screen.stop(),
                    Next::Continue => {}
                }
            }
            Some(Input::Resized) => drawn = None,
            None => {}
        }
        for answer in answers.try_iter() {
            view.answer(answer);
            drawn = None;
        }
    }
}

fn ask(client: &Client<'_>) -> anyhow::Result<Stats> {
    client.stats().context("cannot show the stats of the server")
}

fn no_screen(error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(hinted("cannot use the terminal", "`nebula top --once` needs none"))
}
