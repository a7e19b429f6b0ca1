//! The answer to a request: one line for people, one JSON object for programs.

use std::fmt;

use serde::Serialize;
use serde_json::Value;
use tower_mesh::gate::{Gate, Refusal};
use tower_mesh::istio::Action;
use tower_mesh::policy::{
    Access, CustomMatch, DryRun, Engine, Explanation, Judgement, PolicyId, ProviderAnswer, Request,
};

use crate::input::providers::{Answers, ProviderRules, Providers, answer};
use crate::input::question::Question;
use crate::input::world::World;

/// A decision, or why there is none; every key is always there, but for two that must be asked for.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Answer {
    pub(crate) id: Value,
    pub(crate) allowed: bool,
    status: Option<u16>,
    policy: Option<String>,
    action: Option<&'static str>,
    audit: Vec<String>,
    custom: Vec<Asked>,
    dry_run: DryRuns,
    /// Outside: whether a gate was asked; inside: its refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    gate: Option<Option<Refused>>,
    error: Option<String>,
    /// Outside: whether it was asked for; inside: whether there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Option<Explanation>>,
}

/// Why the gate refuses a request, and the rule that says so.
#[derive(Debug, PartialEq, Serialize)]
struct Refused {
    reason: &'static str,
    rule: &'static str,
    #[serde(skip)]
    why: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Asked {
    provider: String,
    policy: String,
    /// Absent where it is not known: the request is allowed only if the provider allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'static str>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct DryRuns {
    allow: Option<DryRunResult>,
    deny: Option<DryRunResult>,
}

#[derive(Debug, PartialEq, Serialize)]
struct DryRunResult {
    result: &'static str,
    policy: Option<String>,
}

impl Answer {
    /// Judges a request: the gate first, if there is one, then the rules.
    pub(crate) fn to(
        id: Value,
        gate: Option<Gate>,
        engine: &Engine,
        request: &Request,
        answers: &Answers,
        explain: bool,
    ) -> Self {
        let admitted = gate.map(|gate| admit(gate, engine, request)).transpose();
        let request = match &admitted {
            Ok(admitted) => admitted.as_ref().unwrap_or(request),
            Err(refusal) => return Self::of_the_gate(id, *refusal, explain),
        };
        let rules = ProviderRules::of(engine);
        let said = &|asked: &CustomMatch, form: &Request| answer(answers, &rules, asked, form);
        let Judgement {
            status,
            decision,
            custom,
            ..
        } = engine.judge_with(request, said);
        let marks = decision.marks.as_deref();
        let asked = |asked: CustomMatch| Asked {
            provider: asked.provider,
            policy: asked.policy.to_string(),
            answer: asked.answer.map(ProviderAnswer::as_str),
        };
        let names = |names: &[PolicyId]| names.iter().map(PolicyId::to_string).collect();
        Self {
            id,
            allowed: decision.allowed,
            status,
            policy: decision.policy.as_ref().map(PolicyId::to_string),
            action: Some(decision.action.map_or("NONE", Action::as_str)),
            audit: marks.map(|marks| names(&marks.audit)).unwrap_or_default(),
            custom: custom.into_iter().map(asked).collect(),
            dry_run: DryRuns {
                allow: marks.and_then(|marks| DryRunResult::from_run(marks.dry_run_allow.as_ref())),
                deny: marks.and_then(|marks| DryRunResult::from_run(marks.dry_run_deny.as_ref())),
            },
            gate: gate.map(|_| None),
            error: None,
            explain: explain.then(|| engine.explain_judgement_with(request, said)),
        }
    }

    /// The gate's answer, before any rule is asked.
    fn of_the_gate(id: Value, refusal: Refusal, explain: bool) -> Self {
        Self {
            id,
            status: Some(refusal.status().as_u16()),
            action: Some("NONE"),
            gate: Some(Some(Refused {
                reason: refusal.label(),
                rule: refusal.rule(),
                why: refusal.to_string(),
            })),
            explain: explain.then_some(None),
            ..Self::default()
        }
    }

    /// Judges a request that is one JSON object; a bad one is answered, too.
    pub(crate) fn to_line(
        world: &mut World<'_>,
        gate: Option<Gate>,
        line: &[u8],
        providers: &Providers,
        explain: bool,
    ) -> Self {
        let judged = Question::read(line)
            .and_then(|question| Self::to_question(world, gate, question, providers, explain));
        judged.unwrap_or_else(|message| {
            let value: Option<Value> = serde_json::from_slice(line).ok();
            let id = value.and_then(|value| value.get("id").cloned());
            Self::unanswered(id.unwrap_or_default(), gate, message, explain)
        })
    }

