//! A receipt on the command line: a file, `-` for stdin, or the token itself.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use nebula_runtime::receipt::Signed;

use crate::report::hinted;

/// The beginning of every token: a JSON object in base64url.
const BEGINNING: &str = "eyJ";

/// Reads the receipt that `text` names, without checking its signature.
pub(crate) fn read(text: &str) -> anyhow::Result<Signed> {
    let token = if text == "-" {
        let mut token = String::new();
        std::io::stdin().read_to_string(&mut token).context("cannot read stdin")?;
        token
    } else if text.starts_with(BEGINNING) && !Path::new(text).exists() {
        text.to_owned()
    } else {
        let path = text.strip_prefix('@').unwrap_or(text);
        std::fs::read_to_string(path).with_context(|| format!("cannot read `{path}`"))?
    };
    Signed::parse(&token).map_err(|error| {
        let hint =
            "`nebula invoke NAME INPUT --receipt FILE` writes one; the header `Nebula-Receipt` contains one";
        hinted(error.to_string(), hint).into()
    })
}
