//! Content codings and charsets of requests, and compressed answers.

use nebula_tests::coding::{CODINGS, decode, encode};
use nebula_tests::{Answer, Nebula, guests};

use crate::bad_input::peak_kib;

const MIB: usize = 1024 * 1024;

fn serving() -> Nebula {
    let nebula = Nebula::start().deploy("reverses", guests::REVERSES).deploy("greets", guests::GREETS);
    nebula.deploy("adds", guests::ADDS).deploy("mirrors", guests::MIRRORS_PAYLOAD)
}

fn post(nebula: &Nebula, function: &str, media_type: &str, codings: &str, body: &[u8]) -> Answer {
    let call = nebula.request("POST", &format!("/f/{function}"));
    call.header("content-type", media_type).header("content-encoding", codings).body(body).send()
}

/// The function gets the content, in whatever coding it was sent, and computes it once.
#[test]
fn requests_are_decoded() {
    let nebula = serving();
    let plain = post(&nebula, "reverses", "application/octet-stream", "identity", b"hello").is(200);
    for (name, coding) in [
        ("gzip", "gzip"),
        ("X-Gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate", "raw-deflate"),
        ("br", "br"),
        ("zstd", "zstd"),
    ] {
        let body = encode(coding, b"hello");
        let answer = post(&nebula, "reverses", "application/octet-stream", name, &body).is(200).says("olleh");
        assert_eq!(answer.header("etag"), plain.header("etag"), "{name}");
        answer.has("cache-status", "nebula; hit");
        let body = encode(coding, br#"{"a": 2, "b": 3}"#);
        post(&nebula, "adds", "application/json", name, &body).is(200).says("5");
        let body = encode(coding, b"<svg/>");
        let raw = post(&nebula, "mirrors", "image/svg+xml", name, &body).is(200);
        raw.has("content-type", "image/svg+xml").says("<svg/>");
        // Repeated requests are answered from their bytes.
        for _ in 0..4 {
            let body = encode(coding, b"again");
            post(&nebula, "greets", "text/plain", name, &body).is(200).says("Hello, again!");
        }
    }
}

/// The file of a bug report: a gzip of `hello`, as `gzip` wrote it.
#[test]
fn a_gzip_file_is_decoded() {
    let nebula = Nebula::start();
    nebula.put_function("sha256", "").is(200);
    let file = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let answer = post(&nebula, "sha256", "application/octet-stream", "gzip", file).is(200);
    assert!(answer.text().contains(digest), "{answer:?}");
}

#[test]
fn several_codings_are_removed_in_order() {
    let nebula = serving();
    let body = encode("br", &encode("gzip", b"hello"));
    post(&nebula, "reverses", "application/octet-stream", "gzip, br", &body).is(200).says("olleh");
    post(&nebula, "reverses", "application/octet-stream", "gzip, identity,br", &body).is(200).says("olleh");
    let wrong = post(&nebula, "reverses", "application/octet-stream", "br, gzip", &body).is(400);
    wrong.problem("broken-body").detail("not valid gzip");
}

#[test]
fn unknown_codings_are_415() {
    let nebula = serving();
    for codings in ["compress", "aes128gcm", "gzip, unknown", "gzip, gzip, gzip, gzip", "gzip;q=1"] {
        for function in ["reverses", "greets", "adds", "mirrors"] {
            let answer = post(&nebula, function, "application/json", codings, b"{}").is(415);
            let problem = answer.problem("unsupported-content-coding");
            problem.has("accept-encoding", "gzip, deflate, br, zstd").detail(codings);
        }
    }
}

#[test]
fn damaged_content_is_400() {
    let nebula = serving();
    for coding in CODINGS {
        let body = encode(coding, b"hello, hello, hello");
        for damaged in [&b"hello"[..], &body[..body.len() - 3]] {
            let answer = post(&nebula, "reverses", "application/octet-stream", coding, damaged).is(400);
            answer.problem("broken-body").detail(&format!("not valid {coding}"));
        }
    }
    // An empty body has no content to decode.
    post(&nebula, "greets", "text/plain", "gzip", b"").is(200).says("Hello, !");
}

/// The input limit holds for the content, and the server holds no more of it than that.
#[test]
fn bombs_are_413_with_flat_memory() {
    let nebula = serving();
    // Reversing 8 MiB takes long on a busy machine.
    nebula.put("reverses?deadline_ms=60000", &std::fs::read(guests::REVERSES).unwrap()).is(200);
    let zeros = vec![0; 256 * MIB];
    let bombs = CODINGS.map(|coding| (coding, encode(coding, &zeros)));
    drop(zeros);
    post(&nebula, "reverses", "application/octet-stream", "gzip", &encode("gzip", &[7; 8 * MIB])).is(200);
    let before = peak_kib(nebula.pid());
    for (coding, bomb) in &bombs {
        for function in ["reverses", "greets", "adds", "mirrors"] {
            let answer = post(&nebula, function, "application/json", coding, bomb).is(413);
            answer.problem("body-too-large").member("bytes_max", 8 * MIB);
        }
        let nested = encode("gzip", bomb);
        post(&nebula, "reverses", "text/plain", &format!("{coding}, gzip"), &nested).is(413);
    }
    let grown = peak_kib(nebula.pid()).saturating_sub(before);
    // A bomb decodes to 256 MiB. The allocator keeps freed buffers of each thread for a while.
    assert!(grown < 128 * 1024, "the server took {grown} KiB");
    // One byte over the limit is too much.
    let body = encode("zstd", &vec![7; 8 * MIB + 1]);
    post(&nebula, "reverses", "application/octet-stream", "zstd", &body).is(413);
}

#[test]
fn text_in_other_charsets_is_decoded() {
    let nebula = serving();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let call =
        |function: &str, media_type: &str, body: &[u8]| post(&nebula, function, media_type, "identity", body);
    call("greets", "text/plain; charset=utf-16le", &utf16("hi")).is(200).says("Hello, hi!");
    call("greets", "text/plain; charset=\"ISO-8859-1\"", b"J\xf6rg").is(200).says("Hello, Jörg!");
    call("greets", "text/markdown;charset=shift_jis", b"\x93\xfa\x96{").is(200).says("Hello, 日本!");
    call("greets", "text/plain; charset=us-ascii", b"you").is(200).says("Hello, you!");
    call("greets", "application/json; charset=utf-16le", &utf16("\"é\"")).is(200).says("\"Hello, é!\"");
    call("adds", "application/json; charset=utf-16le", &utf16(r#"{"a":2,"b":3}"#)).is(200).says("5");
    call("adds", "text/plain; charset=utf-16le", &utf16(r#"{"a":2,"b":3}"#)).is(200).says("5");
    // Both in one request.
    let coded = encode("gzip", &utf16("hi"));
    post(&nebula, "greets", "text/plain; charset=utf-16le", "gzip", &coded).is(200).says("Hello, hi!");
    // Bytes are the input as they are, and a raw function is told the charset.
    call("reverses", "text/plain; charset=utf-16le", b"h\0").is(200).says("\0h");
    let raw = call("mirrors", "text/plain; charset=utf-16le", b"h\0").is(200);
    raw.has("content-type", "text/plain; charset=utf-16le").bytes(b"h\0");
    for (media_type, body) in
        [("text/plain; charset=utf-16le", &b"h\0i"[..]), ("text/plain; charset=big5", b"\xff")]
    {
        call("greets", media_type, body).is(400).problem("broken-body").detail("is not valid");
    }
    for charset in ["utf-7", "utf-32", "x-unknown"] {
        let answer = call("greets", &format!("text/plain; charset={charset}"), b"hi").is(415);
        answer.problem("unsupported-media-type").detail(charset);
        call("adds", &format!("application/json; charset={charset}"), b"[1,2]").is(415);
    }
}

/// Compressed answers have the same content, an entity tag for each coding, and the same receipt.
#[test]
fn long_answers_are_compressed_when_asked_for() {
    let nebula = serving();
    nebula.put_function("markdown", "").is(200);
    let text = "# A title\n\nSome *words*, again and again. ".repeat(100);
    let call = |codings: &str| {
        let call = nebula.request("QUERY", "/f/markdown").header("content-type", "text/plain");
        call.header("accept-encoding", codings)
            .body(&text)
            .send()
            .is(200)
            .has("vary", "accept, accept-encoding, prefer")
    };
    let plain = call("identity").lacks("content-encoding");
    let hash = plain.header("etag").unwrap().trim_matches('"').to_owned();
    for coding in CODINGS {
        for _ in 0..4 {
            let coded = call(coding).has("content-encoding", coding).has("cache-status", "nebula; hit");
            let coded = coded.has("etag", &format!("\"{hash};{coding}\""));
            assert_eq!(decode(coding, coded.body()), plain.body());
            assert!(coded.body().len() < plain.body().len() / 5, "{coded:?}");
        }
        let known = |codings: &str, tag: &str| {
            let call = nebula.request("QUERY", "/f/markdown").header("content-type", "text/plain");
            call.header("accept-encoding", codings).header("if-none-match", tag).body(&text).send()
        };
        let tag = format!("\"{hash};{coding}\"");
        for _ in 0..4 {
            known(coding, &tag).is(304).has("etag", &tag).lacks("content-encoding").says("");
            known("identity", &tag).is(200).lacks("content-encoding");
            known(coding, &format!("\"{hash}\"")).is(200).has("content-encoding", coding);
        }
        let receipt = nebula.request("POST", "/f/markdown").header("content-type", "text/plain").body(&text);
        let receipt = receipt.header("prefer", "receipt").header("accept-encoding", coding).send().is(200);
        assert!(
            receipt.header("nebula-receipt").is_some() && receipt.header("content-encoding") == Some(coding)
        );
    }
    call("gzip;q=0.5, br").has("content-encoding", "br");
    call("gzip, deflate, br, zstd").has("content-encoding", "zstd");
    call("gzip;q=0").lacks("content-encoding");
    // Too short to be worth it, and of no known type.
    let short = nebula.request("GET", "/f/greets?name=you").header("accept-encoding", "gzip").send().is(200);
    short.lacks("content-encoding").says("\"Hello, you!\"");
    let bytes =
        nebula.request("POST", "/f/reverses").header("accept-encoding", "gzip").body([7; 5000]).send();
    bytes.is(200).lacks("content-encoding").bytes(&[7; 5000]);
    // `HEAD` has the headers of `GET`.
    let name = "x".repeat(5000);
    let head = |method: &str| {
        let call = nebula.request(method, &format!("/f/greets?name={name}"));
        call.header("accept-encoding", "gzip").send().is(200).has("content-encoding", "gzip")
    };
    assert_eq!(head("HEAD").header("content-length"), head("GET").header("content-length"));
}

/// Content of several megabytes is compressed beside the serving threads.
#[test]
fn large_answers_are_compressed() {
    let nebula = serving();
    let text = "words and more words ".repeat(200_000);
    for coding in CODINGS {
        let call = nebula.request("POST", "/f/mirrors").header("content-type", "text/plain");
        let answer = call.header("accept-encoding", coding).body(&text).send().is(200);
        assert_eq!(decode(coding, answer.clone().has("content-encoding", coding).body()), text.as_bytes());
    }
}

#[test]
fn compression_can_be_turned_off() {
    let nebula = Nebula::start_with(&["--compress", "off"]).deploy("greets", guests::GREETS);
    let path = format!("/f/greets?name={}", "x".repeat(5000));
    let answer = nebula.request("GET", &path).header("accept-encoding", "gzip").send().is(200);
    answer.lacks("content-encoding").has("vary", "accept, prefer");
    // Requests are decoded all the same.
    let body = encode("gzip", b"you");
    post(&nebula, "greets", "text/plain", "gzip", &body).is(200).says("Hello, you!");
}
