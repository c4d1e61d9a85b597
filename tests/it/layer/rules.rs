//! The rules of HTTP, as RFC 9111 and its neighbours have them.

use std::time::{Duration, SystemTime};

use axum::http::{Method, StatusCode, header};
use fast_cache::{CacheLayer, Config, InMemoryBackend};

use super::{SECOND, Site, always, response, stores, with_status};

#[tokio::test]
async fn a_response_that_says_so_is_served_again_on_every_kind_of_store() {
    for config in stores() {
        let site = Site::on(
            config,
            CacheLayer::new(),
            always(&[("cache-control", "max-age=60")]),
        );
        let miss = site.get("/a").await;
        site.clock.advance(7 * SECOND);
        let hit = site.get("/a").await;
        assert_eq!(site.calls(), 1);
        assert_eq!(miss.header("x-fastapi-cache"), "MISS");
        assert_eq!(hit.header("x-fastapi-cache"), "HIT");
        assert_eq!(hit.header("age"), "7");
        assert_eq!(
            (hit.text(), hit.header("etag")),
            ("answer 0", miss.header("etag"))
        );
        let bare = |got: &super::Got| {
            let mut headers = got.headers.clone();
            headers.remove("age");
            headers.remove("x-fastapi-cache");
            headers
        };
        assert_eq!(bare(&miss), bare(&hit));
        assert_eq!(site.get("/b").await.text(), "answer 1");
        site.clock.advance(53 * SECOND);
        assert_eq!(site.get("/a").await.text(), "answer 2");
    }
}

#[tokio::test]
async fn what_says_nothing_is_stored_only_under_a_lifetime_of_the_layer() {
    let silent = Site::new(CacheLayer::new(), always(&[]));
    silent.get("/").await;
    assert_eq!(silent.get("/").await.text(), "answer 1");
    assert_eq!(silent.get("/").await.header("etag"), "");

    // Of a lifetime that it has made up, the layer tells no client.
    let given = Site::new(CacheLayer::new().expire(60 * SECOND), always(&[]));
    assert_eq!(given.get("/").await.header("cache-control"), "");
    given.clock.advance(20 * SECOND);
    let hit = given.get("/").await;
    assert_eq!(
        (hit.text(), hit.header("cache-control"), hit.header("age")),
        ("answer 0", "", "20")
    );

    let config = Config::new(InMemoryBackend::new()).expire(5 * SECOND);
    let default = Site::on(config, CacheLayer::new(), always(&[]));
    default.get("/").await;
    default.clock.advance(4 * SECOND);
    assert_eq!(default.get("/").await.text(), "answer 0");
    default.clock.advance(SECOND);
    assert_eq!(default.get("/").await.text(), "answer 1");

    let own = Site::new(
        CacheLayer::new().expire(60 * SECOND),
        always(&[("cache-control", "max-age=2")]),
    );
    own.get("/").await;
    own.clock.advance(2 * SECOND);
    assert_eq!(own.get("/").await.text(), "answer 1");
}

