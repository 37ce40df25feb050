//! Errors of the runtime as problem documents, with the statuses that they may have.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::response::{IntoResponse, Response};
use nebula_runtime::{ClearError, DeployError, ExplainError, NamingError, ResolveError, StoreError};

use super::describe::{DescribeReply, Description, ListedProblem};
use super::events;
use crate::problem::Problem;
use crate::status;

/// An error that has a problem document. `status` decides which.
pub(super) trait AsProblem {
    /// The problems that the error may be, besides those of status 500.
    const PROBLEMS: &'static [ListedProblem];

    fn problem(&self) -> Problem;
}

/// A problem document instead of an answer, for one of the reasons of `E`.
#[derive(Debug)]
pub(super) struct Refusal<E> {
    problem: Problem,
    error: PhantomData<fn() -> E>,
}

impl<E> Refusal<E> {
    pub(super) fn new(problem: Problem) -> Self {
        events::refused(&problem);
        Self::logged(problem)
    }

    /// Creates a refusal whose problem is in the log already.
    pub(super) fn logged(problem: Problem) -> Self {
        Self { problem, error: PhantomData }
    }

    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl<E: AsProblem> From<E> for Refusal<E> {
    fn from(error: E) -> Self {
        Self::new(error.problem())
    }
}

impl<E> IntoResponse for Refusal<E> {
    fn into_response(self) -> Response {
        self.problem.into_response()
    }
}

impl<E: AsProblem> DescribeReply for Refusal<E> {
    fn describe(description: &mut Description) {
        for problem in E::PROBLEMS {
            description.problem(problem);
        }
    }
}

/// No function has the name, or the version.
pub(super) const UNKNOWN: ListedProblem = ListedProblem::new(404, "there is no such function or version");

pub(super) const STORAGE_FULL: ListedProblem =
    ListedProblem::new(507, "the disk is full; nothing has changed");

const STORAGE_LATE: ListedProblem = ListedProblem::new(503, "the store didn't answer in time");

impl AsProblem for Infallible {
    const PROBLEMS: &'static [ListedProblem] = &[];

    fn problem(&self) -> Problem {
        match *self {}
    }
}

/// Only writes fill the disk.
impl AsProblem for StoreError {
    const PROBLEMS: &'static [ListedProblem] = &[STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::store(self)
    }
}

impl AsProblem for ResolveError {
    const PROBLEMS: &'static [ListedProblem] = &[UNKNOWN, STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::resolve(self)
    }
}

impl AsProblem for ClearError {
    const PROBLEMS: &'static [ListedProblem] = &[UNKNOWN, STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::clear(self)
    }
}

impl AsProblem for DeployError {
    const PROBLEMS: &'static [ListedProblem] = &[
        ListedProblem::new(400, "the body isn't a component"),
        ListedProblem::new(
            409,
            "it would break pipelines that call it, another function has its route, or other changes came first",
        ),
        ListedProblem::new(
            422,
            "it isn't a pure function, imports functions that can't be linked into it, is a pipeline whose types \
             don't fit, or has a limit that is too high or a route that it can't have",
        ),
        STORAGE_LATE,
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        status::deploy(self)
    }
}

impl AsProblem for NamingError {
    const PROBLEMS: &'static [ListedProblem] = &[
        UNKNOWN,
        ListedProblem::new(
            409,
            "pipelines call it, and would break, another function has its route, or other changes came first",
        ),
        ListedProblem::new(422, "it is a pipeline that calls itself, or whose types don't fit any more"),
        STORAGE_LATE,
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        status::naming(self)
    }
}

impl AsProblem for ExplainError {
    const PROBLEMS: &'static [ListedProblem] = &[
        UNKNOWN,
        ListedProblem::new(400, "the input doesn't match the function's type"),
        ListedProblem::new(413, "the input is over the function's limit"),
        ListedProblem::new(415, "the function doesn't take this media type"),
        ListedProblem::new(422, "the function takes whole HTTP requests"),
        ListedProblem::new(503, "shed under load, or the store didn't answer in time"),
    ];

    fn problem(&self) -> Problem {
        status::explain(self)
    }
}
