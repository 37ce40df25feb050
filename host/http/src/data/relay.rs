//! Calls that arrive at the control plane. They run on the threads of the data plane.
//!
//! ```text
//! control --(CallRelay)--> a thread of the data plane --(call)--> the answer --> control
//! ```
//!
//! So they are calls like all others: with the same answers, lanes, limits, caches and counts. The
//! control plane's thread runs no function. The span of its request gets the phases and steps of the
//! call, which the answer brings along.
//!
//! Invariants:
//! * All calls of a function go to the same thread, which has it loaded and prepared after the first.
//! * A function doesn't see the credentials of the request, which are an operator's.
//! * A call whose client leaves is cancelled.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Response, header};
use nebula_runtime::SegmentRoute;
use nebula_runtime::id::FunctionRef;
use nebula_telemetry::trace::Scope;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{CallHead, DataPlane, ReplyWithResult, answer_of, call};
use crate::problem::Problem;
use crate::trailers::{self, SentBody};
use crate::{body, spans, status};

/// The calls that wait for a thread to take them. Further ones wait in the control plane.
const WAITING_MAX: usize = 64;

/// A call of the function that `reference` names.
pub(crate) struct CallByName {
    pub(crate) reference: FunctionRef,
    pub(crate) parts: Parts,
    pub(crate) request_id: HeaderValue,
    pub(crate) body: Body,
    /// The span of the request, if it is traced.
    pub(crate) scope: Option<Scope>,
}

/// A call on its way, and the way back.
struct RelayedCall {
    call: CallByName,
    reply: oneshot::Sender<Response<SentBody>>,
}

/// The way to the threads of the data plane. Cheap to clone.
#[derive(Clone)]
pub(crate) struct CallRelay(Arc<[mpsc::Sender<RelayedCall>]>);

/// The calls for one thread of the data plane.
pub(crate) struct RelayedCalls(mpsc::Receiver<RelayedCall>);

/// Returns the way to a number of threads, and its end on each of them.
pub(crate) fn relay(threads: usize) -> (CallRelay, Vec<RelayedCalls>) {
    let (senders, receivers): (Vec<_>, _) = (0..threads)
        .map(|_| {
            let (sender, receiver) = mpsc::channel(WAITING_MAX);
            (sender, RelayedCalls(receiver))
        })
        .unzip();
    (CallRelay(senders.into()), receivers)
}

impl CallRelay {
    /// Makes a call and returns its answer.
    ///
    /// # Errors
    /// The problem to answer with, if the server stops.
    pub(crate) async fn call(&self, call: CallByName) -> Result<Response<SentBody>, Problem> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&call.reference.name);
        let threads = u64::try_from(self.0.len()).unwrap_or(1).max(1);
        let thread = usize::try_from(hash % threads).ok().and_then(|index| self.0.get(index));
        let (reply, answered) = oneshot::channel();
        let sent = match thread {
            Some(thread) => thread.send(RelayedCall { call, reply }).await.is_ok(),
            None => false,
        };
        match sent {
            true => answered.await.map_err(|_| status::stopping()),
            false => Err(status::stopping()),
        }
    }
}

impl RelayedCalls {
    /// Makes the calls on this thread, until every [`CallRelay`] is dropped and all are answered.
    pub(crate) async fn serve(mut self, plane: Arc<DataPlane>) {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                relayed = self.0.recv() => match relayed {
                    Some(relayed) => drop(running.spawn(serve_one(Arc::clone(&plane), relayed))),
                    None => break,
                },
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }
}

async fn serve_one(plane: Arc<DataPlane>, RelayedCall { call, mut reply }: RelayedCall) {
    tokio::select! {
        answer = answer(&plane, call) => {
            // The client may have left.
            let _ = reply.send(answer);
        }
        () = reply.closed() => {}
    }
}

/// Calls a function as `POST /f/{reference}` does.
async fn answer(
    plane: &DataPlane,
    CallByName { reference, mut parts, request_id, mut body, scope }: CallByName,
) -> Response<SentBody> {
    parts.headers.remove(header::AUTHORIZATION);
    parts.headers.remove(header::COOKIE);
    let mut reply = match body::check(&parts) {
        Ok(present) => {
            let compression = plane.compression;
            let (request_id, subpath) = (&request_id, "");
            let sampled = scope.as_ref().map(Scope::trace_id);
            let head = CallHead { parts: &parts, present, subpath, compression, request_id, sampled };
            let call = call_by_name(plane, reference, &head, &mut body);
            match scope {
                Some(scope) => {
                    let ReplyWithResult { mut reply, call, result: _ } = scope.follow(call).await;
                    spans::attach_call(&mut reply, call);
                    reply
                }
                None => call.await.reply,
            }
        }
        Err(problem) => problem.into_reply(),
    };
    body::discard(&parts.headers, body).await;
    let trailers = trailers::announce(&mut reply, &parts.headers, false);
    trailers::send(reply, trailers)
}

async fn call_by_name(
    plane: &DataPlane,
    reference: FunctionRef,
    head: &CallHead<'_>,
    body: &mut Body,
) -> ReplyWithResult {
    let function = match plane.shard.find(&reference).await {
        Ok(function) => function,
        Err(error) => return status::resolve(&error).into_reply().into(),
    };
    let route = SegmentRoute { function, selector: reference.selector };
    let outcome = call(plane, &route, head, body).await;
    answer_of(outcome, &route.function)
}
