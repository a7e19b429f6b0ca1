//! The options of a provider.

use std::time::Duration;

use http::StatusCode;

/// How a provider is asked, and what happens if it does not answer.
///
/// ```
/// use std::time::Duration;
/// use http::StatusCode;
/// use tower_mesh::external::AuthorizerOptions;
///
/// let options = AuthorizerOptions::new()
///     .timeout(Duration::from_millis(200))
///     .status_on_error(StatusCode::SERVICE_UNAVAILABLE);
/// assert!(!options.fails_open());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct AuthorizerOptions {
    timeout: Duration,
    status_on_error: StatusCode,
    fail_open: bool,
}

impl Default for AuthorizerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl AuthorizerOptions {
    /// One second, 403 on errors, and no request passes without an answer.
    pub fn new() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            status_on_error: StatusCode::FORBIDDEN,
            fail_open: false,
        }
    }

    /// Bounds each question. It also ends at the deadline of the request, if that is earlier. No
    /// answer in time counts as an error.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the status that a caller gets when the provider cannot be asked.
    pub fn status_on_error(mut self, status: StatusCode) -> Self {
        self.status_on_error = status;
        self
    }

    /// Options that let requests pass without an answer.
    pub fn danger(self) -> DangerousAuthorizerOptions {
        DangerousAuthorizerOptions(self)
    }

    /// The bound on each question.
    #[must_use]
    pub fn question_timeout(&self) -> Duration {
        self.timeout
    }

    /// The status that a caller gets when the provider cannot be asked.
    #[must_use]
    pub fn error_status(&self) -> StatusCode {
        self.status_on_error
    }

    /// Whether requests pass when the provider cannot be asked.
    #[must_use]
    pub fn fails_open(&self) -> bool {
        self.fail_open
    }
}

/// Options that let requests pass without an answer: [`AuthorizerOptions::danger`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is chosen until a method is called"]
pub struct DangerousAuthorizerOptions(AuthorizerOptions);

impl DangerousAuthorizerOptions {
    /// Lets requests pass when the provider cannot be asked: an outage of the provider, or an
    /// attacker who can cause one, then opens what it protects. Each such request is counted and
    /// logged. A refusal of the provider still refuses.
    pub fn fail_open(mut self) -> AuthorizerOptions {
        self.0.fail_open = true;
        self.0
    }
}
