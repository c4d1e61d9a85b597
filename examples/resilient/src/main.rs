//! A handler that keeps answering while Redis is killed and restarted under load.
//!
//! `cargo run -p resilient` starts a `redis-server` of its own, and callers of forty pages. After three
//! seconds it kills the server, after six it starts it again, and after nine it prints what the callers saw.
//! It fails if a single one was not answered.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fast_cache::{Config, FastCache, RedisOptions, TieredBackend, cache};
use tokio::process::{Child, Command};
use tower::ServiceExt;

const PAGES: usize = 40;
const CALLERS: usize = 16;
const PHASE: Duration = Duration::from_secs(3);
const PHASES: [&str; 3] = ["Redis is up", "Redis is killed", "Redis is back"];

/// A page that takes a while to make, and is served stale rather than late.
#[cache(
    expire = 1,
    stale_while_revalidate = 5,
    stale_if_error = "5m",
    soft_timeout = "100ms",
    jitter = 0.2,
    tags("pages")
)]
async fn page(Path(number): Path<usize>) -> Response {
    tokio::time::sleep(Duration::from_millis(20)).await;
    format!("page {number}").into_response()
}

#[tokio::main]
async fn main() -> Result<()> {
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let mut redis = start_redis(port).await?;
    let remote = RedisOptions::new()
        .response_timeout(Duration::from_millis(50))
        .connect(&format!("redis://127.0.0.1:{port}"))
        .await?;
    FastCache::init(Config::new(TieredBackend::new(remote)).prefix("resilient"))?;

    let router = Router::new().route("/pages/{number}", get(page));
    let seen = Arc::new(Seen::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| tokio::spawn(call(router.clone(), Arc::clone(&seen), caller)))
        .collect();

    tokio::time::sleep(PHASE).await;
    redis.kill().await?;
    seen.next_phase();
    tokio::time::sleep(PHASE).await;
    redis = start_redis(port).await?;
    seen.next_phase();
    tokio::time::sleep(PHASE).await;
    seen.next_phase();
    for caller in callers {
        caller.await??;
    }
    redis.kill().await?;
    seen.print()
}

async fn start_redis(port: u16) -> Result<Child> {
    let child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ])
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("this example starts a `redis-server`, which has to be installed")?;
    for _ in 0..100 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok(child);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    anyhow::bail!("redis-server does not listen on port {port}")
}

/// Calls one page after the other until the last phase is over.
async fn call(router: Router, seen: Arc<Seen>, caller: usize) -> Result<()> {
    for round in 0.. {
        let Some(phase) = seen.phase() else { break };
        let uri = format!("/pages/{}", (caller + round) % PAGES);
        let request = Request::get(uri).body(Body::empty())?;
        let began = Instant::now();
        let reply = router.clone().oneshot(request).await?;
        let cache = reply.headers().get("x-fastapi-cache");
        let is_hit = cache.is_some_and(|status| status == "HIT");
        seen.note(phase, reply.status(), is_hit, began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// What the callers have seen.
#[derive(Default)]
struct Seen {
    phase: AtomicUsize,
    replies: Mutex<BTreeMap<usize, Vec<Reply>>>,
}

#[derive(Clone, Copy)]
struct Reply {
    is_good: bool,
    is_hit: bool,
    took: Duration,
}

impl Seen {
    /// `None` when all are over.
    fn phase(&self) -> Option<usize> {
        let phase = self.phase.load(Ordering::Relaxed);
        (phase < PHASES.len()).then_some(phase)
    }

    fn next_phase(&self) {
        self.phase.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, phase: usize, status: StatusCode, is_hit: bool, took: Duration) {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        replies.entry(phase).or_default().push(Reply {
            is_good: status.is_success(),
            is_hit,
            took,
        });
    }

    fn print(&self) -> Result<()> {
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        println!(
            "{:<16} {:>8} {:>8} {:>8} {:>10} {:>10} {:>10}",
            "", "replies", "failed", "hits", "median", "99 %", "slowest"
        );
        let mut failed = 0;
        for (phase, replies) in &*replies {
            let mut times: Vec<_> = replies.iter().map(|reply| reply.took).collect();
            times.sort_unstable();
            let at = |part: usize| times[(times.len() - 1) * part / 100];
            let count = |is: fn(&Reply) -> bool| replies.iter().filter(|reply| is(reply)).count();
            let bad = count(|reply| !reply.is_good);
            println!(
                "{:<16} {:>8} {:>8} {:>8} {:>10.1?} {:>10.1?} {:>10.1?}",
                PHASES[*phase],
                replies.len(),
                bad,
                count(|reply| reply.is_hit),
                at(50),
                at(99),
                at(100),
            );
            failed += bad;
        }
        let stats = FastCache::stats();
        println!(
            "\n{} calls were computed, {} of them in the background; {} hits were stale; the backend \
             failed {} times, and was left alone {} times",
            stats.computes, stats.refreshes, stats.stale_hits, stats.backend_errors, stats.skipped
        );
        ensure!(
            replies.len() == PHASES.len(),
            "a phase passed without a reply"
        );
        ensure!(failed == 0, "{failed} callers were not answered");
        Ok(())
    }
}
