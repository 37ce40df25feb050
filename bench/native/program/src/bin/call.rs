//! One function as a program: `nebula-native NAME [DELAY_MS]`.
//!
//! ```text
//! stdin:   length (u32) input                     until the end
//! stdout:  run_ns (u64) length (u32) output       one for each input
//! ```
//!
//! Numbers are in little endian. An answer is complete when its last byte arrives, whatever happens
//! to the process afterwards. The delay is slept before each call: the experiment checks with it
//! that its clock includes what happens here.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        [name] => answer_all(name, Duration::ZERO),
        [name, delay] => match delay.parse() {
            Ok(delay) => answer_all(name, Duration::from_millis(delay)),
            Err(error) => Err(format!("the delay `{delay}` is invalid: {error}")),
        },
        _ => Err("usage: nebula-native NAME [DELAY_MS]".to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers inputs until stdin ends.
fn answer_all(name: &str, delay: Duration) -> Result<(), String> {
    let (mut stdin, mut stdout) = (io::stdin().lock(), io::stdout().lock());
    let failed = |error: io::Error| format!("the pipe is broken: {error}");
    loop {
        let mut length = [0; 4];
        match stdin.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read.map_err(failed)?,
        }
        let mut input = vec![0; u32::from_le_bytes(length) as usize];
        stdin.read_exact(&mut input).map_err(failed)?;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let started = Instant::now();
        let output = nebula_native::call(name, &input)?;
        let run_ns = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let length = u32::try_from(output.len()).map_err(|_| "the output is too long".to_owned())?;
        let answer = [&run_ns.to_le_bytes()[..], &length.to_le_bytes(), &output].concat();
        stdout.write_all(&answer).and_then(|()| stdout.flush()).map_err(failed)?;
    }
}
