//! Named tokens of the control plane: created, used and revoked without a restart, kept across one,
//! and their secrets nowhere but in the answer to their creation.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use nebula_tests::{Answer, CommandRun, Nebula, eventually, guests, nebula, nebula_in};
use serde_json::{Value, json};

/// Creates a token with the command line and returns its secret.
#[track_caller]
fn create(server: &Nebula, arguments: &[&str]) -> String {
    let run = server.cli(&[&["token", "create"], arguments].concat()).exits(0);
    let stdout = run.stdout();
    let secret = stdout.strip_suffix('\n').unwrap();
    assert!(secret.starts_with("nebula_") && !secret.contains(char::is_whitespace), "{run:?}");
    secret.to_owned()
}

/// Sends a request to the control plane with a token.
fn send(server: &Nebula, secret: &str, method: &str, path: &str, body: &[u8]) -> Answer {
    let request = server.control_without_token(method, path);
    request.header("authorization", &format!("Bearer {secret}")).body(body).send()
}

fn list(server: &Nebula, secret: &str) -> Answer {
    send(server, secret, "GET", "/api/v1/functions", b"")
}

/// Runs a command as a client that has a token and no data directory.
#[track_caller]
fn run_with(server: &Nebula, secret: &str, arguments: &[&str]) -> CommandRun {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config").display().to_string();
    let control = server.control_address().to_string();
    let variables = [("NEBULA_TOKEN", secret), ("NEBULA_SERVER", &control), ("XDG_CONFIG_HOME", &config)];
    nebula_in(home.path(), arguments, &variables)
}

/// Returns whether a file below `directory` has `text`.
fn is_in_files(text: &str, directory: &Path) -> bool {
    let has = |path: &Path| {
        let content = std::fs::read(path).unwrap();
        content.windows(text.len()).any(|window| window == text.as_bytes())
    };
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .any(|path| if path.is_dir() { is_in_files(text, &path) } else { has(&path) })
}

