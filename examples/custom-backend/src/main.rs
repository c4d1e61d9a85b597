//! A backend of one's own: files in a directory. `cargo run -p custom-backend`
//!
//! Values outlive the program: start it again, and the first request is a hit.

mod directory;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};
use fast_cache::{Config, FastCache, cache};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::directory::Directory;

#[derive(Clone, Serialize, Deserialize)]
struct Square {
    n: u64,
    square: u64,
}

#[cache(expire = 60, namespace = "squares", key = "{n}")]
async fn square(Path(n): Path<u64>) -> Json<Square> {
    Json(Square {
        n,
        square: n.wrapping_mul(n),
    })
}

async fn clear() -> String {
    match FastCache::clear().await {
        Ok(count) => format!("cleared {count}\n"),
        Err(error) => format!("{error}\n"),
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let path = match std::env::var_os("CACHE_DIRECTORY") {
        Some(path) => path.into(),
        None => std::env::temp_dir().join("fast-cache-example"),
    };
    FastCache::init(Config::new(Directory::new(&path)?).prefix("example"))?;

    let app = Router::new()
        .route("/squares/{n}", get(square))
        .route("/clear", post(clear));
    let address = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(&address).await?;
    let url = format!("http://{}", listener.local_addr()?);
    println!("listening on {url}\n");
    println!("curl -i {url}/squares/12      # MISS, and HIT the second time");
    println!("curl -X POST {url}/clear      # and the next one is a MISS");
    println!("ls {}", path.display());
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app)
        .with_graceful_shutdown(interrupted)
        .await?;
    Ok(())
}
