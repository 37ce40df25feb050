//! Fuzz targets: each `run` passes arbitrary bytes to a parser and panics if the parser breaks one
//! of its guarantees.
//!
//! ```text
//! src/NAME.rs            the target
//! fuzz_targets/NAME.rs   passes it to libFuzzer: `cargo xtask fuzz NAME`
//! corpus/NAME/           inputs to start from; tests/corpus.rs replays them as an ordinary test
//! ```
//!
//! To add a target, add the two files, a `[[bin]]` in Cargo.toml, the name below, and at least one
//! input in its corpus.

/// Declares the targets and lists them in `TARGETS`.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// The targets by name.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets!(
    component_admission,
    fast_path,
    function_reference,
    json_input,
    pipeline_description,
    receipt_token,
    wit_type,
);
