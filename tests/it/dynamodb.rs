//! `DynamoBackend`, against emulators of the service and against servers that misbehave.
//!
//! Each test runs against the emulator whose URL is in `FAST_CACHE_TEST_DYNAMODB`, dynoxide, and
//! against the one in `FAST_CACHE_TEST_DYNAMODB_MOTO`, moto. Neither is the service, so what
//! matters passes on both. Every test makes tables of its own.

pub(crate) mod server;

use std::collections::HashMap;
use std::error::Error as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fast_cache::aws_sdk_dynamodb::types::AttributeValue;
use fast_cache::{Backend, DynamoBackend, Error, ErrorKind};
#[cfg(feature = "json")]
use fast_cache::{Cache, cache};
use futures_util::future;

use self::server::{Answer, Script, emulators, in_own_process};

const LIMIT: usize = 400 * 1024;

fn milliseconds_since_epoch() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since.as_millis()).unwrap()
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn b(bytes: &'static [u8]) -> AttributeValue {
    AttributeValue::B(bytes.into())
}

fn v(bytes: &'static str) -> Bytes {
    Bytes::from_static(bytes.as_bytes())
}

/// An error as a log shows it, with all its causes.
fn whole(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    text
}

#[tokio::test]
async fn values_are_kept_and_expire() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let all_bytes: Bytes = (0..=255).collect();
        assert_eq!(backend.get("a").await.unwrap(), None);
        backend.set("a", all_bytes.clone(), None).await.unwrap();
        assert_eq!(backend.get("a").await.unwrap(), Some(all_bytes));
        let minute = Some(Duration::from_secs(60));
        backend.set("a", Bytes::new(), minute).await.unwrap();
        assert_eq!(backend.get("a").await.unwrap(), Some(Bytes::new()));

        let zero = Some(Duration::ZERO);
        backend.set("a", v("1"), zero).await.unwrap();
        while backend.get("a").await.unwrap().is_some() {}
        let forever = Some(Duration::MAX);
        backend.set("a", v("2"), forever).await.unwrap();
        assert_eq!(backend.get("a").await.unwrap().unwrap(), "2");

        let keys = [r#"shop:x*?[^]\"#, "SHOP:x", "#key:value", &"k".repeat(250)];
        for (key, value) in keys.iter().zip(["a", "b", "c", "d"]) {
            backend.set(key, v(value), None).await.unwrap();
        }
        for (key, value) in keys.iter().zip(["a", "b", "c", "d"]) {
            assert_eq!(backend.get(key).await.unwrap().unwrap(), value);
        }
        assert_eq!(backend.clear("shop").await.unwrap(), 0);
        assert!(backend.get(keys[0]).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn an_item_is_replaced_only_if_it_is_what_was_seen() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let minute = Some(Duration::from_secs(60));
        let replace = async |seen: Option<&[u8]>, value| {
            let replaced = backend.replace("a", seen, v(value), minute).await.unwrap();
            (replaced, backend.get("a").await.unwrap().unwrap())
        };
        assert_eq!(replace(None, "one").await, (true, v("one")));
        assert_eq!(replace(None, "two").await, (false, v("one")));
        assert_eq!(replace(Some(b"on"), "three").await, (true, v("three")));
        assert_eq!(replace(Some(b"ree"), "four").await, (false, v("three")));
        assert_eq!(replace(Some(b"three."), "four").await, (false, v("three")));
        assert_eq!(replace(Some(b"three"), "four").await, (true, v("four")));
        assert_eq!(replace(Some(b""), "five").await, (true, v("five")));

        // Bytes that are no text, with lengths that base64 pads differently.
        for seen in [
            &b"\xff"[..],
            b"\xff\x00",
            b"\xff\x00\xfe",
            b"\xff\x00\xfe\x80",
        ] {
            let stored = Bytes::from_static(b"\xff\x00\xfe\x80\x01");
            backend.set("a", stored, minute).await.unwrap();
            assert!(!replace(Some(b"\xff\x01"), "no").await.0);
            assert_eq!(replace(Some(seen), "six").await, (true, v("six")));
        }
        let absent = backend.replace("b", Some(b"seen"), v("seven"), None).await;
        assert!(absent.unwrap());
        let zero = Some(Duration::ZERO);
        backend.set("a", v("eight"), zero).await.unwrap();
        while backend.get("a").await.unwrap().is_some() {}
        assert_eq!(replace(None, "nine").await, (true, v("nine")));
    }
}

