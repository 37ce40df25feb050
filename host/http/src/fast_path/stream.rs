//! A connection's socket as hyper reads and writes it, with cached responses sent below hyper.
//!
//! ```text
//! bytes --(idle connection, cached response)--> the response
//!      \-(otherwise)--> hyper --> its response
//! ```
//!
//! Over a network a request arrives in parts. The first part of a request that may have a cached
//! response waits a short time for the others. No call starts later because of that: none starts
//! before its input is complete.
//!
//! Invariants:
//! * A cached response is written to its end before anything else is read or written.
//! * hyper gets the bytes that have arrived if the others don't come in time, or if the connection
//!   is draining.
//! * The stream holds at most [`REQUEST_BYTES_MAX`](super::tracker::REQUEST_BYTES_MAX) of a partial
//!   request, and otherwise less than [`IDLE_READ_BYTES_MAX`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::busy_poll::BusyPoll;
use super::cached_responses::Hit;
use super::observed_hit;
use super::pending_write::PendingWrite;
use super::traced_hit;
use super::tracker::{Arrival, ExchangeTracker};
use crate::connections::RequestCounter;
use crate::observe::ConnectionObserver;

/// The most that is read from an idle connection at once, bytes. The buffer is on the stack.
/// hyper's own buffer has less room at first.
const IDLE_READ_BYTES_MAX: usize = 24 * 1024;

/// A connection's socket.
pub(crate) struct FastPathStream<S> {
    socket: S,
    /// `None` where the fast path is off.
    lookups: Option<Lookups>,
    partial: Option<PartialRequest>,
    /// Bytes that hyper had no room for yet. The tracker has counted them.
    unread: Bytes,
    pending: PendingWrite,
}

/// The time at which a request arrived.
#[derive(Clone, Copy)]
struct ArrivalTimes {
    /// For the metrics, if its response belongs to the sample.
    sample: Option<Instant>,
    /// For the observers, if there are any.
    observed: Option<Instant>,
}

/// The means to look up responses for one connection. Cheap to clone.
#[derive(Clone)]
pub(super) struct Lookups {
    pub(super) tracker: ExchangeTracker,
    pub(super) busy_poll: BusyPoll,
    pub(super) requests: RequestCounter,
    /// The time that the first part of a request waits for the last.
    pub(super) partial_timeout: Duration,
    pub(super) observer: Option<ConnectionObserver>,
}

/// The first part of a request, before hyper has read any of it.
struct PartialRequest {
    bytes: Vec<u8>,
    /// The length of the whole request, bytes.
    total: usize,
    /// `None` until the request has to wait.
    timeout: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> FastPathStream<S> {
    pub(super) fn new(socket: S, lookups: Option<Lookups>) -> Self {
        Self { socket, lookups, partial: None, unread: Bytes::new(), pending: PendingWrite::default() }
    }

    /// Reads from an idle connection. Returns true if hyper got the bytes, and false if there is a
    /// response to write or more to read.
    #[inline(never)]
    fn poll_idle_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut room = [const { MaybeUninit::uninit() }; IDLE_READ_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut room);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
        let bytes = read.filled();
        let times = self.arrival_times();
        match self.record_arrival(bytes, true) {
            Arrival::Hit(hit) => {
                self.respond(hit, bytes, times);
                return Poll::Ready(Ok(false));
            }
            Arrival::Partial { total } => {
                let mut first = Vec::with_capacity(total);
                first.extend_from_slice(bytes);
                self.partial = Some(PartialRequest { bytes: first, total, timeout: None });
                return Poll::Ready(Ok(false));
            }
            Arrival::ForHyper => {}
        }
        let (first, rest) = bytes.split_at(bytes.len().min(buffer.remaining()));
        buffer.put_slice(first);
        self.unread = Bytes::copy_from_slice(rest);
        Poll::Ready(Ok(true))
    }

