//! The values of labels with an expression.

use std::sync::Arc;

use super::facts::Seen;
use crate::access_log::{Facts, Measured};
use crate::cel::{Fact, TagValue};
use crate::istio::{Metric, TagOverride};
use crate::matcher::path_redaction::PathRedaction;
use crate::message::{Report, Watch};
use crate::metrics::{ClientRecord, ServerRecord, TagValues};
use crate::telemetry::EffectiveMetrics;

/// The expressions of all labels, each once.
#[derive(Debug)]
pub(in crate::mesh) struct Tags {
    tags: Vec<(Arc<str>, TagValue)>,
    /// What no value shows of paths.
    hidden: PathRedaction,
    /// The name of this process.
    node: Arc<str>,
}

impl Tags {
    /// `None` if no label has an expression that reads anything.
    pub(super) fn new(
        found: &EffectiveMetrics,
        hidden: &PathRedaction,
        node: &Arc<str>,
    ) -> Option<Self> {
        let mut tags: Vec<(Arc<str>, TagValue)> = Vec::new();
        let metrics = Metric::ALL
            .into_iter()
            .filter(|metric| found.counts(*metric));
        for tag in metrics.flat_map(|metric| found.get(metric).tags.values()) {
            let TagOverride::Upsert(text) = tag else {
                continue;
            };
            if tags.iter().any(|(known, _)| **known == *text.as_str()) {
                continue;
            }
            // What cannot be compiled was reported.
            if let Some(value) = TagValue::compile(text).ok()
                && value.constant().is_none()
            {
                tags.push((text.as_str().into(), value));
            }
        }
        // Series with the same values are one series, whatever the order in the resources.
        tags.sort_by(|(one, _), (other, _)| one.cmp(other));
        (!tags.is_empty()).then(|| Self {
            tags,
            hidden: hidden.clone(),
            node: Arc::clone(node),
        })
    }

    /// What they read.
    pub(super) fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.tags.iter().flat_map(|(_, value)| value.facts())
    }

    /// The values for an exchange that has ended.
    pub(in crate::mesh) fn values(&self, facts: Facts<'_>) -> TagValues {
        let seen = Seen::shown(facts, &self.node, &self.hidden);
        let values = self.tags.iter();
        TagValues::new(values.map(|(text, value)| (Arc::clone(text), value.evaluate(&seen).ok())))
    }
}

/// Metrics of one exchange that know its sizes and take values of labels.
pub(in crate::mesh) trait Measuring: Watch {
    /// What expressions read of it, at its end.
    fn measured(&mut self, report: &Report<'_>) -> Measured;

    /// Takes the values.
    fn tag(&mut self, values: TagValues);
}

fn of((request_head, response_head, labels): (u64, u64, Option<&str>)) -> Measured {
    Measured {
        request_head,
        response_head,
        labels: labels.unwrap_or_default().into(),
    }
}

impl Measuring for ServerRecord {
    fn measured(&mut self, _: &Report<'_>) -> Measured {
        of(Self::measured(self))
    }

    fn tag(&mut self, values: TagValues) {
        Self::tag(self, values);
    }
}

impl Measuring for ClientRecord {
    fn measured(&mut self, report: &Report<'_>) -> Measured {
        of(Self::measured(self, report))
    }

    fn tag(&mut self, values: TagValues) {
        Self::tag(self, values);
    }
}
