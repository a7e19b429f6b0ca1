//! Tables of consistent hashing: from a hash to a host.

mod maglev;
mod ring;

pub(super) use maglev::Maglev;
pub(super) use ring::Ring;

/// A host that a table places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed<'a> {
    /// The address.
    pub(super) key: &'a str,
    /// Its share; those of all hosts add up to 1 at most.
    pub(super) weight: f64,
}
