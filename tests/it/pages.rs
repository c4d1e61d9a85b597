//! Two requests that a program answers differently are never served each other's page.
//!
//! A case is an app on a cache of its own, a random reader, and a few requests that are much like each other, one
//! after the other or at once, while time passes. The app answers with all that its reader has looked at. Each
//! reply is compared with what the same app says to the same request without a cache. The app is honest as far
//! as HTTP asks for it: it names in `Vary` what it has read, but for what caches have to know by themselves.
//!
//! Everything is drawn from a seed: `FAST_CACHE_SEED=17 cargo test --all-features --test it pages` plays a case
//! again, and `FAST_CACHE_CASES=100000` plays so many, which takes some four minutes in a debug build.

mod handlers;
mod layers;
mod requests;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::Response;
use fast_cache::testing::ManualClock;
use fast_cache::{Cache, Config, InMemoryBackend};
use fastrand::Rng;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::fronts::Got;
use crate::support::Remote;
use requests::{Ask, Pool};

/// How many cases are played unless that is said otherwise.
const CASES: u64 = 5_000;

/// What one front of the cache is asked for in one case.
struct World {
    app: Router,
    /// The paths that it knows.
    paths: Vec<String>,
    scope: Scope,
}

/// What a reader may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    /// All of a request. It names what it reads.
    All,
    /// The head of a request, and of its headers those that the handler names, and those that tell who asks or
    /// where.
    Handler,
    /// The same under another cache, which knows nothing of the handler but what the replies say: of the headers
    /// that tell who asks, the handler reads `Cookie` and `Authorization`, and those that it names.
    HandlerBelow,
}

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Method,
    Scheme,
    /// By the URI, or else by `Host`.
    Host,
    /// By `Host`, or else by the URI.
    HostHeader,
    Path,
    Query,
    Header(&'static str),
}

