//! The console: its page and the page's assets.
//!
//! Both are public. The page has no data: it asks for them with its session. An asset is compressed when
//! a client first asks for it in a coding, and kept.

use std::convert::Infallible;
use std::sync::{LazyLock, OnceLock};

use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use nebula_console::{ASSETS, Asset, PAGE};

use super::describe::{BodyContent, DescribeArgument, DescribeReply, Description, ListedProblem};
use super::endpoints;
use super::refusal::{AsProblem, Refusal};
use super::routes::Routes;
use super::state::{BlockingRuntime, ControlState};
use crate::accept_encoding;
use crate::coding::Coding;
use crate::compression;
use crate::etag::EntityTag;
use crate::problem::Problem;
use crate::status;
use crate::wire::schema::string;

/// The policy for the page in a browser. Its frames show answers of functions.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; \
     frame-src 'self' blob: data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");

/// The names of assets other than the page.
const ASSET_PATTERN: &str = "^[A-Za-z0-9_.-]+$";

/// All assets, as they are sent.
static SENT: LazyLock<Vec<SentAsset>> = LazyLock::new(|| ASSETS.iter().map(SentAsset::new).collect());

/// An asset, as it is sent.
struct SentAsset {
    asset: &'static Asset,
    etag: EntityTag,
    /// The content in each coding that a client has asked for.
    coded: [OnceLock<Bytes>; Coding::ALL.len()],
}

pub(super) fn routes() -> Routes<ControlState> {
    Routes::new().add(&endpoints::CONSOLE, page).add(&endpoints::CONSOLE_ASSET, asset)
}

async fn page(
    State(runtime): State<BlockingRuntime>,
    asks: AssetRequest,
) -> Result<PageReply, Refusal<NoAsset>> {
    runtime.run(move |_| reply(PAGE, &asks, REVALIDATE).map(PageReply)).await
}

async fn asset(
    State(runtime): State<BlockingRuntime>,
    AssetPath(name): AssetPath,
    asks: AssetRequest,
) -> Result<AssetReply, Refusal<NoAsset>> {
    let reply = runtime.run(move |_| match name.as_str() {
        // Only under `/`: its name stays the same when its content changes.
        PAGE => Err(NoAsset(name)),
        asset => reply(asset, &asks, IMMUTABLE).map(AssetReply),
    });
    reply.await
}

/// The name of an asset, from a path with `{asset}`.
struct AssetPath(String);

impl<S: Sync> FromRequestParts<S> for AssetPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let parameters = RawPathParams::from_request_parts(parts, &()).await;
        let name = parameters.ok().and_then(|all| all.iter().next().map(|(_, name)| name.to_owned()));
        name.map(Self).ok_or_else(|| status::no_such_path(parts.uri.path()))
    }
}

impl DescribeArgument for AssetPath {
    fn describe(description: &mut Description) {
        description.path_parameter("asset", string(ASSET_PATTERN));
    }
}

/// The form in which a client wants an asset.
struct AssetRequest {
    coding: Option<Coding>,
    if_none_match: Vec<HeaderValue>,
}

impl<S: Sync> FromRequestParts<S> for AssetRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let if_none_match = parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect();
        Ok(Self { coding: accept_encoding::preferred(&parts.headers), if_none_match })
    }
}

impl DescribeArgument for AssetRequest {
    fn describe(description: &mut Description) {
        description.header_parameter("If-None-Match", "the tags of the content that the client has");
    }
}

/// Answers with an asset, which caches keep as `cache_control` says.
fn reply(name: &str, asks: &AssetRequest, cache_control: HeaderValue) -> Result<Response, NoAsset> {
    let sent = SENT.iter().find(|sent| sent.asset.name == name);
    let mut response = sent.ok_or_else(|| NoAsset(name.to_owned()))?.reply(asks);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, cache_control);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let opener_policy = HeaderName::from_static("cross-origin-opener-policy");
    headers.insert(opener_policy, HeaderValue::from_static("same-origin"));
    Ok(response)
}

