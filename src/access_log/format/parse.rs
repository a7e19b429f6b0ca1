//! Reads a format: `%OPERATOR(ARGUMENT?OTHER):LENGTH%`, and text around it.

use super::error::FormatError;
use super::operator::Operator;

/// A part of a line.
#[derive(Clone, Debug)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Value {
        operator: Operator,
        /// The most bytes of the value.
        most: usize,
        /// Whether it is between quotation marks of the format.
        is_quoted: bool,
    },
}

/// The pieces of a format.
///
/// # Errors
/// The first mistake, with its place.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, FormatError> {
    if text.len() > LONGEST {
        let problem = format!("a format has at most {LONGEST} bytes");
        return Err(FormatError::new(LONGEST, problem));
    }
    if let Some(at) = text.find(char::is_control) {
        let problem = "a line break or control character, which would end the line or garble it";
        return Err(FormatError::new(at, problem));
    }
    let (mut pieces, mut literal) = (Vec::new(), Vec::new());
    let mut is_quoted = false;
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        literal.extend_from_slice(before.as_bytes());
        is_quoted ^= before.matches('"').count() % 2 == 1;
        if let Some(after) = after.strip_prefix('%') {
            literal.push(b'%');
            rest = after;
            continue;
        }
        let offset = text.len() - after.len() - 1;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
        }
        let (operator, most, after) =
            operator(after).map_err(|problem| FormatError::new(offset, problem))?;
        pieces.push(Piece::Value {
            operator,
            most,
            is_quoted,
        });
        rest = after;
    }
    literal.extend_from_slice(rest.as_bytes());
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal.into()));
    }
    if pieces.len() > MOST {
        let problem = format!("a format has at most {MOST} parts");
        return Err(FormatError::new(0, problem));
    }
    Ok(pieces)
}

/// The operator behind a `%`, the most bytes of its value, and the text after it.
fn operator(text: &str) -> Result<(Operator, usize, &str), String> {
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let end = text.find(|character| !is_name(character));
    let Some((name, mut rest)) = end.and_then(|end| text.split_at_checked(end)) else {
        return Err("an operator has no % at its end".to_owned());
    };
    if name.is_empty() {
        return Err("no operator follows this %: the sign itself is written %%".to_owned());
    }
    let mut argument = None;
    if let Some(after) = rest.strip_prefix('(') {
        let Some((inside, after)) = after.split_once(')') else {
            return Err(format!("the argument of %{name}(..)% has no ) at its end"));
        };
        argument = Some(inside);
        rest = after;
    }
    let mut most = MOST_OF_VALUE;
    if let Some(after) = rest.strip_prefix(':') {
        let end = after.find(|character: char| !character.is_ascii_digit());
        let Some((digits, after)) = end.and_then(|end| after.split_at_checked(end)) else {
            return Err(format!("%{name}% has no % at its end"));
        };
        let length: usize = digits
            .parse()
            .map_err(|_| format!("the length of %{name}:..% is a number"))?;
        most = length.min(MOST_OF_VALUE);
        rest = after;
    }
    let Some(after) = rest.strip_prefix('%') else {
        return Err(format!("%{name}% has no % at its end"));
    };
    Ok((Operator::parse(name, argument)?, most, after))
}

/// The most bytes of a format.
const LONGEST: usize = 16 * 1024;
/// The most parts of a format.
const MOST: usize = 256;
/// The most bytes of one value.
pub(super) const MOST_OF_VALUE: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_place() {
        for (format, expected) in [
            ("a %PROTOCOL", "at byte 2: an operator has no % at its end"),
            (
                "a % b",
                "at byte 2: no operator follows this %: the sign itself is written %%",
            ),
            ("100%", "at byte 3: an operator has no % at its end"),
            (
                "%%%REQ(X%",
                "at byte 2: the argument of %REQ(..)% has no ) at its end",
            ),
            (
                "%REQ(X):a%",
                "at byte 0: the length of %REQ:..% is a number",
            ),
            ("%REQ(X):9", "at byte 0: %REQ% has no % at its end"),
            ("%REQ(X) %", "at byte 0: %REQ% has no % at its end"),
            (
                "é %PROTOCL%",
                "at byte 3: %PROTOCL% is no operator here: did you mean %PROTOCOL%?",
            ),
            (
                "a\nb",
                "at byte 1: a line break or control character, which would end the line or garble it",
            ),
        ] {
            assert_eq!(pieces(format).unwrap_err().to_string(), expected);
        }
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(pieces(&long).unwrap_err().offset(), LONGEST);
        let many = "%DURATION%".repeat(MOST + 1);
        assert!(
            pieces(&many)
                .unwrap_err()
                .to_string()
                .contains("at most 256 parts")
        );
    }

    #[test]
    fn quotation_marks_of_the_format_are_known() {
        let quoted: Vec<_> = pieces(r#"%PROTOCOL% "%PROTOCOL% %%" %PROTOCOL%"#)
            .unwrap()
            .into_iter()
            .filter_map(|piece| match piece {
                Piece::Value { is_quoted, .. } => Some(is_quoted),
                Piece::Literal(_) => None,
            })
            .collect();
        assert_eq!(quoted, [false, true, false]);
    }
}
