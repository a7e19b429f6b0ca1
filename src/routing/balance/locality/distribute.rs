//! Shares of localities: DestinationRule `distribute`.

use std::fmt;

use super::place::Locality;

/// How calls from some localities spread over others.
///
/// ```
/// use tower_mesh::routing::balance::{Distribute, Locality};
///
/// let rules = [Distribute::new("us/a", [("us/a", 80), ("us/b", 20)])?];
/// let here = Locality::from_text("us/a/1");
/// // Where the endpoints are, and the sum of their weights.
/// let there = [("us/a/1", 1), ("us/a/2", 1), ("us/b/1", 3), ("us/c/1", 1)]
///     .map(|(text, weight)| (Locality::from_text(text), weight));
/// let weights = Distribute::weights(&rules, &here, &there);
/// assert_eq!(weights, [40, 40, 20, 0]);
/// # Ok::<_, tower_mesh::routing::balance::DistributeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribute {
    from: Box<str>,
    to: Box<[(Box<str>, u32)]>,
}

/// Why shares cannot be used. The field is that of `localityLbSetting`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DistributeError {
    /// `distribute.to`: a weight that is not 1 to 100.
    Weight {
        /// The locality that has it.
        to: Box<str>,
        /// The weight.
        weight: u32,
    },
    /// `distribute.to`: weights that do not add up to 100.
    Sum {
        /// The localities that the calls come from.
        from: Box<str>,
        /// The sum.
        sum: u32,
    },
    /// `distribute`: the localities of a `from` are also those of one before it.
    Overlap {
        /// The later one.
        from: Box<str>,
    },
}

impl Distribute {
    /// Calls from localities of this pattern go to localities of these patterns, by weight.
    ///
    /// # Errors
    ///
    /// A weight is not 1 to 100, or they do not add up to 100.
    pub fn new<'a>(
        from: &str,
        to: impl IntoIterator<Item = (&'a str, u32)>,
    ) -> Result<Self, DistributeError> {
        let to: Box<[(Box<str>, u32)]> = to
            .into_iter()
            .map(|(to, weight)| (to.into(), weight))
            .collect();
        if let Some((to, weight)) = to.iter().find(|(_, weight)| !(1..=100).contains(weight)) {
            return Err(DistributeError::Weight {
                to: to.clone(),
                weight: *weight,
            });
        }
        let from: Box<str> = from.into();
        let sum = to
            .iter()
            .fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
        if sum != 100 {
            return Err(DistributeError::Sum { from, sum });
        }
        Ok(Self { from, to })
    }

    /// Checks that no locality is in the `from` of two rules, as Istio's validation does.
    ///
    /// # Errors
    ///
    /// The first `from` that covers, or is covered by, one before it.
    pub fn check(rules: &[Self]) -> Result<(), DistributeError> {
        for (index, rule) in rules.iter().enumerate() {
            let before = rules.iter().take(index);
            if before
                .into_iter()
                .any(|other| overlap(&other.from, &rule.from))
            {
                return Err(DistributeError::Overlap {
                    from: rule.from.clone(),
                });
            }
        }
        Ok(())
    }

    /// The weight of each locality for calls from `here`, by the first rule whose `from` covers it.
    ///
    /// The weight of each pattern is split over the localities that it covers, by their own weights,
    /// rounded up; a locality counts for the first pattern that covers it. One that no pattern
    /// covers has 0: **its endpoints get no calls**, and must not be counted as hosts. If no rule's
    /// `from` covers `here`, all keep their own weights.
    #[must_use]
    pub fn weights(rules: &[Self], here: &Locality, localities: &[(Locality, u32)]) -> Vec<u32> {
        let Some(rule) = rules.iter().find(|rule| here.is_in(&rule.from)) else {
            return localities.iter().map(|(_, weight)| *weight).collect();
        };
        let pattern = |locality: &Locality| rule.to.iter().position(|(to, _)| locality.is_in(to));
        let patterns: Vec<_> = localities
            .iter()
            .map(|(locality, _)| pattern(locality))
            .collect();
        let sum = |pattern: usize| -> u64 {
            let same = patterns.iter().zip(localities);
            same.filter(|(other, _)| **other == Some(pattern))
                .map(|(_, (_, weight))| u64::from(*weight))
                .sum()
        };
        let weight = |(pattern, (_, own)): (&Option<usize>, &(Locality, u32))| {
            let share = pattern.and_then(|pattern| {
                let (_, share) = rule.to.get(pattern)?;
                let weight = u64::from(*own) * u64::from(*share);
                u32::try_from(weight.div_ceil(sum(pattern).max(1))).ok()
            });
            share.unwrap_or(0)
        };
        patterns.iter().zip(localities).map(weight).collect()
    }
}

