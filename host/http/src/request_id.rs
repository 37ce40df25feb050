//! The id of a request: the client's `X-Request-Id`, or a new one. The answer and the log of the
//! call have it.
//!
//! A new id is a counter of the thread, mixed so that it doesn't look like one. It takes no lock and
//! no system call.

use std::cell::Cell;

use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of a client, bytes. A longer one is replaced.
const BYTES_MAX: usize = 128;

/// The length of a new id, hexadecimal digits.
const NEW_BYTES: usize = 16;

/// A number that has 1 in each of its bytes.
const EACH_BYTE: u128 = u128::from_ne_bytes([1; 16]);

/// The increment of the counter. It is odd, so the counter takes every value before it repeats one.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

thread_local! {
    /// The last value of this thread's counter; `None` before the first. Threads start at random
    /// values, so that two of 2⁶⁴ values are rarely the same.
    static LAST: Cell<Option<u64>> = const { Cell::new(None) };
}

/// The text of a new id.
pub(crate) type NewId = [u8; NEW_BYTES];

/// Returns the id of a request: the client's if there is exactly one and it is
/// [valid](is_valid), otherwise a new one.
pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let mut sent = headers.get_all(X_REQUEST_ID).iter();
    match (sent.next(), sent.next()) {
        (Some(id), None) if is_valid(id.as_bytes()) => id.clone(),
        _ => new_value(),
    }
}

/// Returns whether a client's id may be used: 1 to 128 visible ASCII characters.
pub(crate) fn is_valid(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Returns a new id as a header's value.
pub(crate) fn new_value() -> HeaderValue {
    // Hexadecimal digits are valid in a header.
    HeaderValue::from_bytes(&new()).unwrap_or(HeaderValue::from_static("0"))
}

/// Returns a new id.
pub(crate) fn new() -> NewId {
    let count = LAST.get().unwrap_or_else(random).wrapping_add(STEP);
    LAST.set(Some(count));
    hexadecimal(mix(count))
}

/// Returns the hexadecimal digits of a number, all of them at once: `hex` takes one at a time, and a request with a
/// cached response notices.
fn hexadecimal(number: u64) -> NewId {
    // One digit a byte.
    let spread = u128::from(number);
    let spread = (spread | spread << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    let digits = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f;
    // 1 in each byte whose digit is a letter.
    let letters = ((digits + 6 * EACH_BYTE) >> 4) & EACH_BYTE;
    let text = digits + u128::from(b'0') * EACH_BYTE + letters * u128::from(b'a' - b'9' - 1);
    text.to_be_bytes()
}

/// Returns the start of a thread's counter.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers, all threads start at the same value. Ids only help to find requests.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Mixes the bits of a number. Different numbers give different results (the finalizer of
/// SplitMix64).
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of_lines(lines: &[&[u8]]) -> HeaderValue {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_REQUEST_ID, HeaderValue::from_bytes(line).unwrap());
        }
        of(&headers)
    }

    #[test]
    fn a_valid_id_of_the_client_is_kept() {
        let longest = "x".repeat(BYTES_MAX);
        for id in ["a", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "Root=1-2;3", &longest] {
            assert_eq!(of_lines(&[id.as_bytes()]), id);
        }
        let too_long = "x".repeat(BYTES_MAX + 1);
        let replaced: [&[&[u8]]; 6] =
            [&[], &[b""], &[b"a b"], &[b"\xe4"], &[b"a", b"b"], &[too_long.as_bytes()]];
        for lines in replaced {
            let id = of_lines(lines);
            assert!(id.len() == NEW_BYTES && id.as_bytes().iter().all(u8::is_ascii_hexdigit), "{id:?}");
        }
    }

    #[test]
    fn all_hexadecimal_digits_are_written() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(hexadecimal(number), *format!("{number:016x}").as_bytes());
        }
        for number in (0..1000).map(mix) {
            assert_eq!(hexadecimal(number), *format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn new_ids_differ_on_all_threads() {
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| (0..1000).map(|_| new()).collect::<Vec<_>>())).collect();
        let ids: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
    }
}
