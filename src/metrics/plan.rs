//! How Telemetry resources change what is shown.

#[cfg(all(feature = "server", feature = "client"))]
use std::collections::BTreeSet;
use std::time::Duration;

#[cfg(all(feature = "server", feature = "client"))]
pub(in crate::metrics) mod claims;

/// The changes for requests and for calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricsPlan {
    /// For series with `reporter="destination"`.
    pub(crate) server: SidePlan,
    /// For series with `reporter="source"`.
    pub(crate) client: SidePlan,
}

/// The changes for one reporter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SidePlan {
    /// In the order in which Istio's families are written.
    pub(crate) families: [FamilyPlan; FAMILIES],
    /// How often long calls report; Istio's five seconds if it is not set.
    pub(crate) reporting_interval: Option<Duration>,
}

/// How many families Istio has.
pub(crate) const FAMILIES: usize = 10;

/// The changes of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FamilyPlan {
    /// Whether it is not shown.
    pub(crate) is_off: bool,
    /// What becomes of labels, each named once.
    pub(crate) tags: Vec<(Box<str>, TagPlan)>,
}

/// What becomes of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "server", feature = "client", feature = "cel")),
    allow(dead_code, reason = "expressions give values")
)]
pub(crate) enum TagPlan {
    /// No series has it.
    Remove,
    /// It has this value.
    Fixed(Box<str>),
    /// It has the value that each request has for this expression.
    Evaluated(Box<str>),
}

impl MetricsPlan {
    /// The expressions that give values, also those of families that are not shown.
    #[cfg(all(feature = "server", feature = "client"))]
    pub(in crate::metrics) fn expressions(&self) -> BTreeSet<Box<str>> {
        let sides = [&self.server, &self.client];
        let families = sides.into_iter().flat_map(|side| &side.families);
        let tags = families.flat_map(|family| &family.tags);
        tags.filter_map(|(_, tag)| match tag {
            TagPlan::Evaluated(text) => Some(text.clone()),
            TagPlan::Remove | TagPlan::Fixed(_) => None,
        })
        .collect()
    }

    /// Whether a family is shown as it is counted.
    pub(in crate::metrics) fn is_plain(&self, family: usize) -> bool {
        let sides = [&self.server, &self.client];
        sides.into_iter().all(|side| {
            side.families
                .get(family)
                .is_none_or(|plan| *plan == FamilyPlan::default())
        })
    }

    /// The changes of a family for a reporter. A series that is of neither has those of both.
    pub(in crate::metrics) fn of(&self, family: usize, reporter: &str) -> FamilyPlan {
        let [server, client] = [&self.server, &self.client]
            .map(|side| side.families.get(family).cloned().unwrap_or_default());
        match reporter {
            "destination" => server,
            "source" => client,
            _ => {
                let mut both = server;
                both.is_off &= client.is_off;
                for (label, tag) in client.tags {
                    if !both.tags.iter().any(|(known, _)| *known == label) {
                        both.tags.push((label, tag));
                    }
                }
                both
            }
        }
    }
}
