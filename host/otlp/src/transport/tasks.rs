//! The tasks that drive one connection.
//!
//! The exporter's event loop runs only during an exchange. A task that it leaves behind would keep its
//! connection open until the next batch, so an exchange waits for the end of all tasks, which comes soon
//! after hyper's handles are dropped.

use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The longest time for a connection to tell the collector that it ends.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// The tasks of a connection: hyper's own, and those that it starts for HTTP/2.
#[derive(Clone, Default)]
pub(super) struct ConnectionTasks(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for ConnectionTasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.lock().spawn(async {
            // An error of the connection is that of its request, too.
            let _ = task.await;
        });
    }
}

impl ConnectionTasks {
    /// Waits until the tasks have ended. Ends those that take too long.
    pub(super) async fn end(&self) {
        let ended = poll_fn(|context| {
            loop {
                match self.lock().poll_join_next(context) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        if tokio::time::timeout(CLOSE_MAX, ended).await.is_err() {
            let mut rest = std::mem::take(&mut *self.lock());
            rest.shutdown().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
