use crate::policy::{Decision, PolicyId, ProviderAnswer, Request};

/// An external provider that must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomMatch {
    /// The provider's name.
    pub provider: String,
    /// The rule that asks for it.
    pub policy: PolicyId,
    /// What it answers; `None` where that is not known, and the request is judged as if it allowed.
    pub answer: Option<ProviderAnswer>,
}

/// What a server would answer to a [`Request`] whose handler succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// 200, or the refusal: 400 (path), 401 (a legacy Policy's token is missing), 403, or the
    /// status with which an external provider denies. `None` for a raw TCP connection.
    pub status: Option<u16>,
    /// What the rules decided; a refusal without action when the request never reached them.
    pub decision: Decision,
    /// The providers that are asked, in that order: those of MeshConfig by name, then those in the
    /// process; where one refuses, it is the last. Those without an answer are taken as allowing.
    pub custom: Vec<CustomMatch>,
}

impl Judgement {
    /// Whether the request may pass, and whether that hangs on providers whose answers are not
    /// known.
    #[must_use]
    pub fn access(&self) -> Access {
        if !self.decision.allowed {
            return Access::Refused;
        }
        match self.unknown_answers().next() {
            Some(_) => Access::IfProvidersAllow,
            None => Access::Allowed,
        }
    }

    /// The providers whose answer is not known; the request is allowed only if each of them allows
    /// it.
    pub fn unknown_answers(&self) -> impl Iterator<Item = &CustomMatch> {
        let custom = self.custom.iter();
        custom.filter(|asked| asked.answer.is_none())
    }
}

/// Whether a request may pass; the greater, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// It is refused, whatever external providers say.
    Refused,
    /// It may pass if the [providers](Judgement::unknown_answers) that are asked allow it.
    IfProvidersAllow,
    /// It may pass.
    Allowed,
}

/// Answers in place of the providers of CUSTOM policies: `None` where the answer is not known. It is
/// given the request in the form that the rules see, and may be asked several times about one
/// request.
///
/// Only what is in the request before tokens are verified is known to a provider over the network,
/// though a [`Request`] may have claims. What a provider that is an expression answers can be
/// computed: with the feature `cel`, `cel::ProviderRules` does it.
pub type ProviderAnswers<'a> = dyn Fn(&CustomMatch, &Request) -> Option<ProviderAnswer> + 'a;
