//! `nebula replay`: makes an answer again from its receipt, and compares. What runs, runs in this process.

use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use nebula_runtime::Codegen;
use nebula_runtime::id::Digest;
use nebula_runtime::limits::{DEADLINE_MS_CEILING, LimitOverrides};
use nebula_runtime::receipt::{OutputReceipt, Receipt};
use serde::Serialize;

use crate::args::Replay;
use crate::client::Client;
use crate::input::Input;
use crate::local::{Local, read_component};
use crate::receipt;
use crate::report::{hinted, json, note};

#[derive(Serialize)]
struct Verdict<'a> {
    agreed: bool,
    expected: &'a OutputReceipt,
    found: OutputReceipt,
    /// What computed the answer then, and now.
    engines: [&'a str; 2],
}

pub(crate) fn run(replay: &Replay) -> anyhow::Result<ExitCode> {
    let signed = receipt::read(&replay.receipt)?;
    let receipt = signed.unchecked();
    let component = component(replay, receipt)?;
    let document = match &replay.input {
        Some(input) => Input::read(input, None)?.body,
        None => Client::new(&replay.remote).input(&receipt.input.digest).map_err(|error| {
            let hint = "give it with `--input`; callers have inputs kept with `Prefer: receipt=with-input`, or `--keep-input`";
            error.context(hinted("the server doesn't have the input of this receipt", hint))
        })?,
    };
    let request = receipt.request(&document)?;
    // How long it may take is no part of what it answers.
    let limits = LimitOverrides { deadline_ms: NonZeroU64::new(DEADLINE_MS_CEILING), ..receipt.limits() };
    let local = Local::open(component, limits, Codegen::Optimised)
        .with_context(|| format!("cannot run the component of `{}`", receipt.function))?;
    let called = local.call_with(request, receipt.prefer);
    let found = match &called.result {
        Ok(answer) => OutputReceipt::of(answer),
        Err(error) => anyhow::bail!("`{}` answered then, and now: {error}", receipt.function),
    };
    let verdict = Verdict {
        agreed: found == receipt.output,
        expected: &receipt.output,
        found,
        engines: [&receipt.engine, &called.engine],
    };
    if replay.remote.json {
        json(&verdict)?;
    } else if verdict.agreed {
        println!("agreed: {}", verdict.found.digest());
    } else {
        println!("disagreed: {}, and the receipt is of {}", verdict.found.digest(), receipt.output.digest());
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

/// The component that the receipt names, from a file or the server.
fn component(replay: &Replay, receipt: &Receipt) -> anyhow::Result<Bytes> {
    let component = match &replay.component {
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
    let found = Digest::of(&component);
    anyhow::ensure!(
        found == receipt.component,
        "this component is {found}, and the receipt is of {}",
        receipt.component
    );
    Ok(component)
}
