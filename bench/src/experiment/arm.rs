//! The interface of an arm: one way to run a function.
//!
//! ```text
//! opened -> [wake -> prepare -> call -> settle]* -> dispose
//!                               ^^^^ the only part on the clock
//! ```
//!
//! `wake` and `prepare` are what happens before a request exists: they count as nothing. `settle` is
//! what the platform does after the answer: it counts as CPU time and memory, but not as time.
//!
//! Several callers at the same time use one arm's platform: its server, or its way to start a
//! process.

use super::answer::{Answer, Delay};
use super::tools::Tools;
use super::workload::Function;
use crate::cores::Cores;

/// An arm that is ready for calls of one function with one input.
pub(crate) trait Arm {
    /// Puts a platform that is warm at a call into that state again, after it wasn't called for a
    /// while. It may have unloaded the function, or forgotten the result.
    ///
    /// # Errors
    /// Returns an error if the platform fails.
    fn wake(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Gets ready for the next call, before the clock starts.
    ///
    /// # Errors
    /// Returns an error if the platform fails.
    fn prepare(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Hands the request over and receives the complete answer.
    ///
    /// # Errors
    /// Returns an error if there is no answer.
    fn call(&mut self) -> anyhow::Result<Answer>;

    /// Waits until the platform has finished with the call, after the clock has stopped.
    ///
    /// # Errors
    /// Returns an error if the platform fails.
    fn settle(&mut self) -> anyhow::Result<()> {
        self.rest()
    }

    /// Waits until the platform has finished with the calls of all callers.
    ///
    /// # Errors
    /// Returns an error if the platform fails.
    fn rest(&mut self) -> anyhow::Result<()> {
        std::thread::sleep(AFTERWARDS);
        Ok(())
    }

    /// Prepares callers that call this arm at the same time.
    ///
    /// # Errors
    /// Returns an error if the arm answers one call at a time, or if the platform fails.
    fn callers(&self, count: usize) -> anyhow::Result<Vec<Box<dyn Caller>>>;

    /// Ends everything that the arm has started.
    ///
    /// # Errors
    /// Returns an error if something doesn't end.
    fn dispose(self: Box<Self>) -> anyhow::Result<()>;
}

/// One of several callers of an arm.
pub(crate) trait Caller: Send {
    /// Hands the request over and receives the complete answer.
    ///
    /// # Errors
    /// Returns an error if there is no answer.
    fn call(&mut self) -> anyhow::Result<Answer>;

    /// Waits until what the call has started for itself has ended, such as a process.
    ///
    /// # Errors
    /// Returns an error if it fails.
    fn settle(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// The things from which an arm is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) tools: &'a Tools,
    pub(crate) cores: &'a Cores,
    pub(crate) function: Function,
    pub(crate) input: &'a [u8],
    /// A delay to add to each call inside the arm.
    pub(crate) delay: Option<Delay>,
    /// The control group in which a container runtime creates its own.
    pub(crate) container_path: Option<&'a str>,
}

/// The time that a server gets after an answer for the work that no caller waits for.
const AFTERWARDS: std::time::Duration = std::time::Duration::from_millis(2);
