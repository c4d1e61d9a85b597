//! An axum server with cached functions and handlers.
//!
//! `cargo run -p quickstart` listens on 127.0.0.1:3000, or on `ADDR`, and prints what to try.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use fast_cache::{CacheResponse, Config, FastCache, InMemoryBackend, cache};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, Serialize, Deserialize)]
struct Product {
    id: u64,
    name: String,
}

/// Stands for a pool of connections to a database.
#[derive(Clone)]
struct Db;

impl Db {
    /// Takes as long as a slow query.
    async fn product(&self, id: u64) -> Option<Product> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let name = format!("product {id}");
        (id < 1000).then_some(Product { id, name })
    }
}

/// A cached handler: the whole response is stored, under a key made of the path. Its `Err`, a 404,
/// is not.
#[cache(expire = 60, namespace = "products")]
async fn show(
    Path(id): Path<u64>,
    State(db): State<Db>,
) -> Result<Json<Product>, (StatusCode, String)> {
    let missing = || (StatusCode::NOT_FOUND, format!("there is no product {id}\n"));
    db.product(id).await.map(Json).ok_or_else(missing)
}

/// A cached function: any code may call it. The database is no part of the key.
#[cache(expire = "5m", namespace = "products", skip(db))]
async fn count(db: &Db, category: String) -> u64 {
    let found = db.product(category.len() as u64).await;
    found.map_or(0, |product| product.id)
}

/// A handler that has a say in how its response is stored.
#[cache(expire = 60, namespace = "categories")]
async fn category(
    Path(name): Path<String>,
    State(db): State<Db>,
    response: CacheResponse,
) -> Json<u64> {
    let count = count(&db, name).await;
    response.header(header::CONTENT_LANGUAGE, HeaderValue::from_static("en"));
    if count == 0 {
        response.expire(Duration::from_secs(5));
    }
    Json(count)
}

/// Removes all that is stored of products, and says how many entries that were.
async fn clear() -> Result<String, (StatusCode, String)> {
    match FastCache::clear_namespace("products").await {
        Ok(count) => Ok(format!("cleared {count}\n")),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    FastCache::init(Config::new(InMemoryBackend::new()).prefix("quickstart"))?;

    let app = Router::new()
        .route("/products/{id}", get(show).post(show))
        .route("/categories/{name}", get(category))
        .route("/clear", post(clear))
        .with_state(Db);
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    print_what_to_try(&format!("http://{}", listener.local_addr()?));
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted)
        .await?;
    Ok(())
}

fn print_what_to_try(url: &str) {
    println!("listening on {url}\n");
    println!(
        "curl -i {url}/products/1                                  # MISS, and HIT the second time"
    );
    println!("curl -i {url}/products/1 -H 'If-None-Match: *'            # 304");
    println!(
        "curl -i {url}/products/1 -H 'Cache-Control: no-cache'     # MISS: computed and stored again"
    );
    println!("curl -i {url}/products/1 -H 'Cache-Control: no-store'     # passes by the cache");
    println!("curl -I {url}/products/1                                  # HEAD: HIT");
    println!("curl -i -X POST {url}/products/1                          # passes by the cache");
    println!(
        "curl -i {url}/products/1000                               # 404, which is not stored"
    );
    println!(
        "curl -i {url}/categories/tea                              # with a header of its own"
    );
    println!(
        "curl -X POST {url}/clear                                  # and the next one is a MISS"
    );
}