    /// Reads the rest of a partial request. After it there is a response to write, or hyper gets
    /// the bytes that have arrived.
    fn poll_partial(
        &mut self,
        mut partial: PartialRequest,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let is_whole = loop {
            let missing = partial.total - partial.bytes.len();
            if missing == 0 {
                break true;
            }
            let mut room = (&mut partial.bytes).limit(missing);
            match pin!(self.socket.read_buf(&mut room)).poll(context)? {
                Poll::Ready(0) => break false,
                Poll::Ready(_) => {}
                Poll::Pending => {
                    let lookups = self.lookups.as_ref().filter(|lookups| !lookups.requests.is_draining());
                    let Some(lookups) = lookups else { break false };
                    let sleep = || Box::pin(tokio::time::sleep(lookups.partial_timeout));
                    if partial.timeout.get_or_insert_with(sleep).as_mut().poll(context).is_ready() {
                        break false;
                    }
                    self.partial = Some(partial);
                    return Poll::Pending;
                }
            }
        };
        let times = self.arrival_times();
        match self.record_arrival(&partial.bytes, is_whole) {
            Arrival::Hit(hit) => self.respond(hit, &partial.bytes, times),
            Arrival::Partial { .. } | Arrival::ForHyper => self.unread = partial.bytes.into(),
        }
        Poll::Ready(Ok(()))
    }

    /// Returns the time for those who ask for it. Reading the clock is a part of a hit's cost.
    fn arrival_times(&self) -> ArrivalTimes {
        let lookups = self.lookups.as_ref();
        ArrivalTimes {
            sample: lookups.and_then(|lookups| lookups.requests.tally().begin_sample()),
            observed: lookups.and_then(|lookups| lookups.observer.as_ref()).map(|_| Instant::now()),
        }
    }

    /// Records the bytes that arrived on the idle connection, and looks up the response if
    /// `may_hit`.
    fn record_arrival(&self, bytes: &[u8], may_hit: bool) -> Arrival {
        let Some(Lookups { tracker, requests, .. }) = &self.lookups else { return Arrival::ForHyper };
        // hyper closes a draining connection.
        tracker.record_arrival(bytes, may_hit && !requests.is_draining())
    }

    /// Starts to write a cached response to `request`.
    fn respond(&mut self, mut hit: Hit, request: &[u8], times: ArrivalTimes) {
        let ArrivalTimes { sample, observed } = times;
        let observer = self.lookups.as_ref().and_then(|lookups| lookups.observer.as_ref());
        if let Some((observer, arrived)) = observer.zip(observed) {
            observed_hit::tell(observer, request, &mut hit, arrived);
        }
        if let Some(start) = hit.span()
            && let Some(tracer) = self.lookups.as_ref().and_then(|lookups| lookups.tracker.tracer())
        {
            traced_hit::record(tracer, start, request, &mut hit);
        }
        self.pending.start(|head| hit.write(head));
        if let Some(Lookups { requests, busy_poll, .. }) = &self.lookups {
            busy_poll.record_response();
            // The connection isn't idle for `connections`.
            requests.record_request();
            requests.tally().repeated(sample);
        }
    }

    /// Writes the rest of a cached response.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.pending.is_empty() {
            match ready!(Pin::new(&mut self.socket).poll_write_vectored(context, &self.pending.pieces()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.pending.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for FastPathStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_pending(context))?;
            if !this.unread.is_empty() {
                let fit = this.unread.len().min(buffer.remaining());
                buffer.put_slice(&this.unread.split_to(fit));
                return Poll::Ready(Ok(()));
            }
            if let Some(partial) = this.partial.take() {
                ready!(this.poll_partial(partial, context))?;
                continue;
            }
            let Some(Lookups { tracker, .. }) = &this.lookups else {
                return Pin::new(&mut this.socket).poll_read(context, buffer);
            };
            if !tracker.is_idle() {
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
                tracker.record_read(&buffer.filled()[before..]);
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_idle_read(context, buffer))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FastPathStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        let accepted = ready!(Pin::new(&mut this.socket).poll_write_vectored(context, pieces))?;
        if let Some(Lookups { tracker, .. }) = &this.lookups {
            tracker.record_write(pieces, accepted);
        }
        Poll::Ready(Ok(accepted))
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}
