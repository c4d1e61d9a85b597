//! Printed keys, texts and key builders.
#![allow(
    unused_variables,
    reason = "some arguments are there for the key alone"
)]

use fast_cache::{Cache, Config, InMemoryBackend, KeyContext, cache};

use crate::support::{Calls, cached};

fn with_prefix(prefix: &str) -> Cache {
    Cache::new(Config::new(InMemoryBackend::new()).prefix(prefix))
}

#[tokio::test]
async fn the_printed_key_is_prefix_namespace_and_digest() {
    #[cache(expire = 60, namespace = "users")]
    async fn get_user(id: u64) -> u64 {
        id
    }
    #[cache(expire = 60, namespace = "users", version = 2)]
    async fn get_user_again(id: u64) -> u64 {
        id
    }

    let key = |prefix: &'static str, id| async move {
        with_prefix(prefix)
            .scope(async { get_user::entry(id).key() })
            .await
    };
    let one = key("shop", 1).await;
    let digest = one.strip_prefix("shop:users:").unwrap();
    assert_eq!(digest.len(), 32);
    assert!(
        digest
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    );
    assert_eq!(key("other", 1).await, format!("other:users:{digest}"));
    assert_eq!(key("", 1).await, format!(":users:{digest}"));
    assert_eq!(key("shop", 1).await, one);
    assert_ne!(key("shop", 2).await, one);
    // It may not depend on the process or the build; this one was printed by another.
    assert_eq!(digest, "0a30199c809523729d303c2447728c4b");
}

#[tokio::test]
async fn a_version_is_another_key() {
    mod one {
        #[fast_cache::cache(expire = 60)]
        pub(super) async fn load() -> u8 {
            1
        }
    }
    mod two {
        #[fast_cache::cache(expire = 60, version = 2)]
        pub(super) async fn load() -> u8 {
            1
        }
    }
    cached(async { assert_ne!(one::load::entry().key(), two::load::entry().key()) }).await;
}

#[tokio::test]
async fn widths_and_boundaries_are_kept_apart() {
    #[cache(expire = 60)]
    async fn pair(a: &str, b: &str) -> usize {
        a.len() * 100 + b.len()
    }

    cached(async {
        assert_eq!(pair("ab", "c").await, 201);
        assert_eq!(pair("a", "bc").await, 102);
        assert_eq!(pair("", "abc").await, 3);
    })
    .await;
}

#[tokio::test]
async fn a_text_is_the_key() {
    static CALLS: Calls = Calls::new();

    #[cache(expire = 60, namespace = "users", key = "user:{id}")]
    async fn by_id(id: u64, trace: &str) -> usize {
        CALLS.next();
        trace.len()
    }

    #[cache(expire = 60, key = "{shop}/{name:>4}")]
    async fn by_two((shop, _): (u8, u8), name: &str) -> String {
        format!("{shop} {name}")
    }

    #[cache(expire = 60, key = "constant {{}}")]
    async fn by_none(n: u8) -> u8 {
        n
    }

    with_prefix("shop")
        .scope(async {
            assert_eq!(by_id(42, "first").await, 5);
            assert_eq!(by_id(42, "another").await, 5);
            assert_eq!(CALLS.get(), 1);
            assert_eq!(by_id::entry(42).key(), "shop:users:user:42");
            assert_eq!(by_two::entry((7, 9), "ab").key(), "shop::7/%2520%2520ab");
            assert_eq!(by_none::entry().key(), "shop::constant%20{}");
            assert_eq!(by_none(1).await, 1);
            assert_eq!(by_none(2).await, 1);
        })
        .await;
}

#[tokio::test]
async fn a_value_cannot_imitate_the_text_around_it() {
    #[cache(expire = 60, key = "{a}:{b}")]
    async fn join(a: &str, b: &str) -> String {
        format!("{a}|{b}")
    }

    cached(async {
        assert_eq!(join("1:2", "3").await, "1:2|3");
        assert_eq!(join("1", "2:3").await, "1|2:3");
        let entry = join::entry("a b\r\n", "é");
        assert!(entry.key().bytes().all(|byte| byte.is_ascii_graphic()));
    })
    .await;
}

