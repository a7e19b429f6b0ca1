//! From the syntax tree to what evaluates it.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::attribute::Attribute;
use super::evaluate::node::{Comparison, Node, Operand, Part};
use super::evaluate::value::Literal;
use super::rewrite::{compiled, rewrite};
use super::syntax::names::{self, Rules};
use super::syntax::vocabulary::Named;

/// The condition of a checked tree. What has no lowered form is interpreted.
pub(super) fn lower(expr: &IdedExpr) -> Node {
    node(expr).unwrap_or_else(|| interpret(expr))
}

/// The same condition without lowering.
pub(super) fn interpret(expr: &IdedExpr) -> Node {
    Node::Interpreted(rewrite::<Rules>(expr))
}

fn node(expr: &IdedExpr) -> Option<Node> {
    match &expr.expr {
        Expr::Select(select) if select.test => {
            present(names::named_member(&select.operand, &select.field))
        }
        Expr::Call(call) => match &call.target {
            Some(target) => method(target, call),
            None => function(expr, call),
        },
        Expr::Literal(LiteralValue::Boolean(value)) => Some(Node::Constant(*value.inner())),
        _ => operand(expr).map(Node::Truth),
    }
}

fn present(named: Named<Attribute>) -> Option<Node> {
    match named {
        Named::Attribute(attribute) => Some(Node::Present(attribute)),
        // `has(request.headers)`: every request has some.
        Named::Headers => Some(Node::Constant(true)),
        Named::Wrong(_) | Named::Other => None,
    }
}

fn function(expr: &IdedExpr, call: &CallExpr) -> Option<Node> {
    let name = call.func_name.as_str();
    match (name, call.args.as_slice()) {
        (operators::LOGICAL_AND, _) => Some(Node::And(terms(expr, name))),
        (operators::LOGICAL_OR, _) => Some(Node::Or(terms(expr, name))),
        (operators::LOGICAL_NOT, [inner]) => Some(Node::Not(lower(inner).into())),
        (operators::CONDITIONAL, [condition, yes, no]) => {
            let parts = [lower(condition), lower(yes), lower(no)];
            Some(Node::Conditional(parts.into()))
        }
        (operators::IN, [member, of]) => {
            if let (Some(member), Expr::List(list)) = (operand(member), &of.expr) {
                let literals = list.elements.iter().map(literal);
                return Some(Node::OneOf(member, literals.collect::<Option<_>>()?));
            }
            if let (Expr::Literal(LiteralValue::String(header)), Named::Headers) =
                (&member.expr, names::named(of))
            {
                return present(names::named_member(of, header.inner()));
            }
            Some(Node::In(operand(member)?, operand(of)?))
        }
        ("matches", [text, pattern]) => matches(text, pattern),
        (_, [left, right]) => match comparison(name) {
            Some(comparison) => Some(Node::Compare(operand(left)?, comparison, operand(right)?)),
            None => operand(expr).map(Node::Truth),
        },
        _ => operand(expr).map(Node::Truth),
    }
}

fn method(target: &IdedExpr, call: &CallExpr) -> Option<Node> {
    let [argument] = call.args.as_slice() else {
        return None;
    };
    let part = match call.func_name.as_str() {
        "startsWith" => Part::Start,
        "endsWith" => Part::End,
        "contains" => Part::Inside,
        "matches" => return matches(target, argument),
        _ => return None,
    };
    Some(Node::Part(operand(target)?, part, operand(argument)?))
}

fn matches(text: &IdedExpr, pattern: &IdedExpr) -> Option<Node> {
    Some(Node::Matches(operand(text)?, compiled(pattern)?))
}

fn comparison(operator: &str) -> Option<Comparison> {
    Some(match operator {
        operators::EQUALS => Comparison::Equal,
        operators::NOT_EQUALS => Comparison::NotEqual,
        operators::LESS => Comparison::Less,
        operators::LESS_EQUALS => Comparison::LessOrEqual,
        operators::GREATER => Comparison::Greater,
        operators::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// The terms of a chain of one operator, which the parser has made a tree.
fn terms(expr: &IdedExpr, operator: &str) -> Box<[Node]> {
    let mut terms = Vec::new();
    let mut rest = vec![expr];
    while let Some(next) = rest.pop() {
        match &next.expr {
            Expr::Call(call) if call.func_name == operator && call.target.is_none() => {
                rest.extend(call.args.iter().rev());
            }
            _ => terms.push(lower(next)),
        }
    }
    terms.into()
}

fn operand(expr: &IdedExpr) -> Option<Operand> {
    if let Named::Attribute(attribute) = names::named(expr) {
        return Some(Operand::Attribute(attribute));
    }
    if let Expr::Call(call) = &expr.expr
        && call.func_name == "size"
    {
        let of = call.target.as_deref().or_else(|| call.args.first())?;
        return Some(Operand::Size(operand(of)?.into()));
    }
    literal(expr).map(Operand::Literal)
}

fn literal(expr: &IdedExpr) -> Option<Literal> {
    let Expr::Literal(literal) = &expr.expr else {
        return None;
    };
    Some(match literal {
        LiteralValue::Boolean(value) => Literal::Bool(*value.inner()),
        LiteralValue::Double(value) => Literal::Double(*value.inner()),
        LiteralValue::Int(value) => Literal::Int(*value.inner()),
        LiteralValue::UInt(value) => Literal::UInt(*value.inner()),
        LiteralValue::Null => Literal::Null,
        LiteralValue::String(text) => Literal::Text(text.inner().into()),
        LiteralValue::Bytes(_) => return None,
    })
}
