//! Expressions that the crate `cel` interprets.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cel::common::ast::IdedExpr;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError};

use super::fault::Fault;
use super::value::Value;
use crate::cel::attribute::Attribute;
use crate::cel::error::EvaluationError;
use crate::cel::pattern::Pattern;
use crate::cel::syntax::parse::ENV;
use crate::policy::Attributes;

/// The most steps of an evaluation. A read of an attribute costs one, and one more for each value
/// and each 64 bytes in it, times the size of a macro's body if the macro runs over it.
const MOST_STEPS: usize = 50_000;
/// The deepest nesting of a claim that an interpreted rule reads.
const MOST_DEPTH: usize = 64;

/// A tree whose names of attributes are slots: `@0` is the value of the first.
#[derive(Debug)]
pub(in crate::cel) struct Interpreted<A> {
    pub(in crate::cel) tree: IdedExpr,
    pub(in crate::cel) slots: Box<[Slot<A>]>,
    /// `@p0` is the first.
    pub(in crate::cel) patterns: Box<[Pattern]>,
}

/// One place of a tree that reads an attribute.
#[derive(Clone, Debug)]
pub(in crate::cel) struct Slot<A> {
    pub(in crate::cel) attribute: A,
    /// Asks only whether the attribute is there.
    pub(in crate::cel) is_test: bool,
    /// How often each value in it may be visited.
    pub(in crate::cel) weight: usize,
}

impl<A> Interpreted<A> {
    pub(in crate::cel) fn attributes(&self) -> impl Iterator<Item = &A> {
        self.slots.iter().map(|slot| &slot.attribute)
    }

    /// Runs the tree over these values, one for each slot, and hands the result to `then`.
    pub(in crate::cel) fn run<R>(
        &self,
        values: Vec<Built<'_>>,
        then: impl FnOnce(&dyn Val) -> Result<R, EvaluationError>,
    ) -> Result<R, EvaluationError> {
        let scope = Scope {
            values,
            patterns: &self.patterns,
            steps: AtomicUsize::new(0),
        };
        let run = || {
            let mut context = Context::with_env(Arc::clone(&ENV));
            context.set_variable_resolver(&scope);
            let value = cel::Value::resolve_val(&self.tree, &context)?;
            Ok(then(&*value))
        };
        // The interpreter is foreign code: it must not end the request's task.
        let result = catch_unwind(AssertUnwindSafe(run));
        if scope.steps.load(Ordering::Relaxed) > MOST_STEPS {
            return Err(EvaluationError::TooMuchWork);
        }
        match result {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(scope.reason(&error)),
            Err(_) => Err(EvaluationError::Failed("the interpreter failed".to_owned())),
        }
    }
}

impl Interpreted<Attribute> {
    pub(in crate::cel) fn evaluate(
        &self,
        request: &dyn Attributes,
    ) -> Result<bool, EvaluationError> {
        let values = self.slots.iter();
        let values = values.map(|slot| Built::new(slot, request)).collect();
        self.run(values, condition)
    }
}

/// The result of a condition.
pub(in crate::cel) fn condition(value: &dyn Val) -> Result<bool, EvaluationError> {
    match value.downcast_ref::<CelBool>() {
        Some(value) => Ok(*value.inner()),
        None => {
            let found = value.get_type().name().to_owned();
            let message = format!("a condition has the type {found}, not bool");
            Err(EvaluationError::WrongType(message))
        }
    }
}

/// The values for one evaluation.
struct Scope<'v> {
    values: Vec<Built<'v>>,
    patterns: &'v [Pattern],
    steps: AtomicUsize,
}

/// The value of one slot.
pub(in crate::cel) struct Built<'v> {
    value: Result<Box<dyn Val + 'v>, EvaluationError>,
    steps: usize,
}

impl<'v> Built<'v> {
    fn new(slot: &'v Slot<Attribute>, request: &'v dyn Attributes) -> Self {
        let mut steps = 1;
        let value = build(slot, request, &mut steps);
        Self::costing(slot, value, steps)
    }

