//! The load of `nebula bench`: an open loop against one function, and what it observed.
//!
//! ```text
//! schedule -> open_loop -> connection -> answer -> tally -> report
//!                 ^                                  |
//!              search  <-  goal  <-------------------+
//! ```
//!
//! * `schedule`: the instants at which requests are due. `timer` waits for them precisely.
//! * `open_loop`: sends each request when it is due, whether or not earlier ones were answered.
//! * `connection`, `target`: HTTP/1.1 over TCP or TLS, and the request that is sent.
//! * `answer`: an answer, or why there is none. `tally` counts them.
//! * `goal`, `search`: a latency that must hold, and the search for the highest rate that holds it.
//!   `pilot` guesses where to begin.
//! * `server_process`: CPU time and memory of the server. `generator`: those of the load itself.
//! * `report`: what is shown, as JSON. `text` and `chart` write it for people.
//!
//! Invariants:
//! * A latency counts from the instant at which the request was due. A request that found no free
//!   connection, or that a stalled server holds back, is late and not absent (coordinated omission).
//! * Every request that was due while it was measured counts. One that was never answered counts
//!   with the time that it has waited.
//! * The load runs on one thread and keeps no state for requests that aren't due, so a rate that the
//!   server can't hold costs no memory.

mod answer;
mod chart;
mod connection;
mod generator;
mod goal;
mod open_loop;
mod pilot;
mod report;
mod schedule;
mod search;
mod server_process;
mod tally;
mod target;
mod text;
mod timer;

pub(crate) use self::goal::Goal;
pub(crate) use self::open_loop::{Interrupt, Observer, Plan, Run, Stop, run};
pub(crate) use self::pilot::Pilot;
pub(crate) use self::report::{BenchReport, ServerUse, Subject};
pub(crate) use self::schedule::{Arrivals, Rate};
pub(crate) use self::search::{Search, Step, Verdict};
pub(crate) use self::server_process::{ServerMeter, ServerProcess};
pub(crate) use self::tally::Tally;
pub(crate) use self::target::Target;
pub(crate) use self::text::{chart_columns, print};
