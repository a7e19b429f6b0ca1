//! The legacy Policy of 2018: which requests need a token, and which a peer certificate.

use http::StatusCode;
use http::request::Parts;

use super::access::RequestPath;
use super::check::{RuleVerdict, TokenCheck};
use super::encoding::Reading;
use super::keys::Keyring;
use super::rule::TokenRule;
use super::verified::{LastGood, Verified};
use crate::context::{Caller, Exchange};
use crate::istio::{LegacyJwt, MtlsMode, PrincipalBinding, Problem};
use crate::message::LocalReply;
use crate::policy::{LegacyAuthentication, Triggers};

/// The effective `authentication.istio.io/v1alpha1` Policy. It demands a token, which a
/// RequestAuthentication does not.
#[derive(Debug)]
pub(crate) struct Legacy {
    origins: Vec<Origin>,
    origin_is_optional: bool,
    demands_peer: bool,
    binds_origin: bool,
}

#[derive(Debug)]
struct Origin {
    rule: TokenRule,
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

    pub(crate) fn rules(&self) -> impl Iterator<Item = &TokenRule> {
        self.origins.iter().map(|origin| &origin.rule)
    }

    /// Checks the peer, then takes the first triggered origin whose tokens are all good. A missing
    /// token is refused like a bad one. A CORS preflight needs the demanded peer, but no token.
    ///
    /// A good token leaves no claims if its origin then fails on another token.
    pub(crate) fn authenticate(
        &self,
        check: &TokenCheck,
        head: &mut Parts,
        exchange: &Exchange,
        circumstances: Circumstances<'_>,
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        if self.demands_peer && exchange.caller().and_then(Caller::certificate).is_none() {
            return Err(refuse("Peer authentication failed."));
        }
        if circumstances.is_preflight {
            return Ok(None);
        }
        if self.origins.is_empty() {
            // Without origins no request has the principal that the policy binds to.
            return match self.binds_origin && !self.origin_is_optional {
                true => Err(refuse("Origin authentication failed.")),
                false => Ok(None),
            };
        }
        if circumstances.reading == Reading::Strict {
            return self.authenticate_strictly(check, head, exchange, circumstances, now);
        }
        let mut triggered = false;
        for (index, origin) in self.origins.iter().enumerate() {
            if !origin.is_triggered(circumstances.path, head, exchange) {
                continue;
            }
            triggered = true;
            let mut last_good = LastGood::default();
            let verdict = check.apply(index, &origin.rule, head, now, &mut last_good);
            if verdict == RuleVerdict::Good {
                return Ok(last_good.into_verified());
            }
        }
        if triggered && !self.origin_is_optional {
            return Err(refuse("Origin authentication failed."));
        }
        Ok(None)
    }

    /// Every token that a triggered origin finds must be good by some triggered origin, and all
    /// must name one principal. A missing token is accepted only if origins are optional.
    fn authenticate_strictly(
        &self,
        check: &TokenCheck,
        head: &mut Parts,
        exchange: &Exchange,
        circumstances: Circumstances<'_>,
        now: f64,
    ) -> Result<Option<Verified>, LocalReply> {
        let origins = self.origins.iter().enumerate();
        let triggered: Vec<_> = origins
            .filter(|(_, origin)| origin.is_triggered(circumstances.path, head, exchange))
            .map(|(index, origin)| (index, &origin.rule))
            .collect();
        let may_miss = self.origin_is_optional || triggered.is_empty();
        match check.by_all_rules(triggered.into_iter(), head, now) {
            Ok(None) if !may_miss => Err(refuse("Origin authentication failed.")),
            verdict => verdict.map_err(|_| refuse("Origin authentication failed.")),
        }
    }
}

/// What a request's verdict depends on, apart from its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'p> {
    pub(crate) path: RequestPath<'p>,
    pub(crate) is_preflight: bool,
    pub(crate) reading: Reading,
}

impl Origin {
    /// Whether the rules apply to the path. Where it is not known how the path is normalized, they
    /// do if they apply to any form of it.
    fn is_triggered(&self, path: RequestPath<'_>, head: &Parts, exchange: &Exchange) -> bool {
        path.may_be(head, exchange, |path| self.triggers.apply_to(path))
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
        let mut rule = TokenRule::compile(&origin.rule, keyring, problems)?;
        rule.forwards = true;
        // The conditions of a legacy policy split every claim themselves.
        rule.space_delimited.clear();
        Some(Self {
            rule,
            triggers: Triggers::new(origin),
        })
    }
}
