use std::fmt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use cel::common::types::{CelBool, CelDouble, CelInt, CelString, CelUInt};
use cel::common::value::Val;

use super::fact::{Fact, FactValue, Facts};
use super::names::Exchange;
use crate::cel::attribute::Type;
use crate::cel::error::{CelError, EvaluationError};
use crate::cel::evaluate::interpret::{Built, Interpreted, condition};
use crate::cel::rewrite::rewrite;
use crate::cel::syntax::check::check_type;
use crate::cel::syntax::parse::Parsed;

/// A condition on an exchange that has ended: `filter.expression` of Telemetry.
///
/// # Example
/// ```
/// use tower_mesh::cel::{Condition, Fact, FactValue, Facts};
///
/// struct Failed;
/// impl Facts for Failed {
///     fn fact(&self, fact: &Fact) -> Option<FactValue<'_>> {
///         (*fact == Fact::ResponseCode).then_some(503.into())
///     }
/// }
///
/// let condition = Condition::compile("response.code >= 400")?;
/// assert_eq!(condition.evaluate(&Failed), Ok(true));
/// // What is not there is an error.
/// let condition = Condition::compile("request.host == 'a'")?;
/// assert!(condition.evaluate(&Failed).is_err());
/// # Ok::<(), tower_mesh::cel::CelError>(())
/// ```
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

/// The value of a label: `tagOverrides.value` of Telemetry.
#[derive(Clone)]
pub struct TagValue(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    tree: Interpreted<Fact>,
    found: Type,
}

impl Compiled {
    fn new(text: &str) -> Result<(Self, Parsed<'_>), CelError> {
        let parsed = Parsed::new(text)?;
        let found = check_type::<Exchange>(&parsed)?;
        let compiled = Self {
            text: text.into(),
            tree: rewrite::<Exchange>(&parsed.root),
            found,
        };
        Ok((compiled, parsed))
    }

    fn run<R>(
        &self,
        facts: &dyn Facts,
        then: impl FnOnce(&dyn Val) -> Result<R, EvaluationError>,
    ) -> Result<R, EvaluationError> {
        let slots = self.tree.slots.iter().map(|slot| {
            let fact = facts.fact(&slot.attribute);
            if slot.is_test {
                return Built::costing(slot, Ok(Box::new(CelBool::from(fact.is_some()))), 1);
            }
            let (value, steps) = match fact {
                Some(value) => built(value),
                None => (Err(EvaluationError::Absent(slot.attribute.to_string())), 1),
            };
            Built::costing(slot, value, steps)
        });
        self.tree.run(slots.collect(), then)
    }
}

type Slot<'v> = Result<Box<dyn Val + 'v>, EvaluationError>;

fn built(value: FactValue<'_>) -> (Slot<'_>, usize) {
    match value {
        FactValue::Bool(value) => (Ok(Box::new(CelBool::from(value))), 1),
        FactValue::Int(value) => (Ok(Box::new(CelInt::from(value))), 1),
        FactValue::Duration(value) => (Ok(Box::new(CelInt::from(nanos(value)))), 1),
        FactValue::Time(value) => {
            let nanos = match value.duration_since(UNIX_EPOCH) {
                Ok(since) => nanos(since),
                Err(before) => -nanos(before.duration()),
            };
            (Ok(Box::new(CelInt::from(nanos))), 1)
        }
        FactValue::Text(text) => {
            let steps = 1 + text.len() / 64;
            (Ok(Box::new(CelString::from(text.into_owned()))), steps)
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// The first mistake and its place in the text, as for an
    /// [`Expression`](crate::cel::Expression).
    pub fn compile(text: &str) -> Result<Self, CelError> {
        let (compiled, parsed) = Compiled::new(text)?;
        match compiled.found {
            Type::Bool | Type::Any => Ok(Self(Arc::new(compiled))),
            _ => {
                let message = "a filter is true or false, and this is another value; compare it";
                Err(parsed.error(&parsed.root, message))
            }
        }
    }

    /// Whether it holds for an exchange.
    ///
    /// # Errors
    /// When it has no answer, for instance because it reads a header that is not there. Such an
    /// exchange is not logged.
    pub fn evaluate(&self, facts: &dyn Facts) -> Result<bool, EvaluationError> {
        self.0.run(facts, condition)
    }

    /// The facts that it reads.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.0.tree.attributes()
    }

    /// The condition as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

impl TagValue {
    /// Compiles a value.
    ///
    /// # Errors
    /// The first mistake and its place in the text, as for an
    /// [`Expression`](crate::cel::Expression). The value is a text, a number, a condition, a
    /// duration or a point in time.
    pub fn compile(text: &str) -> Result<Self, CelError> {
        let (compiled, parsed) = Compiled::new(text)?;
        match compiled.found {
            Type::Null | Type::Bytes | Type::List | Type::Map => {
                let message = "a tag is a text, a number or true or false, and this is neither";
                Err(parsed.error(&parsed.root, message))
            }
            _ => Ok(Self(Arc::new(compiled))),
        }
    }

    /// The value for an exchange.
    ///
    /// # Errors
    /// When it has none. The label is then `unknown`.
    pub fn evaluate(&self, facts: &dyn Facts) -> Result<String, EvaluationError> {
        let found = self.0.found;
        self.0.run(facts, |value| written(value, found))
    }

    /// The value, if it is the same for every exchange.
    #[must_use]
    pub fn constant(&self) -> Option<String> {
        struct Nothing;
        impl Facts for Nothing {
            fn fact(&self, _: &Fact) -> Option<FactValue<'_>> {
                None
            }
        }
        let reads = self.facts().next().is_some();
        (!reads).then(|| self.evaluate(&Nothing).ok()).flatten()
    }

    /// The facts that it reads.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.0.tree.attributes()
    }

    /// The expression as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }
}

/// A value as the text of a label.
fn written(value: &dyn Val, found: Type) -> Result<String, EvaluationError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(text.inner().to_owned());
    }
    if let Some(number) = value.downcast_ref::<CelInt>() {
        let number = *number.inner();
        return Ok(match found {
            Type::Duration => format!("{}s", number as f64 / 1e9),
            Type::Timestamp => (number.div_euclid(1_000_000_000)).to_string(),
            _ => number.to_string(),
        });
    }
    if let Some(value) = value.downcast_ref::<CelBool>() {
        return Ok(value.inner().to_string());
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Ok(number.inner().to_string());
    }
    if let Some(number) = value.downcast_ref::<CelDouble>() {
        return Ok(number.inner().to_string());
    }
    let found = value.get_type().name().to_owned();
    let message = format!("a tag has the type {found}, which is no text");
    Err(EvaluationError::WrongType(message))
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Condition({})", self.as_str())
    }
}

impl fmt::Debug for TagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TagValue({})", self.as_str())
    }
}