#[tokio::test]
async fn of_many_that_have_seen_the_same_one_succeeds() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        for seen in [None, Some(&b"old:"[..])] {
            if seen.is_some() {
                backend.set("a", v("old:1"), None).await.unwrap();
            }
            let attempts = (0..16).map(async |number: u32| {
                let value = Bytes::from(format!("new:{number}"));
                let replaced = backend.replace("a", seen, value.clone(), None).await;
                replaced.unwrap().then_some(value)
            });
            let stored = future::join_all(attempts).await;
            let stored: Vec<_> = stored.into_iter().flatten().collect();
            assert_eq!(stored.len(), 1, "{stored:?}");
            let there = backend.get("a").await.unwrap();
            assert_eq!(there.as_ref(), stored.first());
        }
    }
}

#[tokio::test]
async fn items_have_the_documented_attributes() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let before = milliseconds_since_epoch();
        let expire = Some(Duration::from_millis(1500));
        backend.set("a", v("1"), expire).await.unwrap();
        let after = milliseconds_since_epoch();
        let item = emulator.read("a").await.unwrap();
        assert_eq!(item.len(), 4);
        assert_eq!((&item["key"], &item["value"]), (&s("a"), &b(b"1")));
        let number = |name: &str| item[name].as_n().unwrap().parse::<u64>().unwrap();
        let expires_at = number("expires_at");
        assert!((before + 1500..=after + 1501).contains(&expires_at));
        assert_eq!(number("ttl"), expires_at.div_ceil(1000));

        assert!(backend.replace("b", None, v("2"), expire).await.unwrap());
        assert_eq!(emulator.read("b").await.unwrap().len(), 4);
        backend.set("a", v("1"), None).await.unwrap();
        let item = emulator.read("a").await.unwrap();
        assert_eq!(
            item,
            HashMap::from([("key".into(), s("a")), ("value".into(), b(b"1"))])
        );
    }
}

#[tokio::test]
async fn lifetimes_of_items_that_others_wrote_count() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let now = milliseconds_since_epoch();
        let (past, future) = (n(now / 1000 - 1), n(now / 1000 + 60));
        let exact_past = n(now - 1);
        let exact_future = n(now + 60_000);
        let cases: [(&[(&str, &AttributeValue)], bool); 6] = [
            (&[], true),
            (&[("ttl", &future)], true),
            (&[("ttl", &past)], false),
            (&[("ttl", &future), ("expires_at", &exact_past)], false),
            (&[("ttl", &past), ("expires_at", &exact_future)], true),
            (&[("expires_at", &exact_past)], false),
        ];
        for (attributes, is_there) in cases {
            let value = b(b"theirs");
            let attributes = [&[("value", &value)], attributes].concat();
            emulator.write("a", &attributes).await;
            let found = backend.get("a").await.unwrap();
            assert_eq!(found.is_some(), is_there, "{attributes:?}");
            let other = backend.replace("a", Some(b"other"), v("ours"), None).await;
            assert_eq!(other.unwrap(), !is_there, "{attributes:?}");
            emulator.write("a", &attributes).await;
            assert!(
                backend
                    .replace("a", Some(b"their"), v("ours"), None)
                    .await
                    .unwrap()
            );
            assert_eq!(backend.get("a").await.unwrap().unwrap(), "ours");
        }
    }
}

#[cfg(feature = "json")]
#[cache(expire = 60, namespace = "doubles", key = "{n}")]
async fn double(n: u64) -> u64 {
    n * 2
}