#[test]
fn each_scope_may_do_what_it_includes_until_the_token_is_revoked() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let component = std::fs::read(guests::ADDS).unwrap();
    for (scope, may_invoke, may_change) in
        [("read", false, false), ("invoke", true, false), ("admin", true, true)]
    {
        let secret = create(&server, &[scope, "--scope", scope]);
        list(&server, &secret).is(200);
        let explain = || {
            let path = "/api/v1/functions/adds/explain";
            let request =
                server.control_without_token("POST", path).header("content-type", "application/json");
            request.header("authorization", &format!("Bearer {secret}")).body(r#"{"a":1,"b":2}"#).send()
        };
        let deploy = || send(&server, &secret, "PUT", "/api/v1/functions/other", &component);
        for (answer, allowed, required) in
            [(explain(), may_invoke, "invoke"), (deploy(), may_change, "admin")]
        {
            if allowed {
                answer.is(200);
                continue;
            }
            let challenge =
                format!(r#"Bearer realm="nebula", error="insufficient_scope", scope="{required}""#);
            let problem = answer.is(403).problem("insufficient-scope");
            problem.has("www-authenticate", &challenge);
            problem.member("required", required).member("scope", scope).member("token", scope);
            problem
                .detail(&format!("needs a token with the scope `{required}`, and `{scope}` has the scope"));
        }
        // Calls on the data plane need no token.
        server.post("/f/adds", r#"{"a":1,"b":2}"#).is(200).says("3");
        server.cli(&["token", "revoke", scope]).exits(0).says("").explains(&format!("revoked `{scope}`"));
        let problem = list(&server, &secret).is(401).problem("unauthorized");
        problem.has("www-authenticate", r#"Bearer realm="nebula", error="invalid_token""#);
    }
}

#[test]
fn commands_work_with_the_tokens_that_allow_them_and_explain_the_others() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let read = create(&server, &["grafana", "--scope", "read"]);
    let invoke = create(&server, &["ci", "--scope", "invoke"]);
    let admin = create(&server, &["ops", "--scope", "admin"]);
    for secret in [&read, &invoke, &admin] {
        run_with(&server, secret, &["list"]).exits(0);
        run_with(&server, secret, &["inspect", "adds"]).exits(0);
        run_with(&server, secret, &["logs"]).exits(0);
        run_with(&server, secret, &["invoke", "adds", "1", "2"]).exits(0).says("3");
        let control = server.control_address().to_string();
        run_with(&server, secret, &["login", &control, "--name", "here"]).exits(0);
        let doctor = run_with(&server, secret, &["doctor", "--listen", ":0", "--control", ":0"]);
        assert!(doctor.stdout().contains("accepts the token"), "{doctor:?}");
    }
    run_with(&server, &invoke, &["explain", "adds", "1", "2"]).exits(0);
    run_with(&server, &admin, &["token", "list"]).exits(0);
    for (secret, arguments, scope) in [
        (&read, &["explain", "adds", "1", "2"][..], "invoke"),
        (&invoke, &["remove", "adds"], "admin"),
        (&invoke, &["cache", "--clear"], "admin"),
        (&invoke, &["token", "list"], "admin"),
        (&invoke, &["token", "create", "more", "--scope", "admin"], "admin"),
    ] {
        run_with(&server, secret, arguments)
            .exits(7)
            .says("")
            .explains(&format!("needs a token with the scope `{scope}`"))
            .explains("hint: give a token with that scope; `nebula token create NAME --scope SCOPE`");
    }
    // An operator's token that was created is as good as the first one.
    run_with(&server, &admin, &["token", "revoke", "grafana"]).exits(0);
    run_with(&server, &read, &["list"]).exits(7).explains("the server doesn't have this token");
    run_with(&server, &admin, &["token", "revoke", "ops"]).exits(0);
    run_with(&server, &admin, &["list"]).exits(7);
}

#[test]
fn the_command_line_prints_the_secret_alone_and_lists_the_others() {
    let server = Nebula::start();
    let created = server.cli(&["token", "create", "ci", "--scope", "invoke", "--expires", "30d"]).exits(0);
    assert_eq!(created.stdout().lines().count(), 1);
    let created = created.explains("created `ci` with the scope `invoke` until 20");
    let secret = created.stdout().trim().to_owned();
    assert!(!created.stderr().contains(&secret), "{created:?}");

    let created = server.cli(&["token", "create", "ops", "--scope", "admin", "--json"]).exits(0).json();
    assert_eq!((&created["name"], &created["scope"]), (&json!("ops"), &json!("admin")));
    assert!(created["secret"].as_str().unwrap().starts_with("nebula_"), "{created}");
    assert!(created["expires_at_unix_s"].is_null() && created["created_at_unix_s"].is_u64(), "{created}");

    list(&server, &secret).is(200);
    let listed = server.cli(&["token", "list"]).exits(0).stdout();
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["name", "scope", "created", "expires", "last", "used"]);
    assert_eq!(rows[1][..4], ["token-file", "admin", "-", "never"], "{listed}");
    assert!(rows[2][..2] == ["ci", "invoke"] && rows[2][3] > rows[2][2] && rows[2][4] != "-", "{listed}");
    assert!(rows[3][..2] == ["ops", "admin"] && rows[3][3..] == ["never", "-"], "{listed}");
    let listed = server.cli(&["token", "list", "--json"]).exits(0).json();
    let ci = &listed["tokens"][1];
    let life = ci["expires_at_unix_s"].as_u64().unwrap() - ci["created_at_unix_s"].as_u64().unwrap();
    assert_eq!(life, 30 * 24 * 60 * 60);
    assert_eq!(listed["tokens"][0]["built_in"], json!(true));

    for (arguments, code, part) in [
        (&["create", "ci", "--scope", "read"][..], 7, "there is a token `ci` already"),
        (
            &["create", "token-file", "--scope", "read"],
            7,
            "is the name of the token in the server's data directory",
        ),
        (&["create", "c i", "--scope", "read"], 2, "is not a token's name"),
        (&["create", "c"], 2, "--scope <SCOPE>"),
        (&["create", "c", "--scope", "write"], 2, "possible values: read, invoke, admin"),
        (&["create", "c", "--scope", "read", "--expires", "soon"], 2, "a time is `90s`"),
        (&["create", "c", "--scope", "read", "--expires", "9999w"], 7, "a token expires after 1 to"),
        (&["revoke", "other"], 7, "there is no token `other`"),
        (&["revoke", "token-file"], 7, "delete the file `token` there and restart the server"),
    ] {
        server.cli(&[&["token"], arguments].concat()).exits(code).says("").explains(part);
    }
}

/// A restart keeps the tokens. Their secrets are in no file, no output and no export.
#[test]
fn a_restart_keeps_tokens_and_secrets_are_nowhere() {
    let mut server = Nebula::start().deploy("adds", guests::ADDS);
    let (kept, revoked) =
        (create(&server, &["kept", "--scope", "invoke"]), create(&server, &["revoked", "--scope", "admin"]));
    for secret in [&kept, &revoked] {
        list(&server, secret).is(200);
        send(&server, secret, "GET", &format!("/nowhere?token={}", &secret[..7]), b"").is(404);
    }
    server.cli(&["token", "revoke", "revoked"]).exits(0);
    list(&server, &revoked).is(401);
    let exported = server.control("GET", "/api/v1/export").send().is(200);
    let listed = server.control("GET", "/api/v1/tokens").send().is(200);
    let described = server.control("GET", "/openapi.json").send().is(200);
    let home = server.home();
    server.terminate();
    server.wait_for_exit();
    for secret in [&kept, &revoked, &server.token().to_owned()] {
        for answer in [&exported, &listed, &described] {
            assert!(!answer.text().contains(secret.as_str()), "{answer:?}");
        }
        assert!(!server.stdout().contains(secret.as_str()) && !server.stderr().contains(secret.as_str()));
    }
    assert!(!exported.text().contains("kept"), "{exported:?}");
    // The search finds what is there.
    assert!(is_in_files(server.token(), home.path()) && is_in_files("\"kept\"", home.path()));
    assert!(!is_in_files(&kept, home.path()) && !is_in_files(&revoked, home.path()));
    drop(server);

    let server = Nebula::start_over(home, &[]);
    list(&server, &kept).is(200);
    list(&server, &revoked).is(401);
    server.control("GET", "/api/v1/functions").send().is(200);
    let listed = server.control("GET", "/api/v1/tokens").send().is(200).json();
    let names: Vec<_> = listed["tokens"].as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["token-file", "kept"]);
}

