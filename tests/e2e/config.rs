//! Configuration: constants that a deploy binds and the function reads.

use nebula_tests::{Answer, Nebula, foreach_guest_in_config, guests};
use serde_json::{Value, json};

foreach_guest_in_config!(is_tested);

/// Percent-encodes a configuration for a query.
fn query(config: &Value) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    format!("config={}", config.to_string().bytes().map(encode).collect::<String>())
}

fn deploy(nebula: &Nebula, name: &str, config: &Value, component: &str) -> Answer {
    nebula.put(&format!("{name}?{}", query(config)), &std::fs::read(component).unwrap())
}

fn current(nebula: &Nebula, name: &str) -> Value {
    let path = format!("/api/v1/functions/{name}");
    nebula.control("GET", &path).send().is(200).json()["current"].clone()
}

/// The environment and `wasi:config` have the same constants, ordered by key, on either lane, in
/// prepared instances as well.
#[test]
fn reads_config() {
    let nebula = Nebula::start_uncached();
    let config = json!({"b": "2 & ü", "A": "1", "c": ""});
    deploy(&nebula, "fast", &config, guests::READS_CONFIG).is(200);
    let component = std::fs::read(guests::READS_CONFIG).unwrap();
    nebula.put(&format!("compute?memory_bytes_max=134217728&{}", query(&config)), &component).is(200);
    let sorted = json!([["A", "1"], ["b", "2 & ü"], ["c", ""]]);
    for name in ["fast", "compute"] {
        for (key, value) in [("A", json!("1")), ("b", json!("2 & ü")), ("c", json!("")), ("B", json!(null))]
        {
            let expected = json!({"variable": value, "variables": sorted, "value": value, "values": sorted});
            let answer = nebula.post(&format!("/f/{name}"), &json!(key).to_string());
            assert_eq!(answer.is(200).json(), expected, "{name}, {key}");
        }
    }
    nebula.put("plain", &component).is(200);
    let nothing = json!({"variable": null, "variables": [], "value": null, "values": []});
    assert_eq!(nebula.post("/f/plain", "\"A\"").is(200).json(), nothing);
}

/// One component with two configurations is two functions to the cache, under two names and in two
/// versions of one.
#[test]
fn greets_as_configured() {
    let nebula = Nebula::start();
    deploy(&nebula, "de", &json!({"GREETING": "Hallo"}), guests::GREETS_AS_CONFIGURED).is(200);
    deploy(&nebula, "fr", &json!({"GREETING": "Salut"}), guests::GREETS_AS_CONFIGURED).is(200);
    nebula.put("plain", &std::fs::read(guests::GREETS_AS_CONFIGURED).unwrap()).is(200);
    for hit in [false, true, true, true] {
        let status = if hit { "nebula; hit" } else { "nebula; fwd=miss; stored" };
        for (name, said) in [("de", "\"Hallo, Eva\""), ("fr", "\"Salut, Eva\""), ("plain", "\"Hello, Eva\"")]
        {
            nebula.post(&format!("/f/{name}"), "\"Eva\"").is(200).says(said).has("cache-status", status);
        }
    }
    // The same configuration makes no new version. Another one does, and the earlier one stays.
    let again = deploy(&nebula, "de", &json!({"GREETING": "Hallo"}), guests::GREETS_AS_CONFIGURED);
    assert_eq!(again.is(200).json()["version"], "v1");
    let other = deploy(&nebula, "de", &json!({"GREETING": "Moin"}), guests::GREETS_AS_CONFIGURED);
    let other = other.is(200).json();
    assert_eq!(other["version"], "v2");
    assert_eq!(other["config"], json!({"GREETING": "Moin"}));
    assert_eq!(other["notes"], json!(["changes `config.GREETING` from \"Hallo\" to \"Moin\""]));
    nebula.post("/f/de", "\"Eva\"").is(200).says("\"Moin, Eva\"");
    nebula.post("/f/de@v1", "\"Eva\"").is(200).says("\"Hallo, Eva\"");
    let shown = nebula.cli(&["inspect", "de"]).exits(0).stdout();
    assert!(shown.contains("  config     GREETING = \"Moin\"\n"), "{shown}");
}

