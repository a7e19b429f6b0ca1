//! A lowered rule, and its evaluation without the interpreter.

use std::cmp::Ordering;

use super::fault::{Fault, Outcome};
use super::interpret::Interpreted;
use super::value::{Literal, Value};
use crate::cel::attribute::Attribute;
use crate::cel::pattern::Pattern;
use crate::policy::{Attributes, Request};

/// A condition.
#[derive(Debug)]
pub(in crate::cel) enum Node {
    Constant(bool),
    /// False if any is false, else a fault if any has one.
    And(Box<[Self]>),
    /// True if any is true, else a fault if any has one.
    Or(Box<[Self]>),
    Not(Box<Self>),
    /// Condition, then, else.
    Conditional(Box<[Self; 3]>),
    /// The value itself is the condition.
    Truth(Operand),
    Present(Attribute),
    Compare(Operand, Comparison, Operand),
    /// A text and a part of it.
    Part(Operand, Part, Operand),
    Matches(Operand, Pattern),
    /// A member and a list or map.
    In(Operand, Operand),
    /// A member and a list of literals.
    OneOf(Operand, Box<[Literal]>),
    Interpreted(Interpreted<Attribute>),
}

/// Something with a value.
#[derive(Debug)]
pub(in crate::cel) enum Operand {
    Literal(Literal),
    Attribute(Attribute),
    /// The number of characters of a text, or of members of a list or map.
    Size(Box<Self>),
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cel) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug)]
pub(in crate::cel) enum Part {
    Start,
    End,
    Inside,
}

impl Node {
    pub(in crate::cel) fn evaluate<'e>(&'e self, request: &dyn Attributes) -> Outcome<'e> {
        match self {
            Self::Constant(value) => Ok(*value),
            Self::And(terms) => decided(terms, false, request),
            Self::Or(terms) => decided(terms, true, request),
            Self::Not(inner) => inner.evaluate(request).map(|value| !value),
            Self::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let branch = if condition.evaluate(request)? {
                    yes
                } else {
                    no
                };
                branch.evaluate(request)
            }
            Self::Truth(operand) => operand.read(request, &mut |value| match value {
                Value::Bool(value) => Ok(value),
                other => Err(Fault::NotBool(other.type_name())),
            }),
            Self::Present(attribute) => attribute.is_present(request),
            Self::Compare(left, comparison, right) => left.read(request, &mut |left| {
                right.read(request, &mut |right| comparison.holds(left, right))
            }),
            Self::Part(text, part, of) => text.read(request, &mut |text| {
                of.read(request, &mut |of| part.holds(text, of))
            }),
            Self::Matches(text, pattern) => text.read(request, &mut |text| match text {
                Value::Text(text) => Ok(pattern.matches(text)),
                other => Err(Fault::Types("matches", other.type_name(), "string")),
            }),
            Self::In(member, of) => member.read(request, &mut |member| {
                of.read(request, &mut |of| is_in(member, of))
            }),
            Self::OneOf(member, list) => member.read(request, &mut |member| {
                Ok(list.iter().any(|each| each.value().equals(member)))
            }),
            Self::Interpreted(interpreted) => interpreted.evaluate(request).map_err(Fault::Other),
        }
    }

    /// The value that this condition has for every request, if constants alone decide it.
    pub(in crate::cel) fn constant(&self) -> Option<bool> {
        match self {
            Self::And(terms) => folded(terms, false),
            Self::Or(terms) => folded(terms, true),
            Self::Not(inner) => inner.constant().map(|value| !value),
            Self::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                let branch = if condition.constant()? { yes } else { no };
                branch.constant()
            }
            leaf => {
                let mut reads_request = false;
                leaf.attributes(&mut |_| reads_request = true);
                let value = || leaf.evaluate(&Request::new()).ok();
                if reads_request { None } else { value() }
            }
        }
    }

    /// Calls `visit` for this condition and all within it.
    pub(in crate::cel) fn visit<'n>(&'n self, visit: &mut dyn FnMut(&'n Self)) {
        visit(self);
        match self {
            Self::And(terms) | Self::Or(terms) => terms.iter().for_each(|term| term.visit(visit)),
            Self::Not(inner) => inner.visit(visit),
            Self::Conditional(parts) => parts.iter().for_each(|part| part.visit(visit)),
            Self::Constant(_)
            | Self::Truth(_)
            | Self::Present(_)
            | Self::Compare(..)
            | Self::Part(..)
            | Self::Matches(..)
            | Self::In(..)
            | Self::OneOf(..)
            | Self::Interpreted(_) => {}
        }
    }

    /// Calls `visit` for each attribute of this condition, but not of those within it.
    pub(in crate::cel) fn attributes<'n>(&'n self, visit: &mut dyn FnMut(&'n Attribute)) {
        match self {
            Self::Truth(operand) | Self::Matches(operand, _) | Self::OneOf(operand, _) => {
                operand.attribute().into_iter().for_each(visit);
            }
            Self::Compare(left, _, right) | Self::Part(left, _, right) | Self::In(left, right) => {
                let both = left.attribute().into_iter().chain(right.attribute());
                both.for_each(visit);
            }
            Self::Present(attribute) => visit(attribute),
            Self::Interpreted(interpreted) => interpreted.attributes().for_each(visit),
            Self::Constant(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::Conditional(_) => {}
        }
    }
}

