//! The first place where two signatures differ.
//!
//! A pipeline converts values between types that fit. A call of an imported function has no place
//! for that, so types count as equal here only if they have the same structure, and parameters only
//! if they have the same names.

use crate::text::{signature_excerpt, wit_excerpt};
use crate::types::{Signature, Type};

/// A place where two signatures differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The place: `table.rows[].name` or `result.ok`; `parameters` if their names differ; empty for
    /// the whole signature.
    pub at: String,
    /// The left signature's type or name there.
    pub left: String,
    /// The right signature's type or name there.
    pub right: String,
}

impl Difference {
    fn of_types(left: &Type, right: &Type) -> Self {
        Self { at: String::new(), left: wit_excerpt(left), right: wit_excerpt(right) }
    }

    /// Prepends a step to the place.
    fn within(mut self, step: &str) -> Self {
        self.at.insert_str(0, step);
        self
    }
}

/// Returns the first difference between two signatures, or `None` if they are equal.
pub fn difference(left: &Signature, right: &Signature) -> Option<Difference> {
    let whole = || Difference {
        at: String::new(),
        left: signature_excerpt("handle", left),
        right: signature_excerpt("handle", right),
    };
    if left.params.len() != right.params.len() {
        return Some(whole());
    }
    for (left, right) in left.params.iter().zip(&right.params) {
        if left.name != right.name {
            return Some(Difference {
                at: "parameters".to_owned(),
                left: left.name.clone(),
                right: right.name.clone(),
            });
        }
        if let Some(difference) = between(&left.ty, &right.ty) {
            return Some(difference.within(&left.name));
        }
    }
    match (&left.result, &right.result) {
        (None, None) => None,
        (Some(left), Some(right)) => between(left, right).map(|difference| difference.within("result")),
        (None, Some(_)) | (Some(_), None) => Some(whole()),
    }
}

fn between(left: &Type, right: &Type) -> Option<Difference> {
    if left == right {
        return None;
    }
    let inside = |step: &str, left: &Type, right: &Type| between(left, right).map(|found| found.within(step));
    let part = match (left, right) {
        (Type::List(left), Type::List(right)) => inside("[]", left, right),
        (Type::Option(left), Type::Option(right)) => inside("?", left, right),
        (Type::Map(left), Type::Map(right)) => {
            inside(".key", &left.key, &right.key).or_else(|| inside(".value", &left.value, &right.value))
        }
        (Type::Tuple(left), Type::Tuple(right)) if left.len() == right.len() => {
            let mut parts = left.iter().zip(&**right).enumerate();
            parts.find_map(|(index, (left, right))| inside(&format!(".{index}"), left, right))
        }
        (Type::Record(left), Type::Record(right)) if have_same_names(left, right, |field| &field.name) => {
            let mut fields = left.iter().zip(&**right);
            fields.find_map(|(left, right)| inside(&format!(".{}", left.name), &left.ty, &right.ty))
        }
        (Type::Variant(left), Type::Variant(right)) if have_same_names(left, right, |case| &case.name) => {
            let mut cases = left.iter().zip(&**right);
            cases.find_map(|(left, right)| payload(&left.name, left.payload.as_ref(), right.payload.as_ref()))
        }
        (Type::Result(left), Type::Result(right)) => payload("ok", left.ok.as_ref(), right.ok.as_ref())
            .or_else(|| payload("err", left.err.as_ref(), right.err.as_ref())),
        _ => None,
    };
    // If no part differs, the types differ as a whole.
    Some(part.unwrap_or_else(|| Difference::of_types(left, right)))
}

/// Compares two payloads. If only one case has one, the difference is the whole variant.
fn payload(name: &str, left: Option<&Type>, right: Option<&Type>) -> Option<Difference> {
    between(left?, right?).map(|found| found.within(&format!(".{name}")))
}

/// Returns whether both have the same names in the same order.
fn have_same_names<T>(left: &[T], right: &[T], name: fn(&T) -> &String) -> bool {
    left.iter().map(name).eq(right.iter().map(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse_type;
    use crate::types::Field;

    fn found(left: &str, right: &str) -> Option<Difference> {
        let signature = |ty: &str| Signature {
            params: vec![Field::new("input", parse_type(ty).unwrap())],
            result: Some(Type::BOOL),
        };
        difference(&signature(left), &signature(right))
    }

    #[test]
    fn reports_the_place_and_both_types_of_the_first_difference() {
        for (left, right, at, left_there, right_there) in [
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
            let expected =
                Difference { at: at.to_owned(), left: left_there.to_owned(), right: right_there.to_owned() };
            assert_eq!(found(left, right), Some(expected), "{left} and {right}");
            assert_eq!(found(left, left), None, "{left}");
        }
    }

    #[test]
    fn names_and_number_of_parameters_count() {
        let signature = |params: &[&str], result: Option<Type>| Signature {
            params: params.iter().map(|name| Field::new(*name, Type::U8)).collect(),
            result,
        };
        let left = signature(&["a"], None);
        assert_eq!(difference(&left, &left), None);
        let found = difference(&left, &signature(&["b"], None)).unwrap();
        assert_eq!((&*found.left, &*found.right), ("a", "b"));
        let found = difference(&left, &signature(&["a", "b"], None)).unwrap();
        assert_eq!((&*found.left, &*found.right), ("handle: func(a: u8)", "handle: func(a: u8, b: u8)"));
        let found = difference(&left, &signature(&["a"], Some(Type::U8))).unwrap();
        assert_eq!(found.right, "handle: func(a: u8) -> u8");
    }
}
