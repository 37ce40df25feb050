//! The refusal of a busy collector over gRPC: `google.rpc.Status` with a `google.rpc.RetryInfo`.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtoDuration>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ProtoDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// Returns RESOURCE_EXHAUSTED, with the time after which the collector wants the spans again.
pub(super) fn busy(retry_after_s: Option<u64>) -> tonic::Status {
    let (code, message) = (tonic::Code::ResourceExhausted, "it is busy");
    let Some(seconds) = retry_after_s else { return tonic::Status::new(code, message) };
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let info = RetryInfo { retry_delay: Some(ProtoDuration { seconds, nanos: 0 }) };
    let type_url = "type.googleapis.com/google.rpc.RetryInfo".to_owned();
    let details = vec![Any { type_url, value: info.encode_to_vec() }];
    let status = RpcStatus { code: code.into(), message: message.to_owned(), details };
    tonic::Status::with_details(code, message, status.encode_to_vec().into())
}
