use serde_json::{Value, json};

use super::json::{sparse, string_matcher};
use crate::routing::route::{
    ClaimMatch, HeaderMatch, HeaderTest, PathMatch, QueryMatch, RouteMatch,
};

/// A `RouteMatch`.
pub(super) fn route_match(matches: &RouteMatch) -> Value {
    let (field, path) = match &matches.path {
        PathMatch::Exact { path, .. } => ("path", json!(path)),
        PathMatch::Prefix { prefix, .. } => ("prefix", json!(prefix)),
        PathMatch::Segments { prefix, .. } => ("path_separated_prefix", json!(prefix)),
        PathMatch::Regex { regex, .. } => ("safe_regex", json!({"regex": regex.as_str()})),
    };
    let headers = matches.headers.iter().map(header);
    let query = matches.query.iter().map(query_parameter);
    let claims = matches.claims.iter().map(claim);
    sparse(json!({
        field: path,
        // True is the default.
        "case_sensitive": matches.path.ignores_case().then_some(false),
        "headers": headers.collect::<Vec<_>>(),
        "query_parameters": query.collect::<Vec<_>>(),
        "dynamic_metadata": claims.collect::<Vec<_>>(),
    }))
}

fn header(test: &HeaderMatch) -> Value {
    let (field, value) = of_test(&test.test);
    sparse(json!({
        "name": test.subject.name(),
        field: value,
        "invert_match": test.invert.then_some(true),
        "treat_missing_header_as_empty": test.missing_is_empty.then_some(true),
    }))
}

fn query_parameter(test: &QueryMatch) -> Value {
    let (field, value) = of_test(&test.test);
    json!({"name": test.name, field: value})
}

fn of_test(test: &HeaderTest) -> (&'static str, Value) {
    match test {
        HeaderTest::Present => ("present_match", true.into()),
        HeaderTest::Text(matcher) => ("string_match", string_matcher(matcher)),
    }
}

/// A claim is looked up in what the JWT filter leaves, as a text or in a list of texts.
fn claim(test: &ClaimMatch) -> Value {
    let keys = ["payload"]
        .into_iter()
        .chain(test.keys.iter().map(String::as_str));
    let path: Vec<_> = keys.map(|key| json!({"key": key})).collect();
    let value = match &test.test {
        HeaderTest::Present => json!({"present_match": true}),
        HeaderTest::Text(matcher) => {
            let one = json!({"string_match": string_matcher(matcher)});
            json!({"or_match": {"value_matchers": [one, {"list_match": {"one_of": one}}]}})
        }
    };
    sparse(json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": path,
        "value": value,
        "invert": test.invert.then_some(true),
    }))
}
