//! Generates `assets.rs`: the files of `dist/`, which the binary carries.

use std::fmt::Write as _;
use std::path::PathBuf;

/// No library reports these errors, and none embeds the files: a build dependency would add features
/// to crates below wasmtime and compile it twice.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let dist = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("dist");
    // With all files in it.
    println!("cargo::rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&dist)? {
        let name = entry?.file_name().into_string().map_err(|name| format!("{name:?} isn't UTF-8"))?;
        files.push(name);
    }
    files.sort();
    let mut list = String::from("&[\n");
    for name in files {
        let (path, media_type) = (dist.join(&name), media_type(&name)?);
        writeln!(
            list,
            "    Asset {{ name: {name:?}, media_type: {media_type:?}, content: include_bytes!({path:?}) }},"
        )?;
    }
    list.push_str("]\n");
    std::fs::write(PathBuf::from(std::env::var("OUT_DIR")?).join("assets.rs"), list)?;
    Ok(())
}

/// Returns the media type of a file.
fn media_type(name: &str) -> Result<&'static str> {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end);
    Ok(match end {
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => return Err(format!("`dist/{name}`: the build script doesn't have its media type").into()),
    })
}
