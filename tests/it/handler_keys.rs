//! What is part of the key of a handler, and how handlers are called in tests.

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{MatchedPath, NestedPath, OriginalUri, Path, Query, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{
    Cache, CacheRequest, CacheResponse, Config, ErrorKind, InMemoryBackend, KeyContext, cache,
    cache_evict,
};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::support::{Calls, cached};

fn request(uri: &str, lines: &[(&str, &str)]) -> Request {
    let mut request = Request::builder().uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

/// The body of a reply, and what the cache says of it.
async fn read(response: Response) -> (String, String) {
    let status = response.headers().get("x-fastapi-cache");
    let status = status.map_or("-", |status| status.to_str().unwrap());
    let status = status.to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), status)
}

async fn send(app: &Router, request: Request) -> (String, String) {
    read(app.clone().oneshot(request).await.unwrap()).await
}

async fn get_from(app: &Router, uri: &str) -> (String, String) {
    send(app, request(uri, &[])).await
}

fn said(body: &str, status: &str) -> (String, String) {
    (body.to_owned(), status.to_owned())
}

#[tokio::test]
async fn a_handler_is_called_as_it_was_written_and_through_the_cache() {
    #[cache(expire = 60)]
    async fn show(Path(id): Path<u64>, State(calls): State<&'static Calls>) -> String {
        format!("{id} {}", calls.next())
    }
    #[cache(expire = 60)]
    async fn alone() -> Json<u8> {
        Json(1)
    }
    #[cache(expire = 60, vary("accept-language"))]
    async fn greet(request: CacheRequest, response: CacheResponse) -> String {
        response.tag("greetings");
        let language = request.headers().get(header::ACCEPT_LANGUAGE);
        format!("{language:?}")
    }

    static CALLS: Calls = Calls::new();
    cached(async {
        let state = || State(&CALLS);
        assert_eq!(show::uncached(Path(7), state()).await, "7 1");
        assert_eq!(
            read(show::cached(Path(7), state()).await).await,
            said("7 2", "MISS")
        );
        assert_eq!(
            read(show::cached(Path(7), state()).await).await,
            said("7 2", "HIT")
        );
        let by_hand = (CacheRequest::default(), CacheResponse::default(), Path(7));
        assert_eq!(read(show(by_hand, state()).await).await, said("7 2", "HIT"));
        assert_eq!(read(alone::cached().await).await, said("1", "MISS"));
        for status in ["MISS", "HIT"] {
            for language in ["de", "fr"] {
                let request = request("/", &[("accept-language", language)]);
                let reply = greet::cached(CacheRequest::from(&request), CacheResponse::default());
                let (body, cache) = read(reply.await).await;
                assert!(body.contains(language) && cache == status, "{body} {cache}");
            }
        }
    })
    .await;
}

#[test]
fn a_request_is_made_of_what_there_is() {
    let request = || request("/users/7?a", &[("accept", "text/html")]);
    let (parts, _) = request().into_parts();
    for head in [
        CacheRequest::from(&request()),
        CacheRequest::from(request()),
        CacheRequest::from(&parts),
        CacheRequest::from(parts),
    ] {
        assert_eq!(head.to_string(), "GET /users/7?a");
        assert_eq!(head.headers()["accept"], "text/html");
    }
    assert_eq!(CacheRequest::default().to_string(), "GET /");
}

