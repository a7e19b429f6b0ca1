use crate::gate::{Gate, Refusal};
use crate::policy::{Decision, Engine, Judgement, Request};

/// What a server answers to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// Why the gate refuses it, or the request as the rules see it.
    pub(super) admitted: Result<Box<Request>, Refusal>,
    /// What the rules say; only the status counts when they are not asked.
    pub(super) judgement: Judgement,
}

impl Answer {
    /// What the gate answers, or else the engine.
    pub(super) fn to(request: &Request, gate: Gate, engine: &Engine) -> Self {
        match gate
            .normalization(engine.path_normalization())
            .judge(request)
        {
            Ok(admitted) => Self {
                judgement: engine.judge(&admitted),
                admitted: Ok(Box::new(admitted)),
            },
            Err(refusal) => Self {
                admitted: Err(refusal),
                judgement: Judgement {
                    status: Some(refusal.status().as_u16()),
                    decision: Decision::new(false, None, None),
                    custom: Vec::new(),
                },
            },
        }
    }

    /// Why the gate refuses it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.admitted.as_ref().err().copied()
    }
}
