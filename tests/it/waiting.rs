//! Who waits for whom, and for how long.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheLayer, CacheResponse, Config, TieredBackend, cache};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::fronts::{FRONTS, Front, Got, Pages, SECOND, answer, ask, fresh, memory};
use crate::support::{Calls, Gate, Hub, Remote, settle};

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

/// Pages that take a second.
fn slow(
    config: Config,
    front: Front,
    make: impl Fn(usize) -> Response + Send + Sync + 'static,
) -> Pages {
    Pages::of(config, front, move |_, before| {
        let response = make(before);
        Box::pin(async move {
            sleep(SECOND).await;
            response
        })
    })
}

fn spawn(pages: &Pages, headers: &'static [(&'static str, &'static str)]) -> JoinHandle<Got> {
    let pages = pages.clone();
    tokio::spawn(async move { pages.get_with("/a", headers).await })
}

/// How long each of many requests at once takes.
async fn at_once(pages: &Pages, headers: &'static [(&'static str, &'static str)]) -> Vec<Duration> {
    let began = Instant::now();
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let request = spawn(pages, headers);
            tokio::spawn(async move {
                request.await.unwrap();
                began.elapsed()
            })
        })
        .collect();
    let mut times = Vec::new();
    for request in requests {
        times.push(request.await.unwrap());
    }
    times
}

type Make = fn(usize) -> Response;

fn unstorable() -> Vec<(&'static str, Make)> {
    vec![
        ("no-store", |before| {
            answer(200, &[("cache-control", "no-store")], before)
        }),
        ("private", |before| {
            answer(200, &[("cache-control", "private, max-age=60")], before)
        }),
        ("set-cookie", |before| {
            answer(200, &[FRESH, ("set-cookie", "id=1")], before)
        }),
        ("vary", |before| {
            answer(200, &[FRESH, ("vary", "*")], before)
        }),
        ("404", |before| answer(404, &[], before)),
        ("429", |before| answer(429, &[FRESH], before)),
        ("500", |before| answer(500, &[], before)),
        ("no lifetime", |before| {
            answer(200, &[("cache-control", "max-age=0")], before)
        }),
        ("events", |before| {
            answer(200, &[FRESH, ("content-type", "text/event-stream")], before)
        }),
        ("too long", |before| {
            let mut response = fresh(before);
            *response.body_mut() = Body::from(vec![b'x'; 2000]);
            response
        }),
    ]
}

fn stores() -> [Config; 3] {
    let hub = Hub::default();
    let tiered = TieredBackend::new(Remote::default().with_bus(&hub));
    [
        memory(),
        Config::new(Remote::default()),
        Config::new(tiered),
    ]
}