#[test]
fn a_token_expires_by_itself() {
    let server = Nebula::start();
    let secret = create(&server, &["short", "--scope", "read", "--expires", "2s"]);
    list(&server, &secret).is(200);
    let problem = eventually("the token expires", || {
        let answer = list(&server, &secret);
        if answer.status() == 200 {
            std::thread::sleep(Duration::from_millis(100));
            return None;
        }
        Some(answer.is(401).problem("token-expired"))
    });
    problem.detail("the token `short` expired on ").member("token", "short");
    problem.has("www-authenticate", r#"Bearer realm="nebula", error="invalid_token""#);
    run_with(&server, &secret, &["list"]).exits(7).explains("hint: `nebula token create`");
    let listed = server.cli(&["token", "list"]).exits(0).stdout();
    assert!(listed.contains("(expired)"), "{listed}");
    // Its name is free again once it is revoked.
    server.cli(&["token", "create", "short", "--scope", "read"]).exits(7);
    server.cli(&["token", "revoke", "short"]).exits(0);
    create(&server, &["short", "--scope", "read"]);
}

/// The file `token` names the first token. Replacing it and a restart replace the token.
#[test]
fn the_built_in_token_is_replaced_by_a_restart() {
    let mut server = Nebula::start();
    let (first, named) = (server.token().to_owned(), create(&server, &["ops", "--scope", "admin"]));
    assert!(first.starts_with("nebula_"), "{first}");
    let home = server.home();
    server.terminate();
    server.wait_for_exit();
    std::fs::remove_file(server.data_dir().join("token")).unwrap();
    drop(server);
    let server = Nebula::start_over(home, &[]);
    assert_ne!(server.token(), first);
    list(&server, &first).is(401);
    list(&server, server.token()).is(200);
    list(&server, &named).is(200);
}

/// What the server has acknowledged survives a kill in the middle of other changes.
#[test]
fn acknowledged_changes_survive_a_kill() {
    let server = Nebula::start();
    // The name and secret of each token, and whether it was revoked.
    let acknowledged: Mutex<Vec<(String, String, bool)>> = Mutex::default();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (server, acknowledged) = (&server, &acknowledged);
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("t{thread}-{number}");
                    let body = json!({"name": name, "scope": "read"}).to_string();
                    let created = server.control("POST", "/api/v1/tokens").body(body).try_send();
                    let Ok(created) = created else { return };
                    let secret = created.is(201).json()["secret"].as_str().unwrap().to_owned();
                    acknowledged.lock().unwrap().push((name.clone(), secret.clone(), false));
                    if number % 2 == 1 {
                        let path = format!("/api/v1/tokens/{name}");
                        // Without an answer the token may be either.
                        acknowledged.lock().unwrap().retain(|(earlier, ..)| *earlier != name);
                        let Ok(revoked) = server.control("DELETE", &path).try_send() else { return };
                        revoked.is(204);
                        acknowledged.lock().unwrap().push((name, secret, true));
                    }
                }
            });
        }
        eventually("some changes are made", || (acknowledged.lock().unwrap().len() > 20).then_some(()));
        server.send_kill();
    });
    let home = server.home();
    drop(server);
    let server = Nebula::start_over(home, &[]);
    for (name, secret, is_revoked) in acknowledged.into_inner().unwrap() {
        let status = list(&server, &secret).status();
        assert_eq!(status, if is_revoked { 401 } else { 200 }, "{name}");
    }
    let left: Vec<_> =
        std::fs::read_dir(server.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp-")), "{left:?}");
}

