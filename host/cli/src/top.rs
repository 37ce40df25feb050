//! The live table of `nebula top`.
//!
//! ```text
//! poll --answers--> view --lines--> screen
//!                    ^                 |
//!                    +------keys-------+
//! ```
//!
//! * `poll`: asks the server in each interval, on a thread of its own.
//! * `figures`: the figures of a function's calls in an interval.
//! * `table`: the columns and rows that fit a width. `header`: the lines about the server.
//! * `view`: the state that answers and keys change, and the lines that it makes.
//! * `screen`: the terminal, which is restored however the command ends.

mod figures;
mod header;
mod poll;
mod screen;
mod table;
mod view;

pub(crate) use self::figures::{Figures, FunctionFigures};
pub(crate) use self::header::server_lines;
pub(crate) use self::poll::{TIMEOUT, poll};
pub(crate) use self::screen::{Input, Screen};
pub(crate) use self::table::{Column, Table, sort};
pub(crate) use self::view::{Next, View};