/// Whether some locality is in both patterns.
fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (Locality::from_text(a), Locality::from_text(b));
    let meet = |a: &str, b: &str| a == b || ["", "*"].iter().any(|any| a == *any || b == *any);
    meet(&a.region, &b.region) && meet(&a.zone, &b.zone) && meet(&a.sub_zone, &b.sub_zone)
}

impl fmt::Display for DistributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weight { to, weight } => write!(
                f,
                "distribute.to: the weight of `{to}` is {weight}; it must be 1 to 100"
            ),
            Self::Sum { from, sum } => write!(
                f,
                "distribute.to: the weights of calls from `{from}` add up to {sum}; they must add up to 100"
            ),
            Self::Overlap { from } => write!(
                f,
                "distribute.from: localities of `{from}` are in an earlier `from` as well; name each locality once"
            ),
        }
    }
}

impl std::error::Error for DistributeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn localities(texts: &[(&str, u32)]) -> Vec<(Locality, u32)> {
        let locality = |(text, weight): &(&str, u32)| (Locality::from_text(text), *weight);
        texts.iter().map(locality).collect()
    }

    fn weights(from: &str, to: &[(&str, u32)], here: &str) -> Vec<u32> {
        let rules = [Distribute::new(from, to.iter().copied()).unwrap()];
        let there = localities(&[
            ("us/a/1", 1),
            ("us/a/2", 1),
            ("us/b/1", 3),
            ("us/c/1", 1),
            ("eu/a/1", 1),
            ("ap/a/1", 1),
        ]);
        Distribute::weights(&rules, &Locality::from_text(here), &there)
    }

    #[test]
    fn a_weight_is_split_by_the_weights_of_endpoints_and_rounded_up() {
        let to = [("us/*", 70), ("eu/*", 30)];
        assert_eq!(weights("us/*", &to, "us/a/1"), [12, 12, 35, 12, 30, 0]);
        let to = [("us/a", 80), ("us/b", 20)];
        assert_eq!(weights("us/a", &to, "us/a/1"), [40, 40, 20, 0, 0, 0]);
        // The first pattern that covers a locality has it.
        let to = [("us/a/1", 10), ("us/*", 90)];
        assert_eq!(weights("*", &to, "us/a/1"), [10, 18, 54, 18, 0, 0]);
    }

    #[test]
    fn without_a_rule_for_us_nobody_is_left_out() {
        let to = [("us/*", 70), ("eu/*", 30)];
        assert_eq!(weights("eu/*", &to, "us/a/1"), [1, 1, 3, 1, 1, 1]);
    }

    #[test]
    fn weights_that_are_no_percents_are_refused() {
        let error = |to: &[(&str, u32)]| Distribute::new("us", to.iter().copied()).unwrap_err();
        assert!(matches!(
            error(&[("us", 0), ("eu", 100)]),
            DistributeError::Weight { .. }
        ));
        assert!(matches!(
            error(&[("us", 101)]),
            DistributeError::Weight { .. }
        ));
        assert!(matches!(
            error(&[("us", 99)]),
            DistributeError::Sum { sum: 99, .. }
        ));
        assert!(matches!(error(&[]), DistributeError::Sum { sum: 0, .. }));
        assert!(error(&[("us", 99)]).to_string().contains("add up to 99"));
    }

    #[test]
    fn a_locality_is_in_one_from_only() {
        let rules = |from: &[&str]| -> Vec<_> {
            let rule = |from: &&str| Distribute::new(from, [("us", 100)]).unwrap();
            from.iter().map(rule).collect()
        };
        assert_eq!(Distribute::check(&rules(&["us/a", "us/b", "eu"])), Ok(()));
        for from in [
            ["*", "us/a/1"],
            ["us/a/1", "us/*"],
            ["us/a", "us/a/*"],
            ["us", "us"],
        ] {
            let error = Distribute::check(&rules(&from)).unwrap_err();
            assert_eq!(
                error,
                DistributeError::Overlap {
                    from: from[1].into()
                }
            );
        }
    }
}
