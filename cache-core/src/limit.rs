//! How long a computation may take.

use std::future::Future;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::registry::with_current;
use crate::site::Site;
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

/// Awaits a computation for so long at most, and drops it then.
pub async fn limited<R>(
    site: &'static Site,
    tell: fn(Error) -> R,
    future: impl Future<Output = R>,
    timeout: Duration,
) -> R {
    match tokio::time::timeout(timeout, future).await {
        Ok(returned) => returned,
        Err(_) => tell(timed_out(site, timeout)),
    }
}

/// Counts and logs that a computation took too long.
pub(crate) fn timed_out(site: &Site, timeout: Duration) -> Error {
    let error = Error::new(
        ErrorKind::Timeout,
        format!("the computation of `{site}` took longer than {timeout:?}"),
    );
    with_current(|cache| cache.engine().report(site, &error));
    error
}
