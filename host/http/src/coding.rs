//! Content codings (RFC 9110 §8.4.1): gzip, deflate, br and zstd.
//!
//! Invariants:
//! * Decoding never holds more than the given number of decoded bytes, besides the window of one
//!   decoder, whatever the coded bytes say.
//! * Coded content that breaks off or that other bytes follow is malformed, not short.
//! * The same content is always encoded to the same bytes.

use std::io::{self, BufRead, Read, Write};

use brotli_decompressor::{BrotliDecoderParameter, Decompressor};
use flate2::bufread::MultiGzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compression, Decompress, FlushDecompress, Status};
use http::{HeaderMap, header};

/// The most codings of one body. One is usual; each further one takes another pass over the bytes.
const CODINGS_MAX: usize = 3;

/// The buffer of a decoder, bytes.
const BUFFER_BYTES: usize = 16 * 1024;

/// The largest window of zstd, as a power of two: 8 MiB, the most that a sender may require (RFC
/// 9659 §3). That of brotli is at most 16 MiB, without its extension for large windows.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

// At these levels gzip and brotli compress 30 to 60 MB of text a second, and zstd 200 to 350. Higher
// levels take several times as long for a few percent.
const GZIP_LEVEL: u32 = 6;
const BROTLI_QUALITY: u32 = 4;
const BROTLI_WINDOW_LOG: u32 = 22;
const ZSTD_LEVEL: i32 = 3;

/// A coding that makes content shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Gzip,
    /// The zlib format (RFC 9110 §8.4.1.2). Some senders leave out its header and checksum, and
    /// that is decoded too.
    Deflate,
    Brotli,
    Zstd,
}

/// Why coded content can't be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The content is longer than the limit.
    #[error("the decoded content is too long")]
    TooLong,
    #[error("the body is not valid {}: {reason}", coding.name())]
    Malformed { coding: Coding, reason: String },
}

impl Coding {
    /// All codings, in the order in which the server prefers them: by speed for a similar length.
    pub(crate) const ALL: [Self; 4] = [Self::Zstd, Self::Brotli, Self::Gzip, Self::Deflate];

    /// The names of all codings, for `Accept-Encoding`.
    pub(crate) const NAMES: &str = "gzip, deflate, br, zstd";

    /// Returns the coding's name in headers.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the coding of this name, in any case.
    pub(crate) fn of(name: &str) -> Option<Self> {
        // RFC 9110 §8.4.1.3 has the other name of gzip.
        let name = if name.eq_ignore_ascii_case("x-gzip") { "gzip" } else { name };
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name()))
    }

    /// Decodes content of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub(crate) fn decode(self, mut coded: &[u8], bytes_max: u64) -> Result<Vec<u8>, DecodeError> {
        let mut content = Vec::new();
        let read = match self {
            Self::Gzip => read_up_to(MultiGzDecoder::new(&mut coded), bytes_max, &mut content),
            Self::Deflate => inflate(coded, bytes_max, &mut content),
            Self::Brotli => {
                let mut decoder = Decompressor::new(&mut coded, BUFFER_BYTES);
                // Large windows aren't part of the coding (RFC 7932), and have up to a gigabyte.
                decoder.set_parameter(BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                read_up_to(decoder, bytes_max, &mut content)
            }
            Self::Zstd => unzstd(&mut coded, bytes_max, &mut content),
        };
        // The decoder stopped one byte after the limit. What it reports there doesn't matter.
        if content.len() as u64 > bytes_max {
            return Err(DecodeError::TooLong);
        }
        match read {
            Ok(()) => Ok(content),
            Err(reason) => Err(DecodeError::Malformed { coding: self, reason: reason.to_string() }),
        }
    }

    /// Encodes content.
    ///
    /// # Errors
    /// The encoder's error, if it gets no memory.
    pub(crate) fn encode(self, content: &[u8]) -> io::Result<Vec<u8>> {
        let coded = Vec::with_capacity(content.len() / 4);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(coded, Compression::new(GZIP_LEVEL));
                encoder.write_all(content)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(coded, Compression::new(GZIP_LEVEL));
                encoder.write_all(content)?;
                encoder.finish()
            }
            Self::Brotli => {
                let mut encoder =
                    brotli::CompressorWriter::new(coded, BUFFER_BYTES, BROTLI_QUALITY, BROTLI_WINDOW_LOG);
                encoder.write_all(content)?;
                Ok(encoder.into_inner())
            }
            Self::Zstd => zstd::bulk::compress(content, ZSTD_LEVEL),
        }
    }
}

