//! Admission: a streaming check of a component before the compiler sees it.
//!
//! The compiler isn't safe against hostile input: a quarter of a megabyte of nested components took
//! gigabytes. So this module first bounds nesting and counts, by reading only section headers, and
//! then validates the bytes with exactly the features that a pure function may use. `unsupported`
//! names the others.

mod unsupported;

use nebula_model::limits::COMPONENT_BYTES_MAX;
use wasmparser::{Chunk, Encoding, Parser, Payload, Validator, WasmFeatures};

pub use self::unsupported::Unsupported;
use self::unsupported::unsupported;

/// Maximum depth of components and modules nested in one another.
const NESTING_MAX: usize = 16;

/// Maximum number of core modules and components in a component, at all depths together.
const MODULES_MAX: usize = 1_000;

/// The reasons to refuse bytes before compiling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Inadmissible {
    /// The input is empty.
    #[error("it is empty")]
    Empty,
    /// The bytes are WebAssembly's text format or other text.
    #[error("it is text, not a WebAssembly binary")]
    Text,
    /// The bytes are neither text nor WebAssembly.
    #[error("it is not a WebAssembly binary: it doesn't begin with `\\0asm`")]
    NotWasm,
    /// The bytes are a core module.
    #[error("it is a core module, not a component")]
    CoreModule,
    /// The component is too long.
    #[error("it has {bytes} bytes; the limit is {COMPONENT_BYTES_MAX}")]
    TooLarge {
        /// The component's length.
        bytes: usize,
    },
    /// The nesting is too deep.
    #[error("its components are nested more than {NESTING_MAX} deep")]
    TooDeep,
    /// The component holds too many modules and components.
    #[error("it holds more than {MODULES_MAX} modules and components")]
    TooMany,
    /// The component is valid, and needs something that isn't supported.
    #[error(transparent)]
    Unsupported(Unsupported),
    /// The component is damaged.
    #[error("it is invalid at byte {offset}: {message}")]
    Invalid {
        /// Offset of the error.
        offset: u64,
        /// The validator's message.
        message: String,
    },
}

/// Checks that a component may be compiled.
///
/// # Errors
/// [`Inadmissible`].
pub fn admit(bytes: &[u8]) -> Result<(), Inadmissible> {
    if bytes.is_empty() {
        return Err(Inadmissible::Empty);
    }
    if bytes.len() > COMPONENT_BYTES_MAX {
        return Err(Inadmissible::TooLarge { bytes: bytes.len() });
    }
    if !bytes.starts_with(b"\0asm") {
        let head = &bytes[..bytes.len().min(1024)];
        let is_text = head.iter().all(|byte| !byte.is_ascii_control() || byte.is_ascii_whitespace());
        return Err(if is_text { Inadmissible::Text } else { Inadmissible::NotWasm });
    }
    bound(bytes)?;
    match Validator::new_with_features(features()).validate_all(bytes) {
        Ok(_) => Ok(()),
        Err(error) => match unsupported(bytes, features(), &error) {
            Some(unsupported) => Err(Inadmissible::Unsupported(unsupported)),
            None => Err(invalid(&error)),
        },
    }
}

fn invalid(error: &wasmparser::BinaryReaderError) -> Inadmissible {
    Inadmissible::Invalid { offset: error.offset() as u64, message: error.message().to_owned() }
}

/// Returns the features that a pure function may use: no threads, shared memory, 64-bit memories or
/// garbage collection. The component model's newer `map` is allowed; lists of fixed length aren't,
/// because wasmtime's support is incomplete. The engine enables the same features.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_MAP
}

/// Bounds nesting and counts by section headers; skips code and data unread.
#[expect(clippy::wildcard_enum_match_arm, reason = "sections of other kinds are stepped over")]
fn bound(bytes: &[u8]) -> Result<(), Inadmissible> {
    let mut parser = Parser::new(0);
    let mut outer = Vec::new();
    let mut rest = bytes;
    let mut count = 0;
    loop {
        let (payload, consumed) = match parser.parse(rest, true).map_err(|error| invalid(&error))? {
            Chunk::Parsed { payload, consumed } => (payload, consumed),
            Chunk::NeedMoreData(_) => {
                return Err(Inadmissible::Invalid {
                    offset: bytes.len() as u64,
                    message: "unexpected end".to_owned(),
                });
            }
        };
        rest = &rest[consumed..];
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } if outer.is_empty() => {
                return Err(Inadmissible::CoreModule);
            }
            Payload::ModuleSection { parser: inner, .. }
            | Payload::ComponentSection { parser: inner, .. } => {
                count += 1;
                if count > MODULES_MAX {
                    return Err(Inadmissible::TooMany);
                }
                outer.push(std::mem::replace(&mut parser, inner));
                if outer.len() > NESTING_MAX {
                    return Err(Inadmissible::TooDeep);
                }
            }
            Payload::CodeSectionStart { size, .. } => {
                parser.skip_section();
                rest = rest.get(size as usize..).unwrap_or(&[]);
            }
            Payload::End(_) => match outer.pop() {
                Some(parent) => parser = parent,
                None => return Ok(()),
            },
            // The parser steps over all other sections.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wat(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn inputs_that_are_not_components_get_distinct_errors() {
        assert_eq!(admit(b""), Err(Inadmissible::Empty));
        assert_eq!(admit(b"(component)"), Err(Inadmissible::Text));
        assert_eq!(admit(b"\x7fELF\0\0"), Err(Inadmissible::NotWasm));
        assert_eq!(admit(&wat("(module)")), Err(Inadmissible::CoreModule));
        assert_eq!(admit(&wat("(component)")), Ok(()));
    }

    #[test]
    fn deep_nesting_is_refused_before_validation() {
        let text = "(component ".repeat(NESTING_MAX + 2) + &")".repeat(NESTING_MAX + 2);
        assert_eq!(admit(&wat(&text)), Err(Inadmissible::TooDeep));
    }

    proptest! {
        #[test]
        fn any_bytes_are_admitted_or_refused(noise: Vec<u8>, at: prop::sample::Index, byte: u8) {
            let _ = admit(&noise).is_ok();
            let mut component =
                wat("(component (core module (func (export \"f\"))) (component (core module)))");
            let at = at.index(component.len());
            let _ = admit(&component[..at]).is_ok();
            component[at] = byte;
            let _ = admit(&component).is_ok();
        }
    }
}
