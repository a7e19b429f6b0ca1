//! How often each external provider was asked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::policy::{Judgement, ProviderAnswer};

/// How often an external provider was asked, and what it answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProviderCoverage {
    /// The provider's name.
    pub provider: String,
    /// How many requests CUSTOM rules sent to it.
    pub asked: u64,
    /// How many of them it allowed.
    pub allowed: u64,
    /// How many it denied.
    pub denied: u64,
    /// How often it could not be asked.
    pub failed: u64,
    /// How often its answer was not known, and taken as allowing.
    pub unknown: u64,
}

/// The providers that were asked, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenProviders(BTreeMap<String, ProviderCoverage>);

impl SeenProviders {
    pub(super) fn note(&mut self, judgement: &Judgement) {
        for asked in &judgement.custom {
            let seen = self.entry(&asked.provider);
            seen.asked += 1;
            *match asked.answer {
                Some(ProviderAnswer::Allow) => &mut seen.allowed,
                Some(ProviderAnswer::Deny { .. }) => &mut seen.denied,
                Some(ProviderAnswer::Error) => &mut seen.failed,
                None => &mut seen.unknown,
            } += 1;
        }
    }

    pub(super) fn absorb(&mut self, other: Self) {
        for more in other.0.into_values() {
            let seen = self.entry(&more.provider);
            seen.asked += more.asked;
            seen.allowed += more.allowed;
            seen.denied += more.denied;
            seen.failed += more.failed;
            seen.unknown += more.unknown;
        }
    }

    pub(super) fn list(&self) -> Vec<ProviderCoverage> {
        self.0.values().cloned().collect()
    }

    fn entry(&mut self, provider: &str) -> &mut ProviderCoverage {
        let seen = self.0.entry(provider.to_owned());
        seen.or_insert_with(|| ProviderCoverage {
            provider: provider.to_owned(),
            ..ProviderCoverage::default()
        })
    }
}

impl fmt::Display for ProviderCoverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = match self.asked {
            1 => "once".to_owned(),
            asked => format!("{asked} times"),
        };
        write!(f, "provider `{}` was asked {times}", self.provider)?;
        let counts = [
            ("allowed", self.allowed),
            ("denied", self.denied),
            ("failed", self.failed),
            ("answer not known", self.unknown),
        ];
        let counts = counts.iter().filter(|(_, count)| *count > 0);
        let counts = counts.map(|(what, count)| format!("{what} {count}"));
        write!(f, ": {}", counts.collect::<Vec<_>>().join(", "))
    }
}