/// A server never starts without tokens that it had, and says what to do.
#[test]
fn a_damaged_file_stops_the_start() {
    let mut server = Nebula::start();
    let secret = create(&server, &["ci", "--scope", "read"]);
    let (home, path) = (server.home(), server.data_dir().join("named-tokens"));
    server.terminate();
    server.wait_for_exit();
    let data_dir = server.data_dir().display().to_string();
    drop(server);
    let whole = std::fs::read_to_string(&path).unwrap();
    let start =
        || nebula(&["serve", "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir", &data_dir]);
    for (content, reason) in [
        (String::new(), "it doesn't begin with"),
        (whole[..whole.len() / 2].to_owned(), "its digest isn't the one"),
        (whole.replace("\"read\"", "\"admin\""), "its digest isn't the one"),
        (whole.replace("tokens 1", "tokens 2"), "this release reads `nebula tokens 1`"),
    ] {
        std::fs::write(&path, content).unwrap();
        start()
            .exits(1)
            .says("")
            .explains("cannot use the named tokens in `")
            .explains(reason)
            .explains("hint: restore the file from a copy; or delete it");
    }
    std::fs::write(&path, &whole).unwrap();
    list(&Nebula::start_over(home, &[]), &secret).is(200);
}

/// The OpenAPI document says which scope each operation needs.
#[test]
fn the_document_names_the_scope_of_each_operation() {
    let server = Nebula::start();
    let document = server.control("GET", "/openapi.json").send().is(200).json();
    let scope = |path: &str, method: &str| -> Value {
        document["paths"][path][method]["security"][0]["token"][0].clone()
    };
    for (path, method, expected) in [
        ("/api/v1/functions", "get", "read"),
        ("/api/v1/functions/{name}/explain", "post", "invoke"),
        ("/api/v1/functions/{name}", "put", "admin"),
        ("/api/v1/tokens", "get", "admin"),
        ("/api/v1/tokens", "post", "admin"),
        ("/api/v1/tokens/{name}", "delete", "admin"),
    ] {
        assert_eq!(scope(path, method), expected, "{method} {path}");
    }
    let created = &document["paths"]["/api/v1/tokens"]["post"]["responses"]["201"];
    assert_eq!(created["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/CreatedToken");
    assert_eq!(document["components"]["schemas"]["TokenScope"]["enum"], json!(["read", "invoke", "admin"]));
}
