use super::{full, plain};
use crate::cel::{EvaluationError, Expression};

/// Texts that would recurse, grow or run for long in a parser without bounds.
#[test]
fn hostile_texts_are_refused_at_once() {
    let wrap = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let texts = [
        "(".repeat(100_000),
        "(".repeat(8_000),
        wrap("(", "true", ")", 1_000),
        wrap("[", "1", "]", 1_000),
        wrap("{1:", "1", "}", 1_000),
        wrap("f(", "1", ")", 1_000),
        wrap("a[", "1", "]", 1_000),
        wrap("!(", "true", ")", 1_000),
        wrap("-(", "1", ")", 1_000),
        wrap("(true ? ", "true", " : true)", 500),
        format!("{}true", "true ? true : ".repeat(500)),
        format!("{}true", "!".repeat(8_000)),
        format!("{}1 == 1", "-".repeat(8_000)),
        format!("a{}", ".a".repeat(4_000)),
        format!("auth.claims{} == 1", ".a".repeat(4_000)),
        format!("a{}", "[0]".repeat(2_000)),
        format!("a{}", "()".repeat(2_000)),
        format!("1{}", "+1".repeat(4_000)),
        format!("1{}", "==1".repeat(2_000)),
        format!("1{}", " in 1".repeat(1_500)),
        format!("true{}", "&&true".repeat(1_300)),
        // What comes first is deepest: each bracket is closed before the operators that follow it.
        format!("{}1{} == 1", "(".repeat(12), " + 1 + 1 + 1)".repeat(12)),
        format!(
            "{}true{}",
            "(".repeat(10),
            " && (true || true) || true)".repeat(10)
        ),
        format!("1 in [{}1]", "1,".repeat(4_000)),
        format!("'{}' == request.method", "a".repeat(8_192)),
        format!("request.method.matches('{}')", "(a{1000}){1000}".repeat(20)),
        "request.method.matches('((((((((((a{100}){100}){100}){100}){100}){100}){100}){100}))))')"
            .to_owned(),
        // A lexer that skips what it does not know would read the rest as code.
        format!("'\n{}", "(".repeat(8_000)),
        format!("'\\q{}", "(".repeat(8_000)),
        format!("'\\u12{}", "(".repeat(8_000)),
        format!("r'\\'{}", "(".repeat(8_000)),
        format!("rb'\\'{}", "(".repeat(8_000)),
        format!("b'\\'{}'", "(".repeat(8_000)),
        format!("'''{}", "(".repeat(8_000)),
        format!("// {}", "(".repeat(8_000)),
        format!("`{}`", "(".repeat(8_000)),
        "\0".repeat(8_000),
        "\u{feff}".repeat(2_000),
        "\"".repeat(8_001),
        "?".repeat(8_000),
        "[[1]].all(x, x.all(y, true))".to_owned(),
        format!("[1]{} == []", ".map(x, x)".repeat(20)),
        "999999999999999999999 == 1".to_owned(),
        "1e999999 == 1.0 && 0x1p == 1".to_owned(),
    ];
    for text in texts {
        let start: String = text.chars().take(40).collect();
        assert!(Expression::compile(&text).is_err(), "{start}");
    }
}

/// Every bound is wide enough for what people write, and a thread with less than a server's
/// 2 MiB can compile and evaluate a rule at each of them.
#[test]
fn rules_at_the_bounds_work_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(1536 * 1024);
    let run = || {
        let principals: Vec<_> = (0..100)
            .map(|number| format!("'cluster.local/ns/team-{number}/sa/web'"))
            .collect();
        let texts = [
            format!("{}true{}", "(".repeat(15), ")".repeat(15)),
            format!(
                "request.method == 'A' || {}true{}",
                "!(".repeat(8),
                ")".repeat(8)
            ),
            format!("1{} == 30", " + 1".repeat(29)),
            format!("true{}", " && true".repeat(300)),
            format!("!(source.principal in [{}])", principals.join(", ")),
            format!("auth.claims{} == 1 || true", ".a".repeat(28)),
            format!("{}true", "request.method == 'A' ? true : ".repeat(28)),
        ];
        for text in &texts {
            let rule = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(rule.evaluate(&full()), Ok(true), "{text}");
            let interpreted = Expression::compile_interpreted(text).unwrap();
            assert_eq!(interpreted.evaluate(&full()), Ok(true), "{text}");
        }
    };
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn work_for_a_request_is_bounded() {
    let groups: Vec<_> = (0..2_000).map(|number| format!("group-{number}")).collect();
    let request = plain()
        .claim("groups", groups.clone())
        .claim("roles", groups);
    for text in [
        "auth.claims.groups.all(g, g in auth.claims.roles)",
        "auth.claims.groups.all(g, auth.claims.groups + auth.claims.groups != [g])",
        "!auth.claims.groups.exists(g, auth.claims.roles[0] == 'none')",
        "true && size(auth.claims.groups.map(g, auth.claims.groups)) == 1",
    ] {
        let rule = Expression::compile(text).unwrap();
        assert_eq!(
            rule.evaluate(&request),
            Err(EvaluationError::TooMuchWork),
            "{text}"
        );
    }
    for text in [
        "auth.claims.groups.exists(g, g == 'group-1999')",
        "'group-1999' in auth.claims.groups && size(auth.claims.groups + auth.claims.roles) == 4000",
    ] {
        let rule = Expression::compile(text).unwrap();
        assert_eq!(rule.evaluate(&request), Ok(true), "{text}");
    }
    let deep = (0..100).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let rule = Expression::compile("auth.claims.deep[0] == 1").unwrap();
    let error = rule.evaluate(&plain().claim("deep", deep));
    assert_eq!(error, Err(EvaluationError::TooMuchWork));
}
