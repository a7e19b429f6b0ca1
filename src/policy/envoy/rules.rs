use serde_json::{Map, Value, json};

use crate::matcher::{Cidr, StringMatcher, StringPattern};
use crate::policy::ir::{
    HeaderMatcher, HeaderTest, MetadataMatcher, Permission, Policy, Principal, Rbac, RbacAction,
    ValueMatcher,
};

/// `envoy.config.rbac.v3.RBAC`, policies in byte order of their names.
pub(super) fn rbac(rules: &Rbac) -> Value {
    let action = match rules.action {
        RbacAction::Allow => "ALLOW",
        RbacAction::Deny => "DENY",
        RbacAction::Log => "LOG",
    };
    let policies = rules.policies.iter();
    let policies: Map<_, _> = policies
        .map(|(name, rule)| (name.as_str().to_owned(), policy(rule)))
        .collect();
    json!({"action": action, "policies": policies})
}

fn policy(policy: &Policy) -> Value {
    json!({
        "permissions": list(&policy.permissions, permission),
        "principals": list(&policy.principals, principal),
    })
}

fn permission(node: &Permission) -> Value {
    match node {
        Permission::Any => json!({"any": true}),
        Permission::And(all) => json!({"and_rules": {"rules": list(all, permission)}}),
        Permission::Or(any) => json!({"or_rules": {"rules": list(any, permission)}}),
        Permission::Not(inner) => json!({"not_rule": permission(inner)}),
        Permission::Header(matcher) => json!({"header": header(matcher)}),
        Permission::UrlPath(matcher) => json!({"url_path": {"path": string(matcher)}}),
        Permission::UriTemplate(template) => json!({"uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                "path_template": template.to_envoy(),
            },
        }}),
        Permission::DestinationIp(range) => json!({"destination_ip": cidr(range)}),
        Permission::DestinationPort(port) => json!({"destination_port": port}),
        Permission::DestinationPortRange { start, end } => {
            json!({"destination_port_range": {"start": start, "end": end}})
        }
        Permission::RequestedServerName(matcher) => {
            json!({"requested_server_name": string(matcher)})
        }
        Permission::Metadata(matcher) => json!({"metadata": metadata(matcher)}),
    }
}

fn principal(node: &Principal) -> Value {
    match node {
        Principal::Any => json!({"any": true}),
        Principal::And(all) => json!({"and_ids": {"ids": list(all, principal)}}),
        Principal::Or(any) => json!({"or_ids": {"ids": list(any, principal)}}),
        Principal::Not(inner) => json!({"not_id": principal(inner)}),
        Principal::Authenticated(None) => json!({"authenticated": {}}),
        Principal::Authenticated(Some(matcher)) => {
            json!({"authenticated": {"principal_name": string(matcher)}})
        }
        Principal::DirectRemoteIp(range) => json!({"direct_remote_ip": cidr(range)}),
        Principal::RemoteIp(range) => json!({"remote_ip": cidr(range)}),
        Principal::SourceIp(range) => json!({"source_ip": cidr(range)}),
        Principal::Header(matcher) => json!({"header": header(matcher)}),
        Principal::UrlPath(matcher) => json!({"url_path": {"path": string(matcher)}}),
        Principal::Metadata(matcher) => json!({"metadata": metadata(matcher)}),
    }
}

/// `envoy.type.matcher.v3.StringMatcher`.
pub(super) fn string(matcher: &StringMatcher) -> Value {
    let (kind, text) = match &matcher.pattern {
        StringPattern::Exact(text) => ("exact", text),
        StringPattern::Prefix(text) => ("prefix", text),
        StringPattern::Suffix(text) => ("suffix", text),
        StringPattern::Contains(text) => ("contains", text),
        StringPattern::Regex(regex) => return json!({"safe_regex": {"regex": regex.as_str()}}),
    };
    let mut printed = json!({kind: text});
    flag(&mut printed, "ignore_case", matcher.ignore_case);
    printed
}

fn header(matcher: &HeaderMatcher) -> Value {
    let mut printed = match &matcher.test {
        HeaderTest::String(test) => json!({"string_match": string(test)}),
        // proto3 JSON writes 64-bit integers as text.
        HeaderTest::Range { start, end } => {
            json!({"range_match": {"start": start.to_string(), "end": end.to_string()}})
        }
        HeaderTest::Present(present) => json!({"present_match": present}),
    };
    set(&mut printed, "name", matcher.name.as_str().into());
    flag(&mut printed, "invert_match", matcher.invert);
    let missing_as_empty = matcher.treat_missing_as_empty;
    flag(
        &mut printed,
        "treat_missing_header_as_empty",
        missing_as_empty,
    );
    printed
}

fn metadata(matcher: &MetadataMatcher) -> Value {
    let mut printed = json!({
        "filter": matcher.filter,
        "path": list(&matcher.path, |key| json!({"key": key})),
        "value": value(&matcher.value),
    });
    flag(&mut printed, "invert", matcher.invert);
    printed
}

fn value(matcher: &ValueMatcher) -> Value {
    match matcher {
        ValueMatcher::Null => json!({"null_match": {}}),
        ValueMatcher::Bool(expected) => json!({"bool_match": expected}),
        ValueMatcher::DoubleExact(expected) => json!({"double_match": {"exact": expected}}),
        ValueMatcher::DoubleRange { start, end } => {
            json!({"double_match": {"range": {"start": start, "end": end}}})
        }
        ValueMatcher::String(matcher) => json!({"string_match": string(matcher)}),
        ValueMatcher::Present(present) => json!({"present_match": present}),
        ValueMatcher::ListOneOf(element) => json!({"list_match": {"one_of": value(element)}}),
        ValueMatcher::Or(any) => json!({"or_match": {"value_matchers": list(any, value)}}),
    }
}

fn cidr(range: &Cidr) -> Value {
    json!({"address_prefix": range.address().to_string(), "prefix_len": range.prefix()})
}

fn list<T>(nodes: &[T], print: impl Fn(&T) -> Value) -> Value {
    nodes.iter().map(print).collect()
}

/// Leaves out the fields of a message that are null, false, or an empty list or object.
pub(super) fn sparse(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.retain(|_, value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(items) => !items.is_empty(),
            Value::Object(fields) => !fields.is_empty(),
            Value::Bool(true) | Value::Number(_) | Value::String(_) => true,
        });
    }
    message
}

/// Sets a field whose `false` goes without saying.
pub(super) fn flag(message: &mut Value, field: &str, value: bool) {
    if value {
        set(message, field, value.into());
    }
}

/// Sets a field of a message.
pub(super) fn set(message: &mut Value, field: &str, value: Value) {
    if let Some(message) = message.as_object_mut() {
        message.insert(field.to_owned(), value);
    }
}
