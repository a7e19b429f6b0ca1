use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::routing::route::{Action, CallHead, Cluster, Forward, RetryPolicy, Route, Split};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Outcome {
    /// It is sent on.
    #[non_exhaustive]
    Forward {
        /// Where to: one, or several of which one is drawn by weight.
        clusters: Vec<ClusterReport>,
        /// The time for the whole call, in JSON `timeout_ms`; `None`: no limit.
        #[serde(rename = "timeout_ms", serialize_with = "millis")]
        timeout: Option<Duration>,
        /// When it is tried again; `None`: never.
        retries: Option<RetryReport>,
        /// The path and query that are sent, where the route rewrites them.
        rewritten: Option<String>,
    },
    /// The caller is sent elsewhere.
    #[non_exhaustive]
    Redirect {
        /// The status.
        status: u16,
        /// The value of `location`.
        location: String,
    },
    /// The route answers.
    #[non_exhaustive]
    Respond {
        /// The status.
        status: u16,
    },
}

/// One of the clusters that a call may go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClusterReport {
    /// Its name, `outbound|PORT|SUBSET|HOST` or one of Istio's fixed ones.
    pub cluster: String,
    /// The full name of the service's host; `None` where the cluster is of no service.
    pub host: Option<String>,
    /// The service's port.
    pub port: Option<u16>,
    /// The subset; `None`: the whole service.
    pub subset: Option<String>,
    /// Its share of the sum of all weights; 100 of a cluster that is alone.
    pub weight: u32,
    /// The host that is named in place of the call's.
    pub host_rewrite: Option<String>,
}

/// When a call is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RetryReport {
    /// How often, beside the first try.
    pub attempts: u32,
    /// On which outcomes, with commas.
    pub retry_on: String,
    /// The status codes of `retriable-status-codes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status_codes: Vec<u16>,
    /// The time for each try, in JSON `per_try_timeout_ms`; `None`: no limit.
    #[serde(rename = "per_try_timeout_ms", serialize_with = "millis")]
    pub per_try_timeout: Option<Duration>,
}

impl Outcome {
    /// What a route does with a call that it takes.
    pub(super) fn new(route: &Route, call: &dyn CallHead) -> Self {
        match &route.action {
            Action::Forward(forward) => Self::forward(forward, route, call),
            Action::Redirect(redirect) => Self::Redirect {
                status: redirect.status,
                location: redirect.location(&route.matches.path, call),
            },
            Action::Respond(respond) => Self::Respond {
                status: respond.status,
            },
        }
    }

    /// The call is sent on to this cluster as it is.
    pub(super) fn to_one(cluster: &Cluster) -> Self {
        Self::Forward {
            clusters: vec![ClusterReport::new(cluster, ALONE, None)],
            timeout: None,
            retries: None,
            rewritten: None,
        }
    }

    fn forward(forward: &Forward, route: &Route, call: &dyn CallHead) -> Self {
        let of_route = forward.host_rewrite.as_ref();
        let clusters = match &forward.split {
            Split::One(cluster) => vec![ClusterReport::new(cluster, ALONE, of_route)],
            Split::Weighted(all) => {
                let reports = all.iter().map(|each| {
                    let host = of_route.or(each.host_rewrite.as_ref());
                    ClusterReport::new(&each.cluster, each.weight, host)
                });
                reports.collect()
            }
        };
        let rewritten = forward.path_rewrite.as_ref().map(|rewrite| {
            let mut target = rewrite.apply(&route.matches.path, call.path());
            if let Some(query) = call.query() {
                target.push('?');
                target.push_str(query);
            }
            target
        });
        Self::Forward {
            clusters,
            timeout: forward.timeout,
            retries: forward.retry.as_ref().map(RetryReport::new),
            rewritten,
        }
    }

    /// The outcome in a line.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Forward { clusters, .. } => {
                let sum: u64 = clusters.iter().map(|each| u64::from(each.weight)).sum();
                let words = clusters.iter().map(|each| match clusters.len() {
                    1 => each.cluster.clone(),
                    _ => format!("{} ({} of {sum})", each.cluster, each.weight),
                });
                words.collect::<Vec<_>>().join(", ")
            }
            Self::Redirect { status, location } => format!("redirect {status} to {location:?}"),
            Self::Respond { status } => format!("answered with {status}"),
        }
    }
}

impl ClusterReport {
    fn new(cluster: &Cluster, weight: u32, host_rewrite: Option<&String>) -> Self {
        let name = match cluster {
            Cluster::Service(name) => Some(name),
            _ => None,
        };
        let subset = name.map(|name| name.subset.clone());
        Self {
            cluster: cluster.to_string(),
            host: name.map(|name| name.host.clone()),
            port: name.map(|name| name.port),
            subset: subset.filter(|subset| !subset.is_empty()),
            weight,
            host_rewrite: host_rewrite.cloned(),
        }
    }
}

impl RetryReport {
    fn new(policy: &RetryPolicy) -> Self {
        Self {
            attempts: policy.retries,
            retry_on: policy.retry_on.clone(),
            status_codes: policy.status_codes.clone(),
            per_try_timeout: policy.per_try_timeout,
        }
    }
}

impl fmt::Display for Outcome {
    /// What is not in its one line, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Forward {
            clusters,
            timeout,
            retries,
            rewritten,
        } = self
        else {
            return Ok(());
        };
        if let Some(rewritten) = rewritten {
            writeln!(f, "  path rewritten to {rewritten:?}")?;
        }
        for each in clusters {
            if let Some(host) = &each.host_rewrite {
                writeln!(f, "  host rewritten to {host:?} for {}", each.cluster)?;
            }
        }
        match timeout {
            Some(timeout) => writeln!(f, "  timeout {timeout:?}")?,
            None => writeln!(f, "  timeout none")?,
        }
        match retries {
            Some(retries) => writeln!(f, "  retries {retries}"),
            None => writeln!(f, "  retries none"),
        }
    }
}

impl fmt::Display for RetryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.attempts, self.retry_on)?;
        if !self.status_codes.is_empty() {
            let codes = self.status_codes.iter().map(u16::to_string);
            write!(f, " ({})", codes.collect::<Vec<_>>().join(", "))?;
        }
        match self.per_try_timeout {
            Some(timeout) => write!(f, ", {timeout:?} each"),
            None => Ok(()),
        }
    }
}

fn millis<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX));
    millis.serialize(serializer)
}

const ALONE: u32 = 100;
