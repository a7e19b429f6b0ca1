//! What external providers answer in a test.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "cel")]
use crate::cel::ProviderRules;
use crate::policy::{CustomMatch, Engine, Judgement, ProviderAnswer, Request};

/// The answers of external providers, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Stubs {
    by_name: BTreeMap<String, Stub>,
    is_demanded: bool,
    /// Those that are expressions answer for themselves.
    #[cfg(feature = "cel")]
    rules: ProviderRules,
}

#[derive(Clone)]
enum Stub {
    Always(ProviderAnswer),
    ByRequest(Arc<dyn Fn(&Request) -> ProviderAnswer + Send + Sync>),
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always(answer) => answer.fmt(f),
            Self::ByRequest(_) => f.write_str("by request"),
        }
    }
}

impl Stubs {
    /// No answers but those that can be computed.
    #[cfg_attr(
        not(feature = "cel"),
        expect(unused_variables, reason = "for expressions")
    )]
    pub(super) fn of(engine: &Engine) -> Self {
        Self {
            #[cfg(feature = "cel")]
            rules: ProviderRules::of(engine),
            ..Self::default()
        }
    }

    /// Without answers, providers are taken as allowing, unless this demands answers.
    pub(super) fn demand(&mut self) {
        self.is_demanded = true;
    }

    /// One answer to every request.
    pub(super) fn always(&mut self, provider: impl Into<String>, answer: ProviderAnswer) {
        self.by_name.insert(provider.into(), Stub::Always(answer));
    }

    /// An answer by request.
    pub(super) fn by_request(
        &mut self,
        provider: impl Into<String>,
        answer: impl Fn(&Request) -> ProviderAnswer + Send + Sync + 'static,
    ) {
        let answer = Stub::ByRequest(Arc::new(answer));
        self.by_name.insert(provider.into(), answer);
    }

    /// The same, and these answers in place of others.
    pub(super) fn with(&self, own: &BTreeMap<String, ProviderAnswer>) -> Self {
        let mut stubs = self.clone();
        for (provider, answer) in own {
            stubs.always(provider, *answer);
        }
        stubs
    }

    /// What a provider answers to a request.
    pub(super) fn answer(&self, asked: &CustomMatch, request: &Request) -> Option<ProviderAnswer> {
        match self.by_name.get(&asked.provider) {
            Some(Stub::Always(answer)) => Some(*answer),
            Some(Stub::ByRequest(answer)) => Some(answer(request)),
            None => self.computed(asked, request),
        }
    }

    #[cfg(feature = "cel")]
    fn computed(&self, asked: &CustomMatch, request: &Request) -> Option<ProviderAnswer> {
        self.rules.answer(asked, request)
    }

    #[cfg(not(feature = "cel"))]
    #[expect(clippy::unused_self, reason = "expressions need the feature `cel`")]
    fn computed(&self, _: &CustomMatch, _: &Request) -> Option<ProviderAnswer> {
        None
    }

    /// The first provider that is asked and has no answer, though some have one or all must.
    pub(super) fn missing<'j>(&self, judgement: &'j Judgement) -> Option<&'j CustomMatch> {
        let demands = self.is_demanded || !self.by_name.is_empty();
        judgement.unknown_answers().find(|_| demands)
    }

    /// The providers that have answers.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
