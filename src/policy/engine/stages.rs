use std::sync::Arc;

use super::judgement::{CustomMatch, ProviderAnswers};
use super::request::Request;
use crate::istio::{Action, ExtensionProvider, ProviderKind};
use crate::policy::index::{Index, View};
use crate::policy::ir::Rbac;
use crate::policy::{Chain, CustomFilter, Decision, DryRun, Marks, PolicyId};

/// A chain made ready to run: each rule set with its index, in the order they are asked.
#[derive(Debug)]
pub(super) struct Stages {
    custom: Vec<Provider>,
    /// Those that Istio leaves out of raw TCP.
    unasked: Vec<Provider>,
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

impl Provider {
    fn asked(&self, policy: &PolicyId) -> CustomMatch {
        CustomMatch {
            provider: self.name.clone(),
            policy: policy.clone(),
            answer: None,
        }
    }
}

impl Stages {
    pub(super) fn new(chain: &Chain) -> Self {
        let index = |rules: &Option<Rbac>| rules.as_ref().map(Index::new);
        let providers = |filters: &[CustomFilter]| {
            let providers = filters.iter().map(|filter| Provider {
                name: filter.provider.clone(),
                usable: filter.usable.clone(),
                rules: Index::new(&filter.rules),
            });
            providers.collect()
        };
        Self {
            custom: providers(&chain.custom),
            unasked: providers(&chain.unasked),
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
        let usable = self.custom.iter().filter(|asked| asked.usable.is_some());
        let asked = usable.filter_map(|provider| {
            let policy = provider.rules.first(view)?;
            Some(provider.asked(policy))
        });
        asked.collect()
    }

    /// The first provider whose rules want it to be asked, also one that Istio leaves out.
    pub(super) fn first_custom(&self, view: &View<'_>) -> Option<CustomMatch> {
        let usable = self.custom.iter().filter(|asked| asked.usable.is_some());
        let mut asked = usable.filter_map(|provider| {
            let policy = provider.rules.first(view)?;
            Some(provider.asked(policy))
        });
        asked.next().or_else(|| self.first_unasked(view))
    }

    /// The first provider that Istio leaves out of raw TCP although its rules want it to be asked.
    pub(super) fn first_unasked(&self, view: &View<'_>) -> Option<CustomMatch> {
        self.unasked.iter().find_map(|provider| {
            let policy = provider.rules.first(view)?;
            Some(provider.asked(policy))
        })
    }

    /// Asks the providers whose rules match a form of the request, its own first: those that come
    /// before tokens are verified, or those behind. Adds them with their answers, up to the first
    /// that refuses, and returns its status and the refusal. An expression must allow every form.
    pub(super) fn ask(
        &self,
        forms: &[Request],
        (answers, after_tokens): (&ProviderAnswers<'_>, bool),
        all: &mut Vec<CustomMatch>,
    ) -> Option<(u16, Decision)> {
        for provider in &self.custom {
            let Some(usable) = &provider.usable else {
                continue;
            };
            let mut matching = forms.iter().filter_map(|form| {
                let policy = provider.rules.first(&View::new(form))?;
                Some(provider.asked(policy))
            });
            let Some(mut asked) = matching
                .next()
                .filter(|_| is_in_process(usable) == after_tokens)
            else {
                continue;
            };
            let is_rule = matches!(usable.kind, ProviderKind::Expression(_));
            let judged = if is_rule { forms.len() } else { 1 };
            let (mut answer, mut refusal) = (None, None);
            for form in forms.iter().take(judged) {
                answer = answers(&asked, form);
                refusal = answer.and_then(|answer| answer.refusal(usable));
                if refusal.is_some() || answer.is_none() {
                    break;
                }
            }
            asked.answer = answer;
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
        | ProviderKind::Telemetry(_)
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
