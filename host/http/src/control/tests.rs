//! The plane as a whole: every endpoint is served, described, guarded, and off the plane's thread.

mod browsers;

use std::collections::BTreeSet;
use std::sync::mpsc;

use axum::response::Response;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use nebula_runtime::limits::{HostLimits, Limits};
use nebula_runtime::token::TokenScope;
use nebula_runtime::{Codegen, Compiler, Followers, Runtime, RuntimeConfig, Settings, Shard};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::{spawn_blocking, yield_now};

use super::endpoints::{ALL, Endpoint, Method, Scope};
use super::token::Token;
use super::*;
use crate::bodies::BodyMemory;
use crate::data::DataPlane;
use crate::data::relay::relay;

/// A function of one parameter.
const COMPONENT: &str = r#"(component
    (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
    (core instance $i (instantiate $m))
    (func (export "handle") (param "n" u32) (result u32) (canon lift (core func $i "handle"))))"#;

/// The value of an `Authorization` header with the built-in token.
const ADMIN: &str = "Bearer secret";

/// A plane with the function `f`, the pipeline `p` and the token `f`. Its built-in token is `secret`.
async fn plane() -> (ControlPlane, TempDir) {
    let (plane, _, data_dir) = plane_with_access().await;
    (plane, data_dir)
}

/// The same, with its tokens.
async fn plane_with_access() -> (ControlPlane, Access, TempDir) {
    let data_dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::open(RuntimeConfig {
        data_dir: data_dir.path().to_owned(),
        compiler: Compiler::InProcess(Codegen::Baseline),
        limits: Limits::default(),
        host_limits: HostLimits::default(),
        signer: None,
        verify_share: 0.0,
        alarm: |_| (),
    });
    let runtime = runtime.unwrap();
    let (settings, followers) = (Settings::default(), Followers::default());
    let component = wat::parse_str(COMPONENT).unwrap();
    // Two versions each, so that a rollback finds an earlier one.
    for deadline_ms in [None, std::num::NonZeroU64::new(500)] {
        let mut settings = settings.clone();
        settings.limits.deadline_ms = deadline_ms;
        runtime
            .deploy("f".parse().unwrap(), component.clone().into(), settings.clone(), followers)
            .await
            .unwrap();
        let pipeline = serde_json::from_value(json!({"steps": ["f"]})).unwrap();
        runtime
            .deploy_pipeline(&"p".parse().unwrap(), &pipeline, &settings.clone().into(), followers)
            .unwrap();
    }
    let calls_url = CallsUrl::new(None, "127.0.0.1:8080".parse().unwrap());
    std::fs::write(Token::path(data_dir.path()), "secret").unwrap();
    let access = Access::open(data_dir.path()).unwrap();
    access.create("f".parse().unwrap(), TokenScope::Read, None, 1).unwrap();
    let metrics = Arc::new(Metrics::new(runtime.clone(), Vec::new(), BodyMemory::new(), 1, "1.0.0"));
    let (calls, threads) = relay(1);
    let data_plane = Arc::new(DataPlane::new(Shard::new(runtime.clone()).unwrap(), BodyMemory::new()));
    for thread in threads {
        tokio::spawn(thread.serve(Arc::clone(&data_plane)));
    }
    let config = ControlPlaneConfig {
        runtime,
        access: access.clone(),
        console_hosts: vec!["nebula".parse().unwrap()],
        calls_url,
        metrics,
        calls,
        tracer: None,
        experiment: None,
    };
    (ControlPlane::new(config), access, data_dir)
}

/// The name of an asset that the page of the console names.
fn asset() -> &'static str {
    nebula_console::ASSETS.iter().find(|asset| asset.name != nebula_console::PAGE).unwrap().name
}

