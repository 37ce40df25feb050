//! One call: passes the input to the guest, reads the output, and classifies failures.
//!
//! The call runs synchronously on the caller's thread. `ready` creates the instance and drops it;
//! `purity` is the sandbox around it.

use bytes::Bytes;
use nebula_codec::{Flat, Input, Type};
use nebula_model::limits::Limits;
use serde::{Deserialize, Serialize};
use wasmtime::component::{ComponentType, Func, Lower, Val};
use wasmtime::{Store, Trap, WasmBacktrace};

use super::component::{Kind, RawError, RawPayload, Typed};
use super::live::Live;
use crate::purity::{CallLog, OutOfMemory, ResponseTooLarge, Sandbox, SeedInput};

/// The output of a guest.
#[derive(Debug)]
pub enum Output {
    /// A single `string` or `list<u8>`.
    Flat(Bytes),
    /// The result of a typed function, if it has one.
    Value(Option<Val>),
    /// The payload that a raw function returned.
    Payload {
        /// The media type.
        media_type: String,
        /// The content.
        body: Bytes,
    },
    /// The response of a function of the http form.
    Http(Box<http::Response<Bytes>>),
    /// A raw function's `bad-input`.
    BadInput(String),
    /// A raw function's `failed`.
    Failed(String),
}

/// An abnormal end of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The trap, or the panic's message if the guest printed one.
    pub reason: String,
    /// The stack, one line per frame, innermost first, with function names if the component has
    /// them.
    pub backtrace: Vec<String>,
    /// The end of what the guest logged.
    pub log_tail: String,
}

impl Failure {
    /// Returns the approximate memory that the failure takes, bytes.
    pub fn bytes(&self) -> usize {
        /// Overhead of a string beyond its text.
        const STRING_BYTES: usize = 24;
        let frames: usize = self.backtrace.iter().map(|frame| frame.len() + STRING_BYTES).sum();
        self.reason.len() + self.log_tail.len() + frames
    }
}

/// The reasons why a guest returned no output.
#[derive(Debug)]
pub enum Stopped {
    /// The allowance ran out.
    CutOff,
    /// The guest trapped.
    Trapped(Failure),
    /// The guest exhausted its stack. The depth available depends on the machine and on the
    /// compiled code.
    StackExhausted(Failure),
    /// The guest was refused memory or table elements and then ended abnormally.
    ResourceLimit {
        /// The limit: `memory` or `table`.
        limit: &'static str,
        /// The limit's value.
        max: u64,
        /// The state of the guest when it ended.
        failure: Failure,
    },
    /// The output is longer than the limit allows.
    OutputTooLarge {
        /// The limit, bytes.
        bytes_max: u64,
    },
    /// The guest broke the protocol of its form.
    InvalidAnswer(Failure),
    /// No slot was free in the pool, or the machine has no memory left.
    NoSlot,
}

/// A call that has ended, with or without an output.
pub struct Ended {
    /// The output, or the reason why there isn't one.
    pub result: Result<Output, Stopped>,
    /// The text that the guest printed.
    pub log: CallLog,
    /// The sandbox refused the guest memory or table elements, even if the guest then returned an
    /// output.
    pub denied: bool,
}

/// Calls the guest once.
pub(super) fn call(
    store: &mut Store<Sandbox>,
    live: &Live,
    kind: &Kind,
    input: &Input,
    limits: &Limits,
) -> Ended {
    let result = call_by_form(store, live, kind, input);
    let log = store.data().log();
    let result = match result {
        Ok(Ok(output)) => match output.len() {
            len if len > limits.output_bytes_max => {
                Err(Stopped::OutputTooLarge { bytes_max: limits.output_bytes_max })
            }
            _ => Ok(output),
        },
        Ok(Err(why)) => {
            Err(Stopped::InvalidAnswer(Failure { reason: why, backtrace: Vec::new(), log_tail: log.tail() }))
        }
        Err(error) => Err(explain(&error, store, &log, limits)),
    };
    Ended { result, log, denied: store.data().quota.refused.is_some() }
}

fn call_by_form(store: &mut Store<Sandbox>, live: &Live, kind: &Kind, input: &Input) -> CallOutcome {
    match (live, kind, input) {
        (Live::Typed(handle), Kind::Typed(typed), _) => call_typed(store, typed, handle, input),
        (Live::Raw(function), Kind::Raw(_), Input::Payload { media_type, body }) => {
            let request = RawPayload { media_type: media_type.clone(), body: body.to_vec() };
            let answer = function.nebula_function_handler().call_handle(&mut *store, &request)?;
            Ok(Ok(match answer {
                Ok(payload) => Output::Payload { media_type: payload.media_type, body: payload.body.into() },
                Err(RawError::BadInput(message)) => Output::BadInput(message),
                Err(RawError::Failed(message)) => Output::Failed(message),
            }))
        }
        (Live::Http(proxy), Kind::Http(_), Input::Http(request)) => {
            let (request, out) = store.data_mut().incoming_request((**request).clone())?;
            proxy.wasi_http_incoming_handler().call_handle(&mut *store, request, out)?;
            Ok(match store.data_mut().response().finish()? {
                Ok(response) => Ok(Output::Http(Box::new(response))),
                Err(why) => Err(why),
            })
        }
        (Live::Typed(_) | Live::Raw(_) | Live::Http(_), _, _) => mismatch(),
    }
}

