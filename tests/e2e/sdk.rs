//! The guest SDK in a user's crate: doc comments that reach callers, and code that its macros must
//! leave alone.

use std::path::{Path, PathBuf};

use nebula_tests::{FunctionCrate, Nebula, cargo_in, nebula, nebula_in};
use serde_json::Value;

/// A workspace with a function for each source. Its path is the same in every run, so that cargo
/// reuses earlier builds. Dropping it removes the directory.
struct Functions {
    path: PathBuf,
    target: String,
}

impl Functions {
    fn new(name: &str, sources: &[(&str, &str)]) -> Self {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let path = home.join("sdk").join(name);
        let _ = std::fs::remove_dir_all(&path);
        let functions = Self { path, target: home.join("projects/target").display().to_string() };
        nebula(&["new", functions.path.to_str().unwrap(), "--template", "workspace"]).exits(0);
        std::fs::remove_dir_all(functions.path.join("functions/greet")).unwrap();
        std::fs::remove_file(functions.path.join("nebula.toml")).unwrap();
        for (name, source) in sources {
            nebula_in(&functions.path, &["add", name], &[]).exits(0);
            let library = functions.path.join("functions").join(name).join("src/lib.rs");
            std::fs::write(library, source).unwrap();
        }
        functions
    }

    fn variables(&self) -> [(&str, &str); 1] {
        [("CARGO_TARGET_DIR", &self.target)]
    }

    /// Builds the functions and returns the path of each component.
    fn build(&self, arguments: &[&str]) -> Vec<PathBuf> {
        let arguments = [&["build"], arguments].concat();
        let ran = nebula_in(&self.path, &arguments, &self.variables()).exits(0);
        assert!(!ran.stderr().contains("warning:"), "{ran:?}");
        let mut components: Vec<_> = ran.stdout().lines().map(PathBuf::from).collect();
        components.sort();
        components
    }
}

impl Drop for Functions {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

const DOCUMENTED: &str = r#"
//! Lints and names that the macros must respect.
#![forbid(unsafe_code, missing_docs, unreachable_pub, clippy::all)]

/// Types and their texts.
#[nebula_sdk::function]
pub mod shapes {
    /// Points, under another name.
    pub type Points = Vec<Point>;

    /// The module's own result.
    pub type Result<T> = std::result::Result<T, Problem>;

    /// A place in the plane.
    #[derive(Debug)]
    pub struct Point {
        /// To the "right".
        pub x: f64,
        /// Up.
        pub y: f64,
    }

    /// A figure.
    pub enum Shape {
        /// All around a point.
        Circle(Point, f64),
        /// Through these points.
        Path(Points),
        /// Nothing at all.
        Nothing,
    }

    /// The reason for an error.
    #[derive(Debug)]
    pub enum Problem {
        /// It isn't finite.
        TooLarge,
        /// It has no points.
        Empty,
    }

    /// Keywords as names.
    pub struct Words {
        /// A type.
        pub r#type: u8,
        /// A loop.
        pub r#loop: Option<self::Point>,
        /// Weak keywords.
        pub union: u8,
    }

    /// Returns the length of a figure.
    ///
    /// The second paragraph.
    pub fn handle(shape: Shape, words: Option<Words>, r#final: bool) -> Result<f64> {
        let factor = words.map_or(1.0, |words| f64::from(words.r#type) + f64::from(words.union));
        match shape {
            Shape::Circle(_, radius) => Ok(2.0 * std::f64::consts::PI * radius * factor),
            Shape::Path(points) if points.is_empty() || r#final => Err(Problem::Empty),
            Shape::Path(points) => Ok(points.iter().map(|point| point.x.hypot(point.y)).sum()),
            Shape::Nothing => Err(Problem::TooLarge),
        }
    }
}
"#;

const RAW: &str = "
#![forbid(unsafe_code)]
//! Bytes.

use nebula_sdk::{Error, Payload};

type Answer = Result<Payload, Error>;

/// Turns the bytes around.
#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Answer {
    Ok(Payload::new(request.media_type, request.body.into_iter().rev().collect::<Vec<_>>()))
}
";

const INITIALISED: &str = "
#![forbid(unsafe_code)]
//! State that is computed once.

use std::sync::LazyLock;

static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..100).map(|n| n * n).collect());

#[nebula_sdk::initialize]
fn squares() {
    LazyLock::force(&SQUARES);
}

