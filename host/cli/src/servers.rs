//! Servers that `nebula login` has saved: URLs, CA and token of each, under a name.
//!
//! The file is `nebula/servers.json` in the user's configuration directory
//! (`XDG_CONFIG_HOME`, else `~/.config`).
//!
//! Invariants:
//! * Only its user can read the file, which has mode 0600 from the moment it exists.
//! * A reader sees the file before a change or after it, never a part.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::address::PlaneUrl;
use crate::report::hinted;

/// The saved servers by name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedServers {
    servers: BTreeMap<String, SavedServer>,
}

/// A saved server.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedServer {
    /// The URL of the control plane.
    pub(crate) control: String,
    /// The URL of the data plane, as the server told it.
    pub(crate) calls: String,
    /// The certificates of the CA to trust, in PEM; `None` trusts those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// The token of the control plane.
    pub(crate) token: String,
}

impl std::fmt::Debug for SavedServer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SavedServer").field("control", &self.control).finish_non_exhaustive()
    }
}

impl SavedServer {
    /// Returns the URL of the data plane.
    pub(crate) fn calls_url(&self) -> Option<PlaneUrl> {
        self.calls.parse().ok()
    }
}

impl SavedServers {
    /// Reads the saved servers. Without a file the list is empty.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let message = format!("`{}` is damaged", path.display());
                let hint = "delete it, and run `nebula login` again for each server";
                anyhow::Error::new(error).context(hinted(message, hint))
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Writes the saved servers and returns the file's path.
    pub(crate) fn save(&self) -> anyhow::Result<PathBuf> {
        let path = path().ok_or_else(|| {
            hinted("there is no configuration directory", "set `XDG_CONFIG_HOME` or `HOME`")
        })?;
        let directory = path.parent().context("the file has a directory")?;
        let write = || -> std::io::Result<()> {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            // The temporary file has mode 0600.
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(path)
    }

    /// Returns the server that has this name, else one whose control plane has this URL.
    pub(crate) fn find(&self, name_or_url: &str) -> Option<&SavedServer> {
        let with_url = || self.servers.values().find(|server| server.control == name_or_url);
        self.servers.get(name_or_url).or_else(with_url)
    }

    /// Adds a server, in place of one with the same name.
    pub(crate) fn insert(&mut self, name: String, server: SavedServer) {
        self.servers.insert(name, server);
    }

    /// Removes a server and returns whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.servers.remove(name).is_some()
    }

    /// Returns all servers with their names.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SavedServer)> {
        self.servers.iter().map(|(name, server)| (name.as_str(), server))
    }

    /// Returns the names, to be shown; `None` without a server.
    pub(crate) fn names(&self) -> Option<String> {
        let names: Vec<_> = self.servers.keys().map(|name| format!("`{name}`")).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

/// Returns the path of the file; `None` if the user has no home.
fn path() -> Option<PathBuf> {
    let directory = |variable| std::env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    // The specification of these directories ignores relative paths.
    let base = directory("XDG_CONFIG_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| directory("HOME").map(|home| home.join(".config")))?;
    Some(base.join("nebula/servers.json"))
}