#[cfg(feature = "json")]
#[tokio::test]
async fn items_that_are_no_values_are_errors_and_are_overwritten() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let cache = Cache::new(fast_cache::Config::new(emulator.backend()).prefix("shop"));
        let (text, value) = (s("hunter2"), b(b"hunter2"));
        let cases: [&[(&str, &AttributeValue)]; 4] = [
            &[],
            &[("value", &text)],
            &[("value", &value), ("expires_at", &text)],
            &[("value", &value), ("ttl", &text)],
        ];
        for (case, attributes) in (1..).zip(cases) {
            emulator.write("shop:doubles:1", attributes).await;
            let error = backend.get("shop:doubles:1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Decode);
            assert!(!whole(&error).contains("hunter2"), "{}", whole(&error));
            assert_eq!(cache.scope(double(1)).await, 2);
            assert_eq!(cache.scope(double(1)).await, 2);
            assert_eq!(cache.stats().decode_errors, case);
            assert_eq!(cache.stats().hits, case);
        }
        emulator.write("a", &[("value", &text)]).await;
        assert!(backend.replace("a", None, v("ours"), None).await.unwrap());
    }
}

#[cfg(feature = "json")]
#[tokio::test]
async fn instances_share_values_and_what_was_invalidated_is_gone() {
    for emulator in emulators() {
        emulator.table().await;
        let [one, another] = [(); 2].map(|()| Cache::new(emulator.backend()));
        assert_eq!(one.scope(double(2)).await, 4);
        assert_eq!(another.scope(double(2)).await, 4);
        assert_eq!((one.stats().misses, another.stats().hits), (1, 1));
        one.scope(async { double::entry(2).invalidate().await.unwrap() })
            .await;
        let there = another.scope(async { double::entry(2).get().await.unwrap() });
        assert_eq!(there.await, None);
        assert_eq!(one.scope(double(2)).await, 4);
        assert_eq!(one.stats().misses, 2);
    }
}

#[tokio::test]
async fn an_item_may_be_as_large_as_the_limit() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        let names_and_key = "key".len() + "a".len() + "value".len();
        let largest = Bytes::from(vec![7; LIMIT - names_and_key]);
        if emulator.measures_bytes() {
            backend.set("a", largest.clone(), None).await.unwrap();
            assert_eq!(backend.get("a").await.unwrap(), Some(largest.clone()));
            let replaced = backend
                .replace("a", Some(&largest), largest.clone(), None)
                .await;
            assert!(replaced.unwrap());
        }

        // With a lifetime there are two numbers more: 13 and 10 digits, and their names.
        let numbers = "expires_at".len() + 8 + "ttl".len() + 6;
        let minute = Some(Duration::from_secs(60));
        if emulator.measures_bytes() {
            let fitting = largest.slice(numbers..);
            backend.set("a", fitting, minute).await.unwrap();
        }
        let over = largest.slice(numbers - 1..);
        let error = backend.set("a", over.clone(), minute).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&(LIMIT + 1).to_string()), "{text}");
        assert!(text.contains(&over.len().to_string()), "{text}");
        assert!(text.contains(&LIMIT.to_string()), "{text}");
        assert!(backend.replace("a", None, over, minute).await.is_err());
    }
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_call_with_too_large_a_value_succeeds() {
    #[cache(expire = 60)]
    async fn large() -> String {
        "x".repeat(LIMIT)
    }

    for emulator in emulators() {
        emulator.table().await;
        let cache = Cache::new(emulator.backend());
        assert_eq!(cache.scope(large()).await.len(), LIMIT);
        assert_eq!(cache.scope(large()).await.len(), LIMIT);
        assert_eq!((cache.stats().misses, cache.stats().stored), (2, 0));
    }
}

