use std::sync::Arc;

use super::compiler::Compiler;
use super::rule::text::regex;
use super::selection::select;
use crate::istio::{
    HeaderMatch, HeaderMatchTest, HeaderToAdd, LocalRateLimit, LocalRateLimitDescriptor, RateLimit,
    RateLimitAction, RateLimitBucket, RateLimitDescriptor, RateLimitService, Text, TextMatch,
    TextMatchKind, WhenAbsent,
};
use crate::matcher::StringMatcher;
use crate::policy::ir::{HeaderMatcher, HeaderTest};
use crate::policy::limit::{
    Action, Descriptor, Fallback, Limit, Local, LocalDescriptor, PathPattern, QueryMatcher,
    ServiceLimit, Spec, TokenBucket,
};

/// The limits of the workload: those of the root namespace and of its own, as they were written.
/// All of them apply.
pub(super) fn limits(compiler: &mut Compiler<'_>, resources: &[Arc<RateLimit>]) -> Vec<Arc<Limit>> {
    let selected = select(compiler, resources);
    let compile = |resource| Arc::new(limit(compiler, resource));
    selected.into_iter().map(compile).collect()
}

fn limit(compiler: &mut Compiler<'_>, resource: &RateLimit) -> Limit {
    let meta = &resource.meta;
    let defaults = Spec::default();
    let descriptors = resource.rate_limits.iter().enumerate();
    let descriptors =
        descriptors.map(|(index, written)| descriptor(compiler, &place(index), written));
    let descriptors: Vec<_> = descriptors.collect();
    if let Some(local) = &resource.local {
        note_unmatched(compiler, local, &descriptors);
    }
    Limit {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        at: meta.at.clone(),
        spec: Spec {
            report_only: resource.report_only,
            local: resource.local.as_ref().map(local),
            service: resource.service.as_ref().map(service),
            descriptors,
            status: resource.rate_limited_status.unwrap_or(defaults.status),
            as_resource_exhausted: resource.rate_limited_as_resource_exhausted,
            x_ratelimit_headers: resource.enable_x_ratelimit_headers,
            response_headers: headers(&resource.response_headers_to_add),
            not_enforced_headers: headers(&resource.request_headers_to_add_when_not_enforced),
        },
    }
}

fn place(index: usize) -> String {
    format!("spec.rateLimits[{index}].actions")
}

fn headers(written: &[HeaderToAdd]) -> Vec<(String, String)> {
    let written = written.iter();
    let header = |header: &HeaderToAdd| (header.name.to_ascii_lowercase(), string(&header.value));
    written.map(header).collect()
}

fn local(written: &LocalRateLimit) -> Local {
    let descriptors = written.descriptors.iter();
    let consumes = written.always_consume_default_token_bucket;
    let max_keys = written.max_keys.and_then(|keys| keys.try_into().ok());
    Local {
        bucket: written.token_bucket.map(bucket),
        per_connection: written.per_connection,
        max_keys: max_keys.unwrap_or(Local::MAX_KEYS),
        always_consume_default: consumes.unwrap_or(true),
        descriptors: descriptors.map(local_descriptor).collect(),
    }
}

fn local_descriptor(written: &LocalRateLimitDescriptor) -> LocalDescriptor {
    let entries = written.entries.iter();
    let entries = entries.map(|(key, value)| (string(key), string(value)));
    LocalDescriptor {
        entries: entries.collect(),
        bucket: bucket(written.token_bucket),
    }
}

fn bucket(written: RateLimitBucket) -> TokenBucket {
    TokenBucket {
        max_tokens: written.max_tokens,
        tokens_per_fill: written.tokens_per_fill,
        fill_interval: written.fill_interval,
    }
}

fn service(written: &RateLimitService) -> ServiceLimit {
    let service = ServiceLimit::new(&*written.host, written.port, &*written.domain);
    let timeout = written.timeout.unwrap_or(ServiceLimit::TIMEOUT);
    ServiceLimit {
        failure_mode_deny: written.failure_mode_deny,
        status_on_error: written.status_on_error.unwrap_or(service.status_on_error),
        envoy_ratelimited_header: !written.disable_x_envoy_ratelimited_header,
        ..service.timeout(timeout)
    }
}

fn descriptor(
    compiler: &mut Compiler<'_>,
    field: &str,
    written: &RateLimitDescriptor,
) -> Descriptor {
    let actions = written.actions.iter().enumerate();
    let actions =
        actions.filter_map(|(index, one)| action(compiler, &format!("{field}[{index}]"), one));
    Descriptor {
        actions: actions.collect(),
    }
}

