//! One function as a program: `nebula-native NAME [DELAY_MS]`.
//!
//! It answers the inputs on stdin, on stdout, as in `pipe`. The delay is slept before each call: the
//! experiment checks with it that its clock includes what happens here.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nebula_native::pipe;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let answer_all = |name, delay| pipe::answer_all(name, delay, io::stdin().lock(), io::stdout().lock());
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
