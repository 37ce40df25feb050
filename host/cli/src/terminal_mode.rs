//! Restores a terminal when a signal ends or stops the command.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// A mode of the terminal that must not outlive the command.
pub(crate) trait TerminalMode: Send + 'static {
    /// Restores the terminal. The command ends or stops after it.
    fn leave(&self);

    /// Sets the mode again, when the command continues.
    fn enter(&self);

    /// Runs after the last [`leave`](Self::leave).
    fn end(&self) {}
}

/// A mode that signals leave first. Dropping it leaves it, too; later signals do nothing to the terminal.
pub(crate) struct ActiveMode<M: TerminalMode>(Arc<Mutex<Option<M>>>);

impl<M: TerminalMode> Drop for ActiveMode<M> {
    fn drop(&mut self) {
        if let Some(mode) = lock(&self.0).take() {
            mode.leave();
        }
    }
}

fn lock<M>(mode: &Mutex<Option<M>>) -> MutexGuard<'_, Option<M>> {
    mode.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the signals that end or stop the command leave the mode first, while it is active. A caught
/// signal has no default action any more.
///
/// # Errors
/// If signals can't be caught.
pub(crate) fn leave_at_signals<M: TerminalMode>(mode: M) -> std::io::Result<ActiveMode<M>> {
    let mode = Arc::new(Mutex::new(Some(mode)));
    let active = ActiveMode(Arc::clone(&mode));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    // Ctrl-C, Ctrl-\, a closed terminal, `kill`, and Ctrl-Z, after which the shell reads the terminal.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut stop = signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut proceed = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut terminate = signal(SignalKind::terminate())?;
    drop(context);
    std::thread::Builder::new().name("nebula-signals".to_owned()).spawn(move || {
        let ended_by = runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = hangup.recv() => break SignalKind::hangup(),
                    _ = interrupt.recv() => break SignalKind::interrupt(),
                    _ = quit.recv() => break SignalKind::quit(),
                    _ = terminate.recv() => break SignalKind::terminate(),
                    _ = stop.recv() => {
                        lock(&mode).as_ref().inspect(|mode| mode.leave());
                        let _ = kill_process(getpid(), Signal::STOP);
                    }
                    // The shell has set the terminal meanwhile.
                    _ = proceed.recv() => drop(lock(&mode).as_ref().inspect(|mode| mode.enter())),
                }
            }
        });
        if let Some(mode) = lock(&mode).take() {
            mode.leave();
            mode.end();
        }
        // The code that a shell gives a command which a signal has ended.
        std::process::exit(128 + ended_by.as_raw_value());
    })?;
    Ok(active)
}
