//! One call, from bytes to bytes: decode, choose a lane, run, encode.
//!
//! ```text
//! request -> decoded -> fast lane --(done)-----------------------> answer
//!                          |                                        ^
//!                          +--(overran: cut off)--> compute lane ---+
//! ```
//!
//! The fast lane runs a call where its connection lives, for at most [`FAST_TICKS`]. A call that
//! overruns is cut off, which for a pure call changes nothing, and begun again on the compute lane:
//! threads of their own, so that no request waits behind somebody else's long call. Where a
//! component's next call starts is decided by how its last ones went.
//!
//! Invariants:
//! * A call is shed only before any of its work has started.
//! * A deadline counts from admission, over queue and both lanes.
//! * Nothing of a call that was cut off is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nebula_meter::{CallCost, Stopwatch};
use tokio::sync::Semaphore;
use wasmtime::component::{Type, Val};

use crate::codec;
use crate::engine::{Ended, Flat, Input, Kind, Loaded, Output, Stopped, TICK, Typed, utf8};
use crate::error::CallError;
use crate::id::Digest;
use crate::limits::{HostLimits, Limits};
use crate::purity::CallLog;

/// How long a call may hold the thread that its connection lives on.
const FAST_TICKS: u64 = 2;

/// A call as it comes in.
#[derive(Clone, Debug)]
pub enum Request {
    /// A body. Without a media type it is taken for what the function's form reads by default.
    Payload {
        /// The `Content-Type`, with its parameters.
        media_type: Option<String>,
        /// The content.
        body: Bytes,
    },
    /// Query parameters, decoded.
    Query(Vec<(String, String)>),
    /// For a function of the http form: the whole request, its path below the function's name.
    Http(Box<http::Request<Bytes>>),
}

/// How the caller would have a typed answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// As the input came: raw for raw, JSON for JSON.
    #[default]
    AsSent,
    /// JSON.
    Json,
    /// Raw where the type is `string` or `list<u8>`, else JSON.
    Raw,
}

/// What a function answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It returned a value.
    Value(Content),
    /// It returned its own typed error, or refused the input.
    Error(Content),
    /// It is of the http form, and responded.
    Http(Box<http::Response<Bytes>>),
}

/// Bytes, and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// An RFC 9110 media type.
    pub media_type: String,
    /// The bytes.
    pub body: Bytes,
}

impl Content {
    fn json(body: Vec<u8>) -> Self {
        Self { media_type: "application/json".to_owned(), body: body.into() }
    }
}

/// A call that is over.
#[derive(Debug)]
pub struct Called {
    /// What came of it.
    pub result: Result<Answer, CallError>,
    /// Its time by phase.
    pub cost: CallCost,
    /// What it printed.
    pub log: CallLog,
}

/// What one component's calls have been like.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The last call overran the fast lane, or would have.
    long: AtomicBool,
}

/// The compute lane: how many calls run, and how many wait.
#[derive(Debug)]
pub(crate) struct ComputeLane {
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl ComputeLane {
    pub(crate) fn new(limits: &HostLimits) -> Self {
        Self {
            running: Arc::new(Semaphore::new(limits.calls_max)),
            waiting: AtomicUsize::new(0),
            waiting_max: limits.queue_max,
        }
    }
}

/// What a call needs to know of its function.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) digest: Digest,
    pub(crate) limits: Limits,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) history: Arc<History>,
}

