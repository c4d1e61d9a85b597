//! Bodies that come bit by bit, are too long, or never end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use fast_cache::{CacheLayer, Config, InMemoryBackend};
use futures_util::FutureExt;
use http_body_util::{BodyExt, Channel, StreamBody, channel::Sender};
use tower::BoxError;

use super::{SECOND, Site, read, response, stores};
use crate::support::settle;

/// The other end of a body.
type Feed = Sender<Bytes, BoxError>;

/// A service whose bodies the test feeds.
fn fed(
    config: Config,
    layer: CacheLayer,
    length: Option<&'static str>,
) -> (Site, Arc<Mutex<Vec<Feed>>>) {
    let feeds = Arc::<Mutex<Vec<Feed>>>::default();
    let given = Arc::clone(&feeds);
    let site = Site::on(config, layer, move |_, before| {
        let (feed, body) = Channel::<Bytes, BoxError>::new(64);
        given.lock().unwrap().push(feed);
        let mut response = response(&[("cache-control", "max-age=60")], before);
        *response.body_mut() = match length {
            None => Body::new(body),
            Some(length) => {
                response
                    .headers_mut()
                    .insert("content-length", HeaderValue::from_static(length));
                Body::new(Sized(body, length.parse().unwrap()))
            }
        };
        response
    });
    (site, feeds)
}

/// A body that says how long it is.
struct Sized(Channel<Bytes, BoxError>, u64);

