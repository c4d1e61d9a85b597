//! The servers that tests run against: installed where they are missing, started on free ports of
//! the loopback, and stopped when the tests are over.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// The environment variable that gives tests the address of a Redis server.
const REDIS: &str = "FAST_CACHE_TEST_REDIS";
/// Programs that the Redis tests run, and the packages of Debian that have them.
const REDIS_PROGRAMS: [(&str, &str); 3] = [
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("openssl", "openssl"),
];

/// `cargo xtask services`.
pub(crate) fn run() -> Result<()> {
    let services = Services::start()?;
    for (name, value) in services.environment() {
        println!("export {name}={value}");
    }
    println!("press Enter to stop them");
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

/// Running servers. They are killed when this is dropped.
#[derive(Default)]
pub(crate) struct Services {
    servers: Vec<Server>,
    environment: Vec<(&'static str, String)>,
}

impl Services {
    /// Starts every server. Where one cannot be had, that is an error on CI, and elsewhere a loud
    /// line, and the tests that need it say so themselves.
    pub(crate) fn start() -> Result<Self> {
        let mut services = Self::default();
        if let Err(error) = services.start_redis() {
            if std::env::var_os("CI").is_some() {
                return Err(error);
            }
            println!("NOT TESTED: Redis, since {error:#}");
        }
        Ok(services)
    }

    /// What the tests have to find in their environment.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        let variables = self.environment.iter();
        variables
            .map(|(name, value)| (*name, value.as_str()))
            .collect()
    }

    /// The URL of the Redis server, if there is one.
    pub(crate) fn redis(&self) -> Option<&str> {
        let mut variables = self.environment.iter();
        let url = variables.find(|(name, _)| *name == REDIS)?;
        Some(&url.1)
    }

    fn start_redis(&mut self) -> Result<()> {
        install(&REDIS_PROGRAMS)?;
        let port = free_port()?;
        let directory = temporary_directory("redis", port)?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string());
        let server = Server::start(command, directory, port)?;
        self.servers.push(server);
        self.environment
            .push((REDIS, format!("redis://127.0.0.1:{port}")));
        Ok(())
    }
}

/// A server in a directory of its own.
struct Server {
    process: Child,
    directory: PathBuf,
}

impl Server {
    fn start(mut command: Command, directory: PathBuf, port: u16) -> Result<Self> {
        let process = command
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?} could not be started"))?;
        let mut server = Self { process, directory };
        server.wait_until_it_listens(port)?;
        Ok(server)
    }

    fn wait_until_it_listens(&mut self, port: u16) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(10);

        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(began.elapsed() < PATIENCE, "the server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and the directory may be gone: both are what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Installs the packages of the programs that are missing.
fn install(programs: &[(&str, &str)]) -> Result<()> {
    let missing = programs.iter().filter(|(program, _)| !exists(program));
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let wanted = packages.join(" ");
    ensure!(
        exists("apt-get"),
        "there is no apt-get to install {wanted} with"
    );
    println!("$ apt-get install {wanted}");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .args(["-q", "-y"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.stdout(Stdio::null()).status()
    };
    apt(&["update"]).context("apt-get could not be started")?;
    let install = [&["install", "--no-install-recommends"], &packages[..]].concat();
    let status = apt(&install).context("apt-get could not be started")?;
    ensure!(status.success(), "{wanted} could not be installed");
    Ok(())
}

fn exists(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|path| path.join(program).is_file())
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn temporary_directory(name: &str, port: u16) -> Result<PathBuf> {
    let own = std::process::id();
    let directory = std::env::temp_dir().join(format!("fast-cache-{name}-{own}-{port}"));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}
