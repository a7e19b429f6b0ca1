//! Reads the answer of a service.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::Unanswered;
use super::messages::{self, Code, RateLimitResponse};
use super::windows::{Windows, windows};
use crate::log_limit::limited;
use crate::matcher::mutation::is_forbidden;

/// What a service has decided about a request.
#[derive(Debug)]
pub(in crate::rate_limit) struct Decided {
    pub(in crate::rate_limit) is_over: bool,
    /// For the application; only of a request within the limit.
    pub(in crate::rate_limit) request_headers: HeaderMap,
    /// For the caller.
    pub(in crate::rate_limit) response_headers: HeaderMap,
    /// `x-ratelimit-*`.
    pub(in crate::rate_limit) windows: Option<Windows>,
    /// The text of a refusal.
    pub(in crate::rate_limit) body: Bytes,
}

/// Reads an answer.
///
/// # Errors
///
/// The code is unknown, where Envoy lets the request pass; or a header of a good answer is not
/// valid, longer than 8 KiB, or one that no service may set, which Envoy would set; or there are
/// more than 64. A refusal stays one: it is sent without such headers.
pub(super) fn read(answer: RateLimitResponse) -> Result<Decided, Unanswered> {
    let code = answer.code().ok_or_else(|| {
        let code = answer.overall_code;
        Unanswered::new(format_args!("it answered with the unknown code {code}"))
    })?;
    let is_over = code == Code::OverLimit;
    let (request_headers, response_headers) = match is_over {
        true => (
            HeaderMap::new(),
            good_headers(answer.response_headers_to_add),
        ),
        false => (
            headers(answer.request_headers_to_add)?,
            headers(answer.response_headers_to_add)?,
        ),
    };
    Ok(Decided {
        is_over,
        windows: windows(&answer.statuses),
        request_headers,
        response_headers,
        body: answer.raw_body,
    })
}

fn headers(said: Vec<messages::HeaderValue>) -> Result<HeaderMap, Unanswered> {
    let mut headers = HeaderMap::new();
    for header in said {
        let (name, value) = checked(header)?;
        if headers.len() >= MOST_HEADERS {
            return Err(Unanswered::new("it sets more than 64 headers"));
        }
        headers.append(name, value);
    }
    Ok(headers)
}

/// Those that a service may set, and the others in the log.
fn good_headers(said: Vec<messages::HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for header in said.into_iter().take(MOST_HEADERS) {
        match checked(header) {
            Ok((name, value)) => {
                headers.append(name, value);
            }
            Err(why) => limited!(
                target: "tower_mesh::rate_limit", WARN, error = %why,
                "a refusal of a rate limit service is sent without one of its headers"
            ),
        }
    }
    headers
}

fn checked(header: messages::HeaderValue) -> Result<(HeaderName, HeaderValue), Unanswered> {
    if header.key.len() + header.value.len().max(header.raw_value.len()) > LONGEST_HEADER {
        return Err(Unanswered::new("it sets a header of more than 8 KiB"));
    }
    let name = HeaderName::try_from(header.key.as_str());
    let value = match header.value.is_empty() {
        true => HeaderValue::try_from(header.raw_value),
        false => HeaderValue::try_from(header.value),
    };
    let (Ok(name), Ok(value)) = (name, value) else {
        return Err(Unanswered::new("it sets a header that is not valid"));
    };
    if is_forbidden(name.as_str()) {
        let message = format_args!("it sets the header {name}, which it may not");
        return Err(Unanswered::new(message));
    }
    Ok((name, value))
}

const MOST_HEADERS: usize = 64;
/// The bytes of a header's name and value.
const LONGEST_HEADER: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, headers: &[(&str, &str)]) -> RateLimitResponse {
        let headers = headers.iter();
        let headers = headers.map(|(key, value)| messages::HeaderValue {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            raw_value: Vec::new(),
        });
        RateLimitResponse {
            overall_code: code,
            request_headers_to_add: headers.collect(),
            ..RateLimitResponse::default()
        }
    }

    #[test]
    fn only_two_codes_are_answers() {
        for (code, expected) in [
            (1, Some(false)),
            (2, Some(true)),
            (0, None),
            (3, None),
            (-1, None),
        ] {
            let read = read(answer(code, &[])).ok();
            assert_eq!(read.map(|read| read.is_over), expected, "{code}");
        }
    }

    #[test]
    fn a_service_sets_no_header_that_others_judge_by() {
        // With its name, 8 KiB.
        let longest = "a".repeat(8 * 1024 - "x-plan".len());
        let longer = format!("{longest}a");
        for (name, value, allowed) in [
            ("x-plan", "gold", true),
            ("x-plan", longest.as_str(), true),
            ("x-plan", longer.as_str(), false),
            ("X-Plan", "gold", true),
            ("host", "other", false),
            (":path", "/admin", false),
            (":method", "DELETE", false),
            ("x-forwarded-client-cert", "By=x", false),
            ("x_forwarded_client_cert", "By=x", false),
            ("x-forwarded-for", "10.0.0.1", false),
            ("x-envoy-ratelimited", "true", false),
            ("connection", "close", false),
            ("content-length", "0", false),
            ("transfer-encoding", "chunked", false),
            ("x-plan", "a\r\nhost: b", false),
            ("x plan", "a", false),
            ("", "a", false),
        ] {
            let as_request = answer(1, &[(name, value)]);
            let as_response = RateLimitResponse {
                response_headers_to_add: as_request.request_headers_to_add.clone(),
                ..answer(1, &[])
            };
            let refusal = RateLimitResponse {
                overall_code: 2,
                request_headers_to_add: as_request.request_headers_to_add.clone(),
                ..as_response.clone()
            };
            let refusal = read(refusal).unwrap();
            assert!(refusal.is_over && refusal.request_headers.is_empty());
            assert_eq!(refusal.response_headers.len(), usize::from(allowed));
            assert_eq!(read(as_request).is_ok(), allowed, "{name}: {value:?}");
            assert_eq!(read(as_response).is_ok(), allowed, "{name}: {value:?}");
        }
        let many = vec![("x-a", "b"); 65];
        assert!(read(answer(1, &many)).is_err());
    }

    #[test]
    fn several_values_of_one_header_stay() {
        let read = read(answer(1, &[("x-a", "1"), ("x-a", "2")])).unwrap();
        assert_eq!(read.request_headers.get_all("x-a").iter().count(), 2);
    }
}
