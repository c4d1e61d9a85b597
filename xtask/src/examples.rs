//! The examples start, and answer as their comments say.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::http::{Reply, send};
use crate::services::Services;
use crate::steps::Steps;

/// An example whose instances share a store.
struct Shared {
    example: &'static str,
    /// The variable that tests find the server in.
    service: &'static str,
    /// The variable that the example finds it in.
    variable: &'static str,
    environment: &'static [(&'static str, &'static str)],
    /// What it says when it has cleared a namespace of one entry.
    cleared: &'static str,
}

const SHARED: [Shared; 3] = [
    Shared {
        example: "redis-example",
        service: "FAST_CACHE_TEST_REDIS",
        variable: "REDIS_URL",
        environment: &[],
        cleared: "cleared 1\n",
    },
    Shared {
        example: "memcached-example",
        service: "FAST_CACHE_TEST_MEMCACHED",
        variable: "MEMCACHED",
        environment: &[],
        cleared: "cleared\n",
    },
    Shared {
        example: "dynamodb-example",
        service: "FAST_CACHE_TEST_DYNAMODB",
        variable: "AWS_ENDPOINT_URL_DYNAMODB",
        environment: &[
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "example"),
            ("AWS_SECRET_ACCESS_KEY", "example"),
        ],
        cleared: "cleared\n",
    },
];

/// Checks the examples, which have been built.
pub(crate) fn check(steps: &mut Steps, services: &Services) -> Result<()> {
    steps.step("the example functions", functions)?;
    steps.step("the example quickstart", quickstart)?;
    steps.step("the example custom-backend", custom_backend)?;
    steps.step("the example custom-coder-and-key", custom_coder_and_key)?;
    if services.address("FAST_CACHE_TEST_REDIS").is_some() {
        steps.step("the example resilient", resilient)?;
    }
    for shared in &SHARED {
        if let Some(address) = services.address(shared.service) {
            let step = format!("the example {}", shared.example);
            steps.step(&step, || across_instances(shared, address))?;
        }
    }
    Ok(())
}

fn functions() -> Result<()> {
    let output = Command::new(program("functions")?).output()?;
    ensure!(output.status.success(), "it ended with {}", output.status);
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        text.contains("5 hits, 9 misses, 7 stored"),
        "it printed {text}"
    );
    Ok(())
}

/// It fails by itself if a caller is not answered.
fn resilient() -> Result<()> {
    let output = Command::new(program("resilient")?).output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(output.status.success(), "it printed {text}");
    ensure!(text.contains("Redis is back"), "it printed {text}");
    Ok(())
}

fn quickstart() -> Result<()> {
    let server = Server::start("quickstart", &[])?;
    let miss = server.get("/products/1", &[])?;
    expect(&miss, 200, "MISS")?;
    let hit = server.get("/products/1", &[])?;
    expect(&hit, 200, "HIT")?;
    ensure!(
        miss.body == hit.body && !hit.body.is_empty(),
        "the bodies differ"
    );
    let tag = hit.header("etag").context("no etag")?;
    ensure!(miss.header("etag") == Some(tag), "the tags differ");
    ensure!(hit.header("age").is_some(), "no age");

    let unchanged = server.get("/products/1", &[&format!("if-none-match: {tag}")])?;
    expect(&unchanged, 304, "HIT")?;
    ensure!(unchanged.body.is_empty(), "a 304 has no body");
    expect(
        &server.get("/products/1", &["cache-control: no-cache"])?,
        200,
        "MISS",
    )?;
    expect(
        &server.get("/products/1", &["cache-control: no-store"])?,
        200,
        "-",
    )?;

    let head = server.send("HEAD", "/products/1", &[])?;
    expect(&head, 200, "HIT")?;
    ensure!(head.body.is_empty(), "a reply to HEAD has no body");
    ensure!(
        head.header("content-length") == hit.header("content-length"),
        "the lengths differ"
    );
    expect(&server.send("POST", "/products/1", &[])?, 200, "-")?;
    for _ in 0..2 {
        expect(&server.get("/products/1000", &[])?, 404, "-")?;
    }
    let category = server.get("/categories/tea", &[])?;
    expect(&category, 200, "MISS")?;
    ensure!(
        category.header("content-language") == Some("en"),
        "no header of its own"
    );

    let cleared = server.send("POST", "/clear", &[])?;
    ensure!(
        cleared.body == "cleared 2\n",
        "it answered {:?}",
        cleared.body
    );
    expect(&server.get("/products/1", &[])?, 200, "MISS")
}

