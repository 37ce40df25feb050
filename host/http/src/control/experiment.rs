//! The chart of start times of an experiment, which compares Nebula with containers.
//!
//! Invariant: a request reads this one file, and at most [`CHART_BYTES_MAX`] of it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use axum::extract::State;
use http::StatusCode;

use super::describe::ListedProblem;
use super::endpoints;
use super::refusal::{AsProblem, Refusal};
use super::reply::Svg;
use super::routes::Routes;
use super::state::{BlockingExperiment, ControlState};
use crate::problem::Problem;
use crate::status;

/// The chart in the directory of an experiment.
const CHART: &str = "charts/start-time.svg";

/// The longest chart, bytes. An experiment writes one of some kilobytes.
const CHART_BYTES_MAX: u64 = 1024 * 1024;

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::EXPERIMENT, chart)
}

async fn chart(State(experiment): State<BlockingExperiment>) -> Result<Svg, Refusal<ChartError>> {
    experiment.run(|directory| read(directory.ok_or(ChartError::NoDirectory)?).map(Svg)).await
}

/// Reads the chart of the experiment in this directory.
fn read(directory: &Path) -> Result<Vec<u8>, ChartError> {
    let path = directory.join(CHART);
    // Opening a pipe would wait for its writer.
    if !fs::metadata(&path)?.is_file() {
        return Err(ChartError::Absent);
    }
    let mut chart = Vec::new();
    File::open(&path)?.take(CHART_BYTES_MAX + 1).read_to_end(&mut chart)?;
    if chart.len() as u64 > CHART_BYTES_MAX { Err(ChartError::TooLarge) } else { Ok(chart) }
}

/// The reason why the chart can't be shown.
#[derive(Debug, thiserror::Error)]
enum ChartError {
    #[error("this server shows no experiment")]
    NoDirectory,
    #[error("the directory of `--experiment` has no `{CHART}`")]
    Absent,
    #[error("`{CHART}` in the directory of `--experiment` is over {CHART_BYTES_MAX} bytes")]
    TooLarge,
    #[error("cannot read `{CHART}` in the directory of `--experiment`")]
    Unreadable(#[source] io::Error),
}

impl From<io::Error> for ChartError {
    fn from(error: io::Error) -> Self {
        let is_absent = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if is_absent { Self::Absent } else { Self::Unreadable(error) }
    }
}

impl AsProblem for ChartError {
    const PROBLEMS: &'static [ListedProblem] =
        &[ListedProblem::new(404, "the server shows no experiment, or its directory has no chart")];

    fn problem(&self) -> Problem {
        let hint = match self {
            Self::NoDirectory => {
                "start it with `--experiment DIR`, a directory that `cargo xtask experiment` wrote"
            }
            Self::Absent | Self::TooLarge => "give a directory that `cargo xtask experiment` wrote",
            Self::Unreadable(_) => return status::internal(self),
        };
        Problem::new(StatusCode::NOT_FOUND, "no-experiment", self.to_string()).with("hint", hint)
    }
}
