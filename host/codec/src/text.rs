//! Types as WIT text, structurally: records and the like are written in place and have no names.
//!
//! `parse` reads this text back.

use std::fmt::{self, Write};

use crate::types::{Params, Signature, Type};

/// Maximum length of the excerpts in errors: of types, and of what was found in their place,
/// characters.
pub(crate) const EXCERPT_CHARS_MAX: usize = 300;

/// Returns `ty` in WIT: `list<record { name: string, values: list<f64> }>`.
pub fn wit_text(ty: &Type) -> String {
    let mut out = String::new();
    // Writing to a `String` doesn't fail.
    let _ = write_type(&mut out, ty);
    out
}

/// Returns the beginning of `ty` in WIT, and `…` if there is more. The walk ends there too.
pub fn wit_excerpt(ty: &Type) -> String {
    Excerpt::of(|out| write_type(out, ty))
}

/// Returns the beginning of the record type that a document with these parameters has.
pub(crate) fn params_excerpt(params: &Params) -> String {
    Excerpt::of(|out| {
        out.write_str("record { ")?;
        write_params(out, params)?;
        out.write_str(" }")
    })
}

/// Returns the beginning of a text, and `…` if there is more.
pub fn excerpt(text: &str) -> String {
    Excerpt::of(|out| out.write_str(text))
}

/// Returns a signature in WIT: `handle: func(n: u32) -> result<string, string>`.
pub fn signature_text(name: &str, signature: &Signature) -> String {
    let mut out = String::new();
    // Writing to a `String` doesn't fail.
    let _ = write_signature(&mut out, name, signature);
    out
}

/// Returns the beginning of [`signature_text`], and `…` if there is more.
pub fn signature_excerpt(name: &str, signature: &Signature) -> String {
    Excerpt::of(|out| write_signature(out, name, signature))
}

/// A writer that fails after [`EXCERPT_CHARS_MAX`] characters, which ends the walk that writes.
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
    join(out, params.iter(), |out, param| {
        write!(out, "{}: ", param.name)?;
        write_type(out, &param.ty)
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
        Type::Primitive(primitive) => out.write_str(primitive.name()),
        Type::List(element) => {
            out.write_str("list<")?;
            write_type(out, element)?;
            out.write_char('>')
        }
        Type::Map(map) => {
            out.write_str("map<")?;
            write_type(out, &map.key)?;
            out.write_str(", ")?;
            write_type(out, &map.value)?;
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
            join(out, cases.iter(), |out, case| {
                out.write_str(&case.name)?;
                match &case.payload {
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
        Type::Result(outcome) => match (&outcome.ok, &outcome.err) {
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
