//! The engine behind the layer: stale responses, one request for many, and options.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, Config, FastCache, InMemoryBackend};
use tower::ServiceExt;

use super::{SECOND, Site, always, configured, read, response, stores, with_status};
use crate::support::{Gate, Remote, settle};

#[tokio::test(start_paused = true)]
async fn a_stale_response_is_served_while_it_is_fetched_anew() {
    for config in stores() {
        let control = [("cache-control", "max-age=5, stale-while-revalidate=10")];
        let site = Site::on(config, CacheLayer::new(), move |_, before| {
            response(&control, before)
        });
        site.get("/").await;
        site.clock.advance(6 * SECOND);
        let stale = site.get("/").await;
        assert_eq!((stale.text(), stale.header("age")), ("answer 0", "6"));
        settle().await;
        assert_eq!(site.calls(), 2);
        assert_eq!(site.get("/").await.text(), "answer 1");
        site.clock.advance(15 * SECOND);
        assert_eq!(site.get("/").await.text(), "answer 2");
    }
}

#[tokio::test(start_paused = true)]
async fn head_of_a_stale_response_fetches_nothing() {
    let control = [("cache-control", "max-age=5, stale-while-revalidate=10")];
    let site = Site::new(CacheLayer::new(), move |_, before| {
        response(&control, before)
    });
    site.get("/").await;
    site.clock.advance(6 * SECOND);
    let head = site.send(Method::HEAD, "/", &[]).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (StatusCode::OK, "8")
    );
    settle().await;
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn a_stale_response_stands_in_for_failures() {
    let failures: [fn(usize) -> Option<super::Response>; 3] = [
        |before| Some(with_status(503, &[], before)),
        |_| None,
        |_| panic!("the service is broken"),
    ];
    for (fail, config) in failures.into_iter().zip(stores()) {
        let config = config.stale_if_error(60 * SECOND);
        let site = Site::of(config, CacheLayer::new(), move |_, before| async move {
            let answer = match before {
                0 => Some(response(&[("cache-control", "max-age=5")], before)),
                _ => fail(before),
            };
            answer.ok_or_else(|| "connection refused".into())
        });
        site.get("/").await;
        site.clock.advance(6 * SECOND);
        let stale = site.get("/").await;
        assert_eq!((stale.status, stale.text()), (StatusCode::OK, "answer 0"));
        assert_eq!(stale.header("x-fastapi-cache"), "HIT");
        assert_eq!(site.calls(), 2);
        // It has been tried just now.
        site.get("/").await;
        assert_eq!(site.calls(), 2);
    }
}

