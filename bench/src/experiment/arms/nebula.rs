//! Nebula: a server that has the function in several states, and a server that doesn't run.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::experiment::answer::{Answer, Delay};
use crate::experiment::arm::{Arm, Caller, Setup};
use crate::experiment::http::HttpCaller;
use crate::experiment::workload::{Function, Size};
use crate::experiment::{relay, tools};
use crate::server::{Server, StandardStream, nebula_serve, nebula_serve_with_cache, pass_variables};

/// The most calls until a result is cached.
const CACHING_CALLS_MAX: usize = 10;

/// The calls of another function that warm a new server.
const WARMING_CALLS: usize = 5;

/// The state of the function at each call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its compiled code is on disk and not loaded: the server is new and has called another
    /// function only.
    Cold,
    /// The function is loaded. Each call gets a fresh instance. The cache is off.
    Fresh,
    /// Its result is cached.
    Remembered,
    /// The function is loaded, and is the only step of the pipeline that is called. The cache is off.
    InPipeline,
}

impl State {
    /// Makes a call and checks that the answer is from the cache in this state only.
    fn call(self, caller: &mut HttpCaller) -> anyhow::Result<Answer> {
        let answer = caller.call()?;
        let expected = self == Self::Remembered;
        ensure!(answer.is_cached == expected, "the answer was {}cached", if expected { "not " } else { "" });
        Ok(answer)
    }
}

/// One of several connections to a server in a state.
struct StatefulCaller {
    state: State,
    caller: HttpCaller,
}

impl Caller for StatefulCaller {
    fn call(&mut self) -> anyhow::Result<Answer> {
        self.state.call(&mut self.caller)
    }
}

/// A request, and the function that gets it.
struct Request {
    path: String,
    media_type: &'static str,
    input: Vec<u8>,
    delay: Option<Delay>,
}

impl Request {
    fn of(setup: Setup<'_>) -> Self {
        let function = setup.function;
        Self {
            path: format!("/f/{}", function.name()),
            media_type: function.media_type(),
            input: setup.input.to_vec(),
            delay: setup.delay,
        }
    }

    fn connect(&self, server: SocketAddr) -> anyhow::Result<HttpCaller> {
        let address = match self.delay {
            Some(delay) => relay::start(server, delay)?,
            None => server,
        };
        HttpCaller::connect(address, &self.path, self.media_type, &self.input)
    }
}

/// A running server.
pub(crate) struct Served {
    state: State,
    serve: Command,
    cores: crate::cores::Cores,
    warming: Request,
    request: Request,
    running: Option<Running>,
    /// Removed with the arm.
    _data_dir: tempfile::TempDir,
}

/// A server and the connection to it.
struct Running {
    server: Server,
    caller: HttpCaller,
}

impl Served {
    pub(crate) fn open(setup: Setup<'_>, state: State) -> anyhow::Result<Self> {
        let data_dir = setup.tools.copy_of_data_dir()?;
        let serve = match state {
            State::Cold | State::Fresh | State::InPipeline => {
                nebula_serve(&setup.tools.nebula, data_dir.path())
            }
            State::Remembered => nebula_serve_with_cache(&setup.tools.nebula, data_dir.path()),
        };
        let is_prime = setup.function == Function::NthPrime;
        let other = if is_prime { Function::Factorial } else { Function::NthPrime };
        let input = other.input(Size::Small)?;
        let warming = Request::of(Setup { function: other, input: &input, delay: None, ..setup });
        let cores = setup.cores.clone();
        let mut request = Request::of(setup);
        if state == State::InPipeline {
            request.path = format!("/f/{}", tools::pipeline(setup.function));
        }
        let mut served = Self { state, serve, cores, warming, request, running: None, _data_dir: data_dir };
        served.start()?;
        Ok(served)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let server = Server::start(&self.serve, StandardStream::Stdout, 2, &self.cores)?;
        let address = server.addresses[0];
        let mut warming = self.warming.connect(address)?;
        for _ in 0..WARMING_CALLS {
            warming.call()?;
        }
        let mut caller = self.request.connect(address)?;
        if self.state == State::Remembered {
            call_until_cached(&mut caller)?;
        }
        self.running = Some(Running { server, caller });
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        match self.running.take() {
            // The connection first: the server waits for it.
            Some(Running { server, caller }) => {
                drop(caller);
                server.stop()
            }
            None => Ok(()),
        }
    }
}

