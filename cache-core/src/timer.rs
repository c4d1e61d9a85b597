//! Waiting for a while, whichever runtime polls.
//!
//! Where Tokio runs with time, timers are Tokio's, which programs can pause in their tests. Elsewhere a thread of
//! `futures-timer` keeps them.

use std::future::Future;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::future;
use futures_timer::Delay;
use tokio::runtime::Handle;

/// Whether some runtime has turned out to have no time. Tokio tells so by a panic alone, whose message is then written
/// once and never again.
static LACKS_TIME: AtomicBool = AtomicBool::new(false);

/// Ends after a while.
#[cfg_attr(
    shuttle,
    expect(dead_code, reason = "no time passes under the model checker")
)]
pub(crate) enum Sleep {
    Tokio(Pin<Box<tokio::time::Sleep>>),
    Thread(Delay),
    /// Under the model checker no time passes: it ends when others have had so many turns, or never.
    #[cfg(shuttle)]
    Turns(Option<u8>),
}

/// Longer than any program runs, and short enough for every clock.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// What ends after `length`.
pub(crate) fn sleep(length: Duration) -> Sleep {
    let length = length.min(LONGEST);
    #[cfg(shuttle)]
    return Sleep::Turns(length.is_zero().then_some(3));
    #[cfg(not(shuttle))]
    match tokio_sleep(length) {
        Some(sleep) => Sleep::Tokio(sleep),
        None => Sleep::Thread(Delay::new(length)),
    }
}

#[cfg_attr(
    shuttle,
    expect(dead_code, reason = "no time passes under the model checker")
)]
fn tokio_sleep(length: Duration) -> Option<Pin<Box<tokio::time::Sleep>>> {
    // Where panics end the process, none is provoked.
    if cfg!(panic = "abort") || LACKS_TIME.load(Ordering::Relaxed) || Handle::try_current().is_err()
    {
        return None;
    }
    let sleep = catch_unwind(|| Box::pin(tokio::time::sleep(length))).ok();
    if sleep.is_none() {
        LACKS_TIME.store(true, Ordering::Relaxed);
    }
    sleep
}

/// Awaits a future, for so long at most; `None` if it takes longer.
pub(crate) async fn within<F: Future>(length: Duration, future: F) -> Option<F::Output> {
    let limit = async {
        sleep(length).await;
        None
    };
    future::or(async { Some(future.await) }, limit).await
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match self.get_mut() {
            Self::Tokio(sleep) => sleep.as_mut().poll(context),
            Self::Thread(delay) => Pin::new(delay).poll(context),
            #[cfg(shuttle)]
            Self::Turns(Some(0)) => Poll::Ready(()),
            #[cfg(shuttle)]
            Self::Turns(turns) => {
                if let Some(turns) = turns {
                    *turns -= 1;
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A_MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn time_passes_with_any_runtime_and_with_none() {
        future::block_on(sleep(A_MOMENT));
        let mut tokio = tokio::runtime::Builder::new_current_thread();
        let timeless = tokio.build().unwrap();
        timeless.block_on(sleep(A_MOMENT));
        timeless.block_on(sleep(A_MOMENT));
        // The flag is the process's, and other tests pause their time.
        LACKS_TIME.store(false, Ordering::Relaxed);
        let timed = tokio.enable_time().build().unwrap();
        timed.block_on(sleep(A_MOMENT));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_one_to_end_counts() {
        let an_hour = Duration::from_secs(60 * 60);
        assert_eq!(within(an_hour, async { 1 }).await, Some(1));
        assert_eq!(within(A_MOMENT, sleep(an_hour)).await, None);
    }
}
