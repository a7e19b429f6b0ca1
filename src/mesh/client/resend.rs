//! Whether a call is sent once more: a pure policy, which knows neither connections nor bodies.

/// How often a call may still be sent once more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resend {
    left: u32,
}

/// Why an attempt failed, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server says that it has not touched the call (RFC 9113 §6.8 and §8.7), so that it may be
    /// sent again whatever it is.
    Untouched,
    /// Anything else.
    Other,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    Resend,
    GiveUp,
}

impl Resend {
    /// Only HTTP/2 has a way to say that a call was not touched.
    pub(super) fn new(is_http2: bool) -> Self {
        Self {
            left: if is_http2 { MOST } else { 0 },
        }
    }

    /// Whether the request has to be kept, as it may be sent again.
    pub(super) fn keeps_request(self) -> bool {
        self.left > 0
    }

    /// What to do after an attempt that failed so.
    pub(super) fn decide(&mut self, cause: Cause) -> RetryDecision {
        match (cause, self.left.checked_sub(1)) {
            (Cause::Untouched, Some(left)) => {
                self.left = left;
                RetryDecision::Resend
            }
            _ => RetryDecision::GiveUp,
        }
    }
}

/// One connection that goes away is common, one after the other is not.
const MOST: u32 = 3;

#[cfg(test)]
mod tests {
    use super::Cause::{Other, Untouched};
    use super::RetryDecision::{GiveUp, Resend as Again};
    use super::*;

    #[test]
    fn only_what_the_server_has_not_touched_is_sent_again_and_not_for_ever() {
        let rows: [(bool, &[(Cause, RetryDecision)]); 5] = [
            (false, &[(Untouched, GiveUp)]),
            (true, &[(Other, GiveUp)]),
            (true, &[(Untouched, Again), (Other, GiveUp)]),
            (
                true,
                &[
                    (Untouched, Again),
                    (Untouched, Again),
                    (Untouched, Again),
                    (Untouched, GiveUp),
                ],
            ),
            (
                true,
                &[(Other, GiveUp), (Untouched, Again), (Untouched, Again)],
            ),
        ];
        for (is_http2, steps) in rows {
            let mut policy = Resend::new(is_http2);
            assert_eq!(policy.keeps_request(), is_http2);
            for (cause, decision) in steps {
                assert_eq!(policy.decide(*cause), *decision, "{is_http2}, {steps:?}");
            }
        }
    }
}
