//! Compiling in a separate process.
//!
//! The compiler isn't safe against hostile input: its time and memory can grow out of proportion to
//! the component's size. So it runs in a child process with limits on address space and CPU time. A
//! component that exceeds them is refused and the host keeps running.
//!
//! `artefact` calls the compiler itself.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::artefact::compile_artefact;
use super::uncompilable::Uncompilable;
use super::{Codegen, priority};

/// Limit on the address space of a compiler process, bytes.
const COMPILE_MEMORY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Limit on the CPU time of a compiler process, seconds summed over its threads.
const COMPILE_CPU_SECONDS_MAX: u64 = 120;

/// Maximum that is read of a compiler process's reason, bytes. A backtrace has 32 names of any
/// length.
const REASON_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Maximum that is quoted of a malformed reason or of a message, bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Exit code of a compiler process that has written a reason. An exit code of 1 is a failure of the
/// process itself.
pub const UNCOMPILABLE_EXIT: u8 = 3;

/// The place where components are compiled.
#[derive(Clone, Debug)]
pub enum Compiler {
    /// Compiles in this process: for tools that work on one component of the user's own.
    InProcess(Codegen),
    /// Compiles in a child process: `program arguments…` reads a component from its standard input,
    /// writes the optimised artefact to its standard output and exits with 0. Otherwise it writes
    /// the reason, an [`Uncompilable`] as JSON, to its standard error and exits with
    /// [`UNCOMPILABLE_EXIT`].
    Child {
        /// The program, usually the running one.
        program: PathBuf,
        /// The program's arguments.
        arguments: Vec<String>,
    },
}

/// The reasons why compiling failed.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component is at fault.
    #[error(transparent)]
    Uncompilable(#[from] Uncompilable),
    /// The compiler ran into its limits, or crashed.
    #[error(
        "compiling takes more than {COMPILE_CPU_SECONDS_MAX} s of CPU time or {} MiB of memory",
        COMPILE_MEMORY_BYTES_MAX / 1_048_576
    )]
    TooCostly,
    /// The compiler process couldn't be run.
    #[error("cannot run the compiler process")]
    Process(#[source] std::io::Error),
}

impl Compiler {
    /// Returns the code generation that this compiler uses.
    pub fn codegen(&self) -> Codegen {
        match self {
            Self::InProcess(codegen) => *codegen,
            Self::Child { .. } => Codegen::Optimised,
        }
    }

    /// Compiles a component to an artefact. Blocks until the compiler ends.
    ///
    /// # Errors
    /// [`CompileError`].
    pub fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        match self {
            Self::InProcess(codegen) => Ok(compile_artefact(component, *codegen)?),
            Self::Child { program, arguments } => {
                let mut command = Command::new(program);
                command.args(arguments);
                compile_in_child(command, component)
            }
        }
    }
}

fn compile_in_child(mut command: Command, component: &[u8]) -> Result<Vec<u8>, CompileError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(CompileError::Process)?;
    let stdin = child.stdin.take();
    let stderr = child.stderr.take();
    // Serve stdin and stderr while reading stdout: a full pipe must not block the others.
    let (output, reason) = std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // A child that died early closes the pipe; its exit status gives the reason.
                let _ = stdin.write_all(component);
            }
        });
        let reason = scope.spawn(move || {
            let mut reason = Vec::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(REASON_BYTES_MAX).read_to_end(&mut reason);
            }
            reason
        });
        let output = child.wait_with_output();
        (output, reason.join().unwrap_or_default())
    });
    let output = output.map_err(CompileError::Process)?;
    if output.status.success() {
        Ok(output.stdout)
    } else if output.status.code() == Some(i32::from(UNCOMPILABLE_EXIT)) {
        // A reason longer than the maximum is cut and doesn't parse, but it is still a refusal.
        let reason =
            serde_json::from_slice(&reason).unwrap_or_else(|_| Uncompilable::Refused(message(&reason)));
        Err(reason.into())
    } else if output.status.code() == Some(1) {
        // The process failed by itself, before it reached the component.
        Err(CompileError::Process(std::io::Error::other(message(&reason))))
    } else {
        Err(CompileError::TooCostly)
    }
}

/// Returns the beginning of a process's output as text.
fn message(written: &[u8]) -> String {
    let beginning = &written[..written.len().min(MESSAGE_BYTES_MAX)];
    String::from_utf8_lossy(beginning).trim().to_owned()
}

/// Sets the limits of this process. A compiler process calls it before it reads any input.
///
/// # Errors
/// Fails when the system refuses a limit.
pub fn limit_compiler_process() -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let limit = |max| Rlimit { current: Some(max), maximum: Some(max) };
    setrlimit(Resource::As, limit(COMPILE_MEMORY_BYTES_MAX))?;
    setrlimit(Resource::Cpu, limit(COMPILE_CPU_SECONDS_MAX))?;
    setrlimit(Resource::Core, limit(0))?;
    // A deploy can wait; calls can't.
    priority::compute();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile_with(script: &str) -> CompileError {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        compile_in_child(shell, b"").unwrap_err()
    }

    #[test]
    fn exit_status_separates_component_faults_from_process_failures() {
        let reason = serde_json::to_string(&Uncompilable::Refused("no".to_owned())).unwrap();
        let refused = |error| {
            let CompileError::Uncompilable(Uncompilable::Refused(reason)) = error else {
                panic!("{error:?}")
            };
            reason
        };
        assert_eq!(refused(compile_with(&format!("echo '{reason}' >&2; exit {UNCOMPILABLE_EXIT}"))), "no");
        let endless = "head -c 9000000 /dev/zero | tr '\\0' x >&2";
        let cut = refused(compile_with(&format!("{endless}; exit {UNCOMPILABLE_EXIT}")));
        assert_eq!(cut.len(), MESSAGE_BYTES_MAX);
        let failed = compile_with("echo 'out of luck' >&2; exit 1");
        assert!(
            matches!(&failed, CompileError::Process(error) if error.to_string() == "out of luck"),
            "{failed:?}"
        );
        assert!(matches!(compile_with("kill -9 $$"), CompileError::TooCostly));
    }
}
