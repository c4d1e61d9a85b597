//! A way to a server that a test can cut, slow down and silence.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to what the server sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    /// After this many bytes, the connection is reset.
    Reset(usize),
    /// After this many bytes, the connection is closed.
    Close(usize),
    /// It comes later by this much.
    Delay(Duration),
    /// It does not come before there is another fault, or none.
    Silence,
}

/// A proxy in front of one server, until it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
    accepting: JoinHandle<()>,
}

/// What all connections through a proxy share.
struct Way {
    fault: Mutex<Fault>,
    /// How often the connections of that time were abandoned.
    abandoned: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of the loopback for connections to `server`, given as `host:port`.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let way = Arc::new(Way {
            fault: Mutex::new(Fault::None),
            abandoned: AtomicU64::new(0),
        });
        let (server, shared) = (server.to_owned(), Arc::clone(&way));
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, server.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            address,
            way,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.way.fault.lock().unwrap() = fault;
    }

    /// Never again says anything on the connections that there are, and leaves them open. Later
    /// ones work.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "only Redis shares one connection")
    )]
    pub(crate) fn abandon(&self) {
        self.way.abandoned.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards both ways until one side ends, or a fault ends it.
async fn forward(client: TcpStream, server: String, way: Arc<Way>) {
    let abandoned = way.abandoned.load(Ordering::SeqCst);
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asking = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_server.read(&mut buffer).await {
        while matches!(*way.fault.lock().unwrap(), Fault::Silence) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if way.abandoned.load(Ordering::SeqCst) != abandoned {
            continue;
        }
        let now = *way.fault.lock().unwrap();
        let kept = match now {
            Fault::None | Fault::Silence => length,
            Fault::Reset(after) | Fault::Close(after) => after.min(length),
            Fault::Delay(by) => {
                tokio::time::sleep(by).await;
                length
            }
        };
        if to_client.write_all(&buffer[..kept]).await.is_err() {
            break;
        }
        match now {
            Fault::Reset(_) => {
                // A socket that is closed with no time to linger says so by a reset.
                let _ = to_client.as_ref().set_zero_linger();
                break;
            }
            Fault::Close(_) => break,
            _ => {}
        }
    }
    asking.abort();
}