#[tokio::test]
async fn a_table_is_made_once_and_made_right() {
    for emulator in emulators() {
        let backend = emulator.backend();
        let missing = backend.get("a").await.unwrap_err();
        assert!(whole(&missing).contains("ResourceNotFoundException"));
        assert!(emulator.backend().connect().await.is_err());

        backend.create_table().await.unwrap();
        emulator.backend().connect().await.unwrap();
        backend.set("a", v("1"), None).await.unwrap();
        let again = (0..4).map(|_| backend.create_table());
        for made in future::join_all(again).await {
            made.unwrap();
        }
        assert_eq!(backend.get("a").await.unwrap().unwrap(), "1");
        let nowhere = server::client("http://127.0.0.1:9");
        let redirected = DynamoBackend::from_client(nowhere, emulator.name());
        let redirected = redirected.endpoint(emulator.url()).region("eu-west-1");
        assert!(format!("{redirected:?}").contains("eu-west-1"));
        redirected.create_table().await.unwrap();
        assert_eq!(emulator.time_to_live().await.as_deref(), Some("ttl"));
        assert_eq!(emulator.billing_mode().await, "PAY_PER_REQUEST");
    }
}

#[tokio::test]
async fn tables_of_another_kind_are_refused() {
    for emulator in emulators() {
        for (hash, range) in [("id", None), ("key", Some("range"))] {
            let other = emulator.sibling();
            other.create_foreign(hash, range).await;
            let error = other.backend().create_table().await.unwrap_err();
            assert!(error.to_string().contains("its key is not"), "{error}");
        }
        let other = emulator.sibling();
        other.create_foreign("key", None).await;
        other.turn_time_to_live_on("expires").await;
        let error = other.backend().create_table().await.unwrap_err();
        assert!(error.to_string().contains("`expires`"), "{error}");
    }
}

#[tokio::test]
async fn dropped_operations_leave_nothing_behind() {
    for emulator in emulators() {
        let backend = emulator.table().await;
        for name in 0..5 {
            let value = Bytes::from(format!("theirs {name}"));
            backend.set(&name.to_string(), value, None).await.unwrap();
        }
        for round in 0..60_u32 {
            // Each round drops an operation after another number of polls.
            let name = (round % 5).to_string();
            let mut polls = 0;
            let mut operation = Box::pin(async {
                let _ = backend.get(&name).await;
                let _ = backend.replace("dropped", None, v("x"), None).await;
            });
            future::poll_fn(|context| {
                polls += 1;
                match operation.as_mut().poll(context) {
                    _ if polls > round % 7 => std::task::Poll::Ready(()),
                    poll => poll,
                }
            })
            .await;
            drop(operation);
            let value = Bytes::from(round.to_string());
            backend.set("mine", value.clone(), None).await.unwrap();
            assert_eq!(backend.get("mine").await.unwrap(), Some(value));
        }
    }
}

#[tokio::test]
async fn the_environment_is_used_and_nothing_shows_its_secrets() {
    if !in_own_process("the_environment_is_used_and_nothing_shows_its_secrets") {
        return;
    }
    for emulator in emulators() {
        let backend = DynamoBackend::new(emulator.name())
            .region("eu-central-1")
            .endpoint(emulator.url());
        backend.create_table().await.unwrap();
        let backend = backend.connect().await.unwrap();
        backend.set("a", v("1"), None).await.unwrap();
        assert_eq!(backend.get("a").await.unwrap().unwrap(), "1");
        let text = format!("{backend:?}");
        for part in [emulator.name(), emulator.url(), "eu-central-1", "1s"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains(server::SECRET), "{text}");

        // A setting that is made later counts too, whatever was made before.
        let elsewhere = backend.endpoint("http://user:hunter2@127.0.0.1:9");
        let error = elsewhere.get("a").await.unwrap_err();
        for text in [format!("{elsewhere:?}"), whole(&error)] {
            assert!(!text.contains("hunter2"), "{text}");
            assert!(!text.contains(server::SECRET), "{text}");
        }
    }
    let error = DynamoBackend::new("cache").connect().await.unwrap_err();
    assert!(error.to_string().contains("AWS_REGION"), "{error}");
}

