//! `nebula bench`: measures a function of a running server under an open-loop load.
//!
//! ```text
//! a call that must be answered -> the load at a rate                         -> report
//!                              -> search for a rate -> the load at that rate -> report
//! ```
//!
//! The report is printed before a failure is, so that what was measured isn't lost.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::{HeaderValue, header};
use indicatif::ProgressBar;

use crate::address::PlaneUrl;
use crate::args::Bench;
use crate::bench::{
    BenchReport, Goal, Interrupt, Observer, Pilot, Plan, Rate, Run, Search, ServerMeter, ServerProcess,
    ServerUse, Step, Stop, Subject, Tally, Target, Verdict, chart_columns, print, run as run_load,
};
use crate::client::{CallHead, Client, has_body};
use crate::failure::{Failure, FailureKind};
use crate::figures::duration;
use crate::http_parts::{Header, HttpParts};
use crate::input::{Input, InputArgument};
use crate::report::{hinted, json, note, text};

/// The shortest and the longest step of a search.
const STEP_MIN: Duration = Duration::from_secs(2);
const STEP_MAX: Duration = Duration::from_secs(10);

/// The requests that a step should have, so that it has a 99th percentile.
const STEP_REQUESTS: f64 = 100.0;

/// The requests that a step has at any rate.
const STEP_REQUESTS_MIN: f64 = 2.0;

/// The longest warm-up of a step: the function is loaded, and only the rate changes.
const STEP_WARM_UP_MAX: Duration = Duration::from_millis(300);

/// The time after a step for answers that would miss the goal anyway, beyond the goal's.
const STEP_GRACE: Duration = Duration::from_millis(50);

/// The most attempts to hold for the whole duration a rate that held in a shorter step. Each is at
/// nine tenths of the rate before.
const ATTEMPTS_MAX: u32 = 3;

/// The hint for a goal that no rate holds.
const MORE_TIME_HINT: &str = "give it more time with `--goal`, such as `p99=1s`";

pub(crate) fn run(bench: &Bench) -> anyhow::Result<ExitCode> {
    let input = Input::read_or_piped(InputArgument {
        texts: &bench.input,
        media_type: bench.content_type.as_deref(),
    })?;
    let client = Client::new(&bench.remote);
    let parts = parts(bench);
    let function = bench.function.to_string();
    let CallHead { plane, request } = client.call_head(&function, &input, &parts)?;
    if !plane.is_loopback() && !bench.allow_remote {
        let message = format!("{plane} isn't on this machine, and a load can be an attack on a server");
        return Err(Failure::usage(message, "give `--allow-remote` if you may put load on it").into());
    }
    if let Some(rate) = bench.rate.filter(|rate| rate.per_s() * bench.duration.as_secs_f64() < 1.0) {
        let message = format!("at {rate} no request is due within {}", duration(bench.duration));
        return Err(Failure::usage(message, "give a higher `--rate` or a longer `--duration`").into());
    }
    let version = check(&client, bench, &input, &parts)?;
    let url = request.uri_ref().map(ToString::to_string).unwrap_or_default();
    let body = has_body(&request, &input.body).then_some(input.body);
    let target = Target::new(&plane, request, body, client.connection()?.ca.as_deref())?;
    let mut session = Session {
        bench,
        target: Arc::new(target),
        server: server(&client, &plane).map(ServerMeter::new),
        // Hidden unless stderr is a terminal.
        progress: ProgressBar::new_spinner(),
    };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = executor.context("cannot start an event loop")?.block_on(session.measure());
    session.progress.finish_and_clear();
    let Found { plan, run, server, goal, steps } = found?;
    if run.tally.requests() == 0 {
        let (kind, reason) = match run.stop {
            Some(Stop::ServerGone) => (FailureKind::NoServer, "the server was gone in the warm-up"),
            Some(Stop::Interrupted) => (FailureKind::Failed, "it was stopped in the warm-up"),
            None => (FailureKind::Failed, "no request was due after the warm-up"),
        };
        return Err(Failure::new(kind, format!("nothing was measured: {reason}")).into());
    }
    let subject = Subject { function, version, url, fresh: bench.fresh };
    let mut report = BenchReport::new(subject, &plan, &run, server, bench.grid);
    let outcome = goal.map(|goal| (goal, Step::new(plan.rate, &run, goal)));
    if let Some((goal, step)) = outcome {
        report = report.with_goal(goal, step);
    }
    if let Some(steps) = &steps {
        report = report.with_search(steps);
    }
    if bench.remote.json {
        json(&report)?;
    } else {
        text(print(&report, chart_columns()))?;
    }
    warn(&run, steps.as_deref());
    verdict(bench, &plan, &run, outcome)
}

