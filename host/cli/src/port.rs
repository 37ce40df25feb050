//! The process that listens on a port, for the message that it is taken.

use std::fmt;
use std::net::SocketAddr;

use procfs::net::{TcpNetEntry, TcpState, tcp, tcp6};
use procfs::process::{FDTarget, Process, all_processes};

/// A process that listens on a port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PortHolder {
    pid: i32,
    /// The file name of the program, up to 15 characters of it.
    program: String,
    command: String,
}

impl fmt::Display for PortHolder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "process {} (`{}`)", self.pid, self.command)
    }
}

impl PortHolder {
    /// Finds the process whose socket takes this address. `None` if it belongs to another user, or
    /// is in another container.
    pub(crate) fn of(address: SocketAddr) -> Option<Self> {
        Self::all(address).next()
    }

    /// Finds all processes that hold such a socket: the server, and others that it was inherited
    /// from.
    pub(crate) fn all(address: SocketAddr) -> impl Iterator<Item = Self> {
        let sockets: Vec<_> = [tcp(), tcp6()].into_iter().flatten().flatten().collect();
        let takes = |socket: &&TcpNetEntry| {
            let taken = socket.local_address;
            let is_everywhere = taken.ip().is_unspecified() || address.ip().is_unspecified();
            socket.state == TcpState::Listen
                && taken.port() == address.port()
                && (is_everywhere || taken.ip() == address.ip())
        };
        let inodes: Vec<u64> = sockets.iter().filter(takes).map(|socket| socket.inode).collect();
        let holds = move |process: &Process| {
            let files = process.fd().into_iter().flatten().flatten();
            files
                .into_iter()
                .any(|file| matches!(file.target, FDTarget::Socket(inode) if inodes.contains(&inode)))
        };
        let processes = all_processes().into_iter().flatten().flatten().filter(holds);
        processes.filter_map(|process| {
            let (command, program) = (process.cmdline().ok()?.join(" "), process.stat().ok()?.comm);
            Some(Self { pid: process.pid, program, command })
        })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns whether the process runs a program with this file name.
    pub(crate) fn runs(&self, program: &str) -> bool {
        self.program == program
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_listens_is_found() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut asked: SocketAddr = address.parse().unwrap();
            asked.set_port(port);
            let holder = PortHolder::of(asked).unwrap();
            assert_eq!(holder.pid, i32::try_from(std::process::id()).unwrap(), "{address}");
            assert!(holder.to_string().contains("(`"), "{holder}");
            drop(listener);
            assert_eq!(PortHolder::of(asked), None, "{address}");
        }
    }
}
