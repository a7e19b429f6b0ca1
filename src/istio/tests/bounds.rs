use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn policy(name: usize, spec: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{name}}}\nspec: {spec}\n"
    )
}

#[test]
fn refuses_deep_nesting() {
    for depth in [200, 100_000] {
        let flow = policy(0, &("[".repeat(depth) + &"]".repeat(depth)));
        assert!(only_problem(&flow).contains("nested deeper"));
        let unclosed = policy(0, &"{a: ".repeat(depth));
        assert!(only_problem(&unclosed).contains("nested deeper"));
        let block = policy(0, &format!("\n  {}a", "- ".repeat(depth)));
        assert!(only_problem(&block).contains("nested deeper"));
    }
    let mut stairs = String::from("apiVersion: apps/v1\nkind: X\nspec:\n");
    for depth in 1..300 {
        let _ = writeln!(stairs, "{}a:", " ".repeat(depth));
    }
    // Nothing that follows is read: it would cost as much as what is too large.
    stairs += "---\nkind: X\n";
    assert!(only_problem(&stairs).contains("nested deeper"));
}

#[test]
fn reads_schemas_as_deep_as_those_of_real_clusters() {
    let mut text = String::from(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec:\n",
    );
    for depth in 1..90 {
        let _ = writeln!(text, "{}a:", " ".repeat(depth));
    }
    assert_eq!(parse("f", &text, "foo").unwrap().skipped.len(), 1);
}

#[test]
fn refuses_aliases_that_multiply() {
    let mut laughs = String::from(
        "apiVersion: apps/v1\nkind: X\na0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n",
    );
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(laughs, "a{level}: &a{level} [{aliases}]");
    }
    assert!(only_problem(&laughs).contains("write them out"));

    // Each alias is cheap; together they are not.
    let mut long =
        String::from("apiVersion: apps/v1\nkind: X\na: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\nb:\n");
    for _ in 0..2_000 {
        long += "- *a\n";
    }
    assert!(only_problem(&long).contains("write them out"));

    // Anchors around anchors.
    let nested = format!("a: {}x{}", "[&a ".repeat(90), "]".repeat(90));
    assert!(parse("f", &nested, "foo").is_err());
}

#[test]
fn refuses_texts_that_are_too_large() {
    let text = "# a comment\n".repeat((64 << 20) / 12 + 1);
    let problem = only_problem(&text);
    assert!(problem.contains("split it"), "{problem}");
}

#[test]
fn refuses_a_policy_with_too_many_rules() {
    let spec = format!("{{rules: [{}]}}", "{},".repeat(100_000));
    let problem = only_problem(&policy(0, &spec));
    assert!(
        problem.contains("spec.rules: has 100000 entries"),
        "{problem}"
    );
    let from = format!(
        "{{rules: [{{from: [{}]}}]}}",
        "{source: {principals: [a]}},".repeat(513)
    );
    assert!(only_problem(&policy(0, &from)).contains("spec.rules[0].from: has more than 512"));
}

/// Refused in a word, and soon.
#[test]
fn a_million_rules_are_refused_or_read_in_bounded_memory() {
    let spec = format!("{{rules: [{}]}}", "{},".repeat(1_000_000));
    let problem = only_problem(&policy(0, &spec));
    assert!(
        problem.contains("spec.rules: has 1000000 entries") || problem.contains("values"),
        "{problem}"
    );
}

#[test]
fn refuses_lists_longer_than_istios_schema_allows() {
    let target = "{kind: Service, name: a},".repeat(17);
    let claims = "a,".repeat(65);
    let uri = format!("https://a/{}", "a".repeat(2048));
    for (kind, spec, field) in [
        (
            "AuthorizationPolicy",
            format!("{{targetRefs: [{target}]}}"),
            "spec.targetRefs: ",
        ),
        (
            "RequestAuthentication",
            format!("{{jwtRules: [{{issuer: a, spaceDelimitedClaims: [{claims}]}}]}}"),
            "spec.jwtRules[0].spaceDelimitedClaims: ",
        ),
        (
            "RequestAuthentication",
            format!("{{jwtRules: [{{jwksUri: '{uri}'}}]}}"),
            "spec.jwtRules[0].jwksUri: ",
        ),
    ] {
        let text = policy(0, &spec).replace("AuthorizationPolicy", kind);
        assert!(only_problem(&text).contains(field), "{field}");
    }
}

