use serde_json::{Value, json};

use super::json::{fraction, seconds, sparse, string_matcher};
use crate::routing::route::{Abort, Cors, Fault, HeaderChanges, RetryPolicy};

/// Adds `WHICH_headers_to_add` and `WHICH_headers_to_remove`.
pub(super) fn header_fields(printed: &mut Value, which: &str, changes: &HeaderChanges) {
    let Some(fields) = printed.as_object_mut() else {
        return;
    };
    let added = changes.add.iter().map(|add| {
        sparse(json!({
            "header": {"key": add.name, "value": add.value},
            "append_action": add.overwrite.then_some("OVERWRITE_IF_EXISTS_OR_ADD"),
        }))
    });
    let added: Vec<_> = added.collect();
    if !added.is_empty() {
        fields.insert(format!("{which}_headers_to_add"), added.into());
    }
    if !changes.remove.is_empty() {
        let removed = json!(changes.remove);
        fields.insert(format!("{which}_headers_to_remove"), removed);
    }
}

/// A `RetryPolicy`.
pub(super) fn retry_policy(policy: &RetryPolicy) -> Value {
    let extension = |name: &str, package: &str, config: Value| {
        let mut config = config;
        if let Some(fields) = config.as_object_mut() {
            let type_url = format!("type.googleapis.com/envoy.extensions.retry.{package}");
            fields.insert("@type".to_owned(), type_url.into());
        }
        json!({"name": name, "typed_config": config})
    };
    let hosts = policy.avoid_previous_hosts.then(|| {
        let name = "envoy.retry_host_predicates.previous_hosts";
        [extension(
            name,
            "host.previous_hosts.v3.PreviousHostsPredicate",
            json!({}),
        )]
    });
    let priorities = policy.avoid_previous_priorities.then(|| {
        let name = "envoy.retry_priorities.previous_priorities";
        let config = json!({"update_frequency": 2});
        extension(
            name,
            "priority.previous_priorities.v3.PreviousPrioritiesConfig",
            config,
        )
    });
    let backoff = policy.backoff.map(seconds);
    sparse(json!({
        "retry_on": policy.retry_on,
        "num_retries": policy.retries,
        "per_try_timeout": policy.per_try_timeout.map(seconds),
        "retry_priority": priorities,
        "retry_host_predicate": hosts,
        "host_selection_retry_max_attempts": "5",
        "retriable_status_codes": policy.status_codes,
        "retry_back_off": backoff.map(|base| json!({"base_interval": base})),
    }))
}

/// The `HTTPFault` of a route.
pub(super) fn fault(fault: &Fault) -> Value {
    let delay = fault.delay.map(
        |(delay, share)| json!({"fixed_delay": seconds(delay), "percentage": fraction(share)}),
    );
    let abort = fault.abort.map(|(abort, share)| {
        let (field, status) = match abort {
            Abort::Http(status) => ("http_status", status),
            Abort::Grpc(status) => ("grpc_status", u16::from(status)),
        };
        json!({field: status, "percentage": fraction(share)})
    });
    sparse(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault",
        "delay": delay,
        "abort": abort,
    }))
}

/// The `CorsPolicy` of a route.
pub(super) fn cors(cors: &Cors) -> Value {
    let origins = cors.allow_origins.iter().map(string_matcher);
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    sparse(json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": origins.collect::<Vec<_>>(),
        "allow_methods": text(&cors.allow_methods),
        "allow_headers": text(&cors.allow_headers),
        "expose_headers": text(&cors.expose_headers),
        "max_age": cors.max_age.map(|age| age.to_string()),
        "allow_credentials": cors.allow_credentials,
        "filter_enabled": {"default_value": {"numerator": 100}},
        "forward_not_matching_preflights": cors.forward_unmatched_preflights,
    }))
}
