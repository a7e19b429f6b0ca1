//! What expressions read of an exchange that has ended.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use crate::access_log::{Facts, Test};
use crate::cel::{Condition, Fact, FactValue, PeerField};
use crate::context::Peer;
use crate::matcher::path_redaction::PathRedaction;
use crate::matcher::query;
use crate::message::ResponseFlags;
use crate::metrics::label_value;

/// The exchanges that a condition holds for. One without an answer is not among them.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) condition: Condition,
    /// The name of this process.
    pub(super) node: Arc<str>,
}

impl Test for Chosen {
    fn passes(&self, facts: Facts<'_>) -> bool {
        self.condition.evaluate(&Seen::whole(facts, &self.node)) == Ok(true)
    }
}

/// The headers of the request, and of the response, that a fact is made of.
pub(super) fn headers(fact: &Fact) -> (Option<HeaderName>, Option<HeaderName>) {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
    match fact {
        Fact::RequestHeader(header) => (name(header), None),
        Fact::ResponseHeader(header) => (None, name(header)),
        _ => (None, None),
    }
}

/// The facts of an exchange as expressions read them.
pub(super) struct Seen<'a> {
    facts: Facts<'a>,
    /// The name of this process.
    node: &'a str,
    /// What is not shown; `None` where only a yes or no comes out.
    hidden: Option<&'a PathRedaction>,
}

impl<'a> Seen<'a> {
    /// For a condition.
    fn whole(facts: Facts<'a>, node: &'a str) -> Self {
        Self {
            facts,
            node,
            hidden: None,
        }
    }

    /// For a value that is shown: as access logs do, without queries, the parameters of paths that
    /// are left out, and headers that hold secrets.
    pub(super) fn shown(facts: Facts<'a>, node: &'a str, hidden: &'a PathRedaction) -> Self {
        Self {
            facts,
            node,
            hidden: Some(hidden),
        }
    }

    fn path(&self) -> Cow<'a, str> {
        match self.hidden {
            Some(hidden) => Cow::Owned(hidden.shown(self.facts.path())),
            None => Cow::Borrowed(self.facts.path()),
        }
    }

    fn path_and_query(&self) -> String {
        let path = self.path();
        match (self.facts.query(), self.hidden) {
            (None, _) => path.into_owned(),
            (Some(_), Some(_)) => format!("{path}?…"),
            (Some(query), None) => format!("{path}?{query}"),
        }
    }

    fn query(&self) -> &'a str {
        match (self.facts.query(), self.hidden) {
            (Some(_), Some(_)) => "…",
            (query, _) => query.unwrap_or_default(),
        }
    }

    fn header(&self, name: &HeaderName, value: &'a HeaderValue) -> Option<FactValue<'a>> {
        let text = value.to_str().ok()?;
        let Some(hidden) = self.hidden else {
            return Some(text.into());
        };
        if value.is_sensitive() || query::is_token(b"", text.as_bytes()) {
            return None;
        }
        if ![header::REFERER, header::LOCATION, header::CONTENT_LOCATION].contains(name) {
            return Some(text.into());
        }
        let mut shown = Vec::new();
        hidden.write_url(&mut shown, text);
        Some(String::from_utf8(shown).ok()?.into())
    }
}

