use crate::cel::attribute::Attribute;
use crate::cel::error::EvaluationError;

/// What a step of an evaluation ends with.
pub(in crate::cel) type Outcome<'e> = Result<bool, Fault<'e>>;

/// Why a step has no value. It borrows the rule: a fault that `&&` or `||` absorbs costs nothing.
#[derive(Debug)]
pub(in crate::cel) enum Fault<'e> {
    Absent(&'e Attribute),
    NotText(&'e Attribute),
    /// An operator, and the types of its operands.
    Types(&'static str, &'static str, &'static str),
    /// A condition of this type.
    NotBool(&'static str),
    Other(EvaluationError),
}

impl Fault<'_> {
    pub(in crate::cel) fn into_error(self) -> EvaluationError {
        match self {
            Self::Absent(attribute) => EvaluationError::Absent(attribute.to_string()),
            Self::NotText(attribute) => EvaluationError::NotText(attribute.to_string()),
            Self::Types(operator, left, right) => EvaluationError::WrongType(format!(
                "`{operator}` does not take values of the types {left} and {right}"
            )),
            Self::NotBool(found) => {
                EvaluationError::WrongType(format!("a condition has the type {found}, not bool"))
            }
            Self::Other(error) => error,
        }
    }
}
