//! A gRPC service, `test.Echo`: `Say` answers with the text it gets, in upper case. An empty text is
//! an error. A message is `message Text { string text = 1; }`, encoded by hand.

use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

/// The tag of field 1 with a length-delimited value.
const TEXT_TAG: u8 = 0x0a;

/// The status of a request with invalid arguments.
const INVALID_ARGUMENT: &str = "3";

/// The status of a method that doesn't exist.
const UNIMPLEMENTED: &str = "12";

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let content = read(&request);
        let answered = match path.as_str() {
            "/test.Echo/Say" => match text(&content) {
                Some(text) if !text.is_empty() => Ok(frame(&text.to_uppercase())),
                Some(_) => Err((INVALID_ARGUMENT, "nothing to say")),
                None => Err((INVALID_ARGUMENT, "not a Text")),
            },
            _ => Err((UNIMPLEMENTED, "no such method")),
        };
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let headers = Fields::from_list(&[field("content-type", "application/grpc")]).unwrap();
        let response = OutgoingResponse::new(headers);
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let status = match &answered {
            Ok(frame) => {
                let stream = body.write().unwrap();
                for part in frame.chunks(4096) {
                    stream.blocking_write_and_flush(part).unwrap();
                }
                vec![field("grpc-status", "0")]
            }
            Err((status, message)) => vec![field("grpc-status", status), field("grpc-message", message)],
        };
        OutgoingBody::finish(body, Some(Fields::from_list(&status).unwrap())).unwrap();
    }
}

fn read(request: &IncomingRequest) -> Vec<u8> {
    let body = request.consume().unwrap();
    let stream = body.stream().unwrap();
    let mut content = Vec::new();
    while let Ok(chunk) = stream.blocking_read(64 * 1024) {
        content.extend(chunk);
    }
    drop(stream);
    drop(IncomingBody::finish(body));
    content
}

/// Returns the text of a framed message: a flag, the length in four bytes, the message.
fn text(content: &[u8]) -> Option<String> {
    let (head, message) = content.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if head[0] != 0 || message.len() != length as usize {
        return None;
    }
    let Some((&TEXT_TAG, rest)) = message.split_first() else {
        // A field with the default value is left out.
        return message.is_empty().then(String::new);
    };
    let (mut length, mut read) = (0_usize, 0);
    loop {
        let byte = *rest.get(read)?;
        length |= usize::from(byte & 0x7f) << (7 * read);
        read += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (rest.len() == read + length).then(|| String::from_utf8(rest[read..].to_vec()).ok()).flatten()
}

/// Returns a framed message with this text.
fn frame(text: &str) -> Vec<u8> {
    let mut message = vec![TEXT_TAG];
    let mut length = text.len();
    while length >= 0x80 {
        message.push(length as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend(text.as_bytes());
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}
