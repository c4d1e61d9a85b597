//! A body that is read by clients while it is being stored.
//!
//! One task reads it from its origin as fast as it comes, up to the largest size that is stored. Readers
//! follow at their own pace. A body that turns out to be longer, or to end in trailers, is handed over to
//! the client that it was made for, from where that client is.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum_core::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::gather::{FrameResult, Resumed, poll_caught};

/// For how long nothing may come of a body, before it breaks off for all its readers.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A body on its way.
pub(crate) struct Fill {
    /// Its length, if that is known already.
    exact: Option<u64>,
    state: Mutex<State>,
}

struct State {
    chunks: Vec<Bytes>,
    length: usize,
    /// When something has come last.
    progress: Instant,
    end: Option<End>,
    wakers: Vec<Waker>,
    readers: usize,
    /// The task that reads from the origin, while it waits.
    pump: Option<Waker>,
}

enum End {
    Complete,
    Broken(Arc<axum_core::Error>),
    /// The rest is read by the client that the body was made for, once it gets there.
    HandedOver(Option<Body>),
}

/// What a body has given.
enum Next {
    Frame(Option<FrameResult>),
    /// All its readers have left.
    Abandoned,
}

/// Reads a body from its origin. Where this is dropped before the end, with its runtime or by a panic, the body
/// breaks off for all its readers.
pub(crate) struct Pump(Arc<Fill>);

impl Drop for Pump {
    fn drop(&mut self) {
        if self.0.lock().end.is_none() {
            self.0.break_off("the task that read the body has ended");
        }
    }
}

/// How a body has ended for the task that would store it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Complete(Bytes),
    NotStorable,
}

impl Pump {
    /// Reads the body, up to `limit` bytes. A body of unknown length is left alone when its last reader has left, if
    /// `may_give_up`.
    pub(crate) async fn run(self, mut body: Body, limit: usize, may_give_up: bool) -> Outcome {
        let fill = &self.0;
        let may_give_up = may_give_up && fill.exact.is_none();
        loop {
            let next = poll_fn(|context| {
                if may_give_up && fill.is_abandoned(context) {
                    return Poll::Ready(Next::Abandoned);
                }
                poll_caught(&mut body, context).map(Next::Frame)
            });
            let frame = match tokio::time::timeout(LONGEST_PAUSE, next).await {
                Ok(Next::Frame(frame)) => frame,
                Ok(Next::Abandoned) => {
                    fill.break_off("all readers have left");
                    return Outcome::NotStorable;
                }
                Err(_) => {
                    fill.break_off("the body has stalled");
                    return Outcome::NotStorable;
                }
            };
            match frame {
                None => {
                    let whole = fill.whole();
                    fill.finish(End::Complete);
                    let is_short = fill.exact.is_some_and(|exact| exact != whole.len() as u64);
                    return match is_short {
                        true => Outcome::NotStorable,
                        false => Outcome::Complete(whole),
                    };
                }
                Some(Err(error)) => {
                    fill.finish(End::Broken(Arc::new(error)));
                    return Outcome::NotStorable;
                }
                Some(Ok(frame)) => {
                    let fits = |data: &Bytes| fill.lock().length + data.len() <= limit;
                    match frame.into_data() {
                        Ok(data) if fits(&data) => fill.push(data),
                        Ok(data) => {
                            fill.hand_over(Frame::data(data), body);
                            return Outcome::NotStorable;
                        }
                        Err(trailers) => {
                            fill.hand_over(trailers, body);
                            return Outcome::NotStorable;
                        }
                    }
                }
            }
        }
    }
}

impl Fill {
    pub(crate) fn new(body: &Body) -> Arc<Self> {
        Arc::new(Self {
            exact: body.size_hint().exact(),
            state: Mutex::new(State {
                chunks: Vec::new(),
                length: 0,
                progress: Instant::now(),
                end: None,
                wakers: Vec::new(),
                readers: 0,
                pump: None,
            }),
        })
    }

    /// What reads the body, in a task of its own.
    pub(crate) fn pump(self: &Arc<Self>) -> Pump {
        Pump(Arc::clone(self))
    }

    /// The body for the client that it was made for.
    pub(crate) fn own_reader(self: &Arc<Self>) -> Body {
        self.reader(true)
    }

