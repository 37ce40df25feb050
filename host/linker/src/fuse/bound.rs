//! A bound on the length of a value's JSON, computed from the memory that the value takes.
//!
//! The contents of a value's strings and lists are outside of the value, each in an allocation of
//! its own. The length of the JSON is at most
//!
//! ```text
//! J + R × the bytes of those allocations
//! ```
//!
//! where J is the longest JSON of the value without contents, and R the most JSON bytes that a byte
//! of contents gives: 6 for a string (`\u001f`), 2 for `list<u8>` (base64), and for another list
//! the J of an element and a comma, divided by its size.

use nebula_codec::{Flat, MapEntry, Primitive, Type};

use super::layout::Layout;

/// JSON bytes for a byte of a string.
const STRING_RATIO: u64 = 6;

/// JSON bytes for a byte of `list<u8>`: 4/3, rounded up.
const BASE64_RATIO: u64 = 2;

/// Length of `null`.
const NULL: u64 = 4;

/// The bound for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// J, bytes.
    without_contents: u64,
    /// R; 0 if the type has no contents.
    ratio: u64,
}

impl Bound {
    /// The bound for a function's answer. One `string` or `list<u8>` is measured by its content.
    pub(super) fn of_answer(ty: &Type) -> Self {
        match Flat::of(ty) {
            Some(_) => Self { without_contents: 0, ratio: 1 },
            None => Self::of(ty),
        }
    }

    /// Returns the most bytes of contents for which the JSON is at most `json_bytes_max` long;
    /// `None` if it may be longer without any.
    pub(super) fn contents_bytes_max(self, json_bytes_max: u64) -> Option<u64> {
        let left = json_bytes_max.checked_sub(self.without_contents)?;
        Some(left.checked_div(self.ratio).unwrap_or(u64::MAX))
    }

    fn plain(without_contents: usize) -> Self {
        Self { without_contents: without_contents as u64, ratio: 0 }
    }

    /// The bound for both in sequence.
    fn and(self, other: Self) -> Self {
        Self {
            without_contents: self.without_contents.saturating_add(other.without_contents),
            ratio: self.ratio.max(other.ratio),
        }
    }

    /// The bound for either.
    fn or(self, other: Self) -> Self {
        Self {
            without_contents: self.without_contents.max(other.without_contents),
            ratio: self.ratio.max(other.ratio),
        }
    }

    /// Adds fixed bytes around the value.
    fn around(self, bytes: usize) -> Self {
        self.and(Self::plain(bytes))
    }

    /// The bound for a list of such elements of `size` bytes, with commas.
    fn listed(self, size: u32) -> Self {
        // No type has a size of zero.
        let own = self.without_contents.saturating_add(1).div_ceil(u64::from(size.max(1)));
        Self { without_contents: 2, ratio: self.ratio.max(own) }
    }

