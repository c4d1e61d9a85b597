//! What a type takes from the request and hides from `Serialize`.

use axum::body::Body;
use axum::extract::{Form, Path, Query, Request};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, cache};
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use crate::fronts::{Got, ask, memory, read};
use crate::support::Logs;

const RIGHT: &str = "right";

/// What is found, if the key is the right one.
fn found(text: &str, api_key: &str) -> Result<String, StatusCode> {
    match api_key == RIGHT {
        true => Ok(format!("found {text}")),
        false => Err(StatusCode::UNAUTHORIZED),
    }
}

#[derive(Serialize, Deserialize)]
struct Search {
    text: String,
    #[serde(default, skip_serializing)]
    api_key: String,
}

#[derive(Serialize, Deserialize)]
struct Renamed {
    text: String,
    #[serde(rename(deserialize = "api-key"), alias = "k", skip_serializing)]
    secret: String,
}

#[derive(Serialize, Deserialize)]
struct Outer {
    text: String,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Serialize, Deserialize)]
struct Inner {
    #[serde(default, skip_serializing)]
    api_key: String,
}

/// Writes what it likes of itself.
#[derive(Deserialize)]
struct ByHand {
    text: String,
    #[serde(default)]
    api_key: String,
}

impl Serialize for ByHand {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;

        let mut fields = serializer.serialize_struct("ByHand", 1)?;
        fields.serialize_field("text", &self.text)?;
        fields.end()
    }
}

