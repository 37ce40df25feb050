//! The trace that a request belongs to: `traceparent` of W3C Trace Context.
//!
//! ```text
//! 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
//! version  trace id                   parent id        flags
//! ```
//!
//! A value that isn't valid is ignored as a whole, as the specification requires: a wrong trace id
//! would connect requests that have nothing to do with each other.

use std::fmt;

/// The length of the fields of version 00, bytes.
const VERSION_00_BYTES: usize = 55;

/// The flag that the caller records the trace.
const SAMPLED: u8 = 1;

/// The id of a trace: all spans of one request, in all services. It isn't zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// The id of a span. It isn't zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// The place of a request in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The caller's span, which is the parent of the request's.
    pub parent_id: SpanId,
    /// Set if the caller records the trace.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Parses a `traceparent`. Returns `None` if it isn't valid.
    ///
    /// A version after 00 may have more fields after a hyphen. They are ignored, as are flags other
    /// than `sampled`.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (known, more) = traceparent.split_at_checked(VERSION_00_BYTES)?;
        let [version] = hexadecimal(&known[..2])?;
        let is_at_end = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.first().is_none_or(|next| *next == b'-'),
        };
        let has_hyphens = [2, 35, 52].into_iter().all(|at| known[at] == b'-');
        if !is_at_end || !has_hyphens {
            return None;
        }
        let trace_id = hexadecimal(&known[3..35]).filter(|id| *id != [0; 16])?;
        let parent_id = hexadecimal(&known[36..52]).filter(|id| *id != [0; 8])?;
        let [flags] = hexadecimal(&known[53..])?;
        Some(Self {
            trace_id: TraceId(trace_id),
            parent_id: SpanId(parent_id),
            is_sampled: flags & SAMPLED != 0,
        })
    }
}

/// Reads bytes from twice as many hexadecimal digits. Only lower-case letters are digits.
fn hexadecimal<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(bytes)
}

fn write_hexadecimal(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

impl TraceId {
    /// Creates an id. Returns `None` for zero, which isn't an id.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Returns the bytes, most significant first.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }
}

impl SpanId {
    /// Creates an id. Returns `None` for zero, which isn't an id.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Returns the bytes, most significant first.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hexadecimal(&self.0, formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_context_is_read_from_every_version() {
        let context = TraceContext::parse(VALID.as_bytes()).unwrap();
        assert_eq!(context.trace_id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent_id.to_string(), "b7ad6b7169203331");
        assert!(context.is_sampled);
        let rest = &VALID[2..];
        for later in [format!("01{rest}"), format!("cc{rest}-more"), format!("fe{rest}-")] {
            assert_eq!(TraceContext::parse(later.as_bytes()), Some(context), "{later}");
        }
        for (flags, is_sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let context = TraceContext::parse(format!("{}{flags}", &VALID[..53]).as_bytes());
            assert_eq!(context.map(|context| context.is_sampled), Some(is_sampled), "{flags}");
        }
    }

    #[test]
    fn invalid_contexts_are_ignored() {
        let rest = &VALID[2..];
        let with = |at: usize, byte: u8| {
            let mut bytes = VALID.as_bytes().to_vec();
            bytes[at] = byte;
            bytes
        };
        let mut invalid = vec![
            Vec::new(),
            VALID.as_bytes()[..54].to_vec(),
            format!("{VALID}-more").into_bytes(),
            format!("{VALID} ").into_bytes(),
            format!(" {VALID}").into_bytes(),
            format!("ff{rest}").into_bytes(),
            format!("01{rest}more").into_bytes(),
            VALID.to_uppercase().into_bytes(),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)).into_bytes(),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", "0".repeat(16)).into_bytes(),
        ];
        for hyphen in [2, 35, 52] {
            invalid.push(with(hyphen, b'0'));
        }
        for digit in [0, 3, 34, 36, 51, 53, 54] {
            invalid.extend([b'g', b'A', b'-', b' ', 0, 0xff].map(|byte| with(digit, byte)));
        }
        for invalid in invalid {
            assert_eq!(TraceContext::parse(&invalid), None, "{:?}", String::from_utf8_lossy(&invalid));
        }
    }

    proptest! {
        /// Ids that were read are written in the same way.
        #[test]
        fn ids_are_written_as_they_were_read(
            trace in any::<[u8; 16]>(), parent in any::<[u8; 8]>(), flags in any::<u8>(), version in any::<u8>()
        ) {
            let text = format!("{version:02x}-{:?}-{:?}-{flags:02x}", TraceId(trace), SpanId(parent));
            let parsed = TraceContext::parse(text.as_bytes());
            if trace == [0; 16] || parent == [0; 8] || version == 0xff {
                prop_assert_eq!(parsed, None);
            } else {
                let context = parsed.unwrap();
                prop_assert_eq!(context.trace_id.bytes(), trace);
                prop_assert_eq!(context.parent_id.bytes(), parent);
                prop_assert_eq!(context.is_sampled, flags & 1 == 1);
            }
        }

        /// Any bytes are read or ignored, also those that are nearly valid.
        #[test]
        fn any_bytes_are_read_or_ignored(
            noise in proptest::collection::vec(any::<u8>(), 0..80),
            at in 0_usize..56, byte in any::<u8>(), cut in 0_usize..60,
        ) {
            TraceContext::parse(&noise);
            let mut nearly = VALID.as_bytes().to_vec();
            nearly.insert(at.min(nearly.len()), byte);
            TraceContext::parse(&nearly);
            nearly.truncate(cut);
            if let Some(context) = TraceContext::parse(&nearly) {
                prop_assert!(nearly.starts_with(b"0") || nearly.len() >= VERSION_00_BYTES);
                prop_assert_ne!(context.trace_id.bytes(), [0; 16]);
            }
        }
    }
}
