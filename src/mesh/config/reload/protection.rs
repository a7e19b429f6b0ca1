//! What protects each port of a compiled configuration, in six kinds that can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::istio::{MtlsMode, Position, PrincipalBinding};
use crate::mesh::config::policy_names::policies;
use crate::policy::{Authentication, Chain, LegacyAuthentication, PerPort, Program};
use crate::tls::{Mode, Modes};

/// One kind of protection of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protection {
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

impl Protection {
    pub(super) const ALL: &[Self] = &[
        Self::Allow,
        Self::Custom,
        Self::Deny,
        Self::Peer,
        Self::Token,
        Self::Tokens,
    ];
}

/// The parts of a compiled configuration that protect its ports.
#[derive(Clone, Copy)]
pub(in crate::mesh) struct PortProtections<'a> {
    pub(in crate::mesh) program: &'a Program,
    pub(in crate::mesh) modes: &'a Modes,
}

impl<'a> PortProtections<'a> {
    /// The ports for which this protection may differ from that of the other ports.
    pub(super) fn ports(self, protection: Protection) -> BTreeSet<u16> {
        fn ports<T>(of: &BTreeMap<u16, T>) -> impl Iterator<Item = u16> {
            of.keys().copied()
        }
        let Program {
            http,
            authentication,
            mtls,
            ..
        } = self.program;
        match protection {
            Protection::Allow | Protection::Custom | Protection::Deny => {
                ports(&http.by_port).collect()
            }
            Protection::Peer => ports(&mtls.by_port)
                .chain(ports(&authentication.by_port))
                .collect(),
            Protection::Token => ports(&authentication.by_port)
                .chain(ports(&http.by_port))
                .collect(),
            Protection::Tokens => ports(&authentication.by_port).collect(),
        }
    }

    /// Whether a port has this protection; `None` is every port that no resource names.
    pub(super) fn has(self, protection: Protection, port: Option<u16>) -> bool {
        let chain = self.chain(port);
        match protection {
            Protection::Allow => chain.allow.enforced.is_some(),
            Protection::Custom => !chain.custom.is_empty(),
            Protection::Deny => chain.deny.enforced.is_some(),
            Protection::Peer => self.demands_peer(port),
            Protection::Token => self
                .authentication(port)
                .legacy
                .as_ref()
                .is_some_and(demands_token),
            Protection::Tokens => !self.names(protection, port).is_empty(),
        }
    }

    /// Whether a port that had this protection is protected as before. A RequestAuthentication that
    /// replaces the origins of a legacy Policy requires no token, but the rules that come with it
    /// may.
    pub(super) fn keeps(self, protection: Protection, port: Option<u16>) -> bool {
        let replaces = protection == Protection::Token
            && !self.authentication(port).rules.is_empty()
            && (self.has(Protection::Allow, port) || self.has(Protection::Deny, port));
        replaces || self.has(protection, port)
    }

    /// The names of what makes up the protection: of policies, or of issuers.
    pub(super) fn names(self, protection: Protection, port: Option<u16>) -> BTreeSet<&'a str> {
        let chain = self.chain(port);
        match protection {
            Protection::Allow => policies(chain.allow.enforced.as_ref()).collect(),
            Protection::Custom => chain
                .custom
                .iter()
                .flat_map(|filter| policies(Some(&filter.rules)))
                .collect(),
            Protection::Deny => policies(chain.deny.enforced.as_ref()).collect(),
            Protection::Peer | Protection::Token => BTreeSet::new(),
            Protection::Tokens => {
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

    /// Where the first rule of the protection was written, if a rule makes it up.
    pub(super) fn place(self, protection: Protection, port: Option<u16>) -> Option<Position> {
        let chain = self.chain(port);
        let rules = match protection {
            Protection::Allow => chain.allow.enforced.as_ref(),
            Protection::Custom => chain.custom.first().map(|filter| &filter.rules),
            Protection::Deny => chain.deny.enforced.as_ref(),
            Protection::Peer | Protection::Token | Protection::Tokens => None,
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

impl fmt::Display for Protection {
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
