//! What protects each port of a compiled configuration, as six guards that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::istio::{MtlsMode, Position, PrincipalBinding};
use crate::mesh::config::applying::policies;
use crate::policy::{Authentication, Chain, LegacyAuthentication, PerPort, Program};
use crate::tls::{Mode, Modes};

/// One way in which a port is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// An enforced ALLOW policy, which refuses all that it does not name. In Istio's RBAC of 2018:
    /// RBAC is on.
    Allow,
    /// A CUSTOM policy.
    Custom,
    /// An enforced DENY policy.
    Deny,
    /// A peer certificate is required: by STRICT, or by a legacy Policy.
    Peer,
    /// A token is required, by a legacy Policy.
    Token,
    /// Tokens are verified, by a RequestAuthentication or by the origins of a legacy Policy.
    Tokens,
}

impl Guard {
    pub(super) const ALL: &[Self] = &[
        Self::Allow,
        Self::Custom,
        Self::Deny,
        Self::Peer,
        Self::Token,
        Self::Tokens,
    ];
}

/// The parts of a compiled configuration that make up guards.
#[derive(Clone, Copy)]
pub(in crate::mesh) struct Guarded<'a> {
    pub(in crate::mesh) program: &'a Program,
    pub(in crate::mesh) modes: &'a Modes,
}

impl<'a> Guarded<'a> {
    /// The ports for which this guard may differ from that of the other ports.
    pub(super) fn ports(self, guard: Guard) -> BTreeSet<u16> {
        fn ports<T>(of: &BTreeMap<u16, T>) -> impl Iterator<Item = u16> {
            of.keys().copied()
        }
        let Program {
            http,
            authentication,
            mtls,
            ..
        } = self.program;
        match guard {
            Guard::Allow | Guard::Custom | Guard::Deny => ports(&http.by_port).collect(),
            Guard::Peer => ports(&mtls.by_port)
                .chain(ports(&authentication.by_port))
                .collect(),
            Guard::Token => ports(&authentication.by_port)
                .chain(ports(&http.by_port))
                .collect(),
            Guard::Tokens => ports(&authentication.by_port).collect(),
        }
    }

    /// Whether a port has this guard; `None` is every port that no resource names.
    pub(super) fn has(self, guard: Guard, port: Option<u16>) -> bool {
        let chain = self.chain(port);
        match guard {
            Guard::Allow => chain.allow.enforced.is_some(),
            Guard::Custom => !chain.custom.is_empty(),
            Guard::Deny => chain.deny.enforced.is_some(),
            Guard::Peer => self.demands_peer(port),
            Guard::Token => self
                .authentication(port)
                .legacy
                .as_ref()
                .is_some_and(demands_token),
            Guard::Tokens => !self.names(guard, port).is_empty(),
        }
    }

    /// Whether a port that had this guard is protected as before. A RequestAuthentication that
    /// replaces the origins of a legacy Policy requires no token, but the rules that come with it
    /// may.
    pub(super) fn keeps(self, guard: Guard, port: Option<u16>) -> bool {
        let replaces = guard == Guard::Token
            && !self.authentication(port).rules.is_empty()
            && (self.has(Guard::Allow, port) || self.has(Guard::Deny, port));
        replaces || self.has(guard, port)
    }

    /// The names of what makes up the guard: of policies, or of issuers.
    pub(super) fn names(self, guard: Guard, port: Option<u16>) -> BTreeSet<&'a str> {
        let chain = self.chain(port);
        match guard {
            Guard::Allow => policies(chain.allow.enforced.as_ref()).collect(),
            Guard::Custom => chain
                .custom
                .iter()
                .flat_map(|filter| policies(Some(&filter.rules)))
                .collect(),
            Guard::Deny => policies(chain.deny.enforced.as_ref()).collect(),
            Guard::Peer | Guard::Token => BTreeSet::new(),
            Guard::Tokens => {
                let authentication = self.authentication(port);
                let legacy = authentication.legacy.iter();
                let origins = legacy.flat_map(|legacy| legacy.origins.iter());
                let origins = origins.map(|origin| &origin.rule);
                let rules = authentication.rules.iter().chain(origins);
                rules
                    .map(|rule| rule.issuer.as_deref().unwrap_or("any issuer"))
                    .collect()
            }
        }
    }

    /// Where the first rule of the guard was written, if a rule makes it up.
    pub(super) fn place(self, guard: Guard, port: Option<u16>) -> Option<Position> {
        let chain = self.chain(port);
        let rules = match guard {
            Guard::Allow => chain.allow.enforced.as_ref(),
            Guard::Custom => chain.custom.first().map(|filter| &filter.rules),
            Guard::Deny => chain.deny.enforced.as_ref(),
            Guard::Peer | Guard::Token | Guard::Tokens => None,
        };
        let (name, _) = rules?.policies.first_key_value()?;
        let origin = self.program.origins.get(name)?;
        Some(origin.at.clone())
    }

    fn demands_peer(self, port: Option<u16>) -> bool {
        let mode = match port {
            Some(port) => self.modes.for_port(port),
            None => self.modes.otherwise(),
        };
        let legacy = self.authentication(port).legacy.as_ref();
        mode == Mode::Strict
            || legacy.is_some_and(|policy| {
                policy.peer == Some(MtlsMode::Strict) && !policy.peer_is_optional
            })
    }

    fn chain(self, port: Option<u16>) -> &'a Chain {
        of_port(&self.program.http, port).as_ref()
    }

    fn authentication(self, port: Option<u16>) -> &'a Authentication {
        of_port(&self.program.authentication, port)
    }
}

/// A legacy Policy requires a token when it has origins that are not optional. When the principal
/// must be an end user and there is no origin, no token is good, and every request is refused.
fn demands_token(policy: &LegacyAuthentication) -> bool {
    let unanswerable = policy.principal_binding == PrincipalBinding::UseOrigin;
    !policy.origin_is_optional && (!policy.origins.is_empty() || unanswerable)
}

fn of_port<T>(values: &PerPort<T>, port: Option<u16>) -> &T {
    port.map_or(&values.default, |port| values.get(port))
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "enforced ALLOW policy",
            Self::Custom => "CUSTOM policy",
            Self::Deny => "enforced DENY policy",
            Self::Peer => "demand for a peer certificate (STRICT)",
            Self::Token => "demand for a token",
            Self::Tokens => "issuer of tokens",
        })
    }
}
