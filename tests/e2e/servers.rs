//! The servers that the command line talks to: addresses, tokens, TLS, and servers saved by
//! `nebula login`.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use nebula_tests::{CommandRun, Nebula, TestCa, TlsServer, command, guests, nebula, nebula_in};
use serde_json::json;
use tempfile::TempDir;

/// A user with a configuration directory of their own.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> String {
        self.home.path().join("config").display().to_string()
    }

    /// Runs a command in a directory without a data directory.
    #[track_caller]
    fn nebula(&self, arguments: &[&str], variables: &[(&str, &str)]) -> CommandRun {
        let config = self.config();
        let mut all = vec![("XDG_CONFIG_HOME", config.as_str())];
        all.extend(variables);
        nebula_in(self.home.path(), arguments, &all)
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

#[test]
fn servers_are_named_by_urls_and_addresses() {
    let server = Nebula::start().deploy("adds", guests::ADDS);
    let data_dir = server.data_dir().display().to_string();
    let (control, calls) = (server.control_address().port(), server.calls_address().port());
    for host in ["http://127.0.0.1:", "http://localhost:", "127.0.0.1:", "localhost:", ":"] {
        let list = nebula(&["list", "--server", &format!("{host}{control}"), "--data-dir", &data_dir]);
        assert!(list.exits(0).stdout().starts_with("adds  v1"), "{host}");
        nebula(&["invoke", "adds", "1", "2", "--url", &format!("{host}{calls}")]).exits(0).says("3");
    }
    nebula(&["invoke", "adds", "1", "--url", "ftp://x"]).exits(2).explains("a server is `https://HOST`");
    nebula(&["list", "--server", "prod"])
        .exits(2)
        .explains("no server is saved as `prod`, and it isn't an address")
        .explains("hint: `nebula login URL --name prod`");
}

#[test]
fn servers_listen_on_names_and_ports() {
    let home = tempfile::tempdir().unwrap();
    for (listen, shown) in
        [("localhost:0", "http://127.0.0.1:"), (":0", "http://127.0.0.1:"), ("[::1]:0", "http://[::1]:")]
    {
        let mut child = command()
            .args(["serve", "--listen", listen, "--control", listen, "--data-dir"])
            .arg(home.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line)
            .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(line.starts_with(&format!("calls    {shown}")), "{listen}: {line}");
    }
    let data_dir = home.path().display().to_string();
    nebula(&["serve", "--listen", "no.such.host.invalid:0", "--data-dir", &data_dir])
        .exits(1)
        .explains("cannot find the address `no.such.host.invalid:0`");
}

/// The control plane tells the URL of the data plane, so a deploy prints one that works.
#[test]
fn deploy_prints_the_url_that_the_server_tells() {
    let server = Nebula::start();
    let control = format!("127.0.0.1:{}", server.control_address().port());
    let data_dir = server.data_dir().display().to_string();
    let deploy = ["deploy", guests::ADDS, "--server", &control, "--data-dir", &data_dir];
    let url = format!("http://{}/f/adds", server.calls_address());
    assert_eq!(nebula(&deploy).exits(0).stdout().lines().nth(1), Some(url.as_str()));
    // `invoke` asks for it too.
    nebula(&["invoke", "adds", "1", "2", "--server", &control, "--data-dir", &data_dir]).exits(0).says("3");
    let told = server.control("GET", "/api/v1/server").send().is(200).json();
    assert_eq!(told["calls_url"], format!("http://{}", server.calls_address()));
    assert!(told["version"].as_str().is_some_and(|version| version.contains('.')), "{told}");

    let public = Nebula::start_with(&["--public-url", "https://calls.example.org/"]);
    let told = public.control("GET", "/api/v1/server").send().is(200).json();
    assert_eq!(told["calls_url"], "https://calls.example.org");
}

/// The first token that is given counts: the file's, the environment's, the data directory's.
#[test]
fn tokens_come_from_a_file_the_environment_or_the_data_directory() {
    let server = Nebula::start();
    let user = User::new();
    let control = format!("http://{}", server.control_address());
    let (right, wrong) = (server.token(), "wrong");
    let (right_file, wrong_file) = (user.write("right", right), user.write("wrong", wrong));
    let data_dir = server.data_dir().display().to_string();
    let list = |arguments: &[&str], variables: &[(&str, &str)]| {
        user.nebula(&[&["list", "--server", &control], arguments].concat(), variables)
    };
    list(&[], &[("NEBULA_TOKEN", right)]).exits(0);
    list(&[], &[("NEBULA_TOKEN", &format!(" {right}\n"))]).exits(0);
    list(&["--data-dir", &data_dir], &[]).exits(0);
    list(&["--token-file", &right_file], &[("NEBULA_TOKEN", wrong)]).exits(0);
    list(&[], &[("NEBULA_TOKEN", right), ("NEBULA_DATA_DIR", "/nowhere")]).exits(0);
    list(&["--token-file", &wrong_file], &[("NEBULA_TOKEN", right)]).exits(7).explains("`NEBULA_TOKEN`");
    list(&["--data-dir", &data_dir], &[("NEBULA_TOKEN", wrong)]).exits(7);
    list(&[], &[("NEBULA_TOKEN", "")]).exits(1).explains("`NEBULA_TOKEN` holds no token");
    list(&[], &[]).exits(1).explains("no token for the control plane").explains("`nebula login`");
}

/// Encrypted planes in front of a server: rustls, with a certificate of a CA that is made here.
struct Secure {
    server: Nebula,
    ca: TestCa,
    control: TlsServer,
    calls: TlsServer,
}

impl Secure {
    fn start() -> Self {
        let server = Nebula::start().deploy("adds", guests::ADDS);
        let ca = TestCa::new();
        let control = TlsServer::start(&ca, "localhost", server.control_address());
        let calls = TlsServer::start(&ca, "localhost", server.calls_address());
        Self { server, ca, control, calls }
    }

    fn control_url(&self) -> String {
        format!("https://localhost:{}", self.control.port())
    }

    fn calls_url(&self) -> String {
        format!("https://localhost:{}", self.calls.port())
    }
}

#[test]
fn https_servers_are_trusted_by_their_ca() {
    let secure = Secure::start();
    let user = User::new();
    let ca = user.write("ca.pem", &secure.ca.pem());
    let other = user.write("other.pem", &TestCa::new().pem());
    let (control, calls) = (secure.control_url(), secure.calls_url());
    let token = [("NEBULA_TOKEN", secure.server.token())];
    let list = ["list", "--server", &control];
    let with = |arguments: &[&str]| user.nebula(&[&list[..], arguments].concat(), &token);

    assert!(with(&["--ca", &ca]).exits(0).stdout().starts_with("adds  v1"));
    user.nebula(&list, &[token[0], ("NEBULA_CA", &ca)]).exits(0);
    // The system's own store, which these variables replace.
    user.nebula(&list, &[token[0], ("SSL_CERT_FILE", &ca)]).exits(0);
    user.nebula(&["invoke", "adds", "1", "2", "--url", &calls, "--ca", &ca], &[]).exits(0).says("3");
    let large = user.write("large.wasm", "");
    std::fs::File::options().write(true).open(&large).unwrap().set_len(65 << 20).unwrap();
    user.nebula(&["deploy", &large, "--server", &control, "--ca", &ca], &token)
        .exits(7)
        .explains("the body is over the limit of 67108864 bytes");

    // Nothing is sent to a server that isn't trusted.
    with(&["--ca", &other]).exits(6).explains("no secure connection to").explains("check `--ca`");
    user.nebula(&list, &[token[0], ("SSL_CERT_FILE", &other)])
        .exits(6)
        .explains("no secure connection to")
        .explains("`--ca FILE`");
    let by_address = format!("https://127.0.0.1:{}", secure.control.port());
    user.nebula(&["list", "--server", &by_address, "--ca", &ca], &token)
        .exits(6)
        .explains("no secure connection");
    with(&["--ca", "/nowhere.pem"]).exits(1).explains("cannot read the CA `/nowhere.pem`");
    let text = user.write("text.pem", "some text");
    with(&["--ca", &text]).exits(1).explains("has no certificate in PEM");
    // A plain server isn't spoken to in TLS, nor a TLS server in plain HTTP.
    let plain = format!("https://{}", secure.server.control_address());
    user.nebula(&["list", "--server", &plain, "--ca", &ca], &token).exits(6);
    let unencrypted = format!("http://localhost:{}", secure.control.port());
    user.nebula(&["list", "--server", &unencrypted], &token).exits(6).explains("`https://`");
}

#[test]
fn login_keeps_url_ca_and_token_of_each_server() {
    let secure = Secure::start();
    let plain = Nebula::start().deploy("reverses", guests::REVERSES);
    let user = User::new();
    let ca = user.write("ca.pem", &secure.ca.pem());
    let token = user.write("token", secure.server.token());
    let (control, calls) = (secure.control_url(), secure.calls_url());

    user.nebula(&["login"], &[]).exits(0).says("").explains("no server is saved");
    user.nebula(
        &["login", &control, "--name", "prod", "--url", &calls, "--ca", &ca, "--token-file", &token],
        &[],
    )
    .exits(0)
    .says(&format!("prod  {control}  calls {calls}\n"))
    .explains("`--server prod`");
    let file = user.home.path().join("config/nebula/servers.json");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    // The saved copies count from now on.
    std::fs::remove_file(&ca).unwrap();
    std::fs::remove_file(&token).unwrap();
    assert!(user.nebula(&["list", "--server", "prod"], &[]).exits(0).stdout().starts_with("adds  v1"));
    user.nebula(&["list"], &[("NEBULA_SERVER", "prod")]).exits(0);
    user.nebula(&["list", "--server", &control], &[]).exits(0);
    user.nebula(&["invoke", "adds", "1", "2", "--server", "prod"], &[]).exits(0).says("3");
    // Deploys print what the server tells, unless a URL is given.
    user.nebula(&["deploy", guests::GREETS, "--server", "prod"], &[]).exits(0);

    // A second server, with the token from stdin and the name from its URL.
    let address = plain.control_address().to_string();
    let mut child = command()
        .args(["login", &address])
        .env("XDG_CONFIG_HOME", user.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{}\n", plain.token()).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(user.nebula(&["list", "--server", &address], &[]).exits(0).stdout().starts_with("reverses"));
    let saved = user.nebula(&["login", "--json"], &[]).exits(0);
    assert_eq!(
        saved.json(),
        json!([
            {
                "name": address, "control": format!("http://{address}"),
                "calls": format!("http://{}", plain.calls_address()), "own_ca": false,
            },
            {"name": "prod", "control": control, "calls": calls, "own_ca": true},
        ])
    );
    for run in [&saved, &user.nebula(&["login"], &[]).exits(0)] {
        assert!(!run.stdout().contains(plain.token()) && !run.stdout().contains(secure.server.token()));
    }
    assert_eq!(mode(&file), 0o600);

    user.nebula(&["logout"], &[]).exits(2).explains("several servers are saved").explains("`prod`");
    user.nebula(&["logout", "none"], &[]).exits(2).explains("no server is saved as `none`");
    user.nebula(&["logout", "prod"], &[]).exits(0).explains("forgot `prod` and its token");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(secure.server.token()));
    user.nebula(&["list", "--server", "prod"], &[]).exits(2).explains("no server is saved as `prod`");
    user.nebula(&["logout"], &[]).exits(0);
    user.nebula(&["logout"], &[]).exits(1).explains("no server is saved");
}

/// A signal at the prompt leaves the terminal as it was. `script` provides the terminal, and a shell
/// that outlives the command, as the user's does.
#[test]
fn a_signal_at_the_token_prompt_restores_the_terminal() {
    let user = User::new();
    let shell = r#"trap : INT QUIT; stty -a; "$BINARY" login :1; echo "exit $?"; stty -a"#;
    for (key, code) in [("\x03", "exit 130"), ("\x1c", "exit 131"), ("\n", "exit 1")] {
        let mut child = std::process::Command::new("script")
            .args(["--quiet", "--command", shell, "/dev/null"])
            .envs([("BINARY", command().get_program()), ("SHELL", "/bin/sh".as_ref())])
            .env("XDG_CONFIG_HOME", user.config())
            .env_remove("NEBULA_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut shown = Vec::new();
        while !String::from_utf8_lossy(&shown).contains("isn't shown):") {
            let mut byte = [0];
            stdout.read_exact(&mut byte).unwrap();
            shown.extend_from_slice(&byte);
        }
        stdin.write_all(key.as_bytes()).unwrap();
        stdout.read_to_end(&mut shown).unwrap();
        child.wait().unwrap();
        let shown = String::from_utf8_lossy(&shown).replace("\r\n", "\n");
        assert!(shown.contains(code), "{key:?}: {shown}");
        let settings: Vec<_> = shown.split_whitespace().filter(|word| word.ends_with("echo")).collect();
        assert_eq!(settings, ["echo", "echo"], "{key:?}: {shown}");
    }
}

/// A login that the server refuses, or that doesn't reach it, saves nothing.
#[test]
fn login_saves_only_what_works() {
    let server = Nebula::start();
    let user = User::new();
    let address = server.control_address().to_string();
    user.nebula(&["login", &address], &[("NEBULA_TOKEN", "wrong")]).exits(7).explains("cannot log in to");
    user.nebula(&["login", &address], &[]).exits(1).explains("there is no token");
    user.nebula(&["login", ":1"], &[("NEBULA_TOKEN", "x")]).exits(6).explains("no server answers");
    assert!(!user.home.path().join("config").exists());
    std::fs::create_dir_all(user.home.path().join("config/nebula")).unwrap();
    user.write("config/nebula/servers.json", "{");
    user.nebula(&["list", "--server", &address], &[("NEBULA_TOKEN", server.token())])
        .exits(1)
        .explains("is damaged")
        .explains("hint: delete it");
}

/// An error of a proxy in between isn't the function's own.
#[test]
fn errors_of_a_proxy_are_told_from_the_functions() {
    for (status, code) in [("502 Bad Gateway", 1), ("503 Service Unavailable", 8), ("404 Not Found", 7)] {
        let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", proxy.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let mut head = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut head).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            // The end of a connection with unread bytes, such as the body, would reset it.
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let _ = std::io::Read::read_to_end(&mut stream, &mut Vec::new());
        });
        nebula(&["invoke", "adds", "1", "--url", &url])
            .exits(code)
            .explains("gave no answer")
            .explains(status);
        answering.join().unwrap();
    }
}
