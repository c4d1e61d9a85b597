//! A way to a server that a test can cut, slow down and silence.

use std::net::SocketAddr;
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
    fault: Arc<Mutex<Fault>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of the loopback for connections to `server`, given as `host:port`.
    pub(crate) async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let fault = Arc::new(Mutex::new(Fault::None));
        let (server, shared) = (server.to_owned(), Arc::clone(&fault));
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(forward(client, server.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            address,
            fault,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards both ways until one side ends, or a fault ends it.
async fn forward(client: TcpStream, server: String, fault: Arc<Mutex<Fault>>) {
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
        while matches!(*fault.lock().unwrap(), Fault::Silence) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let now = *fault.lock().unwrap();
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
