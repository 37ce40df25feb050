//! A data directory with many deployed functions.
//!
//! Each function is a variant of `functions/echo`: the same code with its own custom section, so
//! that every component has its own digest and its own compiled code. If there are fewer variants
//! than functions, the functions take turns.
//!
//! The functions are deployed in this process: compiling one takes milliseconds here and starts no
//! compiler process.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use crate::in_process::InProcess;
use crate::prepare;
use crate::results::plural;

/// The number of functions between two messages about the progress.
const PROGRESS_STEP: u32 = 1_000;

/// A data directory and the functions in it. The directory is removed with the last clone;
/// [`remove_shared`] drops the shared ones.
#[derive(Clone, Debug)]
pub(crate) struct DeployedFunctions {
    data_dir: Rc<tempfile::TempDir>,
    size: Size,
}

thread_local! {
    static SHARED: RefCell<Vec<(PathBuf, DeployedFunctions)>> = const { RefCell::new(Vec::new()) };
}

/// Removes the directories that are shared between subcommands. A run calls this at its end.
pub(crate) fn remove_shared() {
    SHARED.take();
}

/// The numbers of functions and of different components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) functions: u32,
    /// The most different components; functions share them if there are fewer than functions.
    pub(crate) variants: u32,
}

impl Size {
    fn clamped(self) -> Self {
        Self { variants: self.variants.clamp(1, self.functions.max(1)), ..self }
    }
}

impl DeployedFunctions {
    /// Returns the directory that was created earlier in this run, or creates it, because compiling
    /// ten thousand variants takes minutes. Callers must not change the directory.
    ///
    /// # Errors
    /// Returns an error if a deploy fails.
    pub(crate) fn shared(component: &Path, size: Size) -> anyhow::Result<Self> {
        let size = size.clamped();
        let found = SHARED.with_borrow(|shared| {
            let same = |(path, deployed): &&(PathBuf, Self)| path == component && deployed.size == size;
            shared.iter().find(same).map(|(_, deployed)| deployed.clone())
        });
        if let Some(deployed) = found {
            return Ok(deployed);
        }
        let deployed = Self::create(component, size)?;
        SHARED.with_borrow_mut(|shared| shared.push((component.to_owned(), deployed.clone())));
        Ok(deployed)
    }

    /// Deploys functions to a new directory.
    ///
    /// # Errors
    /// Returns an error if a deploy fails.
    pub(crate) fn create(component: &Path, size: Size) -> anyhow::Result<Self> {
        let component = std::fs::read(component)?;
        let data_dir = Rc::new(prepare::data_dir()?);
        let nebula = InProcess::open(data_dir.path())?;
        let size = size.clamped();
        let Size { functions, variants } = size;
        // Deploy each variant once, so that none is compiled twice at the same time. Then deploy
        // the functions that share variants.
        for part in [0..variants, variants..functions] {
            for from in part.clone().step_by(PROGRESS_STEP as usize) {
                let to = part.end.min(from + PROGRESS_STEP);
                let function = |index| (name(index), variant(&component, index % variants));
                nebula.deploy_all((from..to).map(function))?;
                if functions > PROGRESS_STEP {
                    eprintln!("deployed {to} of {functions} functions");
                }
            }
        }
        Ok(Self { data_dir, size })
    }

    pub(crate) fn path(&self) -> &Path {
        self.data_dir.path()
    }

    /// Returns the names of all functions.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.size.functions).map(name)
    }

    /// Returns the name of the function that was deployed last.
    pub(crate) fn last(&self) -> String {
        name(self.size.functions.saturating_sub(1))
    }

    /// Describes the numbers of functions and of components in words.
    pub(crate) fn description(&self) -> String {
        let variants = self.size.variants;
        let components = if variants == 1 { "component" } else { "different components" };
        format!("{} of {variants} {components}", self.count())
    }

    /// Describes the number of functions in words.
    pub(crate) fn count(&self) -> String {
        plural(self.size.functions as usize, "function")
    }
}

fn name(index: u32) -> String {
    format!("f-{index:05}")
}

/// Returns the component with a custom section appended: other bytes, the same behaviour.
pub(crate) fn variant(component: &[u8], index: u32) -> Bytes {
    const NAME: &[u8] = b"variant";
    let content = [&[NAME.len() as u8], NAME, &index.to_le_bytes()].concat();
    // Section 0 is a custom section; its length is below 128, so one byte of LEB128 holds it.
    [component, &[0, content.len() as u8], &content].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_process;

    /// An empty component: magic number, version, layer.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_variant_is_the_component_with_another_section() {
        let (a, b) = (variant(EMPTY, 1), variant(EMPTY, 300));
        assert!(a.starts_with(EMPTY) && a.len() == EMPTY.len() + 2 + 8 + 4);
        assert_ne!(a, b);
    }

    #[test]
    fn variants_have_different_digests() {
        let [echo] = crate::prepare::functions(["echo"]).unwrap();
        let deployed = DeployedFunctions::create(&echo, Size { functions: 3, variants: 2 }).unwrap();
        let nebula = InProcess::open(deployed.path()).unwrap();
        let digests: Vec<_> = deployed
            .names()
            .map(|name| {
                let function = nebula.resolve(&name).unwrap();
                in_process::check(&nebula.call(&function)).unwrap();
                function.record.digest
            })
            .collect();
        assert_ne!(digests[0], digests[1]);
        assert_eq!(digests[0], digests[2]);
    }
}
