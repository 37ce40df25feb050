//! The input of a call on the command line: inline, `@file`, or `-` for stdin.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde_json::value::RawValue;

/// Bytes with their media type, if it is known.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) media_type: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An input as given on the command line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InputArgument<'a> {
    /// The input itself, `@file`, or `-`; or the values of several parameters.
    pub(crate) texts: &'a [String],
    pub(crate) media_type: Option<&'a str>,
}

impl Input {
    /// Reads the input; without a text, the data that another command pipes into this one.
    pub(crate) fn read_or_piped(argument: InputArgument<'_>) -> anyhow::Result<Self> {
        match argument.texts {
            [] if is_piped() => Self::read("-", argument.media_type),
            [] => Self::read("", argument.media_type),
            [text] => Self::read(text, argument.media_type),
            values => Ok(Self::of_parameters(values, argument.media_type)),
        }
    }

    /// Returns the values of several parameters as a JSON array. A value that isn't JSON is a text.
    fn of_parameters(values: &[String], media_type: Option<&str>) -> Self {
        let as_json = |value: &String| match serde_json::from_str::<&RawValue>(value) {
            Ok(_) => value.clone(),
            Err(_) => serde_json::Value::from(value.as_str()).to_string(),
        };
        let values: Vec<_> = values.iter().map(as_json).collect();
        let media_type = media_type.unwrap_or("application/json").to_owned();
        Self { media_type: Some(media_type), body: format!("[{}]", values.join(",")).into() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_values_are_an_array() {
        for (values, body) in [
            (&["-1", "2"][..], "[-1,2]"),
            (&["Ada", "3"], r#"["Ada",3]"#),
            (&[r#"{"a": 1}"#, "null", "\"3\""], r#"[{"a": 1},null,"3"]"#),
            (&["18446744073709551615", "1e400"], "[18446744073709551615,1e400]"),
            (&["", "a\"b"], r#"["","a\"b"]"#),
        ] {
            let texts: Vec<_> = values.iter().map(|&value| value.to_owned()).collect();
            let input = Input::read_or_piped(InputArgument { texts: &texts, media_type: None }).unwrap();
            assert_eq!(String::from_utf8(input.body).unwrap(), body);
            assert_eq!(input.media_type.as_deref(), Some("application/json"));
        }
    }
}
