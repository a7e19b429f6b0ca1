//! The tree that the interpreter runs: attributes are read from slots.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    MapEntryExpr, MapExpr, SelectExpr, operators,
};

use super::evaluate::interpret::{Interpreted, Slot};
use super::pattern::Pattern;
use super::syntax::parse::MATCHES;
use super::syntax::times;
use super::syntax::vocabulary::{Named, Vocabulary};

/// A checked tree for the interpreter.
pub(super) fn rewrite<V: Vocabulary>(expr: &IdedExpr) -> Interpreted<V::Attribute> {
    let mut rewrite = Rewrite::<V> {
        slots: Vec::new(),
        patterns: Vec::new(),
        weight: 1,
    };
    let tree = rewrite.expr(expr);
    Interpreted {
        tree,
        slots: rewrite.slots.into(),
        patterns: rewrite.patterns.into(),
    }
}

/// A pattern that is a literal.
pub(super) fn compiled(pattern: &IdedExpr) -> Option<Pattern> {
    let Expr::Literal(LiteralValue::String(pattern)) = &pattern.expr else {
        return None;
    };
    Pattern::new(pattern.inner()).ok()
}

/// Makes a copy of a tree that reads attributes from slots.
struct Rewrite<V: Vocabulary> {
    slots: Vec<Slot<V::Attribute>>,
    patterns: Vec<Pattern>,
    weight: usize,
}

impl<V: Vocabulary> Rewrite<V> {
    fn expr(&mut self, expr: &IdedExpr) -> IdedExpr {
        if let Named::Attribute(attribute) = V::named(expr) {
            return self.slot(expr.id, attribute, false);
        }
        let copy = match &expr.expr {
            Expr::Select(select) => {
                if select.test {
                    match V::named_member(&select.operand, &select.field) {
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

    fn slot(&mut self, id: u64, attribute: V::Attribute, is_test: bool) -> IdedExpr {
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

    /// Calls that do not stay as they are: patterns, times, and tests for a header.
    fn special(&mut self, id: u64, call: &CallExpr) -> Option<IdedExpr> {
        let mut operands = call.target.as_deref().into_iter().chain(&call.args);
        let (first, second) = (operands.next()?, operands.next());
        match call.func_name.as_str() {
            "duration" if V::HAS_TIMES => number(id, times::duration(first).ok()?),
            "timestamp" if V::HAS_TIMES => number(id, times::timestamp(first).ok()?),
            operators::IN => match (&first.expr, V::named(second?)) {
                (Expr::Literal(LiteralValue::String(header)), Named::Headers) => {
                    let second = second?;
                    let Named::Attribute(header) = V::named_member(second, header.inner()) else {
                        return None;
                    };
                    Some(self.slot(id, header, true))
                }
                _ => None,
            },
            "matches" => {
                let second = second?;
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

/// A time is a number of nanoseconds.
fn number(id: u64, nanos: i64) -> Option<IdedExpr> {
    let expr = Expr::Literal(LiteralValue::Int(nanos.into()));
    Some(IdedExpr { id, expr })
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
