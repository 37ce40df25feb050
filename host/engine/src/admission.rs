//! Whether bytes may be compiled at all: a streaming pass, before the compiler sees them.
//!
//! Compiling isn't safe against its input: a quarter of a megabyte of nested components took
//! gigabytes. So nesting and counts are bounded here first, by reading section headers only, and then
//! the bytes are validated with exactly the features a pure function may use.

use nebula_model::limits::COMPONENT_BYTES_MAX;
use wasmparser::{Chunk, Encoding, Parser, Payload, Validator, WasmFeatures};

/// Components and modules inside one another.
const NESTING_MAX: usize = 16;

/// Core modules and components in a component, all together.
const MODULES_MAX: usize = 1_000;

/// Why bytes are no component that could be deployed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Inadmissible {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// The text format, or any other text.
    #[error("it is text, not a WebAssembly binary")]
    Text,
    /// Neither text nor WebAssembly.
    #[error("it is not a WebAssembly binary: it doesn't begin with `\\0asm`")]
    NotWasm,
    /// A module.
    #[error("it is a core module, not a component")]
    CoreModule,
    /// Too long.
    #[error("it has {bytes} bytes, and at most {COMPONENT_BYTES_MAX} are taken")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Too deep.
    #[error("its components are nested more than {NESTING_MAX} deep")]
    TooDeep,
    /// Too many.
    #[error("it holds more than {MODULES_MAX} modules and components")]
    TooMany,
    /// Damaged, or using what isn't allowed.
    #[error("it is invalid at byte {offset}: {message}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What.
        message: String,
    },
}

/// Checks a component.
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
    Validator::new_with_features(features()).validate_all(bytes).map_err(|error| invalid(&error))?;
    Ok(())
}

fn invalid(error: &wasmparser::BinaryReaderError) -> Inadmissible {
    Inadmissible::Invalid { offset: error.offset() as u64, message: error.message().to_owned() }
}

/// What a pure function may use: no threads, shared memory, 64-bit memories or garbage collection. Of
/// the component model's newer types `map`, and not lists of a fixed length, whose support in wasmtime
/// isn't complete. The engine's own features are the same.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::COMPONENT_MODEL
        | WasmFeatures::CM_MAP
}

/// Walks the nesting by section headers; code and data are skipped unread.
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
            // Everything else has been stepped over.
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
    fn what_is_no_component_is_told_apart() {
        assert_eq!(admit(b""), Err(Inadmissible::Empty));
        assert_eq!(admit(b"(component)"), Err(Inadmissible::Text));
        assert_eq!(admit(b"\x7fELF\0\0"), Err(Inadmissible::NotWasm));
        assert_eq!(admit(&wat("(module)")), Err(Inadmissible::CoreModule));
        assert_eq!(admit(&wat("(component)")), Ok(()));
    }

    #[test]
    fn features_that_are_not_pure_are_refused() {
        for module in ["(module (memory 1 1 shared))", "(module (memory i64 1))", "(module (type (struct)))"]
        {
            let component = wat(&format!("(component (core {})", &module[1..]));
            assert!(matches!(admit(&component), Err(Inadmissible::Invalid { .. })), "{module}");
        }
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
