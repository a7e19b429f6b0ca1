use super::stubs::Stubs;
use crate::gate::{Gate, Refusal};
use crate::policy::{Decision, Engine, Explanation, Judgement, Request};

/// What a server answers to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// Why the gate refuses it, or the request as the rules see it.
    pub(super) admitted: Result<Box<Request>, Refusal>,
    /// What the rules say; only the status counts when they are not asked.
    pub(super) judgement: Judgement,
    stubs: Stubs,
}

impl Answer {
    /// What the gate answers, or else the engine, where the providers answer like this.
    pub(super) fn to(request: &Request, gate: Gate, engine: &Engine, stubs: &Stubs) -> Self {
        let stubs = stubs.clone();
        match gate
            .normalization(engine.path_normalization())
            .judge(request)
        {
            Ok(admitted) => Self {
                judgement: engine.judge_with(&admitted, &|asked, form| stubs.answer(asked, form)),
                admitted: Ok(Box::new(admitted)),
                stubs,
            },
            Err(refusal) => Self {
                admitted: Err(refusal),
                judgement: Judgement {
                    status: Some(refusal.status().as_u16()),
                    decision: Decision::new(false, None, None),
                    custom: Vec::new(),
                },
                stubs,
            },
        }
    }

    /// What each rule and each provider says to it; `None` when none is asked.
    pub(super) fn explain(&self, engine: &Engine) -> Option<Explanation> {
        let admitted = self.admitted.as_ref().ok()?;
        engine.explain_judgement_with(admitted, &|asked, form| self.stubs.answer(asked, form))
    }

    /// What the providers answer.
    pub(super) fn stubs(&self) -> &Stubs {
        &self.stubs
    }

    /// Why the gate refuses it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.admitted.as_ref().err().copied()
    }
}
