//! The files of new functions and projects.
//!
//! In a template, `{{name}}` stands for the function's name and `{{sdk}}` for its dependency on the
//! SDK.

use crate::args::Template;

/// A file of a template.
pub(crate) struct TemplateFile {
    /// The path in the new directory.
    pub(crate) path: &'static str,
    content: &'static str,
}

impl TemplateFile {
    /// Returns the content of the file for a function.
    pub(crate) fn content(&self, name: &str, sdk: &str) -> String {
        self.content.replace("{{name}}", name).replace("{{sdk}}", sdk)
    }
}

macro_rules! files {
    ($($path:literal: $source:literal),* $(,)?) => {
        &[$(TemplateFile { path: $path, content: include_str!(concat!("../templates/", $source)) }),*]
    };
}

/// The manifest of a root, without members.
pub(crate) const ROOT_MANIFEST: &str = include_str!("../templates/root/Cargo.toml.in");

/// The ignored files of a root.
pub(crate) const ROOT_IGNORES: TemplateFile =
    TemplateFile { path: ".gitignore", content: include_str!("../templates/root/gitignore") };

/// The ignored files of a function that isn't a root.
pub(crate) const MEMBER_IGNORES: TemplateFile =
    TemplateFile { path: ".gitignore", content: include_str!("../templates/gitignore") };

/// The files of a workspace beside its manifest and its first function.
pub(crate) const WORKSPACE: &[TemplateFile] = files! {
    "nebula.toml": "workspace/nebula.toml.in",
    "pipelines/welcome/sample/input.txt": "workspace/input.txt.in",
};

/// The directory and the name of a new workspace's first function.
pub(crate) const FIRST_FUNCTION: &str = "greet";

/// Returns the files of a function.
pub(crate) fn function(template: Template) -> &'static [TemplateFile] {
    match template {
        Template::Typed | Template::Workspace => files! {
            "Cargo.toml": "Cargo.toml.in",
            "src/lib.rs": "typed/lib.rs.in",
            "sample/input.json": "typed/input.json.in",
        },
        Template::Raw => files! {
            "Cargo.toml": "Cargo.toml.in",
            "src/lib.rs": "raw/lib.rs.in",
            "sample/input.txt": "raw/input.txt.in",
        },
        Template::WitFirst => files! {
            "Cargo.toml": "Cargo.toml.in",
            "src/lib.rs": "wit-first/lib.rs.in",
            "wit/world.wit": "wit-first/world.wit.in",
            "sample/input.json": "wit-first/input.json.in",
        },
        Template::Http => files! {
            "Cargo.toml": "http/Cargo.toml.in",
            "src/lib.rs": "http/lib.rs.in",
        },
    }
}
