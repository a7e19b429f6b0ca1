use crate::policy::{Decision, PolicyId};

/// An external provider that must be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CustomMatch {
    /// The provider's name.
    pub provider: String,
    /// The rule that asks for it.
    pub policy: PolicyId,
}

/// What a server would answer to a [`Request`](crate::policy::Request) whose handler succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// 200, or the refusal: 400 (path), 401 (a legacy Policy's token is missing), 403. `None` for a
    /// raw TCP connection.
    pub status: Option<u16>,
    /// What the rules decided; a refusal without action when the request never reached them.
    pub decision: Decision,
    /// The external providers that would be asked; taken as allowing.
    pub custom: Vec<CustomMatch>,
}
