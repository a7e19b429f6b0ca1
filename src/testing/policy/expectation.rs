use std::fmt;

use super::By;
use super::words;
use crate::policy::{Engine, Judgement, PolicyId, Request};

/// What a request should be answered with, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Expectation {
    verdict: Verdict,
    by: Option<By>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allowed,
    Denied,
    Answered(u16),
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

    /// A server answers with this status: 200 when it may pass, 400 for its path, 401 for a missing
    /// token, 403 for the rest. A raw TCP connection has none.
    pub fn answered(status: u16) -> Self {
        Self::new(Verdict::Answered(status))
    }

    /// This rule is what decides.
    pub fn by(self, rule: By) -> Self {
        Self {
            by: Some(rule),
            ..self
        }
    }

    /// Reads `allowed`, `denied` or a status.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "allowed" => Ok(Self::allowed()),
            "denied" => Ok(Self::denied()),
            _ => match text.parse() {
                Ok(status @ (200 | 400 | 401 | 403)) => Ok(Self::answered(status)),
                _ => Err(format!(
                    "`{text}` is no answer; write allowed, denied or one of 200, 400, 401, 403"
                )),
            },
        }
    }

    /// Compares with what the engine answers; the error is all a reader needs to know why it
    /// differs.
    ///
    /// # Errors
    /// When the answer or the rule is another one.
    pub fn check(&self, engine: &Engine, request: &Request) -> Result<(), String> {
        let judgement = engine.judge(request);
        if self.is_met_by(&judgement) {
            return Ok(());
        }
        Err(words::difference(engine, request, self, &judgement))
    }

    fn is_met_by(&self, judgement: &Judgement) -> bool {
        let decision = &judgement.decision;
        let answered = match self.verdict {
            Verdict::Allowed => decision.allowed,
            Verdict::Denied => !decision.allowed,
            Verdict::Answered(status) => judgement.status == Some(status),
        };
        let decided: Option<&PolicyId> = decision.policy.as_ref();
        answered && self.by.as_ref().is_none_or(|by| by.is(decided))
    }

    fn new(verdict: Verdict) -> Self {
        Self { verdict, by: None }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.verdict {
            Verdict::Allowed => f.write_str("allowed")?,
            Verdict::Denied => f.write_str("denied")?,
            Verdict::Answered(status) => write!(f, "answered {status}")?,
        }
        match &self.by {
            Some(by) => write!(f, " by {by}"),
            None => Ok(()),
        }
    }
}
