//! Bytes in DynamoDB.

mod failure;
mod item;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use bytes::Bytes;
use fast_cache_core::{Backend, Error, ErrorKind};
use tokio::sync::OnceCell;

use self::failure::{Doubt, failure, timed_out};
use self::item::{Condition, Item};

/// Values in a table of DynamoDB.
///
/// A read is one strongly consistent `GetItem`, a write one `PutItem`, which carries a condition
/// where what is there has to be compared first. Region, credentials and endpoint come from where
/// every AWS program takes them: the environment, the profile, or the role of the container or
/// machine. They are looked up when they are first needed, or by [`connect`](Self::connect). A
/// profile that logs in by SSO or by running a program needs the feature `sso` or
/// `credentials-process` of `aws-config`, which the application turns on.
///
/// An operation never takes longer than the [`timeout`](Self::timeout), with everything that it
/// waits for and with the SDK's retries of requests that were throttled or failed in passing.
///
/// An item holds at most 400 KB, names included. A larger value is an error before it is sent: the
/// call that it is for succeeds, and is not cached.
///
/// # The table
///
/// [`create_table`](Self::create_table) makes it. One that is made by other means has the hash key
/// `key`, a string, and no range key. The items have these attributes:
///
/// | attribute | type | content |
/// | --- | --- | --- |
/// | `key` | S | the printed key |
/// | `value` | B | the bytes |
/// | `expires_at` | N | the end of the lifetime, in milliseconds since the Unix epoch |
/// | `ttl` | N | the same in seconds, rounded up, for DynamoDB to delete the item |
///
/// The latter two are missing where there is no lifetime. DynamoDB deletes an expired item some
/// time later, up to days; until then it takes space and is not found, since `expires_at` is
/// compared with the clock of this machine. `ttl` counts in its place in items that others wrote
/// without it. With time to live turned off for the table, nothing is ever deleted.
///
/// Clearing frees nothing at once: cleared items cannot be found any more, and stay until their
/// `ttl`. Listing them would read the whole table, and cost as much as it is large.
///
/// # Example
///
/// ```no_run
/// use fast_cache_backends::DynamoBackend;
///
/// # async fn run() -> Result<(), fast_cache_core::Error> {
/// let backend = DynamoBackend::new("cache").region("eu-central-1").connect().await?;
/// # Ok(()) }
/// ```
///
/// The feature wants rustc 1.88, which the AWS SDK supported up to `aws-sdk-dynamodb` 1.104; later
/// versions of the SDK want a later rustc, 1.94 at present.
pub struct DynamoBackend {
    table: String,
    given: Option<Client>,
    region: Option<String>,
    endpoint: Option<String>,
    connect_timeout: Duration,
    timeout: Duration,
    /// Made from all of the above when it is first needed.
    client: OnceCell<Client>,
}

/// How long a set-up step may take. It happens once, and what it does may be slow: credentials can
/// take several requests to other services.
const SET_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a request is sent at most.
const ATTEMPTS: u32 = 4;
/// The SDK waits up to this long before its first retry, and twice as long before each next one.
/// Its own default of a second would use up the time of the whole operation.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);