/// Returns the parts of the request.
fn parts(bench: &Bench) -> HttpParts {
    let mut parts = bench.http.clone();
    if bench.fresh {
        // Nothing of the call is kept either: millions of calls would evict other results.
        let value = HeaderValue::from_static("no-cache, no-store");
        parts.headers.push(Header { name: header::CACHE_CONTROL, value });
    }
    parts
}

/// Makes one call, so that a mistake is reported instead of measured. Returns the version that
/// answered.
fn check(
    client: &Client<'_>,
    bench: &Bench,
    input: &Input,
    parts: &HttpParts,
) -> anyhow::Result<Option<String>> {
    let reply = client.call(&bench.function.to_string(), input, parts, None)?;
    if let Some(failure) = reply.failure() {
        let failed = format!("`{}` gave no answer, so there is nothing to measure", bench.function);
        return Err(anyhow::Error::new(failure).context(failed));
    }
    let version = reply.header("nebula-function").and_then(|value| value.split(';').next());
    Ok(version.map(str::to_owned))
}

/// Finds the server's process: it listens for calls or, behind a proxy, at the control plane that
/// names the proxy as its data plane.
fn server(client: &Client<'_>, plane: &PlaneUrl) -> Result<ServerProcess, String> {
    let listens = ServerProcess::at(plane);
    let behind = || {
        let told = plane.is_loopback().then(|| client.told_calls_url().ok()).flatten()?;
        let control = &client.connection().ok()?.control;
        (told == *plane).then(|| ServerProcess::at(control).ok()).flatten()
    };
    listens.or_else(|reason| behind().ok_or(reason))
}

/// A benchmark while it runs.
struct Session<'a> {
    bench: &'a Bench,
    target: Arc<Target>,
    server: Result<ServerMeter, String>,
    progress: ProgressBar,
}

/// The findings of a benchmark.
struct Found {
    /// The load that is reported.
    plan: Plan,
    run: Run,
    server: ServerUse,
    goal: Option<Goal>,
    /// The steps of a search, if there was one.
    steps: Option<Vec<Step>>,
}

impl Session<'_> {
    async fn measure(&mut self) -> anyhow::Result<Found> {
        let mut interrupt = Interrupt::catch()?;
        match self.bench.rate {
            Some(rate) => {
                let plan = self.plan(rate);
                let (run, server) = self.load(plan, &mut interrupt).await?;
                Ok(Found { plan, run, server, goal: self.bench.goal, steps: None })
            }
            None => self.search(&mut interrupt).await,
        }
    }

    /// Returns the load of a whole measurement.
    fn plan(&self, rate: Rate) -> Plan {
        let &Bench { arrivals, duration, warm_up, connections, timeout, .. } = self.bench;
        let connections = usize::from(connections);
        Plan { rate, arrivals, connections, warm_up, window: duration, timeout, grace: timeout }
    }

    /// Returns the load of a step of a search.
    fn step(&self, rate: Rate, goal: Goal) -> Plan {
        let whole = self.plan(rate);
        let time_of = |requests: f64| Duration::from_secs_f64(requests / rate.per_s());
        let window = time_of(STEP_REQUESTS).clamp(STEP_MIN, STEP_MAX).min(whole.window);
        Plan {
            window: window.max(time_of(STEP_REQUESTS_MIN)),
            warm_up: whole.warm_up.min(STEP_WARM_UP_MAX),
            grace: whole.grace.min(goal.latency() + STEP_GRACE),
            ..whole
        }
    }

    async fn load(&mut self, plan: Plan, interrupt: &mut Interrupt) -> anyhow::Result<(Run, ServerUse)> {
        let total = plan.warm_up + plan.window;
        let mut watch = Watch { server: self.server.as_mut().ok(), progress: &self.progress, plan, total };
        let run = run_load(&self.target, plan, interrupt, &mut watch).await?;
        let server = match &mut self.server {
            Ok(meter) => meter.finish().ok_or_else(|| "the server has ended".to_owned()),
            Err(reason) => Err(reason.clone()),
        };
        Ok((run, server))
    }

    /// Searches the highest rate that holds the goal, and measures it.
    async fn search(&mut self, interrupt: &mut Interrupt) -> anyhow::Result<Found> {
        let goal = self.bench.goal.unwrap_or_default();
        self.progress.set_message("calling one after the other, to find a rate to begin with");
        let pilot = Pilot::run(&self.target, self.bench.warm_up, self.bench.timeout).await?;
        if pilot.fastest > goal.latency() {
            let fastest = duration(pilot.fastest);
            let message =
                format!("no rate holds {goal}: single calls of `{}` took {fastest}", self.bench.function);
            return Err(hinted(message, MORE_TIME_HINT).into());
        }
        let mut search = Search::new(pilot.rate);
        let mut steps = Vec::new();
        let mut last = None;
        while let Some(rate) = search.next() {
            let plan = self.step(rate, goal);
            let (run, server) = self.load(plan, interrupt).await?;
            if run.stop.is_some() {
                return Ok(Found { plan, run, server, goal: None, steps: Some(steps) });
            }
            let step = self.judge(&plan, &run, goal);
            search.saw(rate, step.verdict == Verdict::Held);
            steps.push(step);
            last = Some((plan, run, server));
        }
        let mut next = search.best();
        for _ in 0..ATTEMPTS_MAX {
            let Some(rate) = next else { break };
            let plan = self.plan(rate);
            let (run, server) = self.load(plan, interrupt).await?;
            if run.stop.is_some() {
                return Ok(Found { plan, run, server, goal: None, steps: Some(steps) });
            }
            let step = self.judge(&plan, &run, goal);
            steps.push(step);
            next = match step.verdict {
                Verdict::Held => None,
                Verdict::Missed | Verdict::GeneratorBehind => Some(Rate::nearest(rate.per_s() * 0.9)),
            };
            last = Some((plan, run, server));
        }
        let (plan, run, server) = last.context("a search has a first step")?;
        Ok(Found { plan, run, server, goal: Some(goal), steps: Some(steps) })
    }

    /// Judges a load, and shows the verdict if stderr is a terminal.
    fn judge(&self, plan: &Plan, run: &Run, goal: Goal) -> Step {
        let step = Step::new(plan.rate, run, goal);
        let (seen, time) = (duration(step.seen), duration(plan.window));
        self.progress.println(format!(
            "{} for {time}: p{} {seen}, {}",
            plan.rate,
            goal.percentile(),
            step.verdict
        ));
        step
    }
}

