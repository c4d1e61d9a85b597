//! Hits over HTTP, asked for by `wrk`: ours and ready bytes in a release build, and the ancestor under
//! uvicorn, one process and one worker each.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::tables::{Goal, Row, Spread, Table};
use super::{folder, release};
use crate::http;
use crate::services::server::{Server, free_port};
use crate::services::{if_possible, install};

const OURS: &str = "fast-cache `#[cache]`";
const LAYER: &str = "fast-cache `CacheLayer`";
const READY: &str = "a handler that returns ready bytes";
const ANCESTOR: &str = "fastapi-cache2, in memory";
const ANCESTOR_REDIS: &str = "fastapi-cache2, from Redis";
const UNCACHED: &str = "the same under FastAPI, without a cache";

const PATH: &str = "/users/7";

/// What the ancestor needs, as of its last release.
const PACKAGES: [&str; 4] = [
    "fastapi-cache2[redis]==0.2.2",
    "fastapi==0.115.6",
    "uvicorn[standard]==0.34.0",
    "redis==4.6.0",
];

struct Asked {
    name: &'static str,
    address: String,
    path: &'static str,
    _server: Option<Server>,
}

/// All servers are up at once, and idle but for the one whose turn it is.
pub(super) fn measure(is_quick: bool, redis: Option<&str>) -> Result<Vec<Table>> {
    install::debian(&[("wrk", "wrk")])?;
    let mut servers = vec![
        rust(OURS, "cached")?,
        rust(LAYER, "layer")?,
        rust(READY, "ready")?,
    ];
    if let Some(ancestor) = if_possible(ancestor(redis))? {
        servers.extend(ancestor);
    }
    for asked in &servers {
        for _ in 0..2 {
            let reply = http::send(&asked.address, "GET", asked.path, &[])?;
            ensure!(reply.status == 200, "{} answered {reply:?}", asked.name);
        }
    }
    let (rounds, seconds) = if is_quick { (3, 1) } else { (9, 3) };
    let mut counted = vec![Vec::new(); servers.len()];
    for round in 0..rounds {
        println!("$ wrk, round {} of {rounds}", round + 1);
        for place in 0..servers.len() {
            let who = (round + place) % servers.len();
            counted[who].push(requests(&servers[who], seconds)?);
        }
    }
    Ok(vec![table(&servers, &counted)])
}

fn table(servers: &[Asked], counted: &[Vec<f64>]) -> Table {
    let rows = servers.iter().zip(counted).map(|(asked, values)| Row {
        name: asked.name.to_owned(),
        value: Spread::of(values.iter().copied()),
        ratio: Spread::of(values.iter().zip(&counted[0]).map(|(it, ours)| it / ours)),
    });
    let rows: Vec<Row> = rows.collect();
    let ratio = |name| {
        let row = rows.iter().find(|row| row.name == name);
        row.map(|row| 1.0 / row.ratio.median)
    };
    let mut goals = Vec::new();
    for (name, least) in [(READY, 0.95), (ANCESTOR, 20.0), (ANCESTOR_REDIS, 20.0)] {
        if let Some(times) = ratio(name) {
            goals.push(Goal {
                text: format!("at least {least} times what {name} serves: {times:.2} times"),
                is_met: times >= least,
            });
        }
    }
    Table {
        title: "HTTP hit under `wrk -t1 -c32`, one process each".to_owned(),
        unit: "requests/s".to_owned(),
        rows,
        goals,
    }
}

fn rust(name: &'static str, what: &str) -> Result<Asked> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(release("bench-server")?);
    command.args([what, &address]);
    Ok(Asked {
        name,
        address,
        path: PATH,
        _server: Some(Server::spawn(command, port)?),
    })
}

/// The ancestor and FastAPI alone, in memory, and over Redis if there is one.
fn ancestor(redis: Option<&str>) -> Result<Vec<Asked>> {
    let environment = install::python_packages("fastapi-cache2==0.2.2", &PACKAGES)?;
    let mut asked = vec![uvicorn(&environment, ANCESTOR, PATH, None)?];
    if redis.is_some() {
        asked.push(uvicorn(&environment, ANCESTOR_REDIS, PATH, redis)?);
    }
    asked.push(Asked {
        name: UNCACHED,
        address: asked[0].address.clone(),
        path: "/uncached/7",
        _server: None,
    });
    Ok(asked)
}

fn uvicorn(
    environment: &Path,
    name: &'static str,
    path: &'static str,
    redis: Option<&str>,
) -> Result<Asked> {
    let port = free_port()?;
    let mut command = Command::new(environment.join("bin/python"));
    command
        .args(["-m", "uvicorn", "--no-access-log", "--log-level", "error"])
        .args(["--host", "127.0.0.1", "--port", &port.to_string()])
        .arg("--app-dir")
        .arg(folder().join("fastapi"))
        .arg("app:app")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(redis.map(|url| ("REDIS_URL", url)));
    Ok(Asked {
        name,
        address: format!("127.0.0.1:{port}"),
        path,
        _server: Some(Server::spawn(command, port)?),
    })
}

/// Requests a second.
fn requests(asked: &Asked, seconds: u32) -> Result<f64> {
    let url = format!("http://{}{}", asked.address, asked.path);
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{seconds}s"), &url])
        .output()
        .context("wrk could not be started")?;
    let text = String::from_utf8(output.stdout)?;
    let is_clean = !text.contains("Non-2xx") && !text.contains("Socket errors");
    ensure!(is_clean, "{} failed under load: {text}", asked.name);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let count = line.with_context(|| format!("wrk printed {text:?}"))?;
    Ok(count.trim().parse()?)
}