/// Looks at parts of a request, at some only if a header has some value.
#[derive(Clone, Debug, Default)]
struct Reader(Vec<(Option<(&'static str, String)>, Item)>);

/// What was read, and the headers that were looked at for it.
#[derive(Default)]
struct Dump {
    text: String,
    names: Vec<&'static str>,
}

impl Reader {
    /// `may_read` says which headers there are to be looked at.
    fn read(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        may_read: impl Fn(&str) -> bool,
    ) -> Dump {
        let mut dump = Dump::default();
        for (condition, item) in &self.0 {
            if let Some((name, value)) = condition {
                if !may_read(name) {
                    continue;
                }
                dump.names.push(name);
                if joined(headers, name).as_deref() != Some(value) {
                    continue;
                }
            }
            if let Item::Header(name) = item {
                if !may_read(name) {
                    continue;
                }
                dump.names.push(name);
            }
            let host = joined(headers, "host").map(|host| host.to_lowercase());
            let authority = uri.authority().map(|own| own.as_str().to_lowercase());
            let value = match item {
                // HEAD is answered from what GET stored.
                Item::Method if *method == Method::HEAD => Some("GET".to_owned()),
                Item::Method => Some(method.to_string()),
                Item::Scheme => Some(uri.scheme_str().unwrap_or("http").to_owned()),
                Item::Host => authority.or(host),
                Item::HostHeader => host.or(authority),
                Item::Path => Some(uri.path().to_owned()),
                Item::Query => uri.query().map(str::to_owned),
                Item::Header(name) => joined(headers, name),
            };
            writeln!(dump.text, "{item:?}: {value:?}").unwrap();
        }
        dump.names.sort_unstable();
        dump.names.dedup();
        dump
    }
}

/// The lines of a header, as anybody on the way may join them.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<_> = lines.map(|line| line.to_str().unwrap()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// How an origin of a layer speaks of what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It says nothing of a lifetime.
    Silent,
    MaxAge,
    Public,
    Aging,
    NoCache,
    // These name nothing, and may depend on anything.
    Private,
    NoStore,
    Cookie,
    VaryAll,
    TooMany,
}

/// What is fixed in one case.
#[derive(Debug)]
struct Case {
    scope: Scope,
    reader: Reader,
    /// By the length of the path.
    modes: [Mode; 2],
    /// Whether it drops what `Connection` names.
    is_proxy: bool,
    /// Whether it allows the one who asks, and nobody else.
    allows: bool,
    tag: Option<&'static str>,
    is_dated: bool,
    chunks: u8,
    fails: AtomicBool,
    calls: AtomicU32,
}

impl Case {
    fn draw(rng: &mut Rng, pool: &Pool, scope: Scope) -> Self {
        let modes = [
            Mode::Silent,
            Mode::Silent,
            Mode::Silent,
            Mode::Silent,
            Mode::Silent,
            Mode::MaxAge,
            Mode::MaxAge,
            Mode::MaxAge,
            Mode::Public,
            Mode::Public,
            Mode::Aging,
            Mode::Aging,
            Mode::NoCache,
            Mode::Private,
            Mode::NoStore,
            Mode::Cookie,
            Mode::VaryAll,
            Mode::TooMany,
        ];
        Self {
            scope,
            reader: pool.reader(rng, scope),
            modes: [*pick(rng, &modes), *pick(rng, &modes)],
            is_proxy: rng.u8(0..4) == 0,
            allows: pool.has("origin") && chance(rng, 60),
            tag: *pick(rng, &[None, None, Some(""), Some("W/")]),
            is_dated: rng.u8(0..4) == 0,
            chunks: rng.u8(0..4),
            fails: AtomicBool::new(false),
            calls: AtomicU32::new(0),
        }
    }

    /// Takes a while, which differs from call to call.
    async fn pause(&self) {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        for _ in 0..call.wrapping_mul(2_654_435_761) >> 30 {
            tokio::task::yield_now().await;
        }
    }
}

/// The case that a thread plays.
#[derive(Clone, Default)]
struct Current(Arc<Mutex<Option<Arc<Case>>>>);

impl Current {
    fn case(&self) -> Arc<Case> {
        self.0.lock().unwrap().clone().unwrap()
    }
}

fn pick<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(0..from.len())]
}

fn chance(rng: &mut Rng, percent: u8) -> bool {
    rng.u8(0..100) < percent
}

/// All worlds of one thread.
struct Player {
    current: Current,
    worlds: Vec<World>,
    off: Cache,
}

/// What went wrong in a case.
struct Fault {
    ask: Ask,
    got: Got,
    expected: Got,
    why: String,
}

impl Player {
    fn new() -> Self {
        let current = Current::default();
        let mut worlds = layers::worlds(&current);
        worlds.extend(handlers::worlds(&current));
        Self {
            current,
            worlds,
            off: Cache::new(Config::new(InMemoryBackend::new()).enable(false)),
        }
    }

    async fn play(&self, seed: u64) {
        let mut rng = Rng::with_seed(seed);
        let world = pick(&mut rng, &self.worlds);
        let pool = Pool::draw(&mut rng, &world.paths);
        let case = Arc::new(Case::draw(&mut rng, &pool, world.scope));
        *self.current.0.lock().unwrap() = Some(Arc::clone(&case));
        let clock = ManualClock::new();
        let cache = Cache::new(config(&mut rng).clock(clock.clone()));
        let mut said = Said::default();
        let mut asked: Vec<Ask> = Vec::new();
        for _ in 0..rng.usize(2..7) {
            let at_once = if chance(&mut rng, 20) {
                rng.usize(2..4)
            } else {
                1
            };
            let asks: Vec<_> = (0..at_once)
                .map(|_| {
                    let ask = pool.ask(&mut rng, &asked, &said.tags);
                    asked.push(ask.clone());
                    ask
                })
                .collect();
            case.fails.store(false, Ordering::Relaxed);
            let mut expected = Vec::new();
            for ask in &asks {
                expected.push(self.send(&self.off, world, ask.plain()).await);
            }
            let fails = chance(&mut rng, 5);
            case.fails.store(fails, Ordering::Relaxed);
            let replies = asks
                .iter()
                .map(|ask| self.send(&cache, world, ask.request()));
            let replies = join_all(replies).await;
            for ((ask, got), expected) in asks.into_iter().zip(replies).zip(expected) {
                if let Err(why) = said.check(&case, &ask, &got, &expected) {
                    let fault = Fault {
                        ask,
                        got,
                        expected,
                        why,
                    };
                    panic!("{}", fault.report(seed, &case, &asked));
                }
            }
            for _ in 0..rng.u8(0..20) {
                tokio::task::yield_now().await;
            }
            clock.advance(Duration::from_secs(*pick(
                &mut rng,
                &[0, 0, 0, 1, 30, 61, 100, 4000],
            )));
        }
    }

