//! `nebula invoke`: calls a deployed function or a component file.
//!
//! The output goes to stdout unchanged; the log and all messages go to stderr.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::limits::{LimitOverrides, Limits};
use nebula_runtime::{
    Answer, CallError, CallOutcome, Codegen, Configuration, Settings, SettingsBase, SettingsUpdate,
};
use serde::Serialize;

use crate::args::{Invoke, Target};
use crate::client::{CallReply, Client};
use crate::failure::{Failure, FailureKind};
use crate::input::{Input, InputArgument};
use crate::local::{LocalFunction, read_component};
use crate::project::ComponentConfig;
use crate::report::{self, hinted, json, note};

/// The status of a function's own error, unless the function is of the http form.
const OWN_ERROR_STATUS: u16 = 422;

/// The answer of a call, as `--json` prints it.
#[derive(Serialize)]
struct Outcome {
    /// Set if the function returned a value, not its own error.
    ok: bool,
    /// The HTTP status; `None` if no HTTP was spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
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
        texts: &invoke.input,
        media_type: invoke.content_type.as_deref(),
    })?;
    let outcome = match &invoke.function {
        Target::Deployed(reference) => call_deployed(invoke, reference, &input)?,
        Target::File(path) => {
            if invoke.receipt.is_some() {
                let hint = "deploy it and call it by name";
                return Err(Failure::usage("only a server issues receipts", hint).into());
            }
            let component = read_component(path)?;
            let (limits, config) = (limits(invoke)?, configuration(invoke, path)?);
            let local = LocalFunction::open(component, limits, config, Codegen::Optimised)
                .with_context(|| format!("cannot run `{}`", path.display()))?;
            local_outcome(local.call(&input, &invoke.http)?)?
        }
    };
    if invoke.remote.json {
        json(&outcome)?;
    } else if outcome.ok {
        report::bytes(&outcome.output)?;
        if std::io::stdout().is_terminal() && !outcome.output.ends_with(b"\n") {
            report::bytes(b"\n")?;
        }
    } else {
        let error = String::from_utf8_lossy(&outcome.output).into_owned();
        let own = match outcome.status {
            Some(status) if status != OWN_ERROR_STATUS => {
                format!("the function answered with status {status}")
            }
            _ => "the function returned its own error".to_owned(),
        };
        return Err(anyhow::anyhow!(error).context(Failure::new(FailureKind::OwnError, own)));
    }
    Ok(if outcome.ok { ExitCode::SUCCESS } else { FailureKind::OwnError.into() })
}

/// Returns the limits that are given for a component file.
pub(super) fn limits(invoke: &Invoke) -> anyhow::Result<LimitOverrides> {
    let given = invoke.limits.overrides();
    match Limits::default().with(&given) {
        Ok(_) => Ok(given),
        Err(error) => Err(Failure::usage(error.to_string(), "give a lower limit").into()),
    }
}

/// Returns the configuration of a component file: the constants that were given, over those in the
/// `nebula.toml` beside it.
pub(super) fn configuration(invoke: &Invoke, component: &Path) -> anyhow::Result<Configuration> {
    let beside = ComponentConfig::beside(component, None)?.settings.unwrap_or_default();
    let given = Settings { config: invoke.config.configuration(), ..Settings::default() };
    Ok(SettingsUpdate::new(SettingsBase::Current, &given).apply(&beside).config)
}

/// Refuses options that a deployed function has settings for.
pub(super) fn refuse_settings(invoke: &Invoke) -> anyhow::Result<()> {
    if !invoke.limits.any() && invoke.config.config.is_empty() {
        return Ok(());
    }
    let hint = "`nebula deploy` sets them; leave them out here";
    Err(Failure::usage("a deployed function has its own limits and configuration", hint).into())
}

fn call_deployed(invoke: &Invoke, reference: &FunctionRef, input: &Input) -> anyhow::Result<Outcome> {
    refuse_settings(invoke)?;
    let wants =
        invoke.receipt.as_ref().map(|_| if invoke.keep_input { "receipt=with-input" } else { "receipt" });
    let reply = Client::new(&invoke.remote).call(&reference.to_string(), input, &invoke.http, wants)?;
    if let Some(path) = &invoke.receipt {
        write_receipt(path, &reply, invoke.keep_input)?;
    }
    if let Some(failure) = reply.failure() {
        return Err(anyhow::Error::new(failure).context(format!("`{reference}` gave no answer")));
    }
    Ok(Outcome {
        ok: is_ok(reply.status),
        status: Some(reply.status.as_u16()),
        media_type: reply.media_type().to_owned(),
        output: reply.body,
        log: None,
    })
}

/// Returns whether a status is that of a value. Functions of the http form choose theirs.
fn is_ok(status: http::StatusCode) -> bool {
    !status.is_client_error() && !status.is_server_error()
}

fn write_receipt(path: &Path, reply: &CallReply, keep_input: bool) -> anyhow::Result<()> {
    let Some(receipt) = reply.header("nebula-receipt") else {
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
    if keep_input && reply.header("preference-applied") != Some("receipt=with-input") {
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
            let status = response.status();
            return Ok(Outcome {
                ok: is_ok(status),
                status: Some(status.as_u16()),
                media_type,
                output: response.into_body().to_vec(),
                log: Some(log),
            });
        }
    };
    Ok(Outcome {
        ok,
        status: None,
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
    let failure = Failure::new(error.fault().into(), message);
    match hint {
        Some(hint) => failure.with_hint(hint).into(),
        None => failure.into(),
    }
}
