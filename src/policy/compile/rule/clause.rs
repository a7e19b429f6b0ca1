use std::sync::Arc;

use super::super::compiler::{Compiler, FieldPlace};
use crate::istio::{Position, Text};
use crate::policy::ir::{Permission, Principal};

/// What permissions and principals have in common.
pub(in crate::policy::compile) trait Node: Clone {
    fn any() -> Self;
    fn and(nodes: Vec<Self>) -> Self;
    fn or(nodes: Vec<Self>) -> Self;
    fn not(node: Self) -> Self;

    /// Matches nothing.
    fn never() -> Self {
        Self::not(Self::any())
    }
}

macro_rules! node {
    ($($tree:ty),*) => {$(
        impl Node for $tree {
            fn any() -> Self {
                Self::Any
            }

            fn and(nodes: Vec<Self>) -> Self {
                Self::And(nodes)
            }

            fn or(nodes: Vec<Self>) -> Self {
                Self::Or(nodes)
            }

            fn not(node: Self) -> Self {
                Self::Not(Box::new(node))
            }
        }
    )*};
}

node!(Permission, Principal);

/// One field or condition of a rule: tests that must all hold.
#[derive(Clone)]
pub(in crate::policy::compile) struct Clause<N> {
    /// Raw TCP knows nothing of it.
    pub(in crate::policy::compile) http_only: bool,
    /// The test of the positive list, the negated one of the negative list, as far as they are
    /// written.
    pub(in crate::policy::compile) tests: Vec<N>,
    /// Where each test was written: its first value, its field. Empty for legacy resources.
    pub(in crate::policy::compile) written: Vec<(Position, Arc<str>)>,
}

impl<N: Node> Clause<N> {
    /// The clause of one list of a legacy resource; `None` where the list is empty.
    pub(in crate::policy::compile) fn legacy(
        http_only: bool,
        test: Option<N>,
        negated: bool,
    ) -> Option<Self> {
        let test = test?;
        Some(Self {
            http_only,
            tests: vec![if negated { N::not(test) } else { test }],
            written: Vec::new(),
        })
    }
}

/// The name of a list's negative counterpart (`notPaths` for `paths`), where that has values.
pub(in crate::policy::compile) fn not_name(name: &str, not_values: &[Text]) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) if !not_values.is_empty() => {
            format!("not{}{}", first.to_ascii_uppercase(), letters.as_str())
        }
        _ => String::new(),
    }
}

/// What a clause asks for.
pub(super) trait Key {
    /// Where its tests were written.
    type Node: Node;

    /// Whether raw TCP knows nothing of it.
    fn is_http_only(&self) -> bool;

    /// Holds when one of the values does; `None` when there are no values.
    fn test(
        &self,
        compiler: &mut Compiler<'_>,
        values: &[Text],
        place: FieldPlace<'_>,
    ) -> Option<Self::Node>;
}

/// A positive and a negative list of one key; `None` when neither is written.
pub(super) fn clause<K: Key>(
    compiler: &mut Compiler<'_>,
    key: &K,
    values: &[Text],
    place: FieldPlace<'_>,
    not_values: &[Text],
    not_place: FieldPlace<'_>,
) -> Option<Clause<K::Node>> {
    let (mut tests, mut written) = (Vec::new(), Vec::new());
    for (values, place, negated) in [(values, place, false), (not_values, not_place, true)] {
        let (Some(test), Some(first)) = (key.test(compiler, values, place), values.first()) else {
            continue;
        };
        tests.push(if negated { K::Node::not(test) } else { test });
        written.push((first.at().clone(), compiler.field(place)));
    }
    (!tests.is_empty()).then(|| Clause {
        http_only: key.is_http_only(),
        tests,
        written,
    })
}

/// `and` over the tests; an empty one matches anything.
pub(in crate::policy::compile) fn all_of<N: Node>(mut tests: Vec<N>) -> N {
    if tests.is_empty() {
        tests.push(N::any());
    }
    N::and(tests)
}

/// `or` over a list's values; `None` when there are none. A value that does not compile is recorded
/// and left out.
pub(in crate::policy::compile) fn one_of<N: Node>(
    compiler: &mut Compiler<'_>,
    values: &[Text],
    place: FieldPlace<'_>,
    each: impl Fn(&mut Compiler<'_>, &str) -> Result<N, String>,
) -> Option<N> {
    some_of(compiler, values, place, |compiler, value, nodes| {
        nodes.push(each(compiler, value)?);
        Ok(())
    })
}

/// As [`one_of`], for values of which each can make several alternatives or none.
pub(in crate::policy::compile) fn some_of<N: Node>(
    compiler: &mut Compiler<'_>,
    values: &[Text],
    place: FieldPlace<'_>,
    each: impl Fn(&mut Compiler<'_>, &str, &mut Vec<N>) -> Result<(), String>,
) -> Option<N> {
    let mut nodes = Vec::with_capacity(values.len());
    for (index, value) in values.iter().enumerate() {
        if let Err(message) = each(compiler, value, &mut nodes) {
            compiler.refuse(value.at(), place.value(index), message);
        }
    }
    (!nodes.is_empty()).then(|| N::or(nodes))
}
