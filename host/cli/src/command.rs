//! The commands, one module for each or for a few small ones.

mod apply;
mod bench;
mod build;
mod cache;
mod deploy;
mod doctor;
mod explain;
mod export;
mod functions;
mod import;
mod inspect;
mod invoke;
mod login;
mod logs;
mod man;
mod new;
mod pipeline;
mod replay;
mod sdk;
mod serve;
mod stats;
mod token;
mod top;
mod up;
mod verify;
mod verify_receipt;

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;
use nebula_runtime::Codegen;

use crate::args::{Args, Command};
use crate::report;

/// Runs a command and returns the exit code.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::New(new) => new::run(&new)?,
        Command::Add(add) => new::add(&add)?,
        Command::Sdk(sdk) => sdk::run(&sdk)?,
        Command::Build(build) => build::run(&build)?,
        Command::Up(up) => up::run(&up)?,
        Command::Schema => report::text(crate::project::schema())?,
        Command::Serve(serve) => serve::run(&serve)?,
        Command::Deploy(deploy) => deploy::run(&deploy)?,
        Command::Export(export) => export::run(&export)?,
        Command::Import(import) => import::run(&import)?,
        Command::Invoke(invoke) => return invoke::run(&invoke),
        Command::Bench(bench) => return bench::run(&bench),
        Command::List(remote) => functions::list(&remote)?,
        Command::Inspect(inspect) => inspect::run(&inspect)?,
        Command::Rollback(rollback) => functions::rollback(&rollback)?,
        Command::Remove(named) => functions::remove(&named)?,
        Command::Verify(verify) => return verify::run(&verify),
        Command::Replay(replay) => return replay::run(&replay),
        Command::VerifyReceipt(verify) => verify_receipt::run(&verify)?,
        Command::Logs(logs) => logs::run(&logs)?,
        Command::Pipeline(pipeline) => pipeline::run(&pipeline)?,
        Command::Explain(explain) => return explain::run(&explain),
        Command::Top(top) => top::run(top)?,
        Command::Stats(named) => stats::run(&named)?,
        Command::Cache(cache) => cache::run(&cache)?,
        Command::Token(token) => token::run(&token)?,
        Command::Login(login) => login::run(&login)?,
        Command::Logout(logout) => login::forget(&logout)?,
        Command::Doctor(doctor) => return doctor::run(&doctor),
        Command::Man { directory } => man::run(&directory)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "nebula", &mut script);
            report::bytes(&script)?;
        }
        Command::CompileComponent => return compile_component(),
    }
    Ok(ExitCode::SUCCESS)
}

/// Compiles a component in this process: the child's side of [`nebula_runtime::Compiler::Child`].
fn compile_component() -> anyhow::Result<ExitCode> {
    nebula_runtime::limit_compiler_process().context("cannot set the compiler's limits")?;
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).context("cannot read the component")?;
    match nebula_runtime::compile_artefact(&component, Codegen::Optimised) {
        Ok(artefact) => {
            std::io::stdout().write_all(&artefact).context("cannot write the artefact")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(reason) => {
            serde_json::to_writer(std::io::stderr(), &reason).context("cannot write the reason")?;
            Ok(ExitCode::from(nebula_runtime::UNCOMPILABLE_EXIT))
        }
    }
}