#[tokio::test]
async fn errors_are_given_no_lifetime_but_may_have_their_own() {
    let layer = || CacheLayer::new().expire(60 * SECOND);
    let silent = Site::new(layer(), |_, before| with_status(404, &[], before));
    silent.get("/").await;
    silent.get("/").await;
    assert_eq!(silent.calls(), 2);
    let own = [("cache-control", "max-age=9")];
    let spoken = Site::new(layer(), move |_, before| with_status(404, &own, before));
    spoken.get("/").await;
    assert_eq!(spoken.get("/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(spoken.calls(), 1);
}

#[tokio::test]
async fn what_is_for_one_client_is_for_no_other() {
    for headers in [
        &[("cache-control", "private, max-age=60")][..],
        &[("cache-control", "no-store, max-age=60")],
        &[("cache-control", "max-age=60"), ("set-cookie", "id=1")],
        &[("cache-control", "max-age=60"), ("vary", "*")],
    ] {
        let site = Site::new(CacheLayer::new().expire(60 * SECOND), always(headers));
        site.get("/").await;
        assert_eq!(site.get("/").await.text(), "answer 1", "{headers:?}");
    }
}

#[tokio::test]
async fn cookies_are_given_to_others_only_where_that_is_asked_for() {
    let layer = || CacheLayer::new().store_set_cookie(true).expire(60 * SECOND);
    let spoken = always(&[("cache-control", "max-age=60"), ("set-cookie", "seen=1")]);
    let site = Site::new(layer(), spoken);
    site.get("/").await;
    assert_eq!(site.get("/").await.header("set-cookie"), "seen=1");
    assert_eq!(site.calls(), 1);
    let silent = Site::new(layer(), always(&[("set-cookie", "id=1")]));
    silent.get("/").await;
    assert_eq!(silent.get("/").await.text(), "answer 1");
}

#[tokio::test]
async fn a_request_that_tells_who_sent_it_shares_what_is_meant_to_be_shared() {
    for name in ["authorization", "cookie", "x-api-key", "x-auth-token"] {
        let personal = &[(name, "me")][..];
        let given = Site::new(CacheLayer::new().expire(60 * SECOND), always(&[]));
        given.get_with("/", personal).await;
        assert_eq!(given.get("/").await.text(), "answer 1", "{name}");
        assert_eq!(
            given.get_with("/", personal).await.text(),
            "answer 2",
            "{name}"
        );
        assert_eq!(given.get("/").await.text(), "answer 1", "{name}");

        let public = Site::new(
            CacheLayer::new(),
            always(&[("cache-control", "public, max-age=60")]),
        );
        public.get_with("/", personal).await;
        assert_eq!(public.get("/").await.text(), "answer 0", "{name}");

        let keyed = CacheLayer::new()
            .vary([name.parse().unwrap()])
            .expire(60 * SECOND);
        let keyed = Site::new(keyed, always(&[]));
        let first = keyed.get_with("/", personal).await;
        assert_eq!(first.header("vary"), name);
        assert_eq!(
            keyed.get_with("/", &[(name, "you")]).await.text(),
            "answer 1"
        );
        assert_eq!(keyed.get_with("/", personal).await.text(), "answer 0");
        assert_eq!(keyed.get("/").await.text(), "answer 2");
    }
}

#[tokio::test]
async fn what_was_authorized_is_shared_only_if_it_says_so() {
    let with = |control: &'static str| async move {
        let site = Site::new(CacheLayer::new(), move |_, before| {
            response(&[("cache-control", control)], before)
        });
        site.get_with("/", &[("authorization", "me")]).await;
        site.get("/").await;
        site.calls()
    };
    assert_eq!(with("max-age=60").await, 2);
    for shared in [
        "public, max-age=60",
        "s-maxage=60",
        "must-revalidate, max-age=60",
    ] {
        assert_eq!(with(shared).await, 1, "{shared}");
    }
}

#[tokio::test]
async fn variants_are_kept_side_by_side_on_every_kind_of_store() {
    for config in stores() {
        let site = Site::on(config, CacheLayer::new(), |parts, before| {
            let vary = if parts.uri.path() == "/two" {
                "accept-language, x-b"
            } else {
                "Accept-Language"
            };
            response(&[("cache-control", "max-age=60"), ("vary", vary)], before)
        });
        let get = |path, language: &'static str| {
            let site = site.clone();
            async move { site.get_with(path, &[("accept-language", language)]).await }
        };
        assert_eq!(get("/", "de").await.text(), "answer 0");
        assert_eq!(get("/", "en").await.text(), "answer 1");
        assert_eq!(site.get("/").await.text(), "answer 2");
        assert_eq!(get("/", "de").await.text(), "answer 0");
        assert_eq!(get("/", "EN").await.text(), "answer 1");
        assert_eq!(site.get("/").await.text(), "answer 2");
        assert_eq!(get("/", "en").await.header("x-fastapi-cache"), "HIT");

        // One invalidation ends them all.
        site.send(Method::POST, "/", &[]).await;
        assert_eq!(get("/", "de").await.text(), "answer 4");
        assert_eq!(get("/", "en").await.text(), "answer 5");
    }
}

