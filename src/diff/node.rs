//! The tests inside a rule, and what each asks a request for.

use super::fact::Dimension;
use crate::policy::ir::view::{Leaf, Nodes};
use crate::policy::ir::{MetadataMatcher, Policy};

/// Every test inside a rule.
pub(super) fn leaves(policy: &Policy) -> Vec<Leaf<'_>> {
    let mut leaves = Vec::new();
    for node in policy.sides().into_iter().flat_map(Nodes::iter) {
        node.each_leaf(&mut |leaf| leaves.push(leaf));
    }
    leaves
}

impl Leaf<'_> {
    /// What a request must say otherwise to change the answer.
    pub(in crate::diff) fn dimensions(self) -> Vec<Dimension> {
        vec![match self {
            Self::DestinationIp(_) => Dimension::DestinationIp,
            Self::Path(_) | Self::Template(_) => Dimension::Target,
            Self::Peer(_) => Dimension::Peer,
            Self::Ports { .. } => Dimension::Port,
            Self::RemoteIp(_) => Dimension::RemoteIp,
            Self::ServerName(_) => Dimension::ServerName,
            Self::DirectIp(_) => Dimension::SourceIp,
            Self::Header(matcher) => of_header(&matcher.name),
            Self::Metadata(matcher) => return of_metadata(matcher),
        }]
    }
}

/// What a header of this name, or a pseudo-header, says.
pub(super) fn of_header(name: &str) -> Dimension {
    match name {
        ":method" => Dimension::Method,
        ":path" => Dimension::Target,
        ":authority" | "host" => Dimension::Authority,
        name => Dimension::Header(name.to_owned()),
    }
}

fn of_metadata(matcher: &MetadataMatcher) -> Vec<Dimension> {
    let path: Vec<&str> = matcher.path.iter().map(String::as_str).collect();
    let claim = |path: &[&str]| Dimension::Claim(path.iter().map(|&key| key.to_owned()).collect());
    match (matcher.filter.as_str(), path.as_slice()) {
        ("envoy.filters.http.jwt_authn", ["payload", path @ ..]) => {
            vec![claim(path), Dimension::Token]
        }
        ("istio_authn", ["request.auth.principal"]) => {
            vec![claim(&["iss"]), claim(&["sub"]), Dimension::Token]
        }
        ("istio_authn", ["request.auth.audiences"]) => vec![claim(&["aud"]), Dimension::Token],
        ("istio_authn", ["request.auth.presenter"]) => vec![claim(&["azp"]), Dimension::Token],
        ("istio_authn", ["request.auth.claims", name]) => vec![claim(&[name]), Dimension::Token],
        _ => Vec::new(),
    }
}