impl SentAsset {
    fn new(asset: &'static Asset) -> Self {
        Self { asset, etag: EntityTag::of(asset.content), coded: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn reply(&self, AssetRequest { coding, if_none_match }: &AssetRequest) -> Response {
        let content = Bytes::from_static(self.asset.content);
        let mut response = Response::new(Body::empty());
        let media_type = HeaderValue::from_static(self.asset.media_type);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        let (mut parts, _) = response.into_parts();
        let is_coded = compression::is_worth_it(&parts, content.len());
        let coded = coding.filter(|_| is_coded).and_then(|coding| Some((coding, self.coded(coding)?)));
        let (etag, content) = match coded {
            Some((coding, coded)) => {
                parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
                (self.etag.in_coding(coding), coded)
            }
            None => (self.etag.clone(), content),
        };
        if is_coded {
            parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        let is_there = if_none_match.iter().any(|line| etag.is_named_in(line));
        parts.headers.insert(header::ETAG, etag.into());
        if is_there {
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_ENCODING);
            return Response::from_parts(parts, Body::empty());
        }
        Response::from_parts(parts, Body::from(content))
    }

    /// Returns the content in a coding; `None` if there is no memory for it.
    fn coded(&self, coding: Coding) -> Option<Bytes> {
        let kept = &self.coded[coding as usize];
        match kept.get() {
            Some(coded) => Some(coded.clone()),
            None => {
                let coded = Bytes::from(coding.encode(self.asset.content).ok()?);
                Some(kept.get_or_init(|| coded).clone())
            }
        }
    }
}

/// The page.
struct PageReply(Response);

impl IntoResponse for PageReply {
    fn into_response(self) -> Response {
        self.0
    }
}

impl DescribeReply for PageReply {
    fn describe(description: &mut Description) {
        let html = BodyContent { media_type: "text/html", ..BodyContent::text() };
        description.reply(StatusCode::OK, "the page", [html]);
        description.reply(StatusCode::NOT_MODIFIED, "the client has it", []);
    }
}

/// An asset of the page.
struct AssetReply(Response);

impl IntoResponse for AssetReply {
    fn into_response(self) -> Response {
        self.0
    }
}

impl DescribeReply for AssetReply {
    fn describe(description: &mut Description) {
        let types = ["text/css", "text/javascript", "text/plain"];
        let contents = types.map(|media_type| BodyContent { media_type, ..BodyContent::text() });
        description.reply(StatusCode::OK, "the asset; also images", contents);
        description.reply(StatusCode::NOT_MODIFIED, "the client has it", []);
    }
}

/// The console has no asset of this name.
struct NoAsset(String);

impl AsProblem for NoAsset {
    const PROBLEMS: &'static [ListedProblem] =
        &[ListedProblem::new(404, "the console of this version has no such asset")];

    fn problem(&self) -> Problem {
        status::no_such_path(&format!("/console/{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn body_of(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    /// An asset of this length that is text.
    fn asset(bytes: usize) -> SentAsset {
        let content = Vec::leak(b"let x = 1;\n".iter().copied().cycle().take(bytes).collect());
        let asset = Asset { name: "x-123456.js", media_type: "text/javascript; charset=utf-8", content };
        SentAsset::new(Box::leak(Box::new(asset)))
    }

    /// Each coding has a tag of its own, and its content is the asset.
    #[tokio::test]
    async fn assets_are_sent_in_each_coding_and_not_again() {
        let sent = asset(20_000);
        let mut tags = std::collections::BTreeSet::new();
        for coding in Coding::ALL.into_iter().map(Some).chain([None]) {
            let reply = || sent.reply(&AssetRequest { coding, if_none_match: Vec::new() });
            let first = reply();
            assert_eq!(first.headers()[header::VARY], "accept-encoding");
            let etag = first.headers()[header::ETAG].clone();
            assert!(tags.insert(etag.clone()), "{etag:?}");
            let name =
                first.headers().get(header::CONTENT_ENCODING).map(|it| it.to_str().unwrap().to_owned());
            assert_eq!(name.as_deref(), coding.map(Coding::name));
            let (body, again) = (body_of(first).await, body_of(reply()).await);
            assert_eq!(body, again);
            match coding {
                Some(coding) => {
                    assert!(body.len() < 2000, "{}", body.len());
                    assert_eq!(coding.decode(&body, 20_000).unwrap(), sent.asset.content);
                }
                None => assert_eq!(body, sent.asset.content),
            }
            let if_none_match = vec![HeaderValue::from_static("\"other\""), etag.clone()];
            let has = sent.reply(&AssetRequest { coding, if_none_match });
            assert_eq!((has.status(), &has.headers()[header::ETAG]), (StatusCode::NOT_MODIFIED, &etag));
            assert!(body_of(has).await.is_empty());
        }
    }

    #[tokio::test]
    async fn a_short_asset_is_sent_as_it_is() {
        let sent = asset(100);
        let reply = sent.reply(&AssetRequest { coding: Some(Coding::Gzip), if_none_match: Vec::new() });
        assert!(!reply.headers().contains_key(header::CONTENT_ENCODING));
        assert!(!reply.headers().contains_key(header::VARY));
        assert_eq!(body_of(reply).await.len(), 100);
    }
}