/// Reads `decoder` to its end, or one byte further than the limit.
fn read_up_to(mut decoder: impl Read, bytes_max: u64, content: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let room = make_room(bytes_max, content);
        let read = decoder.by_ref().take(room as u64).read_to_end(content)?;
        if read < room || content.len() as u64 > bytes_max {
            return Ok(());
        }
    }
}

/// Makes room for as much content again, and for no more than one byte beyond the limit. Returns the
/// room.
fn make_room(bytes_max: u64, content: &mut Vec<u8>) -> usize {
    let limit = usize::try_from(bytes_max).unwrap_or(usize::MAX).saturating_add(1);
    let room = content.len().max(BUFFER_BYTES).min(limit.saturating_sub(content.len()));
    content.reserve_exact(room);
    room
}

fn unzstd(coded: impl BufRead, bytes_max: u64, content: &mut Vec<u8>) -> io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(coded)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_up_to(decoder, bytes_max, content)
}

/// Decodes `deflate`. The readers of `flate2` take the end of the bytes for the end of the content,
/// so this uses its decoder itself.
fn inflate(coded: &[u8], bytes_max: u64, content: &mut Vec<u8>) -> io::Result<()> {
    let mut decoder = Decompress::new(has_zlib_header(coded));
    let mut rest = coded;
    while content.len() as u64 <= bytes_max {
        if content.len() == content.capacity() {
            make_room(bytes_max, content);
        }
        let before = (decoder.total_in(), content.len());
        let status = decoder.decompress_vec(rest, content, FlushDecompress::None)?;
        rest = usize::try_from(decoder.total_in()).ok().and_then(|read| coded.get(read..)).unwrap_or(&[]);
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(()),
            Status::StreamEnd => return Err(io::Error::other("other bytes follow it")),
            Status::Ok | Status::BufError if before == (decoder.total_in(), content.len()) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Status::Ok | Status::BufError => {}
        }
    }
    Ok(())
}

/// Returns whether the bytes begin with the header of the zlib format (RFC 1950 §2.2).
fn has_zlib_header(coded: &[u8]) -> bool {
    matches!(*coded, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([method, flags]) % 31 == 0)
}

