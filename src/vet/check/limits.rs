//! Checks rate limits.

use std::borrow::Cow;
use std::time::Duration;

use crate::istio::{
    LocalRateLimit, LocalRateLimitDescriptor, RateLimit, RateLimitAction, RateLimitBucket, Text,
    WhenAbsent,
};
use crate::vet::Code;
use crate::vet::report::notes::Notes;
use crate::vet::world::known::World;

/// A window that long is a quota, which people expect to outlive a restart.
const DAY: Duration = Duration::from_secs(86_400);

/// Adds notes about rate limits.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    for limit in &world.resources.rate_limits {
        whole(limit, notes);
        if let Some(local) = &limit.local {
            buckets(limit, local, notes);
        }
    }
}

fn whole(limit: &RateLimit, notes: &mut Notes) {
    let meta = &limit.meta;
    if limit.report_only {
        let message = "reportOnly is on, so this limit counts and refuses nothing";
        let help = "take reportOnly out once the counts look right";
        notes.add(Code::LimitReportOnly, meta, &meta.at, message, help);
    }
    if let Some(service) = limit.service.as_ref()
        && !service.failure_mode_deny
    {
        let message = "requests pass uncounted while the service cannot be asked, so who can make it fail has no limit";
        let help = "write failureModeDeny: true, or silence this with the reason why it may be so";
        notes.add(Code::LimitFailsOpen, meta, service.host.at(), message, help);
    }
}

fn buckets(limit: &RateLimit, local: &LocalRateLimit, notes: &mut Notes) {
    let meta = &limit.meta;
    let whole = local.token_bucket.iter().map(|bucket| (bucket, &meta.at));
    let each = local.descriptors.iter();
    let each = each.map(|descriptor| (&descriptor.token_bucket, &descriptor.at));
    for (bucket, at) in whole
        .chain(each)
        .filter(|(bucket, _)| refill(bucket) >= DAY)
    {
        let hours = refill(bucket).as_secs() / 3600;
        let message = format!(
            "this process counts over {hours} h, and forgets it when it ends: every restart fills the bucket, and every replica has its own"
        );
        let help = "let a rate limit service count what lasts a day or longer";
        notes.add(Code::LimitLostAtRestart, meta, at, message, help);
    }
    for descriptor in &local.descriptors {
        let made = || limit.rate_limits.iter().map(|one| &one.actions);
        if !made().any(|actions| can_make(actions, descriptor)) {
            let entries = descriptor.entries.iter();
            let entries: Vec<_> = entries
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let message = format!(
                "no request reaches this bucket: no entry of rateLimits makes {}",
                entries.join(", ")
            );
            let help = "write the entries in the order of the actions, with their keys and values";
            notes.add(Code::LimitNeverApplies, meta, &descriptor.at, message, help);
            continue;
        }
        let of_any_value = descriptor
            .entries
            .iter()
            .filter(|(_, value)| value.is_empty());
        let callers = of_any_value.filter(|(key, _)| {
            let mut actions = made().flatten().map(Made::by);
            actions.any(|made| made.key == **key && matches!(made.value, Value::Callers))
        });
        for (key, _) in callers {
            let message = format!(
                "the caller chooses `{key}`, and a new value has a full bucket of its own, until maxKeys are in use"
            );
            let help = "key by what the caller cannot choose (principal, requestPrincipal, claim), or list the values; an address is proven only at an edge, which overwrites x-forwarded-for";
            notes.add(Code::LimitKeyFromCaller, meta, key.at(), message, help);
        }
    }
}

/// How long an empty bucket takes to be full.
fn refill(bucket: &RateLimitBucket) -> Duration {
    let fills = bucket.max_tokens.div_ceil(bucket.tokens_per_fill.max(1));
    bucket.fill_interval.saturating_mul(fills)
}

