use http::StatusCode;
use http::request::Parts;

use super::Keyring;
use super::authenticator::{Authenticator, Outcome};
use super::rule::Rule;
use super::token::Reading;
use super::verified::{Standing, Verified};
use crate::context::{Exchange, Peer};
use crate::istio::{LegacyJwt, MtlsMode, PrincipalBinding, Problem};
use crate::matcher::path::{self, Normalization};
use crate::message::LocalReply;
use crate::policy::{LegacyAuthentication, Triggers};

/// The effective `authentication.istio.io/v1alpha1` Policy: unlike a RequestAuthentication it demands a token.
#[derive(Debug)]
pub(crate) struct Legacy {
    origins: Vec<Origin>,
    origin_is_optional: bool,
    demands_peer: bool,
    binds_origin: bool,
}

#[derive(Debug)]
struct Origin {
    rule: Rule,
    triggers: Triggers,
}

impl Legacy {
    pub(crate) fn compile(
        policy: &LegacyAuthentication,
        keyring: &mut Keyring,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let origins: Vec<_> = policy
            .origins
            .iter()
            .map(|origin| Origin::compile(origin, keyring, problems))
            .collect();
        Some(Self {
            origins: origins.into_iter().collect::<Option<_>>()?,
            origin_is_optional: policy.origin_is_optional,
            demands_peer: policy.peer == Some(MtlsMode::Strict) && !policy.peer_is_optional,
            binds_origin: policy.principal_binding == PrincipalBinding::UseOrigin,
        })
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.origins.iter().map(|origin| &origin.rule)
    }

    /// The peer first, then the first triggered origin whose tokens are good; a missing token is as bad as a bad one. A CORS preflight needs
    /// no token, but the peer that is demanded.
    ///
    /// What an origin found good before it failed on another token leaves nothing behind.
    pub(crate) fn authenticate(
        &self,
        authenticator: &Authenticator,
        head: &mut Parts,
        exchange: &Exchange,
        asked: Asked<'_>,
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        if self.demands_peer && exchange.peer().and_then(Peer::certificate).is_none() {
            return Err(refuse("Peer authentication failed."));
        }
        if asked.is_preflight {
            return Ok(None);
        }
        if self.origins.is_empty() {
            // Nobody can be the principal that the policy binds to.
            return match self.binds_origin && !self.origin_is_optional {
                true => Err(refuse("Origin authentication failed.")),
                false => Ok(None),
            };
        }
        if asked.reading == Reading::Strict {
            return self.authenticate_strictly(authenticator, head, exchange, asked, now);
        }
        let mut triggered = false;
        for (index, origin) in self.origins.iter().enumerate() {
            if !asked.path.triggers(&origin.triggers, head, exchange) {
                continue;
            }
            triggered = true;
            let mut standing = Standing::default();
            let outcome = authenticator.apply(index, &origin.rule, head, now, &mut standing);
            if outcome == Outcome::Good {
                return Ok(standing.into_verified());
            }
        }
        if triggered && !self.origin_is_optional {
            return Err(refuse("Origin authentication failed."));
        }
        Ok(None)
    }

    /// Every token that a triggered origin finds must be good by some of them, and all must name one principal; none may be missing only
    /// where it is optional.
    fn authenticate_strictly(
        &self,
        authenticator: &Authenticator,
        head: &mut Parts,
        exchange: &Exchange,
        asked: Asked<'_>,
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        let origins = self.origins.iter().enumerate();
        let triggered: Vec<_> = origins
            .filter(|(_, origin)| asked.path.triggers(&origin.triggers, head, exchange))
            .map(|(index, origin)| (index, &origin.rule))
            .collect();
        let may_miss = self.origin_is_optional || triggered.is_empty();
        match authenticator.by_all_rules(triggered.into_iter(), head, now) {
            Ok(None) if !may_miss => Err(refuse("Origin authentication failed.")),
            verdict => verdict.map_err(|_| refuse("Origin authentication failed.")),
        }
    }
}

/// How a request asks to be let in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'p> {
    pub(crate) path: TriggerPath<'p>,
    pub(crate) is_preflight: bool,
    pub(crate) reading: Reading,
}

/// The path that trigger rules are asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TriggerPath<'p> {
    /// This one, which the guard in front of us has normalized; the URI's own where it names none.
    Normalized(Option<&'p str>),
    /// The one that was sent. How the configuration would have it normalized, and what a router in front of us took it for, is not known
    /// here: a token too many is demanded rather than one too few.
    AsSent,
}

impl TriggerPath<'_> {
    fn triggers(self, rules: &Triggers, head: &Parts, exchange: &Exchange) -> bool {
        match self {
            Self::Normalized(path) => rules.apply_to(path.unwrap_or_else(|| head.uri.path())),
            Self::AsSent => {
                let Some(sent) = exchange.path_of(head) else {
                    return true;
                };
                rules.apply_to(sent)
                    || READINGS.into_iter().any(|how| {
                        path::normalize(sent, how).map_or(true, |path| rules.apply_to(&path))
                    })
            }
        }
    }
}

/// The least and the most that normalization makes of a path.
const READINGS: [Normalization; 3] = [
    Normalization::Base,
    Normalization::MergeSlashes,
    Normalization::DecodeAndMergeSlashes,
];

pub(crate) fn refuse(text: &'static str) -> LocalReply {
    LocalReply::new(StatusCode::UNAUTHORIZED, text, "istio_authn_access_denied")
}

impl Origin {
    fn compile(
        origin: &LegacyJwt,
        keyring: &mut Keyring,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let mut rule = Rule::compile(&origin.rule, keyring, problems)?;
        rule.forwards = true;
        Some(Self {
            rule,
            triggers: Triggers::new(origin),
        })
    }
}
