//! Made-up inputs, each in several spellings; and requests that hold none.

use nebula_tests::{Answer, Nebula, base64};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::json;

use super::types::Type;

/// Different inputs of a function.
const INPUTS: usize = 5;

/// Bytes of a long body, which takes long to mirror.
const LONG_BYTES: usize = 600_000;

/// A request to a function.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    /// With its `?`, or nothing.
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Ask {
    pub(crate) fn send(&self, nebula: &Nebula, path: &str) -> Answer {
        // As each server has another port.
        let call =
            nebula.request(self.method, &format!("{path}{}", self.query)).header("host", "nebula.test");
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
        call.body(&self.body).send()
    }

    /// Whether it is a document, which is answered with one.
    pub(crate) fn is_json(&self) -> bool {
        self.headers.iter().any(|(_, value)| value == "application/json")
    }

    /// The same, for an answer that is no document if it needn't be one.
    pub(crate) fn for_plain(&self) -> Self {
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

/// A value of a type of WIT.
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
    /// Which, and what it carries.
    Case(usize, Option<Box<Value>>),
    /// Those that are set.
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

/// What decides between spellings. Of nothing but zeros it is the plainest.
#[derive(Clone, Debug)]
struct Style {
    bytes: Vec<u8>,
    used: usize,
}

impl Style {
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

    /// `open`, parts with commas between them, `close`; with white space.
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
            // Those below have to be escaped.
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

    /// The fields of an object, in some order.
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
            // Beyond a double's integers a fraction is refused.
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
                let leaves_out = self.pick(2) == 1;
                let is_said =
                    |value: &&(usize, &Value)| !(leaves_out && matches!(value.1, Value::Option(None)));
                let fields: Vec<_> = values.iter().enumerate().collect();
                let fields = fields
                    .iter()
                    .filter(is_said)
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

    /// The input of a function with these arguments.
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

    /// The same as a query, where it fits one.
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

/// Percent-encoded, all that might have to be.
fn escaped(text: &str) -> String {
    let byte = |byte: &u8| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(byte).collect()
}

/// What to ask of a function with these parameters, in any order.
pub(crate) fn asks(params: &[Type]) -> impl Strategy<Value = Vec<Ask>> {
    let well_formed =
        (values_of(params), Style::any(), Style::any()).prop_map(|(arguments, mut one, mut other)| {
            let mut asks = vec![
                Ask::json(Style::plain().document(&arguments)),
                Ask::json(one.document(&arguments)),
                Ask { method: "QUERY", ..Ask::json(other.document(&arguments)) },
            ];
            asks.extend(one.query(&arguments).map(Ask::get));
            match &arguments[..] {
                [Value::String(text)] => asks.push(Ask::with_body("text/plain", text.as_bytes())),
                [Value::Bytes(bytes)] => asks.push(Ask::with_body("application/octet-stream", bytes.clone())),
                _ => {}
            }
            asks
        });
    // Most of it is no JSON, or of no such type. What is left is a call as any.
    let other = (values_of(params), any::<prop::sample::Index>(), any::<u8>(), 0..4).prop_map(
        |(arguments, at, byte, how)| {
            let mut document = Style::plain().document(&arguments).into_bytes();
            let at = at.index(document.len());
            match how {
                0 => document.truncate(at),
                1 => document[at] = byte,
                2 => document = json!([[], {"p0": null}, "x", 1e300]).to_string().into_bytes(),
                _ => document.insert(at, b'0'),
            }
            Ask::json(document)
        },
    );
    (vec(well_formed, INPUTS), vec(other, INPUTS))
        .prop_flat_map(|(well_formed, other)| Just([well_formed.concat(), other].concat()).prop_shuffle())
}

/// A request to a function of the http form, `mirror`, or a raw one, `payload`, which both show all that they see.
pub(crate) fn request() -> impl Strategy<Value = (String, Ask)> {
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
        // A client says these once.
        let mut headers = headers;
        headers.dedup_by_key(|(name, _)| *name);
        (path.to_owned(), Ask { method, query, headers, body })
    })
}
