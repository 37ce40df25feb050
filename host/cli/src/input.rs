//! A call's input, as typed: inline, `@file`, or `-` for stdin.

use std::io::Read;
use std::path::Path;

use anyhow::Context;

/// Bytes, and what they are where that is known.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) media_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Input {
    /// Reads what `text` names or, where nothing was typed, what another command pipes into this one.
    pub(crate) fn read_or_piped(text: Option<&str>, media_type: Option<&str>) -> anyhow::Result<Self> {
        match text {
            Some(text) => Self::read(text, media_type),
            None if is_piped() => Self::read("-", media_type),
            None => Self::read("", media_type),
        }
    }

    /// Reads what `text` names. `media_type` goes before what a file's ending says.
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

/// Whether stdin is a pipe or a file: a terminal, or nothing, isn't meant for a command.
fn is_piped() -> bool {
    use rustix::fs::FileType;

    let stdin = rustix::fs::fstat(std::io::stdin());
    stdin.is_ok_and(|stat| {
        matches!(FileType::from_raw_mode(stat.st_mode), FileType::Fifo | FileType::RegularFile)
    })
}

/// The media type that a file's ending stands for; none where it stands for nothing in particular.
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
