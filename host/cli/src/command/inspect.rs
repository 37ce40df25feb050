//! `nebula inspect`: prints the facts about a function, deployed or in a file.

use nebula_http::wire::{Disagreement, FunctionDetail, FunctionVersion, LinkedFunction};
use nebula_runtime::id::Selector;
use nebula_runtime::limits::LimitOverrides;
use nebula_runtime::{Codegen, Configuration};

use crate::args::{Inspect, Target};
use crate::client::Client;
use crate::failure::Failure;
use crate::local::{LocalFunction, read_component};
use crate::report::{json, line, text};
use crate::wit;

pub(crate) fn run(inspect: &Inspect) -> anyhow::Result<()> {
    match &inspect.function {
        Target::File(path) => {
            let component = read_component(path)?;
            let local = LocalFunction::open(
                component.clone(),
                LimitOverrides::default(),
                Configuration::default(),
                Codegen::Baseline,
            )
            .map_err(|error| {
                error.context(format!("`{}` is not a function that can run here", path.display()))
            })?;
            let record = &FunctionVersion::from(local.record().clone());
            let wit = wit::exports(&component)?;
            if inspect.remote.json {
                let mut value = serde_json::to_value(record)?;
                value["wit"] = wit.into();
                // The component isn't deployed: fields that a deploy sets would mislead.
                if let Some(object) = value.as_object_mut() {
                    for absent in ["name", "version", "deployed_at_unix_s", "limits"] {
                        object.remove(absent);
                    }
                }
                return json(&value);
            }
            line(path.display())?;
            text(description(record))?;
            line(format!("\n{wit}"))?;
        }
        Target::Deployed(reference) => {
            if reference.selector != Selector::Current {
                let hint = format!("`nebula inspect {}` shows all of them", reference.name);
                return Err(
                    Failure::usage("`inspect` takes a function's name without a version", hint).into()
                );
            }
            let client = Client::new(&inspect.remote);
            let detail = client.detail(&reference.name)?;
            if let Some(composition) = &detail.current.pipeline {
                if inspect.remote.json {
                    return json(&detail);
                }
                text(history(&detail))?;
                return line(format!("\n{}", serde_json::to_string_pretty(&composition.description)?));
            }
            let wit = wit::exports(&client.component(&reference.name)?)?;
            if inspect.remote.json {
                let mut value = serde_json::to_value(&detail)?;
                value["wit"] = wit.into();
                return json(&value);
            }
            text(history(&detail))?;
            line(format!("\n{wit}"))?;
        }
    }
    Ok(())
}

fn history(detail: &FunctionDetail) -> String {
    let current = &detail.current;
    let mut text = format!("{} {}\n{}", current.name, current.version, description(current));
    let limits = serde_json::to_value(&current.limits).unwrap_or_default();
    for (limit, value) in limits.as_object().into_iter().flatten() {
        text.push_str(&format!("  limit      {limit} = {value}\n"));
    }
    let hosts: Vec<_> = current.hosts.iter().map(ToString::to_string).collect();
    let hosts = if hosts.is_empty() { vec![String::new()] } else { hosts };
    for (host, path) in hosts.iter().flat_map(|host| current.routes.iter().map(move |path| (host, path))) {
        text.push_str(&format!("  route      {host}{path}\n"));
    }
    for (key, value) in current.config.iter() {
        text.push_str(&format!("  config     {key} = {value:?}\n"));
    }
    if let Some(Disagreement { computed, cached, input, .. }) = &detail.disagreement {
        text.push_str(&format!(
            "  distrusted recomputed, it answered {computed} instead of {cached} to {input}\n"
        ));
    }
    for version in detail.versions.iter().rev() {
        let here = if version.version == current.version { "  (current)" } else { "" };
        text.push_str(&format!("  version    {} {}{here}\n", version.version, version.digest));
    }
    text
}

fn description(record: &FunctionVersion) -> String {
    let form = format!("{:?}", record.form).to_lowercase();
    let mut text = format!(
        "  form       {form}\n  digest     {}\n  size       {} bytes\n",
        record.digest, record.size_bytes
    );
    if let Some(summary) = record.docs.as_ref().and_then(|docs| docs.lines().next()) {
        let summary = summary.replace(char::is_control, "\u{fffd}");
        text.push_str(&format!("  about      {summary}\n"));
    }
    for import in &record.imports {
        text.push_str(&format!("  imports    {import}\n"));
    }
    linked(&record.linked, "", &mut text);
    for line in &record.notes {
        text.push_str(&format!("  note       {line}\n"));
    }
    text
}

/// Lists the linked functions, each followed by the functions linked into it.
fn linked(functions: &[LinkedFunction], indent: &str, text: &mut String) {
    for LinkedFunction { name, version, digest, linked: inner } in functions {
        text.push_str(&format!("  linked     {indent}{name} {version} {digest}\n"));
        linked(inner, &format!("{indent}  "), text);
    }
}
