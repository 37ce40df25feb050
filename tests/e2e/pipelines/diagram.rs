//! Drawings of pipelines: the endpoint for pages, and the pictures in the documents.

use std::path::Path;

use nebula_tests::{FUNCTIONS, Nebula, guests};
use serde_json::json;

use super::{put, with};

const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'";

/// Returns the values of an attribute, in order.
fn values<'a>(svg: &'a str, attribute: &str) -> Vec<&'a str> {
    let parts = svg.split(&format!(" {attribute}=\"")).skip(1).collect::<Vec<_>>();
    parts.into_iter().filter_map(|part| part.split('"').next()).collect()
}

/// The marks of the drawing lead to the steps of the description and of a run.
#[test]
fn a_drawing_marks_the_steps_of_the_description_and_of_a_run() {
    let nebula = with(Nebula::start(), &["slugify", "sha256", "markdown"]);
    let steps = json!([
        "slugify",
        {"all": {"as-is": {"select": "."}, "digest": "sha256", "html": ["slugify", {"call": "markdown", "as": "page"}]}},
    ]);
    put(&nebula, "card", &steps).is(200);
    let path = "/api/v1/pipelines/card";
    let answer = nebula.control("GET", &format!("{path}/diagram")).send().is(200);
    let answer = answer.has("content-type", "image/svg+xml").has("x-content-type-options", "nosniff");
    let answer = answer.has("content-security-policy", POLICY);
    let svg = answer.text();
    assert!(svg.starts_with("<svg ") && svg.contains("<title>card@v1</title>"), "{svg}");
    assert!(!svg.contains("<style") && !svg.contains(" style="), "{svg}");
    for part in ["role=\"img\"", "<desc>It takes string and gives record {", ">string</text>"] {
        assert!(svg.contains(part), "no `{part}` in {svg}");
    }

    let description =
        nebula.control("GET", path).send().is(200).json()["version"]["pipeline"]["description"].clone();
    let marked: Vec<_> = values(svg, "data-step")
        .into_iter()
        .map(|pointer| description.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {description}")))
        .collect();
    let all = &steps[1];
    let page = &all["all"]["html"][1];
    assert_eq!(
        marked,
        [&json!("slugify"), all, &json!({"select": "."}), &json!("sha256"), &json!("slugify"), page]
    );

    let run = nebula.control("POST", &format!("{path}/explain")).body("\"A b\"").send().is(200).json();
    let mut ran: Vec<_> =
        run["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    let mut labels = values(svg, "data-label");
    assert_eq!(labels, ["slugify", "sha256", "slugify-2", "page"]);
    assert_eq!(values(svg, "data-function"), ["slugify", "sha256", "slugify", "markdown"]);
    ran.sort_unstable();
    labels.sort_unstable();
    assert_eq!(ran, labels);
}

#[test]
fn only_pipelines_have_drawings() {
    let nebula = with(Nebula::start(), &["slugify"]).deploy("greets", guests::GREETS);
    put(&nebula, "card", &json!(["slugify", "slugify"])).is(200);
    put(&nebula, "card", &json!("slugify")).is(200);
    let get = |name: &str| nebula.control("GET", &format!("/api/v1/pipelines/{name}/diagram")).send();
    assert!(get("card@v1").is(200).text().contains("<title>card@v1</title>"));
    assert_eq!(values(get("card").is(200).text(), "data-step"), ["/steps"]);
    get("greets").is(404).problem("no-pipeline");
    get("absent").is(404).problem("unknown-function");
    get("card@v9").is(404).problem("unknown-version");
    get("A").is(400).problem("bad-name");
    let path = "/api/v1/pipelines/card/diagram";
    nebula.control_without_token("GET", path).send().is(401).problem("unauthorized");
    nebula.control("POST", path).send().is(405).problem("method-not-allowed").has("allow", "GET");
}

/// Constants, and with them everything that an author can write freely, reach no other place of the
/// document than a text.
#[test]
fn texts_of_a_description_are_escaped() {
    let nebula = Nebula::start();
    put(&nebula, "evil", &json!({"constant": "</text><script>alert('\"&')</script>\u{202e}"})).is(200);
    let answer = nebula.control("GET", "/api/v1/pipelines/evil/diagram").send().is(200);
    let svg = answer.text();
    assert!(svg.contains("&lt;/text&gt;&lt;script&gt;") && svg.contains("\\u{202e}"), "{svg}");
    assert!(!svg.contains("<script") && !svg.contains('\u{202e}'), "{svg}");
}

/// The pictures in the documents are what the command draws.
#[test]
fn the_pictures_in_the_documents_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let nebula = Nebula::start();
    for function in FUNCTIONS {
        nebula.put_function(function.name(), "").is(200);
    }
    let project = root.join("functions/nebula.toml");
    nebula.cli(&["pipeline", "deploy", project.to_str().unwrap()]).exits(0);
    let pictures = std::fs::read_dir(root.join("docs/images/pipelines")).unwrap();
    let pictures: Vec<_> = pictures.map(|entry| entry.unwrap().path()).collect();
    assert!(pictures.len() > 5, "{pictures:?}");
    for picture in pictures {
        let name = picture.file_stem().unwrap().to_str().unwrap();
        let drawn = nebula.cli(&["pipeline", "show", name, "--svg"]).exits(0).stdout();
        let shown = std::fs::read_to_string(&picture).unwrap();
        let remedy = format!("`nebula pipeline show {name} --svg > {}` draws it again", picture.display());
        assert!(drawn == shown, "{remedy}: {drawn}");
    }
}
