//! Each rule in several spellings, in both profiles.

use http::request::Parts;
use http::{Request, Uri, Version};

use super::judge::{Arrival, judge};
use super::*;
use crate::context::Exchange;

mod asked;
mod counted;
mod headers;
mod host;
mod method;
mod path;

fn both() -> [Gate; 2] {
    [Gate::istio(), Gate::strict()]
}

/// A GET of this target over HTTP/1.1, for the host `app`.
fn get(target: &str) -> Parts {
    let mut head = bare(target);
    add(&mut head, "host", "app");
    head
}

/// A GET of this target over HTTP/1.1, without headers.
fn bare(target: &str) -> Parts {
    let uri: Uri = target.parse().unwrap();
    Request::get(uri).body(()).unwrap().into_parts().0
}

fn add(head: &mut Parts, name: &'static str, value: &str) {
    head.headers.append(name, value.parse().unwrap());
}

fn over_http_2(mut head: Parts) -> Parts {
    head.version = Version::HTTP_2;
    head
}

fn in_front(gate: Gate, head: &mut Parts) -> Result<(), Refusal> {
    judged(gate, head, true)
}

fn behind(gate: Gate, head: &mut Parts) -> Result<(), Refusal> {
    judged(gate, head, false)
}

fn judged(gate: Gate, head: &mut Parts, in_front: bool) -> Result<(), Refusal> {
    let exchange = Exchange::from_request(head);
    let arrival = Arrival {
        in_front,
        wants_host: true,
        keeps_client_cert: false,
    };
    judge(gate, head, &exchange, arrival).map(drop)
}

/// Every profile, in front of routers and behind them, gives this verdict.
#[track_caller]
fn always(head: &Parts, verdict: Result<(), Refusal>) {
    for gate in both() {
        let (mut first, mut second) = (head.clone(), head.clone());
        let profile = gate.profile();
        let what = (&head.method, &head.uri, &head.headers);
        assert_eq!(in_front(gate, &mut first), verdict, "{profile:?} {what:?}");
        assert_eq!(behind(gate, &mut second), verdict, "{profile:?} {what:?}");
    }
}

/// `Strict` gives this verdict, in front of routers and behind them.
#[track_caller]
fn strict(head: &Parts, verdict: Result<(), Refusal>) {
    let (mut first, mut second) = (head.clone(), head.clone());
    let what = (&head.uri, &head.headers);
    assert_eq!(in_front(Gate::strict(), &mut first), verdict, "{what:?}");
    assert_eq!(behind(Gate::strict(), &mut second), verdict, "{what:?}");
}

/// What a plain request looks like passes, and nothing in it changes.
#[test]
fn a_plain_request_passes_unchanged() {
    for target in [
        "/",
        "/a/b-c_d~e.f",
        "/a%20b",
        "/@:!$&'()*+,=",
        "/a;b=c?q=%zz&x=[{|}]",
    ] {
        let head = get(target);
        always(&head, Ok(()));
        let mut passed = head.clone();
        assert_eq!(in_front(Gate::strict(), &mut passed), Ok(()));
        assert_eq!((&passed.uri, &passed.headers), (&head.uri, &head.headers));
    }
}
