//! Better errors for usual mistakes with a whole document. Nothing here runs for a document that
//! decodes.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, MapAccess};

use super::error::DecodeError;
use super::kinds::{ByKind, Kinds, Text};
use crate::text::{excerpt, params_excerpt, wit_excerpt};
use crate::types::{Params, Primitive, Type};

/// Byte-order marks, and the encoding that each one stands for. A longer mark comes before a
/// shorter one that it begins with.
const BYTE_ORDER_MARKS: [(&[u8], &str); 5] = [
    (b"\xef\xbb\xbf", "UTF-8"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
];

/// Returns the error of a document for `params`, with the mistake named if it is a usual one.
pub(super) fn explain(params: &Params, json: &[u8], error: DecodeError) -> DecodeError {
    match error {
        DecodeError::Syntax { .. } if json.trim_ascii().is_empty() => {
            DecodeError::Empty { expected: expected(params) }
        }
        DecodeError::Syntax { message, line, column } => match byte_order_mark(json) {
            Some(message) => DecodeError::Syntax { message, line: 1, column: 1 },
            None => DecodeError::Syntax { message, line, column },
        },
        DecodeError::Mismatch { at, expected, found, hint } => {
            let unwrapped = if at.is_empty() { unwrap_hint(params, json) } else { None };
            DecodeError::Mismatch { at, expected, found, hint: unwrapped.or(hint) }
        }
        error @ (DecodeError::Empty { .. } | DecodeError::TooLarge { .. } | DecodeError::NotUtf8 { .. }) => {
            error
        }
    }
}

/// Returns the type of the document.
fn expected(params: &Params) -> String {
    match params {
        [param] => wit_excerpt(&param.ty),
        params => params_excerpt(params),
    }
}

/// Returns a message about the mark that the document begins with.
fn byte_order_mark(json: &[u8]) -> Option<String> {
    let (_, encoding) = BYTE_ORDER_MARKS.iter().find(|(mark, _)| json.starts_with(mark))?;
    Some(format!("the document begins with the byte-order mark of {encoding}: send UTF-8 without a mark"))
}

/// Returns a hint for `{"order": …}`, sent to a function of one parameter `order`.
fn unwrap_hint(params: &Params, json: &[u8]) -> Option<String> {
    let [param] = params else { return None };
    let only_member = ByKind(OnlyMember { name: &param.name });
    let is_wrapped = only_member.deserialize(&mut serde_json::Deserializer::from_slice(json)).is_ok();
    if !is_wrapped || has_member(&param.ty, &param.name) {
        return None;
    }
    let what = if matches!(param.ty, Type::Record(_)) { "record" } else { "value" };
    let name = excerpt(&param.name);
    Some(format!("a single parameter isn't named: send the {what} itself, without `{{\"{name}\": …}}`"))
}

/// Returns whether an object of this type may have a member of this name.
fn has_member(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Record(fields) => fields.iter().any(|field| field.name == name),
        Type::Variant(cases) => cases.iter().any(|case| case.name == name),
        Type::Result(_) => matches!(name, "ok" | "err"),
        Type::Map(map) => map.key == Type::Primitive(Primitive::String),
        Type::Option(inner) => match &**inner {
            Type::Option(_) => name == "some",
            inner => has_member(inner, name),
        },
        Type::Primitive(_) | Type::List(_) | Type::Tuple(_) | Type::Enum(_) | Type::Flags(_) => false,
    }
}

/// Accepts an object with this member and no other.
#[derive(Clone, Copy)]
struct OnlyMember<'a> {
    name: &'a str,
}

impl<'de> Kinds<'de> for OnlyMember<'_> {
    type Value = ();

    fn mismatch<E: de::Error>(self) -> E {
        E::custom("another document")
    }

    fn object<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let name: Option<Text<'de>> = entries.next_key()?;
        if name.map(|Text(name)| name) != Some(Cow::Borrowed(self.name)) {
            return Err(self.mismatch());
        }
        entries.next_value::<de::IgnoredAny>()?;
        match entries.next_key::<de::IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(self.mismatch()),
        }
    }
}
