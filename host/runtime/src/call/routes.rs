//! The routing table: which version answers a host and a path.
//!
//! ```text
//! host:  a.example, then *.example, then *.parent, then every host
//! path:  /a/b, then /a/..., then /...          (per host)
//! ```
//!
//! A more specific host comes first. If none of its paths match, the next host is asked.

use std::collections::HashMap;

use matchit::Router;
use nebula_model::id::{FunctionName, Version};
use nebula_model::record::VersionRecord;
use nebula_model::route::{RoutePath, canonical_path, is_reserved};

/// The routes of all current versions.
#[derive(Default)]
pub(crate) struct RouteTable {
    hosts: HashMap<String, Paths>,
    /// By the part of the host after the first dots, without them.
    subdomains: HashMap<String, Paths>,
    every_host: Paths,
}

/// The paths of one host.
type Paths = Router<Target>;

#[derive(Clone)]
struct Target {
    name: FunctionName,
    version: Version,
    below: Option<Below>,
}

/// A route with everything below a path.
#[derive(Clone, Copy)]
struct Below {
    /// The number of slashes in the path above.
    slashes: usize,
}

/// The version that answers a path.
pub(crate) struct FoundRoute<'a> {
    pub(crate) name: &'a FunctionName,
    pub(crate) version: Version,
    /// The position in the path where the part below the route begins.
    pub(crate) subpath_at: usize,
}

impl RouteTable {
    /// Returns the table of these versions. If two have the same route, which deploys refuse, it is
    /// the first one's.
    pub(crate) fn new(versions: &[VersionRecord]) -> Self {
        let mut table = Self::default();
        // An exact path comes before one that only begins a route: insertion doesn't replace.
        for covers_below in [false, true] {
            for record in versions {
                for path in record.routes.iter().filter(|path| path.covers_below() == covers_below) {
                    table.add(record, path);
                }
            }
        }
        table
    }

    fn add(&mut self, record: &VersionRecord, path: &RoutePath) {
        let slashes = path.path().matches('/').count();
        let below = path.covers_below().then_some(Below { slashes });
        let target = Target { name: record.name.clone(), version: record.version, below };
        if record.hosts.is_empty() {
            insert(&mut self.every_host, path, &target);
        }
        for host in &record.hosts {
            let hosts = if host.covers_subdomains() { &mut self.subdomains } else { &mut self.hosts };
            insert(hosts.entry(host.name().to_owned()).or_default(), path, &target);
        }
    }

    /// Returns the version that answers `path` on `host`, which is as
    /// [`host_of`](nebula_model::route::host_of) returns it.
    pub(crate) fn find(&self, host: Option<&str>, path: &str) -> Option<FoundRoute<'_>> {
        let canonical = canonical_path(path);
        if is_reserved(&canonical) {
            return None;
        }
        let target = self.paths(host).find_map(|paths| Some(paths.at(&canonical).ok()?.value))?;
        let Target { name, version, below } = target;
        // The canonical path has the same slashes.
        let subpath_at = below.and_then(|Below { slashes }| path.match_indices('/').nth(slashes));
        let subpath_at = subpath_at.map_or(path.len(), |(at, _)| at);
        Some(FoundRoute { name, version: *version, subpath_at })
    }

    /// Returns the paths of a host, the most specific first.
    fn paths(&self, host: Option<&str>) -> impl Iterator<Item = &Paths> {
        let exact = host.and_then(|host| self.hosts.get(host));
        let host = host.filter(|_| !self.subdomains.is_empty()).unwrap_or_default();
        let parents = host.match_indices('.').map(move |(at, _)| &host[at + 1..]);
        let subdomains = parents.filter_map(|parent| self.subdomains.get(parent));
        exact.into_iter().chain(subdomains).chain([&self.every_host])
    }
}

fn insert(paths: &mut Paths, path: &RoutePath, target: &Target) {
    let text = path.path();
    let patterns = match path.covers_below() {
        false => vec![text.to_owned()],
        true if text.is_empty() => vec!["/".to_owned(), "/{*below}".to_owned()],
        true => vec![text.to_owned(), format!("{text}/"), format!("{text}/{{*below}}")],
    };
    for pattern in patterns {
        // The only error is a conflict with a path that was inserted before and comes first.
        let _ = paths.insert(pattern, target.clone());
    }
}

#[cfg(test)]
mod tests;