/// A request that an endpoint accepts.
fn request(endpoint: &Endpoint, authorization: Option<&str>) -> Request<Full<Bytes>> {
    let component = wat::parse_str(COMPONENT).unwrap();
    let parameter = match endpoint.path {
        path if path.contains("{digest}") => nebula_runtime::id::Digest::of(&component).to_string(),
        path if path.starts_with("/api/v1/pipelines") => "p".to_owned(),
        path if path.starts_with("/console/") => asset().to_owned(),
        _ => "f".to_owned(),
    };
    let body = match (endpoint.method, endpoint.path) {
        (Method::Put, "/api/v1/functions/{name}" | "/api/v1/components/{digest}") => component,
        (Method::Put, "/api/v1/projects/{name}") | (_, "/api/v1/import") => b"{}".to_vec(),
        (Method::Put, _) | (_, "/api/v1/pipelines/{name}/check") => br#"{"steps": ["f", "f"]}"#.to_vec(),
        (_, path) if path.ends_with("/explain") || path.ends_with("/call") => b"1".to_vec(),
        (Method::Post, "/api/v1/tokens") => br#"{"name": "new", "scope": "read"}"#.to_vec(),
        (Method::Post, "/api/v1/session") => br#"{"token": "secret"}"#.to_vec(),
        _ => Vec::new(),
    };
    let mut request = Request::builder()
        .method(endpoint.method.as_str())
        .uri(endpoint.path_of(&parameter))
        .header(header::HOST, "nebula")
        .header(header::ORIGIN, "http://nebula")
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    request.body(Full::new(body.into())).unwrap()
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// The document of a plane, without functions.
fn document() -> Value {
    super::openapi::document(&routes().operations, &[], "http://calls.example").unwrap()
}

#[tokio::test]
async fn every_endpoint_without_a_valid_token_is_401_unless_it_is_public() {
    let (plane, access, _data_dir) = plane_with_access().await;
    let create = |name: &str| {
        let created = access.create(name.parse().unwrap(), TokenScope::Admin, Some(1), 1).unwrap();
        created.secret.bearer()
    };
    let (expired, revoked) = (create("expired"), create("revoked"));
    access.revoke(&"revoked".parse().unwrap()).unwrap();
    let (missing, invalid) = (r#"Bearer realm="nebula""#, r#"Bearer realm="nebula", error="invalid_token""#);
    for endpoint in ALL {
        for (authorization, challenge, kind) in [
            (None, missing, "unauthorized"),
            (Some(""), missing, "unauthorized"),
            (Some("Bearer "), missing, "unauthorized"),
            (Some("Basic eDp5"), missing, "unauthorized"),
            (Some("Bearer wrong"), invalid, "unauthorized"),
            (Some(revoked.as_str()), invalid, "unauthorized"),
            (Some(expired.as_str()), invalid, "token-expired"),
        ] {
            let response = plane.handle(request(endpoint, authorization), None).await;
            let label = format!("{} {authorization:?}", endpoint.operation_id());
            match endpoint.scope {
                Scope::Public => assert!(response.status().is_success(), "{label}"),
                Scope::Optional if authorization.is_none() => {
                    assert_eq!(response.status(), StatusCode::NO_CONTENT, "{label}");
                }
                Scope::Optional | Scope::Read | Scope::Invoke | Scope::Admin => {
                    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{label}");
                    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge, "{label}");
                    let problem = json_of(response).await;
                    assert_eq!(problem["type"], format!("urn:nebula:problem:{kind}"), "{label}");
                }
            }
        }
    }
}

/// Every endpoint with a token of every scope.
#[tokio::test]
async fn a_token_may_use_the_endpoints_that_its_scope_includes_and_no_other() {
    // What each endpoint allows is decided here a second time, so that a mistake in the table shows.
    let scope_of = |endpoint: &Endpoint| match (endpoint.method, endpoint.path) {
        (_, "/healthz" | "/" | "/console/{asset}") | (Method::Post | Method::Get, "/api/v1/session") => None,
        (_, "/api/v1/session") => Some(TokenScope::Read),
        (Method::Post, path) if path.ends_with("/explain") || path.ends_with("/call") => {
            Some(TokenScope::Invoke)
        }
        (Method::Post, path) if path.ends_with("/check") => Some(TokenScope::Read),
        (_, path) if path.starts_with("/api/v1/tokens") || path.starts_with("/api/v1/inputs") => {
            Some(TokenScope::Admin)
        }
        (Method::Get, _) => Some(TokenScope::Read),
        (Method::Put | Method::Post | Method::Delete, _) => Some(TokenScope::Admin),
    };
    for endpoint in ALL {
        // The requests change names and tokens, so each endpoint has a plane of its own.
        let (plane, access, _data_dir) = plane_with_access().await;
        let required = endpoint.scope.required();
        assert_eq!(required, scope_of(endpoint), "{}", endpoint.operation_id());
        for scope in TokenScope::ALL {
            let token = access.create(scope.as_str().parse().unwrap(), scope, None, 1).unwrap();
            let response = plane.handle(request(endpoint, Some(&token.secret.bearer())), None).await;
            let label = format!("{} with {scope}", endpoint.operation_id());
            match required {
                Some(required) if !scope.includes(required) => {
                    assert_eq!(response.status(), StatusCode::FORBIDDEN, "{label}");
                    let challenge =
                        format!(r#"Bearer realm="nebula", error="insufficient_scope", scope="{required}""#);
                    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], challenge, "{label}");
                    let problem = json_of(response).await;
                    assert_eq!(problem["type"], "urn:nebula:problem:insufficient-scope", "{label}");
                    assert_eq!(problem["required"], required.as_str(), "{label}");
                    assert_eq!(problem["scope"], scope.as_str(), "{label}");
                    assert_eq!(problem["token"], scope.as_str(), "{label}");
                }
                // Some requests end otherwise in this plane: `f` can't be removed while `p` calls it.
                _ => {
                    let status = response.status().as_u16();
                    assert!(
                        response.status().is_success() || matches!(status, 404 | 409),
                        "{label}: {status}"
                    );
                }
            }
        }
    }
}

