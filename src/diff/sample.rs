//! Texts that a matcher accepts, and near misses that it should not.

use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

use crate::matcher::{PathTemplate, StringMatcher, StringPattern};

/// More alternatives of one regex are not followed.
const MOST: usize = 8;

/// Texts that match come first, then neighbours: a byte more, a byte less, the other case.
pub(super) fn texts(matcher: &StringMatcher) -> Vec<String> {
    let mut texts = Vec::new();
    match &matcher.pattern {
        StringPattern::Exact(text) => {
            texts.push(text.clone());
            texts.extend([format!("{text}x"), format!("x{text}"), without_last(text)]);
            texts.push(other_case(text));
        }
        StringPattern::Prefix(text) => {
            texts.extend([format!("{text}x"), text.clone()]);
            texts.extend([without_last(text), format!("{}x", other_case(text))]);
            texts.push(format!("x{text}"));
        }
        StringPattern::Suffix(text) => {
            texts.extend([format!("x{text}"), text.clone()]);
            texts.extend([without_first(text), format!("x{}", other_case(text))]);
            texts.push(format!("{text}x"));
        }
        StringPattern::Contains(text) => {
            texts.extend([format!("x{text}x"), text.clone()]);
            texts.extend([without_last(text), other_case(text)]);
        }
        StringPattern::Regex(regex) => {
            for text in of_regex(regex.as_str()) {
                texts.extend([without_last(&text), format!("{text}x")]);
                texts.push(text);
            }
            // What matches, first.
            texts.sort_by_key(|text| !matcher.matches(text.as_bytes()));
        }
    }
    texts
}

/// Paths that match a template, and near misses.
pub(super) fn paths(template: &PathTemplate) -> Vec<String> {
    let text = template.as_str();
    let filled = |one: &str, any: &str| text.replace("{**}", any).replace("{*}", one);
    let fitting = filled("x", "x");
    vec![
        fitting.clone(),
        filled("x", "x/y"),
        filled("x", ""),
        filled("y", "y/z/x"),
        filled("", "x"),
        filled("x/y", "x"),
        // An operator takes a few characters less than `*` does, among them the bracket.
        filled("[", "["),
        format!("{fitting}/"),
        format!("{fitting}/x"),
        without_last(&fitting),
        // `{**}` takes whatever follows the slash before it, but not the slash away.
        without_last(&filled("x", "")),
    ]
}

fn without_last(text: &str) -> String {
    let mut text = text.to_owned();
    text.pop();
    text
}

fn without_first(text: &str) -> String {
    text.chars().skip(1).collect()
}

/// The text with its first letter in the other case.
fn other_case(text: &str) -> String {
    let mut turned = false;
    let turn = |c: char| {
        if turned || !c.is_ascii_alphabetic() {
            return c;
        }
        turned = true;
        match c.is_ascii_lowercase() {
            true => c.to_ascii_uppercase(),
            false => c.to_ascii_lowercase(),
        }
    };
    text.chars().map(turn).collect()
}

fn of_regex(pattern: &str) -> Vec<String> {
    let mut parser = ParserBuilder::new().unicode(false).utf8(false).build();
    parser
        .parse(pattern)
        .map_or_else(|_| Vec::new(), |hir| of_hir(&hir))
}

fn of_hir(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => one_of(class).into_iter().map(String::from).collect(),
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Repetition(repetition) => {
            let inner = of_hir(&repetition.sub);
            let least = usize::try_from(repetition.min).unwrap_or(usize::MAX);
            let least = least.min(16);
            let usual = match repetition.max {
                Some(0) => 0,
                _ => least.max(1),
            };
            let mut texts: Vec<_> = inner.iter().map(|text| text.repeat(usual)).collect();
            if least < usual {
                texts.push(String::new());
            }
            texts
        }
        HirKind::Alternation(branches) => branches.iter().flat_map(of_hir).take(MOST).collect(),
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |texts, part| {
            let more = of_hir(part);
            let joined = texts
                .iter()
                .flat_map(|text| more.iter().map(move |more| format!("{text}{more}")));
            joined.take(MOST).collect()
        }),
    }
}

/// A plain character of a class, when it has one.
fn one_of(class: &Class) -> Option<char> {
    let takes = |wanted: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&wanted)),
        Class::Bytes(class) => class.ranges().iter().any(|range| {
            u8::try_from(wanted).is_ok_and(|byte| (range.start()..=range.end()).contains(&byte))
        }),
    };
    let plain = "xay1-_./".chars().find(|wanted| takes(*wanted));
    plain.or_else(|| (' '..='~').find(|wanted| takes(*wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_regex_of_the_compiler_is_met() {
        for pattern in [
            ".+",
            ".*",
            "spiffe://.*/sa/alice",
            ".*/ns/foo/.*",
            r"spiffe://.+/ns/foo/(.+/|)sa/a\.b(/.+)?",
            "spiffe://td[^/]*/.*",
            "a{3}|b+c?",
        ] {
            let matcher = StringMatcher::regex(pattern).unwrap();
            let found = texts(&matcher);
            assert!(matcher.matches(found[0].as_bytes()), "{pattern}: {found:?}");
        }
    }

    #[test]
    fn texts_lie_on_both_sides_of_a_matcher() {
        for matcher in [
            StringMatcher::exact("/a"),
            StringMatcher::prefix("/a"),
            StringMatcher::suffix(".txt"),
            StringMatcher::contains("b"),
            StringMatcher::exact("a").ignoring_case(),
            StringMatcher::regex("[ab]+").unwrap(),
        ] {
            let found = texts(&matcher);
            let matching = found.iter().filter(|text| matcher.matches(text.as_bytes()));
            let matching = matching.count();
            assert!(
                matching > 0 && matching < found.len(),
                "{matcher:?}: {found:?}"
            );
        }
    }

    #[test]
    fn paths_lie_on_both_sides_of_a_template() {
        for text in ["/a/{*}", "/a/{**}", "/{*}/b/{**}/c", "/a/{**}/"] {
            let template = PathTemplate::new(text).unwrap();
            let found = paths(&template);
            let matching = found
                .iter()
                .filter(|path| template.matches(path.as_bytes()));
            let matching = matching.count();
            assert!(matching > 0 && matching < found.len(), "{text}: {found:?}");
        }
    }
}
