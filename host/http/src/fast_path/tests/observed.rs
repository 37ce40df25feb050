//! Observers are told of cached responses as they are of those that hyper writes.

use std::sync::{Mutex, PoisonError};

use http::StatusCode;

use super::*;
use crate::observe::{ObservedCall, ObservedSource, Observer, Plane, PlaneObservers};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Keeps the requests, except those with the status 304.
#[derive(Default)]
struct Recorder(Mutex<Vec<ObservedCall>>);

impl Recorder {
    fn take(&self) -> Vec<ObservedCall> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Recorder {
    fn wants(&self, plane: Plane, status: Option<StatusCode>) -> bool {
        assert_eq!(plane, Plane::Data);
        status != Some(StatusCode::NOT_MODIFIED)
    }

    fn observe(&self, call: &ObservedCall) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call.clone());
    }
}

#[test]
fn hits_are_observed() {
    run(async {
        let thread = Thread::start().await;
        let recorder = Arc::new(Recorder::default());
        let observers: Arc<[Arc<dyn Observer>]> = Arc::new([Arc::clone(&recorder) as Arc<dyn Observer>]);
        let peer = "[::ffff:192.0.2.1]:5000".parse().unwrap();
        let observer = PlaneObservers::of(Plane::Data, &observers).unwrap().of_connection(peer);
        let mut client = thread.connect_with(None, &thread.fast_path.observed_by(Some(observer))).await;
        let request = |more: &str| {
            format!(
                "POST /f/same?a=1 HTTP/1.1\r\nhost: a\r\nuser-agent: b/1\r\n{more}content-length: 2\r\n\r\n77"
            )
        };
        let (mut etag, mut seen) = (String::new(), Vec::new());
        for _ in 0..3 {
            ask(&mut client, request("").as_bytes()).await;
        }
        thread.parsed();
        recorder.take();
        let traceparent = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01\r\n");
        for more in ["", "x-request-id: mine\r\n", &traceparent, "referer: c\r\ntraceparent: 00-x\r\n"] {
            let whole = request(more);
            let (head, _) = ask(&mut client, whole.as_bytes()).await;
            etag = header(&head, "etag").unwrap().to_owned();
            seen.push(header(&head, "x-request-id").unwrap().to_owned());
            // Likewise in parts.
            let (first, last) = whole.split_at(whole.len() - 1);
            client.write_all(first.as_bytes()).await.unwrap();
            pause().await;
            let (head, _) = ask(&mut client, last.as_bytes()).await;
            seen.push(header(&head, "x-request-id").unwrap().to_owned());
        }
        assert_eq!(thread.parsed(), 0);
        let calls = recorder.take();
        assert_eq!(calls.len(), 8);
        for (index, (call, id)) in calls.iter().zip(&seen).enumerate() {
            let ObservedCall { peer, request, answer, .. } = call;
            let answer = answer.as_ref().unwrap();
            assert_eq!(peer.to_string(), "192.0.2.1:5000");
            assert_eq!((request.method.as_str(), request.bytes), ("POST", Some(2)));
            assert_eq!(request.target.as_ref().unwrap(), "/f/same?a=1");
            assert_eq!(request.user_agent.as_ref().unwrap(), "b/1");
            assert_eq!(request.referer.is_some(), index >= 6);
            let trace = request.trace_id.map(|trace| trace.to_string());
            assert_eq!(trace.as_deref(), matches!(index, 4 | 5).then_some(TRACE));
            assert_eq!((answer.status, answer.bytes), (StatusCode::OK, Some(2)));
            assert_eq!(answer.request_id.as_ref().unwrap(), id);
            assert_eq!(answer.source, Some(ObservedSource::Hit));
            let function = answer.function.as_ref().unwrap();
            assert_eq!((function.name.as_str(), function.version.as_str()), ("same", "v1"));
        }
        assert_eq!((seen[2].as_str(), seen[3].as_str()), ("mine", "mine"));
        // The observer doesn't want these.
        let get = format!("GET /f/same?n=77 HTTP/1.1\r\nhost: a\r\nif-none-match: {etag}\r\n\r\n");
        for _ in 0..4 {
            let (head, _) = ask(&mut client, get.as_bytes()).await;
            assert!(head.starts_with("HTTP/1.1 304 "), "{head}");
        }
        assert_eq!((thread.parsed(), recorder.take().len()), (2, 0));
    });
}
