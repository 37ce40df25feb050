//! `nebula explain`: makes a call and prints the outcome of each step.

use std::process::ExitCode;

use anyhow::Context;
use nebula_http::wire::CallExplanation;

use crate::args::Explain;
use crate::client::Client;
use crate::failure::FailureKind;
use crate::input::{Input, InputArgument};
use crate::report::{json, line};

pub(crate) fn run(explain: &Explain) -> anyhow::Result<ExitCode> {
    let input = Input::read_or_piped(InputArgument {
        texts: &explain.input,
        media_type: explain.content_type.as_deref(),
    })?;
    let call = Client::new(&explain.remote)
        .explain(&explain.function, &input)
        .with_context(|| format!("cannot explain `{}`", explain.function))?;
    if explain.remote.json {
        json(&call)?;
    } else {
        print(&call)?;
    }
    Ok(match call.outcome.as_str() {
        "ok" => ExitCode::SUCCESS,
        "error" => FailureKind::OwnError.into(),
        _ => FailureKind::Trap.into(),
    })
}

fn print(call: &CallExplanation) -> anyhow::Result<()> {
    let width = call.steps.iter().map(|step| step.step.chars().count()).max().unwrap_or(0);
    for step in &call.steps {
        let outcome = if step.failed { "  failed" } else { "" };
        line(format!("{:width$}  {:4}  {:>10}{outcome}", step.step, step.cache, milliseconds(step.took_us)))?;
        line(format!("    in   {}", step.input))?;
        line(format!("    out  {}", step.output))?;
    }
    line(format!("{} in {}: {}", call.outcome, milliseconds(call.took_us), call.output))
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03} ms", us / 1000, us % 1000)
}