/// An answer by digest may be cached for ever, so adding a configuration doesn't change it.
#[test]
fn a_digest_stands_for_a_version_without_configuration() {
    let nebula = Nebula::start().deploy("f", guests::GREETS_AS_CONFIGURED);
    let digest = current(&nebula, "f")["digest"].as_str().unwrap().to_owned();
    let call = || nebula.post(&format!("/f/f@{digest}"), "\"Eva\"").is(200);
    let immutable = "public, max-age=31536000, immutable";
    call().says("\"Hello, Eva\"").has("cache-control", immutable);
    deploy(&nebula, "f", &json!({"GREETING": "Moin"}), guests::GREETS_AS_CONFIGURED).is(200);
    nebula.post("/f/f", "\"Eva\"").is(200).says("\"Moin, Eva\"");
    call().says("\"Hello, Eva\"").has("cache-control", immutable);
    // If all versions have one, another may follow.
    deploy(&nebula, "g", &json!({"GREETING": "Moin"}), guests::GREETS_AS_CONFIGURED).is(200);
    let pinned = nebula.post(&format!("/f/g@{digest}"), "\"Eva\"").is(200).says("\"Moin, Eva\"");
    assert_ne!(pinned.header("cache-control"), Some(immutable));
}

#[test]
fn configurations_that_cannot_be_deployed_are_refused() {
    let nebula = Nebula::start().deploy("f", guests::GREETS_AS_CONFIGURED);
    let put = |config: &Value| deploy(&nebula, "f", config, guests::GREETS_AS_CONFIGURED);
    for config in [json!({"A": 1}), json!({"A": true}), json!({"a b": ""}), json!({"A": "\0"}), json!([])] {
        put(&config).is(400).problem("bad-config");
    }
    let many: serde_json::Map<_, _> = (0..65).map(|at| (format!("K{at}"), json!(""))).collect();
    put(&many.into()).is(422).problem("bad-config");
    put(&json!({"A": "x".repeat(16 * 1024)})).is(422).problem("bad-config");
    // Constants are added to those of the version before, and the bounds hold for all.
    put(&json!({"A": "x".repeat(10_000)})).is(200);
    put(&json!({"B": "x".repeat(10_000)})).is(422).problem("bad-config");
    put(&json!({"A": null, "B": "x"})).is(200);
    assert_eq!(current(&nebula, "f")["config"], json!({"B": "x"}));
    let component = std::fs::read(guests::GREETS_AS_CONFIGURED).unwrap();
    nebula.put("f?config=default", &component).is(200);
    assert_eq!(current(&nebula, "f")["config"], Value::Null);
}

/// A chain whose functions have a configuration runs step by step, each with its own.
#[test]
fn pipelines_call_functions_with_their_own_configurations() {
    let nebula = Nebula::start();
    deploy(&nebula, "de", &json!({"GREETING": "Hallo"}), guests::GREETS_AS_CONFIGURED).is(200);
    deploy(&nebula, "fr", &json!({"GREETING": "Salut"}), guests::GREETS_AS_CONFIGURED).is(200);
    let put = |name: &str, description: &Value| {
        nebula.control("PUT", &format!("/api/v1/pipelines/{name}")).body(description.to_string()).send()
    };
    let steps = json!(["de", "fr"]);
    put("both", &json!({"steps": steps})).is(200);
    for _ in 0..3 {
        nebula.post("/f/both", "\"Eva\"").is(200).says("\"Salut, Hallo, Eva\"");
    }
    let before = current(&nebula, "both");
    let refused = put("both", &json!({"steps": steps, "fuse": "always"})).is(422);
    let reason = "`de` has a configuration, which the other functions would see";
    assert!(refused.json()["detail"].as_str().unwrap().contains(reason), "{refused:?}");
    let config = query(&json!({"GREETING": "Moin"}));
    let refused = nebula.control("PUT", &format!("/api/v1/pipelines/other?{config}"));
    refused.body(json!({"steps": steps}).to_string()).send().is(422).problem("bad-config");
    // A new configuration of a function is a new version of the pipeline, with another digest.
    deploy(&nebula, "de", &json!({"GREETING": "Moin"}), guests::GREETS_AS_CONFIGURED).is(200);
    nebula.post("/f/both", "\"Eva\"").is(200).says("\"Salut, Moin, Eva\"");
    assert_ne!(current(&nebula, "both")["digest"], before["digest"]);
    let pinned = before["digest"].as_str().unwrap();
    nebula.post(&format!("/f/both@{pinned}"), "\"Eva\"").is(200).says("\"Salut, Hallo, Eva\"");
}

