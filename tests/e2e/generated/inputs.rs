//! Generated inputs, each in several spellings, some of them malformed; and generated requests to
//! functions that see the whole request.

use nebula_tests::{Answer, Nebula, base64};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use super::types::Type;

/// The number of different inputs of a function, and of malformed ones.
const INPUTS: usize = 5;

/// The length of a body that takes long enough to mirror for the result to be stored on disk.
const LONG_BYTES: usize = 600_000;

/// A request to a function, without its path.
#[derive(Clone, Debug)]
pub(crate) struct FunctionRequest {
    method: &'static str,
    /// Begins with `?` unless it is empty.
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl FunctionRequest {
    pub(crate) fn send(&self, nebula: &Nebula, path: &str) -> Answer {
        // Functions that see the `Host` must get the same one from every server.
        let call =
            nebula.request(self.method, &format!("{path}{}", self.query)).header("host", "nebula.test");
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.body(&self.body).send()
    }

    /// Returns whether the body is a JSON document. The answer then is JSON, too.
    pub(crate) fn is_json(&self) -> bool {
        self.headers.iter().any(|(_, value)| value == "application/json")
    }

    /// Returns the same request with an `Accept` header for plain text and bytes.
    pub(crate) fn accepting_plain(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.push(("accept", "text/plain, application/octet-stream".to_owned()));
        Self { headers, ..self.clone() }
    }

    fn with_body(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type", media_type.to_owned())];
        Self { method: "POST", query: String::new(), headers, body: body.into() }
    }

    fn get(query: String) -> Self {
        Self { method: "GET", query, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn json(document: impl Into<Vec<u8>>) -> Self {
        Self::with_body("application/json", document)
    }
}

/// A value of a WIT type.
#[derive(Clone, Debug)]
enum Value {
    U8(u8),
    S16(i16),
    S32(i32),
    U64(u64),
    F64(f64),
    Bool(bool),
    Char(char),
    String(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Option(Option<Box<Value>>),
    Result(Result<Box<Value>, Box<Value>>),
    /// The index of a variant's or enum's case, and its payload.
    Case(usize, Option<Box<Value>>),
    /// The indices of the flags that are set.
    Flags(Vec<usize>),
    Record(Vec<Value>),
    Tuple(Vec<Value>),
}

fn value_of(ty: &Type) -> BoxedStrategy<Value> {
    let boxed = |ty| value_of(ty).prop_map(Box::new);
    match ty {
        Type::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Type::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Type::S32 => prop_oneof![select(vec![0, 1, -1, 10, i32::MIN, i32::MAX]), any::<i32>()]
            .prop_map(Value::S32)
            .boxed(),
        Type::U64 => {
            prop_oneof![select(vec![0, 1, 10, (1 << 53) - 1, (1 << 53) + 1, u64::MAX]), any::<u64>()]
                .prop_map(Value::U64)
                .boxed()
        }
        Type::F64 => {
            let special =
                [0.0, -0.0, 1.0, 100.0, 0.1, 1e300, 5e-324, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            prop_oneof![select(special.to_vec()), any::<f64>()].prop_map(Value::F64).boxed()
        }
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::Char => any::<char>().prop_map(Value::Char).boxed(),
        Type::String => prop_oneof![9 => ".{0,12}", 1 => ".{500,600}", 1 => Just("\0\"\\/\n".to_owned())]
            .prop_map(Value::String)
            .boxed(),
        Type::Bytes => vec(any::<u8>(), 0..20).prop_map(Value::Bytes).boxed(),
        Type::List(inner) => vec(value_of(inner), 0..5).prop_map(Value::List).boxed(),
        Type::Option(inner) => proptest::option::of(boxed(inner)).prop_map(Value::Option).boxed(),
        Type::Result(ok, err) => {
            prop_oneof![boxed(ok).prop_map(Ok), boxed(err).prop_map(Err)].prop_map(Value::Result).boxed()
        }
        Type::Enum(count) => (0..*count).prop_map(|case| Value::Case(case, None)).boxed(),
        Type::Flags(count) => {
            subsequence((0..*count).collect::<Vec<_>>(), 0..=*count).prop_map(Value::Flags).boxed()
        }
        Type::Variant(cases) => {
            let cases = cases.iter().enumerate().map(|(case, payload)| match payload {
                Some(ty) => boxed(ty).prop_map(move |value| Value::Case(case, Some(value))).boxed(),
                None => Just(Value::Case(case, None)).boxed(),
            });
            proptest::strategy::Union::new(cases).boxed()
        }
        Type::Record(types) => values_of(types).prop_map(Value::Record).boxed(),
        Type::Tuple(types) => values_of(types).prop_map(Value::Tuple).boxed(),
    }
}

fn values_of(types: &[Type]) -> Vec<BoxedStrategy<Value>> {
    types.iter().map(value_of).collect()
}

/// Writes values as JSON or as queries, and chooses among equivalent spellings by its bytes. All
/// zeros choose the plainest spelling.
#[derive(Clone, Debug)]
struct Speller {
    bytes: Vec<u8>,
    used: usize,
}

impl Speller {
    fn any() -> impl Strategy<Value = Self> {
        vec(any::<u8>(), 32).prop_map(|bytes| Self { bytes, used: 0 })
    }

    fn plain() -> Self {
        Self { bytes: vec![0], used: 0 }
    }

    fn pick(&mut self, bound: usize) -> usize {
        self.used += 1;
        usize::from(self.bytes[self.used % self.bytes.len()]) % bound
    }

    fn space(&mut self) -> &'static str {
        ["", " ", "", "\n\t", "", "\r\n  "][self.pick(6)]
    }

    /// Joins parts with commas and white space between `open` and `close`.
    fn listed(&mut self, open: char, parts: impl IntoIterator<Item = String>, close: char) -> String {
        let mut text = String::from(open);
        for (index, part) in parts.into_iter().enumerate() {
            text.push_str(if index > 0 { "," } else { "" });
            text.push_str(self.space());
            text.push_str(&part);
            text.push_str(self.space());
        }
        text.push(close);
        text
    }

    fn text(&mut self, text: &str) -> String {
        let mut spelled = String::from('"');
        for c in text.chars() {
            // JSON requires an escape for characters below the space.
            if self.pick(5) == 1 || c < ' ' {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    spelled.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                spelled.push_str(if matches!(c, '"' | '\\') { "\\" } else { "" });
                spelled.push(c);
            }
        }
        spelled + "\""
    }

    /// Writes an object with its fields in any order.
    fn object(&mut self, mut fields: Vec<(String, String)>) -> String {
        for end in 1..fields.len() {
            let other = end - self.pick(end + 1);
            fields.swap(end, other);
        }
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| self.text(name) + self.space() + ":" + self.space() + value)
            .collect();
        self.listed('{', fields, '}')
    }

    fn integer(&mut self, value: i32) -> String {
        [format!("{value}"), format!("{value}.0"), format!("{value}e0")][self.pick(3)].clone()
    }

    fn value(&mut self, value: &Value) -> String {
        match value {
            Value::U8(value) => self.integer(i32::from(*value)),
            Value::S16(value) => self.integer(i32::from(*value)),
            Value::S32(value) => self.integer(*value),
            // The codec refuses a fraction beyond the integers that a double holds exactly.
            Value::U64(value) => {
                [format!("{value}"), format!("\"{value}\""), format!("{value}.0")][self.pick(3)].clone()
            }
            Value::F64(value) if value.is_finite() => {
                [format!("{value:?}"), format!("{value:e}"), format!("{value:E}")][self.pick(3)].clone()
            }
            Value::F64(value) if value.is_nan() => "\"NaN\"".to_owned(),
            Value::F64(value) => format!("\"{}Infinity\"", if *value < 0.0 { "-" } else { "" }),
            Value::Bool(value) => value.to_string(),
            Value::Char(value) => self.text(value.encode_utf8(&mut [0; 4])),
            Value::String(text) => self.text(text),
            Value::Bytes(bytes) if self.pick(3) == 1 => {
                self.listed('[', bytes.iter().map(u8::to_string), ']')
            }
            Value::Bytes(bytes) => format!("\"{}\"", base64(bytes)),
            Value::Option(None) => "null".to_owned(),
            Value::Option(Some(value)) => self.value(value),
            Value::Result(Ok(value)) => self.case("ok", value),
            Value::Result(Err(value)) => self.case("err", value),
            Value::Case(case, Some(value)) => self.case(&format!("c{case}"), value),
            Value::Case(case, None) => self.text(&format!("c{case}")),
            Value::Flags(set) => {
                let names: Vec<_> = set.iter().map(|flag| self.text(&format!("c{flag}"))).collect();
                self.listed('[', names, ']')
            }
            Value::List(values) | Value::Tuple(values) => {
                let values: Vec<_> = values.iter().map(|value| self.value(value)).collect();
                self.listed('[', values, ']')
            }
            Value::Record(values) => {
                let omits_none = self.pick(2) == 1;
                let is_written =
                    |value: &&(usize, &Value)| !(omits_none && matches!(value.1, Value::Option(None)));
                let fields: Vec<_> = values.iter().enumerate().collect();
                let fields = fields
                    .iter()
                    .filter(is_written)
                    .map(|(index, value)| (format!("f{index}"), self.value(value)));
                let fields = fields.collect();
                self.object(fields)
            }
        }
    }

    fn case(&mut self, name: &str, value: &Value) -> String {
        let value = self.value(value);
        self.object(vec![(name.to_owned(), value)])
    }

    /// Writes the arguments of a function as a JSON document.
    fn document(&mut self, arguments: &[Value]) -> String {
        let document = match arguments {
            [argument] => self.value(argument),
            _ if self.pick(3) == 1 => {
                let values: Vec<_> = arguments.iter().map(|value| self.value(value)).collect();
                self.listed('[', values, ']')
            }
            _ => {
                let named = arguments
                    .iter()
                    .enumerate()
                    .map(|(index, value)| (format!("p{index}"), self.value(value)));
                let named = named.collect();
                self.object(named)
            }
        };
        [self.space(), &document, self.space()].concat()
    }

    /// Writes the arguments of a function as a query, if their types allow one.
    fn query(&mut self, arguments: &[Value]) -> Option<String> {
        let (name, values) = match arguments {
            [Value::Record(fields)] => ('f', fields.as_slice()),
            _ => ('p', arguments),
        };
        let mut pairs = Vec::new();
        for (index, value) in values.iter().enumerate() {
            if matches!(value, Value::Option(None)) {
                continue;
            }
            let text = self.in_query(value)?;
            pairs.push(format!("{name}{index}={}", escaped(&text)));
        }
        if self.pick(2) == 1 {
            pairs.reverse();
        }
        Some(format!("?{}", pairs.join("&")))
    }

    fn in_query(&mut self, value: &Value) -> Option<String> {
        match value {
            Value::Char(c) => Some(c.to_string()),
            Value::String(text) => Some(text.clone()),
            Value::Bytes(bytes) => Some(base64(bytes)),
            Value::U8(_) | Value::S16(_) | Value::S32(_) | Value::U64(_) | Value::F64(_) | Value::Bool(_) => {
                Some(self.value(value).replace('"', ""))
            }
            Value::Option(value) => self.in_query(value.as_deref()?),
            Value::List(_)
            | Value::Result(_)
            | Value::Case(..)
            | Value::Flags(_)
            | Value::Record(_)
            | Value::Tuple(_) => None,
        }
    }
}

/// Percent-encodes everything but ASCII letters and digits.
fn escaped(text: &str) -> String {
    let byte = |byte: &u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(byte).collect()
}

/// Generates requests to a function with these parameters, in any order: equal values in several
/// spellings, and damaged documents.
pub(crate) fn requests(params: &[Type]) -> impl Strategy<Value = Vec<FunctionRequest>> {
    let well_formed =
        (values_of(params), Speller::any(), Speller::any()).prop_map(|(arguments, mut one, mut other)| {
            let mut requests = vec![
                FunctionRequest::json(Speller::plain().document(&arguments)),
                FunctionRequest::json(one.document(&arguments)),
                FunctionRequest { method: "QUERY", ..FunctionRequest::json(other.document(&arguments)) },
            ];
            requests.extend(one.query(&arguments).map(FunctionRequest::get));
            match &arguments[..] {
                [Value::String(text)] => {
                    requests.push(FunctionRequest::with_body("text/plain", text.as_bytes()));
                }
                [Value::Bytes(bytes)] => {
                    requests.push(FunctionRequest::with_body("application/octet-stream", bytes.clone()));
                }
                _ => {}
            }
            requests
        });
    // Most of these aren't JSON or don't match the type. The rest are ordinary calls.
    let damaged = (values_of(params), any::<prop::sample::Index>(), any::<u8>(), 0..4).prop_map(
        |(arguments, at, byte, how)| {
            let mut document = Speller::plain().document(&arguments).into_bytes();
            let at = at.index(document.len());
            match how {
                0 => document.truncate(at),
                1 => document[at] = byte,
                2 => document = json!([[], {"p0": null}, "x", 1e300]).to_string().into_bytes(),
                _ => document.insert(at, b'0'),
            }
            FunctionRequest::json(document)
        },
    );
    (vec(well_formed, INPUTS), vec(damaged, INPUTS))
        .prop_flat_map(|(well_formed, damaged)| Just([well_formed.concat(), damaged].concat()).prop_shuffle())
}

/// Generates a path and a request to `mirror`, of the http form, or `payload`, of the raw form.
/// Both functions answer with everything that they see of the request.
pub(crate) fn mirror_request() -> impl Strategy<Value = (String, FunctionRequest)> {
    let path =
        select(vec!["/f/mirror", "/f/mirror/a", "/f/mirror/a%2Fb//c", "/f/mirror/teapot", "/f/payload"]);
    let method = select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]);
    let query = prop_oneof![Just(String::new()), "\\?[a-c]=[a-c]"];
    let headers = vec((select(vec!["x-a", "x-b", "accept", "content-type", "cookie"]), "[a-c/]{1,3}"), 0..3);
    let body = prop_oneof![
        3 => vec(any::<u8>(), 0..3),
        1 => any::<u8>().prop_map(|byte| vec![byte; LONG_BYTES]),
    ];
    (path, method, query, headers, body).prop_map(|(path, method, query, headers, body)| {
        let is_raw = path == "/f/payload";
        let (method, query) = if is_raw { ("POST", String::new()) } else { (method, query) };
        // A client sends each of these headers once.
        let mut headers = headers;
        headers.dedup_by_key(|(name, _)| *name);
        (path.to_owned(), FunctionRequest { method, query, headers, body })
    })
}
