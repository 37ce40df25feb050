//! Functions of the http form see every header, so their responses are cached by the whole head.

use super::*;

const HTTP_FORM: &str = include_str!("http_form.wat");

fn request(headers: &str) -> String {
    format!("GET /f/sees HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

#[test]
fn http_form_is_cached_by_the_whole_head() {
    run(async {
        let thread = Thread::start().await;
        thread.deploy_with("sees", HTTP_FORM, LimitOverrides::default()).await;
        let mut client = thread.connect().await;
        // This takes one request more than for a typed function: only the first response tells that
        // the function sees headers.
        for headers in ["x: a\r\n", "x: b\r\n", "traceparent: 00-1\r\n"] {
            let mut is_cached = false;
            // On a busy machine hyper may not be done with one request before the next one comes.
            for _ in 0..100 {
                let (head, _) = ask(&mut client, request(headers).as_bytes()).await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
                is_cached = thread.parsed() == 0;
                if is_cached {
                    break;
                }
            }
            assert!(is_cached, "{headers}");
        }
        // Heads are cached beside each other.
        for headers in ["x: b\r\n", "x: a\r\n", "traceparent: 00-1\r\n", "x: a\r\n"] {
            let (head, _) = ask(&mut client, request(headers).as_bytes()).await;
            assert_eq!(header(&head, "cache-status"), Some("nebula; hit"), "{headers}");
        }
        assert_eq!(thread.parsed(), 0);
    });
}

/// Credentials, and responses that may depend on them, aren't cached.
#[test]
fn http_form_with_credentials_is_not_cached() {
    run(async {
        let thread = Thread::start().await;
        thread.deploy_with("sees", HTTP_FORM, LimitOverrides::default()).await;
        let mut client = thread.connect().await;
        for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
            for _ in 0..6 {
                ask(&mut client, request(&format!("{name}: a\r\n")).as_bytes()).await;
            }
            assert_eq!(thread.parsed(), 6, "{name}");
        }
    });
}

/// A name whose function changes its form changes its key: with the whole head only for the http
/// form.
#[test]
fn key_follows_the_form_of_the_function() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |header: &str| format!("GET /f/turns?n=7 HTTP/1.1\r\nhost: a\r\n{header}\r\n");
        for (component, parsed_with_other_headers) in [(SAME, 0), (HTTP_FORM, 1), (SAME, 0)] {
            thread.deploy_with("turns", component, LimitOverrides::default()).await;
            for _ in 0..6 {
                ask(&mut client, request("x: a\r\n").as_bytes()).await;
            }
            assert!(thread.parsed() < 6);
            ask(&mut client, request("x: b\r\n").as_bytes()).await;
            assert_eq!(thread.parsed(), parsed_with_other_headers);
        }
    });
}
