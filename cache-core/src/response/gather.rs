//! Reading a body whole, if that can be done without waiting.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};

pub(super) type FrameResult = Result<Frame<Bytes>, axum_core::Error>;

/// What became of a body.
pub(crate) enum Gathered {
    /// All of it was there.
    Whole(Bytes),
    /// It ended before the length that it had announced.
    Short(Bytes),
    /// It is longer than the limit, has to be waited for, carries trailers or broke off: here it is
    /// again, from its first byte.
    Streaming(Body),
}

/// Reads a body as long as its data is there, up to `limit` bytes, and never waits for more: a
/// client is not held back so that a response can be stored.
pub(crate) async fn gather(mut body: Body, limit: usize) -> Gathered {
    let lower = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if lower > limit {
        return Gathered::Streaming(body);
    }
    let announced = body.size_hint().exact();
    let mut frames = VecDeque::new();
    let mut length = 0_usize;
    loop {
        match poll_fn(|context| Poll::Ready(poll_caught(&mut body, context))).await {
            Poll::Ready(None) => {
                let is_short = announced.is_some_and(|announced| announced != length as u64);
                let body = join(frames, length);
                return match is_short {
                    true => Gathered::Short(body),
                    false => Gathered::Whole(body),
                };
            }
            Poll::Ready(Some(frame)) => {
                length = length.saturating_add(data_length(&frame).unwrap_or(usize::MAX));
                frames.push_back(frame);
                if length > limit {
                    return Gathered::Streaming(Body::new(Resumed { frames, rest: body }));
                }
            }
            Poll::Pending => return Gathered::Streaming(Body::new(Resumed { frames, rest: body })),
        }
    }
}

/// Polls a body. One that panics breaks off, since the client that it was made for does not poll it.
pub(super) fn poll_caught(body: &mut Body, context: &mut Context<'_>) -> Poll<Option<FrameResult>> {
    let poll = || Pin::new(&mut *body).poll_frame(context);
    match catch_unwind(AssertUnwindSafe(poll)) {
        Ok(poll) => poll,
        Err(_) => {
            *body = Body::new(Ended);
            Poll::Ready(Some(Err(axum_core::Error::new("the body panicked"))))
        }
    }
}

/// What is left of a body that has panicked: nothing, and no word of how long it would have been.
struct Ended;

impl HttpBody for Ended {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<FrameResult>> {
        Poll::Ready(None)
    }
}

/// The length of a frame's data; `None` for trailers and errors.
fn data_length(frame: &FrameResult) -> Option<usize> {
    Some(frame.as_ref().ok()?.data_ref()?.len())
}

fn join(mut frames: VecDeque<FrameResult>, length: usize) -> Bytes {
    let mut data = frames
        .drain(..)
        .filter_map(|frame| frame.ok()?.into_data().ok());
    let first = data.next().unwrap_or_default();
    if first.len() == length {
        return first;
    }
    let mut whole = BytesMut::with_capacity(length);
    whole.extend_from_slice(&first);
    whole.extend(data);
    whole.freeze()
}

/// A body of which some frames have been read already.
pub(crate) struct Resumed {
    frames: VecDeque<FrameResult>,
    rest: Body,
}

impl Resumed {
    /// The body that begins with `frames`.
    pub(crate) fn new(frames: VecDeque<FrameResult>, rest: Body) -> Self {
        Self { frames, rest }
    }
}

impl HttpBody for Resumed {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<FrameResult>> {
        if let Some(frame) = self.frames.pop_front() {
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.rest).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self.frames.iter().filter_map(data_length).sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
