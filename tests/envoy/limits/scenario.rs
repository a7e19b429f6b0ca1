//! Requests in their order, under one limit.

use std::time::Duration;

use serde_json::{Value, json};

use super::service::Answer;
use crate::stub::{Call, Filter};

/// A limit, and what is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The fields of Envoy's filter.
    pub(crate) filter: Value,
    /// The `rate_limits` of the route.
    pub(crate) actions: Value,
    pub(crate) steps: Vec<Step>,
    /// The difference that is ours on purpose.
    pub(crate) listed: Option<Listed>,
}

/// A difference, and the statuses that ours comes to.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) why: &'static str,
    pub(crate) statuses: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Global,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) call: Call,
    /// What the rate limit service answers.
    pub(crate) answer: Answer,
    /// How long after the one before.
    pub(crate) after: Duration,
    /// On which of two connections.
    pub(crate) connection: usize,
}

pub(crate) fn step(call: Call) -> Step {
    Step {
        call,
        answer: Answer::Hang,
        after: Duration::ZERO,
        connection: 0,
    }
}

impl Step {
    pub(crate) fn after(mut self, millis: u64) -> Self {
        self.after = Duration::from_millis(millis);
        self
    }

    pub(crate) fn on_another(mut self) -> Self {
        self.connection = 1;
        self
    }

    pub(crate) fn answer(mut self, answer: Answer) -> Self {
        self.answer = answer;
        self
    }
}

impl Scenario {
    pub(crate) fn listed<const N: usize>(mut self, why: &'static str, statuses: [u16; N]) -> Self {
        let statuses = statuses.to_vec();
        self.listed = Some(Listed { why, statuses });
        self
    }

    pub(crate) fn envoy(&self) -> Filter {
        let mut config = self.filter.clone();
        let name = match self.kind {
            Kind::Local => {
                config["@type"] = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit".into();
                config["stat_prefix"] = "limit".into();
                "envoy.filters.http.local_ratelimit"
            }
            Kind::Global => {
                config["@type"] =
                    "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit"
                        .into();
                let cluster = config["cluster"].take();
                config.as_object_mut().unwrap().remove("cluster");
                let cluster = cluster.as_str().unwrap_or("service");
                config["rate_limit_service"] = json!({
                    "transport_api_version": "V3",
                    "grpc_service": {"envoy_grpc": {"cluster_name": cluster}},
                });
                "envoy.filters.http.ratelimit"
            }
        };
        Filter {
            filters: vec![json!({"name": name, "typed_config": config})],
            route: json!({"route": {"rate_limits": self.actions}}),
            ..Filter::default()
        }
    }
}
