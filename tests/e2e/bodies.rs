//! Bodies that browsers and `curl` send: forms, files, JSON without its media type, and nothing.

use nebula_tests::{Answer, Nebula, guests};

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=x-y";

fn serving() -> Nebula {
    let nebula = Nebula::start().deploy("reverses", guests::REVERSES).deploy("greets", guests::GREETS);
    let nebula = nebula.deploy("adds", guests::ADDS).deploy("searches", guests::SEARCHES);
    nebula.deploy("mirrors", guests::MIRRORS_PAYLOAD).deploy("everything", guests::MIRRORS)
}

fn post(nebula: &Nebula, function: &str, media_type: &str, body: impl AsRef<[u8]>) -> Answer {
    nebula.request("POST", &format!("/f/{function}")).header("content-type", media_type).body(body).send()
}

/// The name of a field, the name and media type of a file, and the content.
type FormPart<'a> = (&'a str, Option<(&'a str, &'a str)>, &'a [u8]);

/// Writes fields and files as browsers do.
fn multipart(parts: &[FormPart<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, file, content) in parts {
        body.extend_from_slice(
            format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        if let Some((file_name, media_type)) = file {
            body.extend_from_slice(
                format!("; filename=\"{file_name}\"\r\nContent-Type: {media_type}").as_bytes(),
            );
        }
        body.extend_from_slice(&[b"\r\n\r\n", *content, b"\r\n"].concat());
    }
    [&body[..], b"--x-y--\r\n"].concat()
}

/// A form gives the same answer as its pairs in a query string, errors included.
#[test]
fn forms_are_read_as_query_strings() {
    let nebula = serving();
    for (function, pairs) in [
        ("adds", "a=2&b=3"),
        ("adds", "b=3&a=-2"),
        ("adds", "a=2"),
        ("adds", "a=2&b=x"),
        ("adds", "a=2&b=3&c=4"),
        ("adds", "a=2&a=2&b=3"),
        ("greets", "name=J%C3%B6rg+M."),
        ("greets", "name="),
        ("reverses", "bytes=aGVsbG8%3D"),
        ("searches", "text=a+b%26c&limit=3&exact=true&order=oldest-first&tags=x&tags=y&above=0.5"),
        ("searches", "text=&limit=0&exact=false&order=newest"),
        ("searches", "text=x&limit=3&exact=yes&order=newest"),
        ("everything", "yes=true&rights=read"),
    ] {
        let get = nebula.get(&format!("/f/{function}?{pairs}"));
        for media_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"] {
            let form = post(&nebula, function, media_type, pairs).is(get.status());
            assert_eq!(form.text(), get.text(), "{function}: {pairs}");
        }
    }
    post(&nebula, "adds", FORM, "a=2&b=3").is(200).says("5").has("cache-status", "nebula; hit");
    post(&nebula, "adds", FORM, "a=%ff&b=1").is(400).problem("bad-form").detail("not UTF-8");
    post(&nebula, "searches", FORM, "tags=x&".repeat(2000)).is(400).problem("bad-form").detail("1000 pairs");
    let query = nebula.request("QUERY", "/f/adds").header("content-type", FORM).body("a=1&b=1");
    query.send().is(200).says("2");
    // A long form is decoded beside the serving threads.
    let long = format!("text={}&limit=1&exact=true&order=newest", "x%20".repeat(300_000));
    assert!(post(&nebula, "searches", FORM, long).is(200).text().len() > 600_000);
}