impl DynamoBackend {
    /// Values in this table, with a connect timeout and a timeout of one second each.
    ///
    /// Nothing is looked up or sent before the first operation.
    ///
    /// ```no_run
    /// use fast_cache_backends::DynamoBackend;
    ///
    /// let backend = DynamoBackend::new("cache")
    ///     .region("eu-central-1")
    ///     .endpoint("http://127.0.0.1:8000");
    /// ```
    #[must_use]
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            given: None,
            region: None,
            endpoint: None,
            connect_timeout: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            client: OnceCell::new(),
        }
    }

    /// Uses a client that the application has.
    ///
    /// It keeps its own retries and timeouts; the [`timeout`](Self::timeout) of this backend
    /// applies too, and the [`connect_timeout`](Self::connect_timeout) does not. Its connections
    /// are shared unless [`region`](Self::region) or [`endpoint`](Self::endpoint) is changed.
    ///
    /// ```no_run
    /// use fast_cache_backends::DynamoBackend;
    ///
    /// # async fn run() {
    /// let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    /// let client = aws_sdk_dynamodb::Client::new(&config);
    /// let backend = DynamoBackend::from_client(client, "cache");
    /// # }
    /// ```
    #[must_use]
    pub fn from_client(client: Client, table: impl Into<String>) -> Self {
        Self {
            given: Some(client),
            ..Self::new(table)
        }
    }

    /// Sets the region, in place of the environment's.
    #[must_use]
    pub fn region(self, region: impl Into<String>) -> Self {
        Self {
            region: Some(region.into()),
            client: OnceCell::new(),
            ..self
        }
    }

    /// Sets the URL of the service, in place of the region's own: that of a VPC endpoint, or of an
    /// emulator.
    #[must_use]
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        Self {
            endpoint: Some(url.into()),
            client: OnceCell::new(),
            ..self
        }
    }

    /// Sets how long it may take to connect to the service. The [`timeout`](Self::timeout) includes
    /// it, so a longer one than that has no effect.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self {
            connect_timeout: timeout,
            client: OnceCell::new(),
            ..self
        }
    }

    /// Sets how long an operation may take, looking for credentials, connecting and retries
    /// included.
    ///
    /// A request that gets no answer is given up after half of that time, so that another one can
    /// be tried on a new connection.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout,
            client: OnceCell::new(),
            ..self
        }
    }

    /// Finds the region and the credentials, and reads one key of the table, `fast-cache`.
    ///
    /// Without it the first operation does so, and what is wrong shows up as a cache that never
    /// hits. Takes at most ten seconds.
    ///
    /// # Errors
    ///
    /// When no region or no credentials are found, or the table cannot be read.
    pub async fn connect(self) -> Result<Self, Error> {
        let reading = async {
            let request = self.client().await?.get_item().table_name(&self.table);
            request
                .key(item::KEY, AttributeValue::S("fast-cache".to_owned()))
                .customize()
                .config_override(patient())
                .send()
                .await
                .map_err(|error| failure("GetItem", &error))
        };
        within(SET_UP_TIMEOUT, "GetItem", reading).await?;
        Ok(self)
    }

    /// Makes the table, billed by request, waits until it can be used, and has DynamoDB delete
    /// items by their `ttl`.
    ///
    /// A table that is there already is left as it is if its key is right; only its time to live is
    /// turned on. Takes at most a minute, and mostly a few seconds.
    ///
    /// It needs rights that a service should not have in production: `CreateTable`,
    /// `DescribeTable`, `DescribeTimeToLive` and `UpdateTimeToLive`.
    ///
    /// ```no_run
    /// use fast_cache_backends::DynamoBackend;
    ///
    /// # async fn run() -> Result<(), fast_cache_core::Error> {
    /// let backend = DynamoBackend::new("cache");
    /// backend.create_table().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the service refuses, when there is a table of this name with another key or with
    /// another attribute for the time to live, or when the table does not become active in time.
    pub async fn create_table(&self) -> Result<(), Error> {
        let creating = async { table::create(self.client().await?, &self.table).await };
        within(table::TIMEOUT, "CreateTable", creating).await
    }

    /// The client, which is made by whoever comes first. If that one is dropped, the next makes it.
    async fn client(&self) -> Result<&Client, Error> {
        self.client.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Client, Error> {
        let client = match &self.given {
            // A client that is made anew would have connections of its own.
            Some(client) if self.region.is_none() && self.endpoint.is_none() => client.clone(),
            Some(client) => self.adjusted(client.config().to_builder()),
            None => self.adjusted(self.config().await),
        };
        if client.config().region().is_none() {
            return Err(Error::new(
                ErrorKind::Backend,
                "no aws region is known: set `AWS_REGION`, or call `region`",
            ));
        }
        Ok(client)
    }

    fn adjusted(&self, mut config: Builder) -> Client {
        if let Some(region) = &self.region {
            config.set_region(Some(Region::new(region.clone())));
        }
        if let Some(endpoint) = &self.endpoint {
            config.set_endpoint_url(Some(endpoint.clone()));
        }
        Client::from_conf(config.build())
    }

    /// What the environment says, with retries and timeouts that fit into an operation's time.
    async fn config(&self) -> Builder {
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(FIRST_BACKOFF);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.timeout / 2)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(retries)
            .timeout_config(timeouts);
        if let Some(region) = &self.region {
            // The region is asked from the machine's metadata service otherwise, which takes its
            // time where there is none.
            loader = loader.region(Region::new(region.clone()));
        }
        Builder::from(&loader.load().await)
    }

    async fn put_request(&self, item: Item<'_>) -> Result<PutItemFluentBuilder, Error> {
        let attributes = item.into_attributes()?;
        let request = self.client().await?.put_item().table_name(&self.table);
        Ok(request.set_item(Some(attributes)))
    }

    /// Stores the item unless something else is there than what begins with the bytes that were
    /// seen, and tells whether it did.
    ///
    /// DynamoDB compares the beginnings of binary values. Of its emulators some compare those of
    /// texts alone, and refuse what should have been stored. That shows in what is there, which
    /// then has to be there still when the item is sent again.
    async fn put_if_free(&self, item: Item<'_>, seen: Option<&[u8]>) -> Result<bool, Error> {
        let now = item::now();
        let condition = Condition::Free { seen, now };
        let there = match self.put_if(item.clone(), condition).await? {
            Put::Stored => return Ok(true),
            Put::Refused(there) => there,
        };
        let there = there.as_ref().and_then(item::value);
        match (seen, there) {
            (Some(seen), Some(there)) if there.starts_with(seen) => {
                let sent_again = self.put_if(item, Condition::Is(there)).await?;
                Ok(matches!(sent_again, Put::Stored))
            }
            _ => Ok(false),
        }
    }

    /// Stores the item if the condition holds.
    async fn put_if(&self, item: Item<'_>, condition: Condition<'_>) -> Result<Put, Error> {
        let request = self.put_request(item).await?;
        let doubt = Doubt::default();
        let returned = match condition {
            Condition::Free { seen: Some(_), .. } => ReturnValuesOnConditionCheckFailure::AllOld,
            _ => ReturnValuesOnConditionCheckFailure::None,
        };
        let answer = request
            .condition_expression(condition.expression())
            .set_expression_attribute_names(Some(condition.names()))
            .set_expression_attribute_values(Some(condition.values()))
            .return_values_on_condition_check_failure(returned)
            .customize()
            .interceptor(doubt.clone())
            .send()
            .await;
        let Err(error) = answer else {
            return Ok(Put::Stored);
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(_)) if doubt.is_raised() => {
                Err(Error::new(
                    ErrorKind::Backend,
                    "it is unknown whether dynamodb stored the item: its answer to PutItem was lost",
                ))
            }
            Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                Ok(Put::Refused(refusal.item().cloned()))
            }
            _ => Err(failure("PutItem", &error)),
        }
    }
}

