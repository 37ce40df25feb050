//! Errors of the runtime as problem documents, with the statuses that they may have.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::response::{IntoResponse, Response};
use nebula_runtime::{ClearError, DeployError, ExplainError, NamingError, ResolveError, StoreError};

use super::describe::{DescribeReply, Description};
use crate::problem::Problem;
use crate::status;

/// An error that has a problem document. `status` decides which.
pub(super) trait Refuse {
    /// The statuses that it may have besides 500, and the reason for each.
    const PROBLEMS: &'static [(u16, &'static str)];

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
        Self { problem, error: PhantomData }
    }

    pub(super) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl<E: Refuse> From<E> for Refusal<E> {
    fn from(error: E) -> Self {
        Self::new(error.problem())
    }
}

impl<E> IntoResponse for Refusal<E> {
    fn into_response(self) -> Response {
        self.problem.into_response()
    }
}

impl<E: Refuse> DescribeReply for Refusal<E> {
    fn describe(description: &mut Description) {
        for (status, reason) in E::PROBLEMS {
            description.problem(*status, reason);
        }
    }
}

/// No function has the name, or the version.
pub(super) const UNKNOWN: (u16, &str) = (404, "there is no such function or version");

const STORAGE_FULL: (u16, &str) = (507, "the disk is full; nothing has changed");

const STORAGE_LATE: (u16, &str) = (503, "the store didn't answer in time");

impl Refuse for Infallible {
    const PROBLEMS: &'static [(u16, &'static str)] = &[];

    fn problem(&self) -> Problem {
        match *self {}
    }
}

/// A read fails for no other reason than a defect: only writes fill the disk.
impl Refuse for StoreError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::store(self)
    }
}

impl Refuse for ResolveError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[UNKNOWN, STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::resolve(self)
    }
}

impl Refuse for ClearError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[UNKNOWN, STORAGE_LATE];

    fn problem(&self) -> Problem {
        status::clear(self)
    }
}

impl Refuse for DeployError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[
        (400, "the body isn't a component"),
        (409, "it would break pipelines that call it, or other changes came first"),
        (
            422,
            "it isn't a pure function, imports functions that can't be linked into it, is a pipeline whose types \
             don't fit, or has a limit that is too high",
        ),
        STORAGE_LATE,
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        status::deploy(self)
    }
}

impl Refuse for NamingError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[
        UNKNOWN,
        (409, "pipelines call it, and would break, or other changes came first"),
        (422, "it is a pipeline that calls itself, or whose types don't fit any more"),
        STORAGE_LATE,
        STORAGE_FULL,
    ];

    fn problem(&self) -> Problem {
        status::naming(self)
    }
}

impl Refuse for ExplainError {
    const PROBLEMS: &'static [(u16, &'static str)] = &[
        UNKNOWN,
        (400, "the input doesn't match the function's type"),
        (413, "the input is over the function's limit"),
        (415, "the function doesn't take this media type"),
        (422, "the function takes whole HTTP requests"),
        (503, "shed under load, or the store didn't answer in time"),
    ];

    fn problem(&self) -> Problem {
        status::explain(self)
    }
}