    fn to_question(
        world: &mut World<'_>,
        gate: Option<Gate>,
        mut question: Question,
        providers: &Providers,
        explain: bool,
    ) -> Result<Self, String> {
        let id = question.take_id();
        let port = question.port(world.port());
        let services = question.services()?;
        let answers = providers.with(question.answers()?);
        let request = question.into_request(port)?;
        world.meet(&request);
        let engine = world.engine_for(services, port);
        let engine = engine.map_err(|problems| problems.to_string())?;
        Ok(Self::to(id, gate, engine, &request, &answers, explain))
    }

    /// Says why a request cannot be judged.
    fn unanswered(id: Value, gate: Option<Gate>, message: String, explain: bool) -> Self {
        Self {
            id,
            gate: gate.map(|_| None),
            error: Some(message),
            explain: explain.then_some(None),
            ..Self::default()
        }
    }

    /// Whether it is denied because no rule allows it.
    pub(crate) fn is_denied_by_default(&self) -> bool {
        let is_of_rules = self.policy.is_none() && self.gate_refusal().is_none();
        !self.allowed && self.status == Some(403) && is_of_rules
    }

    /// The providers whose answer decides and is not known.
    pub(crate) fn depends_on(&self) -> impl Iterator<Item = &str> {
        let asked = self.custom.iter().filter(|asked| asked.answer.is_none());
        asked
            .map(|asked| asked.provider.as_str())
            .filter(|_| self.allowed)
    }

    fn gate_refusal(&self) -> Option<&Refused> {
        self.gate.as_ref()?.as_ref()
    }

    /// Why there is no decision.
    pub(crate) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether another answer to the same request says something else.
    pub(crate) fn differs(&self, other: &Self, access_only: bool) -> bool {
        if access_only {
            self.access() != other.access() || !self.depends_on().eq(other.depends_on())
        } else {
            self != other
        }
    }

    /// Whether the request may pass, and whether that hangs on providers.
    pub(crate) fn access(&self) -> Access {
        match (self.allowed, self.depends_on().next()) {
            (false, _) => Access::Refused,
            (true, Some(_)) => Access::IfProvidersAllow,
            (true, None) => Access::Allowed,
        }
    }

    pub(crate) fn explanation(&self) -> Option<&Explanation> {
        self.explain.as_ref()?.as_ref()
    }
}

/// Asks a gate, which normalizes paths as the engine does; returns the request as policy sees it.
pub(crate) fn admit(gate: Gate, engine: &Engine, request: &Request) -> Result<Request, Refusal> {
    gate.normalization(engine.path_normalization())
        .judge(request)
}

impl DryRunResult {
    fn from_run(run: Option<&DryRun>) -> Option<Self> {
        run.map(|run| Self {
            result: if run.allowed { "allowed" } else { "denied" },
            policy: run.policy.as_ref().map(PolicyId::to_string),
        })
    }
}

impl fmt::Display for Answer {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = self.action.unwrap_or("NONE");
        f.write_str(if self.allowed { "allowed" } else { "denied" })?;
        if let Some(status) = self.status.filter(|_| !self.allowed) {
            write!(f, " {status}")?;
        }
        if let Some(Refused { why, rule, .. }) = self.gate_refusal() {
            return write!(f, ": refused by the gate: {why} (rule {rule})");
        }
        match (&self.policy, self.status) {
            (Some(policy), _) => write!(f, ": {action} {policy}")?,
            (None, Some(400)) => write!(f, ": the request target is refused")?,
            (None, Some(401)) => write!(f, ": a token is demanded")?,
            (None, _) if action == "ALLOW" => write!(f, ": no ALLOW rule matches")?,
            (None, _) if self.allowed => write!(f, ": no ALLOW policy applies")?,
            (None, _) => write!(f, ": refused before any rule was asked")?,
        }
        for name in &self.audit {
            write!(f, "; audit {name}")?;
        }
        for asked in &self.custom {
            let Asked {
                provider, policy, ..
            } = asked;
            match asked.answer {
                None => write!(f, "; if {provider} allows ({policy})")?,
                Some("error") => write!(f, "; {provider} cannot be asked ({policy})")?,
                Some(answer) => write!(f, "; {provider} answers {answer} ({policy})")?,
            }
        }
        for (name, outcome) in [("ALLOW", &self.dry_run.allow), ("DENY", &self.dry_run.deny)] {
            if let Some(outcome) = outcome {
                write!(f, "; dry run of {name}: {}", outcome.result)?;
                if let Some(policy) = &outcome.policy {
                    write!(f, " by {policy}")?;
                }
            }
        }
        Ok(())
    }
}
