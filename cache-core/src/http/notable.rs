//! The request headers that a cache has to know, found in one pass.

use ::http::{HeaderMap, HeaderName, HeaderValue};

use super::names::{Names, count};

/// What a header is to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notable {
    /// It tells who sent the request.
    Credential,
    /// It says which URI the client asked for, before somebody on the way changed it. Programs write links
    /// with it, so that responses to requests that differ in it may differ.
    Link,
    /// It says that the request is one of another method.
    MethodOverride,
    /// The origin has to judge it.
    Condition,
    Directive,
    /// It says which response the client has.
    Validator,
    Range,
    /// It names what belongs to the connection alone.
    Connection,
    /// It is like others that are of note, but is not.
    Nothing,
}

/// The headers that tell who sent a request, or on whose behalf: what a client proves itself with, and what a
/// proxy says of the user whom it has let in. A star stands for any rest.
///
/// What is listed by mistake costs a hit, what is missing gives away a page, and so whole families are listed.
/// A token against forged requests is among them: it is as good as the session that it belongs to.
const CREDENTIALS: &[&str] = &[
    // RFC 9110 section 11, RFC 6265, RFC 2965, RFC 9449 (DPoP), RFC 9440, RFC 9421 and RFC 8473.
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "dpop",
    "client-cert",
    "client-cert-chain",
    "signature",
    "signature-input",
    "sec-token-binding",
    // Keys and tokens, by whatever name.
    "*-authorization",
    "*-token",
    "*-jwt",
    "*-jwt-assertion",
    "*-secret",
    "*-password",
    "*-api-key",
    "*-apikey",
    "*-access-key",
    "*-admin-key",
    "*-master-key",
    "*-subscription-key",
    "token",
    "api-key",
    "apikey",
    "session",
    "session-id",
    "x-api-key*",
    "x-csrf*",
    "x-xsrf*",
    "x-jwt*",
    "x-session*",
    "x-signature",
    "x-functions-key",
    "x-parse-rest-api-key",
    "x-wp-nonce",
    // Who the user is, as programs and proxies say it.
    "remote-user",
    "remote-name",
    "remote-email",
    "remote-groups",
    "x-remote-*",
    "x-auth*",
    "x-user*",
    "x-email",
    "x-groups",
    "x-role",
    "x-roles",
    "x-client-id",
    "x-account*",
    "x-credential*",
    "x-customer*",
    "x-identity*",
    "x-impersonat*",
    "x-on-behalf-of",
    "x-organization*",
    "x-org-id",
    "x-principal*",
    "x-tenant*",
    "x-forwarded-user",
    "x-forwarded-user-id",
    "x-forwarded-username",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-roles",
    "x-forwarded-preferred-username",
    "x-forwarded-client-cert",
    "x-forwarded-client-cert-chain",
    // Certificates of clients, as proxies pass them on.
    "x-client-cert*",
    "x-client-verify",
    "x-client-dn",
    "x-client-subject*",
    "x-ssl-client-*",
    "x-ssl-cert",
    "ssl-client-*",
    "x-amzn-mtls-*",
    "x-arr-clientcert",
    // What is in use by name: Cloudflare, Google, Amazon, Microsoft, IBM, Tailscale, Kong, Hasura and others.
    "cf-access-*",
    "x-goog-iap-*",
    "x-goog-authenticated-user-*",
    "x-endpoint-api-userinfo",
    "x-apigateway-api-userinfo",
    "x-amzn-oidc-*",
    "x-ms-client-principal*",
    "x-ms-token-*",
    "x-ibm-client-id",
    "tailscale-*",
    "x-consumer-*",
    "x-anonymous-consumer",
    "x-hasura-*",
    "x-pomerium-*",
    "x-vouch-*",
    "x-webauth-*",
    "x-rh-identity",
    "x-forwarded-tls-client-cert*",
    "x-rapidapi-*",
    "x-mashape-key",
    "x-appwrite-*",
    "dd-application-key",
    "sm_user",
    "iv-user",
    "iv-groups",
    "oidc_claim_*",
    "x-appengine-user-*",
    "x-replit-user-*",
    "x-spiffe-id",
    "x-ory-*",
    "x-wsse",
    "x-firebase-*",
    "client-id",
    "fastly-key",
    "x-grafana-user",
    "x-trino-user",
    "x-scope-orgid",
    "bearer",
    "jwt",
    "x-sudo",
    "sudo",
];

