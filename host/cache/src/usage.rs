//! The space that the cached results of a component take.

/// Number and size of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of results.
    pub entries: u64,
    /// Space that they take, bytes.
    pub bytes: u64,
}

impl Usage {
    /// Adds one result.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
