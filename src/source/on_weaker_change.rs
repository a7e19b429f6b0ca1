//! What a mesh does with a change that is damaged or protects less: refuse it, or warn.

/// What a mesh does with a changed configuration that is damaged, or that guards less than the one
/// before.
///
/// A file that was truncated to nothing, a policy that was deleted by accident and a misspelt
/// selector all look alike: there are fewer policies, and without the last ALLOW policy every
/// caller is admitted. So a mesh compares what the change means for its workload with the current
/// configuration:
///
/// - *damaged*: a file that held documents now holds none, or no file holds any;
/// - *opening*: on some port, the workload loses its last enforced ALLOW policy, DENY policy,
///   CUSTOM policy, RequestAuthentication, demand for a token (2018) or STRICT mode.
///
/// A policy that is one of several may be removed; the log reports it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnOpening {
    /// The mesh refuses the change and keeps serving the previous configuration. This is the
    /// default. To apply such a change on purpose, restart the workload: a start has nothing to
    /// compare with.
    #[default]
    Refuse,
    /// The mesh applies the change and logs a warning. Use this for a source whose owner deletes
    /// policies only on purpose.
    Warn,
}
