use crate::matcher::{StringMatcher, StringPattern};

/// Whether every text that `narrow` matches is matched by `wide`. `plain`: no text holds a line
/// feed, as in paths, headers and names.
pub(in crate::vet) fn includes(narrow: &StringMatcher, wide: &StringMatcher, plain: bool) -> bool {
    use StringPattern::{Contains, Exact, Prefix, Regex, Suffix};
    if narrow == wide || matches_all(wide, plain) {
        return true;
    }
    if narrow.ignore_case && !wide.ignore_case {
        return plain && is_non_empty(wide) && !narrow.matches(b"");
    }
    if let Exact(text) = &narrow.pattern {
        return wide.matches(text.as_bytes());
    }
    let folded = |text: &str| fold(text, wide.ignore_case);
    match (&narrow.pattern, &wide.pattern) {
        (Prefix(narrow), Prefix(wide)) => folded(narrow).starts_with(&folded(wide)),
        (Suffix(narrow), Suffix(wide)) => folded(narrow).ends_with(&folded(wide)),
        (Prefix(part) | Suffix(part) | Contains(part), Contains(wide)) => {
            folded(part).contains(&folded(wide))
        }
        (Prefix(start), Regex(regex)) if plain => {
            // What follows the prefix is taken by the regex's own `.*`.
            is_flat(regex.as_str())
                && regex.as_str().ends_with(".*")
                && regex.matches(start.as_bytes())
                || is_non_empty(wide) && !start.is_empty()
        }
        (Suffix(end), Regex(regex)) if plain => {
            is_flat(regex.as_str())
                && regex.as_str().starts_with(".*")
                && regex.matches(end.as_bytes())
                || is_non_empty(wide) && !end.is_empty()
        }
        (Contains(part), Regex(_)) if plain => is_non_empty(wide) && !part.is_empty(),
        // A whole-text regex that does not take the empty text takes one byte or more.
        (Regex(regex), Regex(_)) if plain => is_non_empty(wide) && !regex.matches(b""),
        _ => false,
    }
}

fn fold(text: &str, ignore_case: bool) -> String {
    match ignore_case {
        true => text.to_ascii_lowercase(),
        false => text.to_owned(),
    }
}

/// Whether no text is matched by both.
pub(in crate::vet) fn excludes(a: &StringMatcher, b: &StringMatcher) -> bool {
    use StringPattern::{Exact, Prefix, Suffix};
    let either_folds = a.ignore_case || b.ignore_case;
    let folded = |text: &str| fold(text, either_folds);
    match (&a.pattern, &b.pattern) {
        (Exact(text), _) if !a.ignore_case => !b.matches(text.as_bytes()),
        (_, Exact(text)) if !b.ignore_case => !a.matches(text.as_bytes()),
        (Exact(a), Exact(b)) => folded(a) != folded(b),
        (Exact(exact), Prefix(start)) | (Prefix(start), Exact(exact)) => {
            !folded(exact).starts_with(&folded(start))
        }
        (Exact(exact), Suffix(end)) | (Suffix(end), Exact(exact)) => {
            !folded(exact).ends_with(&folded(end))
        }
        (Prefix(a), Prefix(b)) => {
            let (a, b) = (folded(a), folded(b));
            !a.starts_with(&b) && !b.starts_with(&a)
        }
        (Suffix(a), Suffix(b)) => {
            let (a, b) = (folded(a), folded(b));
            !a.ends_with(&b) && !b.ends_with(&a)
        }
        _ => false,
    }
}

/// Whether every text matches.
pub(super) fn matches_all(matcher: &StringMatcher, plain: bool) -> bool {
    match &matcher.pattern {
        StringPattern::Prefix(part)
        | StringPattern::Suffix(part)
        | StringPattern::Contains(part) => part.is_empty(),
        StringPattern::Regex(regex) => plain && regex.as_str() == ".*",
        StringPattern::Exact(_) => false,
    }
}

/// Whether every text but the empty one matches, apart from texts with line feeds.
pub(super) fn is_non_empty(matcher: &StringMatcher) -> bool {
    *matcher == StringMatcher::non_empty()
}

/// Whether a regex is a mere sequence, so that its first and its last part hold for all it matches.
fn is_flat(regex: &str) -> bool {
    !regex.contains(['|', '(', '[', '\\'])
        || regex.contains('\\') && !regex.replace("\\.", "").contains(['|', '(', '[', '\\'])
}

/// Whether a pattern takes this text.
pub(in crate::vet) fn pattern_matches(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(end), _) => text.ends_with(end),
        (None, Some(start)) => text.starts_with(start),
        (None, None) => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher() -> impl Strategy<Value = StringMatcher> {
        let text = "[aB/.]{0,3}";
        prop_oneof![
            text.prop_map(StringMatcher::exact),
            text.prop_map(StringMatcher::prefix),
            text.prop_map(StringMatcher::suffix),
            text.prop_map(StringMatcher::contains),
            text.prop_map(|text| StringMatcher::exact(text).ignoring_case()),
            text.prop_map(|text| StringMatcher::prefix(text).ignoring_case()),
            proptest::sample::select(
                &[
                    ".+", ".*", ".*/a/.*", "a.*", ".*a", "a|B.*", ".*\\..*", "/(a|)B.*"
                ][..]
            )
            .prop_map(|regex| StringMatcher::regex(regex).unwrap()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_said_of_two_patterns_holds_for_every_text(
            a in matcher(),
            b in matcher(),
            text in "[aAbB/.]{0,5}",
        ) {
            let (in_a, in_b) = (a.matches(text.as_bytes()), b.matches(text.as_bytes()));
            prop_assert!(!includes(&a, &b, true) || !in_a || in_b, "{a:?} {b:?} {text:?}");
            prop_assert!(!excludes(&a, &b) || !in_a || !in_b, "{a:?} {b:?} {text:?}");
            prop_assert!(!matches_all(&a, true) || in_a);
        }

        #[test]
        fn a_text_may_hold_line_feeds(a in matcher(), b in matcher(), text in "[aB/\\n]{0,4}") {
            let (in_a, in_b) = (a.matches(text.as_bytes()), b.matches(text.as_bytes()));
            prop_assert!(!includes(&a, &b, false) || !in_a || in_b, "{a:?} {b:?} {text:?}");
        }
    }
}
