//! One function as the first program of a virtual machine: `init NAME [DELAY_MS]`.
//!
//! ```text
//! /input -> the function -> the serial port, in the format of `pipe` -> restart
//! ```
//!
//! The kernel passes on the words of its command line after `--`. A restart ends the machine, as the
//! host has forbidden a second start.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::time::Duration;

use nebula_native::pipe;
use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use rustix::termios::{OptionalActions, tcdrain, tcgetattr, tcsetattr};

fn main() {
    // An error can be told only on the console. The host sees that the answer is missing.
    let _ = answer();
    // This returns only if it fails. The kernel then stops, because its first program ends.
    let _ = reboot(RebootCommand::Restart);
}

fn answer() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().ok_or("the kernel's command line names no function")?;
    let delay = arguments.get(1).map_or(Ok(0), |delay| delay.parse());
    let delay = Duration::from_millis(delay.map_err(|error| format!("the delay is invalid: {error}"))?);
    let port = port().map_err(|error| format!("cannot open the port: {error}"))?;
    let input = std::fs::read("/input").map_err(|error| format!("cannot read the input: {error}"))?;
    pipe::answer(name, delay, &input, &port)?;
    tcdrain(&port).map_err(|error| format!("the answer is incomplete: {error}"))
}

/// Opens the serial port, which passes on bytes unchanged.
fn port() -> io::Result<File> {
    mount("dev", "/dev", "devtmpfs", MountFlags::empty(), None::<&CStr>)?;
    let port = OpenOptions::new().read(true).write(true).open("/dev/ttyS0")?;
    let mut attributes = tcgetattr(&port)?;
    attributes.make_raw();
    tcsetattr(&port, OptionalActions::Now, &attributes)?;
    Ok(port)
}