impl axum::body::HttpBody for Sized {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(context)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

fn memory() -> Config {
    Config::new(InMemoryBackend::new())
}

async fn chunk(response: &mut Response) -> Option<Bytes> {
    let frame = tokio::time::timeout(SECOND, response.body_mut().frame()).await;
    frame
        .expect("there is something to read")?
        .unwrap()
        .into_data()
        .ok()
}

async fn is_waiting(response: &mut Response) -> bool {
    settle().await;
    response.body_mut().frame().now_or_never().is_none()
}

fn last(feeds: &Mutex<Vec<Feed>>) -> Feed {
    feeds.lock().unwrap().pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_does_not_wait_for_the_last() {
    for config in stores() {
        let (site, feeds) = fed(config, CacheLayer::new(), None);
        let mut response = site.open(Method::GET, "/", &[]).await.unwrap();
        let mut feed = last(&feeds);
        assert!(is_waiting(&mut response).await);
        feed.send_data("one".into()).await.unwrap();
        assert_eq!(chunk(&mut response).await.unwrap(), "one");
        assert!(is_waiting(&mut response).await);
        feed.send_data("two".into()).await.unwrap();
        drop(feed);
        assert_eq!(chunk(&mut response).await.unwrap(), "two");
        assert_eq!(chunk(&mut response).await, None);
        settle().await;
        let hit = site.get("/").await;
        assert_eq!((hit.text(), site.calls()), ("onetwo", 1));
        assert_eq!(hit.header("x-fastapi-cache"), "HIT");
    }
}

#[tokio::test(start_paused = true)]
async fn others_read_along_where_the_length_is_known() {
    let (site, feeds) = fed(memory(), CacheLayer::new().cache_status("edge"), Some("6"));
    let mut first = site.open(Method::GET, "/", &[]).await.unwrap();
    let mut feed = last(&feeds);
    feed.send_data("one".into()).await.unwrap();
    let mut second = site.open(Method::GET, "/", &[]).await.unwrap();
    let status = second.headers()["cache-status"].to_str().unwrap();
    assert!(
        status.starts_with("edge;fwd=uri-miss;") && status.contains(";collapsed"),
        "{status}"
    );
    assert_eq!(chunk(&mut second).await.unwrap(), "one");
    assert_eq!(chunk(&mut first).await.unwrap(), "one");
    assert!(is_waiting(&mut second).await);
    feed.send_data("two".into()).await.unwrap();
    drop(feed);
    assert_eq!(read(second).await.text(), "two");
    assert_eq!(read(first).await.text(), "two");
    settle().await;
    assert_eq!((site.get("/").await.text(), site.calls()), ("onetwo", 1));
}

#[tokio::test(start_paused = true)]
async fn others_wait_a_little_where_it_is_not() {
    let (site, feeds) = fed(memory(), CacheLayer::new(), None);
    let first = site.open(Method::GET, "/", &[]).await.unwrap();
    let mut feed = last(&feeds);
    feed.send_data("one".into()).await.unwrap();
    let others: Vec<_> = (0..10)
        .map(|_| {
            let site = site.clone();
            tokio::spawn(async move { site.get("/").await })
        })
        .collect();
    settle().await;
    drop(feed);
    for other in others {
        assert_eq!(other.await.unwrap().text(), "one");
    }
    assert_eq!((read(first).await.text(), site.calls()), ("one", 1));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_end_keeps_nobody() {
    let (site, feeds) = fed(memory(), CacheLayer::new(), None);
    let endless = site.open(Method::GET, "/", &[]).await.unwrap();
    let other = site.open(Method::GET, "/", &[]).await.unwrap();
    assert_eq!(site.calls(), 2);
    for mut feed in feeds.lock().unwrap().drain(..) {
        feed.try_send(http_body::Frame::data("x".into())).unwrap();
    }
    assert_eq!(
        (read(endless).await.text(), read(other).await.text()),
        ("x", "x")
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_reads_along_with_a_body_that_stands_still() {
    let (site, feeds) = fed(memory(), CacheLayer::new(), Some("6"));
    let stuck = site.open(Method::GET, "/", &[]).await.unwrap();
    tokio::time::advance(2 * SECOND).await;
    let other = site.open(Method::GET, "/", &[]).await.unwrap();
    assert_eq!(site.calls(), 2);
    let mut feed = last(&feeds);
    feed.send_data("onetwo".into()).await.unwrap();
    drop(feed);
    assert_eq!(read(other).await.text(), "onetwo");
    settle().await;
    assert_eq!(site.get("/").await.text(), "onetwo");
    // The first one is given up when nobody reads it any more.
    drop(stuck);
    let mut feed = last(&feeds);
    tokio::time::sleep(200 * SECOND).await;
    assert!(feed.send_data("late".into()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_given_whole_and_not_stored() {
    let config = memory().max_body(5);
    let (site, feeds) = fed(config, CacheLayer::new(), None);
    for _ in 0..2 {
        let response = site.open(Method::GET, "/", &[]).await.unwrap();
        let mut feed = last(&feeds);
        for part in ["one", "two", "three"] {
            feed.send_data(part.into()).await.unwrap();
        }
        drop(feed);
        assert_eq!(read(response).await.text(), "onetwothree");
        settle().await;
    }
    assert_eq!(site.calls(), 2);

    // One that says so is not even begun.
    let (site, feeds) = fed(memory().max_body(5), CacheLayer::new(), Some("11"));
    let response = site.open(Method::GET, "/", &[]).await.unwrap();
    let mut feed = last(&feeds);
    feed.send_data("onetwothree".into()).await.unwrap();
    drop(feed);
    assert_eq!(response.headers().get("x-fastapi-cache"), None);
    assert_eq!(read(response).await.text(), "onetwothree");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_off_breaks_off_for_the_client_and_is_not_stored() {
    for length in [None, Some("6")] {
        let (site, feeds) = fed(memory(), CacheLayer::new(), length);
        let mut response = site.open(Method::GET, "/", &[]).await.unwrap();
        let mut feed = last(&feeds);
        feed.send_data("one".into()).await.unwrap();
        feed.abort("connection reset".into());
        assert_eq!(chunk(&mut response).await.unwrap(), "one");
        assert!(response.body_mut().frame().await.unwrap().is_err());
        settle().await;
        drop(site.open(Method::GET, "/", &[]).await);
        assert_eq!(site.calls(), 2);
    }
}

#[tokio::test]
async fn a_body_that_is_not_as_long_as_announced_is_not_stored() {
    let control = [("cache-control", "max-age=60"), ("content-length", "99")];
    let site = Site::on(memory(), CacheLayer::new(), move |_, before| {
        response(&control, before)
    });
    for before in 0..2 {
        assert_eq!(site.get("/").await.text(), format!("answer {before}"));
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_reach_the_client_and_keep_the_response_out() {
    let (site, feeds) = fed(memory(), CacheLayer::new(), None);
    let mut response = site.open(Method::GET, "/", &[]).await.unwrap();
    let mut feed = last(&feeds);
    feed.send_data("one".into()).await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    feed.send_trailers(trailers.clone()).await.unwrap();
    drop(feed);
    assert_eq!(chunk(&mut response).await.unwrap(), "one");
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers);
    settle().await;
    drop(site.open(Method::GET, "/", &[]).await);
    assert_eq!(site.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_any_more_is_stored_if_its_end_is_known() {
    for (length, calls) in [(Some("6"), 1), (None, 2)] {
        let (site, feeds) = fed(memory(), CacheLayer::new(), length);
        drop(site.open(Method::GET, "/", &[]).await.unwrap());
        settle().await;
        let mut feed = last(&feeds);
        let _ = feed.send_data("onetwo".into()).await;
        drop(feed);
        settle().await;
        drop(site.open(Method::GET, "/", &[]).await.unwrap());
        assert_eq!(site.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_while_it_came_is_not_stored_and_not_read_along() {
    for config in stores() {
        let (site, feeds) = fed(config, CacheLayer::new(), Some("6"));
        let first = site.open(Method::GET, "/", &[]).await.unwrap();
        let mut feed = last(&feeds);
        feed.send_data("one".into()).await.unwrap();
        let post = site.open(Method::POST, "/", &[]);
        drop(post.await);
        drop(last(&feeds));
        let second = site.open(Method::GET, "/", &[]).await.unwrap();
        assert_eq!(site.calls(), 3);
        feed.send_data("two".into()).await.unwrap();
        drop(feed);
        assert_eq!(read(first).await.text(), "onetwo");
        drop((second, last(&feeds)));
        settle().await;
        drop(site.open(Method::GET, "/", &[]).await);
        assert_eq!(site.calls(), 4);
    }
}

#[test]
fn outside_of_a_runtime_what_streams_is_passed_on() {
    let site = Site::on(memory(), CacheLayer::new(), |_, before| {
        let mut is_late = true;
        let late = futures_util::stream::poll_fn(move |context| {
            if std::mem::take(&mut is_late) {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(None::<Result<http_body::Frame<Bytes>, BoxError>>)
        });
        let mut response = response(&[("cache-control", "max-age=60")], before);
        *response.body_mut() = Body::new(StreamBody::new(late));
        response
    });
    for calls in 1..3 {
        let opened = site.open(Method::GET, "/", &[]).now_or_never();
        let mut response = opened.unwrap().unwrap();
        let frame = response.body_mut().frame().now_or_never();
        assert!(frame.unwrap().is_none());
        assert_eq!(site.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_it_already_is_told_at_once_and_it_is_stored() {
    let site = Site::on(memory(), CacheLayer::new(), |_, before| {
        let late = futures_util::stream::once(async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Ok::<_, BoxError>(http_body::Frame::data(Bytes::from("late")))
        });
        let mut response = response(
            &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
            before,
        );
        *response.body_mut() = Body::new(StreamBody::new(late));
        response
    });
    let told = site.get_with("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!(told.status, StatusCode::NOT_MODIFIED);
    tokio::time::sleep(SECOND).await;
    assert_eq!((site.get("/").await.text(), site.calls()), ("late", 1));
}
