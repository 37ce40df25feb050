//! The list in `tests/data/cases/README.md` names the tests of each case, and these exist.

use std::path::Path;

use nebula_tests::Nebula;

/// Returns the sources below a directory of the repository, joined.
fn sources(directory: &Path, found: &mut String) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_case_names_its_tests() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = std::fs::read_to_string(tests.join("data/cases/README.md")).unwrap();
    let mut code = String::new();
    sources(&tests.join("e2e"), &mut code);
    sources(&tests.join("../guest-sdk/tests"), &mut code);
    let mut number = 0;
    for row in list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        number += 1;
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells[0], number.to_string(), "{row}");
        let names: Vec<_> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            let function = name.rsplit("::").next().unwrap();
            assert!(code.contains(&format!("fn {function}()")), "there is no test `{name}`");
        }
    }
    assert_eq!(number, 35);
}

/// The file in the codec's and the HTTP server's tests is written out; this is the one reported.
#[test]
fn bytes_of_the_reported_files_are_read() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/data/cases");
    let file = |name: &str| std::fs::read(format!("{directory}/{name}")).unwrap();
    let nebula = Nebula::start();
    nebula.put_function("sha256", "").is(200);
    let call = nebula.request("POST", "/f/sha256").header("content-type", "application/octet-stream");
    let answer = call.header("content-encoding", "gzip").body(file("hello.gz")).send().is(200);
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert!(answer.text().contains(digest), "{answer:?}");
    nebula.put_function("csv-stats", "").is(200);
    let call = nebula.request("POST", "/f/csv-stats").header("content-type", "application/json");
    call.body(file("bom.json")).send().is(400).problem("invalid-json").detail("the byte-order mark of UTF-8");
}