/// CEL's `&&` and `||`: one term decides whatever the others do, faults included.
fn decided<'e>(terms: &'e [Node], decides: bool, request: &dyn Attributes) -> Outcome<'e> {
    let mut fault = None;
    for term in terms {
        match term.evaluate(request) {
            Ok(value) if value == decides => return Ok(decides),
            Ok(_) => {}
            Err(found) => fault = fault.or(Some(found)),
        }
    }
    fault.map_or(Ok(!decides), Err)
}

/// [`decided`], as far as the constants among the terms decide it.
fn folded(terms: &[Node], decides: bool) -> Option<bool> {
    let mut others = Some(!decides);
    for value in terms.iter().map(Node::constant) {
        if value == Some(decides) {
            return value;
        }
        others = others.and(value);
    }
    others
}

fn is_in<'e>(member: Value<'_>, of: Value<'_>) -> Outcome<'e> {
    match (member, of) {
        (member, Value::List(items)) => {
            Ok(items.iter().any(|item| Value::of_json(item).equals(member)))
        }
        (Value::Text(key), Value::Map(members)) => Ok(members.contains_key(key)),
        // Keys of claims are texts, and these values could be keys of another map.
        (Value::Bool(_) | Value::Int(_) | Value::UInt(_) | Value::Double(_), Value::Map(_)) => {
            Ok(false)
        }
        (member, of) => Err(Fault::Types("in", member.type_name(), of.type_name())),
    }
}

impl Operand {
    fn read<'e>(
        &'e self,
        request: &dyn Attributes,
        then: &mut dyn FnMut(Value<'_>) -> Outcome<'e>,
    ) -> Outcome<'e> {
        match self {
            Self::Literal(literal) => then(literal.value()),
            Self::Attribute(attribute) => attribute.read(request, then),
            Self::Size(of) => of.read(request, &mut |value| {
                let size = match value {
                    Value::Text(text) => text.chars().count(),
                    Value::List(items) => items.len(),
                    Value::Map(members) => members.len(),
                    other => return Err(Fault::Types("size", other.type_name(), "nothing")),
                };
                then(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
            }),
        }
    }

    fn attribute(&self) -> Option<&Attribute> {
        match self {
            Self::Literal(_) => None,
            Self::Attribute(attribute) => Some(attribute),
            Self::Size(of) => of.attribute(),
        }
    }
}

impl Comparison {
    fn holds<'e>(self, left: Value<'_>, right: Value<'_>) -> Outcome<'e> {
        let order = || {
            let order = left.compare(right);
            order.ok_or_else(|| Fault::Types(self.sign(), left.type_name(), right.type_name()))
        };
        match self {
            Self::Equal => Ok(left.equals(right)),
            Self::NotEqual => Ok(!left.equals(right)),
            Self::Less => Ok(order()? == Ordering::Less),
            Self::LessOrEqual => Ok(order()? != Ordering::Greater),
            Self::Greater => Ok(order()? == Ordering::Greater),
            Self::GreaterOrEqual => Ok(order()? != Ordering::Less),
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Part {
    fn holds<'e>(self, text: Value<'_>, part: Value<'_>) -> Outcome<'e> {
        let (Value::Text(text), Value::Text(part)) = (text, part) else {
            return Err(Fault::Types(
                self.function(),
                text.type_name(),
                part.type_name(),
            ));
        };
        Ok(match self {
            Self::Start => text.starts_with(part),
            Self::End => text.ends_with(part),
            Self::Inside => text.contains(part),
        })
    }

    fn function(self) -> &'static str {
        match self {
            Self::Start => "startsWith",
            Self::End => "endsWith",
            Self::Inside => "contains",
        }
    }
}