#[tokio::test]
async fn responses_may_come_to_depend_on_more() {
    let site = Site::new(CacheLayer::new(), |_, before| {
        let vary = ["", "x-a", "x-b", "x-a"][before.min(3)];
        response(&[("cache-control", "max-age=60"), ("vary", vary)], before)
    });
    assert_eq!(site.get_with("/", &[("x-a", "1")]).await.text(), "answer 0");
    assert_eq!(site.get_with("/", &[("x-a", "2")]).await.text(), "answer 0");
    site.send(Method::DELETE, "/", &[]).await;
    assert_eq!(site.get_with("/", &[("x-a", "1")]).await.text(), "answer 2");
    assert_eq!(site.get_with("/", &[("x-a", "2")]).await.text(), "answer 2");
    assert_eq!(site.get_with("/", &[("x-b", "2")]).await.text(), "answer 3");
    assert_eq!(site.get_with("/", &[("x-b", "2")]).await.text(), "answer 3");
    assert_eq!(
        site.get_with("/", &[("x-a", "2"), ("x-b", "2")])
            .await
            .text(),
        "answer 4"
    );
    assert_eq!(site.get_with("/", &[("x-b", "2")]).await.text(), "answer 3");
}

#[tokio::test]
async fn a_stale_response_is_validated_and_brought_up_to_date() {
    for config in stores() {
        let site = Site::on(config, CacheLayer::new(), |parts, before| {
            let control = ("cache-control", "max-age=5");
            if parts
                .headers
                .get(header::IF_NONE_MATCH)
                .is_some_and(|tag| tag == "\"a\"")
            {
                return with_status(304, &[control, ("x-new", "yes")], before);
            }
            let modified = ("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT");
            response(
                &[control, ("etag", "\"a\""), modified, ("x-old", "yes")],
                before,
            )
        });
        site.get("/").await;
        site.clock.advance(6 * SECOND);
        let validated = site.get("/").await;
        assert_eq!(validated.status, StatusCode::OK);
        assert_eq!(validated.text(), "answer 0");
        assert_eq!(
            (validated.header("x-new"), validated.header("x-old")),
            ("yes", "yes")
        );
        assert_eq!(validated.header("age"), "");
        assert_eq!(
            site.last_request("if-modified-since").as_deref(),
            Some("Wed, 01 Jan 2020 00:00:00 GMT")
        );
        site.clock.advance(4 * SECOND);
        let hit = site.get("/").await;
        assert_eq!(
            (hit.text(), hit.header("x-new"), hit.header("age")),
            ("answer 0", "yes", "4")
        );
        assert_eq!(site.calls(), 2);
    }
}

#[tokio::test]
async fn a_304_may_end_the_life_of_what_it_confirms() {
    let site = Site::new(CacheLayer::new(), |parts, before| match before {
        1 => with_status(304, &[("cache-control", "no-store")], before),
        _ => {
            assert!(before != 2 || !parts.headers.contains_key(header::IF_NONE_MATCH));
            response(&[("cache-control", "max-age=5"), ("etag", "\"a\"")], before)
        }
    });
    site.get("/").await;
    site.clock.advance(6 * SECOND);
    assert_eq!(site.get("/").await.text(), "answer 0");
    assert_eq!(site.get("/").await.text(), "answer 2");
}

#[tokio::test]
async fn no_cache_is_stored_and_validated_each_time() {
    let site = Site::new(CacheLayer::new().expire(60 * SECOND), |parts, before| {
        let headers = [("cache-control", "no-cache"), ("etag", "\"a\"")];
        match parts.headers.contains_key(header::IF_NONE_MATCH) {
            true => with_status(304, &headers, before),
            false => response(&headers, before),
        }
    });
    for _ in 0..3 {
        assert_eq!(site.get("/").await.text(), "answer 0");
    }
    assert_eq!(site.calls(), 3);
}