    async fn send(&self, cache: &Cache, world: &World, request: Request<Body>) -> Got {
        cache
            .scope(async {
                let reply = world.app.clone().oneshot(request).await.unwrap();
                let (parts, body) = reply.into_parts();
                Got {
                    status: parts.status,
                    headers: parts.headers,
                    body: body.collect().await.unwrap().to_bytes(),
                }
            })
            .await
    }
}

fn config(rng: &mut Rng) -> Config {
    let mut config = match chance(rng, 10) {
        true => Config::new(Remote::default()).invalidation_delay(Duration::ZERO),
        false => Config::new(InMemoryBackend::new()),
    };
    if chance(rng, 30) {
        config = config.stale_while_revalidate(Duration::from_secs(50));
    }
    if chance(rng, 30) {
        config = config.stale_if_error(Duration::from_secs(500));
    }
    config
}

impl Fault {
    fn report(&self, seed: u64, case: &Case, asked: &[Ask]) -> String {
        let Self {
            ask,
            got,
            expected,
            why,
        } = self;
        let mut report = format!(
            "seed {seed}: {why}\n{ask}\ngot {} {:?}\n{}\nexpected {} {:?}\n{}\nin {case:#?}\nafter\n",
            got.status,
            got.headers,
            String::from_utf8_lossy(&got.body),
            expected.status,
            expected.headers,
            String::from_utf8_lossy(&expected.body),
        );
        for ask in asked {
            writeln!(report, "{ask}").unwrap();
        }
        report
    }
}

/// What has been said in a case: the tags, each with its page.
#[derive(Default)]
struct Said {
    tags: Vec<String>,
    pages: HashMap<String, Vec<u8>>,
}

impl Said {
    /// Whether a reply is what the app would say now.
    fn check(&mut self, case: &Case, ask: &Ask, got: &Got, expected: &Got) -> Result<(), String> {
        let page = &expected.body[..];
        let ensure = |is_so: bool, why: &str| is_so.then_some(()).ok_or_else(|| why.to_owned());
        match got.status {
            StatusCode::GATEWAY_TIMEOUT => {
                return ensure(
                    ask.header("cache-control") == Some("only-if-cached"),
                    "it was refused",
                );
            }
            StatusCode::SERVICE_UNAVAILABLE if case.fails.load(Ordering::Relaxed) => return Ok(()),
            // axum reads no `Form` from a HEAD.
            StatusCode::UNSUPPORTED_MEDIA_TYPE if ask.is_head() => return Ok(()),
            StatusCode::NOT_MODIFIED => {
                ensure(ask.is_conditional(), "a 304 that was not asked for")?;
                ensure(got.body.is_empty(), "a 304 with a body")?;
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = part_of(got, page.len()).ok_or("a part of something else")?;
                ensure(
                    ask.header("range").is_some(),
                    "a part that was not asked for",
                )?;
                ensure(page[range] == got.body, "a part of another page")?;
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                ensure(
                    ask.header("range").is_some(),
                    "a part that was not asked for",
                )?;
                let length = format!("bytes */{}", page.len());
                ensure(
                    got.header("content-range") == length,
                    "the length of another page",
                )?;
            }
            status if status == expected.status => {
                if ask.is_head() {
                    let length = got.header("content-length");
                    ensure(
                        length.is_empty() || length == page.len().to_string(),
                        "the length of another page",
                    )?;
                    ensure(got.body.is_empty() || got.body == page, "another page")?;
                } else {
                    ensure(got.body == page, "another page")?;
                }
            }
            _ => return Err("another status".to_owned()),
        }
        let echo = (got.header("x-echo"), expected.header("x-echo"));
        ensure(echo.0 == echo.1, "a header of another page")?;
        let allowed = got.header("access-control-allow-origin");
        ensure(
            allowed.is_empty() || allowed == expected.header("access-control-allow-origin"),
            "another one is allowed to read it",
        )?;
        if case.scope != Scope::HandlerBelow {
            is_told_right(ask, got, expected)?;
        }
        self.note_tag(ask, got, expected)
    }

