//! base64url with padding and white space: what a running Envoy 1.40 answered, segment by segment.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::Empty;
use tower_mesh::testing::Issuer;

use super::several::at;
use super::support::{get, layer};

/// A segment whose length leaves this rest when it is divided by four.
fn segment(text: &str, rest: usize) -> String {
    let (start, end) = text.rsplit_once('}').unwrap();
    (0..3)
        .map(|blanks| format!("{start}{}}}{end}", " ".repeat(blanks)))
        .map(|text| URL_SAFE_NO_PAD.encode(text))
        .find(|segment| segment.len() % 4 == rest)
        .unwrap()
}

const PADDINGS: [&str; 10] = [
    "", "=", "==", "===", "====", "= =", "=\t", "A=", "==A", "=A=",
];

/// J-13: all of the padding or none of it; white space anywhere. The strict guard takes none.
#[tokio::test]
async fn padding_is_whole_or_absent_in_each_segment() {
    let short = Issuer::eddsa("i");
    let long = Issuer::es384("i");
    // Which paddings pass, by segment and by the rest of its length: 0, 2, 3.
    let whole = |rest: usize| -> &[&str] {
        match rest {
            2 => &["", "==", "= ="],
            3 => &["", "=", "=\t"],
            _ => &[""],
        }
    };
    let mut wrong = Vec::new();
    for (place, rests) in [
        ("header", &[0, 2, 3][..]),
        ("payload", &[0, 2, 3]),
        ("signature", &[0, 2]),
    ] {
        for rest in rests.iter().copied() {
            // A signature of 96 bytes needs no padding, one of 64 needs two signs.
            let issuer = if place == "signature" && rest == 0 {
                &long
            } else {
                &short
            };
            let lenient = layer(vec![at(issuer, &["x-jwt"], "x-user")]);
            let strict = layer(vec![at(issuer, &["x-jwt"], "x-user")]).strict();
            let name = if rest == 0 && place == "signature" {
                "ES384"
            } else {
                "EdDSA"
            };
            let rest_of = |here: &str| if here == place { rest } else { 0 };
            for padding in PADDINGS {
                let padded = |here: &str| if here == place { padding } else { "" };
                let header = segment(&format!(r#"{{"alg":"{name}"}}"#), rest_of("header"));
                let claims = r#"{"iss":"i","sub":"s","exp":4102444800}"#;
                let payload = segment(claims, rest_of("payload"));
                let token = issuer.token().sign_segments(
                    &format!("{header}{}", padded("header")),
                    &format!("{payload}{}", padded("payload")),
                );
                let token = format!("{token}{}", padded("signature"));
                for (guard, passes) in [
                    (&lenient, whole(rest).contains(&padding)),
                    (&strict, padding.is_empty()),
                ] {
                    let request = get("/").header("x-jwt", &token).body(Empty::new()).unwrap();
                    let answer = super::support::send(guard, request).await;
                    if (answer.status == 200) != passes {
                        wrong.push(format!("{place} {rest} {padding:?}: {}", answer.body));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What stands inside a segment.
#[tokio::test]
async fn padding_ends_a_segment_and_white_space_does_not_count() {
    let issuer = Issuer::eddsa("i");
    let guard = layer(vec![at(&issuer, &["x-jwt"], "x-user")]);
    let header = segment(r#"{"alg":"EdDSA"}"#, 0);
    let payload = segment(r#"{"iss":"i","sub":"s","exp":4102444800}"#, 0);
    let inside = |text: &str, what: &str| format!("{}{what}{}", &text[..4], &text[4..]);
    let signed = |header: &str, payload: &str| issuer.token().sign_segments(header, payload);
    let good = signed(&header, &payload);
    let (start, signature) = good.rsplit_once('.').unwrap();
    for (name, token, passes) in [
        ("as it should be", good.clone(), true),
        (
            "padding in the header",
            signed(&inside(&header, "="), &payload),
            false,
        ),
        (
            "a quantum of padding in the header",
            signed(&inside(&header, "===="), &payload),
            false,
        ),
        (
            "padding before the payload",
            signed(&header, &format!("={payload}")),
            false,
        ),
        (
            "white space in the payload",
            signed(&header, &inside(&payload, " ")),
            true,
        ),
        (
            "a tab in the payload",
            signed(&header, &inside(&payload, "\t")),
            true,
        ),
        (
            "white space in the signature",
            format!("{start}.{}", inside(signature, " ")),
            true,
        ),
        (
            "padding in the signature",
            format!("{start}.{}", inside(signature, "=")),
            false,
        ),
        ("one character more", format!("{good}A"), false),
        (
            "one character less",
            good[..good.len() - 1].to_owned(),
            false,
        ),
        (
            "two characters less",
            good[..good.len() - 2].to_owned(),
            false,
        ),
        ("padding alone", format!("{start}.=="), false),
        ("a dot", format!("{good}."), true),
        ("half the padding and a dot", format!("{good}=."), false),
        ("padding behind a dot", format!("{good}.="), false),
        (
            "another alphabet",
            format!("{start}.+/{}", &signature[2..]),
            false,
        ),
    ] {
        let request = get("/").header("x-jwt", &token).body(Empty::new()).unwrap();
        let answer = super::support::send(&guard, request).await;
        assert_eq!(answer.status == 200, passes, "{name}: {}", answer.body);
    }
    // A vertical tab stands in no header, but a query can hold one.
    let mut rule = super::support::rule(&issuer);
    rule.from_params = vec!["q".into()];
    let guard = layer(vec![rule]);
    let uri = format!("/?q={start}.{signature}%0b");
    let answer = super::support::send(&guard, get(&uri).body(Empty::new()).unwrap()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}
