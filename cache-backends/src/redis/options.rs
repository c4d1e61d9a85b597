//! How to connect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fast_cache_core::{BoxFuture, Error, ErrorKind};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo,
    IntoConnectionInfo as _, RedisError, RedisResult, TlsCertificates, TlsMode,
};

use super::bus::{self, within};
use super::cluster::{Cluster, Dial};
use super::{Connection, Link, RedisBackend, failure, timed_out};

/// How to connect to Redis: timeouts, certificates, and who we are to sentinels.
///
/// ```no_run
/// use std::time::Duration;
/// use fast_cache_backends::RedisOptions;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let backend = RedisOptions::new()
///     .response_timeout(Duration::from_millis(100))
///     .ca_certificate(std::fs::read("ca.pem")?)
///     .connect("rediss://cache:secret@redis.internal")
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisOptions {
    connect_timeout: Duration,
    response_timeout: Duration,
    ca_certificate: Option<Vec<u8>>,
    client_tls: Option<ClientTlsConfig>,
    sentinel_credentials: Option<(Option<String>, String)>,
}

/// How long sent bytes may stay unacknowledged before the connection counts as dead. A host that
/// vanishes says nothing, and without a limit the system tries for a quarter of an hour.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is idle before the system probes it.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Finding a service or a cluster takes several connections, one after the other: to a server that
/// knows, to the one that it names, and again for commands.
const DISCOVERY_STEPS: u32 = 3;

impl RedisOptions {
    pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_millis(250);

