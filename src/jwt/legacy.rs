use http::StatusCode;
use http::request::Parts;

use super::Keyring;
use super::authenticator::{Authenticator, Outcome};
use super::rule::Rule;
use super::token::Reading;
use super::verified::{Standing, Verified};
use crate::context::{Exchange, Peer};
use crate::istio::{LegacyJwt, MtlsMode, PrincipalBinding, Problem};
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

    /// The peer first, then the first triggered origin whose tokens are good; a missing token is as bad as a bad one.
    ///
    /// What an origin found good before it failed on another token leaves nothing behind.
    pub(crate) fn authenticate(
        &self,
        authenticator: &Authenticator,
        head: &mut Parts,
        exchange: &Exchange,
        reading: Reading,
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        if self.demands_peer && exchange.peer().and_then(Peer::certificate).is_none() {
            return Err(refuse("Peer authentication failed."));
        }
        if self.origins.is_empty() {
            // Nobody can be the principal that the policy binds to.
            return match self.binds_origin && !self.origin_is_optional {
                true => Err(refuse("Origin authentication failed.")),
                false => Ok(None),
            };
        }
        if reading == Reading::Strict {
            return self.authenticate_strictly(authenticator, head, now);
        }
        let mut triggered = false;
        for (index, origin) in self.origins.iter().enumerate() {
            if !origin.triggers.apply_to(head.uri.path()) {
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
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        let triggered: Vec<_> = self
            .origins
            .iter()
            .enumerate()
            .filter(|(_, origin)| origin.triggers.apply_to(head.uri.path()))
            .map(|(index, origin)| (index, &origin.rule))
            .collect();
        let may_miss = self.origin_is_optional || triggered.is_empty();
        match authenticator.by_all_rules(triggered.into_iter(), head, now) {
            Ok(None) if !may_miss => Err(refuse("Origin authentication failed.")),
            verdict => verdict.map_err(|_| refuse("Origin authentication failed.")),
        }
    }
}

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
            triggers: Triggers::of(origin),
        })
    }
}