/// What became of an item that was to be stored on a condition.
enum Put {
    Stored,
    /// The condition does not hold, for what is there, if the service was asked to send it.
    Refused(Option<HashMap<String, AttributeValue>>),
}

impl Backend for DynamoBackend {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let reading = async {
            let request = self.client().await?.get_item().table_name(&self.table);
            request
                .key(item::KEY, AttributeValue::S(key.to_owned()))
                .consistent_read(true)
                .send()
                .await
                .map_err(|error| failure("GetItem", &error))
        };
        match within(self.timeout, "GetItem", reading).await?.item {
            Some(attributes) => item::read(attributes, item::now()),
            None => Ok(None),
        }
    }

    async fn set(&self, key: &str, value: Bytes, expire: Option<Duration>) -> Result<(), Error> {
        let writing = async {
            let request = self.put_request(Item::new(key, value, expire)).await?;
            request
                .send()
                .await
                .map_err(|error| failure("PutItem", &error))
        };
        within(self.timeout, "PutItem", writing).await.map(drop)
    }

    async fn replace(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Bytes,
        expire: Option<Duration>,
    ) -> Result<bool, Error> {
        if seen.is_some_and(<[u8]>::is_empty) {
            // Everything begins with nothing, which an expression must not mention.
            return self.set(key, value, expire).await.map(|()| true);
        }
        let writing = self.put_if_free(Item::new(key, value, expire), seen);
        within(self.timeout, "PutItem", writing).await
    }
}

impl fmt::Debug for DynamoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = self.client.get().or(self.given.as_ref());
        let region = client
            .and_then(|client| client.config().region())
            .map(Region::as_ref);
        f.debug_struct("DynamoBackend")
            .field("table", &self.table)
            .field("region", &self.region.as_deref().or(region))
            .field("endpoint", &self.endpoint.as_deref().map(without_user))
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Bounds an operation. Dropping a request is safe: its connection is closed, so that nobody can
/// read its answer.
async fn within<T>(
    limit: Duration,
    name: &'static str,
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(limit, operation).await {
        Ok(result) => result,
        Err(_) => Err(timed_out(name)),
    }
}

/// What differs for requests that happen once and may be slow.
fn patient() -> Builder {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(SET_UP_TIMEOUT)
        .build();
    Builder::new().timeout_config(timeouts)
}

/// A URL without the user and the password that it may hold.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, host)| host)
}
