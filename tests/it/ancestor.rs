//! What fastapi-cache does, one test for each behaviour that is carried over, and one for each
//! fault that is not.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::testing::ManualClock;
use fast_cache::{
    Cache, CacheRequest, CacheResponse, Config, FastCache, InMemoryBackend, KeyContext, cache,
};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::support::{Calls, Remote, cached};

async fn send(app: &Router, method: Method, uri: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap()
}

async fn get_from(app: &Router, uri: &str) -> Response {
    send(app, Method::GET, uri, &[]).await
}

fn header_of<'a>(response: &'a Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("-", |value| value.to_str().unwrap())
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An app whose one handler counts its calls.
fn counting() -> Router {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60, namespace = "counting")]
    async fn count(Path(id): Path<u64>) -> Json<(u64, u64)> {
        Json((id, CALLS.next()))
    }

    Router::new().route("/{id}", get(count).post(count))
}

mod carried_over {
    use super::*;

    #[tokio::test]
    async fn init_takes_backend_prefix_expire_coder_builder_header_and_enable() {
        fn builder(_: &KeyContext<'_>) -> String {
            "built".to_owned()
        }

        let config = Config::new(Remote::default())
            .prefix("shop")
            .expire(Duration::from_secs(7))
            .coder(fast_cache::Json)
            .key_builder(builder)
            .cache_status_header("X-Cache")
            .enable(true);
        Cache::new(config)
            .scope(async {
                assert!(FastCache::backend().is_some());
                assert_eq!(FastCache::prefix(), "shop");
                assert_eq!(FastCache::expire(), Some(Duration::from_secs(7)));
                assert_eq!(FastCache::coder().unwrap().id(), "json");
                assert!(FastCache::key_builder().is_some());
                assert_eq!(FastCache::cache_status_header().unwrap(), "x-cache");
                assert!(FastCache::is_enabled());
            })
            .await;
    }