#[tokio::test]
async fn throttled_and_failed_requests_are_sent_again() {
    if !in_own_process("throttled_and_failed_requests_are_sent_again") {
        return;
    }
    let codes = [
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
    ];
    for code in codes {
        let throttled = Answer::error(400, code);
        let script = Script::start(vec![throttled.clone(), throttled]).await;
        assert_eq!(script.backend().get("a").await.unwrap(), None);
        assert_eq!(script.requests(), 3);
    }
    let failed = Answer::error(500, "InternalServerError");
    let unavailable = Answer::Status(503);
    let script = Script::start(vec![failed, unavailable, Answer::Hangup]).await;
    script.backend().set("a", v("1"), None).await.unwrap();
    assert_eq!(script.requests(), 4);
}

#[tokio::test]
async fn what_is_refused_for_good_is_told_without_the_value() {
    if !in_own_process("what_is_refused_for_good_is_told_without_the_value") {
        return;
    }
    let throttled = Answer::error(400, "ThrottlingException");
    let script = Script::start(vec![throttled; 20]).await;
    let error = script.backend().set("a", v("hunter2"), None).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Backend);
    let text = whole(&error);
    assert!(
        text.contains("ThrottlingException: told by the script"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(script.requests(), 4);

    let denied = Answer::error(400, "AccessDeniedException");
    let script = Script::start(vec![denied]).await;
    let error = script.backend().get("a").await.unwrap_err();
    assert!(whole(&error).contains("AccessDeniedException"));
    assert_eq!(script.requests(), 1);

    let garbage = Answer::Body("\"hunter2");
    let script = Script::start(vec![garbage]).await;
    let error = script.backend().get("a").await.unwrap_err();
    assert!(!whole(&error).contains("hunter2"), "{}", whole(&error));
}

#[tokio::test]
async fn a_replacement_whose_answer_was_lost_is_not_called_refused() {
    if !in_own_process("a_replacement_whose_answer_was_lost_is_not_called_refused") {
        return;
    }
    let refused = Answer::error(400, "ConditionalCheckFailedException");
    let doubtful = [
        Answer::error(500, "InternalServerError"),
        Answer::Hangup,
        Answer::Never,
    ];
    for lost in doubtful {
        let script = Script::start(vec![lost.clone(), refused.clone()]).await;
        let error = script.backend().replace("a", None, v("1"), None).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("unknown"), "{lost:?}: {error}");
        assert_eq!(script.requests(), 2);
    }
    let throttled = Answer::error(400, "ThrottlingException");
    let script = Script::start(vec![throttled, refused]).await;
    let replaced = script.backend().replace("a", None, v("1"), None).await;
    assert!(!replaced.unwrap());
}

#[tokio::test]
async fn a_service_that_never_answers_costs_the_timeout() {
    if !in_own_process("a_service_that_never_answers_costs_the_timeout") {
        return;
    }
    let script = Script::start(vec![Answer::Never; 50]).await;
    let backend = script.backend().timeout(Duration::from_millis(100));
    let began = Instant::now();
    let hanging = (0..10).map(|_| backend.get("a"));
    for answer in future::join_all(hanging).await {
        let text = whole(&answer.unwrap_err());
        assert!(
            text.contains("in time") || text.contains("timed out"),
            "{text}"
        );
    }
    assert!(backend.set("a", v("1"), None).await.is_err());
    assert!(backend.replace("a", None, v("1"), None).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(20));

    let given = script.client();
    let backend = DynamoBackend::from_client(given, "cache").timeout(Duration::from_millis(100));
    let error = backend.get("a").await.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[cfg(feature = "json")]
#[tokio::test]
async fn calls_survive_a_service_that_is_gone() {
    if !in_own_process("calls_survive_a_service_that_is_gone") {
        return;
    }
    let backend = DynamoBackend::new("cache")
        .region("eu-central-1")
        .endpoint("http://127.0.0.1:9");
    let error = backend.get("a").await.unwrap_err();
    assert!(whole(&error).contains("GetItem"), "{}", whole(&error));
    let cache = Cache::new(backend);
    assert_eq!(cache.scope(double(3)).await, 6);
    assert_eq!((cache.stats().misses, cache.stats().stored), (1, 0));
}
