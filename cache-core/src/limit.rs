//! How long a computation may take.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::registry::with_current;
use crate::site::Site;
use crate::timer::within;
use crate::value::{ResultShape, Shape};

/// What a function returns when its computation takes too long.
#[diagnostic::on_unimplemented(
    message = "a function with a `timeout` returns a `Result` whose error can tell of one",
    label = "this cannot tell of a timeout",
    note = "return a `Result` whose error implements `From<fast_cache::Error>`, as `anyhow::Error` and \
            `Box<dyn std::error::Error>` do, or remove `timeout`"
)]
pub trait Limited: Shape {
    /// The returned value that tells of it.
    fn timed_out(error: Error) -> Self::Returned;
}

impl<T, E: From<Error>> Limited for ResultShape<T, E> {
    fn timed_out(error: Error) -> Result<T, E> {
        Err(E::from(error))
    }
}

/// Asks how a function of this shape tells of a timeout. It is asked once, at the return type, so that
/// the answer that it cannot is one message there.
pub fn how_to_tell<S: Limited>(_shape: S) -> fn(Error) -> S::Returned {
    S::timed_out
}

/// Awaits a computation for so long at most, and drops it then. The time begins now, and not when this is polled.
pub fn limited<R>(
    site: &'static Site,
    tell: fn(Error) -> R,
    future: impl Future<Output = R>,
    timeout: Duration,
) -> impl Future<Output = R> {
    let limit = Limit::new(timeout);
    async move {
        match limit.keep(future).await {
            Some(returned) => returned,
            None => tell(timed_out(site, timeout)),
        }
    }
}

/// The time that a call has.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    /// `None` if no clock will ever show it.
    end: Option<Instant>,
}

impl Limit {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            end: Instant::now().checked_add(timeout),
        }
    }

    /// Awaits a computation until the time is over; `None` if it is not over then. A call that has waited for others so
    /// long begins none.
    pub(crate) async fn keep<F: Future>(self, future: F) -> Option<F::Output> {
        let Some(end) = self.end else {
            return Some(future.await);
        };
        let rest = end.saturating_duration_since(Instant::now());
        match rest.is_zero() {
            true => None,
            false => within(rest, future).await,
        }
    }
}

/// Counts and logs that a computation took too long.
pub(crate) fn timed_out(site: &Site, timeout: Duration) -> Error {
    let error = Error::new(
        ErrorKind::Timeout,
        format!("a call of `{site}` took longer than {timeout:?}"),
    );
    with_current(|cache| cache.engine().report(site, &error));
    error
}
