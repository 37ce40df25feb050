//! The control plane: deploys and what there is.
//!
//! ```text
//! GET    /api/v1/functions
//! PUT    /api/v1/functions/{name}[?deadline_ms=…]   a component
//! GET    /api/v1/functions/{name}
//! DELETE /api/v1/functions/{name}
//! POST   /api/v1/functions/{name}/rollback
//! GET    /api/v1/functions/{name}/logs
//! GET    /api/v1/functions/{name}/component
//! DELETE /api/v1/functions/{name}/cache
//! GET    /api/v1/cache
//! DELETE /api/v1/cache
//! GET    /api/v1/components/{digest}                    a component, whatever it is called
//! GET    /api/v1/inputs/{digest}                        an input that a caller asked to have kept
//! POST   /api/v1/functions/{name}/explain               an input: the call, step by step
//! GET    /api/v1/pipelines                              and the same below it as below functions, but for
//! PUT    /api/v1/pipelines/{name}[?deadline_ms=…]       a description
//! GET    /api/v1/pipelines/{name}                       with its steps' types
//! POST   /api/v1/pipelines/{name}/check                 a description: nothing changes
//! GET    /openapi.json
//! GET    /healthz                                   the one path without a token
//! ```

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use nebula_runtime::id::{Digest, FunctionName, FunctionRef, IdError};
use nebula_runtime::{COMPONENT_BYTES_MAX, Followers, Remember, Runtime, Settings};
use serde::Serialize;

use crate::problem::{Problem, Reply};
use crate::token::Token;
use crate::wire::{FunctionDetail, FunctionList, Logs, Rollback};
use crate::{body, openapi, pipelines, status};

/// The body of a request that isn't a component, bytes.
const COMMAND_BYTES_MAX: u64 = 64 * 1024;

/// Answers one request.
pub(crate) async fn handle(runtime: &Runtime, token: &Token, request: Request<Incoming>) -> Reply {
    let (parts, mut body) = request.into_parts();
    let reply = route(runtime, token, &parts, &mut body).await.unwrap_or_else(Problem::into_reply);
    body::discard(&parts.headers, &mut body).await;
    reply
}

