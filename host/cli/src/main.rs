//! The `nebula` binary: arguments, commands, messages.
//!
//! ```text
//! args --> command --> report
//! ```
//!
//! stdout carries data, stderr everything else. An error is one line, its causes and a hint, or one
//! JSON object. Its kind (`failure`) decides the exit code.

#![deny(clippy::print_stdout, clippy::print_stderr)]

mod address;
mod archive;
mod args;
mod bench;
mod bundle;
mod client;
mod command;
mod connection;
mod data_dir;
mod failure;
mod figures;
mod hidden_input;
mod hints;
mod http_parts;
mod input;
mod local;
mod logging;
mod moment;
mod port;
mod project;
mod receipt;
mod report;
mod sdk;
mod servers;
mod stats;
mod template;
mod terminal_mode;
mod tls;
mod top;
mod traces;
mod wit;
mod wit_docs;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

use self::failure::{Failure, FailureKind};

#[global_allocator]
static ALLOCATOR: nebula_allocator::Allocator = nebula_allocator::Allocator;

fn main() -> ExitCode {
    let json = json_is_asked_for();
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() && json => {
            let message = error.render().to_string();
            let message = message.trim_end().trim_start_matches("error: ");
            return failed(&Failure::new(FailureKind::Usage, message).into(), json);
        }
        Err(error) => error.exit(),
    };
    match command::run(args) {
        Ok(code) => code,
        Err(error) => failed(&error, json),
    }
}

/// Returns whether errors are reported in JSON. A command line that doesn't parse may ask for it
/// too.
fn json_is_asked_for() -> bool {
    std::env::args_os().take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

fn failed(error: &anyhow::Error, json: bool) -> ExitCode {
    if json {
        report::error_json(error);
    } else {
        report::error(error);
    }
    report::kind(error).into()
}