    #[tokio::test]
    async fn the_seven_parameters_of_the_decorator() {
        async fn by_id(context: &KeyContext<'_>) -> String {
            format!("id:{}", context.args.get("id").unwrap())
        }

        #[cache(
            expire = 60,
            namespace = "seven",
            coder = fast_cache::Json,
            key_builder = by_id,
            injected_dependency_namespace = "__seven"
        )]
        async fn seven(Path(id): Path<u64>) -> Json<u64> {
            Json(id)
        }

        let app = Router::new().route("/{id}", get(seven));
        cached(async {
            assert_eq!(
                header_of(&get_from(&app, "/1").await, "x-fastapi-cache"),
                "MISS"
            );
            assert_eq!(
                header_of(&get_from(&app, "/1").await, "x-fastapi-cache"),
                "HIT"
            );
            assert_eq!(seven::entry(Path(1)).key(), ":seven:id:1");
        })
        .await;
    }

    #[tokio::test]
    async fn functions_and_endpoints_alike() {
        #[cache(expire = 60)]
        async fn shared() -> u64 {
            7
        }
        #[cache(expire = 60)]
        async fn endpoint() -> Json<u64> {
            Json(shared().await)
        }

        let app = Router::new().route("/", get(endpoint));
        cached(async {
            assert_eq!(text(get_from(&app, "/").await).await, "7");
            assert!(shared::entry().get().await.unwrap().is_some());
        })
        .await;
    }

    #[tokio::test]
    async fn request_and_response_are_used_where_listed_and_injected_where_not() {
        #[cache(expire = 60, vary())]
        async fn listed(request: CacheRequest, response: CacheResponse) -> String {
            response.header(header::CONTENT_LANGUAGE, "en".parse().unwrap());
            request.uri().path().to_owned()
        }
        #[cache(expire = 60, injected_dependency_namespace = "__mine")]
        async fn injected(__fastapi_cache_request: Path<u64>) -> String {
            __fastapi_cache_request.to_string()
        }

        let app = Router::new()
            .route("/listed", get(listed))
            .route("/{id}", get(injected));
        cached(async {
            for cache in ["MISS", "HIT"] {
                let response = get_from(&app, "/listed").await;
                assert_eq!(header_of(&response, "x-fastapi-cache"), cache);
                assert_eq!(header_of(&response, "content-language"), "en");
                assert_eq!(text(response).await, "/listed");
                assert_eq!(
                    header_of(&get_from(&app, "/1").await, "x-fastapi-cache"),
                    cache
                );
            }
        })
        .await;
    }

    #[tokio::test]
    async fn default_keys_are_md5() {
        #[cache(expire = 60)]
        async fn keyed(id: u64) -> u64 {
            id
        }

        cached(async {
            let key = keyed::entry(1).key();
            let digest = key.strip_prefix("::").unwrap();
            assert!(digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
        })
        .await;
    }

    #[tokio::test]
    async fn key_builders_see_the_request() {
        fn request_key_builder(context: &KeyContext<'_>) -> String {
            let request = context.request.unwrap();
            let mut query: Vec<_> = request.uri().query().unwrap_or("").split('&').collect();
            query.sort_unstable();
            let method = request.method().as_str().to_lowercase();
            [&method, request.uri().path(), &query.join("&")].join(":")
        }

        #[cache(expire = 60, key_builder = request_key_builder, skip(uri))]
        async fn by_request(uri: axum::http::Uri) -> String {
            uri.to_string()
        }

        let app = Router::new().route("/", get(by_request));
        cached(async {
            assert_eq!(text(get_from(&app, "/?a=1&b=2").await).await, "/?a=1&b=2");
            assert_eq!(text(get_from(&app, "/?b=2&a=1").await).await, "/?a=1&b=2");
            assert_eq!(text(get_from(&app, "/?a=2").await).await, "/?a=2");
        })
        .await;
    }

    #[tokio::test]
    async fn values_are_decoded_to_the_return_type() {
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        struct SomeModel {
            id: u64,
            when: chrono::NaiveDate,
        }

        #[cache(expire = 60)]
        async fn some_model() -> SomeModel {
            SomeModel {
                id: 1,
                when: chrono::NaiveDate::MAX,
            }
        }

        Cache::new(Remote::default())
            .scope(async {
                let computed = some_model().await;
                assert_eq!(some_model().await, computed);
                assert_eq!(FastCache::stats().hits, 1);
            })
            .await;
    }

    #[tokio::test]
    async fn clearing_by_namespace_and_by_key() {
        let app = counting();
        cached(async {
            for uri in ["/1", "/2"] {
                get_from(&app, uri).await;
            }
            assert_eq!(FastCache::clear_namespace("counting").await.unwrap(), 2);
            assert_eq!(
                header_of(&get_from(&app, "/1").await, "x-fastapi-cache"),
                "MISS"
            );
        })
        .await;
    }

    #[tokio::test]
    async fn other_methods_no_cache_and_no_store_are_not_answered_from_the_cache() {
        let app = counting();
        cached(async {
            let first = text(get_from(&app, "/1").await).await;
            for (method, directive) in [
                (Method::POST, ""),
                (Method::GET, "no-store"),
                (Method::GET, "no-cache"),
            ] {
                let reply = send(&app, method, "/1", &[("cache-control", directive)]).await;
                assert_ne!(text(reply).await, first);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_matching_if_none_match_gets_304() {
        let app = counting();
        cached(async {
            let tag = header_of(&get_from(&app, "/1").await, "etag").to_owned();
            let reply = send(&app, Method::GET, "/1", &[("if-none-match", &tag)]).await;
            assert_eq!(reply.status(), StatusCode::NOT_MODIFIED);
        })
        .await;
    }

    #[tokio::test]
    async fn backend_failures_are_survived() {
        let app = counting();
        let remote = Remote::default();
        remote.fail(true);
        let cache = Cache::new(remote);
        let reply = cache.scope(get_from(&app, "/1")).await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(cache.stats().backend_errors, 1);
    }
}

mod left_behind {
    use super::*;

    #[tokio::test]
    async fn no_protection_from_stampedes() {
        static CALLS: Calls = Calls::new();

        #[cache(expire = 60)]
        async fn slow() -> u64 {
            let call = CALLS.next();
            tokio::task::yield_now().await;
            call
        }

        let answers = cached(futures_util::future::join_all((0..100).map(|_| slow()))).await;
        assert!(answers.iter().all(|answer| *answer == 1));
        assert_eq!(CALLS.get(), 1);
    }

    #[tokio::test]
    async fn etags_that_differ_by_process_and_lack_quotes() {
        #[cache(expire = 60, handler)]
        async fn fixed() -> &'static str {
            "hello"
        }

        let app = Router::new().route("/", get(fixed));
        let reply = cached(get_from(&app, "/")).await;
        assert_eq!(
            header_of(&reply, "etag"),
            "W/\"5d41402abc4b2a76b9719d911017c592\""
        );
    }

    #[tokio::test]
    async fn cache_control_compared_as_one_exact_string() {
        let app = counting();
        cached(async {
            get_from(&app, "/1").await;
            let headers = [("cache-control", "max-age=600, No-Cache")];
            let reply = send(&app, Method::GET, "/1", &headers).await;
            assert_eq!(header_of(&reply, "x-fastapi-cache"), "MISS");
        })
        .await;
    }

    #[tokio::test]
    async fn max_age_none_and_minus_one() {
        #[cache]
        async fn endless() -> Json<u8> {
            Json(1)
        }

        let app = Router::new().route("/", get(endless));
        cached(async {
            for _ in 0..2 {
                assert_eq!(header_of(&get_from(&app, "/").await, "cache-control"), "-");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn an_entry_without_expiry_that_dies_within_a_second() {
        #[cache]
        async fn endless() -> u8 {
            1
        }

        let clock = ManualClock::new();
        let config = Config::new(InMemoryBackend::new()).clock(clock.clone());
        Cache::new(config)
            .scope(async {
                endless().await;
                clock.advance(Duration::from_secs(10 * 365 * 24 * 60 * 60));
                assert_eq!(endless::entry().get().await.unwrap(), Some(1));
            })
            .await;
    }

    #[tokio::test]
    async fn a_store_that_never_shrinks() {
        #[cache(expire = 1)]
        async fn short(n: u64) -> u64 {
            n
        }

        let clock = ManualClock::new();
        let backend = Arc::new(InMemoryBackend::new().max_entries(50));
        let config = Config::new(Arc::clone(&backend)).clock(clock.clone());
        let cache = Cache::new(config);
        cache
            .scope(async {
                for n in 0..500 {
                    short(n).await;
                }
            })
            .await;
        assert!(backend.len() <= 50);
        clock.advance(Duration::from_secs(2));
        for _ in 0..10_000_000 {
            if backend.is_empty() {
                break;
            }
            std::thread::yield_now();
        }
        assert!(backend.is_empty());
    }

    #[tokio::test]
    async fn clearing_a_namespace_or_key_that_clears_more() {
        #[cache(expire = 60, namespace = "ns")]
        async fn one(id: u64) -> u64 {
            id
        }
        #[cache(expire = 60, namespace = "ns2")]
        async fn two(id: u64) -> u64 {
            id
        }

        for cache in [
            Cache::new(InMemoryBackend::new()),
            Cache::new(Remote::default()),
        ] {
            cache
                .scope(async {
                    for id in 0..2 {
                        one(id).await;
                        two(id).await;
                    }
                    FastCache::clear_namespace("ns").await.unwrap();
                    assert!(two::entry(0).get().await.unwrap().is_some());
                    FastCache::clear_key(&two::entry(0).key()).await.unwrap();
                    assert!(two::entry(0).get().await.unwrap().is_none());
                    assert!(two::entry(1).get().await.unwrap().is_some());
                })
                .await;
        }
    }

    #[tokio::test]
    async fn a_corrupt_entry_that_fails_every_call_until_it_expires() {
        #[cache(expire = 60, key = "value")]
        async fn value() -> u64 {
            1
        }

        let remote = Remote::default();
        Cache::new(remote.clone())
            .scope(async {
                remote.write("::value", "corrupt");
                assert_eq!(value().await, 1);
                assert_eq!(value().await, 1);
                let stats = FastCache::stats();
                assert_eq!((stats.decode_errors, stats.hits), (1, 1));
            })
            .await;
    }

    #[tokio::test]
    async fn a_hit_that_loses_status_and_headers() {
        #[cache(expire = 60)]
        async fn rich() -> impl IntoResponse {
            ([("x-total", "7"), ("content-type", "text/csv")], "a,b")
        }

        let app = Router::new().route("/", get(rich));
        cached(async {
            for _ in 0..2 {
                let reply = get_from(&app, "/").await;
                assert_eq!(header_of(&reply, "x-total"), "7");
                assert_eq!(header_of(&reply, "content-type"), "text/csv");
                assert_eq!(text(reply).await, "a,b");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn an_error_response_that_is_replayed_as_a_200() {
        #[cache(expire = 60)]
        async fn missing() -> (StatusCode, Json<u8>) {
            (StatusCode::NOT_FOUND, Json(0))
        }

        let app = Router::new().route("/", get(missing));
        cached(async {
            for _ in 0..2 {
                assert_eq!(get_from(&app, "/").await.status(), StatusCode::NOT_FOUND);
            }
        })
        .await;
    }

    #[tokio::test]
    async fn sessions_and_injected_objects_that_pollute_keys() {
        struct Session;

        #[cache(expire = 60, skip(session))]
        async fn load(session: &Session, id: u64) -> u64 {
            let Session = session;
            id
        }

        cached(async {
            load(&Session, 1).await;
            load(&Session, 1).await;
            assert_eq!(FastCache::stats().hits, 1);
        })
        .await;
    }

    #[tokio::test]
    async fn two_users_that_share_an_entry() {
        #[derive(Serialize)]
        struct User {
            id: u64,
        }

        impl std::fmt::Debug for User {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("<User>")
            }
        }

        #[cache(expire = 60)]
        async fn greet(user: &User) -> String {
            format!("hello {}", user.id)
        }

        cached(async {
            assert_eq!(greet(&User { id: 1 }).await, "hello 1");
            assert_eq!(greet(&User { id: 2 }).await, "hello 2");
        })
        .await;
    }

    #[tokio::test]
    async fn global_state_that_makes_tests_fight() {
        #[cache(expire = 60)]
        async fn value(n: u64) -> u64 {
            n
        }

        let (one, two) = (Cache::new(Remote::default()), Cache::new(Remote::default()));
        let fill = |cache: &Cache| cache.scope(async { value(1).await });
        tokio::join!(fill(&one), fill(&one), fill(&two));
        assert_eq!((one.stats().hits, two.stats().hits), (1, 0));
    }
}
