//! What runs: the rules of one action, found by what they cannot do without.
//!
//! A rule that asks for certain texts (a path, a caller, a host, …) is *posted* under them, in the
//! dimension where fewest other rules ask for the same: a request looks its own texts up and meets
//! only rules that could match it. Where every dimension is crowded, a rule is posted under pairs
//! of texts. Rules that cannot be posted (everything negative, only ranges or presence) are
//! candidates for every request, and so is every rule of a small set. All candidates are judged
//! whole: being posted is never more than a hint.
//!
//! Nothing is allocated and nothing locked while a request is judged, short of a request that
//! matches dozens of texts in one dimension.

mod build;
mod cover;
mod dimension;
mod lookup;
mod rules;
mod table;
mod view;

#[cfg(test)]
mod tests;

pub(super) use lookup::Index;
pub(super) use view::View;
