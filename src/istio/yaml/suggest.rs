//! Finds the known word nearest to a misspelt one.

/// The known word that `word` was probably meant to be.
pub(in crate::istio) fn nearest<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // A long key is no slip of the pen, and the distance costs its square.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether at most so many slips of the pen lie between two words.
pub(in crate::istio) fn within(most: usize, a: &str, b: &str) -> bool {
    // Each letter more is a slip, so that a long word costs nothing.
    a.len().abs_diff(b.len()) <= most * LONGEST_LETTER && distance(a, b) <= most
}

/// How many letters must be changed, added, dropped or swapped with their neighbour, capitals
/// aside.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let lower = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    let (a, b) = (lower(a), lower(b));
    // The costs of turning the start of `a` into each start of `b`: for one and for two letters
    // less of `a`, and as it grows.
    let mut earlier: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let cost = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let mut best = (cost(&last, j) + usize::from(from != to))
                .min(cost(&last, j + 1) + 1)
                .min(cost(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(cost(&earlier, j - 1) + 1);
            }
            row.push(best);
        }
        earlier = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// The bytes of a letter in UTF-8.
const LONGEST_LETTER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["principals", "notPrincipals", "paths", "ports"];
        assert_eq!(nearest("principal", known), Some("principals"));
        assert_eq!(nearest("notprincipals", known), Some("notPrincipals"));
        assert_eq!(nearest("pahts", known), Some("paths"));
        assert_eq!(nearest("prots", known), Some("ports"));
        assert_eq!(nearest("weather", known), None);
        assert_eq!(nearest(&"p".repeat(1000), known), None);
    }
}
