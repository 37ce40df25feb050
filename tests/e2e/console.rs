//! The console: its page, sessions of browsers, and calls through the control plane.

use std::collections::BTreeMap;

use nebula_tests::{Answer, Nebula, RequestBuilder, Scrape, eventually, functions, guests};
use serde_json::json;

/// A signed-in browser with a page of the console open.
struct Browser<'a> {
    nebula: &'a Nebula,
    origin: String,
    cookie: String,
}

impl<'a> Browser<'a> {
    /// Signs in with a token.
    #[track_caller]
    fn sign_in(nebula: &'a Nebula, token: &str) -> Self {
        let origin = format!("http://{}", nebula.control_address());
        let answer = sign_in(nebula, &origin, token).is(200);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { nebula, origin, cookie }
    }

    /// Prepares a request as `fetch` sends it from the page.
    fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        let request = self.nebula.control_without_token(method, path).header("cookie", &self.cookie);
        let request = request.header("sec-fetch-site", "same-origin");
        if method == "GET" { request } else { request.header("origin", &self.origin) }
    }
}

fn sign_in(nebula: &Nebula, origin: &str, token: &str) -> Answer {
    let request = nebula.control_without_token("POST", "/api/v1/session").header("origin", origin);
    request.header("content-type", "application/json").body(json!({"token": token}).to_string()).send()
}

type Headers<'a> = &'a [(&'a str, &'a str)];

