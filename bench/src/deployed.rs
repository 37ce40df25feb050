//! A data directory with many functions deployed.
//!
//! Each is `functions/echo` with a custom section of its own behind it: the same code, and as a component
//! with a digest, a compiled artefact and a life of its own. Where fewer variants than functions are asked
//! for, functions share them in turn.
//!
//! They are deployed in this process, where compiling one takes milliseconds and needs no process each.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use crate::in_process::InProcess;
use crate::results::plural;

/// Functions between two words on how far it is.
const PROGRESS_STEP: u32 = 1_000;

/// The directory, gone with this value, or where it is shared with [`forget_shared`].
#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    data_dir: Rc<tempfile::TempDir>,
    functions: u32,
    variants: u32,
}

thread_local! {
    static SHARED: RefCell<Vec<(PathBuf, Deployed)>> = const { RefCell::new(Vec::new()) };
}

/// Removes what was kept for other subcommands; the last thing that a run does.
pub(crate) fn forget_shared() {
    SHARED.take();
}

impl Deployed {
    /// As [`Self::make`], or one that was made before in this run: compiling ten thousand takes minutes.
    /// It must be left as it was.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn shared(component: &Path, functions: u32, variants: u32) -> anyhow::Result<Self> {
        let variants = variants.clamp(1, functions.max(1));
        let made = SHARED.with_borrow(|shared| {
            let same = |(of, made): &&(PathBuf, Self)| {
                of == component && (made.functions, made.variants) == (functions, variants)
            };
            shared.iter().find(same).map(|(_, made)| made.clone())
        });
        if let Some(made) = made {
            return Ok(made);
        }
        let made = Self::make(component, functions, variants)?;
        SHARED.with_borrow_mut(|shared| shared.push((component.to_owned(), made.clone())));
        Ok(made)
    }

    /// Deploys so many functions, of so many variants at most.
    ///
    /// # Errors
    /// The runtime's.
    pub(crate) fn make(component: &Path, functions: u32, variants: u32) -> anyhow::Result<Self> {
        let component = std::fs::read(component)?;
        let data_dir = Rc::new(tempfile::tempdir()?);
        let nebula = InProcess::open(data_dir.path())?;
        let variants = variants.clamp(1, functions.max(1));
        // Each variant once, so that nothing is compiled twice at the same time; then those that share.
        for part in [0..variants, variants..functions] {
            for from in part.clone().step_by(PROGRESS_STEP as usize) {
                let to = part.end.min(from + PROGRESS_STEP);
                let one = |index| (name(index), variant(&component, index % variants));
                nebula.deploy_all((from..to).map(one))?;
                if functions > PROGRESS_STEP {
                    eprintln!("deployed {to} of {functions} functions");
                }
            }
        }
        Ok(Self { data_dir, functions, variants })
    }

    pub(crate) fn path(&self) -> &Path {
        self.data_dir.path()
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        (0..self.functions).map(name)
    }

    /// The name of the last.
    pub(crate) fn last(&self) -> String {
        name(self.functions.saturating_sub(1))
    }

    /// What is deployed, in words.
    pub(crate) fn description(&self) -> String {
        let components = if self.variants == 1 { "component" } else { "different components" };
        format!("{} of {} {components}", self.count(), self.variants)
    }

    /// How many, in words.
    pub(crate) fn count(&self) -> String {
        plural(self.functions as usize, "function")
    }
}

fn name(index: u32) -> String {
    format!("f-{index:05}")
}

/// The component with a custom section that nothing reads: other bytes, the same behaviour.
pub(crate) fn variant(component: &[u8], index: u32) -> Bytes {
    const NAME: &[u8] = b"variant";
    let content = [&[NAME.len() as u8], NAME, &index.to_le_bytes()].concat();
    // Section 0 is the custom one; its length is below 128, so a byte of LEB128 holds it.
    [component, &[0, content.len() as u8], &content].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::in_process;

    /// The empty component: a magic number, a version, a layer.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_variant_is_the_component_and_a_section() {
        let (a, b) = (variant(EMPTY, 1), variant(EMPTY, 300));
        assert!(a.starts_with(EMPTY) && a.len() == EMPTY.len() + 2 + 8 + 4);
        assert_ne!(a, b);
    }

    #[test]
    fn variants_are_functions_with_digests_of_their_own() {
        let [echo] = crate::prepare::functions(["echo"]).unwrap();
        let deployed = Deployed::make(&echo, 3, 2).unwrap();
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