#[tokio::test]
async fn clients_are_told_that_they_have_it_already() {
    let modified = "Wed, 01 Jan 2020 00:00:00 GMT";
    let site = Site::new(CacheLayer::new(), move |_, before| {
        let headers = [
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("last-modified", modified),
        ];
        response(&headers, before)
    });
    for (name, value) in [
        ("if-none-match", "\"x\", W/\"a\""),
        ("if-none-match", "*"),
        ("if-modified-since", modified),
        ("if-modified-since", "Thu, 02 Jan 2020 00:00:00 GMT"),
    ] {
        let got = site.get_with("/", &[(name, value)]).await;
        assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{name}: {value}");
        assert!(got.body.is_empty());
        assert_eq!(got.header("etag"), "\"a\"");
    }
    // The miss was one of them, and asked for the whole.
    assert_eq!(site.calls(), 1);
    assert_eq!(site.last_request("if-none-match"), None);
    let old = [("if-none-match", "\"b\""), ("if-modified-since", modified)];
    assert_eq!(site.get_with("/", &old).await.text(), "answer 0");

    // What is not stored is compared too, since the service was not asked to.
    let unstored = Site::new(CacheLayer::new(), always(&[("etag", "\"a\"")]));
    let got = unstored.get_with("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn other_conditions_are_for_the_service_to_judge() {
    for name in ["if-match", "if-unmodified-since"] {
        let site = Site::new(
            CacheLayer::new(),
            always(&[("cache-control", "max-age=60")]),
        );
        site.get("/").await;
        assert_eq!(
            site.get_with("/", &[(name, "\"a\"")]).await.text(),
            "answer 1"
        );
        assert_eq!(site.last_request(name).as_deref(), Some("\"a\""));
        assert_eq!(site.get("/").await.text(), "answer 0");
    }
}

#[tokio::test]
async fn parts_are_cut_out_of_a_complete_response() {
    let site = Site::new(
        CacheLayer::new(),
        always(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]),
    );
    let part = |range: &'static str, condition: &'static str| {
        let site = site.clone();
        async move {
            site.get_with("/", &[("range", range), ("if-range", condition)])
                .await
        }
    };
    site.get("/").await;
    let got = part("bytes=0-2", "\"a\"").await;
    assert_eq!(got.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(
        (got.text(), got.header("content-range")),
        ("ans", "bytes 0-2/8")
    );
    assert_eq!(got.header("content-length"), "3");
    let got = part("bytes=-2", "\"a\"").await;
    assert_eq!(
        (got.text(), got.header("content-range")),
        (" 0", "bytes 6-7/8")
    );
    let got = part("bytes=8-", "\"a\"").await;
    assert_eq!(got.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!((got.text(), got.header("content-range")), ("", "bytes */8"));
    let changed = part("bytes=0-2", "\"b\"").await;
    assert_eq!(
        (changed.status, changed.text()),
        (StatusCode::OK, "answer 0")
    );
    let several = part("bytes=0-1,3-4", "\"a\"").await;
    assert_eq!(
        (several.status, several.text()),
        (StatusCode::OK, "answer 0")
    );
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn what_is_not_there_in_whole_is_asked_for_in_part() {
    let site = Site::new(CacheLayer::new(), |parts, before| {
        match parts.headers.contains_key(header::RANGE) {
            true => with_status(
                206,
                &[
                    ("cache-control", "max-age=60"),
                    ("content-range", "bytes 0-7/99"),
                ],
                before,
            ),
            false => response(&[("cache-control", "max-age=60")], before),
        }
    });
    for before in 0..2 {
        let got = site.get_with("/", &[("range", "bytes=0-7")]).await;
        assert_eq!(
            (got.status, got.text()),
            (StatusCode::PARTIAL_CONTENT, &*format!("answer {before}"))
        );
    }
    assert_eq!(site.get("/").await.text(), "answer 2");
}

#[tokio::test]
async fn head_is_answered_from_get_and_stores_nothing() {
    let site = Site::new(
        CacheLayer::new(),
        always(&[("cache-control", "max-age=60")]),
    );
    site.send(Method::HEAD, "/", &[]).await;
    let miss = site.get("/").await;
    assert_eq!(miss.text(), "answer 1");
    let head = site.send(Method::HEAD, "/", &[]).await;
    assert_eq!(site.calls(), 2);
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), "8");
    assert_eq!(head.header("etag"), miss.header("etag"));
}

#[tokio::test]
async fn head_tells_whether_a_stale_response_is_current() {
    for (tag, expected) in [("\"a\"", "answer 0"), ("\"b\"", "answer 2")] {
        let site = Site::new(CacheLayer::new(), move |parts, before| {
            let tag = if parts.method == Method::HEAD {
                tag
            } else {
                "\"a\""
            };
            response(&[("cache-control", "max-age=5"), ("etag", tag)], before)
        });
        site.get("/").await;
        site.clock.advance(6 * SECOND);
        site.send(Method::HEAD, "/", &[]).await;
        assert_eq!(site.get("/").await.text(), expected);
    }
}

#[tokio::test]
async fn a_change_that_succeeds_ends_what_it_names_of_its_own_host() {
    for config in stores() {
        let site = Site::on(config, CacheLayer::new(), |parts, before| {
            if parts.method == Method::GET {
                return response(&[("cache-control", "max-age=60")], before);
            }
            let status = if parts.uri.path() == "/failing" {
                500
            } else {
                201
            };
            let named = [
                ("location", "/named"),
                ("content-location", "http://shop/also"),
                ("location", "http://other/far"),
            ];
            with_status(status, &named, before)
        });
        let shop = [("host", "shop")];
        let other = [("host", "other")];
        for path in ["/", "/failing", "/named", "/also", "/near"] {
            site.get_with(path, &shop).await;
        }
        site.get_with("/far", &other).await;
        assert_eq!(site.calls(), 6);
        let hits = async |path, headers: &[(&str, &str)]| {
            let before = site.calls();
            site.get_with(path, headers).await;
            site.calls() == before
        };
        site.send(Method::POST, "/failing", &shop).await;
        for path in ["/failing", "/named", "/also"] {
            assert!(hits(path, &shop).await, "{path}");
        }
        site.send("PURGE".parse().unwrap(), "/", &shop).await;
        for path in ["/", "/named", "/also"] {
            assert!(!hits(path, &shop).await, "{path}");
        }
        assert!(hits("/near", &shop).await);
        assert!(hits("/far", &other).await);
        for safe in [Method::OPTIONS, Method::TRACE] {
            site.send(safe, "/", &shop).await;
        }
        assert!(hits("/", &shop).await);
    }
}

#[tokio::test]
async fn requests_say_what_would_do() {
    let site = Site::new(
        CacheLayer::new(),
        always(&[("cache-control", "max-age=10")]),
    );
    let get = |control: &'static str| {
        let site = site.clone();
        async move { site.get_with("/", &[("cache-control", control)]).await }
    };
    assert_eq!(
        get("only-if-cached").await.status,
        StatusCode::GATEWAY_TIMEOUT
    );
    assert_eq!(get("no-store").await.text(), "answer 0");
    assert_eq!(get("").await.text(), "answer 1");
    assert_eq!(get("only-if-cached").await.text(), "answer 1");
    assert_eq!(get("no-store").await.text(), "answer 2");
    site.clock.advance(4 * SECOND);
    assert_eq!(get("max-age=5").await.text(), "answer 1");
    assert_eq!(get("min-fresh=6").await.text(), "answer 1");
    assert_eq!(get("min-fresh=7").await.text(), "answer 3");
    assert_eq!(get("no-cache").await.text(), "answer 4");
    assert_eq!(get("").await.text(), "answer 4");
    site.clock.advance(15 * SECOND);
    assert_eq!(get("max-stale=5").await.status, StatusCode::OK);
}

