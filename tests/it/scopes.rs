//! A cache for all requests of one router.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use fast_cache::{Cache, CacheLayer, Config, FastCache, cache};
use tower::ServiceExt;

use crate::fronts::{Got, SECOND, memory, read, request};
use crate::support::{Calls, settle};

type Counter = &'static Calls;

#[cache(expire = 60)]
async fn inner(id: u64) -> u64 {
    static CALLS: Calls = Calls::new();
    id * 1000 + CALLS.next()
}

#[cache(expire = 60)]
async fn show(Path(id): Path<u64>, State(name): State<&'static str>) -> String {
    format!("{name} {id} of {}", FastCache::prefix())
}

#[cache(expire = 60)]
async fn calls_a_function(Path(id): Path<u64>) -> String {
    inner(id).await.to_string()
}

async fn get_from(router: &Router, uri: &str) -> Got {
    let request = request(axum::http::Method::GET, uri, &[]);
    read(router.clone().oneshot(request).await.unwrap()).await
}

fn named(prefix: &str) -> Cache {
    Cache::new(memory().prefix(prefix))
}

fn routes(name: &'static str) -> Router {
    Router::new()
        .route(&format!("/{name}/{{id}}"), get(show))
        .with_state(name)
}

#[tokio::test]
async fn one_handler_merged_under_two_states_has_two_caches() {
    let (one, two) = (named("one"), named("two"));
    let router = Router::new()
        .merge(routes("acme").layer(one.layer()))
        .merge(routes("globex").layer(two.layer()));
    for status in ["MISS", "HIT"] {
        for (name, prefix) in [("acme", "one"), ("globex", "two")] {
            let got = get_from(&router, &format!("/{name}/1")).await;
            assert_eq!(got.text(), format!("{name} 1 of {prefix}"));
            assert_eq!(got.cache(), status);
        }
    }
    for cache in [&one, &two] {
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses), (1, 1));
    }
    one.clear().await.unwrap();
    assert_eq!(get_from(&router, "/acme/1").await.cache(), "MISS");
    assert_eq!(get_from(&router, "/globex/1").await.cache(), "HIT");
}

#[tokio::test]
async fn the_innermost_cache_counts() {
    let (outer, inner) = (named("outer"), named("inner"));
    let router = Router::new()
        .merge(routes("acme").layer(inner.layer()))
        .merge(routes("globex"))
        .layer(outer.layer());
    assert_eq!(get_from(&router, "/acme/1").await.text(), "acme 1 of inner");
    let got = get_from(&router, "/globex/1").await;
    assert_eq!(got.text(), "globex 1 of outer");
    // A scope around the request is outside of both.
    let around = named("around");
    let got = around.scope(get_from(&router, "/acme/2")).await;
    assert_eq!(got.text(), "acme 2 of inner");
    assert_eq!(around.stats().misses, 0);
}

#[tokio::test]
async fn functions_and_layers_below_use_it_too() {
    static CALLS: Calls = Calls::new();
    async fn plain(State(calls): State<Counter>) -> String {
        calls.next().to_string()
    }

    let cache = named("all");
    let router: Router = Router::new()
        .route("/plain", get(plain))
        .route_layer(CacheLayer::new().expire(60 * SECOND))
        .with_state(&CALLS)
        .route("/function/{id}", get(calls_a_function))
        .layer(cache.layer());
    for status in ["MISS", "HIT"] {
        let got = get_from(&router, "/plain").await;
        assert_eq!((got.text(), got.cache()), ("1", status));
    }
    let first = get_from(&router, "/function/1").await;
    cache
        .scope(async {
            let stored = inner::entry(1).get().await.unwrap().unwrap();
            assert_eq!(stored.to_string(), first.text());
        })
        .await;
    // A layer that names its cache keeps to that.
    let own = named("own");
    let layer = CacheLayer::new().cache(own.clone()).expire(60 * SECOND);
    let router: Router = Router::new()
        .route("/plain", get(plain))
        .with_state(&CALLS)
        .layer(layer)
        .layer(cache.layer());
    let before = cache.stats().misses;
    get_from(&router, "/plain").await;
    assert_eq!(get_from(&router, "/plain").await.cache(), "HIT");
    assert_eq!((own.stats().hits, cache.stats().misses), (1, before));
}

#[tokio::test]
async fn what_goes_on_in_the_background_keeps_its_cache() {
    #[cache(expire = 60, stale_while_revalidate = 30)]
    async fn aging(State(calls): State<Counter>) -> String {
        format!("{} of {}", calls.next(), FastCache::prefix())
    }

    static CALLS: Calls = Calls::new();
    let clock = fast_cache::testing::ManualClock::new();
    let config: Config = memory().prefix("aging");
    let cache = Cache::new(config.clock(clock.clone()));
    let router: Router = Router::new()
        .route("/", get(aging))
        .with_state(&CALLS)
        .layer(cache.layer());
    assert_eq!(get_from(&router, "/").await.text(), "1 of aging");
    clock.advance(61 * SECOND);
    assert_eq!(get_from(&router, "/").await.text(), "1 of aging");
    settle().await;
    let got = get_from(&router, "/").await;
    assert_eq!((got.text(), got.cache()), ("2 of aging", "HIT"));
}

/// A spawned server has no scope of the test around it, and so has its cache in a layer.
#[tokio::test]
async fn a_served_application_has_a_cache_of_its_own() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let serve = async |cache: &Cache| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = routes("acme").layer(cache.layer());
        let server = tokio::spawn(serve_one_by_one(listener, app));
        (address, server)
    };
    let ask = async |address| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"GET /acme/1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    let caches = ["one", "two"].map(named);
    let one = serve(&caches[0]).await;
    let two = serve(&caches[1]).await;
    for status in ["MISS", "HIT"] {
        for ((address, _), prefix) in [(&one, "one"), (&two, "two")] {
            let reply = ask(*address).await;
            assert!(reply.ends_with(&format!("acme 1 of {prefix}")), "{reply}");
            assert!(
                reply.contains(&format!("x-fastapi-cache: {status}")),
                "{reply}"
            );
        }
    }
    for cache in &caches {
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    }
    one.1.abort();
    two.1.abort();
}

/// As much of a server as the test needs.
async fn serve_one_by_one(listener: tokio::net::TcpListener, app: Router) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let app = app.clone();
        // Each connection has a task of its own, as with any server.
        tokio::spawn(async move {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            let asked = String::from_utf8(asked).unwrap();
            let uri = asked.split(' ').nth(1).unwrap();
            let got = get_from(&app, uri).await;
            let mut reply = format!("HTTP/1.1 {}\r\n", got.status);
            for (name, value) in &got.headers {
                reply.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
            }
            reply.push_str(&format!("\r\n{}", got.text()));
            stream.write_all(reply.as_bytes()).await.unwrap();
        });
    }
}
