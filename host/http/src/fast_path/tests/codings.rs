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

/// Occupies all threads for work beside calls, until it is dropped.
struct BusyThreads(#[expect(dead_code, reason = "dropping it ends the work")] std::sync::mpsc::Sender<()>);

impl BusyThreads {
    async fn of(shard: &Shard) -> Self {
        let (release, blocked) = std::sync::mpsc::channel();
        let blocked = Arc::new(std::sync::Mutex::new(blocked));
        let started = Arc::new(AtomicUsize::new(0));
        let threads = std::thread::available_parallelism().unwrap().get();
        for _ in 0..threads {
            let (shard, blocked, started) = (shard.clone(), Arc::clone(&blocked), Arc::clone(&started));
            tokio::spawn(async move {
                let work = move || {
                    started.fetch_add(1, Ordering::Relaxed);
                    let _: Result<(), _> = blocked.lock().unwrap().recv();
                };
                shard.run_aside(Duration::from_secs(60), work).await.unwrap();
            });
        }
        while started.load(Ordering::Relaxed) < threads {
            pause().await;
        }
        Self(release)
    }
}

/// Compressing is an optimisation: if no thread is free for it, the answer goes out as it is, and only
/// until one is. A content that was compressed for a cached result before needs no thread.
#[test]
fn answers_that_find_no_thread_are_sent_as_they_are() {
    run(async {
        let thread = Thread::start().await;
        let request = |bytes: usize| {
            let headers = "accept: text/plain\r\naccept-encoding: gzip";
            format!("GET /f/long?n={bytes} HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n").into_bytes()
        };
        let coding = |head: &str| header(head, "content-encoding").map(str::to_owned);
        let (known, new, short) = (request(100_000), request(100_001), request(5000));
        let mut by_hyper = thread.connect_to_hyper().await;
        let mut kept = String::new();
        for _ in 0..3 {
            let (head, body) = ask(&mut by_hyper, &known).await;
            assert_eq!(coding(&head).as_deref(), Some("gzip"), "{head}");
            kept = body;
        }
        let busy = BusyThreads::of(&thread.shard).await;
        let (head, body) = ask(&mut by_hyper, &known).await;
        assert_eq!((coding(&head).as_deref(), body), (Some("gzip"), kept), "{head}");
        assert_eq!(coding(&ask(&mut by_hyper, &short).await.0).as_deref(), Some("gzip"));
        let mut client = thread.connect().await;
        for _ in 0..4 {
            let (head, body) = ask(&mut client, &new).await;
            assert_eq!((coding(&head), body.len()), (None, 100_001), "{head}");
            assert!(!header(&head, "etag").unwrap().contains("gzip"), "{head}");
            assert_eq!(header(&head, "vary"), Some("accept, accept-encoding, prefer"), "{head}");
        }
        drop(busy);
        let (head, body) = ask(&mut client, &new).await;
        assert_eq!(coding(&head).as_deref(), Some("gzip"), "{head}");
        assert!(header(&head, "etag").unwrap().ends_with(";gzip\"") && body.len() < 1000, "{head}");
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
