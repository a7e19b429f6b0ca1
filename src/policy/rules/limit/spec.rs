//! What a limit counts, how much may pass, and who counts.

use std::time::Duration;

use super::action::Action;
use crate::istio::Position;

/// One rate limit of a workload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limit {
    /// The namespace of its resource; empty for a limit that the application has made.
    pub namespace: String,
    /// Its name, which with the namespace identifies it: a limit that a reload leaves as it was
    /// keeps what it has counted.
    pub name: String,
    /// Where it was written.
    pub at: Position,
    /// What it says.
    pub spec: Spec,
}

impl Limit {
    /// A limit that the application makes. It counts nothing until [`local`](Self::local) or
    /// [`service`](Self::service) says who counts.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            namespace: String::new(),
            name: name.into(),
            at: Position::default(),
            spec: Spec::default(),
        }
    }

    /// Lets this process count.
    #[must_use]
    pub fn local(mut self, local: Local) -> Self {
        self.spec.local = Some(local);
        self
    }

    /// Lets a rate limit service count.
    #[must_use]
    pub fn service(mut self, service: ServiceLimit) -> Self {
        self.spec.service = Some(service);
        self
    }

    /// Adds a descriptor, from these actions.
    #[must_use]
    pub fn descriptor(mut self, actions: impl IntoIterator<Item = Action>) -> Self {
        let actions = actions.into_iter().collect();
        self.spec.descriptors.push(Descriptor { actions });
        self
    }

    /// Lets the limit count and log, and refuse nothing.
    #[must_use]
    pub fn report_only(mut self) -> Self {
        self.spec.report_only = true;
        self
    }

    /// Adds the headers `x-ratelimit-limit`, `-remaining` and `-reset` to responses.
    #[must_use]
    pub fn x_ratelimit_headers(mut self) -> Self {
        self.spec.x_ratelimit_headers = true;
        self
    }

    /// The status of a refusal; 429 by default. One below 400 counts as 429.
    #[must_use]
    pub fn status(mut self, status: u16) -> Self {
        self.spec.status = status;
        self
    }

    /// Why the limit, or a part of it, can never count; `None` if all of it can. Configuration is
    /// checked when it is read.
    #[must_use]
    pub fn mistake(&self) -> Option<&'static str> {
        let Spec {
            local,
            service,
            descriptors,
            ..
        } = &self.spec;
        let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_host = |host: &str| !host.is_empty() && host.bytes().all(is_host_byte);
        match (local, service) {
            (None, None) => Some("nothing counts: add local(..) or service(..)"),
            (_, Some(service)) if !is_host(&service.host) => {
                Some("the host of its service is not a name only, without a scheme and a port")
            }
            (_, Some(service)) if service.domain.is_empty() => {
                Some("the domain of its service is empty")
            }
            (_, Some(_)) if descriptors.is_empty() => {
                Some("a service counts only descriptors: add descriptor(..)")
            }
            _ if descriptors.iter().any(|made| made.actions.is_empty()) => {
                Some("a descriptor has no action, so that no request has it")
            }
            (Some(local), _) if local.bucket.is_none() && local.descriptors.is_empty() => {
                Some("its local part has no bucket")
            }
            (Some(local), _) if !local.descriptors.is_empty() && descriptors.is_empty() => {
                Some("its buckets match only descriptors: add descriptor(..)")
            }
            (Some(local), _) if local.descriptors.iter().any(|due| !self.reaches(due)) => {
                Some("no request reaches one of its buckets: no descriptor(..) makes its keys")
            }
            _ => None,
        }
    }

    /// Whether a request can have the descriptor of this bucket.
    fn reaches(&self, due: &LocalDescriptor) -> bool {
        let keys = due.entries.iter().map(|(key, _)| key.as_str());
        let mut made = self.spec.descriptors.iter();
        made.any(|made| made.can_make(keys.clone()))
    }

    /// What is wrong with this limit behind these others: each mistake with its name.
    #[cfg(feature = "rate-limit")]
    pub(crate) fn mistakes_behind(&self, others: &[Self]) -> impl Iterator<Item = String> {
        let name = &self.name;
        let is_second = others.iter().any(|other| other.name == *name);
        let second = is_second
            .then(|| format!("two limits have the name {name:?}: give each a name of its own"));
        let own = self.mistake();
        second
            .into_iter()
            .chain(own.map(|mistake| format!("the limit {name:?}: {mistake}")))
    }

    /// When the limit is judged.
    #[must_use]
    pub fn stage(&self) -> Stage {
        let actions = self.spec.descriptors.iter();
        let mut actions = actions.flat_map(|descriptor| &descriptor.actions);
        match actions.any(Action::is_late) {
            true => Stage::Late,
            false => Stage::Early,
        }
    }
}

/// When a limit is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Before tokens and policies: it counts also what they refuse.
    Early,
    /// After them: one of its descriptors needs the peer's identity, the end user's token, or what
    /// an authorizer has said.
    Late,
}

impl Stage {
    /// `early` or `late`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Late => "late",
        }
    }
}

/// What a [`Limit`] says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Spec {
    /// It counts and logs, and refuses nothing.
    pub report_only: bool,
    /// What this process counts.
    pub local: Option<Local>,
    /// The service that counts.
    pub service: Option<ServiceLimit>,
    /// What is counted: `rateLimits[]`.
    pub descriptors: Vec<Descriptor>,
    /// The status of a refusal.
    pub status: u16,
    /// A gRPC caller gets RESOURCE_EXHAUSTED (8) in place of UNAVAILABLE (14).
    pub as_resource_exhausted: bool,
    /// Responses get `x-ratelimit-*` (`DRAFT_VERSION_03`).
    pub x_ratelimit_headers: bool,
    /// Headers of a refusal, names and values.
    pub response_headers: Vec<(String, String)>,
    /// Headers that a request over the limit brings to the application, where the limit only
    /// reports.
    pub not_enforced_headers: Vec<(String, String)>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            report_only: false,
            local: None,
            service: None,
            descriptors: Vec::new(),
            status: 429,
            as_resource_exhausted: false,
            x_ratelimit_headers: false,
            response_headers: Vec::new(),
            not_enforced_headers: Vec::new(),
        }
    }
}

