//! Requests that are much like each other.

use std::fmt;

use axum::body::Body;
use axum::http::{Method, Request};
use fastrand::Rng;

use super::{Item, Reader, Scope, chance, pick};
use crate::audience::CREDENTIALS;

/// Headers of no meaning to caches, which are named in `Vary` by those who read them.
const ORDINARY: [&str; 5] = [
    "x-plain",
    "x-theme",
    "accept",
    "user-agent",
    "x-forwarded-for",
];

/// Headers whose values are lists of what a client likes. No two values mean the same.
const PREFERENCES: [(&str, &[&str]); 2] = [
    (
        "accept-language",
        &["en-US,fr-FR", "fr-FR,en-US", "fr-FR;q=0.5"],
    ),
    ("accept-encoding", &["gzip,br", "br,gzip"]),
];

/// Headers by which proxies say where the client asked.
const LINKS: [&str; 10] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-host",
    "x-original-url",
    "x-rewrite-url",
];

const DISGUISES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

const HOSTS: [&str; 4] = [
    "shop.example",
    "evil.example",
    "shop.example:8080",
    "SHOP.example",
];

const QUERIES: [&str; 7] = ["", "?", "?a=1", "?a=2", "?a=1&b=2", "?a=1&b=3", "?b=2&a=1"];

const DIRECTIVES: [&str; 8] = [
    "no-cache",
    "no-store",
    "max-age=0",
    "max-age=10",
    "min-fresh=30",
    "max-stale",
    "max-stale=100",
    "only-if-cached",
];

const MODIFIED: [&str; 3] = [
    "Wed, 01 Jan 2020 00:00:00 GMT",
    "Fri, 01 Jan 2100 00:00:00 GMT",
    "not a date",
];

pub(super) fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

pub(super) fn is_link(name: &str) -> bool {
    LINKS.contains(&name)
}

