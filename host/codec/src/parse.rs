//! Types from the text that [`wit_text`](crate::wit_text) writes: WIT, except that records and the
//! like are written in place and have no names.

use std::sync::Arc;

use crate::types::{Case, Field, MapEntry, Outcome, Primitive, TYPE_DEPTH_MAX, Type};

/// Maximum length of a type's text, bytes.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// Reasons why a text isn't a type.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum TypeSyntaxError {
    /// The text is longer than 16 KiB.
    #[error("the text is longer than {TEXT_BYTES_MAX} bytes")]
    TooLong,
    /// The types nest deeper than [`TYPE_DEPTH_MAX`].
    #[error("types are nested more than {TYPE_DEPTH_MAX} deep")]
    TooDeep,
    /// The text continues in an unexpected way.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// The expected token: `a name`, `` `<` ``.
        expected: String,
        /// The beginning of the text there.
        found: String,
    },
    /// A record, variant, enum or flags type has a name twice.
    #[error("duplicate name `{name}`")]
    DuplicateName {
        /// The name.
        name: String,
    },
}

/// Parses a type.
///
/// ```
/// use nebula_codec::{Type, parse_type, wit_text};
///
/// assert_eq!(parse_type("list<u8>"), Ok(Type::list(Type::U8)));
///
/// let ty = parse_type("result<record { at: u64 }, string>").unwrap();
/// assert_eq!(wit_text(&ty), "result<record { at: u64 }, string>");
///
/// let error = parse_type("list<>").unwrap_err();
/// assert_eq!(error.to_string(), "expected a name, found `>`");
/// ```
///
/// # Errors
/// [`TypeSyntaxError`] for the first place where the text isn't a type.
pub fn parse_type(text: &str) -> Result<Type, TypeSyntaxError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TypeSyntaxError::TooLong);
    }
    let mut parser = Parser { rest: text, depth_left: TYPE_DEPTH_MAX };
    let ty = parser.ty()?;
    if parser.rest.trim().is_empty() { Ok(ty) } else { Err(parser.unexpected("the end")) }
}

struct Parser<'a> {
    rest: &'a str,
    depth_left: usize,
}

impl<'a> Parser<'a> {
    fn unexpected(&self, expected: &str) -> TypeSyntaxError {
        let found = match self.rest.trim_start() {
            "" => "the end".to_owned(),
            rest => format!("`{}`", rest.chars().take(20).collect::<String>()),
        };
        TypeSyntaxError::Unexpected { expected: expected.to_owned(), found }
    }

    /// Consumes `token` if it is next, and returns whether it was.
    fn accept(&mut self, token: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn expect(&mut self, token: char) -> Result<(), TypeSyntaxError> {
        if self.accept(token) { Ok(()) } else { Err(self.unexpected(&format!("`{token}`"))) }
    }

    fn word(&mut self) -> Result<&'a str, TypeSyntaxError> {
        let rest = self.rest.trim_start();
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '-').unwrap_or(rest.len());
        if end == 0 {
            return Err(self.unexpected("a name"));
        }
        self.rest = &rest[end..];
        Ok(&rest[..end])
    }

    /// Reads the name of a field, case or flag. A `%` before it allows keywords.
    fn name(&mut self) -> Result<String, TypeSyntaxError> {
        self.accept('%');
        self.word().map(str::to_owned)
    }

    fn ty(&mut self) -> Result<Type, TypeSyntaxError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or(TypeSyntaxError::TooDeep)?;
        let before = self.rest;
        let ty = match self.word()? {
            "list" => Type::list(self.argument()?),
            "option" => Type::option(self.argument()?),
            "map" => {
                self.expect('<')?;
                let key = self.ty()?;
                self.expect(',')?;
                let value = self.ty()?;
                self.expect('>')?;
                Type::map(MapEntry { key, value })
            }
            "tuple" => {
                self.expect('<')?;
                Type::Tuple(self.list_until('>', Self::ty)?.into())
            }
            "record" => Type::Record(self.members(Self::field, |field| &field.name)?.into()),
            "variant" => Type::Variant(self.members(Self::case, |case| &case.name)?.into()),
            "enum" => Type::Enum(self.names()?),
            "flags" => Type::Flags(self.names()?),
            "result" => Type::result(self.outcome()?),
            word => match Primitive::from_name(word) {
                Some(primitive) => primitive.into(),
                None => {
                    self.rest = before;
                    return Err(self.unexpected("a type"));
                }
            },
        };
        self.depth_left += 1;
        Ok(ty)
    }

    /// Reads `<T>`.
    fn argument(&mut self) -> Result<Type, TypeSyntaxError> {
        self.expect('<')?;
        let ty = self.ty()?;
        self.expect('>')?;
        Ok(ty)
    }

    /// Reads the rest of `result`, `result<T>`, `result<_, E>` or `result<T, E>`.
    fn outcome(&mut self) -> Result<Outcome, TypeSyntaxError> {
        if !self.accept('<') {
            return Ok(Outcome { ok: None, err: None });
        }
        let ok = if self.accept('_') { None } else { Some(self.ty()?) };
        let err = if self.accept(',') { Some(self.ty()?) } else { None };
        self.expect('>')?;
        Ok(Outcome { ok, err })
    }

    fn field(&mut self) -> Result<Field, TypeSyntaxError> {
        let name = self.name()?;
        self.expect(':')?;
        Ok(Field { name, ty: self.ty()? })
    }

    fn case(&mut self) -> Result<Case, TypeSyntaxError> {
        let name = self.name()?;
        if !self.accept('(') {
            return Ok(Case { name, payload: None });
        }
        let payload = Some(self.ty()?);
        self.expect(')')?;
        Ok(Case { name, payload })
    }

    fn names(&mut self) -> Result<Arc<[String]>, TypeSyntaxError> {
        Ok(self.members(Self::name, |name| name)?.into())
    }

    /// Reads `{ … }`, whose members have different names.
    fn members<T>(
        &mut self,
        member: impl Fn(&mut Self) -> Result<T, TypeSyntaxError>,
        name: impl Fn(&T) -> &String,
    ) -> Result<Vec<T>, TypeSyntaxError> {
        self.expect('{')?;
        let members = self.list_until('}', member)?;
        for (index, name_of_member) in members.iter().map(&name).enumerate() {
            if members[..index].iter().any(|other| name(other) == name_of_member) {
                return Err(TypeSyntaxError::DuplicateName { name: name_of_member.clone() });
            }
        }
        Ok(members)
    }

    /// Reads one or more items with commas between them, up to `end`. A comma after the last is
    /// allowed.
    fn list_until<T>(
        &mut self,
        end: char,
        item: impl Fn(&mut Self) -> Result<T, TypeSyntaxError>,
    ) -> Result<Vec<T>, TypeSyntaxError> {
        let mut items = vec![item(self)?];
        while !self.accept(end) {
            if !self.accept(',') {
                return Err(self.unexpected(&format!("`,` or `{end}`")));
            }
            if self.accept(end) {
                break;
            }
            items.push(item(self)?);
        }
        Ok(items)
    }
}
