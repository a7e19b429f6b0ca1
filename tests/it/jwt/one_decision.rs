//! The headers that the application gets and the claims that policy gets are of one token, or there are neither.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Empty;
use proptest::prelude::*;
use serde_json::Value;
use tower_mesh::istio::{ClaimToHeader, JwtHeader, JwtRule, LegacyJwt};
use tower_mesh::jwt::{Authenticator, JwtLayer, Keyring};
use tower_mesh::live::Live;
use tower_mesh::policy::{Authentication, LegacyAuthentication};
use tower_mesh::testing::Issuer;

use super::support::{Outcome, get, rule, send};

const PLACES: [&str; 5] = ["x-jwt", "x-two", "authorization", "query", "cookie"];
const KINDS: usize = 9;

/// One rule: whose tokens, where, for whom, whether they stay, and whether it writes to headers of its own.
#[derive(Clone, Debug)]
struct Plan {
    issuer: usize,
    places: [bool; 5],
    has_audience: bool,
    forwards: bool,
    own_headers: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    (0..2_usize, any::<[bool; 5]>(), any::<[bool; 3]>()).prop_map(
        |(issuer, places, [aud, forwards, own])| Plan {
            issuer,
            places,
            has_audience: aud,
            forwards,
            own_headers: own,
        },
    )
}

/// Each line: a place, and which kind of token stands there.
fn lines() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..PLACES.len(), 0..KINDS), 1..5)
}

/// One for all cases: keys are slow to make.
static ISSUERS: LazyLock<Issuers> = LazyLock::new(Issuers::new);

struct Issuers([Issuer; 3]);

impl Issuers {
    fn new() -> Self {
        Self(["a", "b", "c"].map(Issuer::eddsa))
    }

    fn token(&self, kind: usize, number: usize) -> String {
        let [a, b, c] = &self.0;
        let of = |issuer: &Issuer, user: &str| {
            let token = issuer.token().subject(user).audience("us");
            token.claim("jti", format!("t{number}")).sign()
        };
        let base = a.token().subject("u1").claim("jti", format!("t{number}"));
        match kind {
            0 => of(a, "u1"),
            1 => of(a, "u2"),
            2 => of(b, "u1"),
            3 => of(b, "u3"),
            4 => base.audience("them").sign(),
            5 => base.tampered(),
            6 => base
                .expired_ago(std::time::Duration::from_secs(1000))
                .sign(),
            7 => c.token().subject("u1").sign(),
            _ => "garbage".to_owned(),
        }
    }

    fn rule(&self, index: usize, plan: &Plan) -> JwtRule {
        let mut rule = rule(&self.0[plan.issuer]);
        for (place, used) in PLACES.iter().zip(plan.places) {
            match *place {
                _ if !used => {}
                "query" => rule.from_params = vec!["q".into()],
                "cookie" => rule.from_cookies = vec!["c".into()],
                name => {
                    let mut location = JwtHeader::default();
                    location.name = name.into();
                    rule.from_headers.push(location);
                }
            }
        }
        if plan.has_audience {
            rule.audiences = vec!["us".into()];
        }
        rule.forward_original_token = plan.forwards;
        let own = if plan.own_headers {
            format!("-{index}")
        } else {
            String::new()
        };
        let mut output = ClaimToHeader::default();
        output.header = format!("x-out-claim{own}").as_str().into();
        output.claim = "jti".into();
        rule.output_claim_to_headers = vec![output];
        rule.output_payload_to_header = Some(format!("x-out-payload{own}").as_str().into());
        rule
    }
}

fn guard(rules: Vec<JwtRule>, is_legacy: bool) -> JwtLayer {
    let mut authentication = Authentication::default();
    if is_legacy {
        let mut policy = LegacyAuthentication::default();
        policy.origin_is_optional = true;
        policy.origins = rules
            .into_iter()
            .map(|rule| {
                let mut origin = LegacyJwt::default();
                origin.rule = rule;
                origin
            })
            .collect();
        authentication.legacy = Some(policy);
    } else {
        authentication.rules = rules;
    }
    let compiled = Authenticator::compile(&authentication, &mut Keyring::new()).unwrap();
    JwtLayer::new(Live::new(compiled))
}

