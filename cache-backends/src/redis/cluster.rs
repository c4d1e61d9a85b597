//! The connection to a cluster, which is made anew when nothing comes of it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;

/// A connection to all servers of a cluster, and the way to make another one.
///
/// The client's own connection follows slots that move and servers that fail. While many slots move
/// under load, though, its lookup of the slots can wait for commands that wait for the lookup, and
/// then nothing is answered ever again.
#[derive(Clone)]
pub(super) struct Cluster(Arc<State>);

struct State {
    current: ArcSwap<ClusterConnection>,
    /// `None` where the application made the connection.
    dial: Option<Dial>,
    /// How many commands in a row were not answered in time.
    unanswered: AtomicU32,
    is_dialing: AtomicBool,
}

/// How to make a connection.
pub(super) struct Dial {
    pub(super) client: ClusterClient,
    pub(super) limit: Duration,
}

/// How many commands in a row, to whichever servers, have to go unanswered before the connection
/// counts as stuck. A single server that hangs leaves the others to answer.
const STUCK: u32 = 16;

impl Cluster {
    pub(super) fn new(connection: ClusterConnection, dial: Option<Dial>) -> Self {
        Self(Arc::new(State {
            current: ArcSwap::from_pointee(connection),
            dial,
            unanswered: AtomicU32::new(0),
            is_dialing: AtomicBool::new(false),
        }))
    }

    pub(super) fn connection(&self) -> ClusterConnection {
        ClusterConnection::clone(&self.0.current.load())
    }

    /// A server answered, if only by an error.
    pub(super) fn answered(&self) {
        self.0.unanswered.store(0, Ordering::Relaxed);
    }

    /// A command took too long. After many in a row, makes a new connection in the background; the
    /// old one stays until it is there.
    pub(super) fn unanswered(&self) {
        let unanswered = self.0.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
        if unanswered < STUCK || self.0.dial.is_none() {
            return;
        }
        if !self.0.is_dialing.swap(true, Ordering::AcqRel) {
            let cluster = self.clone();
            tokio::spawn(async move { cluster.redial().await });
        }
    }

    async fn redial(&self) {
        let Some(dial) = &self.0.dial else { return };
        let dialing = dial.client.get_async_connection();
        if let Ok(Ok(connection)) = tokio::time::timeout(dial.limit, dialing).await {
            self.0.current.store(Arc::new(connection));
            self.answered();
        }
        self.0.is_dialing.store(false, Ordering::Release);
    }
}
