use std::sync::Arc;

use super::judgement::{CustomMatch, ProviderAnswers};
use super::request::Request;
use crate::istio::{Action, ExtensionProvider, ProviderKind};
use crate::policy::index::{Index, View};
use crate::policy::ir::Rbac;
use crate::policy::{Chain, Decision, DryRun, Marks, PolicyId};

/// A chain made ready to run: each rule set with its index, in the order they are asked.
#[derive(Debug)]
pub(super) struct Stages {
    custom: Vec<Provider>,
    audit: Option<Index>,
    deny: Sets,
    allow: Sets,
}

#[derive(Debug)]
struct Provider {
    name: String,
    usable: Option<ExtensionProvider>,
    rules: Index,
}

#[derive(Debug)]
struct Sets {
    enforced: Option<Index>,
    shadow: Option<Index>,
}

impl Stages {
    pub(super) fn new(chain: &Chain) -> Self {
        let index = |rules: &Option<Rbac>| rules.as_ref().map(Index::new);
        let custom = chain.custom.iter().map(|filter| Provider {
            name: filter.provider.clone(),
            usable: filter.usable.clone(),
            rules: Index::new(&filter.rules),
        });
        Self {
            custom: custom.collect(),
            audit: index(&chain.audit),
            deny: Sets {
                enforced: index(&chain.deny.enforced),
                shadow: index(&chain.deny.shadow),
            },
            allow: Sets {
                enforced: index(&chain.allow.enforced),
                shadow: index(&chain.allow.shadow),
            },
        }
    }

    /// Whether a rule wants some external provider to be asked.
    pub(super) fn custom(&self, view: &View<'_>) -> Vec<CustomMatch> {
        self.asked(view).map(|(asked, _)| asked).collect()
    }

    /// With the providers themselves.
    fn asked<'s>(
        &'s self,
        view: &View<'_>,
    ) -> impl Iterator<Item = (CustomMatch, &'s ExtensionProvider)> {
        self.custom.iter().filter_map(|provider| {
            let usable = provider.usable.as_ref()?;
            let asked = CustomMatch {
                provider: provider.name.clone(),
                policy: provider.rules.first(view)?.clone(),
                answer: None,
            };
            Some((asked, usable))
        })
    }

    /// Asks the providers that come before tokens are verified, or those behind; adds them with
    /// their answers, up to the first that refuses. Returns its status and the refusal.
    pub(super) fn ask(
        &self,
        view: &View<'_>,
        request: &Request,
        (answers, after_tokens): (&ProviderAnswers<'_>, bool),
        all: &mut Vec<CustomMatch>,
    ) -> Option<(u16, Decision)> {
        let asked = self.asked(view);
        for (mut asked, provider) in
            asked.filter(|(_, provider)| is_in_process(provider) == after_tokens)
        {
            asked.answer = answers(&asked, request);
            let refusal = asked.answer.and_then(|answer| answer.refusal(provider));
            let name = asked.policy.clone();
            all.push(asked);
            if let Some(status) = refusal {
                let decision = Decision::new(false, Some(Action::Custom), Some(name));
                return Some((status, decision));
            }
        }
        None
    }

    /// Refuses what an external provider that cannot be asked would have to judge.
    pub(super) fn refused_by_custom(&self, view: &View<'_>) -> Option<Decision> {
        let custom = self.custom.iter();
        let mut unusable = custom.filter(|provider| provider.usable.is_none());
        let name = unusable.find_map(|provider| provider.rules.first(view))?;
        let name = Some(name.clone());
        Some(Decision::new(false, Some(Action::Custom), name))
    }

    /// Asks unusable CUSTOM providers, AUDIT, DENY, ALLOW; a refusal ends it, so that a DENY hides
    /// what ALLOW would have said.
    pub(super) fn decide(&self, view: &View<'_>) -> Decision {
        if let Some(refusal) = self.refused_by_custom(view) {
            return refusal;
        }
        let mut marks = Marks::default();
        if let Some(audit) = &self.audit {
            marks.audit = audit.all(view);
        }
        marks.dry_run_deny = self.deny.dry_run(view, false);
        let deny = self.deny.enforced.as_ref();
        let mut decision = match deny.and_then(|rules| rules.first(view)) {
            Some(name) => Decision::new(false, Some(Action::Deny), Some(name.clone())),
            None => {
                marks.dry_run_allow = self.allow.dry_run(view, true);
                self.allowed(view)
            }
        };
        decision.marks = (!marks.is_empty()).then(|| Arc::new(marks));
        decision
    }

    fn allowed(&self, view: &View<'_>) -> Decision {
        let Some(rules) = &self.allow.enforced else {
            return Decision::new(true, None, None);
        };
        let name = rules.first(view).cloned();
        Decision::new(name.is_some(), Some(Action::Allow), name)
    }
}

/// Whether a provider is in the process, where tokens are verified before it is asked.
fn is_in_process(provider: &ExtensionProvider) -> bool {
    match provider.kind {
        ProviderKind::Expression(_) | ProviderKind::Application => true,
        ProviderKind::ExtAuthzGrpc { .. }
        | ProviderKind::ExtAuthzHttp { .. }
        | ProviderKind::Other => false,
    }
}

impl Sets {
    /// What the dry-run rules alone would decide; a match of theirs means `matching`.
    fn dry_run(&self, view: &View<'_>, matching: bool) -> Option<DryRun> {
        let name: Option<&PolicyId> = self.shadow.as_ref()?.first(view);
        Some(DryRun::new(name.is_some() == matching, name.cloned()))
    }
}
