//! A server of a test's own, and requests to it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::cli::{Ran, command, nebula};
use crate::{PATIENCE, eventually};

/// A running `nebula serve` (or `up`). Dropping it kills the process and removes its directory.
pub struct Nebula {
    child: Child,
    calls: SocketAddr,
    control: SocketAddr,
    /// Holds the data directory, which the server makes itself.
    home: Arc<TempDir>,
    token: String,
    agent: ureq::Agent,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Nebula {
    /// Starts a server. It remembers nothing: what is called is run.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments. It remembers nothing, unless they say how much.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        Self::start_over(home, arguments)
    }

    /// Starts a server over the data directory in `home`, which may be another's that has ended.
    #[track_caller]
    pub fn start_over(home: Arc<TempDir>, arguments: &[&str]) -> Self {
        let mut serve = vec!["serve"];
        if !arguments.contains(&"--cache-bytes-max") {
            serve.extend(["--cache-bytes-max", "0"]);
        }
        serve.extend(arguments);
        Self::run(home, &serve, Path::new("/"), &[])
    }

    /// Runs a command that serves, such as `up`, in `directory` and with variables set.
    #[track_caller]
    pub fn run(home: Arc<TempDir>, arguments: &[&str], directory: &Path, variables: &[(&str, &str)]) -> Self {
        let mut child = command()
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--data-dir"])
            .arg(data_dir_in(&home))
            .current_dir(directory)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let stdout = gather(child.stdout.take().expect("piped"));
        let stderr = gather(child.stderr.take().expect("piped"));
        let addresses = eventually("the server says its addresses", || {
            let ended = child.try_wait().expect("a child").is_some();
            let said = stdout.lock().unwrap();
            let address = |label: &str| {
                let line = said.lines().find_map(|line| line.strip_prefix(label))?;
                line.trim().strip_prefix("http://")?.parse::<SocketAddr>().ok()
            };
            let found = said.contains('\n').then(|| address("calls").zip(address("control"))).flatten();
            assert!(found.is_some() || !ended, "the server ended: {}", stderr.lock().unwrap());
            found
        });
        let token = std::fs::read_to_string(data_dir_in(&home).join("token")).expect("a token");
        let (calls, control) = addresses;
        Self { child, calls, control, home, token, agent: agent(), stdout, stderr }
    }

    /// Deploys the component at `path`, which has to be accepted.
    #[must_use]
    #[track_caller]
    pub fn deploy(self, name: &str, path: &str) -> Self {
        self.redeploy(name, path);
        self
    }

    /// Deploys the component at `path`, which has to be accepted; answers with its record.
    #[track_caller]
    pub fn redeploy(&self, name: &str, path: &str) -> Answer {
        let component = std::fs::read(path).expect("a component");
        self.put(name, &component).is(200)
    }

    /// Offers bytes for deployment, whatever comes of it. `name` may have a query with limits.
    pub fn put(&self, name: &str, component: &[u8]) -> Answer {
        self.control("PUT", &format!("/api/v1/functions/{name}")).body(component).send()
    }

    /// Offers a function of this repository, once what it imports is there. `query` may have limits.
    pub fn put_function(&self, name: &str, query: &str) -> Answer {
        let own = |(directory, _): &&(&str, &str)| directory.ends_with(&format!("/{name}"));
        let (_, path) = crate::FUNCTIONS.iter().find(own).expect("a function of this repository");
        let component = std::fs::read(path).expect("a component");
        loop {
            let answer = self.put(&format!("{name}?{query}"), &component);
            if answer.status() != 422 || answer.json()["type"] != "urn:nebula:problem:unknown-import" {
                return answer;
            }
            let imported = answer.json()["function"].as_str().expect("a name").to_owned();
            self.put_function(&imported, "").is(200);
        }
    }

    /// Calls with a JSON document.
    pub fn post(&self, path: &str, json: &str) -> Answer {
        self.request("POST", path).header("content-type", "application/json").body(json).send()
    }