    /// A connect timeout of one second, a response timeout of 250 milliseconds, and the system's
    /// certificates.
    #[must_use]
    pub fn new() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            response_timeout: Self::RESPONSE_TIMEOUT,
            ca_certificate: None,
            client_tls: None,
            sentinel_credentials: None,
        }
    }

    /// Sets how long it may take to connect to a server, TLS and authentication included. Finding a
    /// cluster, or a master through sentinels, may take three times as long.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self {
            connect_timeout: timeout,
            ..self
        }
    }

    /// Sets how long a command may take, waiting for a new connection included.
    #[must_use]
    pub fn response_timeout(self, timeout: Duration) -> Self {
        Self {
            response_timeout: timeout,
            ..self
        }
    }

    /// Trusts the certificates in this PEM text, and no others, for TLS.
    #[must_use]
    pub fn ca_certificate(self, pem: impl Into<Vec<u8>>) -> Self {
        Self {
            ca_certificate: Some(pem.into()),
            ..self
        }
    }

    /// Shows this certificate chain to servers, with its private key; both are PEM texts.
    #[must_use]
    pub fn client_certificate(self, pem: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self {
            client_tls: Some(ClientTlsConfig {
                client_cert: pem.into(),
                client_key: key.into(),
            }),
            ..self
        }
    }

    /// Sets the user and password for sentinels. The ones in the URL are for the servers that
    /// sentinels watch.
    #[must_use]
    pub fn sentinel_credentials(self, user: Option<&str>, password: &str) -> Self {
        Self {
            sentinel_credentials: Some((user.map(str::to_owned), password.to_owned())),
            ..self
        }
    }

    /// Connects to one server.
    ///
    /// The URL is `redis://[user[:password]@]host[:port][/database]`; special characters in the
    /// user and password are percent-encoded, and `?protocol=resp3` chooses the newer protocol.
    /// `rediss` connects through TLS. That takes a rustls crypto provider: if the process has
    /// installed none, ring's becomes its default.
    ///
    /// # Errors
    ///
    /// When the URL or a certificate is malformed, or the server does not let us in within the
    /// connect timeout.
    pub async fn connect(&self, url: &str) -> Result<RedisBackend, Error> {
        let info = self.parse(url)?;
        let client = self.client(info);
        let client = client.map_err(|error| failure("connect", error))?;
        let config = self.connection_config();
        let subscribe = self.subscribe_to(vec![client.clone()]);
        let dial = move || -> BoxFuture<'static, RedisResult<MultiplexedConnection>> {
            let client = client.clone();
            let config = config.clone();
            Box::pin(async move {
                client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await
            })
        };
        self.link(dial, subscribe).await
    }

    /// Connects to a cluster through any of these servers, and finds the others.
    ///
    /// The URLs are as for [`connect`](Self::connect), all with the same user and password.
    ///
    /// # Errors
    ///
    /// When a URL or a certificate is malformed, the URLs disagree, or no server lets us in within
    /// three times the connect timeout.
    pub async fn connect_cluster<U: AsRef<str>>(
        &self,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<RedisBackend, Error> {
        let nodes = self.parse_all(urls)?;
        let certificates = nodes
            .first()
            .and_then(|node| self.certificates(node.addr()));
        let clients = nodes.iter().map(|node| self.client(node.clone()));
        let clients = clients.collect::<RedisResult<Vec<_>>>();
        let clients = clients.map_err(|error| failure("connect", error))?;
        let mut builder = ClusterClientBuilder::new(nodes)
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.response_timeout)
            .retries(Cluster::RETRIES_OF_THE_CLIENT)
            .tcp_settings(tcp_settings());
        if let Some(certificates) = certificates {
            builder = builder.certs(certificates);
        }
        let client = builder.build().map_err(|error| failure("connect", error))?;
        let limit = self.connect_timeout * DISCOVERY_STEPS;
        let cluster = tokio::time::timeout(limit, client.get_async_connection())
            .await
            .map_err(|_| timed_out("connect"))?
            .map_err(|error| failure("connect", error))?;
        let cluster = Cluster::new(cluster, Some(Dial { client, limit }));
        Ok(RedisBackend::new(
            Connection::Cluster(cluster),
            self.response_timeout,
            Some(self.subscribe_to(clients)),
        ))
    }

    /// Connects to the master of `service`, which these sentinels watch, and follows it when they
    /// choose another one.
    ///
    /// The URLs give the addresses of the sentinels. The user, password and database of the first
    /// one are those for the master, not for the sentinels, which have
    /// [`sentinel_credentials`](Self::sentinel_credentials). With `rediss`, both are reached
    /// through TLS.
    ///
    /// # Errors
    ///
    /// When a URL or a certificate is malformed, no sentinel knows the service, or its master does
    /// not let us in within three times the connect timeout.
    pub async fn connect_sentinel<U: AsRef<str>>(
        &self,
        urls: impl IntoIterator<Item = U>,
        service: &str,
    ) -> Result<RedisBackend, Error> {
        let sentinels: Arc<[_]> = self.parse_all(urls)?.into();
        let options = Arc::new(self.clone());
        let service: Arc<str> = service.into();
        let subscribe = {
            let (options, sentinels) = (Arc::clone(&options), Arc::clone(&sentinels));
            let service = Arc::clone(&service);
            move || -> BoxFuture<'static, RedisResult<PubSub>> {
                let options = Arc::clone(&options);
                let sentinels = Arc::clone(&sentinels);
                let service = Arc::clone(&service);
                Box::pin(async move {
                    let mut client = options.sentinel_client(&sentinels, &service)?;
                    let limit = options.connect_timeout * DISCOVERY_STEPS;
                    let dialing = async {
                        let master = client.async_get_client().await?;
                        master.get_async_pubsub().await
                    };
                    within(limit, dialing).await
                })
            }
        };
        let dial = move || -> BoxFuture<'static, RedisResult<MultiplexedConnection>> {
            let options = Arc::clone(&options);
            let sentinels = Arc::clone(&sentinels);
            let service = Arc::clone(&service);
            Box::pin(async move { options.dial_master(&sentinels, &service).await })
        };
        self.link(dial, Arc::new(subscribe)).await
    }

    async fn dial_master(
        &self,
        sentinels: &[ConnectionInfo],
        service: &str,
    ) -> RedisResult<MultiplexedConnection> {
        let mut client = self.sentinel_client(sentinels, service)?;
        let config = self.connection_config();
        let limit = self.connect_timeout * DISCOVERY_STEPS;
        tokio::time::timeout(limit, client.get_async_connection_with_config(&config))
            .await
            .map_err(|_| RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))?
    }

    fn sentinel_client(
        &self,
        sentinels: &[ConnectionInfo],
        service: &str,
    ) -> RedisResult<SentinelClient> {
        let addresses = sentinels.iter().map(|sentinel| sentinel.addr().clone());
        let mut builder =
            SentinelClientBuilder::new(addresses, service, SentinelServerType::Master)?
                .set_client_to_redis_tcp_settings(tcp_settings());
        if let Some(first) = sentinels.first() {
            let redis = first.redis_settings();
            builder = builder
                .set_client_to_redis_db(redis.db())
                .set_client_to_redis_protocol(redis.protocol());
            if let Some(user) = redis.username() {
                builder = builder.set_client_to_redis_username(user);
            }
            if let Some(password) = redis.password() {
                builder = builder.set_client_to_redis_password(password);
            }
            if is_tls(first.addr()) {
                builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
            }
            if let Some(certificates) = self.certificates(first.addr()) {
                builder = builder
                    .set_client_to_redis_certificates(certificates.clone())
                    .set_client_to_sentinel_certificates(certificates);
            }
        }
        if let Some((user, password)) = &self.sentinel_credentials {
            builder = builder.set_client_to_sentinel_password(password);
            if let Some(user) = user {
                builder = builder.set_client_to_sentinel_username(user);
            }
        }
        builder.build()
    }

    async fn link(
        &self,
        dial: impl Fn() -> BoxFuture<'static, RedisResult<MultiplexedConnection>>
        + Send
        + Sync
        + 'static,
        subscribe: Arc<bus::Dial>,
    ) -> Result<RedisBackend, Error> {
        let link = Link::open(dial)
            .await
            .map_err(|error| failure("connect", error))?;
        Ok(RedisBackend::new(
            Connection::Link(link),
            self.response_timeout,
            Some(subscribe),
        ))
    }

    fn client(&self, info: ConnectionInfo) -> RedisResult<Client> {
        match self.certificates(info.addr()) {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    /// Connects for a subscription to the first of some servers that lets us in: each passes on what is
    /// published at any of them.
    fn subscribe_to(&self, clients: Vec<Client>) -> Arc<bus::Dial> {
        let limit = self.connect_timeout;
        let clients: Arc<[Client]> = clients.into();
        Arc::new(move || {
            let clients = Arc::clone(&clients);
            Box::pin(async move {
                let mut outcome = Err(RedisError::from(std::io::Error::from(
                    std::io::ErrorKind::NotConnected,
                )));
                for client in &*clients {
                    outcome = within(limit, client.get_async_pubsub()).await;
                    if outcome.is_ok() {
                        break;
                    }
                }
                outcome
            })
        })
    }

    /// The backend bounds commands itself, since waiting for a connection counts too.
    fn connection_config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(None)
    }

    fn parse_all<U: AsRef<str>>(
        &self,
        urls: impl IntoIterator<Item = U>,
    ) -> Result<Vec<ConnectionInfo>, Error> {
        let nodes = urls
            .into_iter()
            .map(|url| self.parse(url.as_ref()))
            .collect::<Result<Vec<_>, Error>>()?;
        if nodes.is_empty() {
            return Err(Error::new(ErrorKind::Backend, "no redis url is given"));
        }
        Ok(nodes)
    }

    fn parse(&self, url: &str) -> Result<ConnectionInfo, Error> {
        let info = url
            .into_connection_info()
            .map_err(|error| failure("connect", error))?
            .set_tcp_settings(tcp_settings());
        if is_tls(info.addr()) {
            ensure_crypto_provider();
        }
        Ok(info)
    }

    /// The certificates that differ from the defaults, for an address that wants TLS.
    fn certificates(&self, address: &ConnectionAddr) -> Option<TlsCertificates> {
        if !is_tls(address) || (self.ca_certificate.is_none() && self.client_tls.is_none()) {
            return None;
        }
        Some(TlsCertificates {
            client_tls: self.client_tls.clone(),
            root_cert: self.ca_certificate.clone(),
        })
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("has_ca_certificate", &self.ca_certificate.is_some())
            .field("has_client_certificate", &self.client_tls.is_some())
            .field(
                "has_sentinel_credentials",
                &self.sentinel_credentials.is_some(),
            )
            .finish()
    }
}

fn is_tls(address: &ConnectionAddr) -> bool {
    matches!(address, ConnectionAddr::TcpTls { .. })
}

/// Small requests must not wait for one another's acknowledgements, and a dead peer must be found.
fn tcp_settings() -> TcpSettings {
    let settings = TcpSettings::default()
        .set_nodelay(true)
        .set_keepalive(TcpKeepalive::new().with_time(KEEPALIVE));
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// The client panics without a crypto provider, and rustls chooses none by itself where several are
/// compiled in.
fn ensure_crypto_provider() {
    use rustls::crypto::{CryptoProvider, ring};

    if CryptoProvider::get_default().is_none() {
        // Whoever comes first in a race installs one, and any will do.
        let _ = ring::default_provider().install_default();
    }
}
