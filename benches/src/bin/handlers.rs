//! Hits of whole responses, through an axum router in this process.

use std::time::{Duration, Instant};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, Uri};
use fast_cache::{Config, FastCache, InMemoryBackend};
use fast_cache_benches::options::Options;
use fast_cache_benches::rounds::{Contender, block_on, compare};
use fast_cache_benches::routers::{AXUM_RESPONSE_CACHE, LAYER, PATH, READY, TOWER_HTTP_CACHE, all};
use fast_cache_benches::subjects::CAPACITY;
use http_body_util::BodyExt;
use tower::Service;

fn main() -> Result<()> {
    let options = Options::from_arguments();
    FastCache::init(Config::new(
        InMemoryBackend::new().max_entries(CAPACITY as u64),
    ))?;

    let routers = all();
    let contenders = routers
        .each_ref()
        .map(|(name, router)| Contender::new(*name, |times| block_on(ask(router.clone(), times))));
    for (threads, on) in [(1, "one thread"), (2, "two threads")] {
        let title = format!("handler hit, through the router in this process, {on}");
        let table = compare(&title, options, threads, 100, &contenders);
        let layer = table.row(LAYER).value.median - table.row(READY).value.median;
        let table = table
            .at_most_above(500.0, READY)
            .below(&[AXUM_RESPONSE_CACHE, TOWER_HTTP_CACHE]);
        let text = format!("{LAYER} at most 500 ns above {READY}: {layer:.0} ns");
        let of_peers = [AXUM_RESPONSE_CACHE, TOWER_HTTP_CACHE];
        let least = of_peers.map(|peer| table.row(peer).value.median);
        let ours = table.row(LAYER).value.median;
        let is_below = least.iter().all(|peer| ours < *peer);
        let table = table.promise(text, layer <= 500.0);
        let text = format!("{LAYER} below {AXUM_RESPONSE_CACHE} and {TOWER_HTTP_CACHE}");
        table.promise(text, is_below).print();
    }
    Ok(())
}

async fn ask(mut router: Router, times: u64) -> Duration {
    let uri = Uri::from_static(PATH);
    let mut length = 0;
    let began = Instant::now();
    for _ in 0..times {
        let mut request = Request::new(Body::empty());
        request.uri_mut().clone_from(&uri);
        let response = router.call(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        length += body.to_bytes().len() as u64;
    }
    let took = began.elapsed();
    assert_eq!(length, times * 53, "everybody serves the same");
    took
}