/// A receipt names the configuration, and a replay uses the one of the version that was called.
#[test]
fn receipts_replay_with_the_configuration() {
    let nebula = Nebula::start();
    deploy(&nebula, "f", &json!({"GREETING": "Moin"}), guests::GREETS_AS_CONFIGURED).is(200);
    deploy(&nebula, "g", &json!({"GREETING": "Salut"}), guests::GREETS_AS_CONFIGURED).is(200);
    let pipeline = json!({"steps": ["f", "g"]}).to_string();
    nebula.control("PUT", "/api/v1/pipelines/both").body(pipeline).send().is(200);
    let receipt = |name: &str| {
        let call = nebula.request("POST", &format!("/f/{name}")).header("content-type", "application/json");
        let answer = call.header("prefer", "receipt=with-input").body("\"Eva\"").send().is(200);
        answer.header("nebula-receipt").unwrap().to_owned()
    };
    let (of_function, of_pipeline) = (receipt("f"), receipt("both"));
    deploy(&nebula, "f", &json!({"GREETING": "Hi"}), guests::GREETS_AS_CONFIGURED).is(200);
    for receipt in [&of_function, &of_pipeline] {
        let run = nebula.cli(&["replay", receipt]).exits(0);
        assert!(run.stdout().starts_with("agreed"), "{}", run.stdout());
    }
    let files = ["replay", &of_function, "--input", "\"Eva\"", "--component", guests::GREETS_AS_CONFIGURED];
    nebula.cli(&[&files[..], &["--config", "GREETING=Moin"]].concat()).exits(0);
    let other = nebula.cli(&[&files[..], &["--config", "GREETING=Hi"]].concat()).exits(1);
    other.explains("another configuration");
}

/// `invoke` of a file takes the configuration from its options, over that of the `nebula.toml`
/// beside it.
#[test]
fn a_component_file_is_called_with_a_configuration() {
    let nebula = Nebula::start();
    let directory = nebula.home().path().join("function");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("f.wasm");
    std::fs::copy(guests::GREETS_AS_CONFIGURED, &file).unwrap();
    let file = file.to_str().unwrap();
    nebula.cli(&["invoke", file, "Eva"]).exits(0).says("Hello, Eva");
    let config = "[config]\nGREETING = \"Moin\"\n[env.fr.config]\nGREETING = \"Salut\"\n";
    std::fs::write(directory.join("nebula.toml"), config).unwrap();
    nebula.cli(&["invoke", file, "Eva"]).exits(0).says("Moin, Eva");
    nebula.cli(&["invoke", file, "Eva", "--config", "GREETING=Hi"]).exits(0).says("Hi, Eva");
    // A deploy takes the environment's.
    nebula.cli(&["deploy", file]).exits(0);
    assert_eq!(current(&nebula, "f")["config"], json!({"GREETING": "Moin"}));
    nebula.cli(&["deploy", file, "--env", "fr"]).exits(0);
    assert_eq!(current(&nebula, "f")["config"], json!({"GREETING": "Salut"}));
    nebula.cli(&["deploy", file, "--env", "fr", "--config", "GREETING=a&b=c%20"]).exits(0);
    assert_eq!(current(&nebula, "f")["config"], json!({"GREETING": "a&b=c%20"}));
    // The file is the whole truth, also when it says nothing any more. Without it, settings stay.
    let with = |text: &str, arguments: &[&str]| {
        std::fs::write(directory.join("nebula.toml"), text).unwrap();
        nebula.cli(&[&["deploy", file][..], arguments].concat()).exits(0)
    };
    with("[limits]\ndeadline_ms = 4000\n[cache]\nttl_s = 60\n", &[])
        .explains("resets `config.GREETING` to its default")
        .explains("sets `limits.deadline_ms` to 4000");
    with("[cache]\nttl_s = 60\n", &[]).explains("resets `limits.deadline_ms` to its default; it was 4000");
    assert_eq!(current(&nebula, "f")["cache"]["ttl_s"], 60);
    with("", &["--log-bytes-max", "9"])
        .explains("resets `cache.ttl_s` to its default; it was 60")
        .explains("sets `limits.log_bytes_max` to 9");
    assert_eq!(current(&nebula, "f")["cache"]["ttl_s"], json!(null));
    std::fs::remove_file(directory.join("nebula.toml")).unwrap();
    nebula.cli(&["deploy", file]).exits(0).explains("keeps `limits.log_bytes_max` = 9");
    with("name = \"f\"\n", &[]).explains("resets `limits.log_bytes_max` to its default; it was 9");
    std::fs::write(directory.join("nebula.toml"), config).unwrap();
    nebula.cli(&["deploy", file, "--env", "it"]).exits(2).explains("has the environment `it`");
    std::fs::write(directory.join("nebula.toml"), "[secrets]\nKEY = \"x\"\n").unwrap();
    nebula.cli(&["deploy", file]).exits(1).explains("a function has no secrets");
    nebula
        .cli(&["invoke", "f", "Eva", "--config", "A=1"])
        .exits(2)
        .explains("its own limits and configuration");
}
