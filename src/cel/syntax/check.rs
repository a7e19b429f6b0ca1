//! What is wrong with a rule before any request: unknown names, wrong types, bounds.

use std::marker::PhantomData;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::parse::Parsed;
use super::times;
use super::vocabulary::{Named, Vocabulary};
use crate::cel::attribute::Type;
use crate::cel::error::CelError;
use crate::cel::pattern::Pattern;

/// The most nodes of a syntax tree. A macro has some ten of its own.
const MOST_NODES: usize = 1024;
/// The most patterns of a rule.
const MOST_PATTERNS: usize = 16;

/// Refuses a rule that cannot work, or that is neither true nor false.
pub(in crate::cel) fn check<V: Vocabulary>(parsed: &Parsed<'_>) -> Result<(), CelError> {
    match check_type::<V>(parsed)? {
        Type::Bool | Type::Any => Ok(()),
        found => {
            let found = name(found);
            let message = format!("a rule is true or false, and this is a {found}; compare it");
            Err(parsed.error(&parsed.root, message))
        }
    }
}

/// Refuses an expression that cannot work. Returns the type of its value.
pub(in crate::cel) fn check_type<V: Vocabulary>(parsed: &Parsed<'_>) -> Result<Type, CelError> {
    let mut check = Check::<V> {
        parsed,
        nodes: 0,
        patterns: 0,
        variables: Vec::new(),
        is_in_macro: false,
        vocabulary: PhantomData,
    };
    check.expr(&parsed.root)
}

struct Check<'p, V> {
    parsed: &'p Parsed<'p>,
    nodes: usize,
    patterns: usize,
    /// The variables of the macro around the expression.
    variables: Vec<(&'p str, Type)>,
    is_in_macro: bool,
    vocabulary: PhantomData<V>,
}