/// `curl -d` labels everything as a form.
#[test]
fn text_and_json_of_curl_are_no_forms() {
    let nebula = serving();
    post(&nebula, "adds", FORM, r#"{"a": 2, "b": 3}"#).is(200).says("5");
    post(&nebula, "adds", FORM, " [2, 3]").is(200).says("5");
    post(&nebula, "adds", FORM, "{\"a\": 2, \"x=y").is(400).problem("invalid-json");
    post(&nebula, "greets", FORM, "you").is(200).says("Hello, you!");
    post(&nebula, "greets", FORM, "a=b & c").is(200).says("Hello, a=b & c!");
    post(&nebula, "greets", FORM, "name = you").is(200).says("Hello, name = you!");
    post(&nebula, "reverses", FORM, "a=b").is(200).says("b=a");
    post(&nebula, "mirrors", FORM, "a=2&b=3").is(200).has("content-type", FORM).says("a=2&b=3");
}

/// `fetch` labels a string as text.
#[test]
fn json_labelled_as_text_is_read() {
    let nebula = serving();
    for media_type in ["text/plain", "text/plain;charset=UTF-8", "Text/Plain; charset=utf-8"] {
        let answer = post(&nebula, "adds", media_type, r#"{"a":2,"b":3}"#).is(200).says("5");
        answer.has("content-type", "application/json");
        post(&nebula, "adds", media_type, "a=2&b=3").is(400).problem("invalid-json");
        // It is the input of a function of text.
        post(&nebula, "greets", media_type, "\"you\"").is(200).says("Hello, \"you\"!");
    }
    post(&nebula, "adds", "text/html", r#"{"a":2,"b":3}"#).is(415).problem("unsupported-media-type");
}

#[test]
fn a_file_is_the_input() {
    let nebula = serving();
    let file: &[u8] = b"\0\r\n--x\r\nfile";
    let reversed: Vec<u8> = file.iter().rev().copied().collect();
    for (name, media_type) in [("file", "image/png"), ("bytes", "application/json"), ("", "text/plain")] {
        let body = multipart(&[(name, Some(("f", media_type)), file)]);
        let answer = post(&nebula, "reverses", MULTIPART, &body).is(200).bytes(&reversed);
        answer.has("content-type", "application/octet-stream");
        let answer = post(&nebula, "mirrors", MULTIPART, &body).is(200).bytes(file);
        answer.has("content-type", media_type);
    }
    let field = multipart(&[("x", None, b"text")]);
    post(&nebula, "mirrors", MULTIPART, &field).is(200).has("content-type", "text/plain").says("text");
    for media_type in
        ["text/plain", "text/markdown; charset=utf-8", "application/json", "application/octet-stream"]
    {
        let body = multipart(&[("file", Some(("f", media_type)), "J\u{f6}rg".as_bytes())]);
        post(&nebula, "greets", MULTIPART, &body).is(200).says("Hello, J\u{f6}rg!");
    }
    let body = multipart(&[("file", Some(("f", "text/plain; charset=utf-16le")), b"h\0i\0")]);
    post(&nebula, "greets", MULTIPART, &body).is(200).says("Hello, hi!");
    post(&nebula, "greets", MULTIPART, multipart(&[("f", Some(("f", "image/png")), b"\xff")]))
        .is(400)
        .problem("not-utf8");
    // Large files are read beside the serving threads.
    let large = multipart(&[("file", Some(("f", "image/png")), &[7; 5_000_000])]);
    assert_eq!(post(&nebula, "reverses", MULTIPART, &large).is(200).body().len(), 5_000_000);
    // Several would need a choice.
    for parts in [&[][..], &[("a", None, &b"1"[..]), ("b", Some(("f", "image/png")), b"2")]] {
        for function in ["reverses", "greets", "mirrors"] {
            let answer = post(&nebula, function, MULTIPART, multipart(parts)).is(415);
            answer.problem("unsupported-media-type").detail(&format!("{} fields or files", parts.len()));
        }
    }
}

#[test]
fn fields_are_the_parameters() {
    let nebula = serving();
    post(&nebula, "adds", MULTIPART, multipart(&[("a", None, b"2"), ("b", None, b"3")])).is(200).says("5");
    let search = multipart(&[
        ("text", Some(("notes.txt", "text/plain; charset=iso-8859-1")), b"gr\xfcn & blau"),
        ("limit", None, b"3"),
        ("exact", None, b"true"),
        ("order", None, b"newest"),
        ("tags", None, b"x"),
        ("tags", None, b"y"),
    ]);
    let answer = post(&nebula, "searches", MULTIPART, search).is(200);
    answer.says(r#""grün & blau 3 true None Order::Newest [\"x\", \"y\"]""#);
    let problem =
        post(&nebula, "adds", MULTIPART, multipart(&[("a", None, b"2"), ("b", None, b"x")])).is(400);
    problem.problem("type-mismatch").pointer("/b").expected("s64");
    post(&nebula, "adds", MULTIPART, multipart(&[("a", None, b"\xff"), ("b", None, b"3")]))
        .is(400)
        .problem("not-utf8");
    let nested = post(&nebula, "everything", MULTIPART, multipart(&[("yes", None, b"true")])).is(415);
    nested.problem("unsupported-media-type").detail("doesn't fit the fields of a form");
    for (media_type, body) in [
        (MULTIPART, &b"not a form"[..]),
        (MULTIPART, b""),
        (MULTIPART, b"--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n2"),
        ("multipart/form-data", b"--x-y--\r\n"),
    ] {
        post(&nebula, "adds", media_type, body).is(400).problem("bad-form");
    }
    let many: Vec<_> = (0..101).map(|_| ("tags", None, &b"x"[..])).collect();
    post(&nebula, "searches", MULTIPART, multipart(&many)).is(400).problem("bad-form").detail("100 parts");
}

/// Each field fits, and all together don't: text in another charset is longer in UTF-8.
#[test]
fn fields_that_grow_over_the_limit_are_413() {
    let nebula = serving();
    nebula.put("searches?input_bytes_max=3000", &std::fs::read(guests::SEARCHES).unwrap()).is(200);
    let windows = Some(("f", "text/plain; charset=windows-1252"));
    let tag = &[0x80; 300][..];
    let form = |tags: usize| {
        let mut parts = vec![("text", windows, tag), ("limit", None, &b"3"[..])];
        parts.extend([("exact", None, &b"true"[..]), ("order", None, b"newest")]);
        parts.extend((0..tags).map(|_| ("tags", windows, tag)));
        // The envelope has a limit of its own: that of the body.
        multipart(&parts)
    };
    assert!(form(3).len() < 3000, "{}", form(3).len());
    post(&nebula, "searches", MULTIPART, form(2)).is(200);
    let answer = post(&nebula, "searches", MULTIPART, form(3)).is(413);
    answer.problem("body-too-large").member("bytes_max", 3000);
}

#[test]
fn an_empty_body_is_said_to_be_empty() {
    let nebula = serving().deploy("nothing", guests::SAYS_NOTHING);
    let adds = "record { a: s64, b: s64 }";
    for (function, media_type, expected) in [
        ("adds", "application/json", adds),
        ("adds", "text/plain", adds),
        ("adds", FORM, adds),
        ("greets", "application/json", "string"),
        ("reverses", "application/json; charset=utf-8", "list<u8>"),
    ] {
        for body in ["", "\n", " \r\n "] {
            let problem = post(&nebula, function, media_type, body).is(400).problem("invalid-json");
            problem.detail("the body is empty").detail(expected).expected(expected);
        }
    }
    let unlabelled = nebula.request("POST", "/f/adds").send().is(400).problem("invalid-json");
    unlabelled.detail("the body is empty").expected(adds);
    let record = nebula.request("POST", "/f/searches").send().is(400).problem("invalid-json");
    record.detail("the body is empty").mentions("expected", "record { text: string,");
    post(&nebula, "adds", "image/png", "").is(415);
    nebula.request("POST", "/f/greets").send().is(200).says("Hello, !");
    nebula.request("POST", "/f/nothing").send().is(200);
}
