//! Every backend on real servers, in one table.
//!
//! `cargo xtask conformance` starts the servers and prints it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fast_cache::testing::{ConformanceReport, backend_conformance};
use fast_cache::{Backend, InMemoryBackend, MemcachedOptions, RedisOptions};
use futures_util::future;

use crate::dynamodb::server::emulators;
use crate::memcached::server_address;
use crate::redis::server::{self, Certificates, Server};
use crate::redis::server_url;

#[path = "../../../examples/custom-backend/src/directory.rs"]
#[allow(dead_code, reason = "the example uses all of it")]
mod directory;

/// A column of the table.
type Column = Pin<Box<dyn Future<Output = (&'static str, ConformanceReport)>>>;

fn column(name: &'static str, backend: impl Backend) -> Column {
    Box::pin(async move {
        let backend = Arc::new(backend);
        let report = backend_conformance(Arc::clone(&backend)).await;
        #[cfg(feature = "axum")]
        crate::layer::responses_are_stored_and_end_on(name, backend).await;
        (name, report)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_backend_keeps_every_promise() {
    let files = tempfile::tempdir().unwrap();
    let directory = directory::Directory::new(files.path()).unwrap();
    let mut columns = vec![
        column("memory", InMemoryBackend::new()),
        column("example", directory),
    ];
    let mut servers = Vec::new();
    columns.extend(redis(&mut servers).await);
    columns.extend(valkey().await);
    columns.extend(memcached().await);
    for emulator in emulators() {
        let name = match emulator.measures_bytes() {
            true => "dynoxide",
            false => "moto",
        };
        columns.push(column(name, emulator.table().await));
    }
    let reports = future::join_all(columns).await;
    println!("{}", table(&reports));
    for (name, report) in &reports {
        assert!(report.is_passed(), "{name} breaks promises:\n{report}");
    }
}

/// Redis in all its forms: a server, a cluster, behind a sentinel, and with TLS and ACL.
async fn redis(servers: &mut Vec<Server>) -> Vec<Column> {
    let Some(url) = server_url() else {
        return Vec::new();
    };
    let options = RedisOptions::new()
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(5));
    let single = options.connect(&url).await.unwrap();

    let masters = server::cluster().await;
    let cluster = options.connect_cluster([masters[0].url()]).await.unwrap();
    servers.extend(masters);

    let master = Server::start(&[]);
    let sentinel = Server::start_sentinel(&master);
    let watched = options.connect_sentinel([sentinel.url()], "cache").await;
    servers.extend([master, sentinel]);

    let certificates = Certificates::make();
    let rules = "--user cache on >secret ~conformance* ~~conformance* \
                 +get +set +eval +getrange +exists +scan +strlen +unlink --user default off";
    let rules: Vec<_> = rules.split_whitespace().collect();
    let guarded = Server::start_tls(&certificates, &rules);
    let url = format!("rediss://cache:secret@{}", guarded.address());
    let options = options.ca_certificate(certificates.authority());
    let secure = options.connect(&url).await.unwrap();
    servers.push(guarded);

    vec![
        column("redis", single),
        column("cluster", cluster),
        column("sentinel", watched.unwrap()),
        column("tls, acl", secure),
    ]
}

async fn valkey() -> Option<Column> {
    let Ok(url) = std::env::var("FAST_CACHE_TEST_VALKEY") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "FAST_CACHE_TEST_VALKEY must be set on CI"
        );
        eprintln!("SKIPPED, NOT TESTED: set FAST_CACHE_TEST_VALKEY=redis://.. to test Valkey");
        return None;
    };
    let options = RedisOptions::new().response_timeout(Duration::from_secs(5));
    Some(column("valkey", options.connect(&url).await.unwrap()))
}

async fn memcached() -> Option<Column> {
    let address = server_address()?;
    let options = MemcachedOptions::new().response_timeout(Duration::from_secs(5));
    Some(column(
        "memcached",
        options.connect(&address).await.unwrap(),
    ))
}

/// A row for every promise, and a column for every backend.
fn table(reports: &[(&'static str, ConformanceReport)]) -> String {
    let Some((_, first)) = reports.first() else {
        return String::new();
    };
    let mut text = String::from("| promise |");
    for (name, _) in reports {
        text += &format!(" {name} |");
    }
    text += "\n| --- |";
    text += &" --- |".repeat(reports.len());
    for (row, (promise, _)) in first.results().enumerate() {
        text += &format!("\n| {promise} |");
        for (_, report) in reports {
            let is_kept = report
                .results()
                .nth(row)
                .is_some_and(|(_, result)| result.is_ok());
            text += if is_kept { " ok |" } else { " BROKEN |" };
        }
    }
    text
}
