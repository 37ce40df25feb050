//! The metrics of the server, for scrapers.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use super::describe::{BodyContent, DescribeArgument, DescribeReply, Description};
use super::endpoints;
use super::refusal::Refusal;
use super::routes::Routes;
use super::state::BlockingMetrics;
use crate::accept::prefers_openmetrics;
use crate::metrics::Format;

pub(super) fn routes<S>() -> Routes<S>
where
    S: Clone + Send + Sync + 'static,
    BlockingMetrics: axum::extract::FromRef<S>,
{
    Routes::new().add(&endpoints::METRICS, scrape)
}

async fn scrape(
    State(metrics): State<BlockingMetrics>,
    format: Format,
) -> Result<Exposition, Refusal<Infallible>> {
    Ok(Exposition { text: metrics.encode(format).await?, format })
}

impl<S: Sync> FromRequestParts<S> for Format {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let lines = parts.headers.get_all(header::ACCEPT).iter();
        let lines: Vec<_> = lines.filter_map(|line| line.to_str().ok()).collect();
        let openmetrics = prefers_openmetrics(Some(&lines.join(",")));
        Ok(if openmetrics { Self::OpenMetrics } else { Self::Prometheus })
    }
}

impl DescribeArgument for Format {
    /// A document doesn't list `Accept`: the media types of the answer do it.
    fn describe(_: &mut Description) {}
}

/// All metrics as text.
pub(super) struct Exposition {
    text: String,
    format: Format,
}

impl IntoResponse for Exposition {
    fn into_response(self) -> Response {
        let media_type = HeaderValue::from_static(self.format.media_type());
        ([(header::CONTENT_TYPE, media_type)], self.text).into_response()
    }
}

impl DescribeReply for Exposition {
    fn describe(description: &mut Description) {
        let openmetrics = BodyContent { media_type: "application/openmetrics-text", ..BodyContent::text() };
        description.reply(StatusCode::OK, "the metrics", [BodyContent::text(), openmetrics]);
    }
}