/// Runs one call.
pub(crate) async fn invoke(lane: &ComputeLane, target: &Target, request: Request, prefer: Prefer) -> Called {
    let admitted = Instant::now();
    let mut watch = Stopwatch::start();
    let failed = |error, cost| Called { result: Err(error), cost, log: CallLog::default() };
    let (input, sent_raw) = match decode(&target.loaded.kind, request) {
        Ok(decoded) => decoded,
        Err(error) => return failed(error, CallCost::default()),
    };
    let raw = match prefer {
        Prefer::AsSent => sent_raw,
        Prefer::Json => false,
        Prefer::Raw => true,
    };
    let mut cost = CallCost { run: watch.lap(), ..CallCost::default() };
    let deadline = target.limits.deadline();
    let long = target.history.long.load(Ordering::Relaxed);
    if !long {
        let ticks = FAST_TICKS.min(ticks_in(deadline));
        let ended = target.loaded.run(target.digest.bytes(), &input, &target.limits, ticks);
        if !matches!(ended.result, Err(Stopped::CutOff | Stopped::NoSlot)) {
            return finish(target, ended, cost, raw);
        }
        target.history.long.store(true, Ordering::Relaxed);
    }
    // A call that has begun on the fast lane is past shedding: it waits however many others do.
    let sheddable = long;
    let permit = match Arc::clone(&lane.running).try_acquire_owned() {
        Ok(permit) => permit,
        Err(_) => {
            if lane.waiting.fetch_add(1, Ordering::Relaxed) >= lane.waiting_max && sheddable {
                lane.waiting.fetch_sub(1, Ordering::Relaxed);
                return failed(CallError::Overloaded { queue_max: lane.waiting_max }, cost);
            }
            // Also when the caller leaves while waiting.
            let _waiting = Waiting(&lane.waiting);
            let remaining = deadline.saturating_sub(admitted.elapsed());
            match tokio::time::timeout(remaining, Arc::clone(&lane.running).acquire_owned()).await {
                Ok(Ok(permit)) => permit,
                // Its whole time went by in the queue.
                Ok(Err(_)) | Err(_) if sheddable => {
                    return failed(CallError::Overloaded { queue_max: lane.waiting_max }, cost);
                }
                Ok(Err(_)) | Err(_) => {
                    let deadline_ms = target.limits.deadline_ms.get();
                    return failed(
                        CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() },
                        cost,
                    );
                }
            }
        }
    };
    let remaining = deadline.saturating_sub(admitted.elapsed());
    let computing = tokio::task::spawn_blocking({
        let (target, input) = (target.clone(), input.clone());
        move || {
            let _permit = permit;
            let ended = target.loaded.run(target.digest.bytes(), &input, &target.limits, ticks_in(remaining));
            let short = ended.start + ended.run < TICK && ended.result.is_ok();
            target.history.long.store(!short, Ordering::Relaxed);
            ended
        }
    });
    cost.queue = watch.lap();
    match computing.await {
        Ok(ended) => finish(target, ended, cost, raw),
        Err(error) => failed(CallError::Internal(error.to_string()), cost),
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Rounded up, and at least one: a call is never cut off before its first instruction.
fn ticks_in(time: Duration) -> u64 {
    u64::try_from(time.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u64::MAX).max(1)
}

/// The input of a call, and whether it came raw.
fn decode(kind: &Kind, request: Request) -> Result<(Input, bool), CallError> {
    match (kind, request) {
        (Kind::Http(_), Request::Http(request)) => Ok((Input::Http(*request), true)),
        (Kind::Raw(_), Request::Payload { media_type, body }) => {
            let media_type = media_type.unwrap_or_else(|| "application/octet-stream".to_owned());
            Ok((Input::Payload { media_type, body }, true))
        }
        (Kind::Typed(typed), Request::Payload { media_type, body }) => decode_typed(typed, media_type, body),
        (Kind::Typed(typed), Request::Query(pairs)) => {
            let values = codec::decode_query(&typed.params, &pairs).map_err(CallError::BadInput)?;
            Ok((Input::Values(values.into()), false))
        }
        (Kind::Raw(_), Request::Query(_)) => {
            Err(CallError::UnsupportedInput("this function reads a body: use POST"))
        }
        (Kind::Raw(_) | Kind::Typed(_), Request::Http(_)) => {
            Err(CallError::UnsupportedInput("this function has no paths below its name"))
        }
        (Kind::Http(_), Request::Payload { .. } | Request::Query(_)) => {
            Err(CallError::UnsupportedInput("this function takes whole HTTP requests"))
        }
    }
}

/// Typed input is JSON, or the plain bytes of a single `string` or `list<u8>`. Unlabelled input is what
/// the function's type suggests: plain where that is possible, else JSON. What `curl -d` sends unless
/// told otherwise (`application/x-www-form-urlencoded`) counts as unlabelled.
fn decode_typed(typed: &Typed, media_type: Option<String>, body: Bytes) -> Result<(Input, bool), CallError> {
    let essence = media_type
        .map(|media_type| media_type.split(';').next().unwrap_or(&media_type).trim().to_ascii_lowercase());
    let essence = essence.filter(|essence| essence != "application/x-www-form-urlencoded");
    let flat = typed.flat_input();
    let json = |essence: &str| essence == "application/json" || essence.ends_with("+json");
    match (essence, flat) {
        (Some(essence), _) if json(&essence) => decode_json(typed, &body),
        (None, None) => decode_json(typed, &body),
        (Some(essence), None) => {
            Err(CallError::UnsupportedMediaType { found: essence, accepted: vec!["application/json"] })
        }
        (essence, Some(Flat::String)) => match essence {
            Some(essence) if !essence.starts_with("text/") && essence != "application/octet-stream" => {
                let accepted = vec!["text/plain", "application/json"];
                Err(CallError::UnsupportedMediaType { found: essence, accepted })
            }
            Some(_) | None => {
                utf8(&body).map_err(CallError::BadInput)?;
                Ok((Input::Flat(Flat::String, body), true))
            }
        },
        (_, Some(Flat::Bytes)) => Ok((Input::Flat(Flat::Bytes, body), true)),
    }
}

fn decode_json(typed: &Typed, body: &[u8]) -> Result<(Input, bool), CallError> {
    let values = codec::decode(&typed.params, body).map_err(CallError::BadInput)?;
    Ok((Input::Values(values.into()), false))
}

fn finish(target: &Target, ended: Ended, cost: CallCost, raw: bool) -> Called {
    let mut watch = Stopwatch::start();
    let Ended { result, start, run, log } = ended;
    let result = match result {
        Ok(output) => answer(&target.loaded.kind, output, raw, target.limits.output_bytes_max),
        Err(stopped) => Err(match stopped {
            Stopped::CutOff => CallError::DeadlineExceeded {
                deadline_ms: target.limits.deadline_ms.get(),
                log_tail: log.tail(),
            },
            Stopped::Trapped(failure) => CallError::Trapped(Box::new(failure)),
            Stopped::ResourceLimit { limit, max, failure } => {
                CallError::ResourceLimit { limit, max, failure: Box::new(failure) }
            }
            Stopped::OutputTooLarge { bytes_max } => CallError::OutputTooLarge { bytes_max },
            Stopped::InvalidAnswer(failure) => CallError::InvalidAnswer(Box::new(failure)),
            Stopped::NoSlot => CallError::Overloaded { queue_max: 0 },
            Stopped::Internal(why) => CallError::Internal(why),
        }),
    };
    let cost = CallCost { start: cost.start + start, run: cost.run + run + watch.lap(), ..cost };
    Called { result, cost, log }
}

fn answer(kind: &Kind, output: Output, raw: bool, bytes_max: u64) -> Result<Answer, CallError> {
    let content = match (output, kind) {
        (Output::Flat(body), Kind::Typed(typed)) => {
            let flat = typed.flat_output().unwrap_or(Flat::Bytes);
            if raw {
                Answer::Value(Content { media_type: flat.media_type().to_owned(), body })
            } else {
                Answer::Value(Content::json(codec::encode_flat(&body, flat == Flat::String)))
            }
        }
        (Output::Value(value), Kind::Typed(typed)) => value_answer(typed, value, raw),
        (Output::Payload { media_type, body }, _) => Answer::Value(Content { media_type, body }),
        (Output::Http(response), _) => Answer::Http(response),
        (Output::BadInput(message), _) => {
            let error = serde_json::json!({"bad-input": message});
            Answer::Error(Content::json(error.to_string().into_bytes()))
        }
        (Output::Failed(message), _) => return Err(CallError::Failed { message }),
        (Output::Flat(_) | Output::Value(_), Kind::Raw(_) | Kind::Http(_)) => {
            return Err(CallError::Internal("a value from a function that isn't typed".to_owned()));
        }
    };
    let len = match &content {
        Answer::Value(content) | Answer::Error(content) => content.body.len(),
        Answer::Http(response) => response.body().len(),
    };
    if len as u64 > bytes_max {
        return Err(CallError::OutputTooLarge { bytes_max });
    }
    Ok(content)
}

fn value_answer(typed: &Typed, value: Option<Val>, raw: bool) -> Answer {
    let (Some(ty), Some(value)) = (&typed.result, value) else {
        return Answer::Value(Content::json(b"null".to_vec()));
    };
    let failed = matches!(value, Val::Result(Err(_)));
    let wrap = if failed { Answer::Error } else { Answer::Value };
    let (ty, value) = match (ty, value) {
        (Type::Result(result), Val::Result(Ok(value))) => (result.ok(), value.map(|value| *value)),
        (Type::Result(result), Val::Result(Err(value))) => (result.err(), value.map(|value| *value)),
        (ty, value) => (Some(ty.clone()), Some(value)),
    };
    let (Some(ty), Some(value)) = (ty, value) else { return wrap(Content::json(b"null".to_vec())) };
    // Errors are JSON however the input came.
    if let (true, false, Some(flat)) = (raw, failed, Flat::of(&ty)) {
        let body = codec::bytes_of(value);
        return wrap(Content { media_type: flat.media_type().to_owned(), body });
    }
    let mut json = Vec::new();
    codec::encode(&ty, &value, &mut json);
    wrap(Content::json(json))
}