fn custom_backend() -> Result<()> {
    let directory = std::env::temp_dir().join(format!("fast-cache-{}", std::process::id()));
    let environment = [("CACHE_DIRECTORY", directory.display().to_string())];
    let checked = across_restarts(&environment);
    std::fs::remove_dir_all(&directory).context("the directory was not made")?;
    checked
}

fn across_restarts(environment: &[(&str, String)]) -> Result<()> {
    let server = Server::start("custom-backend", environment)?;
    let miss = server.get("/squares/12", &[])?;
    expect(&miss, 200, "MISS")?;
    drop(server);

    let server = Server::start("custom-backend", environment)?;
    let hit = server.get("/squares/12", &[])?;
    expect(&hit, 200, "HIT")?;
    ensure!(
        miss.body == hit.body && hit.body.contains("144"),
        "it answered {:?}",
        hit.body
    );
    let tag = hit.header("etag").context("no etag")?;
    expect(
        &server.get("/squares/12", &[&format!("if-none-match: {tag}")])?,
        304,
        "HIT",
    )?;
    let cleared = server.send("POST", "/clear", &[])?;
    ensure!(
        cleared.body == "cleared 1\n",
        "it answered {:?}",
        cleared.body
    );
    expect(&server.get("/squares/12", &[])?, 200, "MISS")
}

fn custom_coder_and_key() -> Result<()> {
    let server = Server::start("custom-coder-and-key", &[])?;
    expect(&server.get("/search?text=tea&page=1", &[])?, 200, "MISS")?;
    expect(&server.get("/search?page=1&text=tea", &[])?, 200, "HIT")?;
    for cache in ["MISS", "HIT"] {
        expect(&server.get("/reports/2026", &[])?, 200, cache)?;
        expect(&server.get("/users/42", &[])?, 200, cache)?;
    }
    let keys = server.get("/keys", &[])?.body;
    for key in [
        "example:search:GET:/search:page=1&text=tea",
        "example:users:user:42",
    ] {
        ensure!(
            keys.lines().any(|line| line == key),
            "{key} is not among {keys}"
        );
    }
    Ok(())
}

fn across_instances(shared: &Shared, address: &str) -> Result<()> {
    let mut environment = vec![(shared.variable, address.to_owned())];
    let more = shared.environment.iter();
    environment.extend(more.map(|(name, value)| (*name, (*value).to_owned())));
    let one = Server::start(shared.example, &environment)?;
    let another = Server::start(shared.example, &environment)?;
    let miss = one.get("/squares/12", &[])?;
    expect(&miss, 200, "MISS")?;
    let hit = another.get("/squares/12", &[])?;
    expect(&hit, 200, "HIT")?;
    ensure!(miss.body == hit.body, "the bodies differ");
    ensure!(miss.header("etag") == hit.header("etag"), "the tags differ");
    let cleared = another.send("POST", "/clear", &[])?;
    ensure!(
        cleared.body == shared.cleared,
        "it answered {:?}",
        cleared.body
    );
    expect(&one.get("/squares/12", &[])?, 200, "MISS")
}

fn expect(reply: &Reply, status: u16, cache: &str) -> Result<()> {
    let is_expected = reply.status == status && reply.cache() == cache;
    ensure!(
        is_expected,
        "expected {status} and {cache}, and got {reply:?}"
    );
    Ok(())
}

/// An example that serves, until it is dropped.
struct Server {
    process: Child,
    /// Kept open, since a server that prints to a closed pipe ends.
    stdout: Option<BufReader<ChildStdout>>,
    address: String,
}

impl Server {
    fn start(name: &str, environment: &[(&str, String)]) -> Result<Self> {
        let process = Command::new(program(name)?)
            .env("ADDR", "127.0.0.1:0")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let mut server = Self {
            process,
            stdout: None,
            address: String::new(),
        };
        let stdout = server.process.stdout.take().context("no output")?;
        let mut line = String::new();
        server
            .stdout
            .insert(BufReader::new(stdout))
            .read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://");
        server.address = address
            .with_context(|| format!("it printed {line:?}"))?
            .to_owned();
        Ok(server)
    }

    fn get(&self, path: &str, headers: &[&str]) -> Result<Reply> {
        self.send("GET", path, headers)
    }

    fn send(&self, method: &str, path: &str, headers: &[&str]) -> Result<Reply> {
        send(&self.address, method, path, headers)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is what is wanted here.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where cargo puts a program: beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this program is nowhere")?;
    Ok(folder
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION))
}
