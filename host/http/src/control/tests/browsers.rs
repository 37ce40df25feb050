//! Browsers: sessions in place of tokens, requests from pages of other origins, and the page of the
//! console.

use super::*;

/// Signs in with a body, and returns the answer with the cookie.
async fn sign_in(plane: &ControlPlane, body: &Value) -> (Response, Option<String>) {
    let mut sign_in = request(&endpoints::SIGN_IN, None);
    *sign_in.body_mut() = Full::from(body.to_string());
    let response = plane.handle(sign_in, None).await;
    let cookie = response.headers().get(header::SET_COOKIE).map(|it| it.to_str().unwrap().to_owned());
    (response, cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned()))
}

/// A request to an endpoint with a session's cookie.
fn request_in(session: &str, endpoint: &Endpoint) -> Request<Full<Bytes>> {
    let mut request = request(endpoint, None);
    request.headers_mut().insert(header::COOKIE, session.parse().unwrap());
    request
}

/// Every endpoint with a session that began with a token of every scope.
#[tokio::test]
async fn a_session_permits_what_its_token_does() {
    for endpoint in ALL.iter().filter(|endpoint| endpoint.scope != Scope::Public) {
        let (plane, access, _data_dir) = plane_with_access().await;
        for scope in TokenScope::ALL {
            let token = access.create(scope.as_str().parse().unwrap(), scope, None, 1).unwrap();
            let (_, session) = sign_in(&plane, &json!({"token": token.secret.secret()})).await;
            let session = session.unwrap();
            let with_token =
                plane.handle(request(endpoint, Some(&token.secret.bearer())), None).await.status();
            let in_session = plane.handle(request_in(&session, endpoint), None).await.status();
            let label = format!("{} with {scope}", endpoint.operation_id());
            let required = endpoint.scope.required();
            let is_allowed = required.is_none_or(|required| scope.includes(required));
            assert_eq!(in_session != StatusCode::FORBIDDEN, is_allowed, "{label}");
            assert_eq!(with_token != StatusCode::FORBIDDEN, is_allowed, "{label}");
            assert_ne!(in_session, StatusCode::UNAUTHORIZED, "{label}");
            // A wrong token isn't made up for by a session.
            let mut both = request_in(&session, endpoint);
            both.headers_mut().insert(header::AUTHORIZATION, "Bearer wrong".parse().unwrap());
            assert_eq!(plane.handle(both, None).await.status(), StatusCode::UNAUTHORIZED, "{label}");
        }
    }
}

