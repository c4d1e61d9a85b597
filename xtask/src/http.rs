//! A client for one request at a time, enough to ask the examples.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// The value of a header, given its name in lowercase.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// `HIT`, `MISS`, or `-` for a reply that did not go through the cache.
    pub(crate) fn cache(&self) -> &str {
        self.header("x-fastapi-cache").unwrap_or("-")
    }
}

/// Sends a request without a body to `address`, and reads the whole reply.
pub(crate) fn send(address: &str, method: &str, path: &str, headers: &[&str]) -> Result<Reply> {
    const PATIENCE: Duration = Duration::from_secs(10);

    let mut stream = TcpStream::connect(address).context("no server")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for header in headers {
        request.push_str(&format!("{header}\r\n"));
    }
    request.push_str("content-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).context("no reply")?;
    parse(&reply).with_context(|| format!("no HTTP: {reply:?}"))
}

fn parse(reply: &str) -> Option<Reply> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let (status_line, lines) = head.split_once("\r\n")?;
    let status = status_line.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.split("\r\n").filter_map(|line| line.split_once(": "));
    Some(Reply {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}
