//! `nebula verify`: checks that a function is pure.
//!
//! The same call on fresh instances and on differently compiled code must give the same bytes. All
//! steps of a pipeline run each time, in this process.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context;
use nebula_runtime::id::Selector;
use nebula_runtime::limits::DEADLINE_MS_CEILING;
use nebula_runtime::{Answer, CallOutcome, Codegen, Fault};
use serde::Serialize;

use super::invoke::{configuration, limits, refuse_settings};
use crate::args::{Target, Verify};
use crate::bundle::Bundle;
use crate::client::Client;
use crate::failure::Failure;
use crate::input::{Input, InputArgument};
use crate::local::{LocalFunction, read_component};
use crate::report::{json, line};

/// The factor by which deadlines are raised: unoptimised code is about this much slower.
const SLOWDOWN: u64 = 20;

#[derive(Serialize)]
struct Verdict {
    agreed: bool,
    calls: u32,
    /// The number of calls for each outcome; one entry if all agreed.
    outcomes: BTreeMap<String, u32>,
}

pub(crate) fn run(verify: &Verify) -> anyhow::Result<ExitCode> {
    let invoke = &verify.invoke;
    if invoke.receipt.is_some() {
        let hint = "`nebula invoke --receipt` calls a deployed function for one";
        return Err(Failure::usage("`verify` runs the function here, and gets no receipt", hint).into());
    }
    let input = Input::read_or_piped(InputArgument {
        texts: &invoke.input,
        media_type: invoke.content_type.as_deref(),
    })?;
    let bundle = match &invoke.function {
        Target::File(path) => {
            let component = read_component(path)?;
            Bundle::of_component(component, limits(invoke)?, configuration(invoke, path)?)?
        }
        Target::Deployed(reference) => {
            if reference.selector != Selector::Current {
                let hint = format!("`nebula verify {}` verifies the current version", reference.name);
                return Err(Failure::usage("`verify` takes a function's name without a version", hint).into());
            }
            refuse_settings(invoke)?;
            let client = Client::new(&invoke.remote);
            Bundle::fetch(&client, &client.detail(&reference.name)?.current)?
        }
    };
    let longer =
        |given: NonZeroU64| NonZeroU64::new(given.get().saturating_mul(SLOWDOWN).min(DEADLINE_MS_CEILING));
    let bundle = bundle.with_deadlines(longer);
    let mut verdict = Verdict { agreed: false, calls: 0, outcomes: BTreeMap::new() };
    for codegen in [Codegen::Optimised, Codegen::Baseline] {
        let local = LocalFunction::open_bundle(&bundle, codegen)
            .with_context(|| format!("cannot run `{}`", invoke.function))?;
        for _ in 0..verify.runs.get() {
            *verdict.outcomes.entry(observed(&local.call(&input, &invoke.http)?)?).or_default() += 1;
            verdict.calls += 1;
        }
    }
    verdict.agreed = verdict.outcomes.len() == 1;
    if invoke.remote.json {
        json(&verdict)?;
    } else {
        let word = if verdict.agreed { "agreed" } else { "disagreed" };
        line(format!("{word}: {} calls, on optimised and unoptimised code", verdict.calls))?;
        for (outcome, times) in &verdict.outcomes {
            line(format!("  {times} × {outcome}"))?;
        }
    }
    Ok(if verdict.agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns a line that differs if a caller could see a difference.
fn observed(called: &CallOutcome) -> anyhow::Result<String> {
    let digest = |bytes: &[u8]| nebula_runtime::id::Digest::of(bytes);
    let log = called.log.text();
    let answer = match &called.result {
        Ok(Answer::Value(content)) => format!("{} {}", content.media_type, digest(&content.body)),
        Ok(Answer::Error(content)) => format!("its own error {}", digest(&content.body)),
        Ok(Answer::Http(response)) => {
            let headers = format!("{:?}", response.headers());
            let (head, body) = (digest(headers.as_bytes()), digest(response.body()));
            format!("{} headers {head} body {body}", response.status())
        }
        Err(error) => match error.fault() {
            Fault::Guest => error.to_string(),
            fault @ (Fault::Caller | Fault::Load | Fault::Host) => {
                return Err(Failure::new(fault.into(), error.to_string()).into());
            }
        },
    };
    Ok(if log.is_empty() { answer } else { format!("{answer}, log {}", digest(log.as_bytes())) })
}
