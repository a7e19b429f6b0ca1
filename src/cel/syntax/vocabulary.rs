//! What the names in an expression mean, which differs with its use.

use std::fmt;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use crate::cel::attribute::Type;

/// The attributes that expressions of one use can read.
pub(in crate::cel) trait Vocabulary {
    /// An attribute.
    type Attribute: Clone + fmt::Debug;

    /// The first words of names.
    const ROOTS: &'static [&'static str];
    /// Whether there are points in time and durations.
    const HAS_TIMES: bool;

    /// What these words name.
    fn find(segments: &[&str]) -> Named<Self::Attribute>;

    /// The type of an attribute, as far as it is known before a request.
    fn value_type(attribute: &Self::Attribute) -> Type;

    /// Whether a name is the first word of attributes, so that a macro's variable may not have it.
    fn is_root(name: &str) -> bool {
        Self::ROOTS.contains(&name)
    }

    /// What an expression names, if it is a name from an attribute's root.
    fn named(expr: &IdedExpr) -> Named<Self::Attribute> {
        match segments(expr, Self::ROOTS) {
            Some(segments) => Self::find(&segments),
            None => Named::Other,
        }
    }

    /// What `has(operand.field)` or `'field' in operand` asks for.
    fn named_member(operand: &IdedExpr, field: &str) -> Named<Self::Attribute> {
        match segments(operand, Self::ROOTS) {
            Some(mut segments) => {
                segments.push(field);
                Self::find(&segments)
            }
            None => Named::Other,
        }
    }

    /// The message for a name that starts with no root.
    fn unknown_root(name: &str) -> String {
        let roots: Vec<_> = Self::ROOTS
            .iter()
            .map(|root| format!("`{root}.`"))
            .collect();
        format!(
            "`{name}` is no attribute; attributes start with {}",
            roots.join(", ")
        )
    }
}

/// What an expression names.
pub(in crate::cel) enum Named<A> {
    /// No name of an attribute: another expression.
    Other,
    /// The map of all headers, which has no value of its own here.
    Headers,
    Attribute(A),
    /// The start of a name, or a name that no attribute has. The text says what to write.
    Wrong(String),
}

/// The words of a name, if the first is a root: fields, and literal texts in brackets.
fn segments<'e>(expr: &'e IdedExpr, roots: &[&str]) -> Option<Vec<&'e str>> {
    let mut segments = Vec::new();
    let mut next = expr;
    loop {
        match &next.expr {
            Expr::Ident(name) if roots.contains(&name.as_str()) => {
                segments.push(name.as_str());
                segments.reverse();
                return Some(segments);
            }
            Expr::Select(select) if !select.test => {
                segments.push(&select.field);
                next = &select.operand;
            }
            Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
                let [operand, index] = call.args.as_slice() else {
                    return None;
                };
                let Expr::Literal(LiteralValue::String(key)) = &index.expr else {
                    return None;
                };
                segments.push(key.inner());
                next = operand;
            }
            _ => return None,
        }
    }
}

/// The message for a name that no attribute has; `names` are those of its root.
pub(in crate::cel) fn unknown<'n>(
    segments: &[&str],
    names: impl Iterator<Item = &'n str>,
) -> String {
    let root = segments.first().copied().unwrap_or_default();
    let names = names.collect::<Vec<_>>().join(", ");
    match segments {
        [_] => format!("`{root}` has no value of its own; name one of {names}"),
        _ => format!("no such attribute; `{root}` has {names}"),
    }
}

/// Whether a header can have this name.
pub(in crate::cel) fn is_token(name: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(good)
}
