//! `nebula build`: builds the functions of a directory to components.

use crate::args::Build;
use crate::project::{Builder, Project};
use crate::report::line;

pub(crate) fn run(build: &Build) -> anyhow::Result<()> {
    let project = Project::open(&build.path, None)?;
    let outcome = project.build(builder(build))?;
    for built in &outcome.built {
        line(built.component.display())?;
    }
    anyhow::ensure!(outcome.complete, "the build failed; cargo's messages above say why");
    Ok(())
}

pub(super) fn builder(build: &Build) -> Builder {
    if build.cargo_component { Builder::CargoComponent } else { Builder::Cargo }
}
