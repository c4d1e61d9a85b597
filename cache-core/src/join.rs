//! Futures that run side by side.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Awaits all of some futures, and gives their outputs in the order in which they ended.
pub(crate) async fn join_all<F: Future + ?Sized>(mut futures: Vec<Pin<Box<F>>>) -> Vec<F::Output> {
    let mut outputs = Vec::with_capacity(futures.len());
    poll_fn(move |context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(output) => {
                outputs.push(output);
                false
            }
        });
        match futures.is_empty() {
            true => Poll::Ready(std::mem::take(&mut outputs)),
            false => Poll::Pending,
        }
    })
    .await
}