#[tokio::test]
async fn max_stale_is_heard_unless_the_response_forbids_it() {
    for (control, expected) in [
        ("max-age=1", "answer 0"),
        ("max-age=1, must-revalidate", "answer 1"),
    ] {
        let site = Site::new(CacheLayer::new(), move |_, before| {
            response(&[("cache-control", control), ("etag", "\"a\"")], before)
        });
        site.get("/").await;
        site.clock.advance(5 * SECOND);
        let got = site.get_with("/", &[("cache-control", "max-stale")]).await;
        assert_eq!(got.text(), expected, "{control}");
    }
}

#[tokio::test]
async fn clients_that_hammer_can_be_left_unheard() {
    let config = Config::new(InMemoryBackend::new()).client_directives(false);
    let site = Site::on(
        config,
        CacheLayer::new(),
        always(&[("cache-control", "max-age=10")]),
    );
    site.get("/").await;
    for control in ["no-cache", "no-store", "max-age=0"] {
        assert_eq!(
            site.get_with("/", &[("cache-control", control)])
                .await
                .text(),
            "answer 0"
        );
    }
}

#[tokio::test]
async fn ages_add_up() {
    let headers = [("cache-control", "max-age=60"), ("age", "50")];
    let site = Site::new(CacheLayer::new(), move |_, before| {
        response(&headers, before)
    });
    assert_eq!(site.get("/").await.header("age"), "50");
    site.clock.advance(9 * SECOND);
    assert_eq!(site.get("/").await.header("age"), "59");
    site.clock.advance(SECOND);
    assert_eq!(site.get("/").await.text(), "answer 1");
}

