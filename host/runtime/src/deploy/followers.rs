//! The pipelines that follow a name: what becomes of them when the name changes.

/// The treatment of pipelines that follow a name but don't fit its new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Followers {
    /// The change is refused.
    #[default]
    MustFit,
    /// They keep their version and the versions it calls, until they fit again.
    MayStay,
}