/// One descriptor: its entries are made by these actions, in this order. If one of them has no
/// value for a request, the request has no such descriptor.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The actions; at least one.
    pub actions: Vec<Action>,
}

impl Descriptor {
    /// Whether it can have just these keys, in this order.
    pub(in crate::policy) fn can_make<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        let Some(first) = keys.next() else {
            return false;
        };
        let mut due = Some(first);
        for action in &self.actions {
            if due == Some(action.key()) {
                due = keys.next();
            } else if !action.may_be_left_out() {
                return false;
            }
        }
        due.is_none()
    }
}

/// A bucket of tokens: each request takes one. It begins full, and is refilled continuously.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenBucket {
    /// How many tokens it holds, at least 1.
    pub max_tokens: u32,
    /// How many tokens come in each interval, at least 1.
    pub tokens_per_fill: u32,
    /// The interval, at least 50 ms.
    pub fill_interval: Duration,
}

impl TokenBucket {
    /// A bucket of `tokens`, which come in each `interval`. An interval below 50 ms counts as 50
    /// ms, and no tokens as one.
    #[must_use]
    pub fn new(tokens: u32, interval: Duration) -> Self {
        Self {
            max_tokens: tokens.max(1),
            tokens_per_fill: tokens.max(1),
            fill_interval: interval.max(Self::SHORTEST_FILL),
        }
    }

    /// Sets how many tokens the bucket holds: the largest burst.
    #[must_use]
    pub fn burst(mut self, max_tokens: u32) -> Self {
        self.max_tokens = max_tokens.max(1);
        self
    }

    /// The shortest interval that Envoy takes.
    pub const SHORTEST_FILL: Duration = Duration::from_millis(50);
}

/// What this process counts, as Envoy's `local_ratelimit`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Local {
    /// The bucket of requests that no descriptor matches, and of the others too unless
    /// [`always_consume_default`](Self::always_consume_default) is `false`; `None`: there is none.
    pub bucket: Option<TokenBucket>,
    /// Each connection has its own buckets.
    pub per_connection: bool,
    /// How many buckets of distinct values each descriptor keeps, four million at most. When all of
    /// them are live, new values share one bucket.
    pub max_keys: usize,
    /// The default bucket also counts requests that a descriptor matches.
    pub always_consume_default: bool,
    /// The buckets of descriptors.
    pub descriptors: Vec<LocalDescriptor>,
}

impl Local {
    /// One bucket for all requests.
    #[must_use]
    pub fn new(bucket: TokenBucket) -> Self {
        Self {
            bucket: Some(bucket),
            ..Self::default()
        }
    }

    /// Adds a bucket for requests with a descriptor of just these entries. An empty value stands
    /// for any, and each distinct one has a bucket of its own.
    #[must_use]
    pub fn descriptor<'e>(
        mut self,
        entries: impl IntoIterator<Item = (&'e str, &'e str)>,
        bucket: TokenBucket,
    ) -> Self {
        let entries = entries.into_iter();
        let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.descriptors.push(LocalDescriptor {
            entries: entries.collect(),
            bucket,
        });
        self
    }

    /// Gives each connection its own buckets.
    #[must_use]
    pub fn per_connection(mut self) -> Self {
        self.per_connection = true;
        self
    }

    /// Sets how many buckets of distinct values each descriptor keeps; 10,000 by default.
    #[must_use]
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// How many buckets of distinct values are kept by default.
    pub const MAX_KEYS: usize = 10_000;
}

impl Default for Local {
    fn default() -> Self {
        Self {
            bucket: None,
            per_connection: false,
            max_keys: Self::MAX_KEYS,
            always_consume_default: true,
            descriptors: Vec::new(),
        }
    }
}

/// The bucket of one descriptor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LocalDescriptor {
    /// Keys and values, in order. An empty value stands for any.
    pub entries: Vec<(String, String)>,
    /// The bucket, or that of each distinct value.
    pub bucket: TokenBucket,
}

/// The service that counts, as Envoy's `ratelimit`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceLimit {
    /// The service's host, as an application would call it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The domain of the descriptors.
    pub domain: String,
    /// The longest wait for an answer; `None`: as long as the request itself may take.
    pub timeout: Option<Duration>,
    /// Refuses requests when the service gives no answer.
    pub failure_mode_deny: bool,
    /// The status of such a refusal.
    pub status_on_error: u16,
    /// A refusal has the header `x-envoy-ratelimited`.
    pub envoy_ratelimited_header: bool,
}

impl ServiceLimit {
    /// A service, with Envoy's defaults: 20 ms, and requests pass when it gives no answer.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16, domain: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            domain: domain.into(),
            timeout: Some(Self::TIMEOUT),
            failure_mode_deny: false,
            status_on_error: 500,
            envoy_ratelimited_header: true,
        }
    }

    /// Sets the longest wait for an answer. Zero means none but the request's own, as in Envoy.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout).filter(|timeout| !timeout.is_zero());
        self
    }

    /// Refuses requests, with 500, when the service gives no answer.
    #[must_use]
    pub fn failure_mode_deny(mut self) -> Self {
        self.failure_mode_deny = true;
        self
    }

    /// How long Envoy waits.
    pub const TIMEOUT: Duration = Duration::from_millis(20);
}