#[tokio::test]
async fn one_handler_under_two_mounts_has_two_sets_of_entries() {
    type Tenant = &'static str;

    #[cache(expire = 60)]
    async fn show(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    #[cache(expire = 60, handler, key = "text:{id}")]
    async fn text(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    #[cache(expire = 60, key_builder = by_id, vary("accept"))]
    async fn built(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    fn by_id(context: &KeyContext<'_>) -> String {
        format!("built:{}", context.args.get("id").unwrap())
    }
    #[cache(expire = 60)]
    async fn whole(State(tenant): State<Tenant>, _: Request) -> String {
        tenant.to_owned()
    }
    #[cache_evict(entry = show(Path(id)).at(format!("/{tenant}")))]
    async fn save(id: u64, tenant: String) -> String {
        tenant
    }

    let routes = || {
        Router::new()
            .route("/show/{id}", get(show))
            .route("/text/{id}", get(text))
            .route("/built/{id}", get(built))
            .route("/whole/{id}", get(whole))
    };
    let app = Router::new()
        .nest("/acme", routes().with_state("acme"))
        .nest("/globex", routes().with_state("globex"))
        .merge(routes().with_state("none"));
    let check = async || {
        for route in ["show", "text", "built", "whole"] {
            for status in ["MISS", "HIT"] {
                for (mount, tenant) in [("/acme", "acme"), ("/globex", "globex"), ("", "none")] {
                    let (body, cache) = get_from(&app, &format!("{mount}/{route}/1")).await;
                    assert!(body.starts_with(tenant), "{mount}/{route}: {body}");
                    assert_eq!(cache, status, "{mount}/{route}");
                }
            }
        }
        let none = HeaderMap::new();
        for entry in [
            show::entry(Path(1)),
            text::entry(Path(1)),
            built::entry(&none, Path(1)),
        ] {
            let stored = entry.get().await.unwrap().unwrap();
            assert_eq!(stored.body(), "none 1");
            let entry = entry.at("/acme");
            assert_eq!(entry.get().await.unwrap().unwrap().body(), "acme 1");
            let entry = entry.at("/nowhere").at("/globex");
            assert_eq!(entry.get().await.unwrap().unwrap().body(), "globex 1");
            assert!(entry.invalidate().await.unwrap());
        }
        save(1, "acme".to_owned()).await;
        for (mount, status) in [("/acme", "MISS"), ("/globex", "MISS"), ("", "HIT")] {
            let (_, cache) = get_from(&app, &format!("{mount}/show/1")).await;
            assert_eq!(cache, status, "{mount}");
        }
    };
    cached(check()).await;
    // A key builder of the whole cache sees no mount.
    let config = Config::new(InMemoryBackend::new())
        .key_builder(|context: &KeyContext<'_>| context.args.digest());
    Cache::new(config).scope(check()).await;
}

#[tokio::test]
async fn a_nested_mount_is_one_text() {
    #[cache(expire = 60)]
    async fn show(nested: NestedPath) -> String {
        nested.as_str().to_owned()
    }

    let inner = Router::new().route("/show", get(show));
    let app = Router::new().nest("/api", Router::new().nest("/{version}", inner));
    cached(async {
        assert_eq!(
            get_from(&app, "/api/1/show").await,
            said("/api/{version}", "MISS")
        );
        // The same template, and the handler sees no more than that.
        assert_eq!(get_from(&app, "/api/2/show").await.1, "HIT");
    })
    .await;
}

#[tokio::test]
async fn a_text_of_a_caller_does_not_name_the_entry_of_a_mount() {
    #[cache(expire = 60, key_builder = by_name)]
    async fn show(Path(name): Path<String>, State(tenant): State<&'static str>) -> String {
        format!("{tenant} {name}")
    }
    fn by_name(context: &KeyContext<'_>) -> String {
        context.args.get("name").unwrap().to_string()
    }

    let routes = || Router::new().route("/{name}", get(show));
    let app = Router::new()
        .nest("/acme", routes().with_state("acme"))
        .merge(routes().with_state("none"));
    cached(async {
        get_from(&app, "/acme/ada").await;
        let key = show::entry(Path("ada".to_owned())).at("/acme").key();
        let (_, forged) = key.rsplit_once(':').unwrap();
        assert!(forged.starts_with("ada;"), "{forged}");
        let reply = get_from(&app, &format!("/{forged}")).await;
        assert_eq!(reply, said(&format!("none {forged}"), "MISS"));
    })
    .await;
}

#[tokio::test]
async fn what_a_rejection_hides_is_not_stored() {
    #[derive(Serialize, Deserialize)]
    struct Page {
        number: u32,
    }

    #[cache(expire = 60)]
    async fn show(page: Result<Query<Page>, QueryRejection>) -> String {
        match page {
            Ok(Query(page)) => page.number.to_string(),
            Err(rejection) => rejection.body_text(),
        }
    }
    #[cache(expire = 60)]
    async fn optional(id: Result<Option<Path<u64>>, PathRejection>) -> String {
        format!("{:?}", id.map(|id| id.map(|Path(id)| id)).ok())
    }

    let app = Router::new()
        .route("/show", get(show))
        .route("/optional", get(optional))
        .route("/optional/{id}", get(optional));
    cached(async {
        for status in ["MISS", "HIT"] {
            for number in ["1", "2"] {
                let reply = get_from(&app, &format!("/show?number={number}")).await;
                assert_eq!(reply, said(number, status));
            }
            assert_eq!(
                get_from(&app, "/optional").await,
                said("Some(None)", status)
            );
            assert_eq!(
                get_from(&app, "/optional/1").await,
                said("Some(Some(1))", status)
            );
        }
        for number in ["one", "two", "one"] {
            assert_eq!(
                get_from(&app, &format!("/show?number={number}")).await.1,
                "-"
            );
        }
        assert_eq!(get_from(&app, "/optional/x").await, said("None", "-"));

        assert!(
            show::entry(Ok(Query(Page { number: 1 })))
                .get()
                .await
                .unwrap()
                .is_some()
        );
        let uri = "/?number=one".parse().unwrap();
        let rejection = Query::<Page>::try_from_uri(&uri).err().unwrap();
        let refused = show::entry(Err(rejection)).get().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Key);
    })
    .await;
}

#[tokio::test]
async fn raw_parts_of_a_request_are_keyed() {
    #[cache(expire = 60)]
    async fn original(OriginalUri(uri): OriginalUri) -> String {
        uri.to_string()
    }
    #[cache(expire = 60)]
    async fn whole_original(uri: OriginalUri) -> String {
        uri.to_string()
    }
    #[cache(expire = 60)]
    async fn raw(query: RawQuery) -> String {
        format!("{:?}", query.0)
    }
    #[cache(expire = 60)]
    async fn matched(path: Option<MatchedPath>) -> String {
        format!("{:?}", path.as_ref().map(MatchedPath::as_str))
    }
    #[cache(expire = 60, vary())]
    async fn head(request: CacheRequest) -> String {
        let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
        format!("{} {hosts:?}", request.uri())
    }

    let routes = Router::new()
        .route("/original", get(original))
        .route("/whole", get(whole_original))
        .route("/raw", get(raw))
        .route("/matched", get(matched))
        .route("/matched/{id}", get(matched))
        .route("/head", get(head));
    let app = Router::new().nest("/{tenant}", routes);
    let requests = || {
        let plain = [
            "/a/original",
            "/b/original",
            "/a/whole",
            "/b/whole?a",
            "/a/raw?a",
        ];
        let more = ["/a/raw?b", "/a/raw", "/a/matched", "/a/matched/1"];
        let uris = [
            "/a/head",
            "/a/head?a",
            "http://shop/a/head",
            "https://shop/a/head",
        ];
        let mut requests: Vec<_> = plain
            .into_iter()
            .chain(more)
            .chain(uris)
            .collect::<Vec<_>>()
            .into_iter()
            .map(|uri| request(uri, &[]))
            .collect();
        requests.push(request("/a/head", &[("host", "shop")]));
        requests.push(request("/a/head", &[("host", "shop"), ("host", "evil")]));
        requests.push(request("/a/head", &[("host", "evil"), ("host", "shop")]));
        requests.push(request("http://shop/a/head", &[("host", "evil")]));
        requests
    };
    cached(async {
        let mut first = Vec::new();
        for request in requests() {
            let (body, cache) = send(&app, request).await;
            assert_eq!(cache, "MISS", "{body}");
            first.push(body);
        }
        for (request, body) in requests().into_iter().zip(first) {
            assert_eq!(send(&app, request).await, (body, "HIT".to_owned()));
        }
    })
    .await;
}

#[tokio::test]
async fn a_sync_handler_runs_on_the_blocking_pool() {
    #[cache(expire = 60, handler)]
    fn show(Path(id): Path<u64>, State(calls): State<&'static Calls>) -> (StatusCode, String) {
        // It would panic in an async task.
        tokio::runtime::Handle::current().block_on(async {});
        (StatusCode::OK, format!("{id} {}", calls.next()))
    }

    static CALLS: Calls = Calls::new();
    let app = Router::new().route("/{id}", get(show)).with_state(&CALLS);
    cached(async {
        assert_eq!(get_from(&app, "/1").await, said("1 1", "MISS"));
        assert_eq!(get_from(&app, "/1").await, said("1 1", "HIT"));
    })
    .await;
}
