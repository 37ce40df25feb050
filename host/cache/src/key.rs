//! What names a result: a hash of everything that can change it, and of nothing else.
//!
//! ```text
//! function key = BLAKE3 derive_key(CONTEXT, component digest | export | SEMANTICS | limits that show)
//! key          = BLAKE3 keyed(function key, what the guest is given | kind | how the answer is written)
//! ```
//!
//! Every part of variable length has its length before or after it, so that no two inputs run into one another. What
//! the function is called isn't in it, nor its version: what is deployed twice, or rolled back to, finds its
//! results. Of the limits those are in it that decide whether there is an answer, and which; the deadline and
//! the log's length don't: an answer that is there is the same however long it may have taken. A trap tells the end of
//! the log, so functions whose traps are remembered have keys of their own, with its length.
//!
//! Typed input is hashed as the guest gets it, decoded: spelling, white space and the order of fields don't
//! matter. For functions of the http form it is the whole request, as they see all of it.

use std::hash::{Hash, Hasher};

use nebula_codec::Input;
use nebula_model::form::Form;
use nebula_model::id::Digest;
use nebula_model::limits::Limits;
use nebula_model::remember::Remember;
use wasmtime::component::Val;

/// Domain separation, as BLAKE3's key derivation wants it: unique and fixed.
const CONTEXT: &str = "nebula 2026-11-26 key of a remembered result";

/// Likewise, of a pipeline.
const PIPELINE_CONTEXT: &str = "nebula 2026-11-26 key of a pipeline's remembered result";

/// Goes up with every change of what a guest can see: how NaNs and relaxed SIMD come out, the fixed instant on both clocks,
/// the random stream, what is denied and with which error, how many handles and table elements there may be.
pub const SEMANTICS: u32 = 2;

/// What names a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Hash for Key {
    /// Already as random as a hash: eight bytes of it do.
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

    /// Numbers that keys are spread by, each as random as any hash.
    pub fn spread(&self) -> [u64; 3] {
        let (numbers, _) = self.0.as_chunks();
        std::array::from_fn(|index| u64::from_le_bytes(numbers[index]))
    }
}

/// What was hashed: said at the end, from where what came before can be told apart.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    /// Bytes alone.
    Flat,
    /// Values, each with its length or number.
    Values,
    /// A body, the media type, the body's length.
    Payload,
    /// A body, the head, the body's length.
    Http,
}

/// The part of a key that all calls of a function have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FunctionKey([u8; 32]);

impl FunctionKey {
    /// Returns the key of a component called under these limits.
    pub fn new(component: &Digest, form: Form, limits: &Limits, remember: &Remember) -> Self {
        let export: &[u8] = match form {
            Form::Typed => b"handle",
            Form::Raw => b"nebula:function/handler",
            Form::Http => b"wasi:http/incoming-handler",
        };
        // Every field, so that a new one doesn't compile until it is decided whether it shows in results.
        let Limits {
            memory_bytes_max,
            input_bytes_max,
            output_bytes_max,
            // Shows in traps alone.
            log_bytes_max,
            // Decides whether there is a result, and a call that passed its deadline has none that is kept.
            deadline_ms: _,
        } = limits;
        let Remember {
            // Another set of results is kept: failures too, which tell the end of the log.
            traps,
            // How long and how large results may be that are kept, and whether any are: not what is in them.
            off: _,
            ttl_s: _,
            bytes_max: _,
        } = remember;
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
        Self(*hasher.finalize().as_bytes())
    }

    /// Of a pipeline: of its own digest and limits, and of the function of each of its calls, in order, with what that may use.
    pub fn of_pipeline(own: &Self, steps: &[Self]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(PIPELINE_CONTEXT);
        hasher.update(&own.0);
        for step in steps {
            hasher.update(&step.0);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// Of a call with this input, answered raw or not.
    ///
    /// A long body comes first and what is said of it after it: BLAKE3 hashes whole chunks side by side if they begin where
    /// its own do, and one after the other if not, which takes twice as long or more.
    pub fn of(&self, input: &Input, raw: bool) -> Key {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        let kind = match input {
            Input::Flat(_, body) => flat(&mut hasher, body),
            Input::Values(values) => match &**values {
                // However it travelled, a lone `string` or `list<u8>` is its bytes.
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
                hasher.update(&(request.headers().len() as u64).to_le_bytes());
                // In the order in which the guest finds them.
                for (name, value) in request.headers() {
                    part(&mut hasher, name.as_str().as_bytes());
                    part(&mut hasher, value.as_bytes());
                }
                length(&mut hasher, request.body());
                Kind::Http
            }
        };
        hasher.update(&[kind as u8, u8::from(raw)]);
        Key(*hasher.finalize().as_bytes())
    }

    /// As random as any hash.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Bytes with their length before them.
fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

/// The length of bytes that came before.
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

/// The decoder has put fields and flags in the type's order.
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
        // By their bits: -0 isn't 0 to a guest. Of NaNs JSON has one.
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
        // Not in any signature that is accepted: deploying refuses such types.
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
        FunctionKey::new(&Digest::of(b"component"), Form::Typed, &Limits::default(), &Remember::default())
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

    /// Inputs that a careless encoding would run together.
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
    fn equal_inputs_have_equal_keys_however_they_came() {
        let bytes = Input::Flat(Flat::Bytes, Bytes::from_static(b"ab"));
        let listed = values(vec![Val::List(vec![Val::U8(b'a'), Val::U8(b'b')])]);
        let string = Input::Flat(Flat::String, Bytes::from_static(b"ab"));
        let as_value = values(vec![text("ab")]);
        assert_eq!(function().of(&bytes, true), function().of(&listed, true));
        assert_eq!(function().of(&string, true), function().of(&as_value, true));
    }

    #[test]
    fn what_can_change_an_answer_changes_the_key_and_nothing_else_does() {
        let key = |component: &[u8], form, limits: &Limits| {
            FunctionKey::new(&Digest::of(component), form, limits, &Remember::default())
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

    /// What flows from a function is what its answer is read as: whoever takes it gets the same, remembered or not.
    #[test]
    fn a_canonical_value_is_the_one_that_its_json_is_read_as() {
        use proptest::prelude::*;

        use nebula_codec::testing::{any_type, value_of};

        let typed = any_type().prop_flat_map(|ty| (value_of(&ty), Just(ty)));
        let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) };
        let of = |val: Val| function().of(&values(vec![val, Val::Bool(true)]), false);
        proptest::test_runner::TestRunner::new(config)
            .run(&typed, |(val, ty)| {
                let mut json = Vec::new();
                nebula_codec::encode(&ty, &val, &mut json);
                let read = nebula_codec::decode_own(&ty, &json).unwrap();
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

    /// A change to what is hashed must not go unnoticed: what was remembered under the old one is lost.
    #[test]
    fn keys_stay_what_they_are() {
        let key = function().of(&values(vec![Val::U8(1), text("a")]), false);
        assert_eq!(hex::encode(&key.0[..8]), "be1270b9802a4b0d");
    }
}
