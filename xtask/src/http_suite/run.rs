//! One run of the tests: their client asks the proxy, which asks their server.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::own_file;
use super::results::Results;
use crate::examples;
use crate::services::server::{Server, free_port};

/// The example that is tested.
pub(super) const PROXY: &str = "reverse-proxy";

/// How it is set up, besides its addresses and its store: as the tests expect of a shared cache.
const OPTIONS: [&str; 4] = [
    "--heuristic",
    "--store-set-cookie",
    "--stale-if-error",
    "3600",
];

/// Runs the tests of the package in this folder against the proxy, which keeps what it stores in
/// memory or in Redis.
pub(super) fn run(package: &Path, redis: Option<&str>) -> Result<Results> {
    let (upstream, listen) = (free_port()?, free_port()?);
    // They are stopped in the reverse order, when this ends in whichever way.
    let _origin = start_origin(package, upstream).context("the server of the tests")?;
    let _proxy = start_proxy(upstream, listen, redis).context(PROXY)?;
    Results::parse(&ask(package, listen)?)
}

fn start_origin(package: &Path, port: u16) -> Result<Server> {
    let mut origin = Command::new("node");
    origin
        .arg("--no-warnings")
        .arg(own_file("src/http_suite/serve.mjs"))
        .arg(package)
        .env("npm_config_protocol", "http")
        .env("npm_config_port", port.to_string())
        // It writes this file whether anybody wants it or not, into the directory that it gets.
        .env("npm_config_pidfile", "server.pid")
        .stdout(Stdio::null());
    Server::spawn(origin, port)
}

fn start_proxy(upstream: u16, listen: u16, redis: Option<&str>) -> Result<Server> {
    let mut proxy = Command::new(examples::program(PROXY)?);
    proxy
        .args(["--upstream", &format!("http://127.0.0.1:{upstream}")])
        .args(["--listen", &format!("127.0.0.1:{listen}")])
        .args(OPTIONS)
        .args(redis.map(|address| ["--redis", address]).iter().flatten())
        // What it warns of is shown: the tests break a few connections, and all else is of interest.
        .stdout(Stdio::null());
    Server::spawn(proxy, listen)
}

/// Runs the client of the tests to its end, and gives what it prints.
fn ask(package: &Path, port: u16) -> Result<String> {
    /// A run takes a minute, most of which it waits for responses to become stale.
    const PATIENCE: Duration = Duration::from_secs(5 * 60);

    let client = Command::new("node")
        .args(["--no-warnings", "cli.mjs"])
        .current_dir(package)
        .env("npm_config_base", format!("http://127.0.0.1:{port}"))
        // Both are looked at for the one test to run; all are run if they are empty.
        .env("npm_config_id", "")
        .env("npm_package_config_id", "")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("node could not be started")?;
    let mut client = Client(client);
    let mut stdout = client.0.stdout.take().context("no output")?;
    // A pipe that nobody empties would stop the client.
    let reader = thread::spawn(move || io::read_to_string(&mut stdout));
    let status = client.wait(PATIENCE)?;
    ensure!(
        status.success(),
        "the client of the tests ended with {status}"
    );
    let printed = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    printed.context("what the client prints is no text")
}

/// The client, which is killed if it is not waited for to its end.
struct Client(Child);

impl Client {
    fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            ensure!(began.elapsed() < patience, "the tests take too long");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It has ended by itself, unless something went wrong.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
