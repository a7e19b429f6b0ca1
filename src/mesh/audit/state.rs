//! Whether the audit trail can be written.

use super::auditor::Auditor;

/// Whether the audit trail of a mesh can be written:
/// [`Readiness::audit`](crate::mesh::Readiness::audit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuditState {
    /// There is none.
    Absent,
    /// All trails can be written.
    Good,
    /// So many trails cannot be written now. No request is refused for that: there is another one,
    /// or no request must be recorded first, or they go on without
    /// ([`OnFailure::Continue`](crate::audit::OnFailure::Continue)).
    Failing(usize),
    /// No record can be made durable now, so requests that must be recorded first are refused. It
    /// counts against readiness.
    Unavailable,
}

impl Auditor {
    pub(in crate::mesh) fn state(&self) -> AuditState {
        let needs_durable = self.scope.strict_audit_policies
            || self.scope.routes.iter().any(|route| route.is_strict);
        if needs_durable && self.audit.refuses() && !self.audit.is_available() {
            return AuditState::Unavailable;
        }
        match self.audit.failing() {
            0 => AuditState::Good,
            count => AuditState::Failing(count),
        }
    }
}