/// Measures the server and shows the progress of a load.
struct Watch<'a> {
    server: Option<&'a mut ServerMeter>,
    progress: &'a ProgressBar,
    plan: Plan,
    total: Duration,
}

impl Observer for Watch<'_> {
    fn begin(&mut self) {
        if let Some(server) = &mut self.server {
            server.begin();
        }
    }

    fn tick(&mut self, elapsed: Duration, tally: &Tally) {
        if let Some(server) = &mut self.server {
            server.sample();
        }
        if self.progress.is_hidden() {
            return;
        }
        let left = duration(self.total.saturating_sub(elapsed));
        let mut message = format!("{}, {left} left", self.plan.rate);
        if elapsed < self.plan.warm_up {
            message.push_str(", warming up");
        } else if !tally.latencies.is_empty() {
            let p99 = duration(tally.latencies.percentile(99.0));
            message.push_str(&format!(", {} answers, p99 {p99}", tally.answers()));
        }
        if tally.failures() > 0 {
            message.push_str(&format!(", {} failed", tally.failures()));
        }
        self.progress.set_message(message);
        self.progress.tick();
    }
}

/// Warns of what makes the figures mean something else.
fn warn(run: &Run, steps: Option<&[Step]>) {
    let limited = steps.into_iter().flatten().any(|step| step.verdict == Verdict::GeneratorBehind);
    if !run.generator.kept_up() {
        note(
            "warning: the load generator fell behind, so this isn't an open loop: requests were sent late through no \
             fault of the server. Lower the rate, or free a core",
        );
    } else if limited {
        note("warning: the load generator fell behind at higher rates: the server may hold more");
    }
}

/// Returns the exit code, once the report is printed.
fn verdict(bench: &Bench, plan: &Plan, run: &Run, outcome: Option<(Goal, Step)>) -> anyhow::Result<ExitCode> {
    match run.stop {
        Some(Stop::Interrupted) => return Ok(ExitCode::SUCCESS),
        Some(Stop::ServerGone) => {
            let message = format!("the server was gone after {}", duration(run.measured));
            return Err(Failure::new(FailureKind::NoServer, message).into());
        }
        None => {}
    }
    if run.tally.answers() == 0 {
        return Err(Failure::new(FailureKind::Failed, "no request was answered").into());
    }
    let Some((goal, step)) = outcome.filter(|(_, step)| step.verdict != Verdict::Held) else {
        return Ok(ExitCode::SUCCESS);
    };
    let message = format!("`{}` misses {goal} at {}: {}", bench.function, plan.rate, duration(step.seen));
    match bench.rate {
        Some(_) => Err(Failure::new(FailureKind::Failed, message).into()),
        None => Err(hinted(message, MORE_TIME_HINT).into()),
    }
}
