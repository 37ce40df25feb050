//! A server for one test, and requests to it.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::cli::{CommandRun, command, nebula};
use crate::{FunctionCrate, WAIT_MAX, eventually};

/// A running `nebula serve` (or `up`). Dropping it kills the process and, unless [`Nebula::home`]
/// is held elsewhere, removes its directory.
pub struct Nebula {
    child: Child,
    calls: SocketAddr,
    control: SocketAddr,
    /// Holds the data directory, which the server creates.
    home: Arc<TempDir>,
    token: String,
    agent: ureq::Agent,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Nebula {
    /// Starts a server with the defaults of the product.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Self {
        let home = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        Self::start_over(home, arguments)
    }

    /// Starts a server without a cache, so that every call runs and none shares the execution of
    /// another.
    #[track_caller]
    pub fn start_uncached() -> Self {
        Self::start_uncached_with(&[])
    }

    /// Starts a server without a cache and with more arguments.
    #[track_caller]
    pub fn start_uncached_with(arguments: &[&str]) -> Self {
        Self::start_with(&[&["--cache-bytes-max", "0"], arguments].concat())
    }

    /// Starts a server on the data directory in `home`, which an earlier server may have written.
    #[track_caller]
    pub fn start_over(home: Arc<TempDir>, arguments: &[&str]) -> Self {
        Self::run(home, &[&["serve"], arguments].concat(), Path::new("/"), &[])
    }

    /// Starts a command that serves, such as `up`, in `directory` and with environment variables.
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
        let stdout = collect_lines(child.stdout.take().expect("piped"));
        let stderr = collect_lines(child.stderr.take().expect("piped"));
        let addresses = eventually("the server prints its addresses", || {
            let exited = child.try_wait().expect("a child").is_some();
            let printed = stdout.lock().unwrap();
            let address = |label: &str| {
                let line = printed.lines().find_map(|line| line.strip_prefix(label))?;
                line.trim().strip_prefix("http://")?.parse::<SocketAddr>().ok()
            };
            let found = printed.contains('\n').then(|| address("calls").zip(address("control"))).flatten();
            assert!(found.is_some() || !exited, "the server exited: {}", stderr.lock().unwrap());
            found
        });
        let token = std::fs::read_to_string(data_dir_in(&home).join("token")).expect("a token");
        let (calls, control) = addresses;
        Self { child, calls, control, home, token, agent: agent(), stdout, stderr }
    }

    /// Deploys the component at `path` and asserts that the server accepts it.
    #[must_use]
    #[track_caller]
    pub fn deploy(self, name: &str, path: &str) -> Self {
        self.redeploy(name, path);
        self
    }

    /// Deploys the component at `path`, asserts that the server accepts it, and returns the answer
    /// with its record.
    #[track_caller]
    pub fn redeploy(&self, name: &str, path: &str) -> Answer {
        let component = std::fs::read(path).expect("a component");
        self.put(name, &component).is(200)
    }

    /// Sends bytes for deployment and returns the answer, accepted or not. `name` may end in a
    /// query with limits.
    pub fn put(&self, name: &str, component: &[u8]) -> Answer {
        self.control("PUT", &format!("/api/v1/functions/{name}")).body(component).send()
    }

    /// Sends a function of this repository for deployment, after deploying the functions that it
    /// imports. `query` may hold limits.
    pub fn put_function(&self, name: &str, query: &str) -> Answer {
        let component = std::fs::read(FunctionCrate::named(name).component).expect("a component");
        loop {
            let answer = self.put(&format!("{name}?{query}"), &component);
            if answer.status() != 422 || answer.json()["type"] != "urn:nebula:problem:unknown-import" {
                return answer;
            }
            let imported = answer.json()["function"].as_str().expect("a name").to_owned();
            self.put_function(&imported, "").is(200);
        }
    }

    /// Sends a POST request with a JSON document.
    pub fn post(&self, path: &str, json: &str) -> Answer {
        self.request("POST", path).header("content-type", "application/json").body(json).send()
    }

    /// Sends a GET request.
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path).send()
    }

    /// Prepares a request to the data plane.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(&self.agent, method, format!("http://{}{path}", self.calls))
    }

    /// Prepares a request to another address of this server.
    pub fn request_to(&self, address: &str, method: &str, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(&self.agent, method, format!("http://{address}{path}"))
    }

    /// Prepares a request to the control plane, with the token.
    pub fn control(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        self.control_without_token(method, path).header("authorization", &format!("Bearer {}", self.token))
    }

    /// Prepares a request to the control plane, without the token.
    pub fn control_without_token(&self, method: &str, path: &str) -> RequestBuilder<'_> {
        RequestBuilder::new(&self.agent, method, format!("http://{}{path}", self.control))
    }

    /// Runs `nebula arguments…` against this server.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> CommandRun {
        let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        all.extend(self.remote_arguments());
        nebula(&all).shown_as(arguments)
    }

    /// Returns the arguments of the command line that name this server.
    pub fn remote_arguments(&self) -> [String; 6] {
        [
            "--server".to_owned(),
            format!("http://{}", self.control),
            "--url".to_owned(),
            format!("http://{}", self.calls),
            "--data-dir".to_owned(),
            self.data_dir().display().to_string(),
        ]
    }

    /// Returns the token of the control plane.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Replaces everything in `text` that differs between runs and machines with a name for it.
    pub fn redacted(&self, text: &str) -> String {
        let guests = Path::new(crate::guests::GREETS).parent().expect("a directory");
        let text = text.replace(&guests.display().to_string(), "GUESTS");
        without_digests(&text)
            .replace(&self.calls.to_string(), "CALLS")
            .replace(&self.control.to_string(), "CONTROL")
            .replace(&self.data_dir().display().to_string(), "DATA_DIR")
    }

    /// Returns the address of the data plane.
    pub fn calls_address(&self) -> SocketAddr {
        self.calls
    }

    /// Returns the address of the control plane.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// Returns the directory that holds the data directory. It isn't removed while the caller holds
    /// it.
    pub fn home(&self) -> Arc<TempDir> {
        Arc::clone(&self.home)
    }

    /// Returns the path of the data directory.
    pub fn data_dir(&self) -> PathBuf {
        data_dir_in(&self.home)
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns what the server has written to stdout so far.
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Returns what the server has written to stderr so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends SIGTERM, which makes the server drain and exit.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGINT, as Ctrl-C does.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGHUP, as a terminal that closes does.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Sends SIGTERM and waits until the server exits successfully.
    #[track_caller]
    pub fn terminate_and_wait(mut self) {
        self.terminate();
        self.wait_for_exit();
    }

    /// Kills the server, so that it can't clean up, and waits until the process is gone.
    #[track_caller]
    pub fn kill(self) {
        self.send_kill();
    }

    /// Sends SIGKILL and returns at once, for tests in which requests are in flight. Dropping the
    /// server waits until the process is gone.
    #[track_caller]
    pub fn send_kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Waits until the server exits and asserts that it reports success.
    #[track_caller]
    pub fn wait_for_exit(&mut self) {
        let status = eventually("the server exits", || self.child.try_wait().expect("a child"));
        assert!(status.success(), "{status}: {}", self.stderr());
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a running process");
    }
}

