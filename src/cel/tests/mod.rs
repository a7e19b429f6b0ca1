//! What rules mean, which texts are refused and where, and that lowering changes nothing.

mod any_text;
mod hostile;
mod meaning;
mod mistakes;
mod same;

use serde_json::json;

use super::{EvaluationError, Expression};
use crate::identity::PeerCertificate;
use crate::policy::Request;

/// A request with one of everything.
fn full() -> Request {
    Request::new()
        .post("/charts/7?ward=3&x=a#part")
        .authority("charts.default:8080")
        .header("x-ward", "3")
        .header("x-list", "a")
        .header("x-list", "b")
        .header("x-raw", [0xff, 0xfe])
        .header("user-agent", "curl")
        .from("cluster.local/ns/web/sa/portal")
        .source_ip([10, 0, 0, 1].into())
        .remote_ip([203, 0, 113, 9].into())
        .destination_ip([10, 0, 0, 2].into())
        .port(8080)
        .sni("charts.default")
        .user("clinic", "ada")
        .claim("aud", "charts")
        .claim("azp", "portal")
        .claim("groups", vec!["doctor", "night"])
        .claim("level", 3)
        .claim("ratio", 0.5)
        .claim("huge", u64::MAX)
        .claim("none", json!(null))
        .claim("is_staff", true)
        .claim(
            "address",
            json!({"city": "Bern", "zip": 3000, "tags": ["a"]}),
        )
}

fn plain() -> Request {
    Request::new().get("/")
}

/// The answer of a rule, which is the same lowered and interpreted.
fn answer(text: &str, request: &Request) -> Result<bool, EvaluationError> {
    let lowered = Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let interpreted = Expression::compile_interpreted(text).unwrap();
    let answer = lowered.evaluate(request);
    let same = interpreted.evaluate(request);
    assert_eq!(
        answer.as_ref().ok(),
        same.as_ref().ok(),
        "{text}: {answer:?}, interpreted {same:?}"
    );
    if let Some(value) = lowered.constant() {
        assert_eq!(answer, Ok(value), "{text} is a constant");
    }
    answer
}

/// A certificate without a SPIFFE ID.
fn names_only() -> Request {
    let names = PeerCertificate::from_names(
        vec![
            "https://a.example".to_owned(),
            "https://b.example".to_owned(),
        ],
        vec!["a.example".to_owned()],
        "CN=a".to_owned(),
    );
    Request::new().get("/").certificate(names)
}
