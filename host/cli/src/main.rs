//! The `nebula` binary: arguments, commands, messages.
//!
//! ```text
//! args --> command --> report
//! ```
//!
//! stdout carries data, stderr everything else. An error is one line, its causes and a hint.

mod args;
mod bundle;
mod client;
mod command;
mod data_dir;
mod diagram;
mod input;
mod local;
mod port;
mod project;
mod receipt;
mod report;
mod wit;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::run(args::Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}