    /// Gets.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// A request to the data plane.
    pub fn request(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.agent, method, format!("http://{}{path}", self.calls))
    }

    /// A request to the control plane, with the token.
    pub fn control(&self, method: &str, path: &str) -> Call<'_> {
        self.control_without_token(method, path).header("authorization", &format!("Bearer {}", self.token))
    }

    /// A request to the control plane, without the token.
    pub fn control_without_token(&self, method: &str, path: &str) -> Call<'_> {
        Call::new(&self.agent, method, format!("http://{}{path}", self.control))
    }

    /// Runs `nebula arguments…` against this server.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Ran {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(["--server".to_owned(), format!("http://{}", self.control)]);
        all.extend(["--url".to_owned(), format!("http://{}", self.calls)]);
        all.extend(["--data-dir".to_owned(), self.data_dir().display().to_string()]);
        nebula(&all).asked_as(arguments)
    }

    /// `text` with everything that differs between runs and machines named instead.
    pub fn redacted(&self, text: &str) -> String {
        let guests = Path::new(crate::guests::GREETS).parent().expect("a directory");
        let text = text.replace(&guests.display().to_string(), "GUESTS");
        without_digests(&text)
            .replace(&self.calls.to_string(), "CALLS")
            .replace(&self.control.to_string(), "CONTROL")
            .replace(&self.data_dir().display().to_string(), "DATA_DIR")
    }

    /// Where calls go.
    pub fn calls_address(&self) -> SocketAddr {
        self.calls
    }

    /// Where deploys go.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// What holds the data directory, and outlives the server for whoever holds it.
    pub fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        data_dir_in(&self.home)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Asks it to stop.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to stop, and waits until it has.
    #[track_caller]
    pub fn terminate_and_wait(mut self) {
        self.terminate();
        self.ends();
    }

    /// Kills it, with no chance to tidy up, and waits until it is gone.
    #[track_caller]
    pub fn kill(self) {
        self.strike();
    }

    /// Kills it, with no chance to tidy up, whoever waits for an answer. Dropping it waits until it is gone.
    #[track_caller]
    pub fn strike(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until it ends, and expects it to say that all went well.
    #[track_caller]
    pub fn ends(&mut self) {
        let status = eventually("the server ends", || self.child.try_wait().expect("a child"));
        assert!(status.success(), "{status}: {}", self.stderr());
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }
}

/// Starts `nebula serve` over the data directory in `home` as systemd would for a connection to
/// `listener`, which becomes its third file descriptor.
#[track_caller]
pub fn activated(home: &TempDir, listener: &std::net::TcpListener, arguments: &[&str]) -> Child {
    let inherited = rustix::io::FdFlags::empty();
    rustix::io::fcntl_setfd(listener, inherited).expect("an open socket");
    let nebula = command();
    std::process::Command::new("bash")
        .arg("-c")
        .arg(format!("LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&{}", listener.as_raw_fd()))
        .arg("bash")
        .arg(nebula.get_program())
        .args(["serve", "--control", "127.0.0.1:0", "--data-dir"])
        .arg(data_dir_in(home))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("bash runs")
}

impl Drop for Nebula {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What depends on the compiler: digests, and the sizes beside them.
fn without_digests(text: &str) -> String {
    let mut parts = text.split("sha256:");
    let mut redacted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_hexdigit());
        let is_digest = part.len() - rest.len() == 64;
        redacted.push_str(if is_digest { "sha256:DIGEST" } else { "sha256:" });
        redacted.push_str(if is_digest { rest } else { part });
    }
    let lines = redacted.lines().map(|line| match line.trim_start().starts_with("size ") {
        true => "  size       SIZE bytes",
        false => line,
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the data directory of a server that has this home.
pub fn data_dir_in(home: &TempDir) -> PathBuf {
    home.path().join("data")
}

/// What sends requests, and takes every answer as it is.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .timeout_global(Some(PATIENCE))
        .build()
        .into()
}

/// Collects what a pipe says, in a thread that ends with the pipe.
pub(crate) fn gather(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let gathered = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&gathered);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    gathered
}

/// A request being put together.
pub struct Call<'a> {
    agent: &'a ureq::Agent,
    request: http::request::Builder,
    asked: String,
    body: Vec<u8>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(agent: &'a ureq::Agent, method: &str, url: String) -> Self {
        let asked = format!("{method} {url}");
        Self { agent, request: http::Request::builder().method(method).uri(url), asked, body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Sends it and reads the answer; fails where there is none.
    #[track_caller]
    pub fn send(self) -> Answer {
        let asked = self.asked.clone();
        self.try_send().unwrap_or_else(|error| panic!("{asked}: {error}"))
    }

    /// Sends it and reads the answer, if there is one.
    ///
    /// # Errors
    /// When the connection failed.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let bodiless = self.body.is_empty()
            && self.request.method_ref().is_some_and(|method| {
                matches!(method.as_str(), "GET" | "HEAD" | "OPTIONS" | "DELETE" | "CONNECT" | "TRACE")
            });
        let mut response = if bodiless {
            self.agent.run(self.request.body(()).expect("a valid request"))?
        } else {
            self.agent.run(self.request.body(&self.body[..]).expect("a valid request"))?
        };
        let body = response.body_mut().with_config().limit(u64::MAX).read_to_vec()?;
        let (parts, _) = response.into_parts();
        Ok(Answer::new(self.asked, http::Response::from_parts(parts, body)))
    }
}