/// Returns the codings of a body, in the order in which they were applied.
///
/// # Errors
/// The list, if it names a coding that isn't known, or too many.
pub(crate) fn of_body(headers: &HeaderMap) -> Result<Vec<Coding>, String> {
    let lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let list = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect::<Vec<_>>().join(", ");
    let names = list.split(',').map(str::trim);
    let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    match names.map(Coding::of).collect::<Option<Vec<_>>>() {
        Some(codings) if codings.len() <= CODINGS_MAX => Ok(codings),
        Some(_) | None => Err(list),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: u64 = 64 * 1024;

    fn is_malformed(coding: Coding, coded: &[u8]) -> bool {
        matches!(coding.decode(coded, LIMIT), Err(DecodeError::Malformed { .. }))
    }

    fn raw_deflate(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn decoding_returns_what_was_encoded(content: Vec<u8>, repeated in 1..200_usize) {
            let content = content.repeat(repeated);
            for coding in Coding::ALL {
                let coded = coding.encode(&content).unwrap();
                let length = content.len() as u64;
                prop_assert_eq!(&coding.decode(&coded, length).unwrap(), &content, "{:?}", coding);
                if length > 0 {
                    let short = coding.decode(&coded, length - 1);
                    prop_assert!(matches!(short, Err(DecodeError::TooLong)), "{:?}: {:?}", coding, short);
                }
            }
            prop_assert_eq!(Coding::Deflate.decode(&raw_deflate(&content), u64::MAX).unwrap(), content);
        }

        /// Damaged content is malformed, too long or other content, and never a panic.
        #[test]
        fn damaged_content_is_an_error(
            content: Vec<u8>, at: prop::sample::Index, byte: u8, coding in prop::sample::select(&Coding::ALL[..]),
        ) {
            let mut coded = coding.encode(&content).unwrap();
            let at = at.index(coded.len());
            coded[at] = byte;
            let _ = coding.decode(&coded, LIMIT);
        }

        #[test]
        fn content_that_breaks_off_is_malformed(content: Vec<u8>, at: prop::sample::Index) {
            for coding in Coding::ALL {
                let coded = coding.encode(&content).unwrap();
                let end = at.index(coded.len());
                // `payload` reads a body without any byte as an empty one.
                if end > 0 {
                    prop_assert!(is_malformed(coding, &coded[..end]), "{:?} {end}", coding);
                }
            }
        }
    }

    #[test]
    fn other_bytes_are_malformed() {
        for coding in Coding::ALL {
            assert!(is_malformed(coding, b"this is not compressed"), "{coding:?}");
        }
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let mut coded = coding.encode(b"content").unwrap();
            coded.extend_from_slice(b"and more");
            assert!(is_malformed(coding, &coded), "{coding:?}");
        }
    }

    /// `gzip` and `zstd` append to files that way (RFC 1952 §2.2, RFC 8878 §3).
    #[test]
    fn parts_after_each_other_are_one_content() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let parts = [&b"one, "[..], b"two"].map(|part| coding.encode(part).unwrap());
            assert_eq!(coding.decode(&parts.concat(), LIMIT).unwrap(), b"one, two");
        }
    }

    /// A decoder that allocated what the content claims would hold a gigabyte here.
    #[test]
    fn bombs_are_cut_at_the_limit() {
        let zeros = vec![0; 64 * 1024 * 1024];
        for coding in Coding::ALL {
            let mut coded = coding.encode(&zeros).unwrap();
            assert!(coded.len() < 128 * 1024, "{coding:?}: {}", coded.len());
            let read = coding.decode(&coded, LIMIT);
            assert!(matches!(read, Err(DecodeError::TooLong)), "{coding:?}");
            // A bomb that breaks off is still a bomb.
            coded.truncate(coded.len() * 3 / 4);
            assert!(matches!(coding.decode(&coded, LIMIT), Err(DecodeError::TooLong)), "{coding:?}");
        }
    }

    #[test]
    fn large_windows_are_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(b"content").unwrap();
        assert!(is_malformed(Coding::Zstd, &encoder.finish().unwrap()));
        // The first byte announces the extension for large windows, the second a window of 2^30.
        assert!(is_malformed(Coding::Brotli, &[0x11, 30, 0x03]));
    }

    #[test]
    fn codings_of_a_body_are_a_list() {
        use Coding::{Brotli, Deflate, Gzip, Zstd};
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
            }
            of_body(&headers).ok()
        };
        for (lines, expected) in [
            (&["gzip"][..], Some(vec![Gzip])),
            (&["X-GZip"], Some(vec![Gzip])),
            (&["deflate, identity ,br"], Some(vec![Deflate, Brotli])),
            (&["zstd", "gzip"], Some(vec![Zstd, Gzip])),
            (&["identity"], Some(vec![])),
            (&[""], Some(vec![])),
            (&["gzip, gzip, gzip"], Some(vec![Gzip; 3])),
            (&["gzip, gzip, gzip, gzip"], None),
            (&["compress"], None),
            (&["gzip, aes128gcm"], None),
            (&["gzip;q=1"], None),
        ] {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn names_of_all_codings_are_listed() {
        let names: Vec<_> = Coding::NAMES.split(", ").map(|name| Coding::of(name).unwrap()).collect();
        assert!(Coding::ALL.iter().all(|coding| names.contains(coding)));
    }
}
