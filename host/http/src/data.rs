//! The data plane: calls.
//!
//! ```text
//! POST | QUERY  /f/{name}[@version]    a body
//! GET | HEAD    /f/{name}[@version]    query parameters
//! any method    /f/{name}[@version]/…  for functions of the http form
//! GET           /healthz /readyz
//! ```

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use nebula_runtime::id::FunctionRef;
use nebula_runtime::{Answer, Form, Met, Prefer, Request as Call, Shard};

use crate::answer::{self, Asked};
use crate::bodies::Bodies;
use crate::body;
use crate::problem::{Problem, Reply};
use crate::status;

/// What a function that isn't of the http form answers to.
const ALLOW: &str = "GET, HEAD, POST, QUERY, OPTIONS";

/// Answers one request.
pub(crate) async fn handle(shard: &Shard, bodies: &Bodies, request: Request<Incoming>) -> Reply {
    let head = request.method() == Method::HEAD;
    let (parts, mut body) = request.into_parts();
    let mut reply = match route(shard, bodies, &parts, &mut body).await {
        Ok(reply) => reply,
        Err(problem) => problem.into_reply(),
    };
    body::discard(&parts.headers, &mut body).await;
    if head {
        // hyper leaves the body out; the length it would have had is told.
        let length = http_body::Body::size_hint(reply.body()).exact().unwrap_or(0);
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *reply.body_mut() = Full::default();
    }
    reply
}

async fn route(shard: &Shard, bodies: &Bodies, parts: &Parts, body: &mut Incoming) -> Result<Reply, Problem> {
    body::check(parts)?;
    let path = parts.uri.path();
    if path == "/healthz" || path == "/readyz" {
        return match parts.method {
            Method::GET | Method::HEAD => Ok(Response::new(Full::new(Bytes::from_static(b"ok\n")))),
            _ => Err(status::method_not_allowed("GET, HEAD")),
        };
    }
    let Some(rest) = path.strip_prefix("/f/") else { return Err(status::no_such_path(path)) };
    let (reference, below) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let reference: FunctionRef = percent_encoding::percent_decode_str(reference)
        .decode_utf8()
        .map_err(|_| status::bad_request("bad-name", "the function's name is not UTF-8"))?
        .parse()
        .map_err(|error: nebula_runtime::id::IdError| status::bad_request("bad-name", error.to_string()))?;
    let function = shard.find(&reference).map_err(|error| status::resolve(&error))?;
    let form = function.record.description.form;
    if form != Form::Http {
        if !below.is_empty() {
            return Err(status::no_such_path(path));
        }
        if parts.method == Method::OPTIONS {
            return Ok(options());
        }
    }
    let asked = Asked::new(parts.method.clone(), reference.selector, &parts.headers);
    let prefer = prefer(body::text(&parts.headers, header::ACCEPT));
    // Kept until the answer is there: so long the body is held.
    let _room = bodies.room(body, function.limits().input_bytes_max).await?;
    let call = match form {
        Form::Http => {
            let body = body::read(body, function.limits().input_bytes_max).await?;
            Call::Http(Box::new(below_name(parts, below, body)))
        }
        Form::Typed | Form::Raw => match parts.method.as_str() {
            "POST" | "QUERY" => {
                let media_type = body::text(&parts.headers, header::CONTENT_TYPE).map(str::to_owned);
                let body = body::read(body, function.limits().input_bytes_max).await?;
                Call::Payload { media_type, body }
            }
            "GET" | "HEAD" => Call::Query(query_pairs(parts.uri.query().unwrap_or(""))?),
            _ => return Err(status::method_not_allowed(ALLOW)),
        },
    };
    Ok(run(shard, &function, &asked, call, prefer).await)
}

async fn run(
    shard: &Shard,
    function: &std::sync::Arc<Met>,
    asked: &Asked,
    call: Call,
    prefer: Prefer,
) -> Reply {
    let called = shard.call(function, call, prefer).await;
    match called.result {
        Ok(Answer::Value(content)) => answer::content(asked, function, &called.cost, StatusCode::OK, content),
        Ok(Answer::Error(content)) => {
            answer::content(asked, function, &called.cost, StatusCode::UNPROCESSABLE_ENTITY, content)
        }
        Ok(Answer::Http(response)) => answer::response(asked, function, &called.cost, *response),
        Err(error) => {
            let mut reply = status::call(&error).into_reply();
            answer::provenance(reply.headers_mut(), function, &called.cost);
            reply
        }
    }
}

fn options() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let headers = reply.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(ALLOW));
    headers.insert("accept-query", HeaderValue::from_static("application/json"));
    reply
}

/// The request as a function of the http form sees it: its path begins below the function's name.
fn below_name(parts: &Parts, below: &str, body: Bytes) -> Request<Bytes> {
    let path = if below.is_empty() { "/" } else { below };
    let path_and_query = match parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    // It was part of a valid URI, and still begins with a slash.
    *request.uri_mut() = Uri::try_from(path_and_query).unwrap_or_default();
    let authority =
        parts.uri.authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    *request.headers_mut() = parts.headers.clone();
    // HTTP/2 carries the authority in the URI; the guest finds it as a header either way.
    if let Some(authority) = authority {
        request.headers_mut().entry(header::HOST).or_insert(authority);
    }
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    request
}

/// `application/x-www-form-urlencoded` pairs.
fn query_pairs(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| status::bad_request("bad-query", "the query string is not UTF-8"))
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// What the `Accept` header prefers; quality values only tell `0` from the rest.
fn prefer(accept: Option<&str>) -> Prefer {
    let Some(accept) = accept else { return Prefer::AsSent };
    for range in accept.split(',') {
        match range.split(';').next().unwrap_or(range).trim() {
            "application/json" => return Prefer::Json,
            "application/octet-stream" | "text/plain" => return Prefer::Raw,
            _ => {}
        }
    }
    Prefer::AsSent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_as_forms() {
        let pairs = query_pairs("a=1&b=x+y%26z&c&&d=").unwrap();
        let expected = [("a", "1"), ("b", "x y&z"), ("c", ""), ("d", "")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(query_pairs("a=%ff").is_err());
    }

    #[test]
    fn accept_chooses_the_form_of_the_answer() {
        assert_eq!(prefer(None), Prefer::AsSent);
        assert_eq!(prefer(Some("*/*")), Prefer::AsSent);
        assert_eq!(prefer(Some("text/html, application/json;q=0.9")), Prefer::Json);
        assert_eq!(prefer(Some("application/octet-stream")), Prefer::Raw);
    }
}
