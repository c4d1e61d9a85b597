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
const READY_WITH_HEADERS: &str = "the same, with the headers of a hit";
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
    process: u32,
    /// Killed when this is dropped; none where another one's server is asked.
    _server: Option<Server>,
}

/// What a server did in a round.
#[derive(Clone, Copy)]
struct Served {
    per_second: f64,
    /// Of processor time, for one request.
    microseconds: f64,
}

/// All servers are up at once, and idle but for the one whose turn it is.
pub(super) fn measure(is_quick: bool, redis: Option<&str>) -> Result<Vec<Table>> {
    install::debian(&[("wrk", "wrk")])?;
    let mut servers = vec![
        rust(OURS, "cached")?,
        rust(LAYER, "layer")?,
        rust(READY, "ready")?,
        rust(READY_WITH_HEADERS, "headers")?,
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
            counted[who].push(load(&servers[who], seconds)?);
        }
    }
    Ok(vec![served(&servers, &counted), spent(&servers, &counted)])
}

/// Where the load takes more of the machine than the server does, this says little of the server.
fn served(servers: &[Asked], counted: &[Vec<Served>]) -> Table {
    let rows = rows(servers, counted, |served| served.per_second);
    let mut goals = Vec::new();
    for (name, least) in [(READY, 0.95), (ANCESTOR, 20.0), (ANCESTOR_REDIS, 20.0)] {
        if let Some(row) = rows.iter().find(|row| row.name == name) {
            let times = 1.0 / row.ratio.median;
            goals.push(Goal {
                text: format!("at least {least} times what {name} serves: {times:.2} times"),
                is_met: times >= least,
            });
        }
    }
    Table {
        title: "HTTP hit under `wrk -t1 -c32`, one process of one thread each".to_owned(),
        unit: "requests/s".to_owned(),
        rows,
        goals,
    }
}

fn spent(servers: &[Asked], counted: &[Vec<Served>]) -> Table {
    Table {
        title: "processor time of the server for an HTTP hit, in the same rounds".to_owned(),
        unit: "µs".to_owned(),
        rows: rows(servers, counted, |served| served.microseconds),
        goals: Vec::new(),
    }
}

fn rows(servers: &[Asked], counted: &[Vec<Served>], of: impl Fn(&Served) -> f64) -> Vec<Row> {
    let rows = servers.iter().zip(counted).map(|(asked, rounds)| Row {
        name: asked.name.to_owned(),
        value: Spread::of(rounds.iter().map(&of)),
        ratio: Spread::of(
            rounds
                .iter()
                .zip(&counted[0])
                .map(|(it, ours)| of(it) / of(ours)),
        ),
    });
    rows.collect()
}

fn rust(name: &'static str, what: &str) -> Result<Asked> {
    let port = free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(release("bench-server")?);
    command.args([what, &address]);
    let server = Server::spawn(command, port)?;
    Ok(Asked {
        name,
        address,
        path: PATH,
        process: server.id(),
        _server: Some(server),
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
        process: asked[0].process,
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
    let server = Server::spawn(command, port)?;
    Ok(Asked {
        name,
        address: format!("127.0.0.1:{port}"),
        path,
        process: server.id(),
        _server: Some(server),
    })
}

fn load(asked: &Asked, seconds: u32) -> Result<Served> {
    let url = format!("http://{}{}", asked.address, asked.path);
    let before = ticks(asked.process)?;
    let output = Command::new("wrk")
        .args(["-t1", "-c32", &format!("-d{seconds}s"), &url])
        .output()
        .context("wrk could not be started")?;
    let spent = ticks(asked.process)? - before;
    let text = String::from_utf8(output.stdout)?;
    let is_clean = !text.contains("Non-2xx") && !text.contains("Socket errors");
    ensure!(is_clean, "{} failed under load: {text}", asked.name);
    let number = |line: Option<&str>| {
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse::<f64>().ok())
    };
    let per_second = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"));
    let requests = text.lines().find(|line| line.contains(" requests in "));
    let counts = number(per_second).zip(number(requests));
    let (per_second, requests) = counts.with_context(|| format!("wrk printed {text:?}"))?;
    /// Linux counts in hundredths of a second here, whatever its own clock does.
    const MICROSECONDS: f64 = 10_000.0;
    Ok(Served {
        per_second,
        microseconds: spent as f64 * MICROSECONDS / requests,
    })
}

/// How much processor time a process has taken, in user mode and in the kernel.
fn ticks(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Its second field, the name, ends with the last parenthesis.
    let (_, fields) = text.rsplit_once(')').context("no process")?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut next = || {
        fields
            .next()
            .context("no times")?
            .parse()
            .map_err(anyhow::Error::from)
    };
    let (user, system): (u64, u64) = (next()?, next()?);
    Ok(user + system)
}
