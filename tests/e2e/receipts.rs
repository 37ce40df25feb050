//! Receipts: their content, replays, kept inputs and signatures.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nebula_tests::{Answer, Nebula, functions, guests, nebula};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A private key as `openssl genpkey -algorithm ed25519` prints it. `openssl pkey -pubout` prints
/// the public one.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIBSFpc70zIIGfZrYJbHz41n2PMx5auztKoh90/qIAZNN
-----END PRIVATE KEY-----
";
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAH2ozifr5xia8J/xKkhxeIJ0NbY2+uByQ513CaGQ//to=
-----END PUBLIC KEY-----
";
const OTHER_PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAb+ZOVvOLbkhXoDbIfoGROUgI7IC5oqoo5ieYMiOYh7Q=
-----END PUBLIC KEY-----
";

fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Decodes the receipt of an answer.
#[track_caller]
fn receipt(answer: &Answer) -> Value {
    content(answer.header("nebula-receipt").unwrap())
}

/// Decodes the content of a receipt.
#[track_caller]
fn content(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// Returns `token` with another content and without a signature.
fn forged(token: &str, content: &Value) -> String {
    let header = token.split('.').next().unwrap();
    format!("{header}.{}.", URL_SAFE_NO_PAD.encode(content.to_string()))
}

/// Writes a file beside the data directory, which is removed with it.
fn file(nebula: &Nebula, name: &str, text: impl AsRef<[u8]>) -> String {
    let path = nebula.home().path().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn post(nebula: &Nebula, path: &str, prefer: &str, json: &str) -> Answer {
    let call = nebula.request("POST", path).header("content-type", "application/json");
    call.header("prefer", prefer).body(json).send()
}

#[test]
fn a_receipt_names_function_component_input_and_output() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let first = post(&nebula, "/f/adds", "wait=1, receipt", "[1, 2]").is(200).says("3");
    let first = first.has("preference-applied", "receipt").has("vary", "accept, accept-encoding, prefer");
    let component = std::fs::read(guests::ADDS).unwrap();
    let mut computed = receipt(&first);
    assert_eq!(computed["function"], "adds@v1");
    assert_eq!(computed["component"], sha256(&component));
    assert_eq!(
        computed["input"],
        json!({
            "kind": "payload", "media_type": "application/json",
            "digest": sha256(b"[1, 2]"), "bytes": 6, "kept": false,
        })
    );
    assert_eq!(
        computed["output"],
        json!({
            "outcome": "value", "media_type": "application/json", "digest": sha256(b"3"), "bytes": 1,
        })
    );
    assert!(computed["engine"].as_str().unwrap().contains(" wasmtime/"), "{computed}");
    // A cached answer has the same receipt.
    let again = post(&nebula, "/f/adds", "receipt", "[1, 2]").has("cache-status", "nebula; hit");
    let mut cached = receipt(&again);
    for receipt in [&mut computed, &mut cached] {
        receipt.as_object_mut().unwrap().remove("issued_at_unix_s");
    }
    assert_eq!(computed, cached);
    let error = post(&nebula, "/f/adds", "receipt", "[9223372036854775807, 1]").is(422);
    assert_eq!(receipt(&error)["output"]["outcome"], "error");
    // A receipt is sent only if the request prefers one and the answer is a result.
    nebula.post("/f/adds", "[1, 2]").is(200).lacks("nebula-receipt").lacks("preference-applied");
    post(&nebula, "/f/adds", "receipt", "[1]").is(400).lacks("nebula-receipt").lacks("preference-applied");
    post(&nebula, "/f/adds", "receipts, receipt=all", "[1, 2]").is(200).lacks("nebula-receipt");
}

/// The replays use the server's copies first, for every form of call, and then files without a
/// server.
#[test]
fn receipts_replay_from_the_server_and_from_files() {
    let nebula = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("reverses", guests::REVERSES)
        .deploy("payload", guests::MIRRORS_PAYLOAD)
        .deploy("dice", guests::ROLLS_DICE)
        .deploy("mirror", guests::MIRRORS_REQUEST);
    let send = |method: &str, path: &str, media_type: &str, body: &str| {
        let mut call = nebula.request(method, path).header("prefer", "receipt=with-input");
        if !body.is_empty() {
            call = call.header("content-type", media_type).body(body);
        }
        call.send().has("preference-applied", "receipt=with-input")
    };
    let json = "application/json";
    let answers = [
        send("POST", "/f/adds", json, "[1, 2]").is(200),
        send("POST", "/f/adds", json, "[9223372036854775807, 1]").is(422),
        send("GET", "/f/adds?a=40&b=2", "", "").is(200).says("42"),
        send("POST", "/f/reverses", "application/octet-stream", "abc").is(200).says("cba"),
        send("POST", "/f/payload", "text/x", "abc").is(200).says("abc"),
        send("POST", "/f/dice", json, r#"{"times": 3, "ignored": "a"}"#).is(200),
        send("POST", "/f/mirror/a/b?c=d", "text/x", "body").is(200),
        send("GET", "/f/mirror/teapot", "", "").is(418),
        send("HEAD", "/f/mirror/x", "", "").is(200),
    ];
    for (index, answer) in answers.iter().enumerate() {
        let token = answer.header("nebula-receipt").unwrap();
        let path = file(&nebula, &format!("{index}.receipt"), token);
        let content = content(token);
        let output = content["output"]["digest"].as_str().unwrap();
        if index + 1 < answers.len() {
            assert_eq!(output, sha256(answer.body()));
        }
        nebula.cli(&["replay", &path]).exits(0).says(&format!("agreed: {output}\n"));
    }
    // On another machine: the token itself, the input and the component.
    let token = answers[0].header("nebula-receipt").unwrap();
    let far = ["--server", "http://127.0.0.1:1", "--data-dir", "/nowhere"];
    let files = ["replay", token, "--input", "[1, 2]", "--component", guests::ADDS, "--json"];
    let verdict = self::nebula(&[&files[..], &far[..]].concat()).exits(0).json();
    assert_eq!((&verdict["agreed"], &verdict["found"]), (&json!(true), &content(token)["output"]));
    let wrong = ["replay", token, "--input", "[1, 3]", "--component", guests::ADDS];
    self::nebula(&[&wrong[..], &far[..]].concat()).exits(1).explains("this input is sha256:");
    let wrong = ["replay", token, "--input", "[1, 2]", "--component", guests::REVERSES];
    self::nebula(&[&wrong[..], &far[..]].concat()).exits(1).explains("this component is sha256:");
}

/// The pipeline calls another pipeline and two versions of one function; the replay calls the same
/// versions.
#[test]
fn a_pipeline_replays_with_the_versions_it_called() {
    let digest = std::fs::read(functions::SHA256).unwrap();
    let nebula = Nebula::start().deploy("reverses", guests::REVERSES);
    nebula.put("digest", &digest).is(200);
    nebula.put("digest?output_bytes_max=100", &digest).is(200);
    let deploy = |name: &str, steps: Value| {
        let body = json!({"steps": steps}).to_string();
        nebula.control("PUT", &format!("/api/v1/pipelines/{name}")).body(body).send().is(200).json()
    };
    deploy("inner", json!(["reverses", "digest@v1"]));
    deploy(
        "outer",
        json!({"all": {"one": "inner", "other": ["reverses", {"call": "digest", "as": "again"}]}}),
    );
    let call = nebula.request("POST", "/f/outer").header("prefer", "receipt=with-input");
    let answer = call.header("content-type", "application/octet-stream").body("some bytes").send().is(200);
    let path = file(&nebula, "outer.receipt", answer.header("nebula-receipt").unwrap());
    let agreed = format!("agreed: {}\n", sha256(answer.body()));
    nebula.cli(&["replay", &path]).exits(0).says(&agreed);
    let verified = nebula.cli(&["verify", "outer", "some bytes", "--json"]).exits(0).json();
    assert_eq!((&verified["agreed"], &verified["outcomes"].as_object().unwrap().len()), (&json!(true), &1));
    // The replay doesn't depend on the current versions of the names.
    nebula.put("digest?output_bytes_max=10", &digest).is(200);
    nebula.request("POST", "/f/outer").body("some bytes").send().is(502).problem("output-too-large");
    nebula.cli(&["replay", &path]).exits(0).says(&agreed);
    let token = answer.header("nebula-receipt").unwrap();
    let mut other_output = content(token);
    other_output["output"]["digest"] = sha256(b"x").into();
    let replay = nebula.cli(&["replay", &forged(token, &other_output)]).exits(1);
    assert!(replay.stdout().starts_with("disagreed\n"));
    // The digest of another pipeline is refused.
    let other = deploy("another", json!(["reverses"]));
    let mut other_pipeline = content(token);
    other_pipeline["component"] = other["digest"].clone();
    let replay = nebula.cli(&["replay", &forged(token, &other_pipeline)]).exits(1);
    replay.explains("has another content than the receipt's");
}

#[test]
fn replay_reports_a_different_answer() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let answer = post(&nebula, "/f/adds", "receipt=with-input", "[1, 2]");
    let token = answer.header("nebula-receipt").unwrap();
    let mut other_output = content(token);
    other_output["output"]["digest"] = sha256(b"4").into();
    let run = nebula.cli(&["replay", &forged(token, &other_output)]).exits(1);
    assert!(run.stdout().starts_with("disagreed\n"), "{run:?}");
    assert!(run.stdout().contains(&sha256(b"3")) && run.stdout().contains(&sha256(b"4")), "{run:?}");
    // A replay that fails disagrees with a receipt of a value.
    let mut other_limit = content(token);
    other_limit["limits"]["output_bytes_max"] = 0.into();
    let verdict = nebula.cli(&["replay", &forged(token, &other_limit), "--json"]).exits(1).json();
    assert_eq!((&verdict["agreed"], &verdict["found"]["outcome"]), (&json!(false), &json!("failed")));
    nebula.cli(&["replay", "eyJ.x"]).exits(1).explains("not a receipt");
    nebula.cli(&["replay", "/nowhere"]).exits(1).explains("cannot read `/nowhere`");
}

#[test]
fn inputs_are_kept_within_their_budget() {
    let nebula = Nebula::start_with(&["--inputs-bytes-max", "40960"]).deploy("reverses", guests::REVERSES);
    let send = |body: &str| {
        let call = nebula.request("POST", "/f/reverses").header("prefer", "receipt=with-input");
        call.header("content-type", "application/octet-stream").body(body).send().is(200)
    };
    let get = |digest: &str| nebula.control("GET", &format!("/api/v1/inputs/{digest}")).send();
    let large = send(&"x".repeat(30_000)).has("preference-applied", "receipt");
    assert_eq!(receipt(&large)["input"]["kept"], false);
    let ran = nebula.cli(&["replay", large.header("nebula-receipt").unwrap()]).exits(7);
    ran.explains("the server doesn't have the input").explains("--input");
    for index in 0..20 {
        send(&format!("input {index}")).has("preference-applied", "receipt=with-input");
    }
    get(&sha256(b"input 19")).is(200).says("input 19");
    get(&sha256(b"input 0")).is(404).problem("unknown-digest");
    get("sha256:x").is(400).problem("bad-digest");
    nebula.control_without_token("GET", &format!("/api/v1/inputs/{}", sha256(b"input 19"))).send().is(401);
    nebula
        .control("GET", &format!("/api/v1/components/{}", sha256(b"")))
        .send()
        .is(404)
        .problem("unknown-digest");
    // Kept inputs survive a restart.
    let home = nebula.home();
    nebula.terminate_and_wait();
    let nebula = Nebula::start_over(home, &["--inputs-bytes-max", "40960"]);
    let kept = nebula.control("GET", &format!("/api/v1/inputs/{}", sha256(b"input 19"))).send();
    kept.is(200).says("input 19");
}

#[test]
fn receipts_are_signed_and_checked_without_a_server() {
    let home = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let at = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, public_key) = (at("key.pem", KEY), at("key.pub", PUBLIC_KEY));
    let other = at("other.pub", OTHER_PUBLIC_KEY);
    let signing = Nebula::start_over(home.clone(), &["--receipt-key", &key]).deploy("adds", guests::ADDS);
    let signed = home.path().join("signed").to_str().unwrap().to_owned();
    signing.cli(&["invoke", "adds", "[1, 2]", "--receipt", &signed, "--keep-input"]).exits(0).says("3");
    signing.cli(&["replay", &signed]).exits(0);
    signing.terminate_and_wait();
    let verify = |receipt: &str, more: &[&str]| nebula(&[&["verify-receipt", receipt], more].concat());
    let ran = verify(&signed, &["--key", &public_key, "--input", "[1, 2]", "--output", "3"]).exits(0);
    assert!(ran.stdout().starts_with("signed by ") && ran.stdout().contains("adds@v1"), "{}", ran.stdout());
    let verified = verify(&signed, &["--key", &public_key, "--json"]).exits(0).json();
    assert_eq!(verified["output"]["digest"], sha256(b"3"));
    verify(&signed, &["--key", &public_key, "--output", "4"]).exits(1).explains("this output is sha256:");
    verify(&signed, &["--key", &public_key, "--input", "[1, 3]"]).exits(1).explains("this input is sha256:");
    verify(&signed, &["--key", &other]).exits(1).explains("the signature is not this key's");
    verify(&signed, &["--key", &key]).exits(1).explains("not an Ed25519 public key").explains("-pubout");
    // A changed content invalidates the signature.
    let token = std::fs::read_to_string(&signed).unwrap();
    let mut other_function = content(&token);
    other_function["function"] = "other@v1".into();
    let parts: Vec<&str> = token.trim().split('.').collect();
    let changed = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(other_function.to_string()), parts[2]);
    verify(&changed, &["--key", &public_key]).exits(1).explains("or the receipt has been changed");
    let plain = Nebula::start().deploy("adds", guests::ADDS);
    let unsigned = post(&plain, "/f/adds", "receipt", "[1, 2]");
    let unsigned = unsigned.header("nebula-receipt").unwrap();
    verify(unsigned, &["--key", &public_key]).exits(1).explains("the receipt is not signed");
    let args = ["serve", "--receipt-key", &public_key, "--data-dir", home.path().to_str().unwrap()];
    nebula(&args).exits(1).explains("not an Ed25519 private key").explains("openssl genpkey");
}

/// The preference is removed from the headers that a function of the http form sees, so it doesn't
/// change the call.
#[test]
fn functions_do_not_see_the_receipt_preference() {
    let nebula = Nebula::start().deploy("mirror", guests::MIRRORS_REQUEST);
    // Headers follow the preference, because the function sees the order of headers.
    let get = |prefer: Option<&str>| {
        let call = nebula.request("GET", "/f/mirror/").header("x-a", "1");
        let call = prefer.into_iter().fold(call, |call, prefer| call.header("prefer", prefer));
        call.header("x-b", "2").header("x-c", "3").send().is(200)
    };
    let plain = get(None).has("cache-status", "nebula; fwd=miss; stored");
    get(Some("receipt")).has("cache-status", "nebula; hit").says(plain.text());
    let wait = get(Some("wait=1")).has("cache-status", "nebula; fwd=miss; stored");
    get(Some("receipt, wait=1")).has("cache-status", "nebula; hit").says(wait.text());
    let other = get(Some("a=b, receipt=with-input")).has("cache-status", "nebula; fwd=miss; stored");
    assert!(other.text().contains("header prefer: a=b"), "{}", other.text());
}
