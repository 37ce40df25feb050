//! The function that answers a path, by the routes of its deploy.

use std::sync::Arc;

use nebula_model::id::{FunctionRef, Selector};
use nebula_store::{ResolveError, StoreError};

use super::{RoutedFunction, SegmentRoute, Shard};
use crate::call::routes::{FoundRoute, RouteTable};

/// The function of a path.
pub struct PathRoute {
    /// The function, in its current version.
    pub route: SegmentRoute,
    /// The position in the path where the part below the route begins.
    pub subpath_at: usize,
}

impl Shard {
    /// Returns the function that answers `path` on `host`, which is as
    /// [`host_of`](crate::host_of) returns it. Reads the disk on another thread, and only for the
    /// first request after a change of names.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn find_by_path(
        &self,
        host: Option<&str>,
        path: &str,
    ) -> Result<Option<PathRoute>, ResolveError> {
        let functions = self.0.runtime.functions();
        loop {
            let generation = functions.generation();
            let table = self.route_table().await?;
            let Some(found) = table.find(host, path) else { return Ok(None) };
            match self.find_routed(&found).await {
                Ok(function) => {
                    let route = SegmentRoute { function, selector: Selector::Current };
                    return Ok(Some(PathRoute { route, subpath_at: found.subpath_at }));
                }
                // Removed in between: the route may be another function's now.
                Err(ResolveError::UnknownFunction { .. } | ResolveError::UnknownVersion { .. })
                    if functions.generation() != generation => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the version that has a route, even if its name stands for another one by now.
    async fn find_routed(&self, found: &FoundRoute<'_>) -> Result<Arc<RoutedFunction>, ResolveError> {
        let reference = |selector| FunctionRef { name: found.name.clone(), selector };
        let current = self.find(&reference(Selector::Current)).await?;
        match current.record.version == found.version {
            true => Ok(current),
            false => self.find(&reference(Selector::Version(found.version))).await,
        }
    }

    /// Returns the routes of all functions.
    async fn route_table(&self) -> Result<Arc<RouteTable>, StoreError> {
        let held = {
            let mut state = self.lock();
            self.0.renew(&mut state);
            state.route_table.clone()
        };
        if let Some(table) = held {
            return Ok(table);
        }
        // The number comes first: a table made before a change is made again after it.
        let generation = self.0.runtime.functions().generation();
        let table = Box::pin(self.0.runtime.routes()).await?;
        let mut state = self.lock();
        self.0.renew(&mut state);
        if state.generation == generation {
            state.route_table = Some(Arc::clone(&table));
        }
        Ok(table)
    }
}
