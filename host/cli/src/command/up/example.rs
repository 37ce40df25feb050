//! The command that `nebula up` prints for each function: a call to copy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use nebula_runtime::{Form, VersionRecord};

use crate::input::media_type_of;

/// The longest sample that is shown in the command itself, bytes.
const INLINE_BYTES_MAX: usize = 60;

/// Returns a `curl` command that calls the function at `address`, with the sample in `directory` as
/// input.
pub(super) fn example(record: &VersionRecord, directory: &Path, address: SocketAddr) -> String {
    let (path, host) = path_and_host(record);
    let url = format!("http://{address}{path}");
    let Some(input) = sample(directory, "input") else { return format!("curl{host} {url}") };
    let header = match media_type_of(&input) {
        Some(media_type) if !is_default(record, media_type) => {
            format!(" -H 'content-type: {media_type}'")
        }
        Some(_) | None => String::new(),
    };
    let inline = std::fs::read_to_string(&input)
        .ok()
        .map(|text| text.trim_end().to_owned())
        .filter(|text| text.len() <= INLINE_BYTES_MAX && !text.contains(['\'', '\n', '@']));
    let body = match inline {
        Some(text) => format!("-d '{text}'"),
        None => format!("--data-binary @{}", from_here(&input).display()),
    };
    // An output that isn't text goes to a file.
    let output = sample(directory, "output").filter(|output| std::fs::read_to_string(output).is_err());
    let output = output.and_then(|output| output.extension().map(|end| end.display().to_string()));
    let output = output.map_or_else(String::new, |end| format!(" -o {}.{end}", record.name));
    format!("curl{host}{header} {body}{output} {url}")
}

/// Returns a path of the function, and the option of `curl` for its host if it has one.
fn path_and_host(record: &VersionRecord) -> (String, String) {
    // Other characters may mean something to a shell.
    let is_plain =
        |path: &str| path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%".contains(&byte));
    let Some(route) = record.routes.iter().find(|route| is_plain(route.path())) else {
        return (format!("/f/{}", record.name), String::new());
    };
    let path = if route.covers_below() { format!("{}/", route.path()) } else { route.path().to_owned() };
    let host = record.hosts.first().map_or_else(String::new, |host| {
        let subdomain = if host.covers_subdomains() { "www." } else { "" };
        format!(" -H 'host: {subdomain}{}'", host.name())
    });
    (path, host)
}

/// Returns whether an input without a media type is read as this one.
fn is_default(record: &VersionRecord, media_type: &str) -> bool {
    let schema = record.description.input_schema.as_ref();
    let plain = schema.is_some_and(|schema| {
        schema["type"] == "string" && schema.get("maxLength").is_none() && schema.get("enum").is_none()
    });
    match record.description.form {
        Form::Typed if plain => media_type.starts_with("text/"),
        Form::Typed => media_type == "application/json",
        Form::Raw | Form::Http => false,
    }
}

/// Returns the sample file with that stem and any extension.
fn sample(directory: &Path, stem: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory.join("sample")).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_stem().is_some_and(|found| found == stem))
}

/// Returns `path` relative to the current directory, if it is inside.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_calls_a_route_on_its_host() {
        let directory = tempfile::tempdir().unwrap();
        let example = |routes: serde_json::Value, hosts: serde_json::Value| {
            let record = serde_json::json!({
                "name": "f", "version": "v1", "digest": format!("sha256:{}", "0".repeat(64)), "size_bytes": 1,
                "deployed_at_unix_s": 1, "limits": {}, "input_schema": null, "output_schema": null,
                "error_schema": null, "imports": [], "notes": [], "form": "http", "signature": "",
                "route": routes, "host": hosts,
            });
            let record = serde_json::from_value(record).unwrap();
            example(&record, directory.path(), SocketAddr::from(([127, 0, 0, 1], 80)))
        };
        let none = serde_json::json!([]);
        assert_eq!(example(none.clone(), none.clone()), "curl http://127.0.0.1:80/f/f");
        assert_eq!(example(["/a;b", "/api/..."].into(), none.clone()), "curl http://127.0.0.1:80/api/");
        assert_eq!(example(["/a;b"].into(), none), "curl http://127.0.0.1:80/f/f");
        assert_eq!(
            example(["/a"].into(), ["*.example.org"].into()),
            "curl -H 'host: www.example.org' http://127.0.0.1:80/a"
        );
    }
}