    /// A value that costs so many steps each time that it is visited.
    pub(in crate::cel) fn costing<A>(
        slot: &Slot<A>,
        value: Result<Box<dyn Val + 'v>, EvaluationError>,
        steps: usize,
    ) -> Self {
        let steps = steps.saturating_mul(slot.weight);
        Self { value, steps }
    }
}

fn build<'v>(
    slot: &'v Slot<Attribute>,
    request: &'v dyn Attributes,
    steps: &mut usize,
) -> Result<Box<dyn Val + 'v>, EvaluationError> {
    let attribute = &slot.attribute;
    if slot.is_test {
        let is_present = attribute.is_present(request).map_err(Fault::into_error)?;
        return Ok(Box::new(CelBool::from(is_present)));
    }
    if let Some(value) = attribute.held(request).map_err(Fault::into_error)? {
        return convert(value, steps, 0).ok_or(EvaluationError::TooMuchWork);
    }
    let mut text = String::new();
    let outcome = attribute.read(request, &mut |value| {
        if let Value::Text(value) = value {
            text.push_str(value);
        }
        Ok(true)
    });
    outcome.map_err(Fault::into_error)?;
    *steps += text.len() / 64;
    Ok(Box::new(CelString::from(text)))
}

/// The interpreter's form of a value; `None` if it is too large or too deep.
fn convert<'v>(value: Value<'v>, steps: &mut usize, depth: usize) -> Option<Box<dyn Val + 'v>> {
    *steps += 1;
    if *steps > MOST_STEPS || depth > MOST_DEPTH {
        return None;
    }
    Some(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(value)),
        Value::Int(value) => Box::new(CelInt::from(value)),
        Value::UInt(value) => Box::new(CelUInt::from(value)),
        Value::Double(value) => Box::new(CelDouble::from(value)),
        Value::Text(text) => {
            *steps += text.len() / 64;
            Box::new(CelString::from(text))
        }
        Value::List(items) => {
            let items = items.iter();
            let items = items.map(|item| convert(Value::of_json(item), steps, depth + 1));
            Box::new(CelList::from(items.collect::<Option<Vec<_>>>()?))
        }
        Value::Map(members) => {
            let members = members.iter().map(|(name, member)| {
                *steps += 1 + name.len() / 64;
                let key = CelMapKey::String(CelString::from(name.as_str()));
                Some((key, convert(Value::of_json(member), steps, depth + 1)?))
            });
            Box::new(CelMap::from(members.collect::<Option<HashMap<_, _>>>()?))
        }
    })
}

impl VariableResolver for Scope<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let slot = variable.strip_prefix('@')?;
        if let Some(pattern) = slot.strip_prefix('p') {
            return Some(CowVal::Borrowed(
                self.patterns.get(pattern.parse::<usize>().ok()?)?,
            ));
        }
        let built = self.values.get(slot.parse::<usize>().ok()?)?;
        let before = self.steps.fetch_add(built.steps, Ordering::Relaxed);
        if before.saturating_add(built.steps) > MOST_STEPS {
            return None;
        }
        let value = built.value.as_ref().ok()?;
        Some(CowVal::Borrowed(value.as_ref()))
    }
}

impl Scope<'_> {
    /// The interpreter's error in words that hold nothing from the request.
    fn reason(&self, error: &ExecutionError) -> EvaluationError {
        let failed = |what: &str| EvaluationError::Failed(what.to_owned());
        match error {
            ExecutionError::UndeclaredReference(name) => {
                let slot = name
                    .strip_prefix('@')
                    .and_then(|slot| slot.parse::<usize>().ok());
                let built = slot.and_then(|slot| self.values.get(slot));
                match built.map(|built| &built.value) {
                    Some(Err(error)) => error.clone(),
                    _ => failed("the rule names something that does not exist"),
                }
            }
            // It prints an operator and types.
            ExecutionError::NoSuchOverload(error) => EvaluationError::WrongType(error.to_string()),
            ExecutionError::NoSuchKey(_) => failed("a map has no such key"),
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
                failed("a division by zero")
            }
            ExecutionError::Overflow(..) => failed("a number is too large"),
            ExecutionError::IndexOutOfBounds(_) => failed("an index is past the end of a list"),
            _ => failed("a step of the rule does not take the value that it got"),
        }
    }
}