impl<'p, V: Vocabulary> Check<'p, V> {
    fn expr(&mut self, expr: &'p IdedExpr) -> Result<Type, CelError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            let message =
                format!("a rule has at most {MOST_NODES} nodes; split it into several rules");
            return Err(self.parsed.error(expr, message));
        }
        match V::named(expr) {
            Named::Attribute(attribute) => return Ok(V::value_type(&attribute)),
            Named::Headers => return self.wrong(expr, HEADERS),
            Named::Wrong(message) => return self.wrong(expr, message),
            Named::Other => {}
        }
        match &expr.expr {
            Expr::Literal(literal) => Ok(literal_type(literal)),
            Expr::Ident(name) => self.variable(expr, name),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => match &call.target {
                Some(target) => self.method(expr, target, call),
                None => self.call(expr, call),
            },
            Expr::List(list) => {
                for element in &list.elements {
                    self.expr(element)?;
                }
                Ok(Type::List)
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    match &entry.expr {
                        EntryExpr::MapEntry(entry) => {
                            self.expr(&entry.key)?;
                            self.expr(&entry.value)?;
                        }
                        EntryExpr::StructField(_) => return self.wrong(expr, STRUCT),
                    }
                }
                Ok(Type::Map)
            }
            Expr::Comprehension(comprehension) => self.comprehension(expr, comprehension),
            Expr::Struct(_) => self.wrong(expr, STRUCT),
            Expr::Unspecified => self.wrong(expr, "not an expression"),
        }
    }

    fn wrong<T>(&self, expr: &IdedExpr, message: impl Into<String>) -> Result<T, CelError> {
        Err(self.parsed.error(expr, message))
    }

    fn variable(&self, expr: &IdedExpr, name: &str) -> Result<Type, CelError> {
        let mut variables = self.variables.iter().rev();
        match variables.find(|(variable, _)| *variable == name) {
            Some((_, found)) => Ok(*found),
            None => self.wrong(expr, V::unknown_root(name)),
        }
    }

    fn select(&mut self, expr: &IdedExpr, select: &'p SelectExpr) -> Result<Type, CelError> {
        if !select.test {
            self.operand(&select.operand, "a field", &[Type::Map])?;
            return Ok(Type::Any);
        }
        match V::named_member(&select.operand, &select.field) {
            Named::Attribute(_) | Named::Headers => {}
            Named::Wrong(message) => return self.wrong(expr, message),
            Named::Other => {
                self.operand(&select.operand, "has()", &[Type::Map])?;
            }
        }
        Ok(Type::Bool)
    }

    /// The type of an operand, which has to be one of these.
    fn operand(
        &mut self,
        expr: &'p IdedExpr,
        of: &str,
        allowed: &[Type],
    ) -> Result<Type, CelError> {
        let found = self.expr(expr)?;
        if found == Type::Any || allowed.contains(&found) {
            return Ok(found);
        }
        let allowed: Vec<_> = allowed.iter().map(|each| name(*each)).collect();
        let (found, allowed) = (name(found), allowed.join(" or a "));
        self.wrong(
            expr,
            format!("{of} needs a {allowed}, and this is a {found}"),
        )
    }

    fn call(&mut self, expr: &IdedExpr, call: &'p CallExpr) -> Result<Type, CelError> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [left, right]) => {
                let shown = if name == operators::LOGICAL_AND {
                    "`&&`"
                } else {
                    "`||`"
                };
                self.operand(left, shown, &[Type::Bool])?;
                self.operand(right, shown, &[Type::Bool])?;
                Ok(Type::Bool)
            }
            (operators::LOGICAL_NOT, [inner]) => {
                self.operand(inner, "`!`", &[Type::Bool])?;
                Ok(Type::Bool)
            }
            (operators::NOT_STRICTLY_FALSE, [inner]) => {
                self.expr(inner)?;
                Ok(Type::Bool)
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                self.operand(condition, "`? :`", &[Type::Bool])?;
                let (yes, no) = (self.expr(yes)?, self.expr(no)?);
                Ok(if yes == no { yes } else { Type::Any })
            }
            (operators::EQUALS | operators::NOT_EQUALS, [left, right]) => {
                let types = (self.expr(left)?, self.expr(right)?);
                self.comparable(expr, types)?;
                Ok(Type::Bool)
            }
            (
                operators::LESS
                | operators::LESS_EQUALS
                | operators::GREATER
                | operators::GREATER_EQUALS,
                [left, right],
            ) => {
                let left = self.operand(left, "an order", ORDERED)?;
                let right = self.operand(right, "an order", ORDERED)?;
                self.comparable(expr, (left, right))?;
                Ok(Type::Bool)
            }
            (operators::IN, [member, of]) => {
                if matches!(V::named(of), Named::Headers) {
                    return self.is_header(expr, member);
                }
                self.expr(member)?;
                self.operand(of, "`in`", &[Type::List, Type::Map])?;
                Ok(Type::Bool)
            }
            (operators::INDEX, [of, index]) => {
                self.operand(of, "an index", &[Type::List, Type::Map])?;
                self.operand(index, "`[ ]`", KEYS)?;
                Ok(Type::Any)
            }
            (operators::ADD, [left, right]) => self.arithmetic(expr, "`+`", ADDED, left, right),
            (operators::SUBSTRACT, [left, right]) => {
                self.arithmetic(expr, "`-`", NUMBERS, left, right)
            }
            (operators::MULTIPLY, [left, right]) => {
                self.arithmetic(expr, "`*`", NUMBERS, left, right)
            }
            (operators::DIVIDE, [left, right]) => {
                self.arithmetic(expr, "`/`", NUMBERS, left, right)
            }
            (operators::MODULO, [left, right]) => {
                self.arithmetic(expr, "`%`", &[Type::Int, Type::UInt], left, right)
            }
            (operators::NEGATE, [inner]) => self.operand(inner, "`-`", &[Type::Int, Type::Double]),
            ("size", [of]) => {
                self.operand(of, "size()", SIZED)?;
                Ok(Type::Int)
            }
            ("matches", [text, pattern]) => self.pattern(text, pattern),
            ("dyn", [of]) => {
                self.expr(of)?;
                Ok(Type::Any)
            }
            ("string", [of]) => self.conversion(of, "string()", PLAIN, Type::Text),
            ("int", [of]) => self.conversion(of, "int()", NUMERIC, Type::Int),
            ("uint", [of]) => self.conversion(of, "uint()", NUMERIC, Type::UInt),
            ("double", [of]) => self.conversion(of, "double()", NUMERIC, Type::Double),
            ("duration", [of]) if V::HAS_TIMES => self.time(of, times::duration, Type::Duration),
            ("timestamp", [of]) if V::HAS_TIMES => self.time(of, times::timestamp, Type::Timestamp),
            ("has", _) => self.wrong(
                expr,
                "has() takes one name with a field, as has(auth.claims)",
            ),
            ("size" | "dyn" | "string" | "int" | "uint" | "double", _) => {
                self.wrong(expr, format!("{name}() takes one value"))
            }
            ("matches", _) => self.wrong(expr, "matches() takes a text and a pattern"),
            _ => self.wrong(expr, format!("no function `{name}`; {FUNCTIONS}")),
        }
    }

    fn method(
        &mut self,
        expr: &IdedExpr,
        target: &'p IdedExpr,
        call: &'p CallExpr,
    ) -> Result<Type, CelError> {
        let name = call.func_name.as_str();
        match (name, call.args.as_slice()) {
            ("contains" | "startsWith" | "endsWith", [part]) => {
                let shown = format!("{name}()");
                self.operand(target, &shown, &[Type::Text])?;
                self.operand(part, &shown, &[Type::Text])?;
                Ok(Type::Bool)
            }
            ("matches", [pattern]) => self.pattern(target, pattern),
            ("size", []) => {
                self.operand(target, "size()", SIZED)?;
                Ok(Type::Int)
            }
            ("contains" | "startsWith" | "endsWith" | "matches", _) => {
                self.wrong(expr, format!("{name}() takes one text"))
            }
            ("size", _) => self.wrong(expr, "size() takes no value after the point"),
            ("all" | "exists" | "exists_one" | "existsOne" | "filter" | "map", _) => self.wrong(
                expr,
                format!("{name}() takes a variable and a condition, as {name}(x, x == 'a')"),
            ),
            _ => self.wrong(expr, format!("no function `{name}`; {FUNCTIONS}")),
        }
    }

    fn conversion(
        &mut self,
        of: &'p IdedExpr,
        function: &str,
        allowed: &[Type],
        to: Type,
    ) -> Result<Type, CelError> {
        self.operand(of, function, allowed)?;
        Ok(to)
    }

    /// A literal that is read at load.
    fn time(
        &self,
        of: &'p IdedExpr,
        read: fn(&IdedExpr) -> Result<i64, &'static str>,
        found: Type,
    ) -> Result<Type, CelError> {
        match read(of) {
            Ok(_) => Ok(found),
            Err(message) => self.wrong(of, message),
        }
    }

    fn arithmetic(
        &mut self,
        expr: &IdedExpr,
        operator: &str,
        allowed: &[Type],
        left: &'p IdedExpr,
        right: &'p IdedExpr,
    ) -> Result<Type, CelError> {
        let left = self.operand(left, operator, allowed)?;
        let right = self.operand(right, operator, allowed)?;
        match (left, right) {
            (Type::Any, _) | (_, Type::Any) => Ok(Type::Any),
            _ if left == right => Ok(left),
            _ => {
                let (left, right) = (name(left), name(right));
                let message =
                    format!("{operator} needs one type, and these are a {left} and a {right}");
                self.wrong(expr, message)
            }
        }
    }

    fn comparable(&self, expr: &IdedExpr, (left, right): (Type, Type)) -> Result<(), CelError> {
        let both_are_numbers = NUMBERS.contains(&left) && NUMBERS.contains(&right);
        if left == right || both_are_numbers || left == Type::Any || right == Type::Any {
            return Ok(());
        }
        let (left, right) = (name(left), name(right));
        self.wrong(expr, format!("a {left} and a {right} cannot be compared"))
    }

    fn is_header(&mut self, expr: &IdedExpr, header: &'p IdedExpr) -> Result<Type, CelError> {
        let Expr::Literal(LiteralValue::String(header)) = &header.expr else {
            return self.wrong(header, HEADERS);
        };
        let Expr::Call(call) = &expr.expr else {
            return Ok(Type::Bool);
        };
        match call
            .args
            .last()
            .map(|headers| V::named_member(headers, header.inner()))
        {
            Some(Named::Wrong(message)) => self.wrong(expr, message),
            _ => Ok(Type::Bool),
        }
    }

    fn pattern(&mut self, text: &'p IdedExpr, pattern: &'p IdedExpr) -> Result<Type, CelError> {
        self.operand(text, "matches()", &[Type::Text])?;
        let Expr::Literal(LiteralValue::String(source)) = &pattern.expr else {
            return self.wrong(
                pattern,
                "matches() takes a literal pattern, as matches('^/v[0-9]+/')",
            );
        };
        self.nodes += 1;
        self.patterns += 1;
        if self.patterns > MOST_PATTERNS {
            let message =
                format!("a rule has at most {MOST_PATTERNS} patterns; join some with `|`");
            return self.wrong(pattern, message);
        }
        match Pattern::new(source.inner()) {
            Ok(_) => Ok(Type::Bool),
            Err(problem) => self.wrong(pattern, problem),
        }
    }

    fn comprehension(
        &mut self,
        expr: &IdedExpr,
        comprehension: &'p ComprehensionExpr,
    ) -> Result<Type, CelError> {
        if self.is_in_macro {
            let message = "macros may not nest: no all(), exists(), exists_one(), filter() or \
                           map() within, or on the result of, another";
            return self.wrong(expr, message);
        }
        let variable = comprehension.iter_var.as_str();
        if V::is_root(variable) || variable.starts_with('@') {
            let message =
                format!("`{variable}` is the start of attributes; name the variable otherwise");
            return self.wrong(expr, message);
        }
        self.is_in_macro = true;
        self.operand(
            &comprehension.iter_range,
            "a macro",
            &[Type::List, Type::Map],
        )?;
        let result = self.expr(&comprehension.accu_init)?;
        self.variables.push((&comprehension.accu_var, result));
        self.variables.push((variable, Type::Any));
        self.expr(&comprehension.loop_cond)?;
        self.expr(&comprehension.loop_step)?;
        self.variables.pop();
        let result = self.expr(&comprehension.result)?;
        self.variables.pop();
        self.is_in_macro = false;
        Ok(result)
    }
}

