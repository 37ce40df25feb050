//! Requests that come in parts, as they do over a network.

use super::*;

/// A connection that has been at rest, on which the answer to `request` is known.
async fn knowing(thread: &Thread, request: &[u8]) -> TcpStream {
    let mut client = thread.connect().await;
    for _ in 0..4 {
        ask(&mut client, request).await;
    }
    thread.read();
    client
}

/// All but the last byte, which is the body's, and that.
fn but_the_last(request: &[u8]) -> (&[u8], &[u8]) {
    request.split_at(request.len() - 1)
}

#[test]
fn what_comes_in_parts_is_known_too() {
    run(async {
        let thread = Thread { part_patience: Duration::from_secs(60), ..Thread::start().await };
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [(call("7"), "7"), (call_of("text", &text), &text)] {
            let mut client = knowing(&thread, &request).await;
            // The head is whole in the first of them.
            let head = memchr::memmem::find(&request, b"\r\n\r\n").unwrap() + 4;
            for bytes in [1500, 10_000, 59_000, 70_000] {
                let (head, body) = request.split_at(head);
                for part in std::iter::once(head).chain(body.chunks(bytes)) {
                    client.write_all(part).await.unwrap();
                    pause().await;
                }
                assert_eq!(answer(&mut client).await.1, expected);
            }
            assert_eq!(thread.read(), 0);
        }
    });
}

/// What isn't known is hyper's, as it came, whether it is short or long, right or wrong.
#[test]
fn what_comes_in_parts_and_is_not_known_is_read() {
    run(async {
        let thread = Thread { part_patience: Duration::from_secs(60), ..Thread::start().await };
        let mut client = knowing(&thread, &call("7")).await;
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [
            (call("8"), "8"),
            (call_of("text", &text), &text),
            (call_of("unknown", &text), "unknown-function"),
            (call("wrong"), "invalid-json"),
            (call("9"), "9"),
        ] {
            let (first, last) = but_the_last(&request);
            client.write_all(first).await.unwrap();
            pause().await;
            let (head, body) = ask(&mut client, last).await;
            assert!(body.contains(expected), "{head}{body}");
        }
        assert_eq!(thread.read(), 5);
    });
}

/// hyper has it then, also where that is more than it has room for, and what comes after it.
#[test]
fn a_part_does_not_wait_for_long() {
    run(async {
        let thread = Thread { part_patience: Duration::from_millis(20), ..Thread::start().await };
        let text = format!("\"{}\"", "x".repeat(60_000));
        for (request, expected) in [(call("7"), "7"), (call_of("text", &text), &text)] {
            let mut client = knowing(&thread, &request).await;
            let (first, last) = request.split_at(request.len() - request.len().div_ceil(100));
            client.write_all(first).await.unwrap();
            let read = async {
                while thread.read() == 0 {
                    pause().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
            assert_eq!(ask(&mut client, last).await.1, expected);
            // It is at rest after that.
            let short = call("7");
            for _ in 0..3 {
                assert_eq!(ask(&mut client, &short).await.1, "7");
            }
            assert!(thread.read() < 3);
        }
    });
}

/// It gets what hyper has for it.
#[test]
fn a_part_that_breaks_off_waits_for_nothing() {
    run(async {
        let thread = Thread { part_patience: Duration::from_secs(60), ..Thread::start().await };
        let request = call("7");
        let mut client = knowing(&thread, &request).await;
        client.write_all(but_the_last(&request).0).await.unwrap();
        client.shutdown().await.unwrap();
        let mut last = String::new();
        let read = client.read_to_string(&mut last);
        tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
        assert_eq!(thread.read(), 1, "{last}");
    });
}

/// It is under way.
#[test]
fn a_part_is_answered_though_the_connection_is_to_end() {
    run(async {
        let thread = Thread { part_patience: Duration::from_secs(60), ..Thread::start().await };
        let request = call("7");
        let mut client = knowing(&thread, &request).await;
        let (first, last) = but_the_last(&request);
        client.write_all(first).await.unwrap();
        pause().await;
        let ((), (head, body)) = tokio::join!(thread.connections.drain(), async {
            pause().await;
            ask(&mut client, last).await
        });
        assert_eq!((header(&head, "connection"), body.as_str()), (Some("close"), "7"));
    });
}
