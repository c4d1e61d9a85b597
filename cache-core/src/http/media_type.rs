//! Media types that tell something of how a response ends (RFC 9110 section 8.3).

use ::http::HeaderMap;
use ::http::header::CONTENT_TYPE;

use super::list::{self, comma};

/// The types of responses that go on for as long as somebody reads them, or whose end is a message of its own.
/// A star stands for any rest.
const ENDLESS: [&str; 8] = [
    // Events sent by a server (HTML, section 9.2), and what they were called before.
    "text/event-stream",
    "application/x-dom-event-stream",
    // Pictures of a camera, one replacing the other.
    "multipart/x-mixed-replace",
    "application/grpc",
    "application/grpc+*",
    "application/grpc-web*",
    // Streams of calls by the protocol of Connect.
    "application/connect+*",
    "application/stream+json",
];

/// Whether a response has no end that is worth waiting for, as far as its `Content-Type` says.
///
/// It has one type only, but where it has several, somebody may take any of them.
pub(super) fn is_endless(headers: &HeaderMap) -> bool {
    list::members(headers, CONTENT_TYPE, comma).any(|member| is_endless_type(essence(member)))
}

/// A media type without its parameters.
fn essence(media_type: &[u8]) -> &[u8] {
    let end = media_type.iter().position(|byte| *byte == b';');
    media_type[..end.unwrap_or(media_type.len())].trim_ascii()
}

fn is_endless_type(essence: &[u8]) -> bool {
    ENDLESS.iter().any(|known| match known.strip_suffix('*') {
        None => essence.eq_ignore_ascii_case(known.as_bytes()),
        Some(start) => essence
            .get(..start.len())
            .is_some_and(|own| own.eq_ignore_ascii_case(start.as_bytes())),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::headers;
    use super::*;

    fn endless(line: &'static str) -> bool {
        is_endless(&headers(&[("content-type", line)]))
    }

    #[test]
    fn endless_types_are_known_in_any_spelling() {
        for line in [
            "text/event-stream",
            "Text/Event-Stream",
            " text/event-stream ; charset=utf-8",
            "text/event-stream;charset=utf-8",
            "text/html, text/event-stream",
            "multipart/x-mixed-replace; boundary=\"a, b\"",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web-text+proto",
            "application/connect+json",
        ] {
            assert!(endless(line), "{line}");
        }
        let twice = headers(&[
            ("content-type", "text/html"),
            ("content-type", "text/event-stream"),
        ]);
        assert!(is_endless(&twice));
    }

    #[test]
    fn other_types_have_an_end() {
        for line in [
            "",
            "text/html",
            "text/event-stream-not",
            "text/plain; note=text/event-stream",
            "application/grpcish",
            "application/json",
            "multipart/form-data",
            ";text/event-stream",
        ] {
            assert!(!endless(line), "{line}");
        }
        assert!(!is_endless(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn case_and_parameters_do_not_count(
            (upper, parameters) in (proptest::collection::vec(any::<bool>(), 17), "( ?; ?[a-z]{1,5}=[a-z]{1,5}){0,3}"),
        ) {
            let spelled: String = "text/event-stream"
                .chars()
                .zip(upper)
                .map(|(letter, upper)| if upper { letter.to_ascii_uppercase() } else { letter })
                .collect();
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, format!("{spelled}{parameters}").parse().unwrap());
            prop_assert!(is_endless(&headers));
        }
    }
}
