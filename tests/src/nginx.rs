//! nginx as a caching proxy in front of a server, with the configuration that docs/operations.md
//! shows.
//!
//! It runs as the user who runs the tests and keeps all its files in a temporary directory, so
//! several can run at the same time.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::answer::Answer;
use crate::eventually;
use crate::server::{Nebula, RequestBuilder, agent, collect_lines};

const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// The number of ports to try: another process may take a free port before nginx binds it.
const ATTEMPTS: usize = 10;

/// A running nginx. Dropping it kills the process and removes its directory.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    agent: ureq::Agent,
    /// Holds the configuration, the cache and everything else that nginx writes.
    _home: TempDir,
}

impl Nginx {
    /// Starts nginx in front of a server, with the documented configuration.
    #[track_caller]
    pub fn in_front_of(nebula: &Nebula) -> Self {
        Self::start(nebula, documented_configuration())
    }

    /// Starts nginx in front of a server, with a configuration that caches the whole data plane. An
    /// operator who has read only nginx's manual might write it.
    #[track_caller]
    pub fn caching_everything_in_front_of(nebula: &Nebula) -> Self {
        let configuration = replaced(
            documented_configuration(),
            Replacement { documented: "location ~ ^/f/[^/]+@sha256: {", used: "location ~ ^/f/ {" },
        );
        Self::start(nebula, &configuration)
    }

    /// Sends a GET request.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// Prepares a request to the proxy.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(&self.agent, method, format!("http://{}{path}", self.address))
    }

    #[track_caller]
    fn start(nebula: &Nebula, configuration: &str) -> Self {
        let binary = binary();
        let mut errors = String::new();
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            let home = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(
                home.path().join("nginx.conf"),
                complete_configuration(&binary, &home, configuration, address, nebula),
            )
            .expect("a directory to write to");
            let mut child = Command::new(&binary)
                .arg("-p")
                .arg(home.path())
                .args(["-c", "nginx.conf"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("nginx runs");
            let stderr = collect_lines(child.stderr.take().expect("piped"));
            if wait_until_listening(&mut child, &home.path().join("nginx.pid")) {
                return Self { child, address, agent: agent(), _home: home };
            }
            errors = stderr.lock().unwrap().clone();
        }
        panic!("nginx doesn't start: {errors}")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // nginx is a single process here, which may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until nginx listens, and returns false if it exits instead. It writes its pid file after
/// binding its port.
#[track_caller]
fn wait_until_listening(child: &mut Child, pid: &Path) -> bool {
    eventually("nginx listens", || {
        if child.try_wait().expect("a child").is_some() {
            return Some(false);
        }
        std::fs::metadata(pid).is_ok_and(|pid| pid.len() > 0).then_some(true)
    })
}

/// Returns the part of `nginx.conf` that docs/operations.md shows.
#[track_caller]
fn documented_configuration() -> &'static str {
    let (_, rest) = OPERATIONS.split_once("```nginx\n").expect("a block of nginx configuration");
    rest.split_once("```").expect("the end of the block").0
}

/// A text of the documented configuration, and the text that a test uses instead.
struct Replacement<'a> {
    documented: &'a str,
    used: &'a str,
}

/// Replaces a text, which must occur in the configuration.
#[track_caller]
fn replaced(configuration: &str, replacement: Replacement<'_>) -> String {
    let Replacement { documented, used } = replacement;
    assert!(
        configuration.contains(documented),
        "no `{documented}` in the configuration of docs/operations.md:\n{configuration}"
    );
    configuration.replace(documented, used)
}

/// Returns a complete `nginx.conf`: the documented part `http` with the addresses and directories
/// of a test, and the directives around it that a distribution would supply.
#[track_caller]
fn complete_configuration(
    binary: &Path,
    home: &TempDir,
    http: &str,
    address: SocketAddr,
    nebula: &Nebula,
) -> String {
    let home = home.path().display();
    let listen = format!("listen {address};");
    let http = replaced(http, Replacement { documented: "listen 80;", used: &listen });
    let upstream = nebula.calls_address().to_string();
    let http = replaced(&http, Replacement { documented: "127.0.0.1:8080", used: &upstream });
    let cache = format!("{home}/cache");
    let http = replaced(&http, Replacement { documented: "/var/cache/nginx/nebula", used: &cache });
    // Started by root, nginx would give its directories to another user.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String = modules_with_directories(binary)
        .map(|module| format!("{module}_temp_path {home}/{module};\n"))
        .collect();
    // A single process, so that killing it ends nginx.
    format!(
        "daemon off;\nmaster_process off;\n{user}\npid {home}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{http}}}\n"
    )
}

/// Returns the modules that need a directory for temporary files and that this nginx was built
/// with.
fn modules_with_directories(binary: &Path) -> impl Iterator<Item = &'static str> {
    let built = Command::new(binary).arg("-V").output().expect("nginx runs").stderr;
    let built = String::from_utf8_lossy(&built).into_owned();
    let all = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].into_iter();
    all.filter(move |module| !built.contains(&format!("--without-http_{module}_module")))
}

/// Finds the nginx that is installed, or the one that `cargo xtask test` has downloaded.
#[track_caller]
fn binary() -> PathBuf {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/nginx/usr/sbin/nginx");
    let places = ["nginx", "/usr/sbin/nginx", unpacked];
    let runs = |place: &&str| Command::new(place).arg("-v").output().is_ok_and(|ran| ran.status.success());
    let found = places.into_iter().find(runs);
    found.expect("nginx is not installed: `cargo xtask test` downloads it").into()
}
