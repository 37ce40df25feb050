//! Requests that arrive in parts, as they do over a network.

use super::*;

/// Opens a connection and repeats `request` until its response is cached.
async fn connect_and_fill(thread: &Thread, request: &[u8]) -> TcpStream {
    let mut client = thread.connect().await;
    for _ in 0..4 {
        ask(&mut client, request).await;
    }
    thread.parsed();
    client
}

/// Splits off the last byte, which is part of the body.
fn split_last(request: &[u8]) -> (&[u8], &[u8]) {
    request.split_at(request.len() - 1)
}

#[test]
fn request_in_parts_gets_the_cached_response() {
    run(async {
        let thread = Thread::with_partial_timeout(Duration::from_secs(60)).await;
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [(call("7"), "7"), (call_of("text", &text), &text)] {
            let mut client = connect_and_fill(&thread, &request).await;
            // The first part contains the whole head.
            let head = memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4;
            for bytes in [1500, 10_000, 59_000, 70_000] {
                let (head, body) = request.split_at(head);
                for part in std::iter::once(head).chain(body.chunks(bytes)) {
                    client.write_all(part).await.unwrap();
                    pause().await;
                }
                assert_eq!(answer(&mut client).await.1, expected);
            }
            assert_eq!(thread.parsed(), 0);
        }
    });
}

/// hyper gets the bytes of a miss unchanged: short or long, valid or not.
#[test]
fn request_in_parts_without_a_cached_response_is_parsed() {
    run(async {
        let thread = Thread::with_partial_timeout(Duration::from_secs(60)).await;
        let mut client = connect_and_fill(&thread, &call("7")).await;
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [
            (call("8"), "8"),
            (call_of("text", &text), &text),
            (call_of("unknown", &text), "unknown-function"),
            (call("wrong"), "invalid-json"),
            (call("9"), "9"),
        ] {
            let (first, last) = split_last(&request);
            client.write_all(first).await.unwrap();
            pause().await;
            let (head, body) = ask(&mut client, last).await;
            assert!(body.contains(expected), "{head}{body}");
        }
        assert_eq!(thread.parsed(), 5);
    });
}

/// hyper gets a partial request at the timeout, even if it is longer than hyper's buffer, and then
/// the rest.
#[test]
fn partial_request_times_out() {
    run(async {
        let thread = Thread::with_partial_timeout(Duration::from_millis(20)).await;
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [(call("7"), "7"), (call_of("text", &text), &text)] {
            let mut client = connect_and_fill(&thread, &request).await;
            let (first, last) = request.split_at(request.len() - request.len().div_ceil(100));
            client.write_all(first).await.unwrap();
            let parsed = async {
                while thread.parsed() == 0 {
                    pause().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), parsed).await.unwrap();
            assert_eq!(ask(&mut client, last).await.1, expected);
            // The connection is idle again after the response.
            let short = call("7");
            for _ in 0..3 {
                assert_eq!(ask(&mut client, &short).await.1, "7");
            }
            assert!(thread.parsed() < 3);
        }
    });
}

/// The client closes its side in the middle of a request: hyper handles it at once.
#[test]
fn partial_request_of_a_closed_connection_does_not_wait() {
    run(async {
        let thread = Thread::with_partial_timeout(Duration::from_secs(60)).await;
        let request = call("7");
        let mut client = connect_and_fill(&thread, &request).await;
        client.write_all(split_last(&request).0).await.unwrap();
        client.shutdown().await.unwrap();
        let mut last = String::new();
        let read = client.read_to_string(&mut last);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        assert_eq!(thread.parsed(), 1, "{last}");
    });
}

/// A partial request counts as in flight when the server drains.
#[test]
fn partial_request_is_answered_while_draining() {
    run(async {
        let thread = Thread::with_partial_timeout(Duration::from_secs(60)).await;
        let request = call("7");
        let mut client = connect_and_fill(&thread, &request).await;
        let (first, last) = split_last(&request);
        client.write_all(first).await.unwrap();
        pause().await;
        let ((), (head, body)) = tokio::join!(thread.connections.drain(), async {
            pause().await;
            ask(&mut client, last).await
        });
        assert_eq!((header(&head, "connection"), body.as_str()), (Some("close"), "7"));
    });
}
