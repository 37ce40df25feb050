//! A request's body, lent to the router and returned when the router drops it.
//!
//! A handler reads as much of the body as it needs. The rest has to be read afterwards, so that the
//! client gets the answer instead of a broken connection.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::oneshot::{self, Receiver, Sender};

/// A body that goes back to its owner when it is dropped.
pub(super) struct LentBody<B> {
    /// The body and the way back. `drop` takes both.
    lent: Option<(B, Sender<B>)>,
}

/// Lends a body. The receiver gets it when the lent one is dropped.
pub(super) fn lend<B>(body: B) -> (LentBody<B>, Receiver<B>) {
    let (sender, receiver) = oneshot::channel();
    (LentBody { lent: Some((body, sender)) }, receiver)
}

impl<B: Body<Data = Bytes> + Unpin> Body for LentBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match &mut self.lent {
            Some((body, _)) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.lent.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.lent.as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}

impl<B> Drop for LentBody<B> {
    fn drop(&mut self) {
        if let Some((body, sender)) = self.lent.take() {
            // The owner may have been dropped. Then drop the body too.
            let _ = sender.send(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn the_owner_has_the_rest_when_the_borrower_is_done() {
        let (mut lent, mut returned) = lend(Full::new(Bytes::from_static(b"body")));
        assert!(returned.try_recv().is_err());
        assert_eq!(lent.size_hint().exact(), Some(4));
        assert!(lent.frame().await.unwrap().is_ok());
        drop(lent);
        assert!(returned.try_recv().unwrap().is_end_stream());
    }
}
