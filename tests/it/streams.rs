//! Bodies that panic, break off or stand still, and those who read them.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use bytes::Bytes;
use fast_cache::Config;
use futures_util::{FutureExt, StreamExt, stream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{sleep, timeout};
use tower::BoxError;

use crate::fronts::{FRONTS, Front, Pages, SECOND, fresh, memory};
use crate::support::{Remote, settle};

/// How a body ends after its two chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Panics,
    Breaks,
    Stalls,
}

/// A body of two chunks, each a little after the one before, and then its end. It may say how long it
/// would be.
fn bad(end: End, length: Option<u64>, pause: Duration) -> Body {
    let chunks = stream::iter([Some("one"), Some("two"), None]).then(move |chunk| async move {
        sleep(pause).await;
        match (chunk, end) {
            (Some(chunk), _) => Ok(Bytes::from(chunk)),
            (None, End::Panics) => panic!("the body is broken"),
            (None, End::Breaks) => Err(BoxError::from("connection reset")),
            (None, End::Stalls) => std::future::pending().await,
        }
    });
    match length {
        None => Body::from_stream(chunks),
        Some(length) => Body::new(Announced {
            body: Body::from_stream(chunks),
            left: length,
        }),
    }
}

/// A body that says how long it is.
struct Announced {
    body: Body,
    left: u64,
}

impl HttpBody for Announced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.left -= data.len() as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

const LENGTH: u64 = 9;

fn pages(
    config: Config,
    front: Front,
    length: Option<u64>,
    make: impl Fn(usize) -> Body + Send + Sync + 'static,
) -> Pages {
    Pages::on(config, front, move |before| {
        let mut response = fresh(before);
        *response.body_mut() = make(before);
        if let Some(length) = length {
            let length = HeaderValue::from(length);
            response.headers_mut().insert("content-length", length);
        }
        response
    })
}

/// Reads a body to its end: what came of it, and whether that was said to be all.
async fn read(response: Response) -> (String, bool) {
    let mut body = response.into_body();
    let mut text = String::new();
    loop {
        match std::panic::AssertUnwindSafe(body.frame())
            .catch_unwind()
            .await
        {
            // As without a cache.
            Err(_) => return (text, false),
            Ok(None) => return (text, true),
            Ok(Some(Err(_))) => return (text, false),
            Ok(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap_or_default();
                text.push_str(std::str::from_utf8(&data).unwrap());
            }
        }
    }
}

/// How long a body may stand still before it is given up for good.
const LONGEST: Duration = Duration::from_secs(3600);

fn stores() -> [Config; 2] {
    [memory(), Config::new(Remote::default())]
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_badly_ends_for_every_reader() {
    let mut wrong = Vec::new();
    for end in [End::Panics, End::Breaks, End::Stalls] {
        for length in [None, Some(LENGTH)] {
            for (number, config) in stores().into_iter().enumerate() {
                let what = format!("{end:?} {length:?} {number}");
                let pause = Duration::from_millis(10);
                let pages = pages(config, Front::Layer, length, move |before| match before {
                    0 => bad(end, length, pause),
                    _ => Body::from("whole!!!!"),
                });
                // The first one, one that joins at once, and one that joins when a chunk has come.
                let early = [0, 1].map(|_| {
                    let pages = pages.clone();
                    tokio::spawn(
                        async move { read(pages.open(Method::GET, "/a", &[]).await).await },
                    )
                });
                sleep(Duration::from_millis(15)).await;
                let late = {
                    let pages = pages.clone();
                    tokio::spawn(
                        async move { read(pages.open(Method::GET, "/a", &[]).await).await },
                    )
                };
                for (reader, request) in early.into_iter().chain([late]).enumerate() {
                    match timeout(LONGEST, request).await {
                        // Nobody is told that half of a page is all of it.
                        Ok(Ok((text, is_whole))) if text == "onetwo" && !is_whole => {}
                        Ok(Ok((text, true))) if text == "whole!!!!" && reader > 0 => {}
                        other => wrong.push(format!("{what}, reader {reader}: {other:?}")),
                    }
                }
                // It is not stored, and the next one gets the page.
                let next = timeout(SECOND, pages.get("/a")).await;
                match next {
                    Ok(got) if got.text() == "whole!!!!" => {}
                    other => wrong.push(format!("{what}, the next one: {other:?}")),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_at_once_where_it_is_known() {
    for end in [End::Panics, End::Breaks] {
        for length in [None, Some(LENGTH)] {
            for pause in [Duration::ZERO, Duration::from_millis(10)] {
                let pages = pages(memory(), Front::Layer, length, move |_| {
                    bad(end, length, pause)
                });
                let response = pages.open(Method::GET, "/a", &[]).await;
                let got = timeout(SECOND, read(response)).await;
                let expected = Ok(("onetwo".to_owned(), false));
                assert_eq!(got, expected, "{end:?} {length:?} {pause:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_at_once_does_not_hang_a_handler() {
    for end in [End::Panics, End::Breaks] {
        for front in FRONTS {
            let pages = pages(memory(), front, None, move |before| match before {
                0 => {
                    let chunks =
                        stream::iter([Some("one"), None]).map(move |chunk| match (chunk, end) {
                            (Some(chunk), _) => Ok(Bytes::from(chunk)),
                            (None, End::Panics) => panic!("the body is broken"),
                            (None, _) => Err(BoxError::from("connection reset")),
                        });
                    Body::from_stream(chunks)
                }
                _ => Body::from("whole"),
            });
            let first = pages.clone();
            let first =
                tokio::spawn(async move { read(first.open(Method::GET, "/a", &[]).await).await });
            let second = pages.clone();
            let second = tokio::spawn(async move { second.get("/a").await });
            // As without a cache, the panic may be the client's.
            let first = timeout(SECOND, first).await.unwrap();
            assert!(
                first.as_ref().is_ok_and(|(_, is_whole)| !is_whole)
                    || first.as_ref().is_err_and(|error| error.is_panic()),
                "{front:?} {end:?}: {first:?}"
            );
            let second = timeout(SECOND, second).await.unwrap().unwrap();
            assert_eq!(second.text(), "whole", "{front:?} {end:?}");
            assert_eq!(pages.get("/a").await.text(), "whole", "{front:?} {end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_merely_slow_is_given_whole() {
    for length in [None, Some(6)] {
        let pages = pages(memory(), Front::Layer, length, move |_| {
            let chunks = stream::iter(["one", "two"]).then(async |chunk| {
                sleep(20 * SECOND).await;
                Ok::<_, BoxError>(Bytes::from(chunk))
            });
            match length {
                None => Body::from_stream(chunks),
                Some(left) => Body::new(Announced {
                    body: Body::from_stream(chunks),
                    left,
                }),
            }
        });
        let response = pages.open(Method::GET, "/a", &[]).await;
        assert_eq!(read(response).await, ("onetwo".to_owned(), true));
        settle().await;
        let hit = pages.get("/a").await;
        assert_eq!((hit.text(), pages.calls()), ("onetwo", 1), "{length:?}");
    }
}
