//! `nebula man`: writes a man page for each command, from the same source as `--help`.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use crate::args::Args;
use crate::report::note;

pub(crate) fn run(directory: &Path) -> anyhow::Result<()> {
    let shown = directory.display();
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(directory)?;
        clap_mangen::generate_to(Args::command(), directory)
    };
    write().with_context(|| format!("cannot write the man pages to `{shown}`"))?;
    note(format!("wrote the man pages to `{shown}`; `man -l {shown}/nebula.1` shows one"));
    Ok(())
}
