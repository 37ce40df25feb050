//! Calls over the pipes of a process of `nebula-native`; `bench/native` has the protocol.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::fs::{MemfdFlags, memfd_create};

use super::answer::Answer;

/// How much of stderr an error quotes.
const SAID_BYTES_MAX: u64 = 4096;

/// A process of the program, or of a program that starts it.
#[derive(Debug)]
pub(crate) struct PipedProcess {
    child: Child,
    /// `None` after the last input.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// A file in memory, read only if there is no answer. A pipe that nobody reads would stop the process when it is
    /// full.
    stderr: File,
}

impl PipedProcess {
    /// Starts a process.
    ///
    /// # Errors
    /// Returns an error if it doesn't start.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let stderr = File::from(memfd_create("stderr", MemfdFlags::CLOEXEC)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr.try_clone()?);
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout was not captured")?;
        Ok(Self { child, stdin, stdout, stderr })
    }

    /// Sends an input.
    ///
    /// # Errors
    /// Returns an error if the process has ended.
    pub(crate) fn send(&mut self, input: &[u8]) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("the last input was sent before")?;
        stdin.write_all(&u32::try_from(input.len())?.to_le_bytes()).context("cannot send")?;
        stdin.write_all(input).context("cannot send")
    }

    /// Tells the process that there are no more inputs.
    pub(crate) fn finish(&mut self) {
        self.stdin = None;
    }

    /// Receives the complete answer to one input.
    ///
    /// # Errors
    /// Returns an error with what the process wrote to stderr if it ends before.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Answer> {
        match receive(&mut self.stdout) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(error).with_context(|| format!("the process gave no answer: {}", self.said().trim()))
            }
        }
    }

    /// The beginning of what the process wrote to stderr.
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        // Without it, the error is still told.
        let _ =
            self.stderr.rewind().and_then(|()| (&self.stderr).take(SAID_BYTES_MAX).read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Waits until the process has ended successfully.
    ///
    /// # Errors
    /// Returns an error if it failed.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        self.finish();
        let status = self.child.wait()?;
        ensure!(status.success(), "the process failed: {status}");
        Ok(())
    }
}

fn receive(stdout: &mut ChildStdout) -> std::io::Result<Answer> {
    let (mut run_ns, mut length) = ([0; 8], [0; 4]);
    stdout.read_exact(&mut run_ns)?;
    stdout.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_le_bytes(length) as usize];
    stdout.read_exact(&mut body)?;
    let run = Duration::from_nanos(u64::from_le_bytes(run_ns));
    Ok(Answer { body, start: None, run, is_cached: false })
}

impl Drop for PipedProcess {
    fn drop(&mut self) {
        // Errors mean that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_fails_says_why() {
        let mut command = Command::new("sh");
        let mut process = PipedProcess::start(command.args(["-c", "echo broken >&2; exit 3"])).unwrap();
        let error = process.receive().unwrap_err();
        assert!(format!("{error:#}").contains("no answer: broken"), "{error:#}");
        assert!(process.wait().is_err());
    }

    #[test]
    fn a_process_that_says_much_is_not_stopped_by_it() {
        let mut command = Command::new("sh");
        let script =
            "head -c 300000 /dev/zero | tr '\\0' x >&2; printf '\\0\\0\\0\\0\\0\\0\\0\\0\\1\\0\\0\\0y'";
        let mut process = PipedProcess::start(command.args(["-c", script])).unwrap();
        assert_eq!(process.receive().unwrap().body, b"y");
        process.wait().unwrap();
    }

    #[test]
    fn a_process_whose_child_keeps_stderr_open_is_told_from_it() {
        let mut command = Command::new("sh");
        let script = "sleep 2 >/dev/null & echo broken >&2";
        let mut process = PipedProcess::start(command.args(["-c", script])).unwrap();
        let error = process.receive().unwrap_err();
        assert!(format!("{error:#}").contains("no answer: broken"), "{error:#}");
    }
}