/// Every endpoint with a session's cookie, from pages of other origins and to other hosts.
#[tokio::test]
async fn a_session_is_refused_from_other_origins_and_to_other_hosts() {
    let (plane, _access, _data_dir) = plane_with_access().await;
    let (_, session) = sign_in(&plane, &json!({"token": "secret"})).await;
    let session = session.unwrap();
    for endpoint in
        ALL.iter().filter(|endpoint| endpoint.scope != Scope::Public || **endpoint == endpoints::SIGN_IN)
    {
        for (name, value, kind) in [
            (header::HOST.as_str(), "evil.example", "unknown-host"),
            (header::ORIGIN.as_str(), "http://evil.example", "cross-origin"),
            (header::ORIGIN.as_str(), "http://nebula:8080", "cross-origin"),
            (header::ORIGIN.as_str(), "null", "cross-origin"),
            ("sec-fetch-site", "cross-site", "cross-origin"),
            ("sec-fetch-site", "same-site", "cross-origin"),
        ] {
            let mut request = request_in(&session, endpoint);
            request.headers_mut().insert(http::HeaderName::from_static(name), value.parse().unwrap());
            let response = plane.handle(request, None).await;
            let label = format!("{} {name}: {value}", endpoint.operation_id());
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{label}");
            let problem = json_of(response).await;
            assert_eq!(problem["type"], format!("urn:nebula:problem:{kind}"), "{label}");
        }
        let mut bare = request_in(&session, endpoint);
        bare.headers_mut().remove(header::ORIGIN);
        if endpoint.method != Method::Get {
            assert_eq!(plane.handle(bare, None).await.status(), StatusCode::FORBIDDEN);
        }
    }
    // Nothing has changed: the session and the functions are still there.
    let list = plane.handle(request_in(&session, &endpoints::LIST), None).await;
    assert_eq!(json_of(list).await["functions"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_session_ends_with_its_token_or_when_it_is_signed_out() {
    let (plane, access, _data_dir) = plane_with_access().await;
    let shown = async |session: &str| plane.handle(request_in(session, &endpoints::SESSION), None).await;
    let is_over = async |session: &str| {
        assert_eq!(shown(session).await.status(), StatusCode::NO_CONTENT);
        let list = plane.handle(request_in(session, &endpoints::LIST), None).await;
        assert_eq!(list.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(json_of(list).await["type"], "urn:nebula:problem:session-over");
    };
    let new = access.create("ci".parse().unwrap(), TokenScope::Read, None, 1).unwrap();
    let (response, session) = sign_in(&plane, &json!({"token": new.secret.secret()})).await;
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(json_of(response).await, json!({"name": "ci", "scope": "read"}));
    let session = session.unwrap();
    assert_eq!(json_of(shown(&session).await).await, json!({"name": "ci", "scope": "read"}));
    // The cookie of another port, which a browser sends along.
    shown(&format!("nebula_session=other; {session}")).await;
    access.revoke(&"ci".parse().unwrap()).unwrap();
    is_over(&session).await;
    // A new token of this name is another one.
    access.create("ci".parse().unwrap(), TokenScope::Read, None, 1).unwrap();
    is_over(&session).await;

    let now = access::now_unix_s();
    let short = access.create("short".parse().unwrap(), TokenScope::Read, Some(100), now).unwrap();
    let (response, session) = sign_in(&plane, &json!({"token": short.secret.secret()})).await;
    assert_eq!(json_of(response).await["expires_at_unix_s"], now + 100);
    let id = session.unwrap().strip_prefix("nebula_session=").unwrap().to_owned();
    assert!(access.holder_of_session([id.as_str()].into_iter(), now + 99).is_ok());
    let expired = access.holder_of_session([id.as_str()].into_iter(), now + 100);
    assert_eq!(expired, Err(access::NoHolder::SessionOver));

    let (_, session) = sign_in(&plane, &json!({"token": "secret"})).await;
    let (_, other) = sign_in(&plane, &json!({"token": "secret"})).await;
    let (session, other) = (session.unwrap(), other.unwrap());
    let out = plane.handle(request_in(&session, &endpoints::SIGN_OUT), None).await;
    assert_eq!(out.status(), StatusCode::NO_CONTENT);
    let cleared = out.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cleared.starts_with("nebula_session=;") && cleared.ends_with("Max-Age=0"), "{cleared}");
    is_over(&session).await;
    assert_eq!(shown(&other).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn sign_ins_are_refused_with_the_reason() {
    let (plane, access, _data_dir) = plane_with_access().await;
    let expired = access.create("expired".parse().unwrap(), TokenScope::Admin, Some(1), 1).unwrap();
    let code = access.sign_in_code().unwrap();
    let refused = async |body: Value, status: u16, kind: &str| {
        let (response, cookie) = sign_in(&plane, &body).await;
        assert!(response.status().as_u16() == status && cookie.is_none(), "{body} {response:?}");
        assert_eq!(json_of(response).await["type"], format!("urn:nebula:problem:{kind}"), "{body}");
    };
    refused(json!({"token": expired.secret.secret()}), 401, "token-expired").await;
    refused(json!({"token": &code}), 401, "unauthorized").await;
    for body in [
        json!({}),
        json!({"token": "a", "code": "b"}),
        json!({"token": null}),
        json!("secret"),
        json!({"password": "secret"}),
    ] {
        refused(body, 400, "invalid-json").await;
    }
    assert_eq!(sign_in(&plane, &json!({"code": &code})).await.0.status(), StatusCode::OK);
    refused(json!({"code": &code}), 401, "link-over").await;
    // Failures keep nobody out.
    for _ in 0..100 {
        assert_eq!(sign_in(&plane, &json!({"token": ""})).await.0.status(), StatusCode::UNAUTHORIZED);
    }
    assert_eq!(sign_in(&plane, &json!({"token": "secret"})).await.0.status(), StatusCode::OK);
    let long = json!({"token": "a".repeat(5000)});
    assert_eq!(sign_in(&plane, &long).await.0.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// The page and its assets are public, and have the headers that keep others out.
#[tokio::test]
async fn the_console_is_served_with_its_policies() {
    let (plane, _data_dir) = plane().await;
    let get = async |path: &str, if_none_match: &str| {
        let request = Request::builder().uri(path).header(header::HOST, "evil.example");
        let request = request.header(header::IF_NONE_MATCH, if_none_match);
        plane.handle(request.body(Full::<Bytes>::default()).unwrap(), None).await
    };
    let of_asset = endpoints::CONSOLE_ASSET.path_of(&asset());
    for (path, cache_control) in
        [("/", "no-cache"), (of_asset.as_str(), "public, max-age=31536000, immutable")]
    {
        let first = get(path, "").await;
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        let etag = first.headers()[header::ETAG].to_str().unwrap().to_owned();
        let again = get(path, &etag).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
        for headers in [first.headers(), again.headers()] {
            assert_eq!(headers[header::CACHE_CONTROL], cache_control, "{path}");
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
            assert_eq!(headers["cross-origin-opener-policy"], "same-origin", "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
            assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        }
        assert!(!first.into_body().collect().await.unwrap().to_bytes().is_empty());
    }
    for path in ["/console/none-123456.js", "/console/index.html", "/console/..%2Findex.html"] {
        let response = get(path, "").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(json_of(response).await["type"], "urn:nebula:problem:unknown-path");
    }
}