/// The secret is in the answer to its creation, and in no other. No cache may store that.
#[tokio::test]
async fn a_secret_is_shown_once() {
    let (plane, _data_dir) = plane().await;
    let created = plane.handle(request(&endpoints::CREATE_TOKEN, Some(ADMIN)), None).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(created.headers()[header::CACHE_CONTROL], "no-store");
    let created = json_of(created).await;
    let secret = created["secret"].as_str().unwrap();
    assert!(secret.starts_with("nebula_"), "{secret}");
    let list = json_of(plane.handle(request(&endpoints::LIST_TOKENS, Some(ADMIN)), None).await).await;
    let digest = nebula_runtime::id::Digest::of(secret.as_bytes()).hex();
    assert!(!list.to_string().contains(secret) && !list.to_string().contains(&digest), "{list}");
    let names: Vec<_> = list["tokens"].as_array().unwrap().iter().map(|token| &token["name"]).collect();
    assert_eq!(names, ["token-file", "f", "new"]);
}

/// Requests about tokens that can't be carried out.
#[tokio::test]
async fn tokens_are_refused_with_the_reason() {
    let (plane, _data_dir) = plane().await;
    let send = |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "nebula");
        let request = request.header(header::AUTHORIZATION, ADMIN);
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let plane = plane.clone();
        async move { plane.handle(request.body(body).unwrap(), None).await }
    };
    for (method, path, body, status, kind) in [
        ("POST", "", r#"{"name": "f", "scope": "read"}"#, 409, "token-exists"),
        ("POST", "", r#"{"name": "token-file", "scope": "read"}"#, 409, "token-exists"),
        ("POST", "", r#"{"name": "A", "scope": "read"}"#, 400, "invalid-json"),
        ("POST", "", r#"{"name": "a", "scope": "write"}"#, 400, "invalid-json"),
        ("POST", "", r#"{"name": "a"}"#, 400, "invalid-json"),
        ("POST", "", r#"{"name": "a", "scope": "read", "secret": "mine"}"#, 400, "invalid-json"),
        ("POST", "", r#"{"name": "a", "scope": "read", "expires_in_s": 0}"#, 400, "bad-expiry"),
        ("POST", "", r#"{"name": "a", "scope": "read", "expires_in_s": -1}"#, 400, "invalid-json"),
        ("POST", "", r#"{"name": "a", "scope": "read", "expires_in_s": 99999999999}"#, 400, "bad-expiry"),
        ("POST", "", "", 400, "invalid-json"),
        ("DELETE", "/a", "", 404, "unknown-token"),
        ("DELETE", "/token-file", "", 409, "built-in-token"),
        ("DELETE", "/A", "", 400, "bad-name"),
        ("GET", "/f", "", 405, "method-not-allowed"),
    ] {
        let response = send(method, &format!("/api/v1/tokens{path}"), body).await;
        assert_eq!(response.status().as_u16(), status, "{method} {path} {body}");
        let problem = json_of(response).await;
        assert_eq!(problem["type"], format!("urn:nebula:problem:{kind}"), "{method} {path} {body}");
    }
    let list = json_of(send("GET", "/api/v1/tokens", "").await).await;
    assert_eq!(list["tokens"].as_array().unwrap().len(), 2, "{list}");
}

/// A change that can't be written is refused, and the tokens stay valid as they are.
#[tokio::test]
async fn a_failing_disk_changes_no_token() {
    let (plane, access, data_dir) = plane_with_access().await;
    let kept = access.create("kept".parse().unwrap(), TokenScope::Read, None, 1).unwrap();
    let file = data_dir.path().join("named-tokens");
    // A rename onto a directory fails, also for root.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for endpoint in [&endpoints::CREATE_TOKEN, &endpoints::REVOKE_TOKEN] {
        let response = plane.handle(request(endpoint, Some(ADMIN)), None).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{}", endpoint.operation_id());
        let detail = json_of(response).await["detail"].to_string();
        assert!(detail.contains("cannot write the named tokens"), "{detail}");
    }
    let names: Vec<_> = access.named().iter().map(|token| token.record.name.to_string()).collect();
    assert_eq!(names, ["f", "kept"]);
    let list = plane.handle(request(&endpoints::LIST, Some(&kept.secret.bearer())), None).await;
    assert_eq!(list.status(), StatusCode::OK);
}

/// A client without a token can't tell the paths that are there from others. One with any token can.
#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_401_without_a_token() {
    let (plane, access, _data_dir) = plane_with_access().await;
    let reader = access.create("reader".parse().unwrap(), TokenScope::Read, None, 1).unwrap();
    for (method, path) in [("GET", "/nowhere"), ("PATCH", "/api/v1/functions/f"), ("POST", "/healthz")] {
        let request = || Request::builder().method(method).uri(path).header(header::HOST, "nebula");
        let response = plane.handle(request().body(Full::default()).unwrap(), None).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
        assert!(!response.headers().contains_key(header::ALLOW), "{method} {path}");
        for token in [ADMIN, &reader.secret.bearer()] {
            let request = request().header(header::AUTHORIZATION, token);
            let response = plane.handle(request.body(Full::default()).unwrap(), None).await;
            let expected =
                if path == "/nowhere" { StatusCode::NOT_FOUND } else { StatusCode::METHOD_NOT_ALLOWED };
            assert_eq!(response.status(), expected, "{method} {path}");
        }
    }
}

/// The table, the router and the document hold the same operations.
#[test]
fn the_document_and_the_router_have_every_endpoint_and_no_other() {
    let table: BTreeSet<_> =
        ALL.iter().map(|endpoint| (endpoint.method.as_str().to_owned(), endpoint.path.to_owned())).collect();
    assert_eq!(table.len(), ALL.len(), "an endpoint is in the table twice");
    let operations = routes().operations;
    let routed: BTreeSet<_> = operations
        .iter()
        .map(|it| (it.endpoint.method.as_str().to_owned(), it.endpoint.path.to_owned()))
        .collect();
    assert_eq!(routed, table);
    let document = document();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            documented.insert((method.to_uppercase(), path.clone()));
        }
    }
    assert_eq!(documented, table);
}

#[test]
fn every_operation_has_its_schemas_problems_parameters_and_scope() {
    let document = document();
    for endpoint in ALL {
        let path = endpoint.path;
        let operation = &document["paths"][path][endpoint.method.as_str().to_lowercase()];
        assert_eq!(operation["operationId"], endpoint.operation_id());
        let scopes = match endpoint.scope {
            Scope::Public | Scope::Optional => json!([]),
            Scope::Read => json!([{"token": ["read"]}]),
            Scope::Invoke => json!([{"token": ["invoke"]}]),
            Scope::Admin => json!([{"token": ["admin"]}]),
        };
        assert_eq!(operation["security"], scopes, "{path}");

        let named = |parameter: &&Value| parameter["in"] == "path";
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let in_path: Vec<_> =
            parameters.filter(named).map(|it| format!("{{{}}}", it["name"].as_str().unwrap())).collect();
        assert_eq!(in_path.len(), path.matches('{').count(), "{path}");
        assert!(in_path.iter().all(|parameter| path.contains(parameter)), "{path}");

        let responses = operation["responses"].as_object().unwrap();
        assert!(["200", "201", "204"].iter().any(|status| responses.contains_key(*status)), "{path}");
        // A sign-in may have a wrong token, too.
        let takes_token = endpoint.scope != Scope::Public || *endpoint == endpoints::SIGN_IN;
        assert_eq!(responses.contains_key("401"), takes_token, "{path}");
        // A session's cookie is refused if it comes from a page of another origin.
        assert_eq!(responses.contains_key("403"), takes_token, "{path}");
        let scope_is_named = responses.get("403").is_some_and(|it| it.to_string().contains("scope"));
        // Every valid token may read.
        let may_lack_scope = matches!(endpoint.scope, Scope::Invoke | Scope::Admin);
        assert_eq!(scope_is_named, may_lack_scope, "{path}");
        for (status, response) in responses {
            assert_ne!(response["description"], "", "{path} {status}");
            let contents = response["content"].as_object();
            for (media_type, content) in contents.into_iter().flatten() {
                assert!(content["schema"].is_object(), "{path} {status} {media_type}");
            }
            if status.starts_with(['4', '5']) {
                let schema = &response["content"]["application/problem+json"]["schema"];
                assert_eq!(schema["$ref"], "#/components/schemas/problem", "{path} {status}");
            }
        }
        if matches!(endpoint.method, Method::Put | Method::Post) {
            assert!(operation["requestBody"]["content"].is_object(), "{path}");
        }
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer} leads nowhere");
    }
}

#[test]
fn a_deploy_lists_every_status_that_it_may_have() {
    let document = document();
    let responses = document["paths"]["/api/v1/functions/{name}"]["put"]["responses"].as_object().unwrap();
    let statuses: Vec<_> = responses.keys().map(String::as_str).collect();
    assert_eq!(
        statuses,
        [
            "200", "400", "401", "403", "405", "408", "409", "412", "413", "414", "422", "431", "500", "501",
            "503", "507",
        ]
    );
}

/// The plane has one thread: a handler that reads the disk on it stalls every other request.
///
/// The blocking pool's only thread is held here. A handler that does its work on the plane's own
/// thread ends nevertheless; one that hands it over can't.
#[test]
fn health_is_answered_while_every_other_endpoint_waits_for_the_disk() {
    let one_blocking_thread =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    one_blocking_thread.block_on(async {
        let (plane, _data_dir) = plane().await;
        let (release, held) = mpsc::channel::<()>();
        let holding = spawn_blocking(move || held.recv());
        let mut answering = Vec::new();
        // The token of a request is in memory.
        let in_memory = [&endpoints::HEALTH, &endpoints::SESSION];
        for endpoint in ALL.iter().filter(|endpoint| !in_memory.contains(endpoint)) {
            let plane = plane.clone();
            let request = request(endpoint, Some(ADMIN));
            answering.push((endpoint, tokio::spawn(async move { plane.handle(request, None).await })));
        }
        for _ in 0..100 {
            yield_now().await;
        }
        let health = plane.handle(request(&endpoints::HEALTH, None), None).await;
        assert_eq!(health.status(), StatusCode::OK);
        for (endpoint, answer) in &answering {
            assert!(!answer.is_finished(), "`{}` ran on the plane's thread", endpoint.operation_id());
        }
        drop(release);
        assert!(holding.await.unwrap().is_err());
        for (endpoint, answer) in answering {
            let status = answer.await.unwrap().status();
            assert_ne!(status, StatusCode::BAD_REQUEST, "{}", endpoint.operation_id());
        }
    });
}

/// The rest of a body that a handler doesn't read is read after it, so the client sees the answer.
#[tokio::test]
async fn a_body_that_is_not_read_is_read_to_its_end_nevertheless() {
    let (plane, _data_dir) = plane().await;
    let (reads, body) = CountedBody::new(8);
    let request = Request::builder().method("PUT").uri("/api/v1/functions/f").header(header::HOST, "nebula");
    let response = plane.handle(request.body(body).unwrap(), None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(reads.load(std::sync::atomic::Ordering::Relaxed), 8);
}

/// A body of a number of frames, which counts those that were read.
struct CountedBody {
    left: usize,
    reads: Arc<std::sync::atomic::AtomicUsize>,
}

impl CountedBody {
    fn new(frames: usize) -> (Arc<std::sync::atomic::AtomicUsize>, Self) {
        let reads = Arc::default();
        (Arc::clone(&reads), Self { left: frames, reads })
    }
}

impl hyper::body::Body for CountedBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return std::task::Poll::Ready(None);
        }
        self.left -= 1;
        self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(b"part")))))
    }
}
