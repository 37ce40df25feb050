//! Types as WIT text, written out in place.

use std::fmt::{self, Write};

use super::Params;
use super::signature::Signature;
use super::types::Type;

/// How much of a type, or of what was found in its place, an error shows, characters.
pub(super) const EXCERPT_CHARS_MAX: usize = 300;

/// `ty` in WIT, structurally: `list<record { name: string, values: list<f64> }>`.
pub fn wit_text(ty: &Type) -> String {
    let mut out = String::new();
    // Writing to a `String` doesn't fail.
    let _ = write_type(&mut out, ty);
    out
}

/// The beginning of `ty` in WIT, with `…` where there is more. What isn't shown isn't looked at.
pub fn wit_excerpt(ty: &Type) -> String {
    Excerpt::of(|out| write_type(out, ty))
}

/// The beginning of parameters as the record that they are as a document.
pub(crate) fn params_excerpt(params: &Params) -> String {
    Excerpt::of(|out| {
        out.write_str("record { ")?;
        write_params(out, params)?;
        out.write_str(" }")
    })
}

/// The beginning of a text, with `…` where there is more.
pub fn excerpt(text: &str) -> String {
    Excerpt::of(|out| out.write_str(text))
}

/// `handle: func(n: u32) -> result<string, string>`.
pub fn signature_text(name: &str, signature: &Signature) -> String {
    let mut out = String::new();
    // Writing to a `String` doesn't fail.
    let _ = write_signature(&mut out, name, signature);
    out
}

/// The beginning of [`signature_text`].
pub fn signature_excerpt(name: &str, signature: &Signature) -> String {
    Excerpt::of(|out| write_signature(out, name, signature))
}

/// Takes [`EXCERPT_CHARS_MAX`] characters, and then fails, which ends the writing.
struct Excerpt {
    text: String,
    chars_left: usize,
}

impl Excerpt {
    fn of(write: impl FnOnce(&mut Self) -> fmt::Result) -> String {
        let mut out = Self { text: String::new(), chars_left: EXCERPT_CHARS_MAX };
        if write(&mut out).is_err() {
            out.text.push('…');
        }
        out.text
    }
}

impl Write for Excerpt {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.char_indices().nth(self.chars_left) {
            None => {
                self.text.push_str(text);
                self.chars_left -= text.chars().count();
                Ok(())
            }
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.chars_left = 0;
                Err(fmt::Error)
            }
        }
    }
}

fn write_signature<W: Write>(out: &mut W, name: &str, signature: &Signature) -> fmt::Result {
    write!(out, "{name}: func(")?;
    write_params(out, &signature.params)?;
    out.write_char(')')?;
    match &signature.result {
        Some(result) => {
            out.write_str(" -> ")?;
            write_type(out, result)
        }
        None => Ok(()),
    }
}

fn write_params<W: Write>(out: &mut W, params: &Params) -> fmt::Result {
    join(out, params.iter(), |out, (name, ty)| {
        write!(out, "{name}: ")?;
        write_type(out, ty)
    })
}

fn join<W: Write, T>(
    out: &mut W,
    items: impl Iterator<Item = T>,
    mut write: impl FnMut(&mut W, T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.write_str(", ")?;
        }
        write(out, item)?;
    }
    Ok(())
}

fn write_type<W: Write>(out: &mut W, ty: &Type) -> fmt::Result {
    match ty {
        Type::Bool => out.write_str("bool"),
        Type::S8 => out.write_str("s8"),
        Type::U8 => out.write_str("u8"),
        Type::S16 => out.write_str("s16"),
        Type::U16 => out.write_str("u16"),
        Type::S32 => out.write_str("s32"),
        Type::U32 => out.write_str("u32"),
        Type::S64 => out.write_str("s64"),
        Type::U64 => out.write_str("u64"),
        Type::Float32 => out.write_str("f32"),
        Type::Float64 => out.write_str("f64"),
        Type::Char => out.write_str("char"),
        Type::String => out.write_str("string"),
        Type::List(element) => {
            out.write_str("list<")?;
            write_type(out, element)?;
            out.write_char('>')
        }
        Type::Map(map) => {
            out.write_str("map<")?;
            write_type(out, &map.0)?;
            out.write_str(", ")?;
            write_type(out, &map.1)?;
            out.write_char('>')
        }
        Type::Record(fields) => {
            out.write_str("record { ")?;
            write_params(out, fields)?;
            out.write_str(" }")
        }
        Type::Tuple(types) => {
            out.write_str("tuple<")?;
            join(out, types.iter(), |out, ty| write_type(out, ty))?;
            out.write_char('>')
        }
        Type::Variant(cases) => {
            out.write_str("variant { ")?;
            join(out, cases.iter(), |out, (name, payload)| {
                out.write_str(name)?;
                match payload {
                    Some(ty) => {
                        out.write_char('(')?;
                        write_type(out, ty)?;
                        out.write_char(')')
                    }
                    None => Ok(()),
                }
            })?;
            out.write_str(" }")
        }
        Type::Enum(names) => {
            out.write_str("enum { ")?;
            join(out, names.iter(), |out, name| out.write_str(name))?;
            out.write_str(" }")
        }
        Type::Flags(names) => {
            out.write_str("flags { ")?;
            join(out, names.iter(), |out, name| out.write_str(name))?;
            out.write_str(" }")
        }
        Type::Option(inner) => {
            out.write_str("option<")?;
            write_type(out, inner)?;
            out.write_char('>')
        }
        Type::Result(result) => match (&result.ok, &result.err) {
            (None, None) => out.write_str("result"),
            (Some(ok), None) => {
                out.write_str("result<")?;
                write_type(out, ok)?;
                out.write_char('>')
            }
            (ok, Some(err)) => {
                out.write_str("result<")?;
                match ok {
                    Some(ok) => write_type(out, ok)?,
                    None => out.write_char('_')?,
                }
                out.write_str(", ")?;
                write_type(out, err)?;
                out.write_char('>')
            }
        },
    }
}
