//! Hints that several commands give, and the addresses of the documents that hints name.

/// Expands to the address of a document in `docs/`, as it was at this version.
macro_rules! guide {
    ($document:literal) => {
        concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/v", env!("CARGO_PKG_VERSION"), "/docs/", $document)
    };
}

pub(crate) use guide;

/// The hint for a component whose initialiser fails.
pub(crate) const INITIALISE_HINT: &str =
    concat!("\"Work done once\" describes what `wizer-initialize` may do: ", guide!("writing-functions.md"));

/// The hint for imported functions that can't be linked.
pub(crate) const IMPORT_HINT: &str = concat!(
    "`nebula inspect NAME` shows a function's types; \"Composition by typed import\" describes what can be imported: ",
    guide!("pipelines.md")
);

/// The hint for a component that the sandbox refuses.
pub(crate) const PURITY_HINT: &str =
    concat!("a function may import and export only what this lists: ", guide!("purity.md"));

/// The hint for a pipeline that isn't valid.
pub(crate) const PIPELINE_HINT: &str = concat!(
    "`nebula inspect NAME` shows a function's signature; steps are described in ",
    guide!("pipelines.md")
);

/// The hint for a token that is missing or wrong.
pub(crate) const TOKEN_HINT: &str = "the first token is in the server's data directory, and `nebula token` manages others: give one with `--data-dir`, `--token-file`, `NEBULA_TOKEN` or `nebula login`";
