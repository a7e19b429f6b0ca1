//! Where a call's connection comes from.

/// Where a call's connection comes from, which decides what its failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh) enum Origin {
    /// It was open before the call asked. The server may have closed it meanwhile.
    Pool,
    /// It was made for another call, and this one waited for it, too.
    OtherDial,
    /// It was made for this call.
    OwnDial,
}
