//! Which answers of an origin a stale response stands in for.

use ::http::StatusCode;

/// Whether a stale response may stand in for one of this status: for those that say that the origin has
/// failed, and for no others (RFC 5861 section 4).
pub(crate) fn stands_in_for(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stands_in_for_failures_of_the_origin_alone() {
        let statuses = (100..1000).filter_map(|code| StatusCode::from_u16(code).ok());
        let failures: Vec<_> = statuses.filter(|status| stands_in_for(*status)).collect();
        assert_eq!(failures, [500, 502, 503, 504]);
    }
}