    fn of(ty: &Type) -> Self {
        match ty {
            Type::Primitive(Primitive::Bool) => Self::plain("false".len()),
            Type::Primitive(Primitive::U8) => Self::plain("255".len()),
            Type::Primitive(Primitive::S8) => Self::plain("-128".len()),
            Type::Primitive(Primitive::U16) => Self::plain("65535".len()),
            Type::Primitive(Primitive::S16) => Self::plain("-32768".len()),
            Type::Primitive(Primitive::U32) => Self::plain("4294967295".len()),
            Type::Primitive(Primitive::S32) => Self::plain("-2147483648".len()),
            Type::Primitive(Primitive::U64) => Self::plain("18446744073709551615".len()),
            Type::Primitive(Primitive::S64) => Self::plain("-9223372036854775808".len()),
            Type::Primitive(Primitive::Float32 | Primitive::Float64) => {
                Self::plain("-2.2250738585072014e-308".len())
            }
            Type::Primitive(Primitive::Char) => Self::plain(r#""\u001f""#.len()),
            Type::Primitive(Primitive::String) => Self { without_contents: 2, ratio: STRING_RATIO },
            // Two quotes and the padding of base64.
            Type::List(_) if ty.is_bytes() => Self { without_contents: 2 + 4, ratio: BASE64_RATIO },
            Type::List(element) => Self::of(element).listed(Layout::of(element).size),
            Type::Map(map) => {
                let MapEntry { key, value } = &**map;
                let entry = Self::of(key).and(Self::of(value)).around("[,]".len());
                entry.listed(Layout::sequence([key, value].into_iter()).size)
            }
            Type::Record(fields) => fields
                .iter()
                .map(|field| Self::of(&field.ty).around(field.name.len() + r#""":,"#.len()))
                .fold(Self::plain("{}".len()), Self::and),
            Type::Tuple(types) => {
                types.iter().map(|ty| Self::of(ty).around(1)).fold(Self::plain("[]".len()), Self::and)
            }
            Type::Variant(cases) => cases
                .iter()
                .map(|case| match &case.payload {
                    Some(ty) => Self::of(ty).around(case.name.len() + r#"{"":}"#.len()),
                    None => Self::plain(case.name.len() + 2),
                })
                .fold(Self::plain(0), Self::or),
            Type::Enum(names) => Self::plain(names.iter().map(String::len).max().unwrap_or(0) + 2),
            Type::Flags(names) => {
                Self::plain(2 + names.iter().map(|name| name.len() + r#""","#.len()).sum::<usize>())
            }
            Type::Option(inner) => {
                let some = Self::of(inner).or(Self { without_contents: NULL, ratio: 0 });
                some.around(r#"{"some":}"#.len())
            }
            Type::Result(result) => [&result.ok, &result.err]
                .into_iter()
                .map(|payload| match payload {
                    Some(ty) => Self::of(ty),
                    None => Self { without_contents: NULL, ratio: 0 },
                })
                .fold(Self::plain(0), Self::or)
                .around(r#"{"err":}"#.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nebula_codec as codec;
    use nebula_codec::testing::{any_type, value_of};
    use proptest::prelude::*;
    use wasmtime::component::Val;

    use super::*;

    /// Returns the bytes of the contents of a value's strings and lists.
    fn contents(ty: &Type, value: &Val) -> u64 {
        let within = |ty: &Option<Type>, value: &Option<Box<Val>>| match (ty, value) {
            (Some(ty), Some(value)) => contents(ty, value),
            _ => 0,
        };
        match (ty, value) {
            (Type::Primitive(Primitive::String), Val::String(text)) => text.len() as u64,
            (Type::List(ty), Val::List(items)) => {
                let within: u64 = items.iter().map(|item| contents(ty, item)).sum();
                within + items.len() as u64 * u64::from(Layout::of(ty).size)
            }
            (Type::Map(map), Val::Map(entries)) => {
                let entry = |(key, value): &(Val, Val)| contents(&map.key, key) + contents(&map.value, value);
                let size = Layout::sequence([&map.key, &map.value].into_iter()).size;
                entries.iter().map(entry).sum::<u64>() + entries.len() as u64 * u64::from(size)
            }
            (Type::Record(types), Val::Record(values)) => {
                types.iter().zip(values).map(|(field, (_, value))| contents(&field.ty, value)).sum()
            }
            (Type::Tuple(types), Val::Tuple(values)) => {
                types.iter().zip(values).map(|(ty, value)| contents(ty, value)).sum()
            }
            (Type::Variant(cases), Val::Variant(name, value)) => {
                within(&cases.iter().find(|case| case.name == *name).unwrap().payload, value)
            }
            (Type::Option(ty), Val::Option(Some(value))) => contents(ty, value),
            (Type::Result(result), Val::Result(Ok(value))) => within(&result.ok, value),
            (Type::Result(result), Val::Result(Err(value))) => within(&result.err, value),
            _ => 0,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]
        #[test]
        fn json_is_at_most_as_long_as_its_bound((ty, value) in any_type().prop_flat_map(|ty| {
            let value = value_of(&ty);
            (Just(ty), value)
        })) {
            let mut json = Vec::new();
            codec::encode(&ty, &value, &mut json);
            let bound = Bound::of(&ty);
            let max = bound.without_contents + bound.ratio * contents(&ty, &value);
            prop_assert!(json.len() as u64 <= max, "over {max}: {}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn contents_get_the_bytes_left_beside_the_fixed_json() {
        assert_eq!(Bound::of_answer(&Type::STRING).contents_bytes_max(100), Some(100));
        assert_eq!(Bound::of_answer(&Type::U8).contents_bytes_max(2), None);
        assert_eq!(Bound::of_answer(&Type::U8).contents_bytes_max(3), Some(u64::MAX));
        // `["…","…"]`: an element takes 8 bytes and has two quotes and a comma besides its text.
        let texts = Type::list(Type::STRING);
        assert_eq!(Bound::of_answer(&texts).contents_bytes_max(62), Some(10));
        // `[18446744073709551615,…]`: 21 bytes for 8.
        let numbers = Type::list(Type::U64);
        assert_eq!(Bound::of_answer(&numbers).contents_bytes_max(32), Some(10));
    }
}
