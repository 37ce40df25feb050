//! Components of which nothing is remembered, as two computations of one call disagreed.
//!
//! Invariant: where there never was one nothing is written, and the table isn't there.

use std::collections::{HashMap, HashSet};

use nebula_model::disagreement::Disagreement;
use nebula_model::id::Digest;
use redb::{ReadableTable, TableDefinition, TableError};

use super::{Registry, StoreError};

/// Component to the disagreement, as JSON.
const DISTRUSTED: TableDefinition<'_, [u8; 32], &[u8]> = TableDefinition::new("distrusted");

impl Registry {
    /// The components of which nothing is remembered, and why.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn disagreements(&self) -> Result<HashMap<Digest, Disagreement>, StoreError> {
        self.store.read(|transaction| {
            let table = match transaction.open_table(DISTRUSTED) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(HashMap::new()),
                table => table?,
            };
            let mut found = HashMap::new();
            for entry in table.iter()? {
                let (component, content) = entry?;
                let component = Digest::from_bytes(component.value());
                // What another release has written is one all the same.
                let read = serde_json::from_slice(content.value());
                found.insert(component, read.unwrap_or_else(|_| Disagreement::unreadable(component)));
            }
            Ok(found)
        })
    }

    /// Writes down that two computations disagreed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn distrust(&self, disagreement: &Disagreement) -> Result<(), StoreError> {
        #[expect(clippy::expect_used, reason = "strings and numbers: there is nothing to refuse")]
        let content = serde_json::to_vec(disagreement).expect("a disagreement serializes");
        self.store.write(|transaction| {
            let component = disagreement.component.bytes();
            transaction.open_table(DISTRUSTED)?.insert(component, content.as_slice())?;
            Ok(transaction.commit()?)
        })
    }

    /// Forgets that about these components.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn trust(&self, components: &HashSet<Digest>) -> Result<(), StoreError> {
        self.store.write(|transaction| {
            {
                let mut table = transaction.open_table(DISTRUSTED)?;
                for component in components {
                    table.remove(component.bytes())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }
}
