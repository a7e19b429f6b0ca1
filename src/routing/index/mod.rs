//! Finds the virtual host and the route of a call without trying all of them.
//!
//! The plain search of [`RouteTable::choose`](super::RouteTable::choose) is the reference, and a
//! property test holds both equal. No lookup allocates.

mod domains;
mod paths;
mod table;
#[cfg(test)]
mod tests;
mod texts;

pub(super) use table::TableIndex;
