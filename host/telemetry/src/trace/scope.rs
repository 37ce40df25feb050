//! The span that a thread works for, so that work deep inside a request can record spans of its own.
//!
//! A scope is entered by a closure, or by a future each time it is polled. It doesn't follow work to
//! another thread or task by itself: pass [`Scope::current`] on.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nebula_model::trace_context::TraceId;

use super::span::Span;
use super::tracer::Tracer;

thread_local! {
    static CURRENT: RefCell<Option<Scope>> = const { RefCell::new(None) };
}

/// A span that isn't finished, as the parent of others.
#[derive(Clone, Debug)]
pub struct Scope {
    tracer: Tracer,
    parent: Arc<Span>,
}

/// Restores the scope of a thread.
struct Restore(Option<Scope>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl Scope {
    /// Creates the scope of a span.
    pub fn new(tracer: Tracer, parent: Span) -> Self {
        Self { tracer, parent: Arc::new(parent) }
    }

    /// Returns the trace.
    pub fn trace_id(&self) -> TraceId {
        self.parent.trace_id
    }

    /// Returns the scope of the calling thread, if it works for a traced request.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Does `work` for `scope`. Without one, it does the work for none.
    pub fn enter<T>(scope: Option<Self>, work: impl FnOnce() -> T) -> T {
        let _restore = Restore(CURRENT.replace(scope));
        work()
    }

    /// Returns a future that is polled in this scope.
    pub fn follow<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        InScope { scope: self, future: Box::pin(future) }
    }

    /// Records the span that `make` returns. It gets the parent.
    pub fn record(self, make: impl FnOnce(&Span) -> Span) {
        let span = make(&self.parent);
        self.tracer.record(vec![span]);
    }
}

/// A future in a scope.
struct InScope<F> {
    scope: Scope,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let scope = Some(self.scope.clone());
        Scope::enter(scope, || self.future.as_mut().poll(context))
    }
}
