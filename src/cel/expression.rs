use std::fmt;
use std::sync::Arc;

use cel::common::ast::IdedExpr;

use super::error::{CelError, EvaluationError};
use super::evaluate::fault::Fault;
use super::evaluate::node::Node;
use super::lower;
use super::syntax::check::check;
use super::syntax::names::Rules;
use super::syntax::parse::Parsed;
use crate::policy::Attributes;

/// A compiled rule. Clones share it.
///
/// # Example
/// ```
/// use tower_mesh::cel::Expression;
/// use tower_mesh::policy::Request;
///
/// let rule = Expression::compile("request.method == 'GET' && source.namespace in ['web', 'ops']")?;
/// let request = Request::new().get("/charts").from("cluster.local/ns/web/sa/portal");
/// assert_eq!(rule.evaluate(&request), Ok(true));
/// // In plaintext there is no `source.namespace`: the rule has no answer, and the request is denied.
/// assert!(rule.evaluate(&Request::new().get("/charts")).is_err());
/// # Ok::<(), tower_mesh::cel::CelError>(())
/// ```
#[derive(Clone)]
pub struct Expression(Arc<Compiled>);

struct Compiled {
    text: Box<str>,
    root: Node,
    is_interpreted: bool,
    reads_claims: bool,
}

impl Expression {
    /// Compiles a rule.
    ///
    /// # Errors
    /// The first mistake and its place in the text: a syntax error, an unknown attribute or
    /// function, types that no request makes right, a result that is no condition, a pattern that
    /// is no regular expression, nested macros, or a rule that is too long or too deep.
    pub fn compile(text: &str) -> Result<Self, CelError> {
        Self::compile_with(text, lower::lower)
    }

    /// As [`compile`](Self::compile), with every rule interpreted.
    #[cfg(test)]
    pub(super) fn compile_interpreted(text: &str) -> Result<Self, CelError> {
        Self::compile_with(text, lower::interpret)
    }

    fn compile_with(text: &str, lower: impl Fn(&IdedExpr) -> Node) -> Result<Self, CelError> {
        let parsed = Parsed::new(text)?;
        check::<Rules>(&parsed)?;
        let root = lower(&parsed.root);
        let (mut is_interpreted, mut reads_claims) = (false, false);
        root.visit(&mut |node| {
            is_interpreted |= matches!(node, Node::Interpreted(_));
            node.attributes(&mut |attribute| reads_claims |= attribute.is_claim());
        });
        Ok(Self(Arc::new(Compiled {
            text: text.into(),
            root,
            is_interpreted,
            reads_claims,
        })))
    }

    /// Whether the rule holds for a request. The claims are those of
    /// [`Attributes::claims`].
    ///
    /// A rule that is not [interpreted](Self::is_interpreted) allocates nothing, except for several
    /// lines of one header that are longer than 256 bytes together and for principals of more than
    /// 128 bytes.
    ///
    /// # Errors
    /// When the rule has no answer, for instance because it reads a header that the request does
    /// not have. The caller must deny.
    pub fn evaluate(&self, request: &dyn Attributes) -> Result<bool, EvaluationError> {
        self.0.root.evaluate(request).map_err(Fault::into_error)
    }

    /// The answer of a rule that constants alone decide, such as `request.path == '/' || true`;
    /// `None` for every other rule. Only constants are folded: a rule that is always true for
    /// another reason, such as `x || !x`, is not found.
    #[must_use]
    pub fn constant(&self) -> Option<bool> {
        self.0.root.constant()
    }

    /// The rule as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// Whether a part of the rule needs the interpreter.
    #[must_use]
    pub fn is_interpreted(&self) -> bool {
        self.0.is_interpreted
    }

    /// Whether the rule reads claims, so that it needs a verified token.
    #[must_use]
    pub fn reads_claims(&self) -> bool {
        self.0.reads_claims
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expression({})", self.as_str())
    }
}

/// Two rules are equal if their texts are.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Expression {}
