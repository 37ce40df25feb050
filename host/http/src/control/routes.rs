//! The router and the description of every operation, built by the same calls.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};

use super::describe::{DescribeHandler, Description};
use super::endpoints::{Endpoint, Method};

/// Endpoints with their handlers. `S` is the state that the handlers share.
pub(super) struct Routes<S> {
    pub(super) router: Router<S>,
    pub(super) operations: Operations,
}

/// Every operation of the plane, in the order in which they were added.
#[derive(Default)]
pub(super) struct Operations(Vec<Operation>);

/// An endpoint with a function that describes its handler.
pub(super) struct Operation {
    pub(super) endpoint: &'static Endpoint,
    describe: fn(&Endpoint) -> Description,
}

impl Operation {
    pub(super) fn describe(&self) -> Description {
        (self.describe)(self.endpoint)
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    pub(super) fn new() -> Self {
        Self { router: Router::new(), operations: Operations::default() }
    }

    /// Serves `endpoint` with `handler`, and describes it by the handler's types.
    ///
    /// # Panics
    /// If the method and path have a handler already.
    pub(super) fn add<H, Extracted, Arguments>(mut self, endpoint: &'static Endpoint, handler: H) -> Self
    where
        H: Handler<Extracted, S> + DescribeHandler<Arguments>,
        Extracted: 'static,
    {
        self.router = self.router.route(endpoint.path, on(filter(endpoint.method), handler));
        self.operations.0.push(Operation { endpoint, describe: Description::of::<H, Arguments> });
        self
    }

    /// Adds the routes of another resource.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.0.extend(other.operations.0);
        self
    }
}

impl Operations {
    /// Returns the operations of a path of the table.
    pub(super) fn at<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Operation> {
        self.iter().filter(move |operation| operation.endpoint.path == path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.0.iter()
    }
}

fn filter(method: Method) -> MethodFilter {
    match method {
        Method::Get => MethodFilter::GET,
        Method::Put => MethodFilter::PUT,
        Method::Post => MethodFilter::POST,
        Method::Delete => MethodFilter::DELETE,
    }
}