/// Whether what answers does not have to say that it read this.
pub(super) fn is_disguise(name: &str) -> bool {
    DISGUISES.contains(&name)
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    method: Method,
    /// The scheme and the authority, of a request in absolute form.
    origin: Option<(&'static str, &'static str)>,
    pub(super) path: String,
    query: &'static str,
    headers: Vec<(&'static str, String)>,
}

/// What the requests of one case have in common.
pub(super) struct Pool {
    paths: Vec<String>,
    names: Vec<&'static str>,
}

impl Pool {
    pub(super) fn draw(rng: &mut Rng, paths: &[String]) -> Self {
        let mut names = Vec::new();
        for _ in 0..rng.u8(1..3) {
            names.push(*pick(rng, &ORDINARY));
            names.push(*pick(rng, CREDENTIALS));
            names.push(*pick(rng, &LINKS));
        }
        names.push("cookie");
        for (percent, name) in [
            (50, "accept-language"),
            (25, "accept-encoding"),
            (40, "x-region"),
            (40, "origin"),
            (25, *pick(rng, &DISGUISES)),
        ] {
            if chance(rng, percent) {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.dedup();
        // Few paths, so that requests meet.
        let first = pick(rng, paths);
        let near = |path: &&String| path.rsplit('/').nth(1) == first.rsplit('/').nth(1);
        let near: Vec<_> = paths.iter().filter(near).cloned().collect();
        let few = vec![
            first.clone(),
            first.clone(),
            pick(rng, &near).clone(),
            pick(rng, paths).clone(),
        ];
        Self { paths: few, names }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    pub(super) fn reader(&self, rng: &mut Rng, scope: Scope) -> Reader {
        let mut items = Vec::new();
        let parts = [
            Item::Method,
            Item::Scheme,
            Item::Host,
            Item::HostHeader,
            Item::Path,
            Item::Query,
        ];
        for item in parts {
            if chance(rng, 50) {
                items.push((None, item));
            }
        }
        for name in &self.names {
            let is_known = is_link(name) || is_credential(name) || is_disguise(name);
            // What has to be named by the handler is read by it as far as it is.
            let percent = match (scope, is_known) {
                (Scope::All, false) => 50,
                (_, true) => 70,
                (_, false) => 90,
            };
            if !chance(rng, percent) {
                continue;
            }
            let condition = match chance(rng, 25) {
                true => {
                    let other = *pick(rng, &self.names);
                    Some((other, value(rng, other)))
                }
                false => None,
            };
            items.push((condition, Item::Header(name)));
        }
        rng.shuffle(&mut items);
        Reader(items)
    }

    /// Another request, which is often one of those before, or nearly one.
    pub(super) fn ask(&self, rng: &mut Rng, before: &[Ask], tags: &[String]) -> Ask {
        if before.is_empty() || chance(rng, 20) {
            return self.new_ask(rng, tags);
        }
        let mut ask = pick(rng, before).clone();
        ask.headers.retain(|(name, _)| !is_of_this_time(name));
        for _ in 0..rng.u8(0..3) {
            self.change(rng, &mut ask);
        }
        self.add_what_is_of_this_time(rng, &mut ask, tags);
        ask
    }

    fn new_ask(&self, rng: &mut Rng, tags: &[String]) -> Ask {
        let mut ask = Ask {
            method: Method::GET,
            origin: None,
            path: pick(rng, &self.paths).clone(),
            query: QUERIES[0],
            headers: vec![("host", HOSTS[0].to_owned())],
        };
        for _ in 0..rng.u8(0..5) {
            self.change(rng, &mut ask);
        }
        self.add_what_is_of_this_time(rng, &mut ask, tags);
        ask
    }

    fn change(&self, rng: &mut Rng, ask: &mut Ask) {
        match rng.u8(0..20) {
            0 => ask.method = Method::HEAD,
            1 => ask.method = Method::GET,
            2 => {
                let scheme = *pick(rng, &["http", "https", "javascript"]);
                ask.origin = Some((scheme, *pick(rng, &HOSTS)));
            }
            3 => ask.origin = None,
            4 | 5 => {
                ask.headers.retain(|(name, _)| *name != "host");
                for _ in 0..*pick(rng, &[0, 1, 1, 1, 1, 2]) {
                    ask.headers.push(("host", (*pick(rng, &HOSTS)).to_owned()));
                }
            }
            6 | 7 => ask.path = pick(rng, &self.paths).clone(),
            8 | 9 => ask.query = *pick(rng, &QUERIES),
            _ => {
                let name = *pick(rng, &self.names);
                ask.headers.retain(|(other, _)| *other != name);
                // Those who say who they are are answered by few caches.
                let percent = if is_credential(name) { 45 } else { 75 };
                if chance(rng, percent) {
                    ask.headers.push((name, value(rng, name)));
                }
                let is_list = !is_credential(name) && !is_link(name);
                if is_list && name != "origin" && chance(rng, 10) {
                    ask.headers.push((name, value(rng, name)));
                }
            }
        }
    }

    /// Conditions, ranges, directives and the like.
    fn add_what_is_of_this_time(&self, rng: &mut Rng, ask: &mut Ask, tags: &[String]) {
        let some_tag = |rng: &mut Rng| match tags.is_empty() || chance(rng, 20) {
            true => "\"zzz\"".to_owned(),
            false => pick(rng, tags).clone(),
        };
        if chance(rng, 20) {
            let tag = match rng.u8(0..8) {
                0 => "*".to_owned(),
                1 => format!("{}, {}", some_tag(rng), some_tag(rng)),
                _ => some_tag(rng),
            };
            ask.headers.push(("if-none-match", tag));
        }
        if chance(rng, 5) {
            let date = (*pick(rng, &MODIFIED)).to_owned();
            ask.headers.push(("if-modified-since", date));
        }
        if chance(rng, 3) {
            ask.headers.push(("if-match", some_tag(rng)));
        }
        if chance(rng, 10) {
            let range = *pick(rng, &["bytes=0-3", "bytes=-5", "bytes=7-", "bytes=9999-"]);
            ask.headers.push(("range", range.to_owned()));
            if chance(rng, 50) {
                ask.headers.push(("if-range", some_tag(rng)));
            }
        }
        if chance(rng, 15) {
            let directive = (*pick(rng, &DIRECTIVES)).to_owned();
            ask.headers.push(("cache-control", directive));
        }
        if chance(rng, 12) {
            let mut names = self.names.clone();
            names.extend(["host", "close", "keep-alive", "Accept"]);
            let mut line = (*pick(rng, &names)).to_owned();
            if chance(rng, 40) {
                line = format!("{line}, {}", pick(rng, &["close", "keep-alive", "host"]));
            }
            ask.headers.push(("connection", line));
        }
    }
}

/// Whether a header is for one request, and is not carried over to those that are much like it.
fn is_of_this_time(name: &str) -> bool {
    is_for_caches(name) || name == "connection"
}

/// Whether a header is for caches, and takes no part in what an app says.
fn is_for_caches(name: &str) -> bool {
    matches!(
        name,
        "if-none-match" | "if-modified-since" | "if-match" | "range" | "if-range" | "cache-control"
    )
}

fn value(rng: &mut Rng, name: &str) -> String {
    let preference = PREFERENCES
        .iter()
        .find(|(preference, _)| *preference == name);
    if let Some((_, values)) = preference {
        return (*pick(rng, values)).to_owned();
    }
    let values = match name {
        "forwarded" => ["host=a.example;proto=https", "host=b.example"],
        "origin" => ["https://a.example", "https://b.example"],
        _ => ["1", "2"],
    };
    (*pick(rng, &values)).to_owned()
}

impl Ask {
    pub(super) fn request(&self) -> Request<Body> {
        self.build(self.method.clone(), |_| true)
    }

    /// The request for the whole page, with nothing that is for caches.
    pub(super) fn plain(&self) -> Request<Body> {
        self.build(Method::GET, |name| !is_for_caches(name))
    }

    fn build(&self, method: Method, keeps: impl Fn(&str) -> bool) -> Request<Body> {
        let mut request = Request::builder().method(method).uri(self.uri());
        for (name, value) in &self.headers {
            if keeps(name) {
                request = request.header(*name, value);
            }
        }
        request.body(Body::empty()).unwrap()
    }

    fn uri(&self) -> String {
        let origin = match self.origin {
            None => String::new(),
            Some((scheme, authority)) => format!("{scheme}://{authority}"),
        };
        format!("{origin}{}{}", self.path, self.query)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(other, _)| *other == name);
        values.next().map(|(_, value)| &**value)
    }

    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(super) fn is_conditional(&self) -> bool {
        self.header("if-none-match").is_some() || self.header("if-modified-since").is_some()
    }

    pub(super) fn is_personal(&self) -> bool {
        self.headers.iter().any(|(name, _)| is_credential(name))
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.uri())?;
        self.headers
            .iter()
            .try_for_each(|(name, value)| write!(f, " | {name}: {value}"))
    }
}