    /// One tag is for one page.
    fn note_tag(&mut self, ask: &Ask, got: &Got, expected: &Got) -> Result<(), String> {
        let tag = got.header("etag");
        if tag.is_empty() || got.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(());
        }
        let own = expected.header("etag");
        if !own.is_empty() && own != tag {
            return Err(format!("the tag of another page: {tag} instead of {own}"));
        }
        let opaque = tag.trim_start_matches("W/");
        if got.status == StatusCode::NOT_MODIFIED
            && let Some(named) = ask.header("if-none-match")
            && named != "*"
            && !named.contains(opaque)
        {
            return Err(format!("a 304 for {tag}, which the client does not have"));
        }
        let page = self.pages.entry(opaque.to_owned()).or_insert_with(|| {
            self.tags.push(tag.to_owned());
            expected.body.to_vec()
        });
        if *page != expected.body {
            return Err(format!("{tag} is the tag of another page too"));
        }
        Ok(())
    }
}

/// Whether others are told that they may have what is for one.
fn is_told_right(ask: &Ask, got: &Got, expected: &Got) -> Result<(), String> {
    let told = got.header("cache-control");
    if !expected.header("cache-control").is_empty() {
        return Ok(());
    }
    let is_shared = !told.is_empty() && !told.contains("private") && !told.contains("no-store");
    if is_shared && (ask.is_personal() || handlers::is_private(&ask.path)) {
        return Err(format!("it is told to be for everybody: {told}"));
    }
    Ok(())
}

fn part_of(got: &Got, length: usize) -> Option<std::ops::Range<usize>> {
    let range = got.header("content-range").strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let range = first.parse().ok()?..last.parse::<usize>().ok()? + 1;
    (total == length.to_string() && range.end <= length).then_some(range)
}

fn set(headers: &mut HeaderMap, name: &'static str, value: impl AsRef<str>) {
    let value = HeaderValue::from_str(value.as_ref()).unwrap();
    headers.insert(HeaderName::from_static(name), value);
}

/// A number for a text, by the FNV-1a hash.
fn number(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn play(seeds: impl Iterator<Item = u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let player = Player::new();
    for seed in seeds {
        runtime.block_on(player.play(seed));
    }
}

fn from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

#[test]
fn nobody_gets_the_page_of_another() {
    if let Some(seed) = from_env("FAST_CACHE_SEED") {
        play(std::iter::once(seed));
        return;
    }
    let cases = from_env("FAST_CACHE_CASES").unwrap_or(CASES);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    std::thread::scope(|scope| {
        for first in 1..=threads {
            scope.spawn(move || play((first..=cases).step_by(threads as usize)));
        }
    });
}

/// A reply of the app itself.
fn page(text: String) -> Response {
    Response::new(Body::from(text))
}