impl Output {
    /// Returns the length of the content, bytes. Values count as 0: they are measured when encoded.
    fn len(&self) -> u64 {
        match self {
            Self::Flat(body) | Self::Payload { body, .. } => body.len() as u64,
            Self::Http(response) => response.body().len() as u64,
            Self::BadInput(message) | Self::Failed(message) => message.len() as u64,
            Self::Value(_) => 0,
        }
    }
}

/// The inner error describes an answer that breaks the protocol of the form.
type CallOutcome = wasmtime::Result<Result<Output, String>>;

fn mismatch() -> CallOutcome {
    Err(wasmtime::format_err!("the input isn't of the function's form"))
}

fn call_typed(store: &mut Store<Sandbox>, typed: &Typed, func: &Func, input: &Input) -> CallOutcome {
    match input {
        Input::Flat(Flat::Bytes, body) => match FlatResult::of(typed) {
            Some(to) => call_flat::<&[u8]>(store, func, body, to),
            None => {
                let value = Val::List(body.iter().copied().map(Val::U8).collect());
                call_values(store, typed, func, &[value])
            }
        },
        Input::Flat(Flat::String, body) => {
            let text = std::str::from_utf8(body)?;
            match FlatResult::of(typed) {
                Some(to) => call_flat::<&str>(store, func, text, to),
                None => call_values(store, typed, func, &[Val::String(text.to_owned())]),
            }
        }
        Input::Values(values) => call_values(store, typed, func, values),
        Input::Payload { .. } | Input::Http(_) => mismatch(),
    }
}

/// A result that is lifted as one block, not as one value per byte.
#[derive(Clone, Copy)]
enum FlatResult {
    Plain(Flat),
    /// `result<flat, string>`.
    Fallible(Flat),
}

impl FlatResult {
    fn of(typed: &Typed) -> Option<Self> {
        let ty = typed.signature.result.as_ref()?;
        if let Type::Result(result) = ty {
            let ok = result.ok.as_ref().filter(|_| result.err == Some(Type::STRING))?;
            return Flat::of(ok).map(Self::Fallible);
        }
        Flat::of(ty).map(Self::Plain)
    }
}

fn call_flat<P: ComponentType + Lower>(
    store: &mut Store<Sandbox>,
    func: &Func,
    param: P,
    to: FlatResult,
) -> CallOutcome {
    let fallible = |result: Result<Bytes, String>| match result {
        Ok(body) => Output::Flat(body),
        Err(error) => Output::Value(Some(Val::Result(Err(Some(Box::new(Val::String(error))))))),
    };
    Ok(Ok(match to {
        FlatResult::Plain(Flat::Bytes) => {
            let func = func.typed::<(P,), (Vec<u8>,)>(&*store)?;
            Output::Flat(func.call(&mut *store, (param,))?.0.into())
        }
        FlatResult::Plain(Flat::String) => {
            let func = func.typed::<(P,), (String,)>(&*store)?;
            Output::Flat(func.call(&mut *store, (param,))?.0.into())
        }
        FlatResult::Fallible(Flat::Bytes) => {
            let func = func.typed::<(P,), (Result<Vec<u8>, String>,)>(&*store)?;
            fallible(func.call(&mut *store, (param,))?.0.map(Bytes::from))
        }
        FlatResult::Fallible(Flat::String) => {
            let func = func.typed::<(P,), (Result<String, String>,)>(&*store)?;
            fallible(func.call(&mut *store, (param,))?.0.map(Bytes::from))
        }
    }))
}

fn call_values(store: &mut Store<Sandbox>, typed: &Typed, func: &Func, values: &[Val]) -> CallOutcome {
    let mut results = vec![Val::Bool(false); usize::from(typed.signature.result.is_some())];
    func.call(&mut *store, values, &mut results)?;
    Ok(Ok(Output::Value(results.pop())))
}