#[tokio::test]
async fn directives_for_caches_like_this_come_first() {
    for (targeted, expected) in [
        ("max-age=60", "answer 0"),
        ("private", "answer 1"),
        ("not a dictionary", "answer 1"),
    ] {
        let site = Site::new(CacheLayer::new(), move |_, before| {
            response(
                &[
                    ("cache-control", "no-store"),
                    ("cdn-cache-control", targeted),
                ],
                before,
            )
        });
        assert_eq!(site.get("/").await.header("cache-control"), "no-store");
        assert_eq!(site.get("/").await.text(), expected, "{targeted}");
    }
}

#[tokio::test]
async fn lifetimes_are_made_up_only_where_that_is_asked_for() {
    let day = Duration::from_secs(24 * 60 * 60);
    let made = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600) - 10 * day;
    let modified = httpdate::fmt_http_date(made);
    for (heuristic, calls) in [(false, 2), (true, 1)] {
        let modified = modified.clone();
        let layer = CacheLayer::new().heuristic_freshness(heuristic);
        let site = Site::new(layer, move |_, before| {
            response(&[("last-modified", &modified)], before)
        });
        site.get("/").await;
        site.clock.advance(day / 2);
        site.get("/").await;
        assert_eq!(site.calls(), calls, "{heuristic}");
    }
}

#[tokio::test]
async fn what_the_cache_did_is_told_where_that_is_asked_for() {
    let config = Config::new(InMemoryBackend::new()).prefix("p");
    let site = Site::on(
        config,
        CacheLayer::new().cache_status("edge"),
        |parts, before| match parts.uri.path() {
            "/private" => response(&[("cache-control", "private")], before),
            "/fixed" if before > 0 => with_status(304, &[], before),
            _ => response(
                &[
                    ("cache-control", "max-age=9"),
                    ("etag", "\"a\""),
                    ("cache-status", "origin; hit"),
                ],
                before,
            ),
        },
    );
    let status = async |path| {
        let got = site.get(path).await;
        let lines = got.headers.get_all("cache-status").iter();
        let lines: Vec<_> = lines
            .map(|line| line.to_str().unwrap().to_owned())
            .collect();
        lines.join(", ")
    };
    assert_eq!(
        status("/fixed").await,
        "origin; hit, edge;fwd=uri-miss;stored"
    );
    site.clock.advance(2 * SECOND);
    assert_eq!(status("/fixed").await, "origin; hit, edge;hit;ttl=7");
    site.clock.advance(8 * SECOND);
    let validated = "origin; hit, edge;fwd=stale;fwd-status=304;stored";
    assert_eq!(status("/fixed").await, validated);
    assert_eq!(
        status("/private").await,
        "edge;fwd=uri-miss;detail=\"not stored: private\""
    );
    let post = site.send(Method::POST, "/", &[]).await;
    assert!(post.header("cache-status").contains("origin"));
    let quiet = Site::new(CacheLayer::new(), always(&[]));
    assert_eq!(quiet.get("/").await.header("cache-status"), "");
}
