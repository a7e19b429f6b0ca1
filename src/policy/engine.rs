use std::sync::Arc;

use super::ir::Rbac;
use super::{
    Attributes, Authentication, Chain, Decision, DryRun, Marks, PolicyId, Program, RuleSets, eval,
};
use crate::istio::{Action, MtlsMode, PathNormalization};
use crate::matcher::path::Normalization;

/// Judges requests and connections of one workload. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Program>);

impl Engine {
    /// An engine that runs a compiled program.
    #[must_use]
    pub fn new(program: Program) -> Self {
        Self(Arc::new(program))
    }

    /// What runs.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.0
    }

    /// Which end-user tokens are good on a port.
    #[must_use]
    pub fn authentication(&self, port: u16) -> &Authentication {
        self.0.authentication.get(port)
    }

    /// Which connections a port accepts; `None` where no resource says anything.
    #[must_use]
    pub fn mtls(&self, port: u16) -> Option<MtlsMode> {
        *self.0.mtls.get(port)
    }

    /// How request targets are normalized before they are judged.
    #[must_use]
    pub fn path_normalization(&self) -> Normalization {
        match self.0.path_normalization {
            PathNormalization::None => Normalization::None,
            PathNormalization::Base => Normalization::Base,
            PathNormalization::MergeSlashes => Normalization::MergeSlashes,
            PathNormalization::DecodeAndMergeSlashes => Normalization::DecodeAndMergeSlashes,
        }
    }

    /// Judges an HTTP request, with its path normalized and its token verified.
    #[must_use]
    pub fn decide(&self, request: &dyn Attributes) -> Decision {
        decide(self.0.http.get(port(request)), request)
    }

    /// Judges a raw TCP connection.
    #[must_use]
    pub fn decide_tcp(&self, connection: &dyn Attributes) -> Decision {
        decide(self.0.tcp.get(port(connection)), connection)
    }

    /// The external providers to ask about an HTTP request, in byte order of their names, before its token is verified.
    #[must_use]
    pub fn custom(&self, request: &dyn Attributes) -> Vec<CustomMatch> {
        let filters = self.0.http.get(port(request)).custom.iter();
        let usable = filters.filter(|filter| filter.usable.is_some());
        let matches = usable.filter_map(|filter| {
            Some(CustomMatch {
                provider: filter.provider.clone(),
                policy: eval::first_match(&filter.rules, request)?.clone(),
            })
        });
        matches.collect()
    }
}

/// An external provider that must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomMatch {
    /// The provider's name.
    pub provider: String,
    /// The rule that asks for it.
    pub policy: PolicyId,
}

fn port(request: &dyn Attributes) -> u16 {
    request.destination_port().unwrap_or_default()
}

fn decide(chain: &Chain, request: &dyn Attributes) -> Decision {
    let unusable = chain.custom.iter().filter(|filter| filter.usable.is_none());
    for filter in unusable {
        if let Some(name) = eval::first_match(&filter.rules, request) {
            return Decision::new(false, Some(Action::Custom), Some(name.clone()));
        }
    }
    let mut marks = Marks::default();
    if let Some(audit) = &chain.audit {
        marks.audit = eval::all_matches(audit, request).cloned().collect();
    }
    marks.dry_run_deny = shadow(&chain.deny, false, request);
    let denied = chain
        .deny
        .enforced
        .as_ref()
        .and_then(|rules| first(rules, request));
    let mut decision = match (denied, &chain.allow.enforced) {
        (Some(name), _) => Decision::new(false, Some(Action::Deny), Some(name)),
        (None, None) => Decision::new(true, None, None),
        (None, Some(rules)) => {
            let name = first(rules, request);
            Decision::new(name.is_some(), Some(Action::Allow), name)
        }
    };
    if decision.action != Some(Action::Deny) {
        marks.dry_run_allow = shadow(&chain.allow, true, request);
    }
    decision.marks = (marks != Marks::default()).then(|| Arc::new(marks));
    decision
}

fn shadow(sets: &RuleSets, allow: bool, request: &dyn Attributes) -> Option<DryRun> {
    let name = first(sets.shadow.as_ref()?, request);
    Some(DryRun::new(name.is_some() == allow, name))
}

fn first(rules: &Rbac, request: &dyn Attributes) -> Option<PolicyId> {
    eval::first_match(rules, request).cloned()
}
