//! What is said of a request that failed, and what is known of it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use fast_cache_core::{Error, ErrorKind};

/// An error with the code and the message of the service, or with what kept us from it.
pub(super) fn failure<E>(name: &'static str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let cause = match error {
        SdkError::ServiceError(context) => match error.code() {
            Some(code) => format!(
                "{code}: {}",
                first_line(error.message().unwrap_or_default())
            ),
            None => format!("http status {}", context.raw().status()),
        },
        SdkError::ResponseError(context) => {
            let status = context.raw().status();
            format!("an answer with http status {status} could not be read")
        }
        _ => chain(error),
    };
    Error::new(ErrorKind::Backend, format!("dynamodb failed at {name}")).with_source(cause)
}

pub(super) fn timed_out(name: &'static str) -> Error {
    Error::new(
        ErrorKind::Backend,
        format!("dynamodb did not answer {name} in time"),
    )
}

/// A refused signature is explained by what should have been signed, on further lines, and that
/// includes the token of temporary credentials.
fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

/// An error with its causes. What they show for debugging holds requests and answers, and is left
/// out.
fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Whether a request may have been carried out although it failed: how often it was sent without
/// being answered.
///
/// The SDK then sends it again, and a condition that was true the first time is false by the
/// request's own doing.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubt(Arc<AtomicU32>);

impl Doubt {
    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Intercept for Doubt {
    fn name(&self) -> &'static str {
        "Doubt"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// An attempt that takes too long is dropped and does not come here.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A refusal, such as that of a throttled request, has a status below 500.
        if context.response().status().is_client_error() {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_not_repeated() {
        let message = "The signature does not match.\n\nx-amz-security-token:hunter2";
        assert_eq!(first_line(message), "The signature does not match.");
        assert_eq!(first_line(""), "");
    }
}
