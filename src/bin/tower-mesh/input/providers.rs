//! What external providers answer.

use std::collections::BTreeMap;

use clap::Args;
#[cfg(feature = "cel")]
pub(crate) use tower_mesh::cel::ProviderRules;
use tower_mesh::policy::{CustomMatch, Engine, ProviderAnswer, Request};

use super::options::key_and_value;
use crate::printable::printable;

/// The answers that the command line gives for external providers.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Providers {
    /// What an external provider (CUSTOM) answers: allow, deny, error, or the status of a denial;
    /// may be given several times. Without it the provider is taken as allowing
    #[arg(long = "provider", value_name = "NAME=ANSWER", value_parser = name_and_answer)]
    given: Vec<(String, ProviderAnswer)>,
}

/// The answers to one request, by the provider's name.
pub(crate) type Answers = BTreeMap<String, ProviderAnswer>;

impl Providers {
    /// The answers, those of a request's own line over those of the command line.
    pub(crate) fn with(&self, own: Answers) -> Answers {
        let mut answers: Answers = self.given.iter().cloned().collect();
        answers.extend(own);
        answers
    }

    /// Says on stderr which of the providers no CUSTOM policy of the workload asks.
    pub(crate) fn tell_if_unasked(&self, engine: &Engine) {
        let program = engine.program();
        let chains = [&program.http, &program.tcp]
            .into_iter()
            .flat_map(|chains| std::iter::once(&chains.default).chain(chains.by_port.values()));
        let filters: Vec<_> = chains.flat_map(|chain| &chain.custom).collect();
        for (name, _) in &self.given {
            let named = filters.iter().find(|filter| filter.provider == *name);
            let name = printable(name);
            match named.map(|filter| filter.usable.is_some()) {
                Some(true) => {}
                Some(false) => eprintln!(
                    "note: the provider `{name}` is unusable, whatever it would answer: what its rules match is refused; if the application registers it in Rust, add --authorizer {name}"
                ),
                None => eprintln!("note: no CUSTOM policy of the workload asks `{name}`"),
            }
        }
    }
}

/// What a provider answers, if that is given or can be computed.
pub(crate) fn answer(
    answers: &Answers,
    rules: &ProviderRules,
    asked: &CustomMatch,
    request: &Request,
) -> Option<ProviderAnswer> {
    let given = answers.get(&asked.provider).copied();
    given.or_else(|| rules.answer(asked, request))
}

/// Without the feature `cel` no configuration with an expression is read.
#[cfg(not(feature = "cel"))]
pub(crate) struct ProviderRules;

#[cfg(not(feature = "cel"))]
impl ProviderRules {
    pub(crate) fn of(_: &Engine) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    fn answer(&self, _: &CustomMatch, _: &Request) -> Option<ProviderAnswer> {
        None
    }
}

/// Reads `NAME=ANSWER`.
fn name_and_answer(text: &str) -> Result<(String, ProviderAnswer), String> {
    let (name, answer) = key_and_value(text).map_err(|_| "write NAME=ANSWER".to_owned())?;
    Ok((name, answer.parse()?))
}
