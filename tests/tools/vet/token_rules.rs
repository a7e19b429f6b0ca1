//! What vet says of token rules, by itself and without cryptography, is what the layer says that applies them.

use proptest::prelude::*;
use proptest::sample::select;
use tower_mesh::Workload;
use tower_mesh::istio::{self, MeshConfig};
use tower_mesh::jwt::{Authenticator, Keyring};
use tower_mesh::policy::compile;
use tower_mesh::testing::Issuer;
use tower_mesh::vet::{Code, Vet};

/// Whether vet finds nothing that is refused, and whether the layer can be built; `None` where the text cannot be read.
fn both(rule: &str) -> Option<(bool, bool)> {
    let text = format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{name: users}}\nspec:\n  jwtRules:\n  - {rule}\n"
    );
    let resources = istio::parse("p.yaml", &text, "clinic").ok()?;
    let refused = [
        Code::ClaimHeaderReserved,
        Code::JwksOverHttp,
        Code::JwksUnusable,
        Code::MeshRefuses,
    ];
    let report = Vet::new().resources(&resources, &[]).unwrap();
    let is_fine = !report.notes.iter().any(|note| refused.contains(&note.code));
    let workload = Workload::new("clinic", "ward");
    let program = compile(&resources, &MeshConfig::default(), &workload).unwrap();
    let built = Authenticator::compile(&program.authentication.default, &mut Keyring::new());
    Some((is_fine, built.is_ok()))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[test]
fn key_sets_are_usable_to_both_or_to_neither() {
    let issuers = [
        Issuer::es256("https://idp.example"),
        Issuer::rs256("https://idp.example"),
        Issuer::eddsa("https://idp.example"),
    ];
    let sets: Vec<String> = issuers.iter().map(Issuer::jwks).collect();
    let mut seed = 7_u64;
    let mut below = |bound: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(seed >> 33).unwrap() % bound.max(1)
    };
    let pieces = [
        "A",
        "_",
        "=",
        "==",
        "\"",
        "{",
        "\"d\":\"A\",",
        "\"use\":\"enc\",",
        "\"use\":\"sig\",",
        "\"key_ops\":[\"verify\"],",
        "\"key_ops\":[\"sign\"],",
        "\"alg\":\"RS256\",",
        "\"alg\":\"ES256\",",
        "\"alg\":\"HS256\",",
        "\"kid\":7,",
        "\"kty\":\"oct\",",
    ];
    let (mut good, mut bad) = (0, 0);
    for round in 0..1500 {
        let mut letters: Vec<char> = sets[round % sets.len()].chars().collect();
        if round >= sets.len() {
            let at = below(letters.len());
            // Members go where members begin.
            let at = match below(2) {
                0 => letters.iter().rposition(|c| *c == '{').unwrap() + 1,
                _ => at,
            };
            let end = (at + below(2)).min(letters.len());
            letters.splice(at..end, pieces[below(pieces.len())].chars());
        }
        let set: String = letters.into_iter().collect();
        let rule = format!("{{issuer: https://idp.example, jwks: {}}}", quoted(&set));
        let Some((vet, layer)) = both(&rule) else {
            continue;
        };
        assert_eq!(vet, layer, "{set}");
        good += usize::from(vet);
        bad += usize::from(!vet);
    }
    assert!(good > 50 && bad > 50, "{good} good, {bad} bad");
}

#[test]
fn points_beside_the_curve_and_weak_keys_are_refused_by_both() {
    let ed = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let (x, y) = (
        "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    );
    let ec = |x: &str, y: &str| format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
    let odd = format!("{}w", "_".repeat(341));
    for (key, usable) in [
        (ec(x, y), true),
        (ec(y, x), false),
        (ec(x, ed), false),
        (
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{ed}"}}"#),
            true,
        ),
        (
            format!(r#"{{"kty":"OKP","crv":"X25519","x":"{ed}"}}"#),
            false,
        ),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#.to_owned(), false),
        (format!(r#"{{"kty":"RSA","n":"{odd}","e":"AQAB"}}"#), true),
        (format!(r#"{{"kty":"RSA","n":"{odd}","e":"AQ"}}"#), false),
        (format!(r#"{{"kty":"RSA","n":"{odd}","e":"BA"}}"#), false),
    ] {
        let set = format!(r#"{{"keys":[{key}]}}"#);
        let rule = format!("{{issuer: https://idp.example, jwks: {}}}", quoted(&set));
        assert_eq!(both(&rule), Some((usable, usable)), "{set}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn addresses_of_keys_are_good_to_both_or_to_neither(
        scheme in select(&["https://", "https://", "https://", "http://", "HTTPS://", ""][..]),
        authority in "[a-z0-9.:@%\\[\\]_~*{}-]{0,12}",
        target in "[/?#][a-z0-9/?#%{}|^`\"<>\\[\\]\\\\é -]{0,8}",
        discovered in any::<bool>(),
    ) {
        let uri = quoted(&format!("{scheme}{authority}{target}"));
        let rule = match discovered {
            true => format!("{{issuer: {uri}}}"),
            false => format!("{{issuer: idp, jwksUri: {uri}}}"),
        };
        if let Some((vet, layer)) = both(&rule) {
            prop_assert_eq!(vet, layer, "{}", uri);
        }
    }

    #[test]
    fn headers_for_claims_are_good_to_both_or_to_neither(
        name in select(&["x-user", "host", "Host", "CONNECTION", "content-length", "Transfer-Encoding", "authorization", "te", "a_b"][..]),
        whole in any::<bool>(),
    ) {
        let keys = "jwksUri: https://idp.example/keys";
        let rule = match whole {
            true => format!("{{issuer: idp, {keys}, outputPayloadToHeader: {name}}}"),
            false => format!("{{issuer: idp, {keys}, outputClaimToHeaders: [{{header: {name}, claim: sub}}]}}"),
        };
        let (vet, layer) = both(&rule).unwrap();
        prop_assert_eq!(vet, layer);
    }
}
