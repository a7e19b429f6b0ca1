//! Decides whether a call is sent again. This policy is pure: it knows neither connections nor
//! bodies.

/// How often a call may still be sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resend {
    left: u32,
}

/// Why an attempt failed, as far as the policy needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server states that it has not processed the call (RFC 9113 §6.8 and §8.7), so any call
    /// may be sent again.
    Untouched,
    /// Any other failure.
    Other,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    Resend,
    GiveUp,
}

impl Resend {
    /// Only HTTP/2 can report that a call was not processed.
    pub(super) fn new(is_http2: bool) -> Self {
        Self {
            left: if is_http2 { MOST } else { 0 },
        }
    }

    /// Whether the request must be kept because it may be sent again.
    pub(super) fn keeps_request(self) -> bool {
        self.left > 0
    }

    /// What to do after an attempt that failed with this cause.
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

/// One connection that closes is common; several in a row are not.
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
