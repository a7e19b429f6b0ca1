//! The errors of the clients that carry questions.

use std::error::Error;
use std::fmt;
use std::iter::successors;

use super::AuthorizerError;
use crate::error_chain::ErrorChain;

/// The error of a transport that knows no server for the host of a provider, or of a rate limit
/// service.
///
/// It is no outage: no question can ever be asked, so a provider with this error never fails open.
#[derive(Debug)]
pub(crate) struct UnknownProvider;

impl fmt::Display for UnknownProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mesh's client knows no server for the host")
    }
}

impl Error for UnknownProvider {}

/// The error for a question that a transport could not ask.
pub(super) fn unreachable(error: &(dyn Error + 'static)) -> AuthorizerError {
    let mut causes = successors(Some(error), |&error| error.source());
    let found = AuthorizerError::new(ErrorChain(error));
    match causes.any(|cause| cause.is::<UnknownProvider>()) {
        true => found.never_passes(),
        false => found,
    }
}