#[tokio::test]
async fn what_forbids_to_be_stale_is_not() {
    for control in [
        "must-revalidate",
        "proxy-revalidate",
        "s-maxage=5",
        "no-cache",
    ] {
        let config = Config::new(InMemoryBackend::new()).stale_if_error(60 * SECOND);
        let control = format!("max-age=5, {control}");
        let site = Site::on(config, CacheLayer::new(), move |_, before| match before {
            0 => response(&[("cache-control", &control), ("etag", "\"a\"")], before),
            _ => with_status(503, &[], before),
        });
        site.get("/").await;
        site.clock.advance(6 * SECOND);
        assert_eq!(site.get("/").await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_its_callers_where_nothing_stands_in() {
    let config = Config::new(InMemoryBackend::new());
    let site = Site::of(config, CacheLayer::new(), |_, _| async { Err("no".into()) });
    let error = site.open(Method::GET, "/", &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "no");
}

#[tokio::test(start_paused = true)]
async fn many_requests_make_one_call() {
    for config in stores() {
        let gate = Gate::new();
        let inner = gate.clone();
        let site = Site::of(config, CacheLayer::new(), move |_, before| {
            let gate = inner.clone();
            async move {
                gate.pass().await;
                Ok(response(&[("cache-control", "max-age=5")], before))
            }
        });
        let requests: Vec<_> = (0..1000)
            .map(|_| {
                let site = site.clone();
                tokio::spawn(async move { site.get("/").await })
            })
            .collect();
        settle().await;
        gate.open();
        for request in requests {
            assert_eq!(request.await.unwrap().text(), "answer 0");
        }
        assert_eq!(site.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn many_requests_for_variants_make_one_call_each() {
    let gate = Gate::new();
    let inner = gate.clone();
    let config = Config::new(InMemoryBackend::new());
    let site = Site::of(config, CacheLayer::new(), move |parts, before| {
        let gate = inner.clone();
        async move {
            gate.pass().await;
            let mut got = response(&[("cache-control", "max-age=5"), ("vary", "x-a")], before);
            *got.body_mut() = Body::from(parts.headers["x-a"].to_str().unwrap().to_owned());
            Ok(got)
        }
    });
    let requests: Vec<_> = (0..300)
        .map(|number| {
            let site = site.clone();
            tokio::spawn(async move {
                let variant = (number % 3).to_string();
                let got = site.get_with("/", &[("x-a", &variant)]).await;
                assert_eq!(got.text(), variant);
            })
        })
        .collect();
    settle().await;
    gate.open();
    for request in requests {
        request.await.unwrap();
    }
    assert_eq!(site.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_stored_is_nobody_elses() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let config = Config::new(InMemoryBackend::new());
    let site = Site::of(config, CacheLayer::new(), move |_, before| {
        let calls = Arc::clone(&counted);
        async move {
            tokio::time::sleep(SECOND).await;
            calls.fetch_add(1, Ordering::SeqCst);
            Ok(response(&[("cache-control", "private")], before))
        }
    });
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let site = site.clone();
            tokio::spawn(async move { site.get("/").await.text().to_owned() })
        })
        .collect();
    let mut texts = Vec::new();
    for request in requests {
        texts.push(request.await.unwrap());
    }
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), calls.load(Ordering::SeqCst)), (50, 50));
}

#[tokio::test(start_paused = true)]
async fn what_was_changed_meanwhile_is_not_stored() {
    for config in stores() {
        let gate = Gate::new();
        let inner = gate.clone();
        let site = Site::of(config, CacheLayer::new(), move |parts, before| {
            let gate = inner.clone();
            async move {
                if parts.method == Method::GET {
                    gate.pass().await;
                }
                Ok(response(&[("cache-control", "max-age=5")], before))
            }
        });
        let early = site.clone();
        let early = tokio::spawn(async move { early.get("/").await });
        settle().await;
        site.send(Method::PUT, "/", &[]).await;
        gate.open();
        assert_eq!(early.await.unwrap().text(), "answer 0");
        assert_eq!(site.get("/").await.text(), "answer 2");
    }
}

#[tokio::test]
async fn a_namespace_is_cleared_as_for_functions() {
    let layer = || CacheLayer::new().namespace("pages");
    let site = Site::new(layer(), always(&[("cache-control", "max-age=5")]));
    site.get("/").await;
    assert_eq!(site.cache.clear_namespace("http").await.unwrap(), 0);
    assert_eq!(site.get("/").await.text(), "answer 0");
    assert_eq!(site.cache.clear_namespace("pages").await.unwrap(), 1);
    assert_eq!(site.get("/").await.text(), "answer 1");
    let stats = site.cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.computes), (1, 2, 2));
}

#[tokio::test]
async fn keys_can_have_more_parts_and_requests_be_left_alone() {
    let layer = CacheLayer::new()
        .key_by(|parts| {
            parts.headers["x-tenant"]
                .to_str()
                .unwrap_or_default()
                .to_owned()
        })
        .only_if(|parts| parts.uri.path() != "/live");
    let site = Site::new(layer, always(&[("cache-control", "max-age=5")]));
    let get = async |path, tenant| site.get_with(path, &[("x-tenant", tenant)]).await;
    assert_eq!(get("/", "a").await.text(), "answer 0");
    assert_eq!(get("/", "b").await.text(), "answer 1");
    assert_eq!(get("/", "a").await.text(), "answer 0");
    assert_eq!(get("/live", "a").await.text(), "answer 2");
    assert_eq!(get("/live", "a").await.text(), "answer 3");
    site.send(Method::POST, "/", &[("x-tenant", "a")]).await;
    assert_eq!(get("/", "b").await.text(), "answer 5");
}

#[tokio::test]
async fn a_store_that_fails_is_passed_over() {
    let remote = Remote::default();
    let site = Site::on(
        configured(remote.clone()),
        CacheLayer::new(),
        always(&[("cache-control", "max-age=5")]),
    );
    remote.fail(true);
    assert_eq!(site.get("/").await.text(), "answer 0");
    assert_eq!(site.get("/").await.text(), "answer 1");
    remote.fail(false);
    site.clock.advance(60 * SECOND);
    site.get("/").await;
    let calls = site.calls();
    site.get("/").await;
    assert_eq!(site.calls(), calls);
}

#[tokio::test]
async fn foreign_bytes_are_a_miss() {
    let remote = Remote::default();
    let site = Site::on(
        configured(remote.clone()),
        CacheLayer::new(),
        always(&[("cache-control", "max-age=5")]),
    );
    site.get("/a").await;
    site.get("/b").await;
    let [a, b] = &remote.keys()[..] else {
        panic!("two responses are stored");
    };
    let stored = remote.read(a).unwrap();
    // One response under the key of another, and every cut of a response under its own.
    remote.write(b, stored.clone());
    site.get("/a").await;
    site.get("/b").await;
    assert_eq!(site.calls(), 3);
    let mut calls = 3;
    for end in (0..stored.len()).step_by(7) {
        remote.write(a, stored.slice(..end));
        remote.write(b, stored.slice(..end));
        site.get("/a").await;
        calls += 1;
        assert_eq!(site.calls(), calls, "cut at {end}");
    }
}

