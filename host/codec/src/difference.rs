//! Where two signatures differ.
//!
//! What flows through a pipeline is converted where it fits; what a component imports is called as it is. So here only
//! what is the same is the same: types by their structure, and the names of parameters.

use super::signature::Signature;
use super::text::{signature_excerpt, wit_excerpt};
use super::types::Type;

/// The first place where two signatures differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `table.rows[].name`, or `result.ok`; of names of parameters `parameters`; empty is the whole.
    pub at: String,
    /// What stands there in the first one.
    pub one: String,
    /// In the other one.
    pub other: String,
}

impl Difference {
    fn between(one: &Type, other: &Type) -> Self {
        Self { at: String::new(), one: wit_excerpt(one), other: wit_excerpt(other) }
    }

    /// Seen from outside.
    fn within(mut self, step: &str) -> Self {
        self.at.insert_str(0, step);
        self
    }
}

/// The first place where they differ, if there is one.
pub fn difference(one: &Signature, other: &Signature) -> Option<Difference> {
    let whole = || Difference {
        at: String::new(),
        one: signature_excerpt("handle", one),
        other: signature_excerpt("handle", other),
    };
    if one.params.len() != other.params.len() {
        return Some(whole());
    }
    for ((name, one), (other_name, other)) in one.params.iter().zip(&other.params) {
        if name != other_name {
            return Some(Difference {
                at: "parameters".to_owned(),
                one: name.clone(),
                other: other_name.clone(),
            });
        }
        if let Some(difference) = between(one, other) {
            return Some(difference.within(name));
        }
    }
    match (&one.result, &other.result) {
        (None, None) => None,
        (Some(one), Some(other)) => between(one, other).map(|difference| difference.within("result")),
        (None, Some(_)) | (Some(_), None) => Some(whole()),
    }
}

fn between(one: &Type, other: &Type) -> Option<Difference> {
    if one == other {
        return None;
    }
    let inner = |step: &str, one: &Type, other: &Type| between(one, other).map(|found| found.within(step));
    let part = match (one, other) {
        (Type::List(one), Type::List(other)) => inner("[]", one, other),
        (Type::Option(one), Type::Option(other)) => inner("?", one, other),
        (Type::Map(one), Type::Map(other)) => {
            inner(".key", &one.0, &other.0).or_else(|| inner(".value", &one.1, &other.1))
        }
        (Type::Tuple(one), Type::Tuple(other)) if one.len() == other.len() => {
            let mut parts = one.iter().zip(&**other).enumerate();
            parts.find_map(|(index, (one, other))| inner(&format!(".{index}"), one, other))
        }
        (Type::Record(one), Type::Record(other)) if same_names(one, other) => one
            .iter()
            .zip(&**other)
            .find_map(|((name, one), (_, other))| inner(&format!(".{name}"), one, other)),
        (Type::Variant(one), Type::Variant(other)) if same_names(one, other) => {
            let mut cases = one.iter().zip(&**other);
            cases.find_map(|((name, one), (_, other))| payload(name, one.as_ref(), other.as_ref()))
        }
        (Type::Result(one), Type::Result(other)) => payload("ok", one.ok.as_ref(), other.ok.as_ref())
            .or_else(|| payload("err", one.err.as_ref(), other.err.as_ref())),
        _ => None,
    };
    // Where it is no part of them that differs they do.
    Some(part.unwrap_or_else(|| Difference::between(one, other)))
}

/// Of a case that has one in one of them alone nothing is said here: the whole differs.
fn payload(name: &str, one: Option<&Type>, other: Option<&Type>) -> Option<Difference> {
    between(one?, other?).map(|found| found.within(&format!(".{name}")))
}

/// Whether they are of the same fields or cases, in the same order.
fn same_names<T>(one: &[(String, T)], other: &[(String, T)]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|((one, _), (other, _))| one == other)
}

#[cfg(test)]
mod tests {
    use super::super::parse_type;
    use super::*;

    fn found(one: &str, other: &str) -> Option<(String, String, String)> {
        let signature = |ty: &str| Signature {
            params: vec![("input".to_owned(), parse_type(ty).unwrap())],
            result: Some(Type::Bool),
        };
        difference(&signature(one), &signature(other)).map(|it| (it.at, it.one, it.other))
    }

    #[test]
    fn the_first_difference_is_pointed_at() {
        for (one, other, at, here, there) in [
            ("string", "u32", "input", "string", "u32"),
            ("list<option<u8>>", "list<option<u16>>", "input[]?", "u8", "u16"),
            ("tuple<u8, string>", "tuple<u8, char>", "input.1", "string", "char"),
            ("tuple<u8>", "tuple<u8, u8>", "input", "tuple<u8>", "tuple<u8, u8>"),
            ("record { a: u8, b: u8 }", "record { a: u8, b: s8 }", "input.b", "u8", "s8"),
            ("record { a: u8 }", "record { b: u8 }", "input", "record { a: u8 }", "record { b: u8 }"),
            ("variant { a(u8) }", "variant { a(u16) }", "input.a", "u8", "u16"),
            ("variant { a }", "variant { a(u16) }", "input", "variant { a }", "variant { a(u16) }"),
            ("result<u8, string>", "result<u8, char>", "input.err", "string", "char"),
            ("result<u8>", "result<_, u8>", "input", "result<u8>", "result<_, u8>"),
            ("map<string, u8>", "map<string, u16>", "input.value", "u8", "u16"),
            ("enum { a, b }", "enum { b, a }", "input", "enum { a, b }", "enum { b, a }"),
        ] {
            let expected = (at.to_owned(), here.to_owned(), there.to_owned());
            assert_eq!(found(one, other), Some(expected), "{one} and {other}");
            assert_eq!(found(one, one), None, "{one}");
        }
    }

    #[test]
    fn names_and_numbers_of_parameters_count() {
        let signature = |params: &[&str], result: Option<Type>| Signature {
            params: params.iter().map(|name| ((*name).to_owned(), Type::U8)).collect(),
            result,
        };
        let one = signature(&["a"], None);
        assert_eq!(difference(&one, &one), None);
        let said = |other: &Signature| difference(&one, other).map(|found| (found.one, found.other)).unwrap();
        assert_eq!(said(&signature(&["b"], None)), ("a".to_owned(), "b".to_owned()));
        let (here, there) = said(&signature(&["a", "b"], None));
        assert_eq!((&*here, &*there), ("handle: func(a: u8)", "handle: func(a: u8, b: u8)"));
        let (_, there) = said(&signature(&["a"], Some(Type::U8)));
        assert_eq!(there, "handle: func(a: u8) -> u8");
    }
}