async fn route(
    runtime: &Runtime,
    token: &Token,
    parts: &Parts,
    body: &mut Incoming,
) -> Result<Reply, Problem> {
    body::check(parts)?;
    let path = parts.uri.path();
    let get = parts.method == Method::GET;
    if path == "/healthz" && get {
        return Ok(Response::new(Full::new(Bytes::from_static(b"ok\n"))));
    }
    if !token.admits(body::text(&parts.headers, header::AUTHORIZATION)) {
        let detail = "this needs `Authorization: Bearer …` with the token from the server's data directory";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nebula\"")));
    }
    if path == "/openapi.json" {
        if !get {
            return Err(status::method_not_allowed("GET"));
        }
        let functions = runtime.list().map_err(|error| status::store(&error))?;
        return Ok(json(StatusCode::OK, &openapi::document(&functions)));
    }
    if path == "/api/v1/cache" {
        return match parts.method.as_str() {
            "GET" => {
                let report = runtime.cache_report().map_err(|error| status::store(&error))?;
                Ok(json(StatusCode::OK, &report))
            }
            "DELETE" => {
                runtime.clear_cache();
                Ok(no_content())
            }
            _ => Err(status::method_not_allowed("GET, DELETE")),
        };
    }
    for (kind, prefix) in [(Kept::Component, "/api/v1/components/"), (Kept::Input, "/api/v1/inputs/")] {
        let Some(digest) = path.strip_prefix(prefix) else { continue };
        if !get {
            return Err(status::method_not_allowed("GET"));
        }
        return kept(runtime, kind, digest).await;
    }
    let (kind, rest) = match (path.strip_prefix("/api/v1/functions"), path.strip_prefix("/api/v1/pipelines"))
    {
        (Some(rest), _) => (Kind::Function, rest),
        (None, Some(rest)) => (Kind::Pipeline, rest),
        (None, None) => return Err(status::no_such_path(path)),
    };
    let segments: Vec<&str> = rest.split('/').skip(1).collect();
    let (name, action) = match segments.as_slice() {
        [] if rest.is_empty() => {
            if !get {
                return Err(status::method_not_allowed("GET"));
            }
            let mut functions = runtime.list().map_err(|error| status::store(&error))?;
            if kind == Kind::Pipeline {
                functions.retain(|function| function.pipeline.is_some());
            }
            return Ok(json(StatusCode::OK, &FunctionList { functions }));
        }
        [name] => (*name, None),
        [name, action] => (*name, Some(*action)),
        _ => return Err(status::no_such_path(path)),
    };
    if let (None, true) | (Some("explain"), _) = (action, get && kind == Kind::Pipeline) {
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let reference: FunctionRef = name.parse().map_err(|error: IdError| bad_name(&error))?;
        return match action {
            None => pipelines::detail(runtime, reference).await,
            Some(_) if parts.method == Method::POST => {
                pipelines::explain(runtime, reference, parts, body).await
            }
            Some(_) => Err(status::method_not_allowed("POST")),
        };
    }
    let name: FunctionName = name.parse().map_err(|error: IdError| bad_name(&error))?;
    let is_new = matches!((action, parts.method.as_str()), (None, "PUT") | (Some("check"), _));
    if kind == Kind::Pipeline && !is_new {
        let (current, _) = runtime.versions(&name).map_err(|error| status::resolve(&error))?;
        if current.pipeline.is_none() {
            return Err(status::no_pipeline(&name));
        }
    }
    match (action, parts.method.as_str()) {
        (None, "PUT") => {
            let (settings, followers) = settings(parts.uri.query().unwrap_or(""))?;
            if kind == Kind::Pipeline {
                return pipelines::deploy(runtime, name, body, settings, followers).await;
            }
            let component = body::read(body, COMPONENT_BYTES_MAX as u64).await?;
            let record = runtime.deploy(name, component, settings, followers).await;
            Ok(json(StatusCode::OK, &record.map_err(|error| status::deploy(&error))?))
        }
        (Some("check"), "POST") if kind == Kind::Pipeline => {
            let (settings, followers) = settings(parts.uri.query().unwrap_or(""))?;
            pipelines::check(runtime, name, body, settings, followers).await
        }
        (Some("check"), _) if kind == Kind::Pipeline => Err(status::method_not_allowed("POST")),
        (None, "GET") => {
            let (current, versions) = runtime.versions(&name).map_err(|error| status::resolve(&error))?;
            let disagreement =
                runtime.disagreement(&current.digest).map_err(|error| status::store(&error))?;
            Ok(json(StatusCode::OK, &FunctionDetail { current, versions, disagreement }))
        }
        (None, "DELETE") => {
            let runtime = runtime.clone();
            let removed = tokio::task::spawn_blocking(move || runtime.remove(&name)).await;
            removed.map_err(|error| status::internal(&error))?.map_err(|error| status::naming(&error))?;
            Ok(no_content())
        }
        (None, _) => Err(status::method_not_allowed("GET, PUT, DELETE")),
        (Some("rollback"), "POST") => {
            let body = body::read(body, COMMAND_BYTES_MAX).await?;
            let command: Rollback = if body.is_empty() {
                Rollback::default()
            } else {
                serde_json::from_slice(&body)
                    .map_err(|error| status::bad_request("invalid-json", error.to_string()))?
            };
            let (_, followers) = settings(parts.uri.query().unwrap_or(""))?;
            let runtime = runtime.clone();
            let roll_back = move || runtime.rollback(&name, command.version, followers);
            let record = tokio::task::spawn_blocking(roll_back).await;
            let record = record.map_err(|error| status::internal(&error))?;
            Ok(json(StatusCode::OK, &record.map_err(|error| status::naming(&error))?))
        }
        (Some("logs"), "GET") => {
            runtime.versions(&name).map_err(|error| status::resolve(&error))?;
            Ok(json(StatusCode::OK, &Logs { calls: runtime.logs(&name) }))
        }
        (Some("component"), "GET") => {
            let (current, _) = runtime.versions(&name).map_err(|error| status::resolve(&error))?;
            let component = runtime.component(&current.digest).map_err(|error| status::store(&error))?;
            // Of a pipeline it is a description.
            let media_type = if current.pipeline.is_some() { "application/json" } else { "application/wasm" };
            Ok(bytes(media_type, component))
        }
        (Some("cache"), "DELETE") => {
            runtime.clear_cache_of(&name).map_err(|error| status::resolve(&error))?;
            Ok(no_content())
        }
        (Some("cache"), _) => Err(status::method_not_allowed("DELETE")),
        (Some("rollback"), _) => Err(status::method_not_allowed("POST")),
        (Some("logs" | "component"), _) => Err(status::method_not_allowed("GET")),
        (Some(_), _) => Err(status::no_such_path(path)),
    }
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut reply = Response::new(Full::new(body.into()));
            *reply.status_mut() = status;
            reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            reply
        }
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()).into_reply()
        }
    }
}

