//! Decisions that are meant for one caller alone, whatever finds them.

use http::header::{PROXY_AUTHENTICATE, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};

use crate::external::authorizer::Authorization;

/// Whether another caller must not get this decision: it sets a cookie, redirects (to a login, with
/// a state of its own), or makes a challenge that can be used once.
pub(super) fn is_personal(decision: &Authorization) -> bool {
    match decision {
        Authorization::Allowed(changes) => {
            let mut headers = changes.response_headers().iter();
            headers.any(|(name, value, _)| is_for_one(name, value))
        }
        Authorization::Denied(denial) => {
            let mut headers = denial.headers().iter();
            denial.status().is_redirection() || headers.any(|(name, value)| is_for_one(name, value))
        }
    }
}

fn is_for_one(name: &HeaderName, value: &HeaderValue) -> bool {
    if *name == SET_COOKIE {
        return true;
    }
    let is_challenge = *name == WWW_AUTHENTICATE || *name == PROXY_AUTHENTICATE;
    let text = value.as_bytes().to_ascii_lowercase();
    let holds = |word: &[u8]| text.windows(word.len()).any(|piece| piece == word);
    is_challenge
        && [&b"nonce"[..], b"negotiate", b"ntlm"]
            .iter()
            .any(|word| holds(word))
}
