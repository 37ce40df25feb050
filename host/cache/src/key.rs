//! Cache keys: a hash of everything that can change a result, and nothing else.
//!
//! ```text
//! function key = BLAKE3 derive_key(CONTEXT, component digest | export | SEMANTICS | some limits | config)
//! key          = BLAKE3 keyed(function key, the guest's input | kind | encoding of the answer)
//! ```
//!
//! Every part of variable length has its length before or after it, so that no two inputs run
//! together. A function's name and version aren't part of the key: a component that is deployed
//! twice or rolled back to finds its results. The key has the limits that decide whether there is
//! an answer and which one. It has neither the deadline nor the log's length: an answer is the same
//! however long it took. A trap quotes the end of the log, so functions whose traps are cached have
//! separate keys that include the log's length.
//!
//! Typed input is hashed as the guest receives it, decoded: spelling, white space and the order of
//! fields don't matter. Functions of the http form see the whole request, so their key includes all
//! of it.

use std::hash::{Hash, Hasher};

use http::HeaderMap;
use nebula_codec::Input;
use nebula_model::caching::Caching;
use nebula_model::configuration::Configuration;
use nebula_model::form::Form;
use nebula_model::id::Digest;
use nebula_model::limits::Limits;
use nebula_model::trailers;
use wasmtime::component::Val;

/// Domain separation, as BLAKE3's key derivation requires: unique and fixed.
const CONTEXT: &str = "nebula 2026-11-26 key of a remembered result";

/// Domain separation for pipelines.
const PIPELINE_CONTEXT: &str = "nebula 2026-11-26 key of a pipeline's remembered result";

/// Increases with every change to the world that a guest sees: the results of NaNs and relaxed
/// SIMD, the fixed instant on both clocks, the random stream, the denied operations and their
/// errors, the number of handles and table elements, the trailers and the omitted bodies of
/// wasi:http. Also with every change of the values that an input decodes to: keys cover the values,
/// but receipts name an input by its bytes.
pub const SEMANTICS: u32 = 3;

/// The hash that identifies a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Hash for Key {
    /// Uses eight bytes of the key, which is already as random as a hash.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [first, ..] = self.spread();
        state.write_u64(first);
    }
}

impl Key {
    /// Returns the key whose bytes were stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns numbers to distribute keys by, each as random as a hash.
    pub fn spread(&self) -> [u64; 3] {
        let (numbers, _) = self.0.as_chunks();
        std::array::from_fn(|index| u64::from_le_bytes(numbers[index]))
    }
}

/// The layout of the hashed input. It is hashed last, where it makes the preceding parts
/// unambiguous.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    /// The bytes alone.
    Flat,
    /// The values, each with its length or number.
    Values,
    /// The body, the media type, and the body's length.
    Payload,
    /// The body, the head, and the body's length.
    Http,
    /// The body, the head, the trailers, and the body's length.
    TrailedHttp,
}

/// The part of a key that all calls of a function share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionKey([u8; 32]);