#[tokio::test]
async fn a_router_is_cached_whole_or_in_part() -> anyhow::Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = |calls: &Arc<AtomicUsize>| {
        let calls = Arc::clone(calls);
        get(async move || calls.fetch_add(1, Ordering::SeqCst).to_string())
    };
    let app: Router = Router::new()
        .route("/slow", count(&calls))
        .route_layer(CacheLayer::new().expire(60 * SECOND))
        .route("/live", count(&calls));
    let ask = async |path: &str| -> anyhow::Result<String> {
        let request = Request::get(path).body(Body::empty())?;
        Ok(read(app.clone().oneshot(request).await?)
            .await
            .text()
            .to_owned())
    };
    // Without a cache, everything just runs.
    assert_ne!(ask("/slow").await?, ask("/slow").await?);
    let cache = Cache::new(InMemoryBackend::new());
    cache
        .scope(async {
            assert_eq!(ask("/slow").await?, ask("/slow").await?);
            assert_ne!(ask("/live").await?, ask("/live").await?);
            assert_eq!(FastCache::stats().hits, 1);
            FastCache::set_enabled(false);
            assert_ne!(ask("/slow").await?, ask("/slow").await?);
            anyhow::Ok(())
        })
        .await
}

#[tokio::test]
async fn a_nested_router_is_known_by_the_whole_path() -> anyhow::Result<()> {
    let calls = Arc::new(AtomicUsize::new(0));
    let users = |of: &'static str| {
        let calls = Arc::clone(&calls);
        let list = async move || format!("{of} {}", calls.fetch_add(1, Ordering::SeqCst));
        Router::new()
            .route("/users", get(list).post(async || "changed"))
            .layer(CacheLayer::new().expire(60 * SECOND))
    };
    let app: Router = Router::new()
        .nest("/public", users("public"))
        .nest("/admin", users("admin"))
        .route("/users", get(async || "root"));
    let send = async |method: Method, path: &str| -> anyhow::Result<String> {
        let request = Request::builder().method(method).uri(path);
        let reply = app.clone().oneshot(request.body(Body::empty())?).await?;
        Ok(read(reply).await.text().to_owned())
    };
    let ask = async |path| send(Method::GET, path).await;
    Cache::new(InMemoryBackend::new())
        .scope(async {
            assert_eq!(ask("/public/users").await?, "public 0");
            assert_eq!(ask("/admin/users").await?, "admin 1");
            assert_eq!(ask("/public/users").await?, "public 0");
            assert_eq!(ask("/admin/users").await?, "admin 1");
            send(Method::POST, "/admin/users").await?;
            assert_eq!(ask("/public/users").await?, "public 0");
            assert_eq!(ask("/admin/users").await?, "admin 2");
            anyhow::Ok(())
        })
        .await
}

#[tokio::test]
async fn what_is_changed_while_the_cache_is_off_does_not_come_back() {
    let site = Site::new(
        CacheLayer::new(),
        always(&[("cache-control", "max-age=60")]),
    );
    site.get("/").await;
    site.cache.set_enabled(false);
    assert_eq!(site.get("/").await.text(), "answer 1");
    site.send(Method::PUT, "/", &[]).await;
    site.cache.set_enabled(true);
    assert_eq!(site.get("/").await.text(), "answer 3");
}

#[tokio::test]
async fn a_service_of_limited_concurrency_is_not_exhausted() {
    let busy = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&busy);
    let inner = tower::service_fn(move |_: Request<Body>| {
        let busy = Arc::clone(&flag);
        async move {
            assert!(!busy.swap(true, Ordering::SeqCst));
            tokio::task::yield_now().await;
            busy.store(false, Ordering::SeqCst);
            Ok::<_, std::convert::Infallible>(response(&[("cache-control", "max-age=5")], 0))
        }
    });
    let inner = tower::limit::ConcurrencyLimit::new(inner, 1);
    let cache = Cache::new(InMemoryBackend::new());
    let service = tower::Layer::layer(&CacheLayer::new().cache(cache), inner);
    let requests: Vec<_> = (0..20)
        .map(|number| {
            let request = Request::get(format!("/{}", number % 5)).body(Body::empty());
            tokio::spawn(service.clone().oneshot(request.unwrap()))
        })
        .collect();
    for request in requests {
        let reply = tokio::time::timeout(Duration::from_secs(10), request).await;
        assert_eq!(reply.unwrap().unwrap().unwrap().status(), StatusCode::OK);
    }
}