impl crate::cel::Facts for Seen<'_> {
    fn fact(&self, fact: &Fact) -> Option<FactValue<'_>> {
        let facts = self.facts;
        let report = facts.report();
        let measured = facts.measured();
        let peer = facts.downstream();
        let tls = || peer.and_then(Peer::tls_facts);
        let number = |number: u64| FactValue::Int(i64::try_from(number).unwrap_or(i64::MAX));
        if !facts.is_http() && is_of_http(fact) {
            return None;
        }
        Some(match fact {
            Fact::TerminationDetails => facts.termination()?.into(),
            Fact::RequestPath => self.path_and_query().into(),
            Fact::RequestUrlPath => FactValue::Text(self.path()),
            Fact::RequestQuery => self.query().into(),
            Fact::RequestHost => str::from_utf8(facts.authority()?).ok()?.into(),
            Fact::RequestScheme => facts.scheme().into(),
            Fact::RequestMethod => report.method.as_str().into(),
            Fact::RequestProtocol => facts.protocol().into(),
            Fact::RequestId => facts.request_id()?.to_str().ok()?.into(),
            Fact::RequestTime => FactValue::Time(facts.began()),
            Fact::RequestDuration => FactValue::Duration(report.duration),
            Fact::RequestSize => number(report.request_bytes),
            Fact::RequestTotalSize => {
                number(report.request_bytes.saturating_add(measured?.request_head))
            }
            Fact::RequestHeader(name) => {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                self.header(&name, facts.request_header(&name)?)?
            }
            Fact::ResponseCode => i64::from(facts.status()).into(),
            Fact::ResponseCodeDetails => facts.details().into(),
            Fact::ResponseFlags => envoys_bits(report.flags).into(),
            Fact::ResponseGrpcStatus => i64::from(facts.grpc_status()?.code()).into(),
            Fact::ResponseSize => number(report.response_bytes()),
            Fact::ResponseTotalSize => number(
                report
                    .response_bytes()
                    .saturating_add(measured?.response_head),
            ),
            Fact::ResponseHeader(name) => {
                let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
                self.header(&name, facts.response_header(&name)?)?
            }
            Fact::ResponseTrailerGrpcStatus => {
                // Without a response there is none that has trailers.
                report.status?;
                report.end.grpc_status?.code().to_string().into()
            }
            Fact::SourceAddress => address(peer?.remote_addr()),
            Fact::SourcePort => i64::from(peer?.remote_addr().port()).into(),
            Fact::DestinationAddress => address(destination(facts)?),
            Fact::DestinationPort => i64::from(destination(facts)?.port()).into(),
            Fact::ConnectionMtls => peer.is_some_and(|peer| peer.certificate().is_some()).into(),
            Fact::ConnectionServerName => tls()
                .and_then(|tls| tls.sni.as_deref())
                .unwrap_or_default()
                .into(),
            Fact::ConnectionTlsVersion => tls()?.version?.into(),
            Fact::PeerUriSan => peer?.spiffe_id()?.to_string().into(),
            Fact::LocalUriSan => {
                tls()?;
                label(facts, "destination", "principal")?
            }
            Fact::UpstreamAddress => address(facts.upstream_address()?),
            Fact::UpstreamPort => i64::from(facts.upstream_address()?.port()).into(),
            Fact::UpstreamAttempts => i64::from(facts.attempts()).into(),
            Fact::NodeId => self.node.into(),
            Fact::UpstreamFailure => facts.transport_failure()?.into(),
            Fact::ClusterName if facts.is_inbound() => {
                format!("inbound|{}||", peer?.local_addr().port()).into()
            }
            Fact::ClusterName => facts.call().cluster.as_deref()?.into(),
            Fact::RouteName if facts.is_inbound() => "default".into(),
            Fact::RouteName => facts.call().route?.into(),
            Fact::DownstreamPeer(field) if facts.is_inbound() => of_peer(facts, "source", field)?,
            Fact::UpstreamPeer(field) if !facts.is_inbound() => {
                of_peer(facts, "destination", field)?
            }
            // What the process does not know.
            _ => return None,
        })
    }
}

/// Whether a connection that carries no HTTP lacks it.
fn is_of_http(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::RequestPath
            | Fact::RequestUrlPath
            | Fact::RequestQuery
            | Fact::RequestHost
            | Fact::RequestScheme
            | Fact::RequestMethod
            | Fact::RequestProtocol
            | Fact::RequestId
            | Fact::RequestHeader(_)
            | Fact::ResponseCode
            | Fact::ResponseCodeDetails
            | Fact::ResponseGrpcStatus
            | Fact::ResponseHeader(_)
            | Fact::ResponseTrailerGrpcStatus
    )
}

fn destination(facts: Facts<'_>) -> Option<SocketAddr> {
    match facts.is_inbound() {
        true => facts.downstream().map(Peer::local_addr),
        false => facts.upstream_address(),
    }
}

fn address(address: SocketAddr) -> FactValue<'static> {
    let ip = address.ip().to_canonical();
    SocketAddr::new(ip, address.port()).to_string().into()
}

/// What metrics show of an end of the exchange, if it is known.
fn label<'a>(facts: Facts<'a>, end: &str, field: &str) -> Option<FactValue<'a>> {
    let labels = &facts.measured()?.labels;
    let value = label_value(labels, &format!("{end}_{field}"))?;
    (value != "unknown").then(|| {
        FactValue::Text(match value.contains('\\') {
            true => Cow::Owned(value.replace("\\\"", "\"").replace("\\\\", "\\")),
            false => Cow::Borrowed(value),
        })
    })
}

fn of_peer<'a>(facts: Facts<'a>, end: &str, field: &PeerField) -> Option<FactValue<'a>> {
    let field = match field {
        PeerField::Any => {
            label(facts, end, "workload")?;
            return Some(true.into());
        }
        PeerField::Namespace => "workload_namespace",
        PeerField::Cluster => "cluster",
        PeerField::Service => "canonical_service",
        PeerField::Revision => "canonical_revision",
        PeerField::App => "app",
        PeerField::Version => "version",
        PeerField::Workload => "workload",
    };
    label(facts, end, field)
}

/// The flags as Envoy numbers them.
fn envoys_bits(flags: ResponseFlags) -> i64 {
    let bit = |short: &str| ENVOYS.iter().position(|known| *known == short);
    let bits = flags.names().filter_map(|(short, _)| bit(short));
    bits.fold(0, |bits, bit| bits | 1_i64 << bit)
}

/// In the order of Envoy's `CoreResponseFlag`.
const ENVOYS: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC",
    "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR",
    "UDO",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_numbered_as_envoy_does() {
        assert_eq!(envoys_bits(ResponseFlags::none()), 0);
        let both = ResponseFlags::UPSTREAM_CONNECTION_FAILURE
            .union(ResponseFlags::UPSTREAM_RETRY_LIMIT_EXCEEDED);
        assert_eq!(envoys_bits(both), 1 << 5 | 1 << 15);
    }
}
