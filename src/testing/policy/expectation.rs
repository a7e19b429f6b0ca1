use std::collections::BTreeMap;
use std::fmt;

use super::answer::Answer;
use super::stubs::Stubs;
use super::{By, words};
use crate::gate::{Gate, Refusal};
use crate::policy::{Engine, PolicyId, ProviderAnswer, Request};

/// What a request should be answered with, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Expectation {
    verdict: Verdict,
    by: Option<By>,
    providers: BTreeMap<String, ProviderAnswer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Answered(u16),
    /// By the gate, for this reason if it matters.
    Refused(Option<Refusal>),
}

impl Expectation {
    /// It may pass.
    pub fn allowed() -> Self {
        Self::new(Verdict::Allowed)
    }

    /// It is refused, with any status.
    pub fn denied() -> Self {
        Self::new(Verdict::Denied)
    }

    /// A server answers with this status: 200 when it may pass, 400, 414 or 431 when the gate
    /// refuses it, 401 for a missing token, 403 for the rest, and what an external provider denies
    /// with. A raw TCP connection has none.
    pub fn answered(status: u16) -> Self {
        Self::new(Verdict::Answered(status))
    }

    /// The [gate](crate::gate) refuses it, so that no rule is asked.
    pub fn refused_by_the_gate() -> Self {
        Self::new(Verdict::Refused(None))
    }

    /// The [gate](crate::gate) refuses it for this reason.
    pub fn refused_by_the_gate_for(reason: Refusal) -> Self {
        Self::new(Verdict::Refused(Some(reason)))
    }

    /// This rule is what decides.
    pub fn by(self, rule: By) -> Self {
        Self {
            by: Some(rule),
            ..self
        }
    }

    /// It is so when this external provider answers like this, whatever
    /// [`Policies::provider`](super::Policies::provider) says.
    pub fn when_provider(mut self, provider: impl Into<String>, answer: ProviderAnswer) -> Self {
        self.providers.insert(provider.into(), answer);
        self
    }

    /// Reads `allowed`, `denied`, a status, `refused by the gate`, or `refused by the gate: REASON`
    /// with the [label](Refusal::label) of a reason.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "allowed" => Ok(Self::allowed()),
            "denied" => Ok(Self::denied()),
            _ if text.starts_with(BY_THE_GATE) => refused(text),
            _ => match text.parse() {
                Ok(status) if STATUSES.contains(&status) => Ok(Self::answered(status)),
                _ => Err(format!(
                    "`{text}` is no answer; write allowed, denied, {BY_THE_GATE} or one of {}",
                    STATUSES.map(|status| status.to_string()).join(", ")
                )),
            },
        }
    }

    /// Compares with what the engine answers behind the gate that a mesh has by default; the error
    /// is all a reader needs to know why it differs.
    ///
    /// # Errors
    /// When the answer or the rule is another one.
    pub fn check(&self, engine: &Engine, request: &Request) -> Result<(), String> {
        self.check_behind(Gate::istio(), engine, request)
    }

    /// As [`check`](Self::check), behind this gate.
    ///
    /// # Errors
    /// As there.
    pub fn check_behind(
        &self,
        gate: Gate,
        engine: &Engine,
        request: &Request,
    ) -> Result<(), String> {
        self.check_with(gate, engine, request, &Stubs::of(engine))
    }

    /// As [`check`](Self::check), behind this gate, where the providers answer like this.
    pub(super) fn check_with(
        &self,
        gate: Gate,
        engine: &Engine,
        request: &Request,
        stubs: &Stubs,
    ) -> Result<(), String> {
        let stubs = self.stubs(stubs);
        let answer = Answer::to(request, gate, engine, &stubs);
        if let Some(asked) = stubs.missing(&answer.judgement) {
            return Err(words::unanswered(request, self, asked, &stubs));
        }
        if self.is_met_by(&answer) {
            return Ok(());
        }
        Err(words::difference(engine, request, self, &answer))
    }

    /// What the providers answer: its own word counts more.
    pub(super) fn stubs(&self, others: &Stubs) -> Stubs {
        others.with(&self.providers)
    }

    fn is_met_by(&self, answer: &Answer) -> bool {
        let (refusal, judgement) = (answer.refusal(), &answer.judgement);
        let decision = &judgement.decision;
        let answered = match self.verdict {
            Verdict::Allowed => decision.allowed,
            Verdict::Denied => !decision.allowed,
            Verdict::Answered(status) => judgement.status == Some(status),
            Verdict::Refused(None) => refusal.is_some(),
            Verdict::Refused(reason) => refusal == reason,
        };
        let decided: Option<&PolicyId> = decision.policy.as_ref();
        answered && self.by.as_ref().is_none_or(|by| by.is(decided))
    }

    fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            by: None,
            providers: BTreeMap::new(),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Allowed => f.write_str("allowed")?,
            Verdict::Denied => f.write_str("denied")?,
            Verdict::Answered(status) => write!(f, "answered {status}")?,
            Verdict::Refused(None) => f.write_str(BY_THE_GATE)?,
            Verdict::Refused(Some(reason)) => write!(f, "{BY_THE_GATE}: {}", reason.label())?,
        }
        if let Some(by) = &self.by {
            write!(f, " by {by}")?;
        }
        for (provider, answer) in &self.providers {
            write!(f, ", when {provider} answers {answer}")?;
        }
        Ok(())
    }
}

/// Reads what [`BY_THE_GATE`] begins.
fn refused(text: &str) -> Result<Expectation, String> {
    let rest = text.strip_prefix(BY_THE_GATE).unwrap_or_default();
    let reason = rest.strip_prefix(':').map(str::trim);
    let known = reason.and_then(|text| {
        let mut all = Refusal::ALL.into_iter();
        all.find(|reason| reason.label() == text)
    });
    match (rest, known) {
        ("", _) => Ok(Expectation::refused_by_the_gate()),
        (_, Some(reason)) => Ok(Expectation::refused_by_the_gate_for(reason)),
        (_, None) => Err(format!(
            "`{text}` names no reason of the gate; write {BY_THE_GATE}, or {BY_THE_GATE}: and one of {}",
            Refusal::ALL.map(Refusal::label).join(", ")
        )),
    }
}

const BY_THE_GATE: &str = "refused by the gate";

const STATUSES: [u16; 6] = [200, 400, 401, 403, 414, 431];
