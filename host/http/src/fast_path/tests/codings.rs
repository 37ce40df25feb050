//! Content codings: each has a response of its own.

use super::*;

/// Each coding of an answer is kept, and not compressed again.
#[test]
fn compressed_responses_are_cached() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |codings: &str| {
            let accept = "accept: text/plain";
            format!("GET /f/long?n=5000 HTTP/1.1\r\nhost: a\r\n{accept}\r\n{codings}\r\n").into_bytes()
        };
        let codings =
            ["", "accept-encoding: gzip\r\n", "accept-encoding: br\r\n", "accept-encoding: gzip;q=0\r\n"];
        let mut etags = Vec::new();
        for (codings, expected) in codings.into_iter().zip([None, Some("gzip"), Some("br"), None]) {
            for _ in 0..2 {
                ask(&mut client, &request(codings)).await;
            }
            thread.parsed();
            for _ in 0..3 {
                let (head, body) = ask(&mut client, &request(codings)).await;
                assert_eq!(header(&head, "content-encoding"), expected, "{head}");
                assert_eq!(header(&head, "vary"), Some("accept, accept-encoding, prefer"), "{head}");
                assert_eq!(body.len() < 1000, expected.is_some(), "{head}");
                etags.push(header(&head, "etag").unwrap().to_owned());
            }
            assert_eq!(thread.parsed(), 0, "{codings}");
        }
        etags.dedup();
        let [plain, gzip, br, again] = &etags[..] else { panic!("{etags:?}") };
        assert_eq!(plain, again);
        assert!(gzip.ends_with(";gzip\"") && br.ends_with(";br\""), "{etags:?}");
    });
}

/// The coding of a request decides how its body is read.
#[test]
fn content_codings_of_requests_are_part_of_their_key() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        for coding in ["", "content-encoding: identity\r\n", "content-encoding: gzip\r\n"] {
            let request = format!("POST /f/same HTTP/1.1\r\nhost: a\r\n{coding}content-length: 1\r\n\r\n7");
            for _ in 0..4 {
                let (head, _) = ask(&mut client, request.as_bytes()).await;
                assert_eq!(head.starts_with("HTTP/1.1 400"), coding.ends_with("gzip\r\n"), "{head}");
            }
        }
    });
}
