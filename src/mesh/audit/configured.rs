//! What records say of the configuration that decided.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use aws_lc_rs::digest;

use crate::istio::{Action, AuthorizationPolicy};
use crate::policy::{Decision, PolicyId};
use crate::source::Configuration;

/// What records need of one generation of the configuration.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct AuditedConfig {
    /// SHA-256 over all resources and settings, as they were read.
    pub(in crate::mesh) hash: Arc<str>,
    /// The rules of policies for emergencies, by the beginnings of their names.
    break_glass: Arc<[Box<str>]>,
}

/// The configuration that judges a request, for its records.
#[derive(Clone, Debug)]
pub(in crate::mesh) struct JudgedBy {
    pub(in crate::mesh) generation: u64,
    pub(in crate::mesh) config: AuditedConfig,
}

impl AuditedConfig {
    pub(in crate::mesh) fn new(configuration: &Configuration) -> Self {
        let policies = &configuration.resources.authorization_policies;
        let break_glass = policies.iter().filter(|policy| is_for_emergencies(policy));
        let name = |namespace: &str, name: &str| format!("ns[{namespace}]-policy[{name}]-rule[");
        Self {
            hash: hash(configuration).into(),
            break_glass: break_glass
                .map(|policy| name(&policy.meta.namespace, &policy.meta.name).into())
                .collect(),
        }
    }

    /// The policy for emergencies by which this decision allows.
    pub(super) fn break_glass<'d>(&self, decision: &'d Decision) -> Option<&'d PolicyId> {
        let policy = decision.policy.as_ref()?;
        let is_allow = decision.allowed && decision.action == Some(Action::Allow);
        let mut names = self.break_glass.iter();
        let is_one = is_allow && names.any(|name| policy.as_str().starts_with(&**name));
        is_one.then_some(policy)
    }
}

/// Whether the policy's annotation says so. What it cannot mean is told in the log.
fn is_for_emergencies(policy: &AuthorizationPolicy) -> bool {
    let Some(value) = policy.meta.annotations.get(BREAK_GLASS) else {
        return false;
    };
    let is_allow = policy.action == Action::Allow;
    let remedy = match (value.as_str(), is_allow) {
        ("true", true) => return true,
        ("false", _) => return false,
        ("true", false) => "only a policy that allows can be for emergencies: leave it out",
        _ => "write \"true\" or \"false\"",
    };
    tracing::warn!(
        target: "tower_mesh::config",
        at = %policy.meta.at,
        "metadata.annotations.{BREAK_GLASS} has no effect: {remedy}"
    );
    false
}

fn hash(configuration: &Configuration) -> String {
    let mut digest = Digest(digest::Context::new(&digest::SHA256));
    let _ = write!(
        digest,
        "{:?}\0{:?}",
        configuration.resources, configuration.mesh_config
    );
    hex(digest.0.finish().as_ref())
}

/// Hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

struct Digest(digest::Context);

impl fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

/// The annotation of an AuthorizationPolicy for emergencies.
const BREAK_GLASS: &str = "mesh.tower/break-glass";
