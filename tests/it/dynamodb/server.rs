//! What the tests talk to: tables on emulators, and a server that answers by a script.

use std::collections::{HashMap, VecDeque};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use fast_cache::DynamoBackend;
use fast_cache::aws_sdk_dynamodb::Client;
use fast_cache::aws_sdk_dynamodb::config::{BehaviorVersion, Config, Credentials, Region};
use fast_cache::aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use http::StatusCode;
use tokio::net::TcpListener;

/// Part of the credentials that the tests use, which must not show up anywhere.
pub(crate) const SECRET: &str = "s3cr3t";

/// Where the emulators are. One that is missing is announced, and on CI a failure.
pub(crate) fn emulators() -> Vec<Emulated> {
    let names = ["FAST_CACHE_TEST_DYNAMODB", "FAST_CACHE_TEST_DYNAMODB_MOTO"];
    let url = |name: &str| {
        let url = std::env::var(name).ok();
        if url.is_none() {
            assert!(std::env::var_os("CI").is_none(), "{name} must be set on CI");
            eprintln!("SKIPPED, NOT TESTED: set {name}=http://.. to test DynamoBackend");
        }
        url
    };
    names
        .into_iter()
        .filter_map(url)
        .map(Emulated::new)
        .collect()
}

/// A name for a table on an emulator that no other test uses.
pub(crate) struct Emulated {
    url: String,
    name: String,
    client: Client,
}

impl Emulated {
    fn new(url: String) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);

        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self {
            name: format!("fast-cache-test-{}-{number}", std::process::id()),
            client: client(&url),
            url,
        }
    }

    /// Whether the emulator measures binary values as DynamoDB does. Moto measures the base64 that
    /// they travel in, and has no room for the largest ones.
    pub(crate) fn measures_bytes(&self) -> bool {
        std::env::var("FAST_CACHE_TEST_DYNAMODB_MOTO").ok() != Some(self.url.clone())
    }

    /// Another name on the same emulator.
    pub(crate) fn sibling(&self) -> Self {
        Self::new(self.url.clone())
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A backend whose table may not be there, with patience for a busy machine.
    pub(crate) fn backend(&self) -> DynamoBackend {
        DynamoBackend::from_client(self.client.clone(), &self.name)
            .timeout(std::time::Duration::from_secs(20))
    }

    /// A backend whose table is there.
    pub(crate) async fn table(&self) -> DynamoBackend {
        let backend = self.backend();
        backend.create_table().await.unwrap();
        backend
    }

    pub(crate) async fn read(&self, key: &str) -> Option<HashMap<String, AttributeValue>> {
        let request = self.client.get_item().table_name(&self.name);
        let key = AttributeValue::S(key.to_owned());
        request.key("key", key).send().await.unwrap().item
    }

    /// Writes an item as others may have done.
    pub(crate) async fn write(&self, key: &str, attributes: &[(&str, &AttributeValue)]) {
        let mut request = self.client.put_item().table_name(&self.name);
        request = request.item("key", AttributeValue::S(key.to_owned()));
        for (name, value) in attributes {
            request = request.item(*name, (*value).clone());
        }
        request.send().await.unwrap();
    }

    /// Makes a table that is not one of ours.
    pub(crate) async fn create_foreign(&self, hash: &str, range: Option<&str>) {
        let mut request = self
            .client
            .create_table()
            .table_name(&self.name)
            .billing_mode(BillingMode::PayPerRequest);
        let keys = [(Some(hash), KeyType::Hash), (range, KeyType::Range)];
        for (name, key_type) in keys {
            let Some(name) = name else { continue };
            let key = KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(key_type);
            let attribute = AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S);
            request = request
                .key_schema(key.build().unwrap())
                .attribute_definitions(attribute.build().unwrap());
        }
        request.send().await.unwrap();
    }

    pub(crate) async fn turn_time_to_live_on(&self, attribute: &str) {
        let specification = TimeToLiveSpecification::builder()
            .enabled(true)
            .attribute_name(attribute)
            .build();
        let request = self.client.update_time_to_live().table_name(&self.name);
        let request = request.time_to_live_specification(specification.unwrap());
        request.send().await.unwrap();
    }

    /// The attribute by which items are deleted, if they are.
    pub(crate) async fn time_to_live(&self) -> Option<String> {
        let request = self.client.describe_time_to_live().table_name(&self.name);
        let description = request.send().await.unwrap().time_to_live_description?;
        let status = description.time_to_live_status()?.as_str();
        assert!(["ENABLED", "ENABLING"].contains(&status), "{status}");
        description.attribute_name
    }

    pub(crate) async fn billing_mode(&self) -> String {
        let request = self.client.describe_table().table_name(&self.name);
        let table = request.send().await.unwrap().table.unwrap();
        let mode = table.billing_mode_summary().unwrap().billing_mode();
        mode.unwrap().as_str().to_owned()
    }
}

/// A client of its own, with credentials of its own.
pub(crate) fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("test", SECRET, None, None, "test"))
        .endpoint_url(url)
        .build();
    Client::from_conf(config)
}

/// Whether this process has credentials in its environment.
///
/// A process cannot safely change its own environment, so one that has none runs the test again
/// in a process that has them, and then does nothing itself.
pub(crate) fn in_own_process(test: &str) -> bool {
    const MARK: &str = "FAST_CACHE_TEST_OWN_PROCESS";

    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(["--exact", &format!("dynamodb::{test}")])
        .env(MARK, "1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
    false
}

/// How a server answers one request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// An error of the service, with its status and its code.
    Error(u16, &'static str),
    /// A status without a body, as from a proxy.
    Status(u16),
    /// Success, with this body.
    Body(&'static str),
    /// The connection is closed in the middle of the answer.
    Hangup,
    /// No answer, ever.
    Never,
}

impl Answer {
    pub(crate) fn error(status: u16, code: &'static str) -> Self {
        Self::Error(status, code)
    }

    async fn respond(self) -> Response {
        match self {
            Self::Error(status, code) => {
                let body = format!(
                    r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"told by the script"}}"#
                );
                (StatusCode::from_u16(status).unwrap(), body).into_response()
            }
            Self::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
            Self::Body(body) => body.into_response(),
            Self::Hangup => {
                let broken = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                let chunks = futures_util::stream::iter([Err::<&str, _>(broken)]);
                Body::from_stream(chunks).into_response()
            }
            Self::Never => std::future::pending().await,
        }
    }
}

/// A server that gives these answers, one after the other, and from then on an empty success.
pub(crate) struct Script {
    state: Arc<Progress>,
    url: String,
}

struct Progress {
    answers: Mutex<VecDeque<Answer>>,
    requests: AtomicUsize,
}

impl Script {
    /// Starts the server on a free port; it ends with the test's runtime.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let state = Arc::new(Progress {
            answers: Mutex::new(answers.into()),
            requests: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&state));
        tokio::spawn(async { axum::serve(listener, app).await });
        Self { state, url }
    }

    /// A backend with the environment's credentials.
    pub(crate) fn backend(&self) -> DynamoBackend {
        DynamoBackend::new("cache")
            .region("eu-central-1")
            .endpoint(&self.url)
            .timeout(std::time::Duration::from_secs(10))
    }

    pub(crate) fn client(&self) -> Client {
        client(&self.url)
    }

    /// How many requests have come.
    pub(crate) fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }
}

async fn answer(State(state): State<Arc<Progress>>) -> Response {
    state.requests.fetch_add(1, Ordering::SeqCst);
    let next = state.answers.lock().unwrap().pop_front();
    next.unwrap_or(Answer::Body("{}")).respond().await
}
