//! The rules of one action, indexed by the texts that a request must have to match them. The engine
//! asks this, not `eval`.
//!
//! A rule that asks for certain texts (a path, a caller, a host, …) is *posted* under them, in the
//! dimension where the fewest other rules ask for the same. A request looks up its own texts and so
//! meets only rules that could match it. Where every dimension is crowded, a rule is posted under
//! pairs of texts. Rules that cannot be posted (all their tests are negative, or ask only for a
//! range or for presence) are candidates for every request, and so is every rule of a small set.
//! Every candidate is judged whole, so a posting is only ever a hint.
//!
//! Judging a request takes no lock and allocates nothing, unless the request matches dozens of
//! texts in one dimension. [`Index::new`] has an example.

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
