//! What one client sends must not decide what another one gets.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, Request, header};
use axum::response::Response;
use fast_cache::CacheLayer;
use tower::ServiceExt;

use super::{Site, read, response, with_status};

/// Answers with all that a program may build links of, or be led astray by.
fn echo(parts: &Parts, before: usize) -> Response {
    let mut echoed = format!("{} {}", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        echoed.push_str(&format!("\n{name}: {:?}", value.as_bytes()));
    }
    let mut response = response(&[("cache-control", "max-age=60")], before);
    *response.body_mut() = Body::from(echoed);
    response
}

/// Whether what the attacker sends changes what the victim gets, who sends nothing out of the ordinary.
async fn poisons(attack: &[(&str, &str)]) -> bool {
    let site = Site::new(CacheLayer::new(), echo);
    let ordinary = [("host", "shop.example")];
    let clean = Site::new(CacheLayer::new(), echo)
        .get_with("/", &ordinary)
        .await;
    site.get_with("/", attack).await;
    let got = site.get_with("/", &ordinary).await;
    got.body != clean.body
}

#[tokio::test]
async fn hosts_have_entries_of_their_own() {
    assert!(!poisons(&[("host", "evil.example")]).await);
    assert!(!poisons(&[("host", "shop.example:8080")]).await);
    assert!(!poisons(&[]).await);
    let site = Site::new(CacheLayer::new(), echo);
    site.get_with("/", &[("host", "shop.example")]).await;
    site.get_with("/", &[("host", "SHOP.example")]).await;
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn a_host_that_is_not_certain_is_passed_on() {
    for attack in [
        &[("host", "shop.example"), ("host", "evil.example")][..],
        &[("host", "evil.example"), ("host", "shop.example")],
        &[("host", "shop.example@evil.example")],
        &[("host", "shop.example/evil")],
        &[("host", "shop.example evil")],
    ] {
        assert!(!poisons(attack).await, "{attack:?}");
    }
    let site = Site::new(CacheLayer::new(), echo);
    let host = [("host", "evil.example")];
    site.get_with("http://shop.example/", &host).await;
    site.get_with("http://shop.example/", &host).await;
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn forwarded_hosts_and_schemes_have_entries_of_their_own() {
    for name in [
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-forwarded-scheme",
        "x-forwarded-server",
        "x-host",
        "x-original-url",
        "x-rewrite-url",
    ] {
        let attack = [("host", "shop.example"), (name, "host=evil.example")];
        assert!(!poisons(&attack).await, "{name}");
        // What a proxy always says costs nothing.
        let site = Site::new(CacheLayer::new(), echo);
        site.get_with("/", &attack).await;
        site.get_with("/", &attack).await;
        assert_eq!(site.calls(), 1, "{name}");
    }
}

#[tokio::test]
async fn addresses_of_clients_take_no_part() {
    let site = Site::new(CacheLayer::new(), echo);
    site.get_with(
        "/",
        &[
            ("x-forwarded-for", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1;proto=https"),
        ],
    )
    .await;
    site.get_with(
        "/",
        &[
            ("x-forwarded-for", "192.0.2.2"),
            ("forwarded", "for=192.0.2.2;proto=https"),
        ],
    )
    .await;
    assert_eq!(site.calls(), 1);
}

#[tokio::test]
async fn a_get_that_is_another_method_in_disguise_is_passed_on() {
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let attack = [("host", "shop.example"), (name, "DELETE")];
        assert!(!poisons(&attack).await, "{name}");
        let site = Site::new(CacheLayer::new(), echo);
        site.get("/").await;
        site.get_with("/", &[(name, "DELETE")]).await;
        assert_eq!(site.calls(), 2, "{name}");
    }
}

#[tokio::test]
async fn a_get_with_a_body_is_passed_on() {
    let site = Site::new(CacheLayer::new(), echo);
    let fat = |announced: Option<(&'static str, &'static str)>, body: &'static str| {
        let mut request = Request::get("/");
        if let Some((name, value)) = announced {
            request = request.header(name, value);
        }
        request.body(Body::from(body)).unwrap()
    };
    for request in [
        fat(None, "evil"),
        fat(Some(("content-length", "4")), ""),
        fat(Some(("transfer-encoding", "chunked")), ""),
    ] {
        let reply = site.service.clone().oneshot(request).await.unwrap();
        assert_eq!(read(reply).await.header("x-fastapi-cache"), "");
    }
    assert_eq!(site.get("/").await.header("x-fastapi-cache"), "MISS");
    let empty = fat(Some(("content-length", "0")), "");
    let reply = site.service.clone().oneshot(empty).await.unwrap();
    assert_eq!(read(reply).await.header("x-fastapi-cache"), "HIT");
}

#[tokio::test]
async fn paths_and_queries_count_byte_for_byte() {
    let site = Site::new(CacheLayer::new(), echo);
    let paths = [
        "/account",
        "/account/",
        "/account/x.css",
        "/account;x.css",
        "/account%2fx.css",
        "/account%2Fx.css",
        "/static/../account",
        "//account",
        "/Account",
        "/account?",
        "/account?a=1&b=2",
        "/account?b=2&a=1",
        "/account?a=1&a=1",
        "/account?utm_source=x",
        "/account%00",
        "/account%3f",
    ];
    for path in paths {
        let got = site.get(path).await;
        assert!(got.text().starts_with(&format!("GET {path}")), "{path}");
    }
    assert_eq!(site.calls(), paths.len());
}

#[tokio::test]
async fn odd_bytes_in_headers_do_not_move_from_one_to_another() {
    let site = Site::new(CacheLayer::new(), |parts, before| {
        let mut response = echo(parts, before);
        let vary = header::HeaderValue::from_static("x-a, x-b");
        response.headers_mut().insert(header::VARY, vary);
        response
    });
    let requests: &[&[(&str, &str)]] = &[
        &[("x-a", "1"), ("x-b", "2")],
        &[("x-a", "1, x-b: 2")],
        &[("x-a", "1\tx-b: 2")],
        &[("x-a", "12"), ("x-b", "")],
        &[("x-a", "12")],
        &[("x-b", "12")],
        &[("x-a", ""), ("x-b", "12")],
        &[("x-a", "1\u{e9}"), ("x-b", "2")],
        &[("x-a", "1\"), ("), ("x-b", "2")],
        &[("x-a", "\"1, 2\"")],
        &[("x-a", "\"1,2\"")],
        &[("x-a", "2, 1")],
    ];
    for headers in requests {
        site.get_with("/", headers).await;
    }
    assert_eq!(site.calls(), requests.len());
    for headers in requests {
        let fresh = Site::new(CacheLayer::new(), echo)
            .get_with("/", headers)
            .await;
        assert_eq!(
            site.get_with("/", headers).await.body,
            fresh.body,
            "{headers:?}"
        );
    }
    assert_eq!(site.calls(), requests.len());
}

#[tokio::test]
async fn what_is_too_large_is_passed_on() {
    let site = Site::new(CacheLayer::new(), echo);
    let long_path = format!("/{}", "a".repeat(9000));
    let long_header = "a".repeat(33 * 1024);
    for (path, headers) in [(&*long_path, &[][..]), ("/", &[("x-long", &*long_header)])] {
        site.get_with(path, headers).await;
        let calls = site.calls();
        assert_eq!(
            site.get_with(path, headers).await.header("x-fastapi-cache"),
            ""
        );
        assert_eq!(site.calls(), calls + 1);
    }
    let long = "a".repeat(33 * 1024);
    let large = Site::new(CacheLayer::new(), move |_, before| {
        response(
            &[("cache-control", "max-age=60"), ("x-long", &long)],
            before,
        )
    });
    large.get("/").await;
    large.get("/").await;
    assert_eq!(large.calls(), 2);
    let names: Vec<String> = (0..40).map(|number| format!("x-{number}")).collect();
    let vary = names.join(", ");
    let site = Site::new(CacheLayer::new(), move |_, before| {
        response(&[("cache-control", "max-age=60"), ("vary", &vary)], before)
    });
    site.get("/").await;
    site.get("/").await;
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn a_response_cannot_end_what_is_of_another_host() {
    let site = Site::new(CacheLayer::new(), |parts, before| match parts.method {
        Method::GET => response(&[("cache-control", "max-age=60")], before),
        _ => with_status(200, &[("location", "http://shop.example/")], before),
    });
    site.get_with("/", &[("host", "shop.example")]).await;
    site.send(Method::POST, "/", &[("host", "evil.example")])
        .await;
    site.get_with("/", &[("host", "shop.example")]).await;
    assert_eq!(site.calls(), 2);
}

#[tokio::test]
async fn connection_headers_of_one_client_are_not_given_to_others() {
    let site = Site::new(CacheLayer::new(), |_, before| {
        let headers = [
            ("cache-control", "max-age=60"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
        ];
        response(&headers, before)
    });
    site.get("/").await;
    let hit = site.get("/").await;
    for name in ["connection", "x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(!hit.headers.contains_key(name), "{name}");
    }
}
