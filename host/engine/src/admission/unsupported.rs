//! The reason why a valid component isn't admitted: the proposals of WebAssembly or the version of
//! WASI that it uses. Nothing here runs for a component that is admitted.

use wasmparser::{BinaryReaderError, Parser, Payload, Validator, WasmFeatures};

use crate::wasi_version;

/// Something that a valid component needs and Nebula doesn't support.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unsupported {
    /// Another version of WASI.
    #[error("{reason}")]
    Wasi {
        /// The version, and an interface that has it.
        reason: String,
    },
    /// Features of WebAssembly that a pure function may not use.
    #[error("it uses {}, not supported: {message}, at byte {offset}", list(features))]
    Features {
        /// The features; empty if the validator doesn't name them.
        features: Vec<String>,
        /// Offset of the first use.
        offset: u64,
        /// The validator's message.
        message: String,
    },
}

fn list(features: &[String]) -> String {
    match features {
        [] => "a feature of WebAssembly".to_owned(),
        features => features.join(", "),
    }
}

/// Returns why a component isn't valid with the `supported` features; `None` if it isn't valid with
/// all features either. `error` is the validator's first error.
pub(super) fn unsupported(
    bytes: &[u8],
    supported: WasmFeatures,
    error: &BinaryReaderError,
) -> Option<Unsupported> {
    validate(bytes, WasmFeatures::all()).ok()?;
    // Components for a later WASI use features that came with it. Its version says more.
    let names = names(bytes);
    if let Some(reason) = wasi_version::unsupported(names.iter().map(String::as_str)) {
        return Some(Unsupported::Wasi { reason });
    }
    let mut features = supported;
    // Each pass adds a feature, and an error that names none ends the search.
    while let Err(error) = validate(bytes, features) {
        match error.missing_wasm_feature() {
            Some(missing) if !features.contains(missing) => features |= missing,
            Some(_) | None => break,
        }
    }
    let needed = features.difference(supported);
    Some(Unsupported::Features {
        features: needed.iter_names().map(|(name, _)| described(name)).collect(),
        offset: error.offset() as u64,
        message: error.message().to_owned(),
    })
}

fn validate(bytes: &[u8], features: WasmFeatures) -> Result<(), BinaryReaderError> {
    Validator::new_with_features(features).validate_all(bytes).map(drop)
}

/// Returns the name of a feature for people. Those of the component model begin with `CM_`.
fn described(feature: &str) -> String {
    let name = feature.to_lowercase().replace('_', "-");
    match name.strip_prefix("cm-") {
        Some(name) => format!("`{name}` of the component model"),
        None => format!("the `{name}` proposal"),
    }
}

/// Returns the names of a valid component's imports and exports.
#[expect(clippy::wildcard_enum_match_arm, reason = "sections of other kinds are stepped over")]
fn names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes).filter_map(Result::ok) {
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(imports) if depth == 1 => {
                names
                    .extend(imports.into_iter().filter_map(|import| Some(import.ok()?.name.name.to_owned())));
            }
            Payload::ComponentExportSection(exports) if depth == 1 => {
                names
                    .extend(exports.into_iter().filter_map(|export| Some(export.ok()?.name.name.to_owned())));
            }
            _ => {}
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::{Inadmissible, admit};

    fn refused(text: &str) -> String {
        match admit(&wat::parse_str(text).unwrap()) {
            Err(error @ Inadmissible::Unsupported(_)) => error.to_string(),
            other => panic!("{text} gave {other:?}"),
        }
    }

    #[test]
    fn unsupported_features_are_named() {
        for (module, features) in [
            ("(memory 1 1 shared)", &["the `threads` proposal"][..]),
            ("(memory i64 1)", &["the `memory64` proposal"]),
            ("(type (struct))", &["the `gc` proposal"]),
            ("(tag)", &["the `exceptions` proposal"]),
            ("(func (throw_ref (unreachable)))", &["the `exceptions` proposal"]),
            ("(func try catch_all end)", &["the `legacy-exceptions` proposal"]),
            ("(memory 1 (pagesize 1))", &["the `custom-page-sizes` proposal"]),
            ("(tag) (memory i64 1)", &["the `exceptions` proposal", "the `memory64` proposal"]),
        ] {
            let error = refused(&format!("(component (core module {module}))"));
            for feature in features {
                assert!(error.contains(feature), "{module}: {error}");
            }
            assert!(error.contains("not supported"), "{error}");
        }
        for (component, feature) in [
            ("(component (type (func async)))", "`async` of the component model"),
            ("(component (type (stream u8)))", "`async` of the component model"),
            ("(component (type (list u8 4)))", "`fixed-length-lists` of the component model"),
            ("(component (type error-context))", "`error-context` of the component model"),
        ] {
            let error = refused(component);
            assert!(error.contains(feature), "{component}: {error}");
        }
    }

    /// The version of WASI says more than the features that came with it.
    #[test]
    fn components_for_another_wasi_are_refused_by_its_version() {
        let import =
            |name: &str| format!(r#"(component (import "{name}" (instance (export "f" (func async)))))"#);
        let error = refused(&import("wasi:http/client@0.3.2"));
        assert!(error.starts_with("WASI 0.3 is not supported (it uses `wasi:http/client@0.3.2`)"), "{error}");
        let error = refused(&import("acme:mail/send@0.3.2"));
        assert!(error.contains("`async` of the component model"), "{error}");
    }

    #[test]
    fn damaged_components_with_unsupported_features_are_invalid() {
        let mut bytes =
            wat::parse_str("(component (core module (memory i64 1) (func i32.const 1 drop)))").unwrap();
        // The second `end` closes nothing.
        let drop = bytes.iter().rposition(|byte| *byte == 0x1a).unwrap();
        bytes[drop] = 0x0b;
        assert!(matches!(admit(&bytes), Err(Inadmissible::Invalid { .. })));
    }
}