impl FunctionKey {
    /// Returns the key with these [`bytes`](Self::bytes), which another host has sent.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the key of a component called under these limits, with this configuration.
    pub fn new(
        component: &Digest,
        form: Form,
        limits: &Limits,
        cache: &Caching,
        config: &Configuration,
    ) -> Self {
        let export: &[u8] = match form {
            Form::Typed => b"handle",
            Form::Raw => b"nebula:function/handler",
            Form::Http => b"wasi:http/incoming-handler",
        };
        // Destructured in full, so that a new field compiles only once it is either hashed or
        // skipped.
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // Shows only in traps.
            log_bytes_max,
            // Decides whether there is a result; a call that passed its deadline has no result to
            // cache.
            deadline_ms: _,
        } = limits;
        let Caching {
            // Selects a separate set of results, with failures that quote the end of the log.
            traps,
            // These decide which results are cached and for how long, not the content of results.
            off: _,
            ttl_s: _,
            bytes_max: _,
        } = cache;
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        part(&mut hasher, component.bytes());
        part(&mut hasher, export);
        hasher.update(&SEMANTICS.to_le_bytes());
        for limit in [memory_bytes_max, input_bytes_max, output_bytes_max] {
            hasher.update(&limit.to_le_bytes());
        }
        if *traps {
            part(&mut hasher, b"traps");
            hasher.update(&log_bytes_max.to_le_bytes());
        }
        // Functions without a configuration keep the keys that they have always had.
        if !config.is_empty() {
            part(&mut hasher, b"config");
            hasher.update(&(config.len() as u64).to_le_bytes());
            for (key, value) in config.iter() {
                part(&mut hasher, key.as_bytes());
                part(&mut hasher, value.as_bytes());
            }
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Returns the key of a pipeline: its own digest and limits, then the functions of its calls,
    /// in order, with their limits.
    pub fn of_pipeline(own: &Self, steps: &[Self]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(PIPELINE_CONTEXT);
        hasher.update(&own.0);
        for step in steps {
            hasher.update(&step.0);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Returns the key of a call with this input; `raw` says whether the answer is raw.
    ///
    /// A long body is hashed first and its description after it: BLAKE3 hashes whole chunks in
    /// parallel if they begin at its own chunk boundaries, and otherwise one by one, which takes at
    /// least twice as long.
    pub fn of(&self, input: &Input, raw: bool) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let kind = match input {
            Input::Flat(_, body) => flat(&mut hasher, body),
            Input::Values(values) => match &**values {
                // A single `string` or `list<u8>` is its bytes in every encoding.
                [Val::String(text)] => flat(&mut hasher, text.as_bytes()),
                [Val::List(items)] if items.iter().all(|item| matches!(item, Val::U8(_))) => {
                    let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
                    flat(&mut hasher, &items.iter().filter_map(byte).collect::<Vec<_>>())
                }
                values => {
                    all(&mut hasher, values);
                    Kind::Values
                }
            },
            Input::Payload { media_type, body } => {
                hasher.update(body);
                part(&mut hasher, media_type.as_bytes());
                length(&mut hasher, body);
                Kind::Payload
            }
            Input::Http(request) => {
                hasher.update(request.body());
                part(&mut hasher, request.method().as_str().as_bytes());
                part(&mut hasher, request.uri().to_string().as_bytes());
                fields(&mut hasher, request.headers());
                let trailers = trailers::of(request.extensions());
                if let Some(trailers) = trailers {
                    fields(&mut hasher, trailers);
                }
                length(&mut hasher, request.body());
                if trailers.is_some() { Kind::TrailedHttp } else { Kind::Http }
            }
        };
        hasher.update(&[kind as u8, u8::from(raw)]);
        Key(*hasher.finalize().as_bytes())
    }

    /// Returns the 32 bytes, which are as random as a hash.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Hashes bytes, preceded by their length.
fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// Hashes headers or trailers in the order in which the guest sees them, preceded by their number.
fn fields(hasher: &mut blake3::Hasher, fields: &HeaderMap) {
    hasher.update(&(fields.len() as u64).to_le_bytes());
    for (name, value) in fields {
        part(hasher, name.as_str().as_bytes());
        part(hasher, value.as_bytes());
    }
}

/// Hashes the length of bytes that were hashed before.
fn length(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
}

fn flat(hasher: &mut blake3::Hasher, bytes: &[u8]) -> Kind {
    hasher.update(bytes);
    Kind::Flat
}

fn all(hasher: &mut blake3::Hasher, values: &[Val]) {
    hasher.update(&(values.len() as u64).to_le_bytes());
    for item in values {
        value(hasher, item);
    }
}

/// Hashes one value. The decoder has put fields and flags in the type's order.
fn value(hasher: &mut blake3::Hasher, val: &Val) {
    let mut tagged = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(bytes);
    };
    match val {
        Val::Bool(value) => tagged(0, &[u8::from(*value)]),
        Val::S8(value) => tagged(1, &value.to_le_bytes()),
        Val::U8(value) => tagged(2, &value.to_le_bytes()),
        Val::S16(value) => tagged(3, &value.to_le_bytes()),
        Val::U16(value) => tagged(4, &value.to_le_bytes()),
        Val::S32(value) => tagged(5, &value.to_le_bytes()),
        Val::U32(value) => tagged(6, &value.to_le_bytes()),
        Val::S64(value) => tagged(7, &value.to_le_bytes()),
        Val::U64(value) => tagged(8, &value.to_le_bytes()),
        // By their bits, because a guest distinguishes -0 from 0. JSON has only one NaN.
        Val::Float32(value) => tagged(9, &value.to_bits().to_le_bytes()),
        Val::Float64(value) => tagged(10, &value.to_bits().to_le_bytes()),
        Val::Char(value) => tagged(11, &u32::from(*value).to_le_bytes()),
        Val::String(text) => {
            tagged(12, &[]);
            part(hasher, text.as_bytes());
        }
        Val::List(items) => {
            tagged(13, &[]);
            all(hasher, items);
        }
        Val::Map(entries) => {
            tagged(14, &(entries.len() as u64).to_le_bytes());
            for (key, item) in entries {
                value(hasher, key);
                value(hasher, item);
            }
        }
        Val::Record(fields) => {
            tagged(15, &(fields.len() as u64).to_le_bytes());
            for (name, item) in fields {
                part(hasher, name.as_bytes());
                value(hasher, item);
            }
        }
        Val::Tuple(items) => {
            tagged(16, &[]);
            all(hasher, items);
        }
        Val::Variant(case, payload) => {
            tagged(17, &[]);
            part(hasher, case.as_bytes());
            option(hasher, payload.as_deref());
        }
        Val::Enum(case) => {
            tagged(18, &[]);
            part(hasher, case.as_bytes());
        }
        Val::Option(inner) => {
            tagged(19, &[]);
            option(hasher, inner.as_deref());
        }
        Val::Result(Ok(inner)) => {
            tagged(20, &[]);
            option(hasher, inner.as_deref());
        }
        Val::Result(Err(inner)) => {
            tagged(21, &[]);
            option(hasher, inner.as_deref());
        }
        Val::Flags(names) => {
            tagged(22, &(names.len() as u64).to_le_bytes());
            for name in names {
                part(hasher, name.as_bytes());
            }
        }
        Val::FixedLengthList(items) => {
            tagged(23, &[]);
            all(hasher, items);
        }
        // Deploys refuse signatures with such types.
        Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => tagged(24, &[]),
    }
}

fn option(hasher: &mut blake3::Hasher, inner: Option<&Val>) {
    hasher.update(&[u8::from(inner.is_some())]);
    if let Some(inner) = inner {
        value(hasher, inner);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use bytes::Bytes;
    use nebula_codec::Flat;
    use nebula_model::limits::MIB;

    use super::*;

    fn function() -> FunctionKey {
        FunctionKey::new(
            &Digest::of(b"component"),
            Form::Typed,
            &Limits::default(),
            &Caching::default(),
            &Configuration::default(),
        )
    }

    fn values(values: Vec<Val>) -> Input {
        Input::Values(values.into())
    }

    fn text(text: &str) -> Val {
        Val::String(text.to_owned())
    }

    fn some(value: Val) -> Option<Box<Val>> {
        Some(Box::new(value))
    }

    fn http(method: &str, path: &str, headers: &[(&'static str, &'static str)], body: &'static str) -> Input {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Input::Http(Arc::new(request.body(Bytes::from_static(body.as_bytes())).unwrap()))
    }

    fn trailed(input: Input, fields: &[(&'static str, &'static str)]) -> Input {
        let Input::Http(request) = input else { unreachable!() };
        let mut request = (*request).clone();
        let field = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(field) {
            map.append(name, value);
        }
        trailers::attach(request.extensions_mut(), map);
        Input::Http(Arc::new(request))
    }

    /// These inputs would collide in a careless encoding.
    #[test]
    fn different_inputs_have_different_keys() {
        let payload = |media_type: &str, body: &'static str| Input::Payload {
            media_type: media_type.to_owned(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let record = |names: [&str; 2]| Val::Record(names.map(|name| (name.to_owned(), Val::U8(1))).into());
        let inputs = vec![
            values(vec![]),
            values(vec![Val::U8(1), Val::U8(2)]),
            values(vec![Val::U8(1)]),
            values(vec![Val::S8(1)]),
            values(vec![Val::U16(1)]),
            values(vec![Val::U32(1)]),
            values(vec![Val::Bool(true)]),
            values(vec![Val::Float64(0.0)]),
            values(vec![Val::Float64(-0.0)]),
            values(vec![Val::Float32(0.0)]),
            values(vec![Val::Char('a')]),
            values(vec![text("ab"), text("c")]),
            values(vec![text("a"), text("bc")]),
            values(vec![text("abc"), text("")]),
            values(vec![Val::Enum("abc".to_owned())]),
            values(vec![Val::Flags(vec!["a".to_owned(), "b".to_owned()])]),
            values(vec![Val::Flags(vec!["ab".to_owned()])]),
            values(vec![Val::Option(None)]),
            values(vec![Val::Option(some(Val::Option(None)))]),
            values(vec![Val::Result(Ok(None))]),
            values(vec![Val::Result(Err(None))]),
            values(vec![Val::Variant("a".to_owned(), None)]),
            values(vec![Val::Variant("a".to_owned(), some(text("")))]),
            values(vec![Val::List(vec![Val::List(vec![]), Val::List(vec![Val::Bool(false)])])]),
            values(vec![Val::List(vec![Val::List(vec![Val::Bool(false)]), Val::List(vec![])])]),
            values(vec![Val::Tuple(vec![Val::U8(1), Val::U8(2)])]),
            values(vec![Val::Map(vec![(text("a"), text("b"))])]),
            values(vec![record(["a", "bc"])]),
            values(vec![record(["ab", "c"])]),
            Input::Flat(Flat::Bytes, Bytes::from_static(b"ab")),
            Input::Flat(Flat::Bytes, Bytes::from_static(b"abc")),
            payload("a", "bc"),
            payload("ab", "c"),
            http("GET", "/", &[], ""),
            http("POST", "/", &[], ""),
            http("GET", "/a", &[], ""),
            http("GET", "/?a", &[], ""),
            http("GET", "/", &[("a", "b")], ""),
            http("GET", "/", &[("a", "b"), ("a", "c")], ""),
            http("GET", "/", &[("a", "c"), ("a", "b")], ""),
            http("GET", "/", &[], "a"),
            trailed(http("GET", "/", &[], "a"), &[("a", "b")]),
            trailed(http("GET", "/", &[("a", "b")], "a"), &[("a", "b")]),
            trailed(http("GET", "/", &[], "a"), &[("a", "b"), ("a", "c")]),
            trailed(http("GET", "/", &[], "a"), &[("a", "c"), ("a", "b")]),
        ];
        let mut seen = HashMap::new();
        for input in &inputs {
            for raw in [false, true] {
                let other = seen.insert(function().of(input, raw), (input, raw));
                assert!(other.is_none(), "{:?} and {other:?}", (input, raw));
            }
        }
    }

    #[test]
    fn equal_inputs_have_equal_keys_in_every_encoding() {
        let bytes = Input::Flat(Flat::Bytes, Bytes::from_static(b"ab"));
        let listed = values(vec![Val::List(vec![Val::U8(b'a'), Val::U8(b'b')])]);
        let string = Input::Flat(Flat::String, Bytes::from_static(b"ab"));
        let as_value = values(vec![text("ab")]);
        assert_eq!(function().of(&bytes, true), function().of(&listed, true));
        assert_eq!(function().of(&string, true), function().of(&as_value, true));
    }

    #[test]
    fn only_changes_that_can_affect_an_answer_change_the_key() {
        let key = |component: &[u8], form, limits: &Limits| {
            FunctionKey::new(
                &Digest::of(component),
                form,
                limits,
                &Caching::default(),
                &Configuration::default(),
            )
        };
        let default = Limits::default();
        let same = Limits { deadline_ms: std::num::NonZeroU64::MIN, log_bytes_max: 1, ..default.clone() };
        assert_eq!(function(), key(b"component", Form::Typed, &same));
        for (component, form, limits) in [
            (&b"c0mponent"[..], Form::Typed, default.clone()),
            (b"component", Form::Raw, default.clone()),
            (b"component", Form::Http, default.clone()),
            (b"component", Form::Typed, Limits { memory_bytes_max: MIB, ..default.clone() }),
            (b"component", Form::Typed, Limits { input_bytes_max: MIB, ..default.clone() }),
            (b"component", Form::Typed, Limits { output_bytes_max: MIB, ..default.clone() }),
        ] {
            assert_ne!(function(), key(component, form, &limits));
        }
    }

    /// These configurations would collide in a careless encoding.
    #[test]
    fn different_configurations_have_different_keys() {
        let mut seen = HashMap::new();
        for json in [
            "{}",
            r#"{"A": ""}"#,
            r#"{"A": "B"}"#,
            r#"{"AB": ""}"#,
            r#"{"A": "", "B": ""}"#,
            r#"{"A": "B", "C": "D"}"#,
            r#"{"A": "BC", "D": ""}"#,
            r#"{"A": "D", "C": "B"}"#,
        ] {
            let config: Configuration = serde_json::from_str(json).unwrap();
            for traps in [false, true] {
                let cache = Caching { traps, ..Caching::default() };
                let component = Digest::of(b"component");
                let key = FunctionKey::new(&component, Form::Typed, &Limits::default(), &cache, &config);
                let other = seen.insert(key, (json, traps));
                assert_eq!(other, None, "{json}, {traps}");
            }
        }
    }

    /// Pipelines pass values on as their JSON would be decoded, so a cached answer and a computed
    /// one give the next function the same input.
    #[test]
    fn canonical_value_equals_its_decoded_json() {
        use proptest::prelude::*;

        use nebula_codec::testing::{any_type, value_of};

        let typed = any_type().prop_flat_map(|ty| (value_of(&ty), Just(ty)));
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) };
        let of = |val: Val| function().of(&values(vec![val, Val::Bool(true)]), false);
        proptest::test_runner::TestRunner::new(config)
            .run(&typed, |(val, ty)| {
                let mut json = Vec::new();
                nebula_codec::encode(&ty, &val, &mut json);
                let read = nebula_codec::decode_trusted(&ty, &json).unwrap();
                prop_assert!(nebula_codec::is_ambiguous(&ty) || of(val.clone()) == of(read.clone()));
                prop_assert_eq!(of(nebula_codec::canonical(&ty, val)), of(read));
                Ok(())
            })
            .unwrap();
        let twice = Val::Map(vec![(text("a"), Val::U8(1)), (text("b"), Val::U8(2)), (text("a"), Val::U8(3))]);
        let once = Val::Map(vec![(text("b"), Val::U8(2)), (text("a"), Val::U8(3))]);
        let ty = nebula_codec::parse_type("map<string, u8>").unwrap();
        assert_eq!(nebula_codec::canonical(&ty, twice), once);
    }

    /// Changing the hashed data must not go unnoticed: it loses all cached results.
    #[test]
    fn keys_are_stable() {
        let key = function().of(&values(vec![Val::U8(1), text("a")]), false);
        assert_eq!(hex::encode(&key.0[..8]), "948bf184b84fd2d4");
    }
}