/// Starts `nebula serve` on the data directory in `home` the way systemd's socket activation does:
/// the process inherits `listener` as file descriptor 3.
#[track_caller]
pub fn spawn_with_socket(home: &TempDir, listener: &std::net::TcpListener, arguments: &[&str]) -> Child {
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
        // The server may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server printed:\n{}", self.stderr());
        }
    }
}

/// Replaces what depends on the compiler: digests and sizes of components.
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

/// Creates an HTTP client that treats no status as an error and follows no redirect.
pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .max_redirects(0)
        .timeout_global(Some(WAIT_MAX))
        .build()
        .into()
}

/// Collects the lines of a pipe, on a thread that ends when the pipe closes.
pub(crate) fn collect_lines(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let into = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    collected
}

/// A request that isn't sent yet.
pub struct RequestBuilder<'a> {
    agent: &'a ureq::Agent,
    request: http::request::Builder,
    /// Method and URL, for messages.
    label: String,
    body: Vec<u8>,
}

impl<'a> RequestBuilder<'a> {
    pub(crate) fn new(agent: &'a ureq::Agent, method: &str, url: String) -> Self {
        let label = format!("{method} {url}");
        Self { agent, request: http::Request::builder().method(method).uri(url), label, body: Vec::new() }
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

    /// Sends the request and reads the whole answer. Fails the test if the connection fails.
    #[track_caller]
    pub fn send(self) -> Answer {
        let label = self.label.clone();
        self.try_send().unwrap_or_else(|error| panic!("{label}: {error}"))
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Errors
    /// Returns an error if the connection fails.
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
        Ok(Answer::new(self.label, http::Response::from_parts(parts, body)))
    }
}
