//! Picks the endpoint of an upstream that takes a call. This code is pure: its arguments hold all
//! that it needs.

/// How calls are distributed over endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mesh) enum Balance {
    /// Each endpoint in turn.
    #[default]
    RoundRobin,
}

/// The result of the last attempt to connect to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mesh) enum Health {
    /// It succeeded, or there was none.
    #[default]
    Up,
    /// It failed a short time ago.
    Down,
    /// It failed, and it is time to try again.
    Due,
}

/// The result of [`pick`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mesh) struct Pick {
    /// The index of the endpoint that takes the call.
    pub(in crate::mesh) index: usize,
    /// An endpoint that was skipped and should be tried in the background, so that no call waits
    /// for an endpoint that may still be down.
    pub(in crate::mesh) probe: Option<usize>,
}

impl Balance {
    /// Picks one of `count` endpoints for the call whose turn it is, excluding those in `tried`. It
    /// picks an endpoint that is not up only when no other is left.
    pub(in crate::mesh) fn pick(
        self,
        count: usize,
        turn: usize,
        tried: &[usize],
        health: impl Fn(usize) -> Health,
    ) -> Option<Pick> {
        let order = match self {
            Self::RoundRobin => in_turn(count, turn),
        };
        let mut left = order.filter(|index| !tried.contains(index));
        let next = left.clone().next()?;
        let mut probe = None;
        let up = left.find(|index| match health(*index) {
            Health::Up => true,
            Health::Down => false,
            Health::Due => {
                probe.get_or_insert(*index);
                false
            }
        });
        Some(match up {
            Some(index) => Pick { index, probe },
            None => Pick {
                index: next,
                probe: None,
            },
        })
    }
}

/// The indexes of `count` entries, each once, beginning with the one whose turn it is.
pub(super) fn in_turn(count: usize, turn: usize) -> impl Iterator<Item = usize> + Clone {
    let first = turn.checked_rem(count).unwrap_or(0);
    (first..count).chain(0..first)
}

#[cfg(test)]
mod tests {
    use super::Health::{Down, Due, Up};
    use super::*;

    /// Health, turn and tried endpoints; then the picked endpoint and the one to probe.
    type Row = (
        &'static [Health],
        usize,
        &'static [usize],
        Option<(usize, Option<usize>)>,
    );

    #[test]
    fn picks_in_turn_and_what_is_down_last() {
        let rows: [Row; 14] = [
            (&[], 0, &[], None),
            (&[Up], 7, &[], Some((0, None))),
            (&[Up, Up, Up], 0, &[], Some((0, None))),
            (&[Up, Up, Up], 1, &[], Some((1, None))),
            (&[Up, Up, Up], 5, &[], Some((2, None))),
            (&[Up, Up, Up], usize::MAX, &[0], Some((1, None))),
            (&[Up, Down, Up], 1, &[], Some((2, None))),
            (&[Up, Due, Up], 1, &[], Some((2, Some(1)))),
            (&[Up, Due, Due], 1, &[], Some((0, Some(1)))),
            (&[Up, Up, Due], 1, &[], Some((1, None))),
            (&[Down, Due, Down], 2, &[], Some((2, None))),
            (&[Up, Down, Up], 0, &[0, 2], Some((1, None))),
            (&[Down, Down], 1, &[1], Some((0, None))),
            (&[Up, Up], 0, &[0, 1], None),
        ];
        for (healths, turn, tried, wanted) in rows {
            let pick = Balance::RoundRobin.pick(healths.len(), turn, tried, |index| healths[index]);
            let wanted = wanted.map(|(index, probe)| Pick { index, probe });
            assert_eq!(pick, wanted, "{healths:?}, turn {turn}, tried {tried:?}");
        }
    }
}
