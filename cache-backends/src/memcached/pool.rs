//! Connections, and when they are fit to be used again.

use std::io;

use deadpool::managed::{BuildError, Manager, Metrics, RecycleError, RecycleResult};
use memcache_async::ascii;
use tokio::io::BufWriter;
use tokio::net::TcpStream;

pub(super) type Pool = deadpool::managed::Pool<Dial>;

/// The client. It writes a command in pieces, which are sent as one packet.
pub(super) type Protocol = ascii::Protocol<BufWriter<TcpStream>>;

/// A connection, which is fit to be used again when its last exchange came to an end.
///
/// A call that is dropped, or fails, leaves an answer on the wire that nobody has read.
pub(super) struct Connection {
    protocol: Protocol,
    is_idle: bool,
}

impl Connection {
    /// The client, for an exchange.
    pub(super) fn begin(&mut self) -> &mut Protocol {
        self.is_idle = false;
        &mut self.protocol
    }

    /// Ends an exchange whose answer has been read to its end.
    pub(super) fn end(&mut self) {
        self.is_idle = true;
    }
}

/// Makes connections to one server.
pub(super) struct Dial {
    address: String,
}

impl Dial {
    pub(super) fn new(address: String) -> Self {
        Self { address }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Manager for Dial {
    type Type = Connection;
    type Error = io::Error;

    async fn create(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let mut protocol = Protocol::new(BufWriter::new(stream));
        protocol.version().await?;
        Ok(Connection {
            protocol,
            is_idle: true,
        })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<io::Error> {
        match connection.is_idle {
            true => Ok(()),
            false => Err(RecycleError::message("an answer is still to come")),
        }
    }
}

pub(super) fn build(dial: Dial, max_connections: usize) -> Result<Pool, BuildError> {
    Pool::builder(dial).max_size(max_connections.max(1)).build()
}
