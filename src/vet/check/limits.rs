//! Checks rate limits.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::istio::{
    LocalRateLimit, LocalRateLimitDescriptor, Position, RateLimit, RateLimitAction,
    RateLimitBucket, Text, WhenAbsent,
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
        avoidable(limit, notes);
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
        if !made().any(|actions| made_for(actions, descriptor).is_some()) {
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

/// What counts a request: a bucket of the process, or a descriptor that a service is asked about.
struct Counter<'r> {
    is_service: bool,
    parts: Vec<Part<'r>>,
}

/// An entry of a [`Counter`].
struct Part<'r> {
    made: Made<'r>,
    /// The one value that it is for; empty: any.
    wanted: &'r str,
    at: &'r Position,
}

impl<'r> Counter<'r> {
    fn all(limit: &'r RateLimit) -> Vec<Self> {
        let local = limit.local.iter().flat_map(|local| &local.descriptors);
        let local = local.filter_map(|bucket| {
            let mut made = limit.rate_limits.iter();
            let made = made.find_map(|one| made_for(&one.actions, bucket))?;
            let parts = made.into_iter().zip(&bucket.entries);
            let parts = parts.map(|(made, (key, wanted))| Part {
                made,
                wanted,
                at: key.at(),
            });
            Some(Self {
                is_service: false,
                parts: parts.collect(),
            })
        });
        let asked = limit.service.iter().flat_map(|_| &limit.rate_limits);
        let asked = asked.map(|one| Self {
            is_service: true,
            parts: one
                .actions
                .iter()
                .map(|action| Part {
                    made: Made::by(action),
                    wanted: "",
                    at: &one.at,
                })
                .collect(),
        });
        local.chain(asked).collect()
    }

    /// Whether it counts each request that `other` is for, whatever the caller changes or leaves
    /// out.
    fn backs(&self, other: &Self) -> bool {
        self.parts.iter().all(|part| {
            let is_shared = || other.parts.iter().any(|own| own.is_same(part));
            part.is_of_every_request() || part.is_kept() && is_shared()
        })
    }
}

impl Part<'_> {
    fn is_same(&self, other: &Self) -> bool {
        let (own, other_made) = (&self.made, &other.made);
        own.key == other_made.key && own.value == other_made.value && self.wanted == other.wanted
    }

    fn is_of_every_request(&self) -> bool {
        match self.made.value {
            Value::Fixed(_) | Value::Own => true,
            Value::Proven => self.wanted.is_empty(),
            Value::OneOf(_) | Value::IfMatched(_) | Value::Callers => false,
        }
    }

    /// Whether callers can neither leave it out nor get another budget by changing it.
    fn is_kept(&self) -> bool {
        self.made.omitted.is_none() && !self.is_rotated()
    }

    /// Whether each value that a caller makes up has a budget of its own.
    fn is_rotated(&self) -> bool {
        self.made.value == Value::Callers && self.wanted.is_empty()
    }
}

/// Limits that a caller avoids, where nothing else counts its requests.
fn avoidable(limit: &RateLimit, notes: &mut Notes) {
    let counters = Counter::all(limit);
    let has_default = limit.local.as_ref().and_then(|local| local.token_bucket);
    for (index, counter) in counters.iter().enumerate() {
        let mut others = counters.iter().enumerate();
        if others.any(|(other, backing)| other != index && backing.backs(counter)) {
            continue;
        }
        let parts = || counter.parts.iter();
        let mut tell = |part: &Part<'_>, message: String, help| {
            notes.add(
                Code::LimitKeyFromCaller,
                &limit.meta,
                part.at,
                message,
                help,
            );
        };
        let is_proven = parts().any(|part| part.made.value == Value::Proven);
        for part in parts().filter(|part| counter.is_service && !is_proven && part.is_rotated()) {
            let message = format!(
                "the caller chooses `{}`, and where the service counts each value, a new value is a new budget",
                part.made.key
            );
            let help = "add what the caller cannot choose (principal, requestPrincipal, claim) to the actions; silence this where the service lists the values";
            tell(part, message, help);
        }
        for part in parts().filter(|_| has_default.is_none()) {
            let Some(what) = part.made.omitted else {
                continue;
            };
            let or_changes = match part.wanted {
                "" => "",
                _ => " or changes",
            };
            let message = format!(
                "a caller that leaves out{or_changes} {what} is not counted, because nothing else counts its requests"
            );
            let help = "count such requests, too: in a tokenBucket of local, or by an entry of rateLimits without it, such as principal";
            tell(part, message, help);
        }
    }
}

/// How long an empty bucket takes to be full.
fn refill(bucket: &RateLimitBucket) -> Duration {
    let fills = bucket.max_tokens.div_ceil(bucket.tokens_per_fill.max(1));
    bucket.fill_interval.saturating_mul(fills)
}

