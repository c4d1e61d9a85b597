//! `MemcachedBackend`, against real servers, and against one that answers what the test says.
//!
//! The tests run where `FAST_CACHE_TEST_MEMCACHED` holds the address of a server, of which they use
//! a few keys. Those that stop or fill a server start their own, and need `memcached`.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fast_cache::{Backend, Error, MemcachedBackend, MemcachedOptions};
#[cfg(feature = "json")]
use fast_cache::{Cache, Config, cache};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The address of the server to test against, or `None`, loudly, where there is none. On CI that is
/// a failure.
pub(crate) fn server_address() -> Option<String> {
    let address = std::env::var("FAST_CACHE_TEST_MEMCACHED").ok();
    if address.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "FAST_CACHE_TEST_MEMCACHED must be set on CI"
        );
        eprintln!(
            "SKIPPED, NOT TESTED: set FAST_CACHE_TEST_MEMCACHED=host:port to test MemcachedBackend"
        );
    }
    address
}

/// Patience for a machine that runs many servers at once.
fn options() -> MemcachedOptions {
    MemcachedOptions::new()
        .connect_timeout(Duration::from_secs(10))
        .response_timeout(Duration::from_secs(3))
}

/// A server of the test's own, which is killed when this is dropped.
pub(crate) struct Server {
    process: Child,
    port: u16,
    arguments: Vec<String>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let arguments = arguments.iter().map(|&argument| argument.to_owned());
        let arguments = arguments.collect::<Vec<_>>();
        Self {
            process: spawn(port, &arguments),
            port,
            arguments,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port, &self.arguments);
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let status = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, arguments: &[String]) -> Child {
    let process = Command::new("memcached")
        .args(["-u", "nobody", "-l", "127.0.0.1", "-U", "0", "-p"])
        .arg(port.to_string())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
    process
}

/// Sends a line to a server by hand, and gives the first line of its answer.
async fn by_hand(address: &str, text: &str) -> String {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    line
}

#[tokio::test]
async fn a_key_cannot_smuggle_a_command() {
    let Some(address) = server_address() else {
        return;
    };
    let backend = options().connect(&address).await.unwrap();
    backend
        .set("smuggled:canary", Bytes::from_static(b"alive"), None)
        .await
        .unwrap();
    let keys = [
        "smuggled:x\r\ndelete smuggled:canary\r\n",
        "smuggled:x\ndelete smuggled:canary",
        "smuggled:x smuggled:canary",
        "",
        "smuggled:é",
        &"x".repeat(251),
    ];
    for key in keys {
        assert!(backend.get(key).await.is_err());
        assert!(backend.set(key, Bytes::new(), None).await.is_err());
        let replaced = backend.replace(key, None, Bytes::new(), None).await;
        assert!(replaced.is_err());
    }
    let found = backend.get("smuggled:canary").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"alive"[..]));
}

#[tokio::test]
async fn a_value_over_the_limit_is_a_clear_error_and_leaves_the_connection_usable() {
    if server_address().is_none() {
        return;
    }
    let server = Server::start(&["-I", "512k"]);
    let large = Bytes::from(vec![7; 600 << 10]);

    // The client's own `set` is told nothing, even with a `version` behind it: the first answer is
    // the version's.
    let text = format!("set silent 0 0 {} noreply\r\n", large.len());
    let body = String::from_utf8(large.to_vec()).unwrap();
    let answer = by_hand(&server.address(), &(text + &body + "\r\nversion\r\n")).await;
    assert!(answer.starts_with("VERSION"), "{answer}");

    let told = options().max_item(512 << 10);
    let told = told.connect(&server.address()).await.unwrap();
    let error = told.set("large", large.clone(), None).await.unwrap_err();
    assert!(error.to_string().contains("524288"), "{error}");

    let untold = options().connect(&server.address()).await.unwrap();
    let error = untold.set("large", large, None).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("too large"), "{cause}");
    for backend in [&told, &untold] {
        assert_eq!(backend.get("large").await.unwrap(), None);
        let small = Bytes::from_static(b"small");
        backend.set("small", small.clone(), None).await.unwrap();
        assert_eq!(backend.get("small").await.unwrap(), Some(small));
    }
}