/// The headers by which proxies say what the client asked for, and of which programs make links. A star stands
/// for any rest.
const LINKS: &[&str] = &[
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-https",
    "x-forwarded-path",
    "x-forwarded-pathbase",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-forwarded-url",
    "x-forwarded-context",
    "x-forwarded-base",
    "x-forwarded-basepath",
    "x-forwarded-root",
    "x-forwarded-script-name",
    "x-host",
    "x-http-host-override",
    "x-host-override",
    "x-real-host",
    "x-real-port",
    "x-real-proto",
    "x-real-scheme",
    "x-original-*",
    "x-envoy-original-*",
    "x-rewrite-*",
    "x-replaced-path",
    "x-request-uri",
    "x-request-url",
    "x-ingress-path",
    "x-script-name",
    "script-name",
    "x-base-path",
    "x-base-url",
    "x-external-url",
    "x-public-url",
    "x-proto",
    "x-scheme",
    "x-url-scheme",
    "x-client-proto",
    "x-client-scheme",
    "front-end-https",
    "x-arr-ssl",
    "x-ms-original-url",
    "disguised-host",
    "x-backend-host",
    "x-proxy-host",
    "x-public-host",
    "x-external-host",
    "wl-proxy-ssl",
    "x-waws-unencoded-url",
    "cloudfront-forwarded-proto",
    "cf-visitor",
    "fly-forwarded-port",
    "fly-forwarded-proto",
    "fly-forwarded-ssl",
];

/// Headers that a family would take in: addresses, by which every client would be one of its own, and what
/// programs say of themselves.
const NOTHING: &[&str] = &[
    "x-user-agent",
    "x-original-for",
    "x-original-forwarded-for",
    "x-original-remote-addr",
    "x-remote-addr",
    "x-remote-address",
    "x-remote-host",
    "x-remote-ip",
    "x-remote-port",
];

const GROUPS: &[(Notable, &[&str])] = &[
    (Notable::Credential, CREDENTIALS),
    (Notable::Link, LINKS),
    (Notable::Nothing, NOTHING),
    (
        Notable::MethodOverride,
        &[
            "x-http-method",
            "x-http-method-override",
            "x-method-override",
        ],
    ),
    (
        Notable::Condition,
        &["if-match", "if-unmodified-since", "upgrade"],
    ),
    (Notable::Directive, &["cache-control", "pragma"]),
    (Notable::Validator, &["if-none-match", "if-modified-since"]),
    (Notable::Range, &["range"]),
    (Notable::Connection, &["connection"]),
];

static KNOWN: Names<Notable, { count(GROUPS) }> = Names::of(GROUPS);

/// Request headers that a program knows of, beside those that are known here. What it says of a header counts
/// more than what is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NotableHeaders {
    /// Headers that tell who sent a request.
    pub(crate) credentials: Vec<HeaderName>,
    /// Headers that become links.
    pub(crate) links: Vec<HeaderName>,
}

impl NotableHeaders {
    /// What a header is by what was added. One that is both tells who sent the request.
    fn added(&self, name: &HeaderName) -> Option<Notable> {
        if self.credentials.contains(name) {
            return Some(Notable::Credential);
        }
        self.links.contains(name).then_some(Notable::Link)
    }

    /// What a header tells of who sent the request, or of its URI.
    fn role(&self, name: &HeaderName) -> Option<Notable> {
        self.added(name).or_else(|| KNOWN.get(name.as_str()))
    }
}

/// What there is of note in the headers of a request, and how large the headers of any message are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overview {
    /// The bytes of all names and values.
    pub(crate) size: usize,
    pub(crate) has_credentials: bool,
    pub(crate) is_forwarded: bool,
    pub(crate) is_disguised: bool,
    pub(crate) has_condition: bool,
    pub(crate) has_directives: bool,
    pub(crate) has_validators: bool,
    pub(crate) is_ranged: bool,
    /// Whether there is a `Connection`, of which [`names_end_to_end`](super::names_end_to_end) tells more.
    pub(crate) has_connection: bool,
}

impl Overview {
    pub(crate) fn of(headers: &HeaderMap, added: &NotableHeaders) -> Self {
        let mut overview = Self::default();
        for (name, value) in headers {
            let text = name.as_str();
            overview.size += text.len() + value.len();
            if let Some(known) = KNOWN.get(text) {
                overview.note(known);
            }
        }
        if !added.credentials.is_empty() || !added.links.is_empty() {
            overview.correct(headers, added);
        }
        overview
    }

