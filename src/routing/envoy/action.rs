use serde_json::{Value, json};

use super::json::{fraction, seconds, sparse};
use super::policies::{header_fields, retry_policy};
use crate::istio::traffic::HashKey;
use crate::routing::route::{
    Forward, Mirror, PathRewrite, Redirect, RedirectPath, RegexSubstitution, Respond, Split,
};

/// A `RouteAction`.
pub(super) fn forward(forward: &Forward) -> Value {
    let (cluster, weighted) = match &forward.split {
        Split::One(cluster) => (Some(cluster.to_string()), None),
        Split::Weighted(all) => {
            let clusters = all.iter().map(|each| {
                let mut printed = json!({"name": each.cluster.to_string(), "weight": each.weight});
                header_fields(&mut printed, "request", &each.request_headers);
                header_fields(&mut printed, "response", &each.response_headers);
                if let (Some(host), Some(fields)) = (&each.host_rewrite, printed.as_object_mut()) {
                    fields.insert("host_rewrite_literal".to_owned(), json!(host));
                }
                printed
            });
            (
                None,
                Some(json!({"clusters": clusters.collect::<Vec<_>>()})),
            )
        }
    };
    let (prefix, regex) = rewrite(forward.path_rewrite.as_ref());
    let hash = forward.hash.iter().map(hash_policy);
    sparse(json!({
        "cluster": cluster,
        "weighted_clusters": weighted,
        "cluster_not_found_response_code":
            (forward.cluster_not_found == 500).then_some("INTERNAL_SERVER_ERROR"),
        // Without a word of it Envoy waits for 15 s.
        "timeout": seconds(forward.timeout.unwrap_or_default()),
        "max_grpc_timeout": seconds(forward.timeout.unwrap_or_default()),
        "prefix_rewrite": prefix,
        "regex_rewrite": regex,
        "host_rewrite_literal": forward.host_rewrite,
        "retry_policy": forward.retry.as_ref().map(retry_policy),
        "hash_policy": hash.collect::<Vec<_>>(),
        "request_mirror_policies": forward.mirrors.iter().map(mirror).collect::<Vec<_>>(),
    }))
}

fn rewrite(rewrite: Option<&PathRewrite>) -> (Option<&str>, Option<Value>) {
    match rewrite {
        Some(PathRewrite::Matched(to)) => (Some(to), None),
        Some(PathRewrite::Regex(regex)) => (None, Some(substitution(regex))),
        None => (None, None),
    }
}

fn substitution(regex: &RegexSubstitution) -> Value {
    json!({"pattern": {"regex": regex.pattern()}, "substitution": regex.substitution()})
}

fn mirror(mirror: &Mirror) -> Value {
    json!({
        "cluster": mirror.cluster.to_string(),
        "runtime_fraction": {"default_value": fraction(mirror.share)},
        "trace_sampled": false,
        "disable_shadow_host_suffix_append": true,
    })
}

fn hash_policy(key: &HashKey) -> Value {
    match key {
        HashKey::HttpHeader(name) => json!({"header": {"header_name": name.as_str()}}),
        HashKey::SourceIp => json!({"connection_properties": {"source_ip": true}}),
        HashKey::HttpQueryParameter(name) => json!({"query_parameter": {"name": name.as_str()}}),
        HashKey::HttpCookie(cookie) => {
            let attributes = cookie.attributes.iter();
            let attributes =
                attributes.map(|(name, value)| json!({"name": &**name, "value": &**value}));
            json!({"cookie": sparse(json!({
                "name": cookie.name.as_str(),
                "path": cookie.path.as_deref(),
                "ttl": cookie.ttl.map(seconds),
                "attributes": attributes.collect::<Vec<_>>(),
            }))})
        }
    }
}

/// A `RedirectAction`. Istio writes an empty path where there is none.
pub(super) fn redirect(redirect: &Redirect) -> Value {
    let (path, prefix, regex) = match &redirect.path {
        Some(RedirectPath::Whole(path)) => (Some(path.as_str()), None, None),
        Some(RedirectPath::Rewritten(rewritten)) => {
            let (prefix, regex) = rewrite(Some(rewritten));
            (None, prefix, regex)
        }
        None => (Some(""), None, None),
    };
    sparse(json!({
        "scheme_redirect": redirect.scheme,
        "host_redirect": redirect.host,
        "port_redirect": redirect.port,
        "path_redirect": path,
        "prefix_rewrite": prefix,
        "regex_rewrite": regex,
        "response_code": match redirect.status {
            302 => Some("FOUND"),
            303 => Some("SEE_OTHER"),
            307 => Some("TEMPORARY_REDIRECT"),
            308 => Some("PERMANENT_REDIRECT"),
            _ => None,
        },
    }))
}

/// A `DirectResponseAction`.
pub(super) fn respond(respond: &Respond) -> Value {
    let body = match std::str::from_utf8(&respond.body) {
        Ok("") => None,
        Ok(text) => Some(json!({"inline_string": text})),
        Err(_) => Some(json!({"inline_bytes": base64(&respond.body)})),
    };
    sparse(json!({"status": respond.status, "body": body}))
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