fn literal_type(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) => Type::Double,
        LiteralValue::Int(_) => Type::Int,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
        LiteralValue::UInt(_) => Type::UInt,
    }
}

fn name(of: Type) -> &'static str {
    match of {
        Type::Null => "null",
        Type::Bool => "condition",
        Type::Int | Type::UInt | Type::Double => "number",
        Type::Text => "text",
        Type::Bytes => "byte string",
        Type::List => "list",
        Type::Map => "map",
        Type::Duration => "duration",
        Type::Timestamp => "point in time",
        Type::Any => "value",
    }
}

const NUMBERS: &[Type] = &[Type::Int, Type::UInt, Type::Double];
const NUMERIC: &[Type] = &[Type::Int, Type::UInt, Type::Double, Type::Text];
const ADDED: &[Type] = &[
    Type::Int,
    Type::UInt,
    Type::Double,
    Type::Text,
    Type::Bytes,
    Type::List,
];
const ORDERED: &[Type] = &[
    Type::Duration,
    Type::Timestamp,
    Type::Bool,
    Type::Int,
    Type::UInt,
    Type::Double,
    Type::Text,
    Type::Bytes,
];
const PLAIN: &[Type] = &[
    Type::Bool,
    Type::Int,
    Type::UInt,
    Type::Double,
    Type::Text,
    Type::Bytes,
];
const KEYS: &[Type] = &[Type::Bool, Type::Int, Type::UInt, Type::Double, Type::Text];
const SIZED: &[Type] = &[Type::Text, Type::Bytes, Type::List, Type::Map];

const HEADERS: &str = "a rule reads headers by a literal name: request.headers['x-name'], or \
                       'x-name' in request.headers";
const STRUCT: &str = "messages are not supported; write a map as {'key': value}";
const FUNCTIONS: &str = "there are size, contains, startsWith, endsWith, matches, string, int, \
                         uint, double, dyn, has, all, exists, exists_one, filter and map";
