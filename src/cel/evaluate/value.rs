//! The values of lowered expressions, with CEL's equality and order.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value as Json};

/// A value, borrowed from the rule or from the request.
#[derive(Clone, Copy, Debug)]
pub(in crate::cel) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(&'a str),
    List(&'a [Json]),
    Map(&'a Map<String, Json>),
}

impl<'a> Value<'a> {
    /// A claim. A whole number is an `int`, or a `uint` if it is too large for that.
    pub(in crate::cel) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::of_number(number),
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items),
            Json::Object(members) => Self::Map(members),
        }
    }

    fn of_number(number: &Number) -> Self {
        if let Some(value) = number.as_i64() {
            return Self::Int(value);
        }
        if let Some(value) = number.as_u64() {
            return Self::UInt(value);
        }
        Self::Double(number.as_f64().unwrap_or(f64::NAN))
    }

    /// What CEL calls the type.
    pub(in crate::cel) fn type_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// CEL's `==`: numbers by value, texts byte by byte. Values of different types differ.
    pub(in crate::cel) fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len()
                    && left
                        .iter()
                        .zip(right)
                        .all(|(left, right)| Self::of_json(left).equals(Self::of_json(right)))
            }
            (Self::Map(left), Self::Map(right)) => {
                left.len() == right.len()
                    && left.iter().all(|(key, left)| {
                        right
                            .get(key)
                            .is_some_and(|right| Self::of_json(left).equals(Self::of_json(right)))
                    })
            }
            _ => self.compare(other) == Some(Ordering::Equal),
        }
    }

    /// CEL's order; `None` if the types have none.
    pub(in crate::cel) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(&right)),
            (Self::Text(left), Self::Text(right)) => Some(left.cmp(right)),
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (Self::UInt(left), Self::UInt(right)) => Some(left.cmp(&right)),
            (Self::Int(left), Self::UInt(right)) => Some(i128::from(left).cmp(&i128::from(right))),
            (Self::UInt(left), Self::Int(right)) => Some(i128::from(left).cmp(&i128::from(right))),
            (left, right) => left.as_double()?.partial_cmp(&right.as_double()?),
        }
    }

    /// A number, rounded as CEL does to compare it with a `double`.
    #[allow(
        clippy::cast_precision_loss,
        reason = "CEL compares an integer with a double as doubles"
    )]
    fn as_double(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::UInt(value) => Some(value as f64),
            Self::Double(value) => Some(value),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// A literal of the rule.
#[derive(Clone, Debug)]
pub(in crate::cel) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Box<str>),
}

impl Literal {
    pub(in crate::cel) fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::UInt(value) => Value::UInt(*value),
            Self::Double(value) => Value::Double(*value),
            Self::Text(text) => Value::Text(text),
        }
    }
}
