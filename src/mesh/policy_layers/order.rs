//! Refuses requests that reach the policies before a token guard.

use http::StatusCode;

use crate::context::Exchange;
use crate::jwt::TokenMode;
use crate::log_limit::limited;
use crate::mesh::config::live::CompiledInbound;
use crate::message::LocalReply;

/// Refuses a request that has passed no token guard, where this configuration has token rules or
/// tokens are required.
/// Policies would see a request without a user, so that a DENY of some users would not hold.
/// Another token guard is as good, if it declares that it [verifies
/// tokens](Exchange::verifies_tokens).
pub(super) fn check_order(
    config: &CompiledInbound,
    mode: TokenMode,
    exchange: &Exchange,
) -> Result<(), LocalReply> {
    // Without a peer the policies refuse it anyway.
    let Some(peer) = exchange.peer() else {
        return Ok(());
    };
    let rules = config.authenticators.get(peer.local_addr().port());
    let concerned = rules.has_rules() || mode == TokenMode::Required;
    if !concerned || exchange.verifies_tokens() {
        return Ok(());
    }
    limited!(
        target: "tower_mesh::access",
        ERROR,
        "a request reached the policy guard before any token guard, and token rules apply to it or tokens are required: \
         put Guards::jwt outside of Guards::rbac"
    );
    Err(LocalReply::new(
        StatusCode::FORBIDDEN,
        "RBAC: access denied",
        "rbac_access_denied_no_token_guard",
    ))
}
