//! One handler in several places, with a state in each.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheRequest, KeyContext, TieredBackend, cache};
use serde::{Deserialize, Serialize};

use crate::fronts::{ask, memory};
use crate::support::{Calls, Hub, Remote};

type Tenant = &'static str;

#[derive(Serialize, Deserialize)]
struct Page {
    #[serde(default)]
    number: u32,
}

mod handlers {
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn by_path(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    #[cache(expire = 60)]
    pub(super) async fn by_state(State(tenant): State<Tenant>) -> String {
        tenant.to_owned()
    }
    #[cache(expire = 60)]
    pub(super) async fn by_query(page: Query<Page>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {}", page.number)
    }
    #[cache(expire = 60)]
    pub(super) async fn by_uri(uri: Uri, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {uri}")
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn by_head(request: CacheRequest, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {}", request.uri())
    }
    #[cache(expire = 60, vary("accept-language"))]
    pub(super) async fn by_headers(headers: HeaderMap, State(tenant): State<Tenant>) -> String {
        drop(headers);
        tenant.to_owned()
    }
    #[cache(expire = 60, key = "page:{id}")]
    pub(super) async fn by_text(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    fn builder(context: &KeyContext<'_>) -> String {
        format!("built:{}", context.args.get("id").unwrap())
    }
    #[cache(expire = 60, key_builder = builder)]
    pub(super) async fn built(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }
    #[cache(expire = 60)]
    pub(super) async fn fallible(
        State(tenant): State<Tenant>,
        Path(id): Path<u64>,
    ) -> Result<Json<(Tenant, u64)>, StatusCode> {
        Ok(Json((tenant, id)))
    }
}

const PAGES: [(&str, &str); 9] = [
    ("/path/1", "{} 1"),
    ("/state", "{}"),
    ("/query?number=1", "{} 1"),
    ("/uri", "{} /uri"),
    ("/head", "{} /head"),
    ("/headers", "{}"),
    ("/text/1", "{} 1"),
    ("/built/1", "{} 1"),
    ("/fallible/1", "[\"{}\",1]"),
];

fn routes(tenant: Tenant) -> Router {
    Router::new()
        .route("/path/{id}", get(handlers::by_path))
        .route("/state", get(handlers::by_state))
        .route("/query", get(handlers::by_query))
        .route("/uri", get(handlers::by_uri))
        .route("/head", get(handlers::by_head))
        .route("/headers", get(handlers::by_headers))
        .route("/text/{id}", get(handlers::by_text))
        .route("/built/{id}", get(handlers::built))
        .route("/fallible/{id}", get(handlers::fallible))
        .with_state(tenant)
}

/// Asks each of these mounts for each page twice, and gives what is not as it should be.
async fn mistakes(cache: &Cache, router: &Router, mounts: &[(&str, Tenant)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (page, expected) in PAGES {
        for status in ["MISS", "HIT"] {
            for (mount, tenant) in mounts {
                let uri = format!("{mount}{page}");
                let got = ask(cache, router, &uri, &[]).await;
                let expected = expected.replace("{}", tenant);
                if (got.text(), got.cache()) != (&*expected, status) {
                    wrong.push(format!("{uri}: {} {:?}", got.cache(), got.text()));
                }
            }
        }
    }
    wrong
}

const NOTHING: &[String] = &[];

#[tokio::test]
async fn each_mount_has_entries_of_its_own() {
    let router = Router::new()
        .nest("/acme", routes("acme"))
        .nest("/globex", routes("globex"))
        .merge(routes("home"));
    let mounts = [("/acme", "acme"), ("/globex", "globex"), ("", "home")];
    let hub = Hub::default();
    for cache in [
        Cache::new(memory()),
        Cache::new(Remote::default()),
        Cache::new(TieredBackend::new(Remote::default().with_bus(&hub))),
    ] {
        assert_eq!(mistakes(&cache, &router, &mounts).await, NOTHING);
    }
}

#[tokio::test]
async fn mounts_may_be_deep() {
    let router = Router::new()
        .nest(
            "/a",
            Router::new()
                .nest("/b", routes("a/b"))
                .nest("/c", routes("a/c"))
                .nest("/b/c", routes("a/b/c")),
        )
        .nest("/b", routes("b"))
        .nest("/c/b", routes("c/b"));
    let mounts = [
        ("/a/b", "a/b"),
        ("/a/c", "a/c"),
        ("/a/b/c", "a/b/c"),
        ("/b", "b"),
        ("/c/b", "c/b"),
    ];
    let wrong = mistakes(&Cache::new(memory()), &router, &mounts).await;
    assert_eq!(wrong, NOTHING);
}

#[tokio::test]
async fn a_service_may_be_mounted_too() {
    let router = Router::new()
        .nest_service("/acme", routes("acme"))
        .nest_service("/globex", routes("globex"));
    let mounts = [("/acme", "acme"), ("/globex", "globex")];
    let wrong = mistakes(&Cache::new(memory()), &router, &mounts).await;
    assert_eq!(wrong, NOTHING);
}

#[tokio::test]
async fn the_names_in_a_mount_count_by_what_shows_them() {
    #[cache(expire = 60)]
    async fn shows(Path((tenant, id)): Path<(String, u64)>) -> String {
        format!("{tenant} {id}")
    }
    static CALLS: Calls = Calls::new();
    #[cache(expire = 60)]
    async fn blind(State(calls): State<&'static Calls>) -> String {
        calls.next().to_string()
    }

    let inner = Router::new()
        .route("/shows/{id}", get(shows))
        .route("/blind", get(blind))
        .with_state(&CALLS);
    let router = Router::new().nest("/{tenant}", inner);
    let cache = Cache::new(memory());
    for status in ["MISS", "HIT"] {
        for tenant in ["acme", "globex"] {
            let got = ask(&cache, &router, &format!("/{tenant}/shows/1"), &[]).await;
            assert_eq!(got.text(), format!("{tenant} 1"));
            assert_eq!(got.cache(), status);
        }
    }
    // There is one state here, and nothing else that this one sees.
    ask(&cache, &router, "/acme/blind", &[]).await;
    let got = ask(&cache, &router, "/globex/blind", &[]).await;
    assert_eq!((got.text(), got.cache()), ("1", "HIT"));
}

#[tokio::test]
async fn an_entry_without_a_mount_is_the_one_at_the_root() {
    let cache = Cache::new(memory());
    let router = Router::new()
        .nest("/acme", routes("acme"))
        .merge(routes("home"));
    for uri in ["/path/1", "/acme/path/1"] {
        ask(&cache, &router, uri, &[]).await;
    }
    let gone = async { handlers::by_path::entry(Path(1)).invalidate().await };
    assert!(cache.scope(gone).await.unwrap());
    assert_eq!(ask(&cache, &router, "/path/1", &[]).await.cache(), "MISS");
    let kept = ask(&cache, &router, "/acme/path/1", &[]).await;
    assert_eq!((kept.cache(), kept.text()), ("HIT", "acme 1"));
}

#[tokio::test]
async fn a_namespace_is_cleared_at_every_mount() {
    #[cache(expire = 60, namespace = "mounted", tags("mounted:{id}"))]
    async fn page(Path(id): Path<u64>, State(tenant): State<Tenant>) -> String {
        format!("{tenant} {id}")
    }

    let at = |tenant| Router::new().route("/{id}", get(page)).with_state(tenant);
    let router: Router = Router::new()
        .nest("/acme", at("acme"))
        .nest("/globex", at("globex"));
    let cache = Cache::new(memory());
    let statuses = async || {
        let mut statuses = Vec::new();
        for uri in ["/acme/1", "/globex/1"] {
            let got = ask(&cache, &router, uri, &[]).await;
            assert_eq!(got.text(), format!("{} 1", &uri[1..uri.len() - 2]));
            statuses.push(got.cache().to_owned());
        }
        statuses
    };
    assert_eq!(statuses().await, ["MISS", "MISS"]);
    assert_eq!(cache.clear_namespace("mounted").await.unwrap(), 2);
    assert_eq!(statuses().await, ["MISS", "MISS"]);
    cache.clear_tag("mounted:1").await.unwrap();
    assert_eq!(statuses().await, ["MISS", "MISS"]);
    assert_eq!(statuses().await, ["HIT", "HIT"]);
}
