//! Values in a table of DynamoDB, shared by every instance of a service.
//!
//! `DYNAMODB_TABLE=cache cargo run -p dynamodb-example` takes region and credentials from where
//! every AWS program does. `AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8000`, with any region and any
//! credentials, asks an emulator.

use std::time::Duration;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use fast_cache::{Config, DynamoBackend, FastCache, cache};
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

/// DynamoDB cannot count cheaply what it no longer serves.
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
    let table = std::env::var("DYNAMODB_TABLE").unwrap_or_else(|_| "fast-cache-example".to_owned());
    let backend = DynamoBackend::new(table).timeout(Duration::from_millis(500));
    // A service in production finds its table made, and may not make one.
    backend.create_table().await?;
    // Every read costs: other instances look once a second whether a namespace was cleared.
    let config = Config::new(backend.connect().await?)
        .prefix("example")
        .invalidation_delay(Duration::from_secs(1));
    FastCache::init(config)?;

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
