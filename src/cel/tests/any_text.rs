//! Twin of the fuzz target `cel_rule`.

use proptest::prelude::*;

use super::{full, plain};
use crate::cel::Expression;
use crate::policy::Request;

const PIECES: &[&str] = &[
    "request.method",
    "request.headers",
    "['x-ward']",
    "auth.claims",
    ".groups",
    ".level",
    "has(",
    "size(",
    ".matches(",
    ".exists(g, ",
    ".map(g, ",
    "g",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "?",
    "!",
    "-",
    "+",
    "*",
    "/",
    "%",
    " == ",
    " != ",
    " < ",
    " in ",
    " && ",
    " || ",
    "'a'",
    "r'\\d'",
    "b'a'",
    "\"\"\"",
    "'",
    "\\",
    "1",
    "0x",
    "2u",
    "1e9",
    "true",
    "null",
    "ä",
    "\n",
    "//",
    ".",
    "`",
    "\0",
];

fn is_fine(text: &str) -> Result<(), TestCaseError> {
    let rule = match Expression::compile(text) {
        Ok(rule) => rule,
        Err(error) => {
            prop_assert!(text.is_char_boundary(error.offset()));
            prop_assert!(!error.message().is_empty());
            return Ok(());
        }
    };
    let interpreted = Expression::compile_interpreted(text).unwrap();
    for request in [full(), plain(), Request::tcp()] {
        let answer = rule.evaluate(&request);
        let same = interpreted.evaluate(&request);
        prop_assert_eq!(
            answer.as_ref().ok(),
            same.as_ref().ok(),
            "{}: {:?}, {:?}",
            text,
            answer,
            same
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_compile_or_are_refused(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..16),
    ) {
        is_fine(&pieces.concat())?;
    }

    #[test]
    fn any_change_of_a_rule_compiles_or_is_refused(
        at in any::<prop::sample::Index>(),
        length in 0..4_usize,
        piece in prop::sample::select(PIECES),
    ) {
        const RULE: &str = "request.method == 'GET' && (size(auth.claims.groups) > 1 + 1 || \
            auth.claims.groups.exists(g, g.matches('^a[b-c]') || g in ['a', 'b']))";
        let start = at.index(RULE.len());
        let end = (start + length).min(RULE.len());
        is_fine(&[&RULE[..start], piece, &RULE[end..]].concat())?;
    }

    #[test]
    fn any_text_compiles_or_is_refused(text in "\\PC{0,40}") {
        is_fine(&text)?;
    }
}
