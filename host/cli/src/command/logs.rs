//! `nebula logs`: prints what the last calls printed, and their failures; follows them if asked.

use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use nebula_http::wire::LoggedCall;
use nebula_runtime::id::FunctionName;
use serde::Serialize;

use crate::args::Logs;
use crate::client::Client;
use crate::moment::iso;
use crate::report::{self, json, line, note};

/// The time between two questions for new calls.
const POLL: Duration = Duration::from_millis(500);

/// A call as `--json` prints it.
#[derive(Serialize)]
struct Shown {
    at: String,
    #[serde(flatten)]
    call: LoggedCall,
}

/// The calls as `--json` prints them.
#[derive(Serialize)]
struct AllShown {
    calls: Vec<Shown>,
}

pub(crate) fn run(logs: &Logs) -> anyhow::Result<()> {
    let names: Vec<&FunctionName> = logs.names.iter().chain(&logs.functions).collect();
    let client = Client::new(&logs.remote);
    let read = |after| read(&client, &names, after);
    let mut after = logs.since.map_or(0, |since| since.unix_us(Timestamp::now()).saturating_sub(1));
    let calls = read(after)?;
    if !logs.follow {
        if logs.remote.json {
            return json(&AllShown { calls: calls.into_iter().map(shown).collect() });
        }
        if calls.is_empty() {
            note("no call has printed or failed");
        }
        return calls.into_iter().try_for_each(print);
    }
    let mut new = calls;
    loop {
        for call in new {
            after = after.max(call.at_unix_us);
            match logs.remote.json {
                // One document on each line, so that a reader can take them one by one.
                true => line(serde_json::to_string(&shown(call))?)?,
                false => print(call)?,
            }
        }
        std::thread::sleep(POLL);
        if !report::has_reader() {
            return Ok(());
        }
        new = read(after)?;
    }
}

/// Returns the calls after a time, of these functions or of all.
fn read(client: &Client<'_>, names: &[&FunctionName], after: u64) -> anyhow::Result<Vec<LoggedCall>> {
    let logs = match names {
        [] => client.logs(None, after).context("cannot show the logs")?,
        names => {
            let mut calls = Vec::new();
            for name in names {
                let logs = client.logs(Some(name), after);
                calls.extend(logs.with_context(|| format!("cannot show the logs of `{name}`"))?.calls);
            }
            calls.sort_by_key(|call: &LoggedCall| call.at_unix_us);
            calls.dedup_by_key(|call| call.at_unix_us);
            return Ok(calls);
        }
    };
    Ok(logs.calls)
}

fn shown(call: LoggedCall) -> Shown {
    Shown { at: iso(call.at_unix_us), call }
}

fn print(call: LoggedCall) -> anyhow::Result<()> {
    let LoggedCall { function, at_unix_us, version, outcome, duration_us, output, request_id, backtrace } =
        call;
    let request = request_id.map(|id| format!(" (request {id})")).unwrap_or_default();
    line(format!("{} {function}@{version} {duration_us} µs: {outcome}{request}", iso(at_unix_us)))?;
    for printed in output.lines() {
        line(format!("    {printed}"))?;
    }
    for frame in backtrace {
        line(format!("    {frame}"))?;
    }
    Ok(())
}
