//! Values in Memcached, shared by every instance of a service.
//!
//! `MEMCACHED=127.0.0.1:11211 cargo run -p memcached-example`

use std::time::Duration;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use fast_cache::{Config, FastCache, MemcachedOptions, cache};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, Serialize, Deserialize)]
struct Square {
    n: u64,
    square: u64,
}

#[cache(expire = 60, namespace = "squares")]
async fn square(Path(n): Path<u64>) -> Json<Square> {
    Json(Square {
        n,
        square: n.wrapping_mul(n),
    })
}

/// Memcached cannot count what it no longer serves.
async fn clear() -> String {
    match FastCache::clear_namespace("squares").await {
        Ok(_) => "cleared\n".to_owned(),
        Err(error) => format!("{error}\n"),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let server = std::env::var("MEMCACHED").unwrap_or_else(|_| "127.0.0.1:11211".to_owned());
    let backend = MemcachedOptions::new()
        .response_timeout(Duration::from_millis(100))
        .connect(&server)
        .await?;
    FastCache::init(Config::new(backend).prefix("example"))?;

    let app = Router::new()
        .route("/squares/{n}", get(square))
        .route("/clear", post(clear));
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n");
    println!("curl -i {url}/squares/12      # MISS, and HIT the second time, on every instance");
    println!("curl -X POST {url}/clear      # and the next one is a MISS");
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted)
        .await?;
    Ok(())
}
