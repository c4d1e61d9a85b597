//! The layer above and below one that compresses.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, InMemoryBackend};
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;

use super::{Got, SECOND, read};

const LONG: &str = "a text that is long enough to be worth the while, since it says the same again and again; \
                    a text that is long enough to be worth the while, since it says the same again and again";

async fn ask(app: &Router, headers: &[(&str, &str)]) -> anyhow::Result<Got> {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(read(app.clone().oneshot(request.body(Body::empty())?).await?).await)
}

const GZIP: &[(&str, &str)] = &[("accept-encoding", "gzip")];

fn layer() -> CacheLayer {
    CacheLayer::new()
        .cache(Cache::new(InMemoryBackend::new()))
        .expire(60 * SECOND)
}

#[tokio::test]
async fn what_compresses_above_compresses_hits() -> anyhow::Result<()> {
    let app = Router::new()
        .route("/", get(async || LONG))
        .layer(layer())
        .layer(CompressionLayer::new().gzip(true));
    let plain = ask(&app, &[]).await?;
    assert_eq!(
        (plain.text(), plain.header("x-fastapi-cache")),
        (LONG, "MISS")
    );
    let gzip = ask(&app, GZIP).await?;
    assert_eq!(gzip.header("x-fastapi-cache"), "HIT");
    assert_eq!(
        (gzip.header("content-encoding"), gzip.header("vary")),
        ("gzip", "accept-encoding")
    );
    assert!(gzip.body.len() < LONG.len());
    let again = ask(&app, &[]).await?;
    assert_eq!((again.text(), again.header("content-encoding")), (LONG, ""));

    // The tag that a client has been given is one that is recognized, whether it was changed on the way or not.
    for tag in [gzip.header("etag"), plain.header("etag")] {
        let got = ask(&app, &[("accept-encoding", "gzip"), ("if-none-match", tag)]).await?;
        assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{tag}");
    }
    Ok(())
}

#[tokio::test]
async fn what_compresses_below_makes_variants() -> anyhow::Result<()> {
    let app = Router::new()
        .route("/", get(async || LONG))
        .layer(CompressionLayer::new().gzip(true))
        .layer(layer());
    let plain = ask(&app, &[]).await?;
    let gzip = ask(&app, GZIP).await?;
    assert_eq!(
        (plain.text(), gzip.header("content-encoding")),
        (LONG, "gzip")
    );
    for (headers, first) in [(&[][..], &plain), (GZIP, &gzip)] {
        let hit = ask(&app, headers).await?;
        assert_eq!(hit.header("x-fastapi-cache"), "HIT");
        assert_eq!(hit.body, first.body);
        assert_eq!(
            hit.header("content-encoding"),
            first.header("content-encoding")
        );
        assert_eq!(hit.header("vary"), "accept-encoding");
        let tag = hit.header("etag").to_owned();
        let told = ask(&app, &[headers, &[("if-none-match", &*tag)]].concat()).await?;
        assert_eq!(told.status, StatusCode::NOT_MODIFIED);
    }
    assert_ne!(
        ask(&app, GZIP).await?.header("etag"),
        ask(&app, &[]).await?.header("etag")
    );
    Ok(())
}