/// Calls until the result is cached.
fn call_until_cached(caller: &mut HttpCaller) -> anyhow::Result<()> {
    let mut calls = 0;
    while !caller.call()?.is_cached {
        calls += 1;
        ensure!(calls < CACHING_CALLS_MAX, "the result is not cached after {calls} calls");
    }
    Ok(())
}

impl Arm for Served {
    fn wake(&mut self) -> anyhow::Result<()> {
        let caller = &mut self.running.as_mut().context("the server does not run")?.caller;
        match self.state {
            State::Remembered => call_until_cached(caller)?,
            State::Fresh | State::InPipeline => drop(caller.call()?),
            State::Cold => {}
        }
        Ok(())
    }

    fn prepare(&mut self) -> anyhow::Result<()> {
        if self.state == State::Cold {
            self.stop()?;
            self.start()?;
        }
        Ok(())
    }

    fn call(&mut self) -> anyhow::Result<Answer> {
        self.state.call(&mut self.running.as_mut().context("the server does not run")?.caller)
    }

    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        ensure!(self.state != State::Cold, "after the first call, the function is not cold");
        let running = self.running.as_ref().context("the server does not run")?;
        let connect = |_| {
            let caller = StatefulCaller { state: self.state, caller: running.caller.other()? };
            Ok(Box::new(caller) as Box<dyn Caller>)
        };
        (0..count).map(connect).collect()
    }

    fn dispose(mut self: Box<Self>) -> anyhow::Result<()> {
        self.stop()
    }
}

/// A server that is started for each call by the socket that it answers on, and ends afterwards:
/// the function, the server and everything else are files.
pub(crate) struct ScaledToZero {
    listener: TcpListener,
    serve: Command,
    request: Request,
    server: Option<Child>,
    _data_dir: tempfile::TempDir,
}

impl ScaledToZero {
    pub(crate) fn open(setup: Setup<'_>) -> anyhow::Result<Self> {
        let data_dir = setup.tools.copy_of_data_dir()?;
        let with_socket = nebula_serve(&setup.tools.nebula, data_dir.path());
        // Like systemd, passes the socket as file 3 and names the process in the environment.
        let mut script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null".to_owned();
        let mut request = Request::of(setup);
        if let Some(delay) = request.delay.take() {
            // A request that waits in a relay would wait while the server starts.
            script = format!("sleep {}; {script}", delay.as_secs_f64());
        }
        let mut serve = Command::new("sh");
        serve.args(["-c", &script, "sh"]).arg(with_socket.get_program()).args(with_socket.get_args());
        pass_variables(&with_socket, &mut serve);
        serve.stdout(Stdio::null()).stderr(Stdio::null());
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Ok(Self { listener, serve, request, server: None, _data_dir: data_dir })
    }
}

impl Arm for ScaledToZero {
    fn call(&mut self) -> anyhow::Result<Answer> {
        // The kernel accepts the connection. That wakes the one who starts the server.
        let mut caller = self.request.connect(self.listener.local_addr()?)?;
        let socket = OwnedFd::from(self.listener.try_clone()?);
        let server = self.serve.stdin(Stdio::from(socket)).spawn().context("cannot start the server")?;
        self.server = Some(server);
        // A request longer than the buffers of the socket needs a server that reads it.
        caller.send()?;
        caller.receive()
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        let mut server = self.server.take().context("no call was made")?;
        let pid =
            i32::try_from(server.id()).ok().and_then(Pid::from_raw).context("the server has no process")?;
        kill_process(pid, Signal::TERM)?;
        server.wait()?;
        Ok(())
    }

    fn callers(&self, _count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>> {
        bail!("the first of several calls starts the server for all")
    }

    fn dispose(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Drop for ScaledToZero {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Errors mean that it has ended.
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
