//! `nebula replay`: makes an answer again from its receipt, and compares. What runs, runs in this process.

use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context;
use nebula_http::wire::FunctionVersion;
use nebula_runtime::id::{Digest, FunctionRef, Selector};
use nebula_runtime::limits::{DEADLINE_MS_CEILING, LimitOverrides};
use nebula_runtime::receipt::{OutputReceipt, Receipt};
use nebula_runtime::{CallError, Codegen, Fault};
use serde::Serialize;

use crate::args::Replay;
use crate::bundle::Bundle;
use crate::client::Client;
use crate::input::Input;
use crate::local::{Local, read_component};
use crate::receipt;
use crate::report::{hinted, json, note};

#[derive(Serialize)]
struct Verdict<'a> {
    agreed: bool,
    expected: &'a OutputReceipt,
    found: Found,
    /// What computed the answer then, and now.
    engines: [&'a str; 2],
}

/// What it came to now.
#[derive(Serialize)]
#[serde(untagged)]
enum Found {
    Answer(OutputReceipt),
    Failure { outcome: &'static str, error: String },
}

pub(crate) fn run(replay: &Replay) -> anyhow::Result<ExitCode> {
    let signed = receipt::read(&replay.receipt)?;
    let receipt = signed.unchecked();
    let bundle = bundle(replay, receipt)?;
    let document = match &replay.input {
        Some(input) => Input::read(input, None)?.body,
        None => Client::new(&replay.remote).input(&receipt.input.digest).map_err(|error| {
            let hint = "give it with `--input`; callers have inputs kept with `Prefer: receipt=with-input`, or `--keep-input`";
            error.context(hinted("the server doesn't have the input of this receipt", hint))
        })?,
    };
    let request = receipt.request(&document).map_err(|error| {
        let hint =
            "the input of a query or of a whole request is its document: docs/receipts.md says what that is";
        hinted(error.to_string(), hint)
    })?;
    // How long it may take is no part of what it answers.
    let bundle =
        bundle.with_limits(receipt.limits()).with_deadlines(|_| NonZeroU64::new(DEADLINE_MS_CEILING));
    let local = Local::open_bundle(&bundle, Codegen::Optimised)
        .with_context(|| format!("cannot run `{}`", receipt.function))?;
    let called = local.call_with(request, receipt.prefer);
    let found = match &called.result {
        Ok(answer) => Found::Answer(OutputReceipt::of(answer)),
        // These say nothing of the function.
        Err(error)
            if matches!(**error, CallError::DeadlineExceeded { .. } | CallError::StackExhausted(_)) =>
        {
            anyhow::bail!(error.to_string())
        }
        Err(error) => match error.fault() {
            Fault::Caller | Fault::Guest => Found::Failure { outcome: "failed", error: error.to_string() },
            Fault::Load | Fault::Host => anyhow::bail!(error.to_string()),
        },
    };
    let verdict = Verdict {
        agreed: matches!(&found, Found::Answer(output) if *output == receipt.output),
        expected: &receipt.output,
        found,
        engines: [&receipt.engine, &called.engine],
    };
    if replay.remote.json {
        json(&verdict)?;
    } else if verdict.agreed {
        println!("agreed: {}", receipt.output.digest());
    } else {
        println!("disagreed");
        println!("  then  {}", serde_json::to_string(verdict.expected)?);
        println!("  now   {}", serde_json::to_string(&verdict.found)?);
    }
    if !verdict.agreed && !receipt.is_of_these_semantics() {
        note(format!(
            "what guests see has changed since: that was {}, and this is {}",
            verdict.engines[0], verdict.engines[1]
        ));
    }
    Ok(if verdict.agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the receipt names: a component, from a file or the server, or a pipeline, from the server with all that it calls.
fn bundle(replay: &Replay, receipt: &Receipt) -> anyhow::Result<Bundle> {
    let named = match &replay.component {
        Some(path) => read_component(path)?,
        None => Client::new(&replay.remote)
            .component_of(&receipt.component)
            .map_err(|error| {
                let hint =
                    "it is kept as long as a function has a version of it: give the file with `--component`";
                error.context(hinted("the server doesn't have the component of this receipt", hint))
            })?
            .into(),
    };
    let found = Digest::of(&named);
    if found != receipt.component {
        let hint = "leave out `--component`, and the server is asked for it";
        let message = format!("this component is {found}, and the receipt is of {}", receipt.component);
        return Err(hinted(message, hint).into());
    }
    if !is_description(&named) {
        return Bundle::of_component(named, LimitOverrides::default());
    }
    // Which versions it calls, and what they may use, is in its version's record.
    let client = Client::new(&replay.remote);
    let function: FunctionRef = receipt.function.parse().context("the receipt names no function")?;
    let versions = client.detail(&function.name)?.versions;
    let is_it = |record: &FunctionVersion| {
        record.digest == receipt.component && function.selector == Selector::Version(record.version)
    };
    let Some(record) = versions.into_iter().find(is_it) else {
        let message = format!("the server's `{}` is another than the receipt's", receipt.function);
        return Err(hinted(message, "a pipeline is made again where it was deployed").into());
    };
    Bundle::bring(&client, &record)
}

/// Whether this is a pipeline's description, which is JSON, and no component.
fn is_description(content: &[u8]) -> bool {
    content.starts_with(b"{")
}
