//! A caching reverse proxy.
//!
//! `cargo run -p reverse-proxy -- --upstream http://127.0.0.1:8000 --listen 127.0.0.1:8001`

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, uri};
use axum::response::{IntoResponse, Response};
use fast_cache::{Cache, CacheLayer, Config, InMemoryBackend, RedisOptions};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lexopt::ValueExt as _;
use tokio::net::TcpListener;

const USAGE: &str = "\
usage: reverse-proxy --upstream URL --listen ADDRESS [options]
  --expire SECONDS          how long responses are fresh that do not say it
  --heuristic               guess that from the date of their last change
  --store-set-cookie        store responses with Set-Cookie that say they may be shared
  --stale-if-error SECONDS  how long stale responses stand in for an upstream that fails
  --cache-status NAME       add Cache-Status under this name
  --redis URL               keep responses in Redis instead of in memory";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let options = Options::parse()?;
    let listener = TcpListener::bind(&options.listen).await?;
    let layer = options.layer().await?;
    let upstream = Upstream {
        client: Client::builder(TokioExecutor::new()).build_http(),
        base: options.upstream,
    };
    let app = Router::new()
        .fallback(forward)
        .with_state(upstream)
        .layer(layer);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}

/// The service behind the proxy.
#[derive(Clone)]
struct Upstream {
    client: Client<HttpConnector, Body>,
    base: Uri,
}

/// Sends a request to the upstream, and gives its response.
async fn forward(State(upstream): State<Upstream>, mut request: Request) -> Response {
    let mut target = upstream.base.into_parts();
    target.path_and_query = request.uri().path_and_query().cloned();
    let Ok(target) = Uri::from_parts(target) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    // A client of HTTP/2 names the host in the URI, which is about to be replaced.
    if let Some(host) = request.uri().authority().map(uri::Authority::as_str)
        && let Ok(host) = HeaderValue::from_str(host)
    {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = target;
    strip_connection(request.headers_mut());
    let via = HeaderValue::from_static("1.1 reverse-proxy");
    request.headers_mut().append(VIA, via);
    match upstream.client.request(request).await {
        Ok(mut response) => {
            strip_connection(response.headers_mut());
            response.map(Body::new)
        }
        Err(error) => {
            tracing::warn!(%error, "the upstream did not answer");
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

/// Takes out what belongs to one connection (RFC 9110 section 7.6.1). The host stays, which no connection may take away.
fn strip_connection(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != HOST)
        .collect();
    let keep_alive = HeaderName::from_static("keep-alive");
    let proxy = HeaderName::from_static("proxy-connection");
    let fixed = [
        CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        keep_alive,
        proxy,
    ];
    for name in named.iter().chain(&fixed) {
        headers.remove(name);
    }
}

#[derive(Default)]
struct Options {
    upstream: Uri,
    listen: String,
    redis: Option<String>,
    expire: Option<Duration>,
    stale_if_error: Option<Duration>,
    heuristic: bool,
    store_set_cookie: bool,
    cache_status: Option<String>,
}

impl Options {
    fn parse() -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                lexopt::Arg::Long("upstream") => options.upstream = arguments.value()?.parse()?,
                lexopt::Arg::Long("listen") => options.listen = arguments.value()?.string()?,
                lexopt::Arg::Long("redis") => options.redis = Some(arguments.value()?.string()?),
                lexopt::Arg::Long("expire") => options.expire = Some(seconds_of(&mut arguments)?),
                lexopt::Arg::Long("stale-if-error") => {
                    options.stale_if_error = Some(seconds_of(&mut arguments)?);
                }
                lexopt::Arg::Long("heuristic") => options.heuristic = true,
                lexopt::Arg::Long("store-set-cookie") => options.store_set_cookie = true,
                lexopt::Arg::Long("cache-status") => {
                    options.cache_status = Some(arguments.value()?.string()?);
                }
                lexopt::Arg::Long("help") => {
                    println!("{USAGE}");
                    std::process::exit(0);
                }
                other => return Err(other.unexpected().into()),
            }
        }
        let is_complete = options.upstream.authority().is_some() && !options.listen.is_empty();
        anyhow::ensure!(
            is_complete,
            "an upstream and an address are needed\n{USAGE}"
        );
        Ok(options)
    }

    async fn layer(&self) -> anyhow::Result<CacheLayer> {
        let mut config = match &self.redis {
            None => Config::new(InMemoryBackend::new()),
            Some(url) => Config::new(RedisOptions::new().connect(url).await?),
        };
        // Nothing above the cache recodes bodies, so that its tags stand for their bytes, and parts can be served.
        config = config.prefix("reverse-proxy").strong_etags(true);
        if let Some(duration) = self.stale_if_error {
            config = config.stale_if_error(duration);
        }
        let mut layer = CacheLayer::new()
            .cache(Cache::try_new(config)?)
            .heuristic_freshness(self.heuristic)
            .store_set_cookie(self.store_set_cookie);
        if let Some(expire) = self.expire {
            layer = layer.expire(expire);
        }
        if let Some(name) = &self.cache_status {
            layer = layer.cache_status(name);
        }
        Ok(layer)
    }
}

fn seconds_of(arguments: &mut lexopt::Parser) -> anyhow::Result<Duration> {
    Ok(Duration::from_secs(arguments.value()?.parse()?))
}