    /// The body for another client, if it will get all of it as far as can be told: it is complete, or its
    /// length is known and it has not been waited for longer than `patience`.
    pub(crate) fn shared_reader(self: &Arc<Self>, patience: Duration) -> Option<Body> {
        let is_certain = {
            let state = self.lock();
            match state.end {
                Some(End::Complete) => true,
                Some(_) => false,
                None => self.exact.is_some() && state.progress.elapsed() < patience,
            }
        };
        is_certain.then(|| self.reader(false))
    }

    /// Whether the end has not come yet and its length is unknown, so that it is worth waiting for.
    pub(crate) fn is_open(&self) -> bool {
        self.exact.is_none() && self.lock().end.is_none()
    }

    /// Waits until the body has ended.
    pub(crate) async fn ended(&self) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.end.is_some() {
                return Poll::Ready(());
            }
            state.wait(context);
            Poll::Pending
        })
        .await;
    }

    fn reader(self: &Arc<Self>, is_own: bool) -> Body {
        self.lock().readers += 1;
        Body::new(Reader {
            fill: Arc::clone(self),
            next: 0,
            read: 0,
            is_own,
            rest: None,
        })
    }

    fn push(&self, data: Bytes) {
        let wakers = {
            let mut state = self.lock();
            state.length += data.len();
            state.progress = Instant::now();
            state.chunks.push(data);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn hand_over(&self, frame: Frame<Bytes>, rest: Body) {
        let rest = Body::new(Resumed::new([Ok(frame)].into(), rest));
        self.finish(End::HandedOver(Some(rest)));
    }

    fn break_off(&self, why: &'static str) {
        self.finish(End::Broken(Arc::new(axum_core::Error::new(why))));
    }

    fn finish(&self, end: End) {
        let wakers = {
            let mut state = self.lock();
            state.end = Some(end);
            std::mem::take(&mut state.wakers)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn whole(&self) -> Bytes {
        let state = self.lock();
        if let [only] = &state.chunks[..] {
            return only.clone();
        }
        let mut whole = BytesMut::with_capacity(state.length);
        for chunk in &state.chunks {
            whole.extend_from_slice(chunk);
        }
        whole.freeze()
    }

    fn is_abandoned(&self, context: &Context<'_>) -> bool {
        let mut state = self.lock();
        state.pump = Some(context.waker().clone());
        state.readers == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, context: &Context<'_>) {
        if !self
            .wakers
            .iter()
            .any(|waker| waker.will_wake(context.waker()))
        {
            self.wakers.push(context.waker().clone());
        }
    }
}

/// The body as one client reads it.
struct Reader {
    fill: Arc<Fill>,
    /// The chunk that comes next.
    next: usize,
    /// How many bytes have been read.
    read: u64,
    is_own: bool,
    /// What was handed over to this reader.
    rest: Option<Body>,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = axum_core::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let this = &mut *self;
        if let Some(rest) = &mut this.rest {
            return Pin::new(rest).poll_frame(context);
        }
        let mut state = this.fill.lock();
        if let Some(chunk) = state.chunks.get(this.next) {
            this.next += 1;
            this.read += chunk.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(chunk.clone()))));
        }
        match &mut state.end {
            None => {
                state.wait(context);
                Poll::Pending
            }
            Some(End::Complete) => Poll::Ready(None),
            Some(End::Broken(error)) => {
                let error = axum_core::Error::new(Arc::clone(error));
                Poll::Ready(Some(Err(error)))
            }
            Some(End::HandedOver(rest)) if this.is_own => {
                this.rest = Some(rest.take().unwrap_or_default());
                drop(state);
                self.poll_frame(context)
            }
            // What comes after all of its data is trailers.
            Some(End::HandedOver(_)) if this.fill.exact == Some(this.read) => Poll::Ready(None),
            Some(End::HandedOver(_)) => {
                let error = axum_core::Error::new("the body is longer than it said");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(rest) = &self.rest {
            return rest.size_hint();
        }
        match self.fill.exact {
            Some(exact) => SizeHint::with_exact(exact.saturating_sub(self.read)),
            None => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        if let Some(rest) = &self.rest {
            return rest.is_end_stream();
        }
        let state = self.fill.lock();
        self.next == state.chunks.len() && matches!(state.end, Some(End::Complete))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.fill.lock();
        state.readers -= 1;
        if state.readers == 0
            && let Some(pump) = state.pump.take()
        {
            pump.wake();
        }
    }
}
