//! Calls of one function over a pair of streams.
//!
//! ```text
//! input:   length (u32) input                     until the end
//! output:  run_ns (u64) length (u32) output       one for each input
//! ```
//!
//! Numbers are in little endian. An answer is complete when its last byte arrives, whatever happens
//! to the process afterwards.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// Answers inputs until the input ends, each after a delay.
///
/// # Errors
/// Returns the function's error in words, or that a stream is broken.
pub fn answer_all(
    name: &str,
    delay: Duration,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), String> {
    loop {
        let mut length = [0; 4];
        match input.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read.map_err(broken)?,
        }
        let mut value = vec![0; u32::from_le_bytes(length) as usize];
        input.read_exact(&mut value).map_err(broken)?;
        answer(name, delay, &value, &mut output)?;
    }
}

/// Answers one input after a delay.
///
/// # Errors
/// Returns the function's error in words, or that the stream is broken.
pub fn answer(name: &str, delay: Duration, input: &[u8], mut output: impl Write) -> Result<(), String> {
    if !delay.is_zero() {
        std::thread::sleep(delay);
    }
    let started = Instant::now();
    let result = crate::call(name, input)?;
    let run_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let length = u32::try_from(result.len()).map_err(|_| "the output is too long".to_owned())?;
    let answer = [&run_ns.to_le_bytes()[..], &length.to_le_bytes(), &result].concat();
    output.write_all(&answer).and_then(|()| output.flush()).map_err(broken)
}

fn broken(error: io::Error) -> String {
    format!("the pipe is broken: {error}")
}
