//! How long the JSON of a value can be, told by the memory that it takes.
//!
//! Of a value in memory, the contents of its strings and lists are outside of it, each in a piece of its own.
//! So its JSON is no longer than
//!
//! ```text
//! J + R × the bytes of those pieces
//! ```
//!
//! where J is what JSON it can have without any contents, and R the most JSON bytes that a byte of them
//! gives: of a string 6 (`\u001f`), of `list<u8>` 2 (base64), of another list the J of an element and a
//! comma, over its size.

use nebula_codec::{Flat, MapEntry, Primitive, Type};

use super::layout::Layout;

/// Of a string's byte.
const STRING_RATIO: u64 = 6;

/// Of a byte of `list<u8>`: 4/3, rounded up.
const BASE64_RATIO: u64 = 2;

/// `null`.
const NULL: u64 = 4;

/// The bound of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// J, bytes.
    without_contents: u64,
    /// R; 0 where there are no contents.
    ratio: u64,
}

impl Bound {
    /// Of a function's answer. One `string` or `list<u8>` is measured as it is.
    pub(super) fn of_answer(ty: &Type) -> Self {
        match Flat::of(ty) {
            Some(_) => Self { without_contents: 0, ratio: 1 },
            None => Self::of(ty),
        }
    }

    /// How many bytes the contents may have for the JSON to be at most `json_bytes_max`; nothing where even
    /// without them it may be longer.
    pub(super) fn contents_bytes_max(self, json_bytes_max: u64) -> Option<u64> {
        let left = json_bytes_max.checked_sub(self.without_contents)?;
        Some(left.checked_div(self.ratio).unwrap_or(u64::MAX))
    }

    fn plain(without_contents: usize) -> Self {
        Self { without_contents: without_contents as u64, ratio: 0 }
    }

    /// Both, one after the other.
    fn and(self, other: Self) -> Self {
        Self {
            without_contents: self.without_contents.saturating_add(other.without_contents),
            ratio: self.ratio.max(other.ratio),
        }
    }

    /// Either.
    fn or(self, other: Self) -> Self {
        Self {
            without_contents: self.without_contents.max(other.without_contents),
            ratio: self.ratio.max(other.ratio),
        }
    }

    /// With that much more around it.
    fn around(self, bytes: usize) -> Self {
        self.and(Self::plain(bytes))
    }

    /// A list of what is this, with a comma, and takes so much memory.
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
            // Two quotes, and what base64 fills up with.
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

    /// What the strings and lists of a value hold, bytes.
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
        fn no_json_is_longer_than_its_bound((ty, value) in any_type().prop_flat_map(|ty| {
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
    fn contents_are_bounded_by_what_is_left_for_them() {
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
