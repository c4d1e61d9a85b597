//! A service that is honest as HTTP asks for it, behind layers.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{OriginalUri, Request, State};
use axum::http::header::{COOKIE, ORIGIN};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use fast_cache::CacheLayer;
use futures_util::{StreamExt, stream};
use http_body::{Frame, SizeHint};

use super::requests::{is_credential, is_disguise, is_link};
use super::{Case, Current, Dump, Mode, Scope, World, joined, number, page, set};

/// The origin of one mount.
#[derive(Clone)]
struct Site {
    current: Current,
    mount: &'static str,
    /// Whether the layer's key has `x-region`.
    has_regions: bool,
}

/// What is read without being named: what caches have to know of by themselves.
fn is_unnamed(mode: Mode, name: &str) -> bool {
    match mode {
        Mode::Silent => is_link(name) || is_credential(name) || is_disguise(name),
        Mode::MaxAge | Mode::Public | Mode::Aging | Mode::NoCache => {
            is_link(name) || is_disguise(name)
        }
        Mode::Private | Mode::NoStore | Mode::Cookie | Mode::VaryAll | Mode::TooMany => true,
    }
}

async fn answer(State(site): State<Site>, mut request: Request) -> Response {
    let case = site.current.case();
    case.pause().await;
    if case.fails.load(std::sync::atomic::Ordering::Relaxed) {
        let mut response = page("it fails".to_owned());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    if case.is_proxy {
        strip_connection(request.headers_mut());
    }
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let mut dump = case.reader.read(method, uri, headers, |_| true);
    dump.text.push_str(site.mount);
    if site.has_regions {
        let region = joined(headers, "x-region");
        dump.text.push_str(&format!(" in {region:?}"));
    }
    if let Some(original) = request.extensions().get::<OriginalUri>() {
        dump.text.push_str(&format!(" at {}", original.path()));
    }
    // Where it is drops nothing of the path, its length is in the key.
    let mode = case.modes[uri.path().len() % 2];
    respond(&case, mode, dump, headers)
}

fn respond(case: &Case, mode: Mode, dump: Dump, request: &HeaderMap) -> Response {
    let hash = number(&dump.text);
    let mut headers = HeaderMap::new();
    set(&mut headers, "x-echo", format!("{hash:x}"));
    let names: Vec<_> = dump
        .names
        .iter()
        .filter(|name| !is_unnamed(mode, name))
        .copied()
        .collect();
    if !names.is_empty() {
        set(&mut headers, "vary", names.join(", "));
    }
    match mode {
        Mode::Silent => {}
        Mode::MaxAge => set(&mut headers, "cache-control", "max-age=60"),
        Mode::Public => set(&mut headers, "cache-control", "public, max-age=60"),
        Mode::Aging => {
            let aging = "public, max-age=60, stale-while-revalidate=50, stale-if-error=500";
            set(&mut headers, "cache-control", aging);
        }
        Mode::NoCache => set(&mut headers, "cache-control", "no-cache"),
        Mode::Private => set(&mut headers, "cache-control", "private, max-age=60"),
        Mode::NoStore => set(&mut headers, "cache-control", "no-store"),
        Mode::Cookie => {
            set(&mut headers, "cache-control", "max-age=60");
            set(&mut headers, "set-cookie", "id=1");
        }
        Mode::VaryAll => {
            set(&mut headers, "cache-control", "max-age=60");
            set(&mut headers, "vary", "*");
        }
        Mode::TooMany => set(&mut headers, "cache-control", "max-age=60"),
    }
    // It allows the one who asks, and says nothing of that.
    if case.allows
        && let Some(origin) = request.get(ORIGIN)
    {
        headers.insert("access-control-allow-origin", origin.clone());
    }
    if let Some(mark) = case.tag {
        set(&mut headers, "etag", format!("{mark}\"{hash:x}\""));
    }
    if case.is_dated {
        set(
            &mut headers,
            "last-modified",
            "Wed, 01 Jan 2020 00:00:00 GMT",
        );
    }
    let is_current = case.tag.is_some()
        && joined(request, "if-none-match")
            .is_some_and(|named| named.contains(&format!("\"{hash:x}\"")));
    let mut response = match is_current {
        true => Response::new(Body::empty()),
        false => Response::new(body(case.chunks, dump.text)),
    };
    *response.status_mut() = match mode {
        _ if is_current => StatusCode::NOT_MODIFIED,
        Mode::TooMany => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::OK,
    };
    *response.headers_mut() = headers;
    response
}

/// A text at once, or in two pieces with something in between, which say how long they are or do not.
fn body(chunks: u8, text: String) -> Body {
    if chunks == 0 || text.len() < 2 {
        return Body::from(text);
    }
    let length = text.len() as u64;
    let middle = text.len() / 2;
    let pieces = [text[..middle].to_owned(), text[middle..].to_owned()];
    let pieces = stream::iter(pieces).then(async |piece| {
        tokio::task::yield_now().await;
        Ok::<_, Infallible>(Bytes::from(piece))
    });
    let pieces = Body::from_stream(pieces);
    match chunks {
        1 => Body::new(Sized(pieces, length)),
        _ => pieces,
    }
}

/// A body that says how long it is.
struct Sized(Body, u64);

impl axum::body::HttpBody for Sized {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.0).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.1 -= data.len() as u64;
        }
        std::task::Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.1)
    }
}

fn strip_connection(headers: &mut HeaderMap) {
    let named = joined(headers, "connection").unwrap_or_default();
    for name in named.split(',') {
        if let Ok(name) = name.trim().parse::<HeaderName>() {
            headers.remove(name);
        }
    }
}

/// Layers that differ in what they add to the key, and in whether they give lifetimes.
fn layer(number: usize) -> CacheLayer {
    let expire = Duration::from_secs(60);
    match number {
        0 => CacheLayer::new(),
        1 => CacheLayer::new().expire(expire),
        2 => CacheLayer::new().expire(expire).vary([COOKIE]),
        3 => CacheLayer::new().expire(expire).vary([ORIGIN]),
        4 => CacheLayer::new()
            .expire(expire)
            .heuristic_freshness(true)
            .cache_status("edge"),
        _ => CacheLayer::new().expire(expire).key_by(|parts| {
            let region = joined(&parts.headers, "x-region");
            format!("{region:?}")
        }),
    }
}

const LAYERS: usize = 6;

pub(super) fn worlds(current: &Current) -> Vec<World> {
    let mut worlds = Vec::new();
    for number in 0..LAYERS {
        let at = |mount| {
            let site = Site {
                current: current.clone(),
                mount,
                has_regions: number == LAYERS - 1,
            };
            Router::new().fallback(answer).with_state(site)
        };
        // Above all, and in each of three mounts.
        let above = Router::new()
            .nest("/acme", at("acme"))
            .nest("/globex", at("globex"))
            .merge(at("root"))
            .layer(layer(number));
        let inside = Router::new()
            .nest("/acme", at("acme").layer(layer(number)))
            .nest("/globex", at("globex").layer(layer(number)))
            .merge(at("root").layer(layer(number)));
        for app in [above, inside] {
            worlds.push(World {
                app,
                paths: paths(),
                scope: Scope::All,
            });
        }
    }
    worlds
}

fn paths() -> Vec<String> {
    let paths = [
        "/",
        "/a",
        "/b",
        "/a/",
        "/acme/a",
        "/globex/a",
        "/acme/bb",
        "/acme/acme/a",
        "/globex/acme/a",
        "/a%2fb",
        "/a/b",
    ];
    paths.map(str::to_owned).to_vec()
}
