//! Fuzz targets: each `run` gives any bytes to a parser and panics if a promise of the parser doesn't hold.
//!
//! ```text
//! src/NAME.rs            the target
//! fuzz_targets/NAME.rs   hands it to libFuzzer: `cargo xtask fuzz NAME`
//! corpus/NAME/           inputs that are kept: tests/corpus.rs replays them with every run of the tests
//! ```
//!
//! To add a target: the two files, a `[[bin]]` in Cargo.toml, its name below, and at least one input in its corpus.

/// Declares the targets and lists them in `TARGETS`.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Each target by its name.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::run)),*];
    };
}

targets!(fast_path, function_reference, pipeline_description, receipt_token);