/// What an action means; `None` if it was refused.
fn action(compiler: &mut Compiler<'_>, field: &str, written: &RateLimitAction) -> Option<Action> {
    Some(match written {
        RateLimitAction::SourceCluster => Action::SourceCluster,
        RateLimitAction::DestinationCluster => Action::DestinationCluster,
        RateLimitAction::RequestHeaders {
            header_name,
            descriptor_key,
            absent,
        } => Action::RequestHeader {
            name: header_name.to_ascii_lowercase(),
            key: string(descriptor_key),
            fallback: fallback(absent),
        },
        RateLimitAction::QueryParameters {
            query_parameter_name,
            descriptor_key,
            absent,
        } => Action::QueryParameter {
            name: string(query_parameter_name),
            key: string(descriptor_key),
            fallback: fallback(absent),
        },
        RateLimitAction::QueryParameterValueMatch {
            descriptor_key,
            descriptor_value,
            expect_match,
            query_parameters,
        } => {
            let parameters = query_parameters.iter().map(|matcher| {
                let test = matcher.test.as_ref();
                let test = test.map(|test| text_match(compiler, field, test));
                Some(QueryMatcher {
                    name: string(&matcher.name),
                    test: test.map_or(Some(None), |test| test.map(Some))?,
                })
            });
            Action::QueryMatch {
                parameters: parameters.collect::<Option<_>>()?,
                key: key(descriptor_key.as_ref(), "query_match"),
                value: string(descriptor_value),
                expect: *expect_match,
            }
        }
        RateLimitAction::RemoteAddress => Action::RemoteAddress,
        RateLimitAction::MaskedRemoteAddress {
            v4_prefix_mask_len,
            v6_prefix_mask_len,
        } => Action::MaskedRemoteAddress {
            v4: *v4_prefix_mask_len,
            v6: *v6_prefix_mask_len,
        },
        RateLimitAction::GenericKey {
            descriptor_key,
            descriptor_value,
        } => Action::GenericKey {
            key: key(descriptor_key.as_ref(), "generic_key"),
            value: string(descriptor_value),
        },
        RateLimitAction::HeaderValueMatch {
            descriptor_key,
            descriptor_value,
            expect_match,
            headers,
        } => {
            let headers = headers.iter();
            let headers = headers.map(|matcher| header_match(compiler, field, matcher));
            Action::HeaderMatch {
                headers: headers.collect::<Option<_>>()?,
                key: key(descriptor_key.as_ref(), "header_match"),
                value: string(descriptor_value),
                expect: *expect_match,
            }
        }
        RateLimitAction::Metadata {
            descriptor_key,
            filter,
            path,
            absent,
        } => Action::Metadata {
            key: string(descriptor_key),
            filter: string(filter),
            path: path.iter().map(string).collect(),
            fallback: fallback(absent),
        },
        RateLimitAction::Method => Action::Method,
        RateLimitAction::Host => Action::Host,
        RateLimitAction::Path { templates } => {
            let patterns = templates.iter().map(|text| {
                let pattern = PathPattern::new(text);
                let refused =
                    |error| compiler.refuse(text.at(), format_args!("{field}.path"), error);
                pattern.map_err(refused).ok()
            });
            Action::Path {
                patterns: patterns.collect::<Option<_>>()?,
            }
        }
        RateLimitAction::Principal { absent } => Action::Principal {
            fallback: fallback(absent),
        },
        RateLimitAction::RequestPrincipal { absent } => Action::RequestPrincipal {
            fallback: fallback(absent),
        },
        RateLimitAction::Claim {
            path,
            descriptor_key,
            absent,
        } => {
            let path: Vec<String> = path.iter().map(string).collect();
            Action::Claim {
                key: key(descriptor_key.as_ref(), &path.join(".")),
                path,
                fallback: fallback(absent),
            }
        }
    })
}

fn fallback(absent: &WhenAbsent) -> Fallback {
    match absent {
        WhenAbsent::Drop => Fallback::Drop,
        WhenAbsent::Skip => Fallback::Skip,
        WhenAbsent::Value(value) => Fallback::Value(string(value)),
    }
}

fn key(written: Option<&Text>, default: &str) -> String {
    written.map_or_else(|| default.to_owned(), string)
}

fn string(text: &Text) -> String {
    text.as_str().to_owned()
}

fn header_match(
    compiler: &mut Compiler<'_>,
    field: &str,
    written: &HeaderMatch,
) -> Option<HeaderMatcher> {
    Some(HeaderMatcher {
        name: written.name.to_ascii_lowercase(),
        test: match &written.test {
            HeaderMatchTest::String(test) => HeaderTest::String(text_match(compiler, field, test)?),
            HeaderMatchTest::Range { start, end } => HeaderTest::Range {
                start: *start,
                end: *end,
            },
            HeaderMatchTest::Present(present) => HeaderTest::Present(*present),
        },
        invert: written.invert_match,
        treat_missing_as_empty: written.treat_missing_header_as_empty,
    })
}

fn text_match(
    compiler: &mut Compiler<'_>,
    field: &str,
    written: &TextMatch,
) -> Option<StringMatcher> {
    let text = &*written.text;
    let matcher = match written.kind {
        TextMatchKind::Exact => StringMatcher::exact(text),
        TextMatchKind::Prefix => StringMatcher::prefix(text),
        TextMatchKind::Suffix => StringMatcher::suffix(text),
        TextMatchKind::Contains => StringMatcher::contains(text),
        TextMatchKind::Regex => match regex(compiler, text) {
            Ok(matcher) => matcher,
            Err(message) => {
                let message = format!("{text:?} {message}");
                compiler.refuse(
                    written.text.at(),
                    format_args!("{field}.safeRegex"),
                    message,
                );
                return None;
            }
        },
    };
    Some(match written.ignore_case {
        true => matcher.ignoring_case(),
        false => matcher,
    })
}

/// Notes the buckets that no request can reach: no entry of `rateLimits` makes their keys.
fn note_unmatched(compiler: &mut Compiler<'_>, local: &LocalRateLimit, made: &[Descriptor]) {
    for (index, descriptor) in local.descriptors.iter().enumerate() {
        let keys = descriptor.entries.iter().map(|(key, _)| key.as_str());
        if !made.iter().any(|made| made.can_make(keys.clone())) {
            let keys: Vec<_> = keys.collect();
            let keys = keys.join(", ");
            let message = format!(
                "no request reaches this bucket: no entry of spec.rateLimits makes the keys {keys}"
            );
            let field = format!("spec.local.descriptors[{index}].entries");
            compiler.note(&descriptor.at, field, message);
        }
    }
}
