//! What policy says of a connection that carries no HTTP.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::record::Cut;
use super::refused::Refused;
use crate::context::{Caller, Exchange};
use crate::identity::PeerCertificate;
use crate::istio::Action;
use crate::matcher::forwarded;
use crate::message::ResponseFlags;
use crate::policy::{Attributes, Decision, Engine, PolicyId};
use crate::refusal_log;

/// Asks policy about a connection. A refusal is logged, and an allow with something to say is left
/// in the exchange.
///
/// # Errors
/// Why the connection must be closed, and as what it is counted.
pub(super) fn judge(engine: &Engine, exchange: &Exchange) -> Result<Decision, (Cut, Refused)> {
    let Some(connection) = exchange.caller().map(ConnectionAttributes) else {
        let details = Arc::from("rbac_access_denied_no_peer");
        return Err((
            Cut::Refused(details, ResponseFlags::none()),
            Refused::Policy,
        ));
    };
    let decision = engine.decide_tcp(&connection);
    if decision.allowed {
        if decision.marks.is_some() {
            exchange.set_decision(decision.clone());
        }
        return Ok(decision);
    }
    // A rule of an unusable provider denies as a DENY does, and has no provider to be asked.
    let asked = engine.custom_tcp(&connection).filter(|custom| {
        decision.action == Some(Action::Custom) && decision.policy.as_ref() == Some(&custom.policy)
    });
    let (details, flags, refused) = match asked {
        Some(custom) => (
            format!(
                "ext_authz_error{{provider[{}]_cannot_be_asked}}",
                custom.provider
            ),
            ResponseFlags::UNAUTHORIZED_EXTERNAL,
            Refused::Provider,
        ),
        None => (decision.details(), ResponseFlags::none(), Refused::Policy),
    };
    let rule = decision.policy.as_ref().map(PolicyId::as_str);
    refusal_log::connection_refused(exchange, &details, rule, Some(engine));
    Err((Cut::Refused(details.into(), flags), refused))
}

/// Warns of CUSTOM policies on this port: the connections that they match are refused.
pub(super) fn warn_of_custom(engine: &Engine, port: u16) {
    let chain = engine.program().tcp.get(port);
    let usable = chain.custom.iter().filter(|filter| filter.usable.is_some());
    for filter in usable.chain(&chain.unasked) {
        tracing::warn!(
            target: "tower_mesh::mesh",
            port,
            provider = %filter.provider,
            "the provider cannot be asked about connections without HTTP: those that its CUSTOM \
             policies match are refused"
        );
    }
}

/// A connection, in the terms of policy rules. The source is its peer or, where a trusted proxy has
/// named a caller, that caller.
struct ConnectionAttributes<'a>(Caller<'a>);

impl Attributes for ConnectionAttributes<'_> {
    fn method(&self) -> Option<&str> {
        None
    }

    fn path(&self) -> Option<&str> {
        None
    }

    fn authority(&self) -> Option<&str> {
        None
    }

    fn any_header(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }

    fn certificate(&self) -> Option<&PeerCertificate> {
        self.0.certificate()
    }

    fn via(&self) -> Option<&dyn fmt::Display> {
        Some(self.0.via()?)
    }

    fn direct_remote_ip(&self) -> Option<IpAddr> {
        Some(forwarded::socket_ip(self.0.ip()))
    }

    fn remote_ip(&self) -> Option<IpAddr> {
        Some(forwarded::socket_ip(self.0.ip()))
    }

    fn destination_ip(&self) -> Option<IpAddr> {
        Some(forwarded::socket_ip(self.0.peer().local_addr().ip()))
    }

    fn destination_port(&self) -> Option<u16> {
        Some(self.0.peer().local_addr().port())
    }

    fn sni(&self) -> &str {
        let facts = self.0.peer().tls_facts();
        facts.and_then(|facts| facts.sni.as_deref()).unwrap_or("")
    }

    fn claims(&self) -> Option<&Map<String, Value>> {
        None
    }
}
