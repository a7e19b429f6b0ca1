//! Lowering changes no answer.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cel::Expression;
use crate::policy::Request;

const TEXTS: &[&str] = &["a", "b", "ab", "A", "", "1", "é"];
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "2u",
    "1.0",
    "0.5",
    "9223372036854775807",
    "18446744073709551615u",
];
const FACTS: &[&str] = &[
    "request.method",
    "request.url_path",
    "request.query",
    "request.host",
    "request.headers['x-a']",
    "request.headers['x-b']",
    "source.principal",
    "source.namespace",
    "source.ip",
    "connection.sni",
    "auth.principal",
];
const CLAIMS: &[&str] = &[
    "auth.claims.t",
    "auth.claims.n",
    "auth.claims.l",
    "auth.claims.m",
    "auth.claims.m.t",
    "auth.claims['m']['n']",
    "auth.claims.b",
    "auth.claims.z",
    "auth.claims.none",
];

fn one(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

fn text_literal() -> impl Strategy<Value = String> {
    one(TEXTS).prop_map(|text| format!("'{text}'"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => one(FACTS), 3 => one(CLAIMS), 1 => text_literal()]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        one(NUMBERS),
        one(CLAIMS),
        Just("destination.port".to_owned()),
        one(FACTS).prop_map(|fact| format!("size({fact})")),
        one(CLAIMS).prop_map(|claim| format!("{claim}.size()")),
    ]
}

fn any_literal() -> impl Strategy<Value = String> {
    prop_oneof![
        text_literal(),
        one(NUMBERS),
        Just("true".to_owned()),
        Just("null".to_owned()),
    ]
}

fn term() -> impl Strategy<Value = String> {
    let equal = prop::sample::select(vec!["==", "!="]);
    let order = prop::sample::select(vec!["<", "<=", ">", ">="]);
    let part = prop::sample::select(vec!["startsWith", "endsWith", "contains"]);
    let list = prop::collection::vec(any_literal(), 0..4).prop_map(|items| items.join(", "));
    let pattern = prop::sample::select(vec!["a", "^a$", "", "[0-9]", "(?i)AB"]);
    prop_oneof![
        4 => (text(), equal.clone(), text()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        2 => (one(CLAIMS), equal.clone(), any_literal())
            .prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        2 => (one(CLAIMS), equal, one(CLAIMS)).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        2 => (number(), order.clone(), number()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        1 => (text(), order, text()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        3 => (text(), part, text()).prop_map(|(a, part, b)| format!("{a}.{part}({b})")),
        2 => (text(), pattern).prop_map(|(a, pattern)| format!("{a}.matches('{pattern}')")),
        2 => (text(), list).prop_map(|(a, list)| format!("{a} in [{list}]")),
        2 => (any_literal(), one(CLAIMS)).prop_map(|(a, b)| format!("{a} in {b}")),
        1 => (one(CLAIMS), one(CLAIMS)).prop_map(|(a, b)| format!("{a} in {b}")),
        1 => text_literal().prop_map(|a| format!("{a} in auth.audiences")),
        1 => prop::sample::select(vec!["x-a", "x-b"])
            .prop_map(|name| format!("'{name}' in request.headers")),
        2 => prop_oneof![one(CLAIMS), one(FACTS).prop_filter("no index", |fact| !fact.contains('['))]
            .prop_filter("a field", |name| !name.ends_with(']'))
            .prop_map(|name| format!("has({name})")),
        1 => one(CLAIMS),
        1 => Just("connection.mtls".to_owned()),
        1 => Just("has(auth.claims)".to_owned()),
    ]
}

fn rule() -> impl Strategy<Value = String> {
    term().prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|terms| format!("({})", terms.join(" && "))),
            3 => prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|terms| format!("({})", terms.join(" || "))),
            2 => inner.clone().prop_map(|term| format!("!({term})")),
            1 => (inner.clone(), inner.clone(), inner)
                .prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
        ]
    })
}

fn claim() -> impl Strategy<Value = Value> {
    let texts: Vec<_> = TEXTS.iter().map(|text| json!(text)).collect();
    let leaf = prop_oneof![
        3 => prop::sample::select(texts),
        3 => prop::sample::select(vec![
            json!(0), json!(1), json!(-1), json!(2), json!(1.0), json!(0.5),
            json!(i64::MAX), json!(u64::MAX),
        ]),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(prop::sample::select(vec!["t", "n", "a"]), inner, 0..3)
                .prop_map(|members| json!(members)),
        ]
    })
}

prop_compose! {
    fn request()(
        method in prop::sample::select(vec!["a", "ab", "GET"]),
        target in prop::sample::select(vec!["/", "/a", "/a?b", "a"]),
        lines in prop::collection::vec(
            (prop::sample::select(vec!["x-a", "x-b"]), prop::sample::select(vec![
                b"a".as_slice(), b"b", b"ab", b"", b"\xff", b"\xc3\xa9",
            ])),
            0..4,
        ),
        peer in 0..4_u8,
        port in prop::sample::select(vec![0, 1, 2, 80]),
        claims in prop::option::weighted(
            0.8,
            prop::collection::vec((prop::sample::select(vec!["t", "n", "l", "m", "b", "z", "iss", "sub", "aud"]), claim()), 0..9),
        ),
    ) -> Request {
        let mut request = Request::new().method(method, target).port(port);
        request = match peer {
            0 => request,
            1 => request.anonymous_tls(),
            2 => request.from("a/b"),
            _ => request.from("a/ns/b/sa/ab"),
        };
        for (name, value) in lines {
            request = request.header(name, value);
        }
        if let Some(claims) = claims {
            request = request.claims(serde_json::Map::new());
            for (name, value) in claims {
                request = request.claim(name, value);
            }
        }
        request
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn lowered_and_interpreted_rules_answer_alike(
        text in rule(),
        requests in prop::collection::vec(request(), 12),
    ) {
        // A rule whose types never fit is refused in both forms.
        let Ok(lowered) = Expression::compile(&text) else {
            prop_assert!(Expression::compile_interpreted(&text).is_err());
            return Ok(());
        };
        prop_assert!(!lowered.is_interpreted(), "{}", text);
        let interpreted = Expression::compile_interpreted(&text).unwrap();
        for request in requests {
            let (left, right) = (lowered.evaluate(&request), interpreted.evaluate(&request));
            prop_assert_eq!(left.as_ref().ok(), right.as_ref().ok(), "{}: {:?}, {:?}", text, left, right);
            if let Some(value) = lowered.constant() {
                prop_assert_eq!(&left, &Ok(value), "{} is a constant", text);
            }
        }
    }
}
