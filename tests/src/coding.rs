//! Content in the codings of HTTP, written and read by the test itself.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

/// The codings that the server knows, each by the name that [`encode`] takes.
pub const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// Encodes content. `raw-deflate` is `deflate` as some clients send it, without a header.
pub fn encode(coding: &str, content: &[u8]) -> Vec<u8> {
    fn all<W: Write>(mut encoder: W, content: &[u8], finish: impl FnOnce(W) -> Vec<u8>) -> Vec<u8> {
        encoder.write_all(content).expect("memory");
        finish(encoder)
    }
    let level = Compression::best();
    match coding {
        "gzip" => {
            all(GzEncoder::new(Vec::new(), level), content, |encoder| encoder.finish().expect("memory"))
        }
        "deflate" => {
            all(ZlibEncoder::new(Vec::new(), level), content, |encoder| encoder.finish().expect("memory"))
        }
        "raw-deflate" => {
            all(DeflateEncoder::new(Vec::new(), level), content, |encoder| encoder.finish().expect("memory"))
        }
        "br" => all(brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), content, |encoder| {
            encoder.into_inner()
        }),
        "zstd" => zstd::encode_all(content, 3).expect("memory"),
        other => panic!("no coding `{other}`"),
    }
}

/// Decodes content of a response.
#[track_caller]
pub fn decode(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    match coding {
        "gzip" => GzDecoder::new(coded).read_to_end(&mut content),
        "deflate" => ZlibDecoder::new(coded).read_to_end(&mut content),
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut content),
        "zstd" => return zstd::decode_all(coded).expect("valid content"),
        other => panic!("no coding `{other}`"),
    }
    .expect("valid content");
    content
}
