//! Redis servers of the tests' own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use redis::{FromRedisValue, ToRedisArgs};
use tempfile::TempDir;

/// A running server, which is killed and forgotten when this is dropped.
pub(crate) struct Server {
    process: Child,
    directory: TempDir,
    port: u16,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server on a free port of the loopback, with these further arguments.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut all = vec!["--port".to_owned(), port.to_string()];
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self::run(directory, port, all)
    }

    /// Starts a server that takes TLS connections alone, with these certificates.
    pub(crate) fn start_tls(certificates: &Certificates, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut all = vec!["--port".to_owned(), "0".to_owned()];
        all.extend(["--tls-port".to_owned(), port.to_string()]);
        for (option, name) in [
            ("--tls-ca-cert-file", "ca.pem"),
            ("--tls-cert-file", "server.pem"),
            ("--tls-key-file", "server.key"),
        ] {
            all.extend([option.to_owned(), certificates.path(name)]);
        }
        all.extend(["--tls-auth-clients".to_owned(), "no".to_owned()]);
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self::run(directory, port, all)
    }

    /// Starts a sentinel that watches the service `cache` of one master, alone.
    pub(crate) fn start_sentinel(master: &Server) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let configuration = directory.path().join("sentinel.conf");
        let lines = [
            format!("port {port}"),
            format!("sentinel monitor cache 127.0.0.1 {} 1", master.port),
            "sentinel down-after-milliseconds cache 1000".to_owned(),
        ];
        std::fs::write(&configuration, lines.join("\n")).unwrap();
        let arguments = vec![
            configuration.display().to_string(),
            "--sentinel".to_owned(),
            "--bind".to_owned(),
            "127.0.0.1".to_owned(),
        ];
        let process = spawn(directory.path(), &arguments, "+monitor master cache");
        Self {
            process,
            directory,
            port,
            arguments,
        }
    }

    fn run(directory: TempDir, port: u16, mut arguments: Vec<String>) -> Self {
        for (option, value) in [("--bind", "127.0.0.1"), ("--save", "")] {
            arguments.extend([option.to_owned(), value.to_owned()]);
        }
        let process = spawn(directory.path(), &arguments, "eady to accept connections");
        Self {
            process,
            directory,
            port,
            arguments,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again, after it was killed, where it was before. Its values are gone.
    pub(crate) fn restart(&mut self, arguments: &[&str]) {
        let mut all = self.arguments.clone();
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self.process = spawn(self.directory.path(), &all, "eady to accept connections");
    }

    /// Sends the process a signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        run(Command::new("kill").args(["-s", signal, &pid]));
    }

    /// Runs one command on a connection of its own, as the default user without a password.
    pub(crate) async fn command<T: FromRedisValue>(&self, words: impl ToRedisArgs) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::Cmd::new();
        command.arg(words);
        command.query_async(&mut connection).await.unwrap()
    }

    /// How often each command was called, as `INFO commandstats` tells it.
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        let text: String = self.command(&["INFO", "commandstats"]).await;
        let start = format!("cmdstat_{command}:calls=");
        text.lines()
            .find_map(|line| line.strip_prefix(&start)?.split(',').next()?.parse().ok())
            .unwrap_or(0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts a cluster of three masters, which have all slots between them.
pub(crate) async fn cluster() -> Vec<Server> {
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])
        })
        .collect();
    let addresses: Vec<_> = servers.iter().map(Server::address).collect();
    let mut arguments = vec!["--cluster", "create"];
    arguments.extend(addresses.iter().map(String::as_str));
    arguments.push("--cluster-yes");
    run(Command::new("redis-cli").args(arguments));
    for server in &servers {
        loop {
            let state: String = server.command(&["CLUSTER", "INFO"]).await;
            if state.contains("cluster_state:ok") {
                break;
            }
        }
    }
    servers
}

/// Moves this many slots from one master of a cluster to another, with the keys in them.
#[cfg(feature = "json")]
pub(crate) fn move_slots(from: &str, to: &str, slots: u32) {
    let id = |address: &str| {
        let (host, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new("redis-cli");
        run(command.args(["-h", host, "-p", port, "CLUSTER", "MYID"]))
            .trim()
            .to_owned()
    };
    let mut command = Command::new("redis-cli");
    command.args(["--cluster", "reshard", from, "--cluster-yes"]);
    command.args(["--cluster-from", &id(from), "--cluster-to", &id(to)]);
    command.args(["--cluster-slots", &slots.to_string()]);
    run(&mut command);
}

/// Starts a cluster of one master, which takes TLS connections alone.
pub(crate) fn tls_cluster(certificates: &Certificates) -> Server {
    let bus = free_port().to_string();
    // Without `--tls-cluster`, the server tells everybody the port that it does not have.
    let options = "--cluster-enabled yes --tls-cluster yes --cluster-port";
    let options: Vec<_> = options.split(' ').chain([&*bus]).collect();
    let server = Server::start_tls(certificates, &options);
    let authority = certificates.path("ca.pem");
    let port = server.port.to_string();
    let command = |words: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args(["--tls", "--cacert", &authority, "-p", &port]);
        run(command.args(words))
    };
    command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    while !command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {}
    server
}

/// A certification authority, and a certificate of it for 127.0.0.1.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make() -> Self {
        const STEPS: [&str; 3] = [
            "req -x509 -subj /CN=ca -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem",
            "req -subj /CN=server -newkey rsa:2048 -nodes -keyout server.key -out request.pem",
            "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial \
             -extfile extensions -out server.pem",
        ];
        let made = Self(tempfile::tempdir().unwrap());
        let extensions = "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
        std::fs::write(made.path("extensions"), extensions).unwrap();
        for step in STEPS {
            let mut command = Command::new("openssl");
            run(command.args(step.split(' ')).current_dir(made.0.path()));
        }
        made
    }

    pub(crate) fn authority(&self) -> Vec<u8> {
        std::fs::read(self.path("ca.pem")).unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// Starts `redis-server`, and waits until it writes that it is ready.
fn spawn(directory: &Path, arguments: &[String], ready: &str) -> Child {
    let mut process = Command::new("redis-server")
        .args(arguments)
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server must be installed where FAST_CACHE_TEST_REDIS is set");
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut log = String::new();
    while !log.contains(ready) {
        let read = output.read_line(&mut log).unwrap();
        assert_ne!(read, 0, "redis-server did not start:\n{log}");
    }
    // Nobody reads the rest, but a full pipe would stop the server.
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    process
}

/// Runs a program to its end, and gives what it wrote.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}:\n{text}{errors}");
    text.into_owned()
}

/// A port that nobody has, and that no other server of this process is given. It lies below those
/// that systems give to outgoing connections, one of which could take it before the server does.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    loop {
        let number = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + number % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
