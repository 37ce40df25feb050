//! `nebula replay`: recomputes an answer from its receipt, in this process, and compares the two.

use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context;
use nebula_http::wire::FunctionVersion;
use nebula_runtime::id::{Digest, FunctionRef, Selector};
use nebula_runtime::limits::{DEADLINE_MS_CEILING, LimitOverrides};
use nebula_runtime::receipt::{OutputReceipt, Receipt};
use nebula_runtime::{CallError, Codegen, Configuration, Fault};
use serde::Serialize;

use crate::args::Replay;
use crate::bundle::Bundle;
use crate::client::Client;
use crate::failure::Failure;
use crate::hints::guide;
use crate::input::Input;
use crate::local::{LocalFunction, read_component};
use crate::receipt;
use crate::report::{hinted, json, line, note};

#[derive(Serialize)]
struct Verdict<'a> {
    agreed: bool,
    expected: &'a OutputReceipt,
    found: Found,
    /// The engines that computed the answer then and now.
    engines: [&'a str; 2],
}

/// The outcome of the recomputation.
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
            let hint = "give it with `--input`; a server keeps the input of a call with `--keep-input` or `Prefer: receipt=with-input`";
            error.context(hinted("the server doesn't have the input of this receipt", hint))
        })?,
    };
    let request = receipt.request(&document).map_err(|error| {
        let hint = concat!(
            "a query or a whole request is given as its document, as described in ",
            guide!("receipts.md")
        );
        hinted(error.to_string(), hint)
    })?;
    // The deadline isn't part of the answer.
    let bundle =
        bundle.with_limits(receipt.limits()).with_deadlines(|_| NonZeroU64::new(DEADLINE_MS_CEILING));
    let local = LocalFunction::open_bundle(&bundle, Codegen::Optimised)
        .with_context(|| format!("cannot run `{}`", receipt.function))?;
    let called = local.call_with(request, receipt.prefer);
    let found = match &called.result {
        Ok(answer) => Found::Answer(OutputReceipt::of(answer)),
        // These errors depend on the machine, not on the function.
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
        line(format!("agreed: {}", receipt.output.digest()))?;
    } else {
        line("disagreed")?;
        line(format!("  then  {}", serde_json::to_string(verdict.expected)?))?;
        line(format!("  now   {}", serde_json::to_string(&verdict.found)?))?;
    }
    if !verdict.agreed && !receipt.is_of_these_semantics() {
        note(format!(
            "the sandbox has changed since: the receipt is from {}, this is {}",
            verdict.engines[0], verdict.engines[1]
        ));
    }
    Ok(if verdict.agreed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the function that the receipt names: a component from a file or the server, or a
/// pipeline from the server with all that it calls.
fn bundle(replay: &Replay, receipt: &Receipt) -> anyhow::Result<Bundle> {
    let named = match &replay.component {
        Some(path) => read_component(path)?,
        None => Client::new(&replay.remote)
            .component_of(&receipt.component)
            .map_err(|error| {
                let hint =
                    "a server keeps a component while a version has it: give the file with `--component`";
                error.context(hinted("the server doesn't have the component of this receipt", hint))
            })?
            .into(),
    };
    let found = Digest::of(&named);
    if found != receipt.component {
        let hint = "leave out `--component` to get it from the server";
        let message = format!("this component is {found}; the receipt names {}", receipt.component);
        return Err(hinted(message, hint).into());
    }
    if !is_description(&named) {
        return Bundle::of_component(named, LimitOverrides::default(), configuration(replay, receipt)?);
    }
    // The record of the version has the pinned versions and their limits.
    let client = Client::new(&replay.remote);
    let function: FunctionRef = receipt.function.parse().context("the receipt doesn't name a function")?;
    let versions = client.detail(&function.name)?.versions;
    let is_it = |record: &FunctionVersion| {
        record.digest == receipt.component && function.selector == Selector::Version(record.version)
    };
    let Some(record) = versions.into_iter().find(is_it) else {
        let message = format!("the server's `{}` has another content than the receipt's", receipt.function);
        return Err(hinted(message, "replay a pipeline against the server where it was deployed").into());
    };
    Bundle::fetch(&client, &record)
}

/// Returns the configuration that the receipt names: the given one, or that of the version on the
/// server.
fn configuration(replay: &Replay, receipt: &Receipt) -> anyhow::Result<Configuration> {
    let given = replay.config.configuration();
    let Some(expected) = receipt.config else {
        if given.is_empty() {
            return Ok(given);
        }
        let hint = "leave out `--config`";
        return Err(Failure::usage("the function of this receipt had no configuration", hint).into());
    };
    let found = match given.is_empty() {
        false => given,
        true => configuration_on_server(replay, receipt).map_err(|error| {
            let hint = "give it with `--config KEY=VALUE`, once for each constant";
            error.context(hinted("the server doesn't have the configuration of this receipt", hint))
        })?,
    };
    if found.digest() == Some(expected) {
        return Ok(found);
    }
    let hint = "give all its constants with `--config KEY=VALUE`";
    Err(hinted("the receipt is of a call with another configuration", hint).into())
}

fn configuration_on_server(replay: &Replay, receipt: &Receipt) -> anyhow::Result<Configuration> {
    let function: FunctionRef = receipt.function.parse().context("the receipt doesn't name a function")?;
    let versions = Client::new(&replay.remote).detail(&function.name)?.versions;
    let mut versions = versions.into_iter();
    let record = versions.find(|record| function.selector == Selector::Version(record.version));
    Ok(record.with_context(|| format!("the server has no `{function}`"))?.config)
}

/// Returns whether the content is a pipeline's description (JSON), not a component.
fn is_description(content: &[u8]) -> bool {
    content.starts_with(b"{")
}
