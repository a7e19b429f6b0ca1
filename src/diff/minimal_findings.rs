//! Removes near-duplicates from the findings.

use std::collections::HashSet;

use super::fact::texts;
use super::pool::Pool;
use super::witness::Witness;
use crate::policy::Judgement;

/// The findings without near-duplicates: of two requests with the same answers that differ only in
/// one text, the one with the text that a rule names stays.
pub(super) fn minimal_findings(
    pool: &Pool,
    found: &[(Witness, (Judgement, Judgement))],
) -> Vec<Witness> {
    let mut found: Vec<_> = found.iter().collect();
    let mut place = 0;
    loop {
        // One text after the other: `place` counts through those that a request can have.
        let fact = |witness: &Witness| texts(witness).into_iter().nth(place);
        let key = |witness: &Witness, answers: &(Judgement, Judgement)| {
            let blank = fact(witness)?.blank()?.in_place(witness);
            Some(format!("{blank} {answers:?}"))
        };
        if !found.iter().any(|(witness, _)| fact(witness).is_some()) {
            break;
        }
        let is_named = |witness: &Witness| fact(witness).is_some_and(|fact| pool.is_named(&fact));
        let named = found.iter().filter(|(witness, _)| is_named(witness));
        let named: HashSet<_> = named
            .filter_map(|(witness, answers)| key(witness, answers))
            .collect();
        found.retain(|(witness, answers)| {
            is_named(witness) || key(witness, answers).is_none_or(|key| !named.contains(&key))
        });
        place += 1;
    }
    let found = found.into_iter();
    found.map(|(witness, _)| witness.clone()).collect()
}
