//! One of the routers, served over HTTP on one thread: `bench-server cached|layer|ready|headers ADDRESS`.

use anyhow::{Context, Result};
use fast_cache::{FastCache, InMemoryBackend};
use fast_cache_benches::routers::{LAYER, OURS, READY, READY_WITH_HEADERS, all};

/// One thread, as the ancestor has one worker, and `wrk` wants one for itself.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = match arguments.next().as_deref() {
        Some("cached") => OURS,
        Some("layer") => LAYER,
        Some("ready") => READY,
        Some("headers") => READY_WITH_HEADERS,
        _ => anyhow::bail!("bench-server cached|layer|ready|headers ADDRESS"),
    };
    let address = arguments.next().context("no address")?;
    FastCache::init(InMemoryBackend::new())?;
    let router = all().into_iter().find(|(known, _)| *known == name);
    let (_, router) = router.context("no such router")?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await?;
    Ok(())
}