/// What makes just the entries of a bucket, in their order, if these actions can.
fn made_for<'r>(
    actions: &'r [RateLimitAction],
    bucket: &LocalRateLimitDescriptor,
) -> Option<Vec<Made<'r>>> {
    let mut entries = bucket.entries.iter();
    let mut due = entries.next();
    let mut found = Vec::new();
    for made in actions.iter().map(Made::by) {
        match due {
            Some((key, value)) if made.key == **key && made.value.may_be(value) => {
                due = entries.next();
                found.push(made);
            }
            _ if made.may_be_left_out => {}
            _ => return None,
        }
    }
    due.is_none().then_some(found)
}

/// The entry that an action makes.
struct Made<'r> {
    key: Cow<'r, str>,
    value: Value<'r>,
    may_be_left_out: bool,
    /// What a caller leaves out so that there is no such entry.
    omitted: Option<Omitted<'r>>,
}

/// A part of a request that callers may leave out.
#[derive(Clone, Copy)]
enum Omitted<'r> {
    Header(&'r str),
    QueryParameter(&'r str),
}

impl fmt::Display for Omitted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::QueryParameter(name) => write!(f, "the query parameter `{name}`"),
        }
    }
}

/// What the value of an entry can be.
#[derive(PartialEq)]
enum Value<'r> {
    /// This one, for every request.
    Fixed(&'r str),
    /// This one, for requests that match.
    IfMatched(&'r str),
    OneOf(&'r [Text]),
    /// What is proven of the caller, or what a provider says of it.
    Proven,
    /// A fact of this workload.
    Own,
    /// Whatever the caller sends.
    Callers,
}

impl Value<'_> {
    fn may_be(&self, wanted: &Text) -> bool {
        wanted.is_empty()
            || match self {
                Self::Fixed(value) | Self::IfMatched(value) => *value == wanted.as_str(),
                Self::OneOf(values) => values.iter().any(|value| **value == **wanted),
                Self::Proven | Self::Own | Self::Callers => true,
            }
    }
}

impl<'r> Made<'r> {
    fn by(action: &'r RateLimitAction) -> Self {
        let always = |key: &'r str, value| Self {
            key: Cow::Borrowed(key),
            value,
            may_be_left_out: false,
            omitted: None,
        };
        let unless = |absent: &WhenAbsent, made: Self| Self {
            may_be_left_out: *absent == WhenAbsent::Skip,
            ..made
        };
        let or =
            |key: &'r Option<Text>, default: &'r str| key.as_ref().map_or(default, Text::as_str);
        match action {
            RateLimitAction::SourceCluster => always("source_cluster", Value::Own),
            RateLimitAction::DestinationCluster => always("destination_cluster", Value::Own),
            // Where no edge is, `x-forwarded-for` says it.
            RateLimitAction::RemoteAddress => always("remote_address", Value::Callers),
            RateLimitAction::MaskedRemoteAddress { .. } => {
                always("masked_remote_address", Value::Callers)
            }
            RateLimitAction::RequestHeaders {
                header_name,
                descriptor_key,
                absent,
            } => {
                // Every request has these.
                let is_optional = !header_name.starts_with(':') && **header_name != *"host";
                let made = unless(absent, always(descriptor_key, Value::Callers));
                Self {
                    omitted: is_optional.then_some(Omitted::Header(header_name)),
                    ..made
                }
            }
            RateLimitAction::QueryParameters {
                query_parameter_name,
                descriptor_key,
                absent,
            } => {
                let made = unless(absent, always(descriptor_key, Value::Callers));
                Self {
                    omitted: Some(Omitted::QueryParameter(query_parameter_name)),
                    ..made
                }
            }
            RateLimitAction::QueryParameterValueMatch {
                descriptor_key,
                descriptor_value,
                ..
            } => always(
                or(descriptor_key, "query_match"),
                Value::IfMatched(descriptor_value),
            ),
            RateLimitAction::HeaderValueMatch {
                descriptor_key,
                descriptor_value,
                ..
            } => always(
                or(descriptor_key, "header_match"),
                Value::IfMatched(descriptor_value),
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
            } => unless(absent, always(descriptor_key, Value::Proven)),
            // A server takes any name for a method.
            RateLimitAction::Method => always("method", Value::Callers),
            RateLimitAction::Host => always("host", Value::Callers),
            RateLimitAction::Path { templates } => always("path", Value::OneOf(templates)),
            RateLimitAction::Principal { absent } => {
                unless(absent, always("principal", Value::Proven))
            }
            RateLimitAction::RequestPrincipal { absent } => {
                unless(absent, always("request_principal", Value::Proven))
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
                let made = always("", Value::Proven);
                unless(absent, Self { key, ..made })
            }
        }
    }
}
