//! One function behind HTTP: `nebula-native-serve NAME [DELAY_MS]`.
//!
//! It serves `POST` of the input to any path on a free port of the loopback, and prints its address.
//! `Server-Timing` has the time of the function. The delay is slept before each call.

use std::convert::Infallible;
use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, delay) = match arguments.as_slice() {
        [name] => (*name, "0"),
        [name, delay] => (*name, *delay),
        _ => return Err("usage: nebula-native-serve NAME [DELAY_MS]".into()),
    };
    let delay = Duration::from_millis(delay.parse()?);
    // The name lives as long as the process.
    let name: &'static str = String::leak(name.to_owned());
    // Starts one thread for each core that the process may use.
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(name, delay))
}

async fn serve(name: &'static str, delay: Duration) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service_fn(move |request| answer(name, delay, request));
        tokio::spawn(async move {
            // A client that disconnects ends its connection only.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    name: &'static str,
    delay: Duration,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let (status, run, body) = match request.into_body().collect().await {
        Ok(body) => {
            let started = Instant::now();
            let output = nebula_native::call(name, &body.to_bytes());
            let run = started.elapsed();
            match output {
                Ok(output) => (StatusCode::OK, run, Bytes::from(output)),
                Err(error) => (StatusCode::BAD_REQUEST, run, Bytes::from(error)),
            }
        }
        Err(error) => (StatusCode::BAD_REQUEST, Duration::ZERO, Bytes::from(error.to_string())),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let timing = format!("run;dur={:.6}", run.as_secs_f64() * 1e3);
    if let Ok(timing) = timing.parse() {
        response.headers_mut().insert("server-timing", timing);
    }
    Ok(response)
}