#[test]
fn refuses_a_document_with_too_many_values() {
    let spec = format!("{{rules: [{}]}}", "{},".repeat(500));
    let mut loader = Loader::new("foo");
    loader.limits.nodes = 500;
    loader.read("f", &(policy(0, &spec) + &policy(1, "{}")));
    let problems = loader.finish().unwrap_err().to_string();
    assert!(
        problems.starts_with("f:5:") && problems.contains("more than 500 values"),
        "{problems}"
    );
    assert_eq!(problems.lines().count(), 1);
}

#[test]
fn lists_only_so_many_problems() {
    let mut spec = String::from("{");
    for n in 0..50_000 {
        let _ = write!(spec, "x{n}: 1, ");
    }
    let problems = parse("f", &policy(0, &(spec + "}")), "foo").unwrap_err();
    assert_eq!(problems.as_slice().len(), 1_001);
    let last = problems.as_slice().last().unwrap();
    assert!(last.message.contains("not listed"), "{last}");
}

/// Words that make texts which are nearly good.
const WORDS: &[&str] = &[
    "apiVersion: security.istio.io/v1\n",
    "kind: AuthorizationPolicy\n",
    "kind: List\n",
    "items:\n",
    "metadata:",
    " {name: a}\n",
    "spec:",
    "rules",
    ": ",
    "- ",
    "\n",
    "  ",
    "    ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "from",
    "to",
    "source",
    "operation",
    "when",
    "key",
    "values",
    "paths",
    "'",
    "\"",
    "*",
    "&a ",
    "*a",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "# x\n",
    "!!str ",
    "%YAML 1.2\n",
    "? ",
    "\t",
    "\u{FEFF}",
    "“",
    "é",
    "0x1",
    "~",
    "null",
    "true",
    "/{*}/{**}",
    "10.0.0.0/8",
    "\u{0}",
    "\\u",
    "<<: *a",
    "metadata: {name: istio}\ndata: {mesh: '",
];

const GOOD: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, annotations: {istio.io/dry-run: 'true'}}
spec:
  selector: {matchLabels: {app: x}}
  rules:
  - from: [{source: {ipBlocks: [10.0.0.0/8], trustDomains: ['a*']}}]
    to: [{operation: {paths: ['/a/{*}'], ports: ['80']}}]
    when: [{key: 'request.headers[x]', values: [a]}]
---
apiVersion: rbac.istio.io/v1alpha1
kind: ServiceRoleBinding
metadata: {name: b}
spec: {subjects: [{user: a, properties: {source.ip: 1.2.3.4}}], roleRef: {kind: ServiceRole, name: r}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: c}
spec: {jwtRules: [{issuer: a, jwksUri: 'https://[::1]:80/x', timeout: 1m5s}]}
";

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse("f", &text, "foo");
        let _ = parse_mesh_config("f", &text);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = parse("f", &text, "foo");
    }

    #[test]
    fn no_heap_of_words_panics(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        let text = words.concat();
        let _ = parse("f", &text, "foo");
        let _ = parse_mesh_config("f", &text);
    }

    #[test]
    fn no_damaged_text_panics(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..4_usize, proptest::sample::select(WORDS)), 1..6),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, dropped, word) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + dropped).min(text.len());
            text.splice(at..end, word.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse("f", &text, "foo") {
            prop_assert!(!problems.to_string().is_empty());
        }
    }
}

#[test]
fn the_text_that_is_damaged_is_good() {
    assert!(parse("f", GOOD, "foo").is_ok());
}
