//! One hit at a time, for those who count what it does.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Cache, CacheLayer, FastCache, InMemoryBackend, cache};
use http_body_util::BodyExt;
use tower::Service;

use crate::rounds::block_on;
use crate::subjects::{LIFETIME, User};

/// How many hits are prepared.
pub const HITS: u64 = 100;

const AN_HOUR: Duration = Duration::from_secs(LIFETIME);

/// What is counted.
pub const ALL: [(&str, Prepare); 5] = [
    ("number", number),
    ("user", user),
    ("handler", handler),
    ("layer", layer),
    ("scoped", scoped),
];

/// Makes hits ready.
pub type Prepare = fn() -> Hits;

/// Hits that are ready to happen: what they are asked with is made, and what they give is stored.
pub struct Hits(Box<dyn FnMut()>);

impl std::fmt::Debug for Hits {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Hits")
    }
}

impl Hits {
    /// One more hit, of which there may be [`HITS`] and one before for warmth.
    pub fn next(&mut self) {
        (self.0)();
    }

    fn new(mut hit: impl FnMut() + 'static) -> Self {
        // The first one makes what a thread makes once.
        hit();
        Self(Box::new(hit))
    }
}

/// `u64 -> u64`.
#[must_use]
pub fn number() -> Hits {
    #[cache(expire = AN_HOUR)]
    async fn number(n: u64) -> u64 {
        n + 1
    }

    init();
    block_on(number(7));
    Hits::new(|| {
        std::hint::black_box(ready(number(std::hint::black_box(7))));
    })
}

/// `&str -> struct`, of which the clone allocates twice.
#[must_use]
pub fn user() -> Hits {
    #[cache(expire = AN_HOUR)]
    async fn user(name: &str) -> User {
        User::named(name)
    }

    init();
    block_on(user("ada"));
    Hits::new(|| {
        std::hint::black_box(ready(user(std::hint::black_box("ada"))));
    })
}

/// A handler, through its router.
#[must_use]
pub fn handler() -> Hits {
    #[cache(expire = AN_HOUR)]
    async fn show(Path(id): Path<u64>) -> Json<User> {
        Json(User::named(&format!("user-{id}")))
    }

    init();
    through(Router::new().route("/users/{id}", get(show)))
}

/// The same without the attribute, behind a layer.
#[must_use]
pub fn layer() -> Hits {
    async fn show(Path(id): Path<u64>) -> Json<User> {
        Json(User::named(&format!("user-{id}")))
    }

    init();
    let router = Router::new().route("/users/{id}", get(show));
    through(router.layer(CacheLayer::new().expire(AN_HOUR)))
}

/// The handler's, where the router has a cache of its own. It comes last: before any cache is scoped, no hit looks for
/// a scope.
#[must_use]
pub fn scoped() -> Hits {
    #[cache(expire = AN_HOUR)]
    async fn show(Path(id): Path<u64>) -> Json<User> {
        Json(User::named(&format!("user-{id}")))
    }

    let cache = Cache::new(InMemoryBackend::new());
    let router = Router::new().route("/users/{id}", get(show));
    through(router.layer(cache.layer()))
}

fn init() {
    // Each program prepares several of them, and the first initializes for all.
    let _ = FastCache::init(InMemoryBackend::new());
}

fn through(router: Router) -> Hits {
    // As `axum::serve` does: a router without its state applies its layers anew for each request.
    let mut router: Router = router.with_state(());
    let request = || Request::get("/users/7").body(Body::empty()).unwrap();
    // A layer stores a body when it has been read.
    block_on(async {
        let response = router.call(request()).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    let mut requests: Vec<_> = (0..=HITS).map(|_| request()).collect();
    Hits::new(move || {
        let request = requests.pop().unwrap();
        let response = ready(router.call(request)).unwrap();
        let body = ready(response.into_body().collect()).unwrap();
        assert!(!std::hint::black_box(body.to_bytes()).is_empty());
    })
}

/// The output of a future that does not wait, as no local hit does.
fn ready<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a local hit does not wait"),
    }
}
