//! From the syntax tree to what evaluates it.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, MapExpr, SelectExpr, operators,
};

use super::attribute::Attribute;
use super::evaluate::interpret::{Interpreted, Slot};
use super::evaluate::node::{Comparison, Node, Operand, Part};
use super::evaluate::value::Literal;
use super::pattern::Pattern;
use super::syntax::names::{self, Named};
use super::syntax::parse::MATCHES;

/// The condition of a checked tree. What has no lowered form is interpreted.
pub(super) fn lower(expr: &IdedExpr) -> Node {
    node(expr).unwrap_or_else(|| interpret(expr))
}

/// The same condition without lowering.
pub(super) fn interpret(expr: &IdedExpr) -> Node {
    let mut rewrite = Rewrite {
        slots: Vec::new(),
        patterns: Vec::new(),
        weight: 1,
    };
    let tree = rewrite.expr(expr);
    Node::Interpreted(Interpreted {
        tree,
        slots: rewrite.slots.into(),
        patterns: rewrite.patterns.into(),
    })
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

fn present(named: Named) -> Option<Node> {
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

fn compiled(pattern: &IdedExpr) -> Option<Pattern> {
    let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
        return None;
    };
    Pattern::new(pattern.inner()).ok()
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

/// Makes a copy of a tree that reads attributes from slots.
struct Rewrite {
    slots: Vec<Slot>,
    patterns: Vec<Pattern>,
    weight: usize,
}

impl Rewrite {
    fn expr(&mut self, expr: &IdedExpr) -> IdedExpr {
        if let Named::Attribute(attribute) = names::named(expr) {
            return self.slot(expr.id, attribute, false);
        }
        let copy = match &expr.expr {
            Expr::Select(select) => {
                if select.test {
                    match names::named_member(&select.operand, &select.field) {
                        Named::Attribute(attribute) => {
                            return self.slot(expr.id, attribute, true);
                        }
                        Named::Headers => return constant(expr.id),
                        Named::Wrong(_) | Named::Other => {}
                    }
                }
                Expr::Select(SelectExpr {
                    operand: self.expr(&select.operand).into(),
                    ..select.clone()
                })
            }
            Expr::Call(call) => match self.special(expr.id, call) {
                Some(special) => return special,
                None => Expr::Call(CallExpr {
                    func_name: call.func_name.clone(),
                    target: call.target.as_ref().map(|target| self.expr(target).into()),
                    args: call
                        .args
                        .iter()
                        .map(|argument| self.expr(argument))
                        .collect(),
                }),
            },
            Expr::List(list) => Expr::List(ListExpr::new(
                list.elements
                    .iter()
                    .map(|element| self.expr(element))
                    .collect(),
            )),
            Expr::Map(map) => Expr::Map(MapExpr {
                entries: map.entries.iter().map(|entry| self.entry(entry)).collect(),
            }),
            Expr::Comprehension(comprehension) => {
                Expr::Comprehension(self.comprehension(comprehension).into())
            }
            Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => {
                expr.expr.clone()
            }
        };
        IdedExpr {
            id: expr.id,
            expr: copy,
        }
    }

    fn slot(&mut self, id: u64, attribute: Attribute, is_test: bool) -> IdedExpr {
        let name = format!("@{}", self.slots.len());
        self.slots.push(Slot {
            attribute,
            is_test,
            weight: self.weight,
        });
        IdedExpr {
            id,
            expr: Expr::Ident(name),
        }
    }

    /// Calls that do not stay as they are: patterns, and tests for a header.
    fn special(&mut self, id: u64, call: &CallExpr) -> Option<IdedExpr> {
        let mut operands = call.target.as_deref().into_iter().chain(&call.args);
        let (first, second) = (operands.next()?, operands.next()?);
        match call.func_name.as_str() {
            operators::IN => match (&first.expr, names::named(second)) {
                (Expr::Literal(LiteralValue::String(header)), Named::Headers) => {
                    let Named::Attribute(header) = names::named_member(second, header.inner())
                    else {
                        return None;
                    };
                    Some(self.slot(id, header, true))
                }
                _ => None,
            },
            "matches" => {
                let pattern = compiled(second)?;
                let name = format!("@p{}", self.patterns.len());
                self.patterns.push(pattern);
                let pattern = IdedExpr {
                    id: second.id,
                    expr: Expr::Ident(name),
                };
                let call = CallExpr {
                    func_name: MATCHES.to_owned(),
                    target: None,
                    args: vec![self.expr(first), pattern],
                };
                Some(IdedExpr {
                    id,
                    expr: Expr::Call(call),
                })
            }
            _ => None,
        }
    }

    fn entry(&mut self, entry: &IdedEntryExpr) -> IdedEntryExpr {
        let copy = match &entry.expr {
            EntryExpr::MapEntry(of) => EntryExpr::MapEntry(MapEntryExpr {
                key: self.expr(&of.key),
                value: self.expr(&of.value),
                optional: of.optional,
            }),
            EntryExpr::StructField(_) => entry.expr.clone(),
        };
        IdedEntryExpr {
            id: entry.id,
            expr: copy,
        }
    }

    fn comprehension(&mut self, of: &ComprehensionExpr) -> ComprehensionExpr {
        self.weight = 1 + size(&of.loop_cond) + size(&of.loop_step);
        let iter_range = self.expr(&of.iter_range);
        self.weight = 1;
        ComprehensionExpr {
            iter_range,
            iter_var: of.iter_var.clone(),
            iter_var2: of.iter_var2.clone(),
            accu_var: of.accu_var.clone(),
            accu_init: self.expr(&of.accu_init),
            loop_cond: self.expr(&of.loop_cond),
            loop_step: self.expr(&of.loop_step),
            result: self.expr(&of.result),
        }
    }
}

fn constant(id: u64) -> IdedExpr {
    IdedExpr {
        id,
        expr: Expr::Literal(LiteralValue::Boolean(true.into())),
    }
}

/// The number of nodes of a tree.
fn size(expr: &IdedExpr) -> usize {
    let within: usize = match &expr.expr {
        Expr::Call(call) => {
            let operands = call.target.as_deref().into_iter().chain(&call.args);
            operands.map(size).sum()
        }
        Expr::Select(select) => size(&select.operand),
        Expr::List(list) => list.elements.iter().map(size).sum(),
        Expr::Map(map) => map
            .entries
            .iter()
            .map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => size(&entry.key) + size(&entry.value),
                EntryExpr::StructField(field) => size(&field.value),
            })
            .sum(),
        Expr::Comprehension(of) => {
            let parts = [
                &of.iter_range,
                &of.accu_init,
                &of.loop_cond,
                &of.loop_step,
                &of.result,
            ];
            parts.into_iter().map(size).sum()
        }
        Expr::Struct(of) => of.entries.len(),
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
    };
    1 + within
}