async fn ask(
    guard: &JwtLayer,
    issuers: &Issuers,
    lines: &[(usize, usize)],
) -> (Outcome, Vec<String>) {
    let tokens: Vec<_> = lines
        .iter()
        .enumerate()
        .map(|(number, (_, kind))| issuers.token(*kind, number))
        .collect();
    let at = |place: &str| -> Vec<&str> {
        let here = lines
            .iter()
            .zip(&tokens)
            .filter(|((at, _), _)| PLACES[*at] == place);
        here.map(|(_, token)| token.as_str()).collect()
    };
    let query: Vec<_> = at("query")
        .iter()
        .map(|token| format!("q={token}"))
        .collect();
    // What a client sends under the names of the outputs must never stay.
    let mut request = get(&format!("/?{}", query.join("&"))).header("x-out-claim", "t0");
    for name in ["x-jwt", "x-two", "authorization"] {
        for token in at(name) {
            request = request.header(name, token);
        }
    }
    let cookies: Vec<_> = at("cookie")
        .iter()
        .map(|token| format!("c={token}"))
        .collect();
    if !cookies.is_empty() {
        request = request.header("cookie", cookies.join("; "));
    }
    let answer = send(guard, request.body(Empty::new()).unwrap()).await;
    (answer, tokens)
}

/// What the application was told, against what policy was told.
fn check(answer: &Outcome, rules: &[JwtRule], tokens: &[String]) -> Result<(), TestCaseError> {
    let Some(seen) = &answer.seen else {
        prop_assert!(
            answer.exchange.claims().is_none(),
            "claims of a refused request"
        );
        return Ok(());
    };
    let outputs: Vec<_> = seen
        .head
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-out-"))
        // A client's own, which no rule of this case writes.
        .filter(|(name, _)| {
            rules.iter().any(|rule| {
                let claims = rule
                    .output_claim_to_headers
                    .iter()
                    .map(|output| &output.header);
                let mut all = claims.chain(&rule.output_payload_to_header);
                all.any(|output| output.as_str() == name.as_str())
            })
        })
        .collect();
    let Some(claims) = &seen.claims else {
        prop_assert!(outputs.is_empty(), "outputs without claims: {outputs:?}");
        return Ok(());
    };
    let id = claims.get("jti").and_then(Value::as_str).unwrap();
    // Two of one rule; those of several where it is one token that they found.
    prop_assert!(
        !outputs.is_empty() && outputs.len() % 2 == 0,
        "whole rules' outputs: {:?}",
        outputs
    );
    for (name, value) in outputs {
        let told = if name.as_str().starts_with("x-out-payload") {
            let payload = URL_SAFE_NO_PAD.decode(value.as_bytes()).unwrap();
            let payload: Value = serde_json::from_slice(&payload).unwrap();
            payload["jti"].as_str().unwrap().to_owned()
        } else {
            value.to_str().unwrap().to_owned()
        };
        prop_assert_eq!(told.as_str(), id, "{}", name);
    }
    let number: usize = id[1..].parse().unwrap();
    let token = &tokens[number];
    let in_headers = seen
        .head
        .iter()
        .filter(|(name, _)| !["cookie"].contains(&name.as_str()))
        .any(|(_, value)| value.as_bytes() == token.as_bytes());
    let in_query = seen
        .uri
        .query()
        .is_some_and(|query| query.contains(token.as_str()));
    if rules.iter().all(|rule| !rule.forward_original_token) {
        prop_assert!(!in_headers && !in_query, "a token that was to be taken out");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// On every path through rules, places and lines.
    #[test]
    fn claims_and_headers_are_of_one_token(
        plans in prop::collection::vec(plan(), 1..4),
        lines in lines(),
        is_strict in any::<bool>(),
        is_legacy in prop::bool::weighted(0.2),
    ) {
        let issuers = &*ISSUERS;
        let rules: Vec<_> = plans.iter().enumerate().map(|(index, plan)| issuers.rule(index, plan)).collect();
        let mut layer = guard(rules.clone(), is_legacy);
        if is_strict {
            layer = layer.strict();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (answer, tokens) = runtime.block_on(ask(&layer, issuers, &lines));
        // A legacy origin always forwards.
        let mut rules = rules;
        for rule in &mut rules {
            rule.forward_original_token |= is_legacy;
        }
        check(&answer, &rules, &tokens)?;
        // What was remembered is told the same way.
        let (again, tokens) = runtime.block_on(ask(&layer, issuers, &lines));
        prop_assert_eq!(answer.status, again.status);
        check(&again, &rules, &tokens)?;
    }
}
