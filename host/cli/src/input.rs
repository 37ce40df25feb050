//! The input of a call on the command line: inline, `@file`, or `-` for stdin.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

/// Bytes with their media type, if it is known.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) media_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An input as given on the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputArgument<'a> {
    /// The input itself, `@file`, or `-`.
    pub(crate) text: Option<&'a str>,
    pub(crate) media_type: Option<&'a str>,
}

impl Input {
    /// Reads the input; without a text, the data that another command pipes into this one.
    pub(crate) fn read_or_piped(argument: InputArgument<'_>) -> anyhow::Result<Self> {
        match argument.text {
            Some(text) => Self::read(text, argument.media_type),
            None if is_piped() => Self::read("-", argument.media_type),
            None => Self::read("", argument.media_type),
        }
    }

    /// Reads the input that `text` names. `media_type` has precedence over a file's extension.
    pub(crate) fn read(text: &str, media_type: Option<&str>) -> anyhow::Result<Self> {
        let given = media_type.map(str::to_owned);
        if text == "-" {
            let mut body = Vec::new();
            std::io::stdin().read_to_end(&mut body).context("cannot read stdin")?;
            return Ok(Self { media_type: given, body });
        }
        let Some(path) = text.strip_prefix('@') else {
            return Ok(Self { media_type: given, body: text.into() });
        };
        let body = std::fs::read(path).with_context(|| format!("cannot read `{path}`"))?;
        let media_type = given.or_else(|| media_type_of(Path::new(path)).map(str::to_owned));
        Ok(Self { media_type, body })
    }
}

/// Returns whether stdin is a pipe or a file. A terminal or `/dev/null` isn't input.
fn is_piped() -> bool {
    use rustix::fs::FileType;

    let stdin = rustix::fs::fstat(std::io::stdin());
    stdin.is_ok_and(|stat| {
        matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::RegularFile)
    })
}

/// Returns the media type for a file's extension; `None` for an unknown one.
pub(crate) fn media_type_of(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "json" => "application/json",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" => "text/html",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "bin" => "application/octet-stream",
        _ => return None,
    })
}
