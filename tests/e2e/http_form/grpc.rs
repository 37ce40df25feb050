//! A gRPC service as a function of the http form, called by tonic's client over HTTP/2.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nebula_tests::{Nebula, guests};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Response, Status};

/// `message Text { string text = 1; }`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(String);

/// Encodes and decodes [`Text`] by hand, as the guest does.
#[derive(Clone, Copy, Default)]
struct TextCodec;

impl Codec for TextCodec {
    type Encode = Text;
    type Decode = Text;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for TextCodec {
    type Item = Text;
    type Error = Status;

    fn encode(&mut self, Text(text): Text, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if text.is_empty() {
            return Ok(());
        }
        buffer.put_u8(0x0a);
        let mut length = text.len();
        while length >= 0x80 {
            buffer.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        buffer.put_u8(length as u8);
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for TextCodec {
    type Item = Text;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Text>, Status> {
        if !buffer.has_remaining() {
            return Ok(Some(Text(String::new())));
        }
        assert_eq!(buffer.get_u8(), 0x0a);
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = buffer.get_u8();
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        assert_eq!(buffer.remaining(), length);
        let text = String::from_utf8(buffer.copy_to_bytes(length).to_vec());
        text.map(|text| Some(Text(text))).map_err(|error| Status::internal(error.to_string()))
    }
}

/// One HTTP/2 connection, for tonic.
#[derive(Clone)]
struct Connection(SendRequest<tonic::body::Body>);

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, driver) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(driver);
        Self(sender)
    }
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Calls a method of the service in the function `echo`.
async fn call(
    connection: &Connection,
    address: SocketAddr,
    method: &'static str,
    text: &str,
) -> Result<Response<Text>, Status> {
    let origin = format!("http://{address}/f/echo").parse().unwrap();
    let mut client = tonic::client::Grpc::with_origin(connection.clone(), origin);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(method);
    client.unary(Request::new(Text(text.to_owned())), path, TextCodec).await
}

/// A cached answer has the same message and status, which is in the trailers.
#[test]
pub(super) fn speaks_grpc() {
    let nebula = Nebula::start().deploy("echo", guests::SPEAKS_GRPC);
    let address = nebula.calls_address();
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    executor.block_on(async {
        let connection = Connection::open(address).await;
        let long = "long ".repeat(10_000);
        for _ in 0..4 {
            for text in ["hello", "ä", &long] {
                let answer = call(&connection, address, "/test.Echo/Say", text).await.unwrap();
                assert_eq!(answer.metadata().get("grpc-status").unwrap(), "0");
                assert_eq!(answer.into_inner(), Text(text.to_uppercase()));
            }
            let refused = call(&connection, address, "/test.Echo/Say", "").await.unwrap_err();
            assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "nothing to say"));
            let unknown = call(&connection, address, "/test.Echo/Sing", "x").await.unwrap_err();
            assert_eq!((unknown.code(), unknown.message()), (Code::Unimplemented, "no such method"));
        }
    });
    // Each of the five calls ran once.
    let cache = nebula.control("GET", "/api/v1/cache").send().is(200).json();
    let of_echo = &cache["functions"][0];
    assert_eq!(of_echo["misses"], 5, "{cache}");
}
