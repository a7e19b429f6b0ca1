use http::StatusCode;

use crate::context::Exchange;
use crate::log_limit::limited;
use crate::mesh::config::live::CompiledInbound;
use crate::message::LocalReply;

/// Refuses a request that has not met the token rules of this configuration, where there are some.
/// Policies would take its user for nobody, so that a DENY of some users would not hold. A token
/// guard of another make is as good, if it says that it
/// [verifies tokens](Exchange::verifies_tokens).
pub(super) fn check_order(config: &CompiledInbound, exchange: &Exchange) -> Result<(), LocalReply> {
    // Without a peer it is refused anyway.
    let Some(peer) = exchange.peer() else {
        return Ok(());
    };
    let rules = config.authenticators.get(peer.local_addr().port());
    if !rules.has_rules() || exchange.verifies_tokens() {
        return Ok(());
    }
    limited!(
        target: "tower_mesh::access",
        ERROR,
        "a request reached the policy guard before any token guard, and token rules apply to it: put Guards::jwt outside of Guards::rbac"
    );
    Err(LocalReply::new(
        StatusCode::FORBIDDEN,
        "RBAC: access denied",
        "rbac_access_denied_no_token_guard",
    ))
}
