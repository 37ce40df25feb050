//! Functions of the http form, which see every header: they are known by their callers.

use super::*;

const HTTP_FORM: &str = include_str!("http_form.wat");

fn request(headers: &str) -> String {
    format!("GET /f/sees HTTP/1.1\r\nhost: a\r\n{headers}\r\n")
}

#[test]
fn what_sees_headers_is_known_by_them() {
    run(async {
        let thread = Thread::start().await;
        thread.deploy_with("sees", HTTP_FORM, LimitOverrides::default()).await;
        let mut client = thread.connect().await;
        // Each takes one time more than what sees none: it isn't known before the first answer that it sees them.
        for headers in ["x: a\r\n", "x: b\r\n", "traceparent: 00-1\r\n"] {
            for _ in 0..5 {
                let (head, _) = ask(&mut client, request(headers).as_bytes()).await;
                assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            }
            assert!(thread.read() < 5, "{headers}");
        }
        // Beside one another.
        for headers in ["x: b\r\n", "x: a\r\n", "traceparent: 00-1\r\n", "x: a\r\n"] {
            let (head, _) = ask(&mut client, request(headers).as_bytes()).await;
            assert_eq!(header(&head, "cache-status"), Some("nebula; hit"), "{headers}");
        }
        assert_eq!(thread.read(), 0);
    });
}

/// Neither what it answers to them nor that they asked is kept here.
#[test]
fn who_says_who_they_are_is_read() {
    run(async {
        let thread = Thread::start().await;
        thread.deploy_with("sees", HTTP_FORM, LimitOverrides::default()).await;
        let mut client = thread.connect().await;
        for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
            for _ in 0..6 {
                ask(&mut client, request(&format!("{name}: a\r\n")).as_bytes()).await;
            }
            assert_eq!(thread.read(), 6, "{name}");
        }
    });
}

/// It isn't known by less than it sees, nor what sees less by more.
#[test]
fn another_form_is_known_otherwise() {
    run(async {
        let thread = Thread::start().await;
        let mut client = thread.connect().await;
        let request = |header: &str| format!("GET /f/turns?n=7 HTTP/1.1\r\nhost: a\r\n{header}\r\n");
        for (component, read_by_another) in [(SAME, 0), (HTTP_FORM, 1), (SAME, 0)] {
            thread.deploy_with("turns", component, LimitOverrides::default()).await;
            for _ in 0..6 {
                ask(&mut client, request("x: a\r\n").as_bytes()).await;
            }
            assert!(thread.read() < 6);
            ask(&mut client, request("x: b\r\n").as_bytes()).await;
            assert_eq!(thread.read(), read_by_another);
        }
    });
}