#[tokio::test(start_paused = true)]
async fn what_was_not_storable_is_not_waited_for() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for (what, make) in unstorable() {
            for (number, config) in stores().into_iter().enumerate() {
                let pages = slow(config.max_body(1000), front, make);
                pages.get("/a").await;
                let slowest = at_once(&pages, &[]).await.into_iter().max().unwrap();
                if slowest != SECOND || pages.calls() != 21 {
                    let calls = pages.calls();
                    wrong.push(format!("{front:?} {what} {number}: {slowest:?}, {calls}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them: {wrong:#?}", wrong.len());
}

#[tokio::test(start_paused = true)]
async fn at_first_it_is_waited_for_once() {
    for front in FRONTS {
        let pages = slow(memory(), front, |before| {
            answer(200, &[("cache-control", "no-store")], before)
        });
        let slowest = at_once(&pages, &[]).await.into_iter().max().unwrap();
        assert!(slowest <= 2 * SECOND, "{front:?}: {slowest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_become_storable_is_stored_and_shared() {
    for front in FRONTS {
        let pages = slow(memory(), front, |before| match before {
            0 => answer(404, &[], before),
            _ => fresh(before),
        });
        assert_eq!(pages.get("/a").await.status, StatusCode::NOT_FOUND);
        pages.get("/a").await;
        assert_eq!(pages.get("/a").await.text(), "answer 1", "{front:?}");
        // From then on it is waited for as before.
        pages.clock.advance(61 * SECOND);
        let slowest = at_once(&pages, &[]).await.into_iter().max().unwrap();
        assert_eq!((slowest, pages.calls()), (SECOND, 3), "{front:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_it_was_not_storable_is_forgotten() {
    for front in FRONTS {
        let pages = slow(memory(), front, |before| match before {
            0 => answer(404, &[], before),
            _ => fresh(before),
        });
        pages.get("/a").await;
        let hour = 3600 * SECOND;
        pages.clock.advance(hour);
        tokio::time::advance(hour).await;
        at_once(&pages, &[]).await;
        assert_eq!(pages.calls(), 2, "{front:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_page_does_not_speak_for_another() {
    for front in FRONTS {
        let pages = Pages::of(memory(), front, |path, before| {
            Box::pin(async move {
                sleep(SECOND).await;
                match &*path {
                    "a" => fresh(before),
                    _ => answer(200, &[("cache-control", "no-store")], before),
                }
            })
        });
        pages.get("/b").await;
        at_once(&pages, &[]).await;
        assert_eq!(pages.calls(), 2, "{front:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_refuses_is_not_waited_for() {
    #[cache(expire = 60)]
    async fn errs(State(calls): State<Arc<Calls>>) -> Result<String, StatusCode> {
        calls.next();
        sleep(SECOND).await;
        Err(StatusCode::NOT_FOUND)
    }
    #[cache(expire = 60)]
    async fn says_so(State(calls): State<Arc<Calls>>, response: CacheResponse) -> String {
        calls.next();
        response.no_store();
        sleep(SECOND).await;
        String::new()
    }
    #[cache(expire = 60, cache_if = |page: &Json<u64>| page.0 == 0)]
    async fn is_picky(State(calls): State<Arc<Calls>>) -> Json<u64> {
        sleep(SECOND).await;
        Json(calls.next())
    }

    for (what, router) in [
        ("Err", Router::new().route("/", get(errs))),
        ("no_store()", Router::new().route("/", get(says_so))),
        ("cache_if", Router::new().route("/", get(is_picky))),
    ] {
        let calls = Arc::<Calls>::default();
        let router: Router = router.with_state(Arc::clone(&calls));
        let cache = Cache::new(memory());
        ask(&cache, &router, "/", &[]).await;
        let began = Instant::now();
        let requests: Vec<_> = (0..20)
            .map(|_| {
                let (cache, router) = (cache.clone(), router.clone());
                tokio::spawn(async move { ask(&cache, &router, "/", &[]).await })
            })
            .collect();
        for request in requests {
            request.await.unwrap();
        }
        assert_eq!((began.elapsed(), calls.get()), (SECOND, 21), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn personal_requests_never_wait_for_each_other() {
    let mut wrong = Vec::new();
    for (name, headers) in [
        ("cookie", &[("cookie", "ada")][..]),
        ("authorization", &[("authorization", "Bearer ada")]),
        ("x-api-key", &[("x-api-key", "ada")]),
        ("x-forwarded-user", &[("x-forwarded-user", "ada")]),
        ("private-token", &[("private-token", "ada")]),
    ] {
        for (number, config) in stores().into_iter().enumerate() {
            // It says nothing of its lifetime, so that it is for nobody else.
            let config = config.expire(60 * SECOND);
            let pages = slow(config, Front::Layer, |before| answer(200, &[], before));
            let slowest = at_once(&pages, headers).await.into_iter().max().unwrap();
            if slowest != SECOND || pages.calls() != 20 {
                wrong.push(format!("{name} {number}: {slowest:?}"));
            }
        }
        let pages = slow(memory(), Front::Layer, |before| {
            answer(200, &[("cache-control", "private")], before)
        });
        let slowest = at_once(&pages, headers).await.into_iter().max().unwrap();
        if slowest != SECOND {
            wrong.push(format!("{name}, private: {slowest:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_personal_request_waits_for_no_other_and_no_other_for_it() {
    let gate = Gate::new();
    let passed = gate.clone();
    let layer = CacheLayer::new().expire(60 * SECOND);
    let pages = Pages::with(memory(), Front::Layer, layer, move |_, before| {
        let gate = passed.clone();
        Box::pin(async move {
            if before == 0 {
                gate.pass().await;
            }
            answer(200, &[], before)
        })
    });
    for (first, second) in [
        (&[][..], &[("cookie", "ada")][..]),
        (&[("cookie", "ada")], &[]),
    ] {
        let stuck = spawn(&pages, first);
        settle().await;
        let other = timeout(SECOND, spawn(&pages, second)).await;
        assert!(other.is_ok(), "{second:?} waits for {first:?}");
        gate.open();
        stuck.await.unwrap();
    }
}

/// How long the others wait for the longest where the first one hangs for good.
#[tokio::test(start_paused = true)]
async fn a_wait_behind_another_request_is_bounded() {
    let mut wrong = Vec::new();
    for front in FRONTS {
        for (number, config) in stores().into_iter().enumerate() {
            let pages = Pages::of(config, front, |_, before| {
                Box::pin(async move {
                    if before == 0 {
                        std::future::pending::<()>().await;
                    }
                    sleep(SECOND).await;
                    fresh(before)
                })
            });
            let stuck = spawn(&pages, &[]);
            settle().await;
            let began = Instant::now();
            let others: Vec<_> = (0..10).map(|_| spawn(&pages, &[])).collect();
            for other in others {
                match timeout(60 * SECOND, other).await {
                    Ok(got) => assert_eq!(got.unwrap().text(), "answer 1"),
                    Err(_) => wrong.push(format!("{front:?} {number}: nobody took over")),
                }
            }
            // Five seconds behind the first, and one behind the next one, which alone took over.
            let waited = began.elapsed();
            if waited > 7 * SECOND || pages.calls() != 2 {
                wrong.push(format!("{front:?} {number}: {waited:?}, {}", pages.calls()));
            }
            stuck.abort();
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_takes_over() {
    for front in FRONTS {
        let pages = Pages::of(memory(), front, |_, _| Box::pin(std::future::pending()));
        let began = Instant::now();
        let all: Vec<_> = (0..10).map(|_| spawn(&pages, &[])).collect();
        let mut calls = Vec::new();
        for _ in 0..4 {
            settle().await;
            calls.push(pages.calls());
            sleep(5 * SECOND + SECOND / 10).await;
        }
        assert!(began.elapsed() > 20 * SECOND);
        // Those who have waited for three in turn wait no more.
        assert_eq!(calls, [1, 2, 3, 10], "{front:?}");
        all.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_for_those_who_wait_when_its_client_leaves() {
    let mut wrong = Vec::new();
    for (number, config) in stores().into_iter().enumerate() {
        let gate = Gate::new();
        let passed = gate.clone();
        let pages = Pages::of(config, Front::Layer, move |_, before| {
            let gate = passed.clone();
            Box::pin(async move {
                gate.pass().await;
                fresh(before)
            })
        });
        let first = spawn(&pages, &[]);
        settle().await;
        let others: Vec<_> = (0..5).map(|_| spawn(&pages, &[])).collect();
        settle().await;
        first.abort();
        settle().await;
        if pages.calls() != 1 {
            wrong.push(format!("store {number}: {} calls", pages.calls()));
        }
        gate.open();
        for other in others {
            let got = timeout(SECOND, other).await.unwrap().unwrap();
            if got.text() != "answer 0" {
                wrong.push(format!("store {number}: {}", got.text()));
            }
        }
        assert_eq!(pages.get("/a").await.cache(), "HIT", "store {number}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_one_after_the_other_cost_one_fetch() {
    let gate = Gate::new();
    let passed = gate.clone();
    let pages = Pages::of(memory(), Front::Layer, move |_, before| {
        let gate = passed.clone();
        Box::pin(async move {
            gate.pass().await;
            fresh(before)
        })
    });
    let clients: Vec<_> = (0..10).map(|_| spawn(&pages, &[])).collect();
    let last = spawn(&pages, &[]);
    for client in clients {
        settle().await;
        client.abort();
    }
    settle().await;
    gate.open();
    let got = timeout(SECOND, last).await.unwrap().unwrap();
    assert_eq!((got.text(), pages.calls()), ("answer 0", 1));
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_panics_sends_those_who_wait_on() {
    #[cache(expire = 60)]
    async fn page(Path(_): Path<u8>, State(calls): State<Arc<Calls>>) -> Response {
        sleep(SECOND).await;
        assert_ne!(calls.next(), 1, "the first one breaks");
        "page".into_response()
    }

    async fn plain(Path(id): Path<u8>, State(calls): State<Arc<Calls>>) -> Response {
        let mut response = page::uncached(Path(id), State(calls)).await.into_response();
        response
            .headers_mut()
            .insert(FRESH.0, FRESH.1.parse().unwrap());
        response
    }

    let handler = Router::new().route("/{id}", get(page));
    let layer = Router::new()
        .route("/{id}", get(plain))
        .layer(CacheLayer::new());
    for (front, router) in [(Front::Handler, handler), (Front::Layer, layer)] {
        let calls = Arc::<Calls>::default();
        let router: Router = router.with_state(Arc::clone(&calls));
        let cache = Cache::new(memory());
        let requests: Vec<_> = (0..10)
            .map(|_| {
                let (cache, router) = (cache.clone(), router.clone());
                tokio::spawn(async move { ask(&cache, &router, "/1", &[]).await })
            })
            .collect();
        let mut panics = 0;
        let began = Instant::now();
        for request in requests {
            match timeout(60 * SECOND, request).await.unwrap() {
                Ok(got) => assert_eq!(got.text(), "page"),
                Err(error) => panics += u32::from(error.is_panic()),
            }
        }
        assert!(panics <= 1, "{front:?}: {panics}");
        assert!(began.elapsed() <= 2 * SECOND, "{front:?}");
        assert_eq!(calls.get(), 10, "{front:?}");
    }
}
