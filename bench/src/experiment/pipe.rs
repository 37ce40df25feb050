//! Calls over the pipes of a process of `nebula-native`; `bench/native` has the protocol.

use std::io::{Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};

use super::answer::Answer;

/// A process of the program, or of a program that starts it.
#[derive(Debug)]
pub(crate) struct PipedProcess {
    child: Child,
    /// `None` after the last input.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// Read only if there is no answer.
    stderr: ChildStderr,
}

impl PipedProcess {
    /// Starts a process.
    ///
    /// # Errors
    /// Returns an error if it doesn't start.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("stdout was not captured")?;
        let stderr = child.stderr.take().context("stderr was not captured")?;
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
                // The end of the process is the end of stderr.
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = self.stderr.read_to_string(&mut said);
                Err(error).with_context(|| format!("the process gave no answer: {}", said.trim()))
            }
        }
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
    Ok(Answer { body, start: None, run: Some(run), is_cached: false })
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
}