/// A server that answers each connection as `answer` says, given its number and what was asked.
async fn scripted(answer: fn(usize, &str) -> &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                    let reply = match line.trim() {
                        "version" => "VERSION 1.6\r\n",
                        line => answer(number, line),
                    };
                    stream.write_all(reply.as_bytes()).await.unwrap();
                    line.clear();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn the_rest_of_a_dropped_calls_answer_reaches_nobody() {
    // The first connection answers half, and the rest when it is asked again.
    let address = scripted(|connection, line| match (connection, line) {
        (0, "get one") => "VALUE one 0 3\r\non",
        (0, _) => "e\r\nEND\r\n",
        (_, "get two") => "VALUE two 0 3\r\ntwo\r\nEND\r\n",
        _ => "END\r\n",
    })
    .await;
    let backend = options()
        .max_connections(1)
        .connect(&address)
        .await
        .unwrap();
    let impatience = Duration::from_millis(200);
    let dropped = tokio::time::timeout(impatience, backend.get("one")).await;
    assert!(dropped.is_err());
    let found = backend.get("two").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn an_answer_that_comes_too_late_reaches_nobody() {
    let address = scripted(|connection, line| match (connection, line) {
        (0, "get one") => "",
        (0, _) => "VALUE one 0 3\r\none\r\nEND\r\n",
        (_, "get two") => "VALUE two 0 3\r\ntwo\r\nEND\r\n",
        _ => "END\r\n",
    })
    .await;
    let options = options().response_timeout(Duration::from_millis(200));
    let backend = options.max_connections(1).connect(&address).await.unwrap();
    let error = backend.get("one").await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    let found = backend.get("two").await.unwrap();
    assert_eq!(found.as_deref(), Some(&b"two"[..]));
}

#[tokio::test]
async fn an_answer_that_is_none_is_an_error() {
    let address = scripted(|_, line| match line {
        "get garbage" => "HTTP/1.1 400 Bad Request\r\n",
        "get length" => "VALUE length 0 many\r\n",
        "get error" => "SERVER_ERROR out of memory\r\n",
        _ => "END\r\n",
    })
    .await;
    let backend = options().connect(&address).await.unwrap();
    for key in ["garbage", "length", "error"] {
        assert!(backend.get(key).await.is_err(), "{key}");
    }
    assert_eq!(backend.get("absent").await.unwrap(), None);
}

#[tokio::test]
async fn a_key_that_vanishes_or_changes_between_a_look_and_a_write_is_looked_at_again() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ASKED: AtomicUsize = AtomicUsize::new(0);

    let address = scripted(|_, line| {
        // What follows a command is its value.
        if !line.contains(' ') {
            let answers = [
                "NOT_STORED\r\n",
                "EXISTS\r\n",
                "NOT_FOUND\r\n",
                "NOT_STORED\r\n",
                "STORED\r\n",
            ];
            return answers[ASKED.fetch_add(1, Ordering::SeqCst)];
        }
        match (line.split(' ').next(), ASKED.load(Ordering::SeqCst)) {
            (Some("gets"), 1 | 2 | 4) => "VALUE key 0 3 9\r\nold\r\nEND\r\n",
            (Some("gets"), _) => "END\r\n",
            _ => "",
        }
    })
    .await;
    let backend = options().connect(&address).await.unwrap();
    let new = Bytes::from_static(b"new");
    let stored = backend.replace("key", Some(b"old"), new, None).await;
    assert!(stored.unwrap());
    assert_eq!(ASKED.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    if server_address().is_none() {
        return;
    }
    let mut server = Server::start(&[]);
    let backend = options().connect(&server.address()).await.unwrap();
    let value = Bytes::from_static(b"value");
    backend.set("key", value.clone(), None).await.unwrap();
    server.kill();
    assert!(backend.get("key").await.is_err());
    assert!(backend.set("key", value.clone(), None).await.is_err());
    server.restart();
    assert_eq!(backend.get("key").await.unwrap(), None);
    backend.set("key", value.clone(), None).await.unwrap();
    assert_eq!(backend.get("key").await.unwrap(), Some(value));
}

#[tokio::test]
async fn a_server_that_hangs_costs_the_response_timeout() {
    if server_address().is_none() {
        return;
    }
    let server = Server::start(&[]);
    let options = options().response_timeout(Duration::from_millis(100));
    let backend = options.connect(&server.address()).await.unwrap();
    server.signal("STOP");
    // It may answer what it is about to.
    while backend.get("key").await.is_ok() {}
    let began = Instant::now();
    for _ in 0..5 {
        assert!(backend.get("key").await.is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    server.signal("CONT");
    // What it could not answer in time, it answers now, to nobody.
    let limit = Duration::from_secs(10);
    let answers = async { while backend.get("key").await.is_err() {} };
    tokio::time::timeout(limit, answers).await.unwrap();
}

#[tokio::test]
async fn whoever_does_not_answer_is_no_server() {
    let options = options().connect_timeout(Duration::from_millis(100));
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let error = options.clone().connect(&address).await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    drop(silent);
    let refused: Result<MemcachedBackend, Error> = options.connect(&address).await;
    assert!(refused.is_err());
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_cached_call_survives_what_the_server_refuses() {
    #[cache(expire = 60, key = "long")]
    async fn long() -> String {
        "x".repeat(2 << 20)
    }

    let Some(address) = server_address() else {
        return;
    };
    let backend = options().connect(&address).await.unwrap();
    let cache = Cache::new(Config::new(backend).prefix("refused"));
    assert_eq!(cache.scope(long()).await.len(), 2 << 20);
    let stats = cache.stats();
    assert_eq!(
        (stats.misses, stats.stored, stats.backend_errors),
        (1, 0, 1)
    );
}
