//! `nebula invoke`: calls a deployed function or a component file.
//!
//! The output goes to stdout unchanged; the log and all messages go to stderr.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::{Answer, CallError, CallOutcome, Codegen};
use serde::Serialize;

use crate::args::{Invoke, Target};
use crate::client::{CallReply, Client, problem};
use crate::input::{Input, InputArgument};
use crate::local::{LocalFunction, read_component};
use crate::report::{hinted, json, note};

/// The answer of a call, as `--json` prints it.
#[derive(Serialize)]
struct Outcome {
    /// Set if the function returned a value, not its own error.
    ok: bool,
    media_type: String,
    /// The body: a JSON document, text, or `{"base64": …}`.
    #[serde(serialize_with = "readable")]
    output: Vec<u8>,
    /// The log; `None` if the function ran on a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
}

/// Serializes the output as JSON.
fn readable<S: serde::Serializer>(output: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(document) = serde_json::from_slice::<&serde_json::value::RawValue>(output) {
        return document.serialize(serializer);
    }
    match std::str::from_utf8(output) {
        Ok(text) => text.serialize(serializer),
        Err(_) => {
            use base64::Engine;

            let text = base64::engine::general_purpose::STANDARD.encode(output);
            std::collections::BTreeMap::from([("base64", text)]).serialize(serializer)
        }
    }
}

pub(crate) fn run(invoke: &Invoke) -> anyhow::Result<ExitCode> {
    let input = Input::read_or_piped(InputArgument {
        text: invoke.input.as_deref(),
        media_type: invoke.content_type.as_deref(),
    })?;
    let outcome = match Target::parse(&invoke.function)? {
        Target::Deployed(reference) => call_deployed(invoke, &reference, &input)?,
        Target::File(path) => {
            if invoke.receipt.is_some() {
                let hint = "deploy it and call it by name";
                return Err(hinted("only a server issues receipts", hint).into());
            }
            let component = read_component(&path)?;
            let local = LocalFunction::open(component, invoke.limits.overrides(), Codegen::Optimised)
                .with_context(|| format!("cannot run `{}`", path.display()))?;
            local_outcome(local.call(&input))?
        }
    };
    if invoke.remote.json {
        json(&outcome)?;
    } else if outcome.ok {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&outcome.output)?;
        if stdout.is_terminal() && !outcome.output.ends_with(b"\n") {
            stdout.write_all(b"\n")?;
        }
    } else {
        let error = String::from_utf8_lossy(&outcome.output).into_owned();
        return Err(anyhow::anyhow!(error).context("the function returned its own error"));
    }
    Ok(if outcome.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn call_deployed(invoke: &Invoke, reference: &FunctionRef, input: &Input) -> anyhow::Result<Outcome> {
    if invoke.limits.any() {
        let hint = "`nebula deploy` sets them; leave them out here";
        return Err(hinted("a deployed function has its own limits", hint).into());
    }
    let wants =
        invoke.receipt.as_ref().map(|_| if invoke.keep_input { "receipt=with-input" } else { "receipt" });
    let reply = Client::new(&invoke.remote).call(&reference.to_string(), input, wants)?;
    if let Some(path) = &invoke.receipt {
        write_receipt(path, &reply, invoke.keep_input)?;
    }
    match reply.status.as_u16() {
        200..300 => Ok(Outcome { ok: true, media_type: reply.media_type, output: reply.body, log: None }),
        422 => Ok(Outcome { ok: false, media_type: reply.media_type, output: reply.body, log: None }),
        _ => Err(problem(reply.status, &reply.body).context(format!("`{reference}` gave no answer"))),
    }
}

fn write_receipt(path: &Path, reply: &CallReply, keep_input: bool) -> anyhow::Result<()> {
    let Some(receipt) = &reply.receipt else {
        // An earlier receipt mustn't be mistaken for this call's.
        let _ = std::fs::remove_file(path);
        if reply.status.is_success() || reply.status.as_u16() == 422 {
            let hint = "older servers issue none, and no server issues one for a media type over 255 bytes";
            return Err(hinted("the server issued no receipt", hint).into());
        }
        note("failed calls have no receipt");
        return Ok(());
    };
    std::fs::write(path, format!("{receipt}\n"))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    if keep_input && !reply.input_kept {
        note("the server has no room for the input: keep it yourself to replay the call");
    }
    Ok(())
}

fn local_outcome(called: CallOutcome) -> anyhow::Result<Outcome> {
    let log = called.log.text();
    if !log.is_empty() {
        note(log.trim_end());
    }
    let (ok, content) = match called.result.map_err(|error| explained(&error))? {
        Answer::Value(content) => (true, content),
        Answer::Error(content) => (false, content),
        Answer::Http(response) => {
            let media_type = response.headers().get(http::header::CONTENT_TYPE);
            let media_type = media_type.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            let ok = response.status().is_success();
            let body = response.into_body();
            return Ok(Outcome { ok, media_type, output: body.to_vec(), log: Some(log) });
        }
    };
    Ok(Outcome {
        ok,
        media_type: content.media_type.into_owned(),
        output: content.body.to_vec(),
        log: Some(log),
    })
}

/// Returns the error of a failed call, with the guest's backtrace and a hint.
fn explained(error: &CallError) -> anyhow::Error {
    let (failure, hint) = match error {
        CallError::Trapped(failure)
        | CallError::StackExhausted(failure)
        | CallError::InvalidAnswer(failure) => (Some(failure), None),
        CallError::ResourceLimit { failure, .. } => {
            (Some(failure), Some("raise the limit with `--memory-bytes-max`"))
        }
        CallError::DeadlineExceeded { .. } => (None, Some("raise the limit with `--deadline-ms`")),
        CallError::OutputTooLarge { .. } => (None, Some("raise the limit with `--output-bytes-max`")),
        CallError::InputTooLarge { .. } => (None, Some("raise the limit with `--input-bytes-max`")),
        CallError::BadInput(_) | CallError::UnsupportedMediaType { .. } => {
            (None, Some("`nebula inspect` shows the function's signature"))
        }
        CallError::UnsupportedInput(_)
        | CallError::Failed { .. }
        | CallError::Step(_)
        | CallError::PipelineLimit { .. }
        | CallError::Overloaded { .. }
        | CallError::NoSlot
        | CallError::Load(_)
        | CallError::Internal(_) => (None, None),
    };
    let frames = failure.map(|failure| failure.backtrace.clone()).unwrap_or_default();
    let mut message = error.to_string();
    for frame in frames {
        message.push_str("\n    at ");
        message.push_str(&frame);
    }
    match hint {
        Some(hint) => hinted(message, hint).into(),
        None => anyhow::anyhow!(message),
    }
}
