//! Reads the answer.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Number};

use super::messages::{
    BoolValue, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpResponse, Kind,
    OkHttpResponse, Struct, Value,
};
use crate::context::Placement;
use crate::external::mutations::is_framing;
use crate::external::{Authorization, AuthorizerError, Changes, Denial, HeaderChange};

/// What an answer says. As in Envoy, a status that is 0 or missing allows the request, whatever
/// else the answer holds.
///
/// # Errors
///
/// The answer says that the provider failed, or allows with what is no header of HTTP.
pub(super) fn authorization(response: CheckResponse) -> Result<Authorization, AuthorizerError> {
    let is_ok = response.status.is_none_or(|status| status.code == 0);
    match (is_ok, response.http_response) {
        (true, Some(HttpResponse::Ok(ok))) => allowed(ok, response.dynamic_metadata),
        (true, _) => {
            let changes = with_facts(Changes::new(), response.dynamic_metadata);
            Ok(changes.into())
        }
        (false, Some(HttpResponse::Denied(denied))) => Ok(denial(denied).into()),
        (false, Some(HttpResponse::Error(error))) => {
            let has_status = status_of(&error).is_some();
            let reply = denial(error);
            let message = "it answered with an error_response";
            let error = AuthorizerError::from_static(message).reply(reply);
            Err(match has_status {
                true => error,
                false => error.with_status_on_error(),
            })
        }
        (false, Some(HttpResponse::Ok(_)) | None) => Ok(Authorization::deny()),
    }
}

/// Envoy sets first, then appends, then removes.
fn allowed(
    ok: OkHttpResponse,
    dynamic_metadata: Option<Struct>,
) -> Result<Authorization, AuthorizerError> {
    let mut changes = Changes::new();
    let (append, set): (Vec<_>, Vec<_>) = ok.headers.into_iter().partition(is_append);
    for option in set {
        let (name, value) = header(option)?;
        changes = changes.set_header(name, value);
    }
    for option in append {
        let (name, value) = header(option)?;
        changes = changes.change_header(HeaderChange::AppendIfPresent(name, value));
    }
    for name in ok.headers_to_remove {
        // Envoy ignores these.
        if !name.starts_with(':') {
            changes = changes.remove_header(header_name(&name)?);
        }
    }
    for option in ok.response_headers_to_add {
        let placement = placement(&option);
        let (name, value) = header(option)?;
        changes = changes.place_response_header(name, value, placement);
    }
    for parameter in ok.query_parameters_to_set {
        changes = changes.set_query(parameter.key, parameter.value);
    }
    for name in ok.query_parameters_to_remove {
        changes = changes.remove_query(name);
    }
    Ok(with_facts(changes, ok.dynamic_metadata.or(dynamic_metadata)).into())
}

/// `append`, where it is written, comes before `append_action`.
fn placement(option: &HeaderValueOption) -> Placement {
    match (&option.append, option.append_action) {
        (Some(BoolValue { value: false }), _) | (None, 2) => Placement::Set,
        (None, 1) => Placement::AddIfAbsent,
        (None, 3) => Placement::SetIfPresent,
        (Some(BoolValue { value: true }) | None, _) => Placement::Add,
    }
}

fn is_append(option: &HeaderValueOption) -> bool {
    matches!(option.append, Some(BoolValue { value: true }))
}

fn with_facts(changes: Changes, metadata: Option<Struct>) -> Changes {
    let facts = metadata.map(map).unwrap_or_default();
    let facts = facts.into_iter();
    facts.fold(changes, |changes, (key, value)| {
        changes.metadata(key, value)
    })
}

/// A no stays a no, whatever else is wrong with it: what cannot be sent is left out.
fn denial(denied: DeniedHttpResponse) -> Denial {
    let status = status_of(&denied).and_then(final_status);
    let mut denial = Denial::new(status.unwrap_or(StatusCode::FORBIDDEN)).body(denied.body);
    let mut room = LARGEST_HEADERS;
    for option in denied.headers {
        // Envoy leaves out what is to be appended, and pseudo headers.
        if is_append(&option) {
            continue;
        }
        let Ok((name, value)) = header(option) else {
            continue;
        };
        let left = room.checked_sub(name.as_str().len() + value.len());
        // The reply gets its own framing.
        if let Some(left) = left
            && !is_framing(name.as_str())
        {
            room = left;
            denial = denial.header(name, value);
        }
    }
    denial
}

fn status_of(denied: &DeniedHttpResponse) -> Option<i32> {
    let status = denied.status.as_ref();
    status.map(|status| status.code).filter(|code| *code != 0)
}

fn final_status(code: i32) -> Option<StatusCode> {
    let code = u16::try_from(code).ok();
    let code = code.filter(|code| (200..600).contains(code))?;
    StatusCode::from_u16(code).ok()
}

fn header(option: HeaderValueOption) -> Result<(HeaderName, HeaderValue), AuthorizerError> {
    let header = option.header.unwrap_or_default();
    let name = header_name(&header.key)?;
    match HeaderValue::try_from(header.value) {
        Ok(value) => Ok((name, value)),
        Err(_) => {
            let message = format!("it gives the header {name} a value that is not valid");
            Err(AuthorizerError::new(message))
        }
    }
}

