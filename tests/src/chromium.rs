//! A page in Chromium, without a window.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::WAIT_MAX;
use crate::server::collect_lines;

/// The time that the scripts of a page may take by the page's own clock, milliseconds. That clock
/// stops while a request is in flight and skips idle time, so this isn't a time that a test waits.
const SCRIPT_MS: &str = "60000";

/// A server of one HTML page, which is an origin of its own. Dropping it closes its port.
pub struct Page {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Page {
    /// Reserves an origin and serves the page that `html` returns for every request.
    #[track_caller]
    pub fn serve(html: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(mut connection) = connection else { continue };
                // A browser may open connections that it doesn't use, and close them at any time.
                let html = html.clone();
                std::thread::spawn(move || {
                    let mut request = [0; 8192];
                    if connection.read(&mut request).is_ok_and(|bytes| bytes > 0) {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\n\
                             content-length: {}\r\nconnection: close\r\n\r\n",
                            html.len()
                        );
                        let _ = connection.write_all(&[head.as_bytes(), html.as_bytes()].concat());
                    }
                });
            }
        });
        Self { address, stopping }
    }

    /// Returns the origin of the page.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the page at `query` in Chromium, runs its scripts, and returns the document that they
    /// leave, as HTML.
    #[track_caller]
    pub fn open(&self, query: &str) -> String {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--dump-dom"])
            .arg(format!("--virtual-time-budget={SCRIPT_MS}"))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("{}/?{query}", self.origin()))
            // It keeps files below these, too.
            .env("HOME", profile.path())
            .env("XDG_CONFIG_HOME", profile.path())
            .env("XDG_CACHE_HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium is not installed: `cargo xtask test` installs it");
        let stdout = collect_lines(child.stdout.take().expect("piped"));
        let stderr = collect_lines(child.stderr.take().expect("piped"));
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            if started.elapsed() > WAIT_MAX {
                let _ = child.kill();
                let _ = child.wait();
                panic!("chromium hangs: {}", stderr.lock().unwrap());
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        };
        assert!(status.success(), "{status}: {}", stderr.lock().unwrap());
        crate::eventually("chromium has written the document", || {
            let written = stdout.lock().unwrap();
            written.contains("</html>").then(|| written.clone())
        })
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // This ends the wait for a connection.
        let _ = std::net::TcpStream::connect(self.address);
    }
}
