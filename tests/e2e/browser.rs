//! A page in Chromium that calls functions of another origin. The browser decides what the page may
//! read, and sends the preflights and bodies that it always sends.

use nebula_tests::{Nebula, Page, functions, guests};
use serde_json::{Value, json};

/// Calls the functions at the URL in the query in every way that a page would, and leaves the
/// answers in the document as JSON. A call that the browser blocks is `null`.
const PAGE: &str = r#"<!doctype html>
<title>calls</title>
<pre id="answers">running</pre>
<script>
const at = new URLSearchParams(location.search).get("at");
const post = body => ({ method: "POST", body });
const calls = {
    preflighted: ["add", {
        method: "POST",
        headers: { "content-type": "application/json", "x-request-id": "from-the-page" },
        body: '{"a":2,"b":3}',
    }],
    pairs: ["add", post(new URLSearchParams({ a: 2, b: 3 }))],
    text: ["add", post('{"a":2,"b":3}')],
    query: ["add?a=2&b=3", {}],
    mistake: ["add", post('{"a":2,"b":"x"}')],
    file: ["sha256", (() => {
        const form = new FormData();
        form.append("file", new Blob(["hello"]), "hello.txt");
        return post(form);
    })()],
    conditional: ["add?a=2&b=3", { headers: { "if-match": '"other"' } }],
    http: ["answers", {}],
};
const read = async ([path, options]) => {
    try {
        const answer = await fetch(`${at}/f/${path}`, options);
        return {
            status: answer.status,
            text: await answer.text(),
            id: answer.headers.get("x-request-id"),
            version: answer.headers.get("nebula-function")?.split(";")[0],
        };
    } catch {
        return null;
    }
};
(async () => {
    const answers = {};
    for (const [name, call] of Object.entries(calls)) answers[name] = await read(call);
    document.getElementById("answers").textContent = JSON.stringify(answers);
})();
</script>
"#;

/// Opens the page for a server and returns the answers that it could read.
#[track_caller]
fn answers(page: &Page, nebula: &Nebula) -> Value {
    let document = page.open(&format!("at=http://{}", nebula.calls_address()));
    let (_, answers) = document.split_once("<pre id=\"answers\">").unwrap();
    let answers = answers.split_once("</pre>").unwrap().0;
    let answers = answers.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&answers).unwrap_or_else(|error| panic!("{error}: {document}"))
}

fn serving(arguments: &[&str]) -> Nebula {
    let nebula = Nebula::start_with(arguments).deploy("add", functions::ADD);
    nebula.deploy("sha256", functions::SHA256).deploy("answers", guests::ANSWERS_BY_PATH)
}

#[test]
#[ignore = "needs Chromium, which `cargo xtask test` installs"]
fn a_page_of_an_allowed_origin_reads_every_answer() {
    let page = Page::serve(PAGE.to_owned());
    let nebula = serving(&["--cors-origin", &page.origin()]);
    let answers = answers(&page, &nebula);
    for call in ["preflighted", "pairs", "text", "query"] {
        let answer = &answers[call];
        assert_eq!((&answer["status"], &answer["text"]), (&json!(200), &json!("5")), "{call}: {answers}");
        assert_eq!(answer["version"], "add@v1", "an exposed header: {answers}");
    }
    assert_eq!(answers["preflighted"]["id"], "from-the-page", "{answers}");
    assert_eq!(answers["file"]["status"], 200, "{answers}");
    let hash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert!(answers["file"]["text"].as_str().unwrap().contains(hash), "{answers}");
    assert_eq!(answers["mistake"]["status"], 400, "{answers}");
    assert!(answers["mistake"]["text"].as_str().unwrap().contains(r#""pointer":"/b""#), "{answers}");
    assert_eq!(answers["conditional"]["status"], 412, "{answers}");
    assert_eq!(answers["http"]["version"], "answers@v1", "{answers}");
}

/// Without a policy, and with one for another origin, the browser lets the page read nothing. The
/// calls that need a preflight don't reach the function at all.
#[test]
#[ignore = "needs Chromium, which `cargo xtask test` installs"]
fn a_page_of_another_origin_reads_nothing() {
    let page = Page::serve(PAGE.to_owned());
    for arguments in [&[][..], &["--cors-origin", "https://other.example"]] {
        let nebula = serving(arguments);
        let answers = answers(&page, &nebula);
        for (call, answer) in answers.as_object().unwrap() {
            assert_eq!(*answer, Value::Null, "{call}: {answers}");
        }
        assert_eq!(answers.as_object().unwrap().len(), 8, "{answers}");
    }
}
