//! Nobody is served what was made for somebody else.

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheRequest, InMemoryBackend, cache};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

/// A user who looks the same as any other when printed.
#[derive(Clone, Serialize, Deserialize)]
struct User {
    id: u64,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User(***)")
    }
}

/// A session that dereferences to a part of itself.
#[derive(Clone, Serialize)]
struct Session {
    user: User,
    theme: String,
}

impl std::ops::Deref for Session {
    type Target = String;

    fn deref(&self) -> &String {
        &self.theme
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let user = parts
            .extensions
            .get::<User>()
            .ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self {
            user: user.clone(),
            theme: "dark".to_owned(),
        })
    }
}

async fn by_argument(Path(_): Path<u8>, user: Extension<User>) -> Json<u64> {
    Json(user.id)
}

mod handlers {
    use super::*;

    #[cache(expire = 60)]
    pub(super) async fn whole(user: Extension<User>) -> Json<u64> {
        Json(user.id)
    }
    #[cache(expire = 60)]
    pub(super) async fn destructured(Extension(user): Extension<User>) -> Json<u64> {
        Json(user.id)
    }
    #[cache(expire = 60)]
    pub(super) async fn deep(Extension(User { id }): Extension<User>) -> Json<u64> {
        Json(id)
    }
    #[cache(expire = 60)]
    pub(super) async fn optional(user: Option<Extension<User>>) -> Json<u64> {
        Json(user.map_or(0, |user| user.id))
    }
    #[cache(expire = 60)]
    pub(super) async fn session(session: Session) -> Json<u64> {
        Json(session.user.id)
    }
    #[cache(expire = 60, key = "{id}", handler)]
    pub(super) async fn text(Extension(User { id }): Extension<User>) -> Json<u64> {
        Json(id)
    }
    #[cache(expire = 60)]
    pub(super) async fn nested(path: Path<u8>, user: Extension<User>) -> Json<u64> {
        by_argument(path, user).await
    }
}

async fn get_as(app: &Router, uri: &str, user: u64, headers: &[(&str, &str)]) -> (String, String) {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(User { id: user });
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.headers().get("x-fastapi-cache");
    let status = status
        .map_or("-", |value| value.to_str().unwrap())
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), status)
}

#[tokio::test]
async fn two_users_never_share_an_entry() {
    let app = Router::new()
        .route("/whole", get(handlers::whole))
        .route("/destructured", get(handlers::destructured))
        .route("/deep", get(handlers::deep))
        .route("/optional", get(handlers::optional))
        .route("/session", get(handlers::session))
        .route("/text", get(handlers::text))
        .route("/nested/{n}", get(handlers::nested));
    let uris = [
        "/whole",
        "/destructured",
        "/deep",
        "/optional",
        "/session",
        "/text",
        "/nested/1",
    ];
    Cache::new(InMemoryBackend::new())
        .scope(async {
            for uri in uris {
                for status in ["MISS", "HIT"] {
                    for user in [1, 2] {
                        let (body, cache) = get_as(&app, uri, user, &[]).await;
                        assert_eq!((body, cache.as_str()), (user.to_string(), status), "{uri}");
                    }
                }
            }
        })
        .await;
}

#[tokio::test]
async fn who_sees_every_header_is_not_cached_for_personal_requests() {
    fn name(headers: &HeaderMap) -> String {
        let read = |name| {
            headers
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        };
        format!("{}{}", read("cookie"), read("authorization"))
    }
    #[cache(expire = 60, vary())]
    async fn by_head(request: CacheRequest) -> String {
        name(request.headers())
    }
    #[cache(expire = 60, vary("host", "accept-language"))]
    async fn by_headers(headers: HeaderMap) -> String {
        name(&headers)
    }
    #[cache(expire = 60, vary("host"))]
    async fn by_parts(Parts { headers, .. }: Parts) -> String {
        name(&headers)
    }
    #[cache(expire = 60, vary("cookie"))]
    async fn varied(request: CacheRequest) -> String {
        name(request.headers())
    }
    #[cache(expire = 60)]
    async fn blind() -> axum::response::Html<&'static str> {
        axum::response::Html("the same for all")
    }

    let app = Router::new()
        .route("/head", get(by_head))
        .route("/headers", get(by_headers))
        .route("/parts", get(by_parts))
        .route("/varied", get(varied))
        .route("/blind", get(blind));
    Cache::new(InMemoryBackend::new())
        .scope(async {
            for uri in ["/head", "/headers", "/parts"] {
                for name in ["cookie", "authorization"] {
                    for value in ["ada", "bob", "ada"] {
                        let reply = get_as(&app, uri, 0, &[(name, value)]).await;
                        assert_eq!(reply, (value.to_owned(), "-".to_owned()), "{uri} {name}");
                    }
                }
                assert_eq!(
                    get_as(&app, uri, 0, &[]).await,
                    (String::new(), "MISS".to_owned())
                );
                assert_eq!(
                    get_as(&app, uri, 0, &[]).await,
                    (String::new(), "HIT".to_owned())
                );
                let ada = get_as(&app, uri, 0, &[("cookie", "ada")]).await;
                assert_eq!(ada, ("ada".to_owned(), "-".to_owned()));
                let other = get_as(&app, uri, 0, &[("host", "other.example")]).await;
                assert_eq!(other.1, "MISS");
            }
            for status in ["MISS", "HIT"] {
                for user in ["ada", "bob"] {
                    let reply = get_as(&app, "/varied", 0, &[("cookie", user)]).await;
                    assert_eq!(reply, (user.to_owned(), status.to_owned()));
                }
            }
            get_as(&app, "/blind", 0, &[("cookie", "ada")]).await;
            assert_eq!(
                get_as(&app, "/blind", 0, &[("cookie", "bob")]).await.1,
                "HIT"
            );
        })
        .await;
}

#[tokio::test]
async fn a_redacting_debug_does_not_merge_two_users() {
    #[cache(expire = 60)]
    async fn name(user: &User) -> String {
        format!("user {}", user.id)
    }

    crate::support::cached(async {
        assert_eq!(name(&User { id: 1 }).await, "user 1");
        assert_eq!(name(&User { id: 2 }).await, "user 2");
    })
    .await;
}