/// Returns a square.
#[nebula_sdk::function]
pub fn handle(n: u8) -> Option<u32> {
    SQUARES.get(usize::from(n)).copied()
}
";

fn description<'a>(document: &'a Value, pointer: &str) -> &'a str {
    let found = document.pointer(pointer).unwrap_or_else(|| panic!("no `{pointer}` in {document:#}"));
    found["description"].as_str().unwrap_or_else(|| panic!("no description at `{pointer}`: {found:#}"))
}

/// Doc comments of functions, types, fields and cases reach `inspect` and OpenAPI. Crates that
/// forbid `unsafe` build without a warning.
#[test]
fn doc_comments_reach_callers() {
    let functions =
        Functions::new("documented", &[("shapes", DOCUMENTED), ("reverse", RAW), ("squares", INITIALISED)]);
    let cargo = ["build", "--release", "--target", "wasm32-wasip2"];
    cargo_in(&functions.path, &cargo, &functions.variables()).exits(0);
    let plain = Path::new(&functions.target).join("wasm32-wasip2/release/shapes.wasm");
    let before = std::fs::read(&plain).unwrap();
    let wit = nebula(&["inspect", plain.to_str().unwrap(), "--json"]).exits(0).json();
    let text = wit["wit"].as_str().unwrap();
    for docs in [
        "/// A place in the plane.\nrecord point {\n  /// To the \"right\".\n  x: f64,",
        "/// All around a point.\n  circle(tuple<point, f64>),",
        "/// It isn't finite.\n  too-large,",
        "/// Returns the length of a figure.\n///\n/// The second paragraph.\nexport handle:",
        "/// A type.\n  %type: u8,",
    ] {
        assert!(text.contains(docs), "no `{docs}` in\n{text}");
    }

    let components = functions.build(&[]);
    assert_eq!(components.len(), 3);
    let built = std::fs::read(&plain).unwrap();
    let added = b"package-docs";
    assert!(!before.windows(added.len()).any(|bytes| bytes == added));
    assert!(built.windows(added.len()).any(|bytes| bytes == added) && built.starts_with(&before));
    assert_eq!(functions.build(&[]), components);
    assert_eq!(std::fs::read(&plain).unwrap(), built, "a second build adds nothing");
    nebula(&["inspect", components[0].to_str().unwrap()]).exits(0);

    let server = Nebula::start();
    for component in &components {
        server.cli(&["deploy", component.to_str().unwrap()]).exits(0);
    }
    assert!(server.cli(&["inspect", "shapes"]).exits(0).stdout().contains("/// A figure.\nvariant shape {"));
    let raw = server.cli(&["inspect", "reverse"]).exits(0).stdout();
    assert!(raw.contains("  about      Turns the bytes around.\n"), "{raw}");

    let document = server.control("GET", "/openapi.json").send().is(200).json();
    let path = &document["paths"]["/f/shapes"]["post"];
    assert_eq!(path["description"], "Returns the length of a figure.\n\nThe second paragraph.");
    assert_eq!(document["paths"]["/f/reverse"]["post"]["description"], "Turns the bytes around.");
    assert_eq!(document["paths"]["/f/squares"]["get"]["description"], "Returns a square.");
    let detail = server.control("GET", "/api/v1/functions/shapes").send().is(200).json();
    let input = &detail["current"]["input_schema"];
    for (at, text) in [
        ("/properties/shape", "A figure."),
        ("/properties/shape/oneOf/0", "All around a point."),
        ("/properties/shape/oneOf/0/properties/circle/prefixItems/0", "A place in the plane."),
        ("/properties/shape/oneOf/1/properties/path/items/properties/x", "To the \"right\"."),
        ("/properties/words/oneOf/1/properties/loop", "A loop."),
    ] {
        assert_eq!(description(input, at), text, "{at}");
    }
    let error = &detail["current"]["error_schema"];
    assert_eq!(
        description(error, ""),
        "The reason for an error.\n\n* `too-large`: It isn't finite.\n* `empty`: It has no points."
    );

    let circle = r#"{"shape":{"circle":[{"x":0,"y":0},1]},"words":{"type":1,"union":1},"final":false}"#;
    server.post("/f/shapes", circle).is(200).says("12.566370614359172");
    server.post("/f/shapes", r#"{"shape":"nothing","final":true}"#).is(422).says("\"too-large\"");
    server.request("POST", "/f/reverse").body("abc").send().is(200).says("cba");
    server.post("/f/squares", "9").is(200).says("81");
}

const WIT_FIRST: &str = r#"
nebula_sdk::generate!({ path: "wit", world: "function" });

struct Function;

impl Guest for Function {
    fn handle(a: Point, b: Point) -> Result<f64, Problem> {
        if a.x.is_finite() { Ok((a.x - b.x).hypot(a.y - b.y)) } else { Err(Problem::Infinite) }
    }
}

#[cfg(target_family = "wasm")]
export!(Function);
"#;

const WORLD: &str = "
package local:distance;

interface plane {
    /// A place in the plane.
    record point {
        /// To the right.
        x: f64,
        y: f64,
    }
}

world function {
    use plane.{point};

    /// The reason for an error.
    enum problem {
        /// It isn't finite.
        infinite,
    }

    /// Returns the distance between two points.
    export handle: func(a: point, b: point) -> result<f64, problem>;
}
";

/// The doc comments of a project's WIT reach callers like those of Rust.
#[test]
fn doc_comments_in_wit_reach_callers() {
    let functions = Functions::new("wit-first", &[("distance", WIT_FIRST)]);
    let wit = functions.path.join("functions/distance/wit");
    std::fs::create_dir(&wit).unwrap();
    std::fs::write(wit.join("world.wit"), WORLD).unwrap();
    let components = functions.build(&[]);
    let built = std::fs::read(&components[0]).unwrap();
    for section in [&b"package-docs"[..], b"nebula:docs"] {
        assert!(built.windows(section.len()).any(|bytes| bytes == section));
    }
    assert_eq!(functions.build(&[]), components);
    assert_eq!(std::fs::read(&components[0]).unwrap(), built, "a second build adds nothing");

    let component = components[0].to_str().unwrap();
    let server = Nebula::start();
    server.cli(&["deploy", component]).exits(0);
    for printed in [nebula(&["inspect", component]), server.cli(&["inspect", "distance"])] {
        let printed = printed.exits(0).stdout();
        for docs in [
            "  about      Returns the distance between two points.\n",
            "/// The reason for an error.\nenum problem {\n  /// It isn't finite.\n  infinite,",
            "/// Returns the distance between two points.\nexport handle:",
        ] {
            assert!(printed.contains(docs), "no `{docs}` in\n{printed}");
        }
    }
    let document = server.control("GET", "/openapi.json").send().is(200).json();
    let path = &document["paths"]["/f/distance"]["post"];
    assert_eq!(path["description"], "Returns the distance between two points.");
    let detail = server.control("GET", "/api/v1/functions/distance").send().is(200).json();
    let input = &detail["current"]["input_schema"];
    assert_eq!(description(input, "/properties/a"), "A place in the plane.");
    assert_eq!(description(input, "/properties/b/properties/x"), "To the right.");
    let error = &detail["current"]["error_schema"];
    assert_eq!(description(error, ""), "The reason for an error.\n\n* `infinite`: It isn't finite.");
    server.post("/f/distance", r#"{"a":{"x":0,"y":0},"b":{"x":3,"y":4}}"#).is(200).says("5.0");
}

/// The section of the SDK survives cargo-component.
#[test]
#[ignore = "needs cargo-component, which `cargo xtask test` installs"]
fn doc_comments_survive_cargo_component() {
    let functions = Functions::new("component", &[("figures", DOCUMENTED)]);
    let components = functions.build(&["--cargo-component"]);
    let printed = nebula(&["inspect", components[0].to_str().unwrap()]).exits(0).stdout();
    assert!(printed.contains("/// A place in the plane.\nrecord point {"), "{printed}");
    let component = std::fs::read(&components[0]).unwrap();
    assert!(component.windows(11).any(|bytes| bytes == b"nebula:docs"));
}

/// The functions of this repository are documented for their callers.
#[test]
fn sample_functions_are_documented() {
    let memeify = FunctionCrate::named("memeify").component;
    let printed = nebula(&["inspect", memeify]).exits(0).stdout();
    assert!(printed.contains("  about      Draws the captions and returns the image as PNG.\n"), "{printed}");
    assert!(printed.contains("  /// A PNG or a JPEG.\n  image: list<u8>,"), "{printed}");
}
