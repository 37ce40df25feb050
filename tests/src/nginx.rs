//! nginx as a caching proxy in front of a server, configured as docs/operations.md says.
//!
//! Everything of it is in a temporary directory: it runs beside others, as whoever runs the tests.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::answer::Answer;
use crate::eventually;
use crate::server::{Call, Nebula, agent, gather};

const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// Ports that are tried: what is free may be another's when nginx takes it.
const ATTEMPTS: usize = 10;

/// A running nginx. Dropping it kills the process and removes its directory.
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    agent: ureq::Agent,
    /// Its configuration, its cache and whatever else it writes.
    _home: TempDir,
}

impl Nginx {
    /// Puts one in front of a server, with the documented configuration.
    #[track_caller]
    pub fn before(nebula: &Nebula) -> Self {
        Self::start(nebula, documented())
    }

    /// The same, with all of the data plane left to its cache: what somebody configures who has read
    /// nginx's manual alone.
    #[track_caller]
    pub fn caching_everything_of(nebula: &Nebula) -> Self {
        Self::start(nebula, &with(documented(), "location ~ ^/f/[^/]+@sha256: {", "location ~ ^/f/ {"))
    }

    /// Gets.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// A request to what is behind it.
    pub fn request(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.agent, method, format!("http://{}{path}", self.address))
    }

    #[track_caller]
    fn start(nebula: &Nebula, configuration: &str) -> Self {
        let binary = binary();
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = free.local_addr().expect("it is bound");
            drop(free);
            let home = tempfile::tempdir().expect("a temporary directory");
            std::fs::write(
                home.path().join("nginx.conf"),
                whole(&binary, &home, configuration, address, nebula),
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
            let stderr = gather(child.stderr.take().expect("piped"));
            if listens(&mut child, &home.path().join("nginx.pid")) {
                return Self { child, address, agent: agent(), _home: home };
            }
            said = stderr.lock().unwrap().clone();
        }
        panic!("nginx doesn't start: {said}")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It is one process, and may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it listens, or has ended. It writes its pid once it has its port.
#[track_caller]
fn listens(child: &mut Child, pid: &Path) -> bool {
    eventually("nginx listens", || {
        if child.try_wait().expect("a child").is_some() {
            return Some(false);
        }
        std::fs::metadata(pid).is_ok_and(|pid| pid.len() > 0).then_some(true)
    })
}

/// What docs/operations.md shows of `nginx.conf`.
#[track_caller]
fn documented() -> &'static str {
    let (_, rest) = OPERATIONS.split_once("```nginx\n").expect("it shows a configuration");
    rest.split_once("```").expect("which ends").0
}

/// `text` with `shown`, which has to be there, as it is in the test.
#[track_caller]
fn with(text: &str, shown: &str, here: &str) -> String {
    assert!(text.contains(shown), "no `{shown}` in what docs/operations.md shows:\n{text}");
    text.replace(shown, here)
}

/// A whole `nginx.conf`: `http`, in the places of a test, and what a distribution has around it.
#[track_caller]
fn whole(binary: &Path, home: &TempDir, http: &str, address: SocketAddr, nebula: &Nebula) -> String {
    let home = home.path().display();
    let http = with(http, "listen 80;", &format!("listen {address};"));
    let http = with(&http, "127.0.0.1:8080", &nebula.calls_address().to_string());
    let http = with(&http, "/var/cache/nginx/nebula", &format!("{home}/cache"));
    // It gives its directories to another user if root starts it.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let temporary: String =
        modules(binary).map(|module| format!("{module}_temp_path {home}/{module};\n")).collect();
    // One process, which ends when it is killed.
    format!(
        "daemon off;\nmaster_process off;\n{user}\npid {home}/nginx.pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}{http}}}\n"
    )
}

/// The modules that want a directory of their own, as far as it was built with them.
fn modules(binary: &Path) -> impl Iterator<Item = &'static str> {
    let built = Command::new(binary).arg("-V").output().expect("nginx runs").stderr;
    let built = String::from_utf8_lossy(&built).into_owned();
    let all = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].into_iter();
    all.filter(move |module| !built.contains(&format!("--without-http_{module}_module")))
}

/// Where `cargo xtask test` has made sure that there is one.
#[track_caller]
fn binary() -> PathBuf {
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/nginx/usr/sbin/nginx");
    let places = ["nginx", "/usr/sbin/nginx", unpacked];
    let runs = |place: &&str| Command::new(place).arg("-v").output().is_ok_and(|ran| ran.status.success());
    let found = places.into_iter().find(runs);
    found.expect("no nginx here: `cargo xtask test` gets one").into()
}