/// Returns the part of the input that seeds the random stream.
pub(super) fn seed_input(input: &Input) -> SeedInput {
    match input {
        Input::Flat(_, body) => SeedInput::Bytes(body.clone()),
        Input::Values(values) => SeedInput::Values(std::sync::Arc::clone(values)),
        Input::Payload { media_type, body } => {
            SeedInput::Payload(Bytes::from(media_type.clone()), body.clone())
        }
        Input::Http(request) => {
            SeedInput::Http(request.method().clone(), request.uri().clone(), request.body().clone())
        }
    }
}

/// Classifies an abnormal end by its cause.
pub(super) fn explain(
    error: &wasmtime::Error,
    store: &Store<Sandbox>,
    log: &CallLog,
    limits: &Limits,
) -> Stopped {
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::Interrupt) {
        return Stopped::CutOff;
    }
    if let Some(ResponseTooLarge { bytes_max }) = error.downcast_ref() {
        return Stopped::OutputTooLarge { bytes_max: *bytes_max };
    }
    if error.is::<wasmtime::PoolConcurrencyLimitError>() || error.is::<OutOfMemory>() {
        return Stopped::NoSlot;
    }
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    // Without a guest frame, only copying the answer can spend the fuel.
    if backtrace.is_none() && is_hostcall_fuel_exhausted(error) {
        return Stopped::OutputTooLarge { bytes_max: limits.output_bytes_max };
    }
    let reason = match (panic_message(log), trap, error.downcast_ref::<wasmtime_wasi::I32Exit>()) {
        (Some(message), _, _) => message,
        (None, Some(trap), _) => trap.to_string(),
        (None, None, Some(exit)) => format!("it exited with {}", exit.0),
        (None, None, None) => error.root_cause().to_string(),
    };
    let failure =
        Failure { reason, backtrace: backtrace.map(frames).unwrap_or_default(), log_tail: log.tail() };
    // A stack overflow takes precedence, even if memory was refused before.
    if trap == Some(&Trap::StackOverflow) {
        return Stopped::StackExhausted(failure);
    }
    match store.data().quota.refused {
        Some(refused) => Stopped::ResourceLimit { limit: refused.limit, max: refused.max, failure },
        None if trap.is_some() || backtrace.is_some() => Stopped::Trapped(failure),
        None => Stopped::InvalidAnswer(failure),
    }
}

/// Returns whether the guest exceeded its budget for values copied to the host.
///
/// Compares text, because the type of this error, `HostcallFuelExhausted`, is private in wasmtime
/// 48 and the store doesn't report the fuel that is left. A test makes wasmtime return the error,
/// and fails if its text changes.
fn is_hostcall_fuel_exhausted(error: &wasmtime::Error) -> bool {
    const TEXT: &str = "too much data is being copied between the host and the guest: \
                        fuel allocated for hostcalls has been exhausted";
    error.root_cause().to_string() == TEXT
}

/// Returns the message of a Rust panic from the guest's log, where the standard library printed it.
fn panic_message(log: &CallLog) -> Option<String> {
    let tail = log.tail();
    let from = tail.rfind("panicked at ")?;
    let message = tail[from..].split("\nnote: ").next()?;
    Some(message.trim().replace('\n', " "))
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |name: &str| format!("{:#}", rustc_demangle::demangle(name));
    let frame = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(function) => name(function),
        None => format!("<function {}>", frame.func_index()),
    };
    backtrace.frames().iter().map(frame).collect()
}

#[cfg(test)]
mod tests {
    use wasmtime::component::{Component, Linker};

    use super::*;

    /// `handle` returns 1,000 bytes.
    const COMPONENT: &str = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (func (export "handle") (result i32)
                (i32.store (i32.const 0) (i32.const 16))
                (i32.store (i32.const 4) (i32.const 1000))
                (i32.const 0)))
        (core instance $i (instantiate $m))
        (func (export "handle") (result (list u8))
            (canon lift (core func $i "handle") (memory (core memory $i "memory")))))"#;

    fn call_with_fuel(fuel: usize) -> wasmtime::Result<Vec<u8>> {
        let engine = wasmtime::Engine::default();
        let component = Component::new(&engine, wat::parse_str(COMPONENT).unwrap())?;
        let mut store = Store::new(&engine, ());
        store.set_hostcall_fuel(fuel);
        let instance = Linker::new(&engine).instantiate(&mut store, &component)?;
        let handle = instance.get_typed_func::<(), (Vec<u8>,)>(&mut store, "handle")?;
        Ok(handle.call(&mut store, ())?.0)
    }

    /// Fails if wasmtime changes the text of the error.
    #[test]
    fn exhausted_hostcall_fuel_is_recognized() {
        assert_eq!(call_with_fuel(1_000_000).unwrap().len(), 1000);
        assert!(is_hostcall_fuel_exhausted(&call_with_fuel(1).unwrap_err()));
        assert!(!is_hostcall_fuel_exhausted(&wasmtime::format_err!("another error")));
    }
}