/// Adds headers to a request.
fn with<'a>(request: RequestBuilder<'a>, headers: Headers<'_>) -> RequestBuilder<'a> {
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

/// Creates a token with the command line and returns its secret.
#[track_caller]
fn create(nebula: &Nebula, scope: &str) -> String {
    nebula.cli(&["token", "create", scope, "--scope", scope]).exits(0).stdout().trim().to_owned()
}

#[test]
fn a_browser_signs_in_with_a_token_and_may_do_what_it_permits() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    let origin = format!("http://{}", nebula.control_address());
    let signed_in = sign_in(&nebula, &origin, nebula.token()).is(200).has("cache-control", "no-store");
    assert_eq!(signed_in.json(), json!({"name": "token-file", "scope": "admin"}));
    let set = signed_in.header("set-cookie").unwrap();
    let (id, attributes) = set.strip_prefix("nebula_session=").unwrap().split_once("; ").unwrap();
    assert!(id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/");
    // A proxy in front ends TLS.
    let secure = sign_in(&nebula, &origin.replace("http:", "https:"), nebula.token()).is(200);
    assert!(secure.header("set-cookie").unwrap().ends_with("; Secure"), "{secure:?}");

    let component = std::fs::read(guests::ADDS).unwrap();
    for (scope, may_invoke, may_change) in
        [("read", false, false), ("invoke", true, false), ("admin", true, true)]
    {
        let token = create(&nebula, scope);
        let browser = Browser::sign_in(&nebula, &token);
        let shown = browser.request("GET", "/api/v1/session").send().is(200);
        assert_eq!(shown.json(), json!({"name": scope, "scope": scope}));
        browser.request("GET", "/api/v1/functions").send().is(200);
        let call = browser.request("POST", "/api/v1/functions/adds/call");
        let call = call.header("content-type", "application/json").body(r#"{"a":1,"b":2}"#).send();
        let deploy = browser.request("PUT", "/api/v1/functions/other").body(&component).send();
        for (answer, allowed) in [(call, may_invoke), (deploy, may_change)] {
            match allowed {
                true => drop(answer.is(200)),
                false => drop(answer.is(403).problem("insufficient-scope")),
            }
        }
        // The same without a browser.
        let bearer = nebula.control_without_token("GET", "/api/v1/session");
        let bearer = bearer.header("authorization", &format!("Bearer {token}")).send().is(200);
        assert_eq!(bearer.json(), shown.json());
        nebula.cli(&["token", "revoke", scope]).exits(0);
        browser.request("GET", "/api/v1/session").send().is(204);
        browser.request("GET", "/api/v1/functions").send().is(401).problem("session-over");
    }
    sign_in(&nebula, &origin, "nebula_wrong").is(401).problem("unauthorized");
}

#[test]
fn a_browser_signs_out_and_a_restart_ends_sessions() {
    let nebula = Nebula::start();
    let (browser, other) =
        (Browser::sign_in(&nebula, nebula.token()), Browser::sign_in(&nebula, nebula.token()));
    let out = browser.request("DELETE", "/api/v1/session").send().is(204);
    let cleared = out.header("set-cookie").unwrap();
    assert!(cleared.starts_with("nebula_session=;") && cleared.contains("Max-Age=0"), "{cleared}");
    browser.request("GET", "/api/v1/functions").send().is(401).problem("session-over");
    other.request("GET", "/api/v1/functions").send().is(200);
    let logged = eventually("signing out is logged", || {
        let stderr = nebula.stderr();
        stderr.contains("signed out of the console").then_some(stderr)
    });
    let line = logged.lines().find(|line| line.contains("signed in to the console")).unwrap();
    assert!(line.contains("token-file"), "{logged}");
    let (home, cookie) = (nebula.home(), other.cookie.clone());
    drop(nebula);

    let nebula = Nebula::start_over(home, &[]);
    let list = nebula.control_without_token("GET", "/api/v1/functions").header("cookie", &cookie);
    list.send().is(401).problem("session-over");
}

/// A page of another origin gets nothing, also if it is on another port or behind a name that leads
/// here. A name that the operator gives is the console's.
#[test]
fn pages_of_other_origins_and_other_names_are_refused() {
    let nebula = Nebula::start_with(&["--console-host", "nebula.example"]).deploy("adds", guests::ADDS);
    let browser = Browser::sign_in(&nebula, nebula.token());
    let calls = format!("http://{}", nebula.calls_address());
    let send = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let request = nebula.control_without_token(method, path).header("cookie", &browser.cookie);
        with(request, headers).body("{}").send()
    };
    let foreign: [&[(&str, &str)]; 5] = [
        &[("origin", "http://evil.example")],
        // A page that a function answers with.
        &[("origin", &calls), ("sec-fetch-site", "same-site")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[],
    ];
    for (method, path) in [
        ("POST", "/api/v1/session"),
        ("DELETE", "/api/v1/functions/adds"),
        ("POST", "/api/v1/functions/adds/call"),
    ] {
        for headers in foreign {
            send(method, path, headers).is(403).problem("cross-origin");
        }
    }
    for headers in &foreign[..4] {
        send("GET", "/api/v1/functions", headers).is(403).problem("cross-origin");
    }
    let origin = [("host", "evil.example:8081"), ("origin", "http://evil.example:8081")];
    for (method, path) in [("POST", "/api/v1/session"), ("GET", "/api/v1/functions")] {
        let problem = send(method, path, &origin).is(403).problem("unknown-host");
        problem.detail("start it with `--console-host evil.example`");
    }
    let origin = [("host", "nebula.example"), ("origin", "https://nebula.example")];
    let sign_in = nebula.control_without_token("POST", "/api/v1/session");
    let signed_in = with(sign_in, &origin).body(json!({"token": nebula.token()}).to_string()).send().is(200);
    assert!(signed_in.header("set-cookie").unwrap().ends_with("; Secure"), "{signed_in:?}");
    send("GET", "/api/v1/functions", &origin).is(200);
    // Programs send a token, and may use any name.
    nebula.control("GET", "/api/v1/functions").header("host", "evil.example").send().is(200);
}

#[test]
fn names_of_the_console_are_checked_at_the_start() {
    for wrong in ["http://nebula.example", "nebula.example:8081", ""] {
        let run = nebula_tests::nebula(&["serve", "--console-host", wrong]).exits(2);
        run.explains("a name such as `nebula.example.org`");
    }
}

#[test]
fn the_page_and_its_assets_are_served_compressed_and_once() {
    let nebula = Nebula::start();
    let get = |path: &str| nebula.control_without_token("GET", path);
    let page = get("/").send().is(200).has("content-type", "text/html; charset=utf-8");
    let urls = page.text().split('"').filter(|part| part.starts_with("/console/"));
    let urls: Vec<_> = std::iter::once("/").chain(urls).collect();
    assert!(urls.len() > 2, "{urls:?}");
    for url in urls {
        let plain = get(url).send().is(200).lacks("content-encoding");
        plain.header("content-security-policy").unwrap().strip_prefix("default-src 'none';").unwrap();
        let plain = plain.has("x-content-type-options", "nosniff").has("referrer-policy", "no-referrer");
        let plain = plain.has("cross-origin-opener-policy", "same-origin");
        let immutable = "public, max-age=31536000, immutable";
        let plain = plain.has("cache-control", if url == "/" { "no-cache" } else { immutable });
        let coded = get(url).header("accept-encoding", "gzip").send().is(200);
        for answer in [&plain, &coded] {
            let etag = answer.header("etag").unwrap();
            let coding = answer.header("content-encoding").unwrap_or("identity");
            let again = get(url).header("if-none-match", etag).header("accept-encoding", coding).send();
            again.is(304).says("").has("etag", etag);
        }
    }
    // The way of a browser is the fragment, so every other path is the API's.
    get("/functions/add").send().is(401);
    nebula.control("GET", "/functions/add").send().is(404).problem("unknown-path");
    get("/console/console-000000.js").send().is(404).problem("unknown-path");
}

/// The parts of an answer that don't depend on the moment.
#[derive(Debug, PartialEq)]
struct Comparable {
    status: u16,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
}

impl Comparable {
    fn of(answer: &Answer) -> Self {
        /// Their values differ from call to call.
        const OF_MOMENT: [&str; 4] = ["server-timing", "x-request-id", "nebula-receipt", "age"];
        /// The control plane sets these itself.
        const OF_PLANE: [&str; 4] =
            ["date", "content-security-policy", "x-content-type-options", "content-disposition"];
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for (name, value) in answer.headers().iter().filter(|(name, _)| !OF_PLANE.contains(&name.as_str())) {
            let value = if OF_MOMENT.contains(&name.as_str()) { "…" } else { value.to_str().unwrap() };
            headers.entry(name.to_string()).or_default().push(value.to_owned());
        }
        Self { status: answer.status(), headers, body: String::from_utf8_lossy(answer.body()).into_owned() }
    }
}

/// Every kind of answer is the same on both planes: values, errors of functions, mistakes of the
/// caller, faults, cached answers and receipts, in every coding and form.
#[test]
fn calls_agree_with_the_data_plane() {
    let nebula = Nebula::start()
        .deploy("adds", guests::ADDS)
        .deploy("greets", guests::GREETS)
        .deploy("mirrors", guests::MIRRORS)
        .deploy("panics", guests::PANICS)
        .deploy("raw", guests::MIRRORS_PAYLOAD)
        .deploy("http", guests::ANSWERS_BY_PATH)
        .deploy("markdown", functions::MARKDOWN);
    nebula.put("loops?deadline_ms=100", &std::fs::read(guests::LOOPS_FOREVER).unwrap()).is(200);
    let browser = Browser::sign_in(&nebula, nebula.token());
    let json = ("content-type", "application/json");
    let text = ("content-type", "text/plain");
    let long = format!("{:?}", "# text\n".repeat(2000));
    let long_text = "x".repeat(20_000_000);
    let (max, min) = (r#"{"a":9223372036854775807,"b":0}"#, r#"{"a":-9223372036854775808,"b":-1}"#);
    let cases: &[(&str, &str, Headers<'_>)] = &[
        ("adds", r#"{"a":1,"b":2}"#, &[json]),
        ("adds", r#"{"a":1,"b":2}"#, &[json, ("cache-control", "no-cache")]),
        ("adds", r#"{"a":1,"b":2}"#, &[json, ("cache-control", "no-store"), ("prefer", "receipt")]),
        ("adds", max, &[json]),
        ("adds", min, &[json]),
        ("adds@v1", "[1, 2]", &[json]),
        ("adds@v2", "[1, 2]", &[json]),
        ("adds", r#"{"a":1,"b":"x"}"#, &[json]),
        ("adds", r#"{"a":1}"#, &[json]),
        ("adds", r#"{"a":1"#, &[json]),
        ("adds", "", &[]),
        ("adds", "a=1&b=2", &[("content-type", "application/x-www-form-urlencoded")]),
        ("adds", r#"{"a":1,"b":2}"#, &[("content-type", "image/png")]),
        ("adds", r#"{"a":1,"b":2}"#, &[json, ("content-encoding", "rot13")]),
        ("greets", r#""you""#, &[json, ("accept", "text/plain")]),
        ("greets", "you", &[text]),
        ("mirrors", "{}", &[json]),
        ("panics", "1", &[json]),
        ("panics", "2000000", &[json]),
        ("raw", "\u{1}any bytes", &[("content-type", "x/y"), ("accept", "x/y")]),
        // To such a function the hosts are different requests.
        ("http", "body", &[("x-a", "b"), ("cache-control", "no-cache")]),
        ("markdown", &long, &[json, ("accept-encoding", "gzip")]),
        ("markdown", &long, &[json, ("accept-encoding", "br, zstd")]),
        ("greets", &long_text, &[text]),
        ("nothing", "1", &[json]),
        ("loops?x=1", "", &[]),
    ];
    for (name, body, headers) in cases {
        // The first call fills caches.
        let direct = || with(nebula.request("POST", &format!("/f/{name}")), headers).body(body).send();
        direct();
        let direct = direct();
        let (name, query) = name.split_once('?').unwrap_or((name, ""));
        let path = format!("/api/v1/functions/{name}/call?{query}");
        for request in [browser.request("POST", &path), nebula.control("POST", &path)] {
            let relayed = with(request, headers).body(body).send();
            assert_eq!(Comparable::of(&relayed), Comparable::of(&direct), "{name} {headers:?}");
            let inert = relayed.has("content-security-policy", "sandbox; default-src 'none'");
            inert.has("x-content-type-options", "nosniff").has("content-disposition", "attachment");
        }
    }
}

/// A function sees no credential of the operator, neither here nor on the data plane, to which a
/// browser sends the cookie too. Nothing that it answers changes what a browser does with the origin.
#[test]
fn functions_neither_see_credentials_nor_affect_the_origin() {
    let nebula =
        Nebula::start().deploy("mirrors", guests::MIRRORS_REQUEST).deploy("http", guests::ANSWERS_BY_PATH);
    let browser = Browser::sign_in(&nebula, nebula.token());
    let call = browser.request("POST", "/api/v1/functions/mirrors/call").header("x-own", "kept").send();
    let bearer = nebula.control("POST", "/api/v1/functions/mirrors/call").header("x-own", "kept").send();
    let cookies = format!("a=1; {}; b=2", browser.cookie);
    let direct =
        nebula.request("POST", "/f/mirrors").header("cookie", &cookies).header("x-own", "kept").send();
    assert!(direct.text().contains("header cookie: a=1; b=2\n"), "{direct:?}");
    let id = browser.cookie.split('=').nth(1).unwrap();
    for answer in [call, bearer, direct] {
        let answer = answer.is(200);
        assert!(answer.text().contains("header x-own: kept"), "{answer:?}");
        assert!(!answer.text().contains(id) && !answer.text().contains(nebula.token()), "{answer:?}");
    }

    nebula.request("POST", "/f/http?origin").send().is(307).has("location", "/api/v1/cache");
    let answer = browser.request("POST", "/api/v1/functions/http/call?origin").send().is(307);
    let answer = answer.lacks("set-cookie").lacks("location").lacks("www-authenticate");
    let answer = answer.lacks("clear-site-data").lacks("access-control-allow-origin");
    answer.has("content-disposition", "attachment").has("content-type", "text/html");
}

/// Waits until a call runs on the compute lane. The control plane answers meanwhile.
#[track_caller]
fn runs(nebula: &Nebula) {
    eventually("a call runs", || {
        let metrics = Scrape::of(&nebula.control("GET", "/metrics").send().is(200));
        (metrics.sum("nebula_lane_calls_running", &[]) >= 1.0).then_some(())
    });
}

/// Long calls don't delay other requests to the control plane.
#[test]
fn calls_run_beside_the_control_plane() {
    let component = std::fs::read(guests::LOOPS_FOREVER).unwrap();
    let nebula = Nebula::start();
    nebula.put("loops?deadline_ms=5000", &component).is(200);
    std::thread::scope(|scope| {
        let call = || nebula.control("POST", "/api/v1/functions/loops/call").send();
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
        runs(&nebula);
        assert!(calls.iter().all(|call| !call.is_finished()));
        for call in calls {
            call.join().unwrap().is(504).problem("deadline-exceeded");
        }
    });
}

/// A server that stops answers the calls that are in flight, like those of the data plane.
#[test]
fn a_stopping_server_answers_the_calls_in_flight() {
    let component = std::fs::read(guests::LOOPS_FOREVER).unwrap();
    let nebula = Nebula::start();
    nebula.put("loops?deadline_ms=1500", &component).is(200);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| nebula.control("POST", "/api/v1/functions/loops/call").send());
        runs(&nebula);
        nebula.interrupt();
        call.join().unwrap().is(504).problem("deadline-exceeded");
    });
}
