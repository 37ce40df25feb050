//! Waiting without a reactor.
//!
//! A guest can wait only for something that is already available, a point in virtual time, or room
//! in its own response body, which the host drains. [`settle`] polls the wait. While it is pending,
//! the host makes the only possible progress, in this order: drain the response body; advance the
//! virtual clock. If neither helps, the guest waits for an event that can't happen, and traps
//! instead of hanging until its deadline.
//!
//! Futures are polled outside tokio's cooperative budget: within it, a channel that has data
//! returns "pending" now and then, which would look like a wait.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use wasmtime::component::Resource;
use wasmtime::{Result, format_err};
use wasmtime_wasi::p2::bindings::io::poll::{Host as AsyncPoll, HostPollable as AsyncPollable};
use wasmtime_wasi::p2::bindings::io::streams::{
    Host as AsyncStreams, HostInputStream as AsyncInput, HostOutputStream as AsyncOutput,
};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};

use super::Sandbox;
use super::clock::VirtualClock;
use super::http::ResponseSink;

/// Returns the error of a guest that waits for an event that can't happen.
fn deadlock() -> wasmtime::Error {
    format_err!("the function waits for something that cannot happen in a pure call")
}

/// Drives `future` to its end, making progress only through `response` and `clock`.
fn settle<T>(
    future: impl Future<Output = T>,
    response: &mut ResponseSink,
    clock: &VirtualClock,
) -> Result<T> {
    let mut future = pin!(unconstrained(future));
    let mut context = Context::from_waker(Waker::noop());
    loop {
        clock.forget_deadlines();
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Ok(value);
        }
        if !response.drain()? && !clock.advance() {
            return Err(deadlock());
        }
    }
}

/// Does the same as [`settle`] for stream operations, which have their own error type.
macro_rules! settle_stream {
    ($sandbox:ident, |$table:ident| $future:expr) => {{
        let Sandbox { table: $table, response, clock, .. } = $sandbox;
        settle($future, response, clock).map_err(StreamError::Trap)?
    }};
}

impl poll::Host for Sandbox {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> Result<Vec<u32>> {
        let Self { table, response, clock, .. } = self;
        settle(AsyncPoll::poll(table, pollables), response, clock)?
    }
}

impl poll::HostPollable for Sandbox {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> Result<bool> {
        let future = AsyncPollable::ready(&mut self.table, pollable);
        let mut future = pin!(unconstrained(future));
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready,
            Poll::Pending => Ok(false),
        }
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        let Self { table, response, clock, .. } = self;
        settle(AsyncPollable::block(table, pollable), response, clock)?
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> Result<()> {
        AsyncPollable::drop(&mut self.table, pollable)
    }
}

impl streams::Host for Sandbox {
    fn convert_stream_error(&mut self, error: StreamError) -> Result<streams::StreamError> {
        Ok(AsyncStreams::convert_stream_error(&mut self.table, error)?.into())
    }
}

impl streams::HostInputStream for Sandbox {
    fn read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        AsyncInput::read(&mut self.table, stream, len)
    }

    fn blocking_read(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<Vec<u8>> {
        settle_stream!(self, |table| AsyncInput::blocking_read(table, stream, len))
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        AsyncInput::skip(&mut self.table, stream, len)
    }

    fn blocking_skip(&mut self, stream: Resource<DynInputStream>, len: u64) -> StreamResult<u64> {
        settle_stream!(self, |table| AsyncInput::blocking_skip(table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> Result<Resource<DynPollable>> {
        AsyncInput::subscribe(&mut self.table, stream)
    }

    fn drop(&mut self, stream: Resource<DynInputStream>) -> Result<()> {
        let Self { table, response, clock, .. } = self;
        settle(AsyncInput::drop(table, stream), response, clock)?
    }
}

impl streams::HostOutputStream for Sandbox {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        AsyncOutput::check_write(&mut self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        AsyncOutput::write(&mut self.table, stream, bytes)
    }

    fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        settle_stream!(self, |table| AsyncOutput::blocking_write_and_flush(table, stream, bytes))
    }

    fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        len: u64,
    ) -> StreamResult<()> {
        settle_stream!(self, |table| AsyncOutput::blocking_write_zeroes_and_flush(table, stream, len))
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> Result<Resource<DynPollable>> {
        AsyncOutput::subscribe(&mut self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, len: u64) -> StreamResult<()> {
        AsyncOutput::write_zeroes(&mut self.table, stream, len)
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        AsyncOutput::flush(&mut self.table, stream)
    }

    fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        settle_stream!(self, |table| AsyncOutput::blocking_flush(table, stream))
    }

    fn splice(
        &mut self,
        into: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        AsyncOutput::splice(&mut self.table, into, from, len)
    }

    fn blocking_splice(
        &mut self,
        into: Resource<DynOutputStream>,
        from: Resource<DynInputStream>,
        len: u64,
    ) -> StreamResult<u64> {
        settle_stream!(self, |table| AsyncOutput::blocking_splice(table, into, from, len))
    }

    fn drop(&mut self, stream: Resource<DynOutputStream>) -> Result<()> {
        let Self { table, response, clock, .. } = self;
        settle(AsyncOutput::drop(table, stream), response, clock)?
    }
}