/// Whether actions can make just the entries of a bucket.
fn can_make(actions: &[RateLimitAction], bucket: &LocalRateLimitDescriptor) -> bool {
    let mut entries = bucket.entries.iter();
    let mut due = entries.next();
    for made in actions.iter().map(Made::by) {
        match due {
            Some((key, value)) if made.key == **key && made.value.may_be(value) => {
                due = entries.next();
            }
            _ if made.may_be_left_out => {}
            _ => return false,
        }
    }
    due.is_none()
}

/// The entry that an action makes.
struct Made<'r> {
    key: Cow<'r, str>,
    value: Value<'r>,
    may_be_left_out: bool,
}

/// What the value of an entry can be.
enum Value<'r> {
    Fixed(&'r str),
    OneOf(&'r [Text]),
    /// What is proven, or comes from elsewhere.
    Any,
    /// Whatever the caller sends.
    Callers,
}

impl Value<'_> {
    fn may_be(&self, wanted: &Text) -> bool {
        wanted.is_empty()
            || match self {
                Self::Fixed(value) => *value == wanted.as_str(),
                Self::OneOf(values) => values.iter().any(|value| **value == **wanted),
                Self::Any | Self::Callers => true,
            }
    }
}

impl<'r> Made<'r> {
    fn by(action: &'r RateLimitAction) -> Self {
        let always = |key: &'r str, value| Self {
            key: Cow::Borrowed(key),
            value,
            may_be_left_out: false,
        };
        let unless = |absent: &WhenAbsent, made: Self| Self {
            may_be_left_out: *absent == WhenAbsent::Skip,
            ..made
        };
        let or =
            |key: &'r Option<Text>, default: &'r str| key.as_ref().map_or(default, Text::as_str);
        match action {
            RateLimitAction::SourceCluster => always("source_cluster", Value::Any),
            RateLimitAction::DestinationCluster => always("destination_cluster", Value::Any),
            // Where no edge is, `x-forwarded-for` says it.
            RateLimitAction::RemoteAddress => always("remote_address", Value::Callers),
            RateLimitAction::MaskedRemoteAddress { .. } => {
                always("masked_remote_address", Value::Callers)
            }
            RateLimitAction::RequestHeaders {
                descriptor_key,
                absent,
                ..
            }
            | RateLimitAction::QueryParameters {
                descriptor_key,
                absent,
                ..
            } => unless(absent, always(descriptor_key, Value::Callers)),
            RateLimitAction::QueryParameterValueMatch {
                descriptor_key,
                descriptor_value,
                ..
            } => always(
                or(descriptor_key, "query_match"),
                Value::Fixed(descriptor_value),
            ),
            RateLimitAction::HeaderValueMatch {
                descriptor_key,
                descriptor_value,
                ..
            } => always(
                or(descriptor_key, "header_match"),
                Value::Fixed(descriptor_value),
            ),
            RateLimitAction::GenericKey {
                descriptor_key,
                descriptor_value,
            } => always(
                or(descriptor_key, "generic_key"),
                Value::Fixed(descriptor_value),
            ),
            RateLimitAction::Metadata {
                descriptor_key,
                absent,
                ..
            } => unless(absent, always(descriptor_key, Value::Any)),
            // A server takes any name for a method.
            RateLimitAction::Method => always("method", Value::Callers),
            RateLimitAction::Host => always("host", Value::Callers),
            RateLimitAction::Path { templates } => always("path", Value::OneOf(templates)),
            RateLimitAction::Principal { absent } => {
                unless(absent, always("principal", Value::Any))
            }
            RateLimitAction::RequestPrincipal { absent } => {
                unless(absent, always("request_principal", Value::Any))
            }
            RateLimitAction::Claim {
                path,
                descriptor_key,
                absent,
            } => {
                let names = || path.iter().map(Text::as_str).collect::<Vec<_>>().join(".");
                let key = descriptor_key.as_ref();
                let key =
                    key.map_or_else(|| Cow::Owned(names()), |key| Cow::Borrowed(key.as_str()));
                let made = always("", Value::Any);
                unless(absent, Self { key, ..made })
            }
        }
    }
}