fn header_name(text: &str) -> Result<HeaderName, AuthorizerError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        let shown: String = text.chars().take(LONGEST_SHOWN).collect();
        AuthorizerError::new(format!("it names a header that may not be set: {shown:?}"))
    })
}

fn map(fields: Struct) -> Map<String, serde_json::Value> {
    let fields = fields.fields.into_iter();
    fields.map(|(key, field)| (key, value(field))).collect()
}

/// The depth is bounded, because the decoder has bounded it.
fn value(found: Value) -> serde_json::Value {
    match found.kind {
        None | Some(Kind::Null(_)) => serde_json::Value::Null,
        Some(Kind::Number(number)) => {
            let number = Number::from_f64(number);
            number.map_or(serde_json::Value::Null, serde_json::Value::Number)
        }
        Some(Kind::Text(text)) => serde_json::Value::String(text),
        Some(Kind::Bool(is_so)) => serde_json::Value::Bool(is_so),
        Some(Kind::Struct(fields)) => serde_json::Value::Object(map(fields)),
        Some(Kind::List(list)) => list.values.into_iter().map(value).collect(),
    }
}

const LONGEST_SHOWN: usize = 60;

/// The most bytes of a refusal's headers.
const LARGEST_HEADERS: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::messages::{
        HeaderValue as Header, HttpStatus, ListValue, QueryParameter, RpcStatus,
    };
    use super::*;
    use crate::external::QueryChange;

    fn option(key: &str, value: &str, append: Option<bool>) -> HeaderValueOption {
        HeaderValueOption {
            header: Some(Header {
                key: key.into(),
                value: value.into(),
            }),
            append: append.map(|value| BoolValue { value }),
            append_action: 0,
        }
    }

    fn response(code: Option<i32>, http: Option<HttpResponse>) -> CheckResponse {
        CheckResponse {
            status: code.map(|code| RpcStatus { code }),
            http_response: http,
            dynamic_metadata: None,
        }
    }

    fn denied(code: i32, headers: Vec<HeaderValueOption>) -> DeniedHttpResponse {
        DeniedHttpResponse {
            status: Some(HttpStatus { code }),
            headers,
            body: "no".into(),
        }
    }

    #[test]
    fn the_status_decides_and_not_what_is_beside_it() {
        let denial = || HttpResponse::Denied(denied(401, Vec::new()));
        let error = || HttpResponse::Error(denied(502, Vec::new()));
        let ok = || HttpResponse::Ok(OkHttpResponse::default());
        for (code, http, expected) in [
            (None, None, Some(true)),
            (Some(0), None, Some(true)),
            (Some(0), Some(ok()), Some(true)),
            (None, Some(denial()), Some(true)),
            (Some(0), Some(denial()), Some(true)),
            (Some(0), Some(error()), Some(true)),
            (Some(7), None, Some(false)),
            (Some(-1), Some(ok()), Some(false)),
            (Some(16), Some(denial()), Some(false)),
            (Some(7), Some(error()), None),
        ] {
            let shown = format!("{code:?} {http:?}");
            let answer = authorization(response(code, http));
            let answer = answer.ok().map(|answer| answer.is_allowed());
            assert_eq!(answer, expected, "{shown}");
        }
    }

    #[test]
    fn headers_are_set_then_appended_then_removed() {
        let ok = OkHttpResponse {
            headers: vec![
                option("x-a", "1", Some(true)),
                option("X-B", "2", Some(false)),
                option("x-c", "3", None),
            ],
            headers_to_remove: vec![":path".into(), "cookie".into()],
            response_headers_to_add: vec![option("set-cookie", "s", None)],
            query_parameters_to_set: vec![QueryParameter {
                key: "q".into(),
                value: "1".into(),
            }],
            query_parameters_to_remove: vec!["r".into()],
            dynamic_metadata: None,
        };
        let answer = authorization(response(Some(0), Some(HttpResponse::Ok(ok)))).unwrap();
        let Authorization::Allowed(changes) = answer else {
            panic!("{answer:?}");
        };
        let name = |text: &'static str| HeaderName::from_static(text);
        let value = |text: &'static str| HeaderValue::from_static(text);
        let expected = [
            HeaderChange::Set(name("x-b"), value("2")),
            HeaderChange::Set(name("x-c"), value("3")),
            HeaderChange::AppendIfPresent(name("x-a"), value("1")),
            HeaderChange::Remove(name("cookie")),
        ];
        assert_eq!(changes.header_changes(), expected);
        assert_eq!(
            changes.response_headers(),
            [(name("set-cookie"), value("s"), Placement::Add)]
        );
        let query = [
            QueryChange::Set("q".into(), "1".into()),
            QueryChange::Remove("r".into()),
        ];
        assert_eq!(changes.query_changes(), query);
    }

    #[test]
    fn a_denial_has_its_status_headers_and_body() {
        for (code, expected) in [
            (0, Some(403)),
            (200, Some(200)),
            (401, Some(401)),
            (599, Some(599)),
            // What is no status of an answer is no reason to allow.
            (100, Some(403)),
            (199, Some(403)),
            (600, Some(403)),
            (-1, Some(403)),
            (i32::MAX, Some(403)),
        ] {
            let headers = vec![
                option("x-why", "a", None),
                option("content-length", "7", None),
            ];
            let denied = HttpResponse::Denied(denied(code, headers));
            let answer = authorization(response(Some(7), Some(denied)));
            let Ok(Authorization::Denied(denial)) = answer else {
                assert_eq!(expected, None, "{code}");
                continue;
            };
            assert_eq!(Some(denial.status().as_u16()), expected);
            let why = (
                HeaderName::from_static("x-why"),
                HeaderValue::from_static("a"),
            );
            assert_eq!(denial.headers(), [why]);
            assert_eq!(denial.body_bytes(), "no");
        }
    }

    #[test]
    fn a_header_of_the_response_is_placed_as_envoy_places_it() {
        for (append, action, expected) in [
            (None, 0, Placement::Add),
            (None, 1, Placement::AddIfAbsent),
            (None, 2, Placement::Set),
            (None, 3, Placement::SetIfPresent),
            (None, 99, Placement::Add),
            (Some(true), 0, Placement::Add),
            (Some(false), 0, Placement::Set),
        ] {
            let mut added = option("x-a", "1", append);
            added.append_action = action;
            let ok = HttpResponse::Ok(OkHttpResponse {
                response_headers_to_add: vec![added],
                ..OkHttpResponse::default()
            });
            let Ok(Authorization::Allowed(changes)) = authorization(response(None, Some(ok)))
            else {
                panic!("denied");
            };
            assert_eq!(
                changes.response_headers()[0].2,
                expected,
                "{append:?} {action}"
            );
        }
    }

    /// Envoy's own field for failures: its status and body go to the caller.
    #[test]
    fn an_error_response_is_an_error_with_a_reply() {
        let error = HttpResponse::Error(denied(502, Vec::new()));
        let error = authorization(response(Some(14), Some(error))).unwrap_err();
        let reply = error.given_reply().unwrap();
        assert_eq!(
            (reply.status().as_u16(), &**reply.body_bytes()),
            (502, &b"no"[..])
        );
    }

    #[test]
    fn what_is_no_header_is_an_error() {
        for (key, value) in [
            (":path", "/admin"),
            (":status", "200"),
            ("", "v"),
            ("x a", "v"),
            ("x-a", "a\nb"),
            ("x-a", "a\0b"),
        ] {
            let ok = |to_response: bool| {
                let headers = vec![option(key, value, None)];
                let (headers, response_headers_to_add) = match to_response {
                    true => (Vec::new(), headers),
                    false => (headers, Vec::new()),
                };
                HttpResponse::Ok(OkHttpResponse {
                    headers,
                    response_headers_to_add,
                    ..OkHttpResponse::default()
                })
            };
            let refusal = HttpResponse::Denied(denied(403, vec![option(key, value, None)]));
            for (code, http) in [(0, ok(false)), (0, ok(true)), (7, refusal)] {
                let answer = authorization(response(Some(code), Some(http)));
                // A refusal goes without it.
                assert_eq!(answer.is_ok(), code == 7, "{code} {key:?}: {value:?}");
            }
        }
    }

    #[test]
    fn facts_come_as_json_and_the_older_place_wins() {
        let of = |kind: Kind| Value { kind: Some(kind) };
        let fields = BTreeMap::from([
            ("plan".to_owned(), of(Kind::Text("gold".into()))),
            ("n".to_owned(), of(Kind::Number(1.5))),
            ("nan".to_owned(), of(Kind::Number(f64::NAN))),
            ("is".to_owned(), of(Kind::Bool(true))),
            ("nothing".to_owned(), Value { kind: None }),
            (
                "list".to_owned(),
                of(Kind::List(ListValue {
                    values: vec![of(Kind::Null(0))],
                })),
            ),
        ]);
        let newer = Some(Struct { fields });
        let older = Some(Struct {
            fields: BTreeMap::from([("plan".to_owned(), of(Kind::Text("old".into())))]),
        });
        for (older, expected) in [
            (
                None,
                serde_json::json!({"plan": "gold", "n": 1.5, "nan": null, "is": true, "nothing": null, "list": [null]}),
            ),
            (older, serde_json::json!({"plan": "old"})),
        ] {
            let ok = HttpResponse::Ok(OkHttpResponse {
                dynamic_metadata: older,
                ..OkHttpResponse::default()
            });
            let message = CheckResponse {
                dynamic_metadata: newer.clone(),
                ..response(Some(0), Some(ok))
            };
            let Ok(Authorization::Allowed(changes)) = authorization(message) else {
                panic!("denied");
            };
            assert_eq!(serde_json::Value::Object(changes.facts().clone()), expected);
        }
    }
}
