//! A coder and key builders of one's own. `cargo run -p custom-coder-and-key`

mod bytes_only;

use axum::extract::{Path, Query};
use axum::routing::get;
use axum::{Json, Router};
use fast_cache::{Coder, Config, Error, ErrorKind, FastCache, KeyContext, cache};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::bytes_only::BytesOnly;

/// CBOR, which many languages read.
struct Cbor;

impl Coder for Cbor {
    const ID: &'static str = "cbor";

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes)
            .map_err(|error| Error::new(ErrorKind::Encode, "no CBOR").with_source(error))?;
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
        ciborium::from_reader(bytes)
            .map_err(|error| Error::new(ErrorKind::Decode, "no CBOR").with_source(error))
    }
}

/// The request is the key, not the function: method, path, and the query in any order.
fn by_request(context: &KeyContext<'_>) -> String {
    let Some(request) = context.request else {
        return context.args.digest();
    };
    let mut query: Vec<&str> = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .collect();
    query.sort_unstable();
    format!(
        "{}:{}:{}",
        request.method(),
        request.uri().path(),
        query.join("&")
    )
}

/// A key builder may be async: here it could ask who the tenant is.
async fn by_tenant(context: &KeyContext<'_>) -> String {
    let tenant = async { "acme" }.await;
    format!("{tenant}:{}", context.args.digest())
}

#[derive(Clone, Serialize, Deserialize)]
struct Search {
    text: String,
    page: u32,
}

#[cache(expire = 60, namespace = "search", key_builder = by_request)]
async fn search(Query(search): Query<Search>) -> Json<Search> {
    Json(search)
}

#[cache(expire = 60, namespace = "reports", key_builder = by_tenant)]
async fn report(Path(year): Path<u32>) -> Json<u32> {
    Json(year)
}

/// A text is enough where the arguments are few.
#[cache(expire = 60, namespace = "users", key = "user:{id}")]
async fn user(Path(id): Path<u64>) -> Json<u64> {
    Json(id)
}

/// What the store holds, and under which keys.
async fn keys() -> String {
    BytesOnly::shared().keys().join("\n") + "\n"
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Values in this process are never encoded, so the coder is shown on a store of bytes.
    FastCache::init(
        Config::new(BytesOnly::shared())
            .prefix("example")
            .coder(Cbor),
    )?;

    let app = Router::new()
        .route("/search", get(search))
        .route("/reports/{year}", get(report))
        .route("/users/{id}", get(user))
        .route("/keys", get(keys));
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n");
    println!("curl -i '{url}/search?text=tea&page=1'      # MISS");
    println!("curl -i '{url}/search?page=1&text=tea'      # HIT: the query in another order");
    println!("curl -i {url}/reports/2026");
    println!("curl -i {url}/users/42");
    println!("curl {url}/keys");
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted)
        .await?;
    Ok(())
}
