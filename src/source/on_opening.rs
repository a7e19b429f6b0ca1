/// What becomes of a changed configuration that is damaged, or under which less is guarded than
/// before.
///
/// A file that was cut to nothing, a policy that was deleted by accident and a selector that was
/// misspelt all look alike: fewer policies, and with the last ALLOW policy everybody is let in. A
/// mesh compares what a change means for its workload with what it serves by:
///
/// - *damaged*: a file that held documents holds none, or no file does any more;
/// - *opening*: no enforced ALLOW policy selects the workload where one did, or no DENY policy, no
///   CUSTOM policy, no RequestAuthentication, no demand for a token (2018) or no STRICT where there
///   was one, port by port.
///
/// A policy that is one of several may go; the log says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnOpening {
    /// The mesh refuses it and keeps serving the previous configuration. This is the default: to
    /// apply such a change on purpose, restart the workload, because a start compares with nothing.
    #[default]
    Refuse,
    /// It counts, with a warning in the log. For a source whose owner deletes on purpose and
    /// without accidents.
    Warn,
}