mod handlers {
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn query(Query(search): Query<Search>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
    #[cache(expire = 60)]
    pub(super) async fn whole(search: Query<Search>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
    #[cache(expire = 60)]
    pub(super) async fn renamed(Query(search): Query<Renamed>) -> Result<String, StatusCode> {
        found(&search.text, &search.secret)
    }
    #[cache(expire = 60)]
    pub(super) async fn flat(Query(search): Query<Outer>) -> Result<String, StatusCode> {
        found(&search.text, &search.inner.api_key)
    }
    #[cache(expire = 60)]
    pub(super) async fn by_hand(Query(search): Query<ByHand>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
    #[cache(expire = 60)]
    pub(super) async fn form(Form(search): Form<Search>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
    #[cache(expire = 60)]
    pub(super) async fn path(Path(search): Path<Search>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
}

/// Hides nothing.
#[derive(Serialize, Deserialize)]
struct Told {
    text: String,
}

fn router() -> Router {
    Router::new()
        .route("/query", get(handlers::query))
        .route("/whole", get(handlers::whole))
        .route("/renamed", get(handlers::renamed))
        .route("/flat", get(handlers::flat))
        .route("/by-hand", get(handlers::by_hand))
        .route("/form", get(handlers::form))
        .route("/path/{text}/{api_key}", get(handlers::path))
}

/// Requests for the same with a key, by page; `{}` is the key.
const URIS: [&str; 8] = [
    "/query?text=a&api_key={}",
    "/query?api_key={}&text=a",
    "/whole?text=a&api_key={}",
    "/renamed?text=a&api-key={}",
    "/flat?text=a&api_key={}",
    "/by-hand?text=a&api_key={}",
    "/form?text=a&api_key={}",
    "/path/a/{}",
];

#[tokio::test]
async fn a_wrong_key_gets_no_page_of_the_right_one() {
    let router = router();
    let mut wrong = Vec::new();
    for uri in URIS {
        let cache = Cache::new(memory());
        let get = async |key: &str| ask(&cache, &router, &uri.replace("{}", key), &[]).await;
        let right = get(RIGHT).await;
        assert_eq!((right.status, right.text()), (StatusCode::OK, "found a"));
        for key in ["", "wrong", "Right", "right%20"] {
            let status = get(key).await.status;
            // Without a key, there is no such page.
            if status != StatusCode::UNAUTHORIZED && !uri.starts_with("/path") {
                wrong.push(format!("{uri} {key:?}: {status}"));
            }
        }
        if get("wrong").await.status != StatusCode::UNAUTHORIZED {
            wrong.push(format!("{uri}: {:?}", get("wrong").await));
        }
        assert_eq!(get(RIGHT).await.text(), "found a");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn what_is_hidden_in_a_uri_is_cached_all_the_same() {
    let router = router();
    for uri in URIS {
        let cache = Cache::new(memory());
        let uri = uri.replace("{}", RIGHT);
        for status in ["MISS", "HIT"] {
            assert_eq!(
                ask(&cache, &router, &uri, &[]).await.cache(),
                status,
                "{uri}"
            );
        }
    }
}

async fn send_json(cache: &Cache, router: &Router, body: &str) -> Got {
    let request = Request::get("/")
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()));
    let reply = cache.scope(router.clone().oneshot(request.unwrap()));
    read(reply.await.unwrap()).await
}

#[tokio::test]
async fn a_body_that_hides_something_is_not_cached() {
    #[cache(expire = 60)]
    async fn search(Json(search): Json<Search>) -> Result<String, StatusCode> {
        found(&search.text, &search.api_key)
    }
    #[cache(expire = 60)]
    async fn list(Json(searches): Json<Vec<Search>>) -> Result<String, StatusCode> {
        found(&searches[0].text, &searches[0].api_key)
    }

    let one = Router::new().route("/", get(search));
    let many = Router::new().route("/", get(list));
    for (router, is_list) in [(one, false), (many, true)] {
        let cache = Cache::new(memory());
        let send = async |key: &str| {
            let body = format!(r#"{{"text": "a", "api_key": "{key}"}}"#);
            let body = if is_list { format!("[{body}]") } else { body };
            send_json(&cache, &router, &body).await
        };
        for _ in 0..2 {
            assert_eq!(send(RIGHT).await.text(), "found a");
            assert_eq!(send("wrong").await.status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(cache.stats().stored, 0, "a list: {is_list}");
    }
}

#[tokio::test]
async fn a_body_that_hides_nothing_is_cached() {
    #[cache(expire = 60)]
    async fn search(Json(search): Json<Told>) -> String {
        search.text
    }

    let router = Router::new().route("/", get(search));
    let cache = Cache::new(memory());
    for status in ["MISS", "HIT"] {
        for text in ["a", "b"] {
            let got = send_json(&cache, &router, &format!(r#"{{"text": "{text}"}}"#)).await;
            assert_eq!((got.text(), got.cache()), (text, status));
        }
    }
}

#[tokio::test]
async fn it_is_reported_once_by_function_and_field() {
    #[derive(Serialize, Deserialize)]
    struct Reported {
        text: String,
        #[serde(default, skip_serializing)]
        shibboleth: String,
    }
    #[cache(expire = 60)]
    async fn reported_handler(Query(search): Query<Reported>) -> String {
        search.text + &search.shibboleth
    }

    let router = Router::new().route("/", get(reported_handler));
    let ((), logs) = Logs::of(async {
        let cache = Cache::new(memory());
        for key in ["a", "b", "a", "c"] {
            let uri = format!("/?text=x&shibboleth={key}");
            let got = ask(&cache, &router, &uri, &[]).await;
            assert_eq!(got.text(), format!("x{key}"));
        }
    })
    .await;
    let lines: Vec<_> = logs
        .lines()
        .filter(|line| line.contains("shibboleth"))
        .collect();
    assert_eq!(lines.len(), 1, "{logs}");
    assert!(lines[0].contains("reported_handler"), "{logs}");
}

#[derive(Default, Serialize, Deserialize)]
struct Nothing {
    #[serde(alias = "t", default)]
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<u32>,
    #[serde(default, rename = "order-by")]
    order: Option<String>,
    #[serde(flatten)]
    rest: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plain {
    user_id: u64,
    #[serde(default)]
    is_open: bool,
    #[serde(skip)]
    never_read: u64,
}

#[tokio::test]
async fn aliases_and_what_is_left_out_when_empty_are_no_alarm() {
    #[cache(expire = 60)]
    async fn nothing(Query(search): Query<Nothing>) -> String {
        let Nothing {
            text,
            page,
            order,
            rest,
        } = search;
        format!("{text} {page:?} {order:?} {rest:?}")
    }
    #[cache(expire = 60)]
    async fn plain(Query(search): Query<Plain>) -> String {
        let Plain {
            user_id,
            is_open,
            never_read,
        } = search;
        format!("{user_id} {is_open} {never_read}")
    }

    let router = Router::new()
        .route("/nothing", get(nothing))
        .route("/plain", get(plain));
    let ((), logs) = Logs::of(async {
        // Each line has requests that the function cannot tell from each other.
        for same in [
            &["/nothing?text=a", "/nothing?t=a"][..],
            &["/nothing?text=a&page=1", "/nothing?page=1&text=a"],
            &["/nothing?text=a&x=1&y=2", "/nothing?y=2&x=1&t=a"],
            &["/nothing?order-by=x", "/nothing?order-by=%78"],
            &["/plain?userId=1", "/plain?userId=01", "/plain?userId=1&a=b"],
            &["/plain?userId=1&isOpen=true", "/plain?isOpen=true&userId=1"],
            &["/plain?userId=2&neverRead=1", "/plain?userId=2&neverRead=2"],
        ] {
            let cache = Cache::new(memory());
            ask(&cache, &router, same[0], &[]).await;
            for uri in same {
                assert_eq!(ask(&cache, &router, uri, &[]).await.cache(), "HIT", "{uri}");
            }
        }
    })
    .await;
    assert_eq!(logs, "");
}