#[tokio::test]
async fn functions_of_one_namespace_share_a_text() {
    #[cache(expire = 60, namespace = "shared", key = "n:{n}")]
    async fn one(n: u8) -> u8 {
        n
    }
    #[cache(expire = 60, namespace = "shared", key = "n:{n}")]
    async fn same(n: u8) -> u8 {
        n + 100
    }
    #[cache(expire = 60, namespace = "shared", key = "n:{n}")]
    async fn another_type(n: u8) -> String {
        n.to_string()
    }

    cached(async {
        assert_eq!(one(1).await, 1);
        assert_eq!(same(1).await, 1);
        // A value of another type is a miss, counted, and overwritten.
        assert_eq!(another_type(1).await, "1");
        assert_eq!(another_type(1).await, "1");
        let stats = fast_cache::FastCache::stats();
        assert_eq!((stats.hits, stats.misses, stats.decode_errors), (2, 2, 1));
    })
    .await;
}

fn by_path(context: &KeyContext<'_>) -> String {
    assert_eq!(context.namespace, "built");
    let arguments: Vec<_> = context.args.iter().map(|arg| format!("{arg:?}")).collect();
    format!(
        "{} {}",
        context.function.rsplit("::").next().unwrap(),
        arguments.join(", ")
    )
}

async fn by_id(context: &KeyContext<'_>) -> String {
    tokio::task::yield_now().await;
    format!("id {}", context.args.get("id").unwrap())
}

#[tokio::test]
async fn key_builders_are_sync_or_async() {
    #[cache(expire = 60, namespace = "built", key_builder = by_path, skip(trace))]
    async fn sync(id: u64, tags: &[&str], trace: u8) -> u8 {
        trace
    }
    #[cache(expire = 60, namespace = "built", key_builder = by_id)]
    async fn asynchronous(id: u64, trace: u8) -> u8 {
        trace
    }

    with_prefix("p")
        .scope(async {
            assert_eq!(sync(1, &["a"], 5).await, 5);
            assert_eq!(sync(1, &["a"], 6).await, 5);
            assert_eq!(sync(1, &["b"], 7).await, 7);
            let entry = sync::entry(1, &["a"]);
            assert_eq!(
                entry.key(),
                "p:built:sync%20id%20=%201,%20tags%20=%20[\"a\"]"
            );

            assert_eq!(asynchronous(1, 5).await, 5);
            assert_eq!(asynchronous(1, 6).await, 5);
            let entry = asynchronous::entry(1, 0);
            assert_eq!(entry.resolve_key().await.unwrap(), "p:built:id%201");
            assert_eq!(entry.get().await.unwrap(), Some(5));
            assert!(entry.invalidate().await.unwrap());
            assert_eq!(asynchronous(1, 7).await, 7);
        })
        .await;
}

#[tokio::test]
async fn the_registrys_builder_serves_functions_that_have_none() {
    #[cache(expire = 60)]
    async fn plain(id: u64, other: u64) -> u64 {
        other
    }
    #[cache(expire = 60, key = "own:{other}")]
    async fn own(id: u64, other: u64) -> u64 {
        other
    }

    let config = Config::new(InMemoryBackend::new()).key_builder(by_id);
    Cache::new(config)
        .scope(async {
            assert_eq!(plain(1, 2).await, 2);
            assert_eq!(plain(1, 3).await, 2);
            assert_eq!(plain::entry(1, 9).resolve_key().await.unwrap(), "::id%201");
            assert_eq!(own(1, 2).await, 2);
            assert_eq!(own(1, 3).await, 3);
            assert!(fast_cache::FastCache::key_builder().is_some());
        })
        .await;
}