    fn note(&mut self, notable: Notable) {
        match notable {
            Notable::Credential => self.has_credentials = true,
            Notable::Link => self.is_forwarded = true,
            Notable::MethodOverride => self.is_disguised = true,
            Notable::Condition => self.has_condition = true,
            Notable::Directive => self.has_directives = true,
            Notable::Validator => self.has_validators = true,
            Notable::Range => self.is_ranged = true,
            Notable::Connection => self.has_connection = true,
            Notable::Nothing => {}
        }
    }

    /// Says anew what depends on the headers that were added.
    #[cold]
    fn correct(&mut self, headers: &HeaderMap, added: &NotableHeaders) {
        self.has_credentials = false;
        self.is_forwarded = false;
        for name in headers.keys() {
            if let Some(role @ (Notable::Credential | Notable::Link)) = added.role(name) {
                self.note(role);
            }
        }
    }
}

/// Whether a request tells who sent it, by a header that `vary` does not make part of the key.
pub(crate) fn is_personal(request: &HeaderMap, vary: &[&str], added: &NotableHeaders) -> bool {
    let is_named = |name: &HeaderName| {
        let named = |named: &&str| named.eq_ignore_ascii_case(name.as_str());
        vary.iter().any(named)
    };
    request
        .keys()
        .any(|name| added.role(name) == Some(Notable::Credential) && !is_named(name))
}

/// What a request says of the URI that the client asked for, beside its target: names and lines, sorted by
/// name.
pub(super) fn of_the_uri<'a>(
    headers: &'a HeaderMap,
    added: &NotableHeaders,
) -> Vec<(&'a HeaderName, &'a HeaderValue)> {
    let mut lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| added.role(name) == Some(Notable::Link))
        .collect();
    // The lines of one header keep their order.
    lines.sort_by_key(|(name, _)| name.as_str());
    lines
}

#[cfg(test)]
mod tests {
    use super::super::testing::headers;
    use super::*;

    fn none() -> NotableHeaders {
        NotableHeaders::default()
    }

    fn known(name: &str) -> Option<Notable> {
        KNOWN.get(name)
    }

