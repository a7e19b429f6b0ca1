//! DestinationRules: which one is for a caller and a service, and what it says of a port and a
//! subset.

mod hash;
mod policy;
mod rules;

pub use hash::DestinationHashes;
pub use policy::Policy;
pub use rules::DestinationRules;

#[cfg(test)]
mod tests;