/// Below which path a name was found. A pipeline is a function; both lead to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Pipeline,
}

fn bad_name(error: &IdError) -> Problem {
    status::bad_request("bad-name", error.to_string())
}

/// What is there by its digest.
#[derive(Clone, Copy)]
enum Kept {
    Component,
    Input,
}

/// Reads from disk, off this thread: it is the only one of this plane.
async fn kept(runtime: &Runtime, kind: Kept, digest: &str) -> Result<Reply, Problem> {
    let digest: Digest = percent_encoding::percent_decode_str(digest)
        .decode_utf8_lossy()
        .parse()
        .map_err(|error: IdError| status::bad_request("bad-digest", error.to_string()))?;
    let runtime = runtime.clone();
    let read = move || match kind {
        Kept::Component => runtime.component(&digest).map(|found| {
            // What isn't a component is a pipeline's description.
            let is_wasm = found.starts_with(b"\0asm");
            bytes(if is_wasm { "application/wasm" } else { "application/json" }, found)
        }),
        Kept::Input => match runtime.input(&digest) {
            Some(found) => Ok(bytes("application/octet-stream", found)),
            None => Ok(status::nothing_kept("input", &digest).into_reply()),
        },
    };
    let reply = tokio::task::spawn_blocking(read).await;
    reply.map_err(|error| status::internal(&error))?.map_err(|error| match error.is_absence() {
        true => status::nothing_kept("component", &digest),
        false => status::store(&error),
    })
}

fn bytes(media_type: &'static str, content: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(content.into()));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    reply
}

fn no_content() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    reply
}

/// Settings from the query: limits, what is remembered, and what becomes of pipelines that don't fit.
///
/// `?deadline_ms=500&memory_bytes_max=…&remember=off&remember_ttl_s=60&remember_bytes_max=…&remember_traps=on&followers=may-stay`
fn settings(query: &str) -> Result<(Settings, Followers), Problem> {
    let mut followers = Followers::MustFit;
    let mut limits = serde_json::Map::new();
    let Remember { mut off, mut ttl_s, mut bytes_max, mut traps } = Remember::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong =
            |expected| status::bad_request("bad-limit", format!("`{name}` is `{value}`, not {expected}"));
        let number = || value.parse::<u64>().map_err(|_| wrong("a number"));
        let switch = || match value {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(wrong("`on` or `off`")),
        };
        match name {
            "remember" => off = !switch()?,
            "remember_traps" => traps = switch()?,
            "remember_ttl_s" => {
                let seconds = std::num::NonZeroU64::new(number()?);
                ttl_s = Some(seconds.ok_or_else(|| wrong("a number above 0"))?);
            }
            "followers" => {
                followers = match value {
                    "must-fit" => Followers::MustFit,
                    "may-stay" => Followers::MayStay,
                    _ => return Err(wrong("`must-fit` or `may-stay`")),
                };
            }
            "remember_bytes_max" => bytes_max = Some(number()?),
            _ => {
                limits.insert(name.to_owned(), number()?.into());
            }
        }
    }
    let limits = serde_json::from_value(serde_json::Value::Object(limits))
        .map_err(|error| status::bad_request("bad-limit", error.to_string()))?;
    Ok((Settings { limits, remember: Remember { off, ttl_s, bytes_max, traps } }, followers))
}
