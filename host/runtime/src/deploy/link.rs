//! Typed imports: the functions that a component imports are linked into it at deploy.
//!
//! ```text
//! component --names of its imports--> their current versions --link--> one component: the version
//! ```
//!
//! A component has one environment, so the functions linked into it see its configuration and not
//! their own.
//!
//! Invariants:
//! * The functions linked into a version never change, and its digest covers them. A component gets
//!   a newer version of an import by being deployed again.
//! * No component is linked into itself, and no deploy, rollback or import makes current versions
//!   import each other in a cycle. The check is repeated under the naming lock, so two concurrent
//!   deploys can't create a cycle either.

use std::collections::HashSet;

use bytes::Bytes;
use nebula_linker::{Importer, InvalidImport};
use nebula_model::form::Form;
use nebula_model::id::FunctionName;
use nebula_model::record::{Linked, VersionRecord};

use super::Deployer;
use super::error::DeployError;
use super::names::Names;

/// A component with the functions that were linked into it.
pub(super) struct LinkedComponent {
    pub(super) component: Bytes,
    pub(super) linked: Vec<Linked>,
}

impl Deployer {
    /// Returns an admitted component as it is published under `own`: with its imports linked in, if
    /// it has any.
    ///
    /// # Errors
    /// [`DeployError`].
    pub(super) fn link(
        &self,
        names: &Names<'_>,
        own: &FunctionName,
        component: Bytes,
    ) -> Result<LinkedComponent, DeployError> {
        let Some(importer) = Importer::read(&component)? else {
            return Ok(LinkedComponent { component, linked: Vec::new() });
        };
        let (mut linked, mut functions) = (Vec::new(), Vec::new());
        {
            // Under the lock, a version isn't removed before its component has been read.
            let _naming = self.lock_naming();
            for name in importer.functions() {
                let function = names.importable(own, name)?;
                functions.push(self.store.read_component(&function.digest)?);
                linked.push(function);
            }
        }
        let component = importer.link(&component, &functions)?;
        // It was admitted without its imports, so the imports are the cause.
        nebula_engine::admit(&component).map_err(|error| InvalidImport::NeedsTooMuch(error.to_string()))?;
        Ok(LinkedComponent { component: component.into(), linked })
    }

    /// Returns a note for the deployer: the functions that have another version of this one linked
    /// in. It isn't stored, because it becomes outdated.
    pub(super) fn note_of_importers(&self, record: &VersionRecord) -> Option<String> {
        // A read error here doesn't undo the publication.
        let importers = self.store.importers().unwrap_or_default();
        let has_other = |importer: &FunctionName| {
            let current = self.functions.current(importer).ok().flatten();
            let linked = current.iter().flat_map(|current| &current.linked);
            linked.into_iter().any(|linked| linked.has_other(&record.name, &record.digest))
        };
        let names: Vec<_> =
            importers.iter().filter(|name| has_other(name)).map(|name| format!("`{name}`")).collect();
        let (verb, them) = match names.as_slice() {
            [] => return None,
            [_] => ("has", "it"),
            [..] => ("have", "them"),
        };
        Some(format!(
            "{} {verb} another version of `{}` linked in: deploy {them} again to have this one",
            names.join(", "),
            record.name
        ))
    }
}

impl Names<'_> {
    /// Returns the current version of a function that `own` imports.
    fn importable(&self, own: &FunctionName, name: &FunctionName) -> Result<Linked, DeployError> {
        if name == own {
            let names = vec![own.to_string(), own.to_string()];
            return Err(InvalidImport::Cycle { names }.into());
        }
        let record = self.current(name)?.ok_or_else(|| InvalidImport::Unknown { name: name.clone() })?;
        let form = match (&record.pipeline, record.description.form) {
            (Some(_), _) => Some("a pipeline"),
            (None, Form::Raw) => Some("of the raw form"),
            (None, Form::Http) => Some("of the http form"),
            (None, Form::Typed) => None,
        };
        if let Some(form) = form {
            return Err(InvalidImport::Form { name: name.clone(), form }.into());
        }
        let VersionRecord { name, version, digest, linked, .. } = record;
        let function = Linked { name, version, digest, linked };
        self.refuse_import_cycles(own, std::slice::from_ref(&function))?;
        Ok(function)
    }

    /// Refuses import cycles: through the functions already linked in, and through the current
    /// versions of their names.
    ///
    /// # Errors
    /// [`DeployError`].
    pub(super) fn refuse_import_cycles(
        &self,
        own: &FunctionName,
        linked: &[Linked],
    ) -> Result<(), DeployError> {
        for function in linked {
            refuse_cycle(own, function)?;
        }
        let mut seen = HashSet::new();
        let mut ways: Vec<_> = linked.iter().map(|function| vec![function.name.clone()]).collect();
        while let Some(way) = ways.pop() {
            let Some(name) = way.last().filter(|name| seen.insert((*name).clone())) else { continue };
            // A function that was removed since is still linked in.
            let Some(current) = self.current(name)? else { continue };
            for function in &current.linked {
                let mut way = way.clone();
                way.push(function.name.clone());
                if function.name == *own {
                    let names = std::iter::once(own).chain(&way).map(ToString::to_string).collect();
                    return Err(InvalidImport::Cycle { names }.into());
                }
                ways.push(way);
            }
        }
        Ok(())
    }
}

/// Refuses a function that has `own` linked into it.
fn refuse_cycle(own: &FunctionName, function: &Linked) -> Result<(), InvalidImport> {
    match function.way_to(own) {
        None => Ok(()),
        Some(way) => {
            let names = std::iter::once(own).chain(&way).map(ToString::to_string).collect();
            Err(InvalidImport::Cycle { names })
        }
    }
}