    #[test]
    fn personal_requests_are_known_by_their_headers() {
        let is_personal = |name: &'static str, vary: &[&str]| {
            is_personal(&headers(&[(name, "x")]), vary, &none())
        };
        assert!(is_personal("Authorization", &[]));
        assert!(is_personal("cookie", &["authorization"]));
        assert!(is_personal("x-api-key", &[]));
        assert!(!is_personal("cookie", &["Cookie"]));
        assert!(!is_personal("accept", &[]));
    }

    #[test]
    fn what_tells_who_asks_is_a_credential() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "x-access-token",
            "x-auth-token",
            "x-auth-request-user",
            "x-auth-request-access-token",
            "x-api-key",
            "api-key",
            "apikey",
            "x-apikey",
            "x-forwarded-user",
            "x-forwarded-email",
            "x-forwarded-groups",
            "x-forwarded-preferred-username",
            "x-forwarded-access-token",
            "x-forwarded-client-cert",
            "x-forwarded-client-cert-chain",
            "remote-user",
            "x-remote-user",
            "x-remote-group",
            "cf-access-jwt-assertion",
            "cf-access-authenticated-user-email",
            "cf-access-client-id",
            "x-goog-iap-jwt-assertion",
            "x-goog-authenticated-user-email",
            "x-amzn-oidc-data",
            "x-amzn-oidc-identity",
            "x-amz-security-token",
            "private-token",
            "job-token",
            "deploy-token",
            "x-gitlab-token",
            "x-vault-token",
            "x-shopify-access-token",
            "ocp-apim-subscription-key",
            "x-goog-api-key",
            "dpop",
            "client-cert",
            "client-cert-chain",
            "x-client-cert",
            "x-client-certificate",
            "x-ssl-client-s-dn",
            "ssl-client-verify",
            "x-ms-client-principal",
            "x-ms-client-principal-name",
            "x-ms-token-aad-access-token",
            "x-authentik-username",
            "x-authenticated-userid",
            "x-authorization",
            "x-pomerium-jwt-assertion",
            "x-pomerium-claim-email",
            "tailscale-user-login",
            "x-consumer-username",
            "x-credential-identifier",
            "x-webauth-user",
            "x-vouch-user",
            "x-user",
            "x-user-id",
            "x-userinfo",
            "x-username",
            "x-session-id",
            "x-session",
            "session",
            "x-jwt-assertion",
            "x-jwt",
            "x-endpoint-api-userinfo",
            "x-apigateway-api-userinfo",
            "x-token",
            "x-csrf-token",
            "x-csrftoken",
            "x-xsrf-token",
            "x-tenant-id",
        ] {
            assert_eq!(known(name), Some(Notable::Credential), "{name}");
        }
    }

    #[test]
    fn what_becomes_a_link_is_known() {
        for name in [
            "forwarded",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-prefix",
            "x-forwarded-proto",
            "x-forwarded-scheme",
            "x-forwarded-server",
            "x-forwarded-path",
            "x-forwarded-uri",
            "x-forwarded-protocol",
            "x-forwarded-ssl",
            "x-host",
            "x-original-url",
            "x-original-uri",
            "x-original-host",
            "x-rewrite-url",
            "x-url-scheme",
            "front-end-https",
            "x-script-name",
            "x-envoy-original-path",
        ] {
            assert_eq!(known(name), Some(Notable::Link), "{name}");
        }
    }

    #[test]
    fn ordinary_headers_are_of_no_note() {
        for name in [
            "accept",
            "accept-encoding",
            "accept-language",
            "content-type",
            "host",
            "origin",
            "priority",
            "referer",
            "sec-ch-ua",
            "sec-fetch-site",
            "te",
            "traceparent",
            "upgrade-insecure-requests",
            "user-agent",
            "via",
            "x-correlation-id",
            "x-forwarded-for",
            "x-real-ip",
            "x-request-id",
            "x-requested-with",
        ] {
            assert_eq!(known(name), None, "{name}");
        }
        for name in NOTHING {
            let request = headers(&[(name, "x")]);
            let overview = Overview::of(&request, &none());
            let size = name.len() + 1;
            let plain = Overview {
                size,
                ..Overview::default()
            };
            assert_eq!(overview, plain, "{name}");
            assert!(!is_personal(&request, &[], &none()), "{name}");
        }
    }

    #[test]
    fn no_row_is_hidden_by_another() {
        for (kind, rows) in GROUPS {
            for row in *rows {
                assert_eq!(known(&row.replace('*', "x")), Some(*kind), "{row}");
                assert_eq!(*row, row.to_ascii_lowercase());
            }
        }
    }

    #[test]
    fn an_overview_tells_what_there_is() {
        let plain = Overview::of(&headers(&[("accept", "*/*"), ("host", "a")]), &none());
        let size = 14;
        assert_eq!(
            plain,
            Overview {
                size,
                ..Overview::default()
            }
        );
        let all = headers(&[
            ("cookie", "a"),
            ("x-host", "a"),
            ("x-http-method", "a"),
            ("upgrade", "a"),
            ("pragma", "a"),
            ("if-none-match", "a"),
            ("range", "a"),
            ("connection", "a"),
        ]);
        let expected = Overview {
            size: 74,
            has_credentials: true,
            is_forwarded: true,
            is_disguised: true,
            has_condition: true,
            has_directives: true,
            has_validators: true,
            is_ranged: true,
            has_connection: true,
        };
        assert_eq!(Overview::of(&all, &none()), expected);
    }

    #[test]
    fn what_a_program_adds_counts_more_than_what_is_known() {
        let name = HeaderName::from_static;
        let added = NotableHeaders {
            credentials: vec![name("x-shop"), name("x-forwarded-host"), name("range")],
            links: vec![name("x-area"), name("x-tenant-id"), name("x-shop")],
        };
        let overview = |name: &'static str| Overview::of(&headers(&[(name, "x")]), &added);
        let is_personal = |name: &'static str| is_personal(&headers(&[(name, "x")]), &[], &added);
        for credential in ["x-shop", "x-forwarded-host", "range", "cookie"] {
            assert!(overview(credential).has_credentials, "{credential}");
            assert!(!overview(credential).is_forwarded, "{credential}");
            assert!(is_personal(credential), "{credential}");
        }
        for link in ["x-area", "x-tenant-id", "x-host"] {
            assert!(!overview(link).has_credentials, "{link}");
            assert!(overview(link).is_forwarded, "{link}");
            assert!(!is_personal(link), "{link}");
            let request = headers(&[(link, "x")]);
            assert_eq!(of_the_uri(&request, &added).len(), 1, "{link}");
        }
        // It is still what the cache itself has to heed.
        assert!(overview("range").is_ranged);
    }

    #[test]
    fn lines_are_sorted_by_name_and_else_as_they_came() {
        let lines = [
            ("x-host", "1"),
            ("forwarded", "2"),
            ("x-host", "0"),
            ("accept", "3"),
        ];
        let headers = headers(&lines);
        let lines = of_the_uri(&headers, &none());
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, line)| (name.as_str(), line.to_str().unwrap()))
            .collect();
        assert_eq!(
            lines,
            [("forwarded", "2"), ("x-host", "1"), ("x-host", "0")]
        );
    }
}
