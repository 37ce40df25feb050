//! Types from the text that [`wit_text`](super::wit_text) writes: WIT's, but that records and the like are written in
//! place and have no name.

use std::sync::Arc;

use super::types::{Case, Field, Type};

/// Types in one another.
const DEPTH_MAX: usize = super::TYPE_DEPTH_MAX;

/// The longest text, bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The type that `text` writes.
///
/// # Errors
/// In words, with what stands where something else was expected.
pub fn parse_type(text: &str) -> Result<Type, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("it is over {TEXT_BYTES_MAX} bytes"));
    }
    let mut parser = Parser { rest: text, depth_left: DEPTH_MAX };
    let ty = parser.ty()?;
    if parser.rest.trim().is_empty() { Ok(ty) } else { Err(parser.unexpected("the end")) }
}

struct Parser<'a> {
    rest: &'a str,
    depth_left: usize,
}

impl<'a> Parser<'a> {
    fn unexpected(&self, wanted: &str) -> String {
        match self.rest.trim_start() {
            "" => format!("it ends where {wanted} is expected"),
            rest => {
                let found: String = rest.chars().take(20).collect();
                format!("`{found}` stands where {wanted} is expected")
            }
        }
    }

    /// Takes `token`, if it is next.
    fn takes(&mut self, token: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn token(&mut self, token: char) -> Result<(), String> {
        if self.takes(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    fn word(&mut self) -> Result<&'a str, String> {
        let rest = self.rest.trim_start();
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(rest.len());
        // An identifier may be written like a keyword, after a `%`.
        if end == 0 {
            return Err(self.unexpected("a name"));
        }
        self.rest = &rest[end..];
        Ok(&rest[..end])
    }

    /// A field's or case's.
    fn name(&mut self) -> Result<String, String> {
        self.takes('%');
        self.word().map(str::to_owned)
    }

    fn ty(&mut self) -> Result<Type, String> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or("its types are too deep")?;
        let before = self.rest;
        let ty = match self.word()? {
            "bool" => Type::Bool,
            "s8" => Type::S8,
            "u8" => Type::U8,
            "s16" => Type::S16,
            "u16" => Type::U16,
            "s32" => Type::S32,
            "u32" => Type::U32,
            "s64" => Type::S64,
            "u64" => Type::U64,
            "f32" => Type::Float32,
            "f64" => Type::Float64,
            "char" => Type::Char,
            "string" => Type::String,
            "list" => Type::List(Arc::new(self.argument()?)),
            "option" => Type::Option(Arc::new(self.argument()?)),
            "map" => {
                self.token('<')?;
                let key = self.ty()?;
                self.token(',')?;
                let value = self.ty()?;
                self.token('>')?;
                Type::Map(Arc::new((key, value)))
            }
            "tuple" => {
                self.token('<')?;
                Type::Tuple(self.until('>', Self::ty)?.into())
            }
            "record" => Type::Record(self.members(Self::field)?.into()),
            "variant" => Type::Variant(self.members(Self::case)?.into()),
            "enum" => Type::Enum(
                self.members(|parser| Ok((parser.name()?, ())))?.into_iter().map(|(name, ())| name).collect(),
            ),
            "flags" => Type::Flags(
                self.members(|parser| Ok((parser.name()?, ())))?.into_iter().map(|(name, ())| name).collect(),
            ),
            "result" => self.result()?,
            _ => {
                self.rest = before;
                return Err(self.unexpected("a type"));
            }
        };
        self.depth_left += 1;
        Ok(ty)
    }

    /// `<T>`.
    fn argument(&mut self) -> Result<Type, String> {
        self.token('<')?;
        let ty = self.ty()?;
        self.token('>')?;
        Ok(ty)
    }

    /// `result`, `result<T>`, `result<_, E>`, `result<T, E>`.
    fn result(&mut self) -> Result<Type, String> {
        if !self.takes('<') {
            return Ok(Type::result(None, None));
        }
        let ok = if self.takes('_') { None } else { Some(self.ty()?) };
        let err = if self.takes(',') { Some(self.ty()?) } else { None };
        self.token('>')?;
        Ok(Type::result(ok, err))
    }

    fn field(&mut self) -> Result<Field, String> {
        let name = self.name()?;
        self.token(':')?;
        Ok((name, self.ty()?))
    }

    fn case(&mut self) -> Result<Case, String> {
        let name = self.name()?;
        if !self.takes('(') {
            return Ok((name, None));
        }
        let ty = self.ty()?;
        self.token(')')?;
        Ok((name, Some(ty)))
    }

    /// `{ … }`, each member by another name.
    fn members<T>(
        &mut self,
        member: impl Fn(&mut Self) -> Result<(String, T), String>,
    ) -> Result<Vec<(String, T)>, String> {
        self.token('{')?;
        let members = self.until('}', member)?;
        for (index, (name, _)) in members.iter().enumerate() {
            if members[..index].iter().any(|(other, _)| other == name) {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(members)
    }

    /// Items between commas, at least one, up to `end`; a comma may come after the last.
    fn until<T>(
        &mut self,
        end: char,
        item: impl Fn(&mut Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let mut items = vec![item(self)?];
        while !self.takes(end) {
            if !self.takes(',') {
                return Err(self.unexpected(&format!("`,` or `{end}`")));
            }
            if self.takes(end) {
                break;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}
