#![allow(clippy::string_slice, reason = "a test may panic")]

use super::fixture::{
    SPAN, TRACE, UUID, answer, begin_with, epoch, insider, outsider, request, shown,
};
use crate::context::Exchange;
use crate::message::Watch as _;
use crate::propagation::Propagation;

/// H-14.
#[test]
fn request_ids_are_made_kept_or_replaced() {
    let quiet = Propagation::new().sample_percent(0.0);
    let preserving = quiet.clone().preserve_external_request_id();
    let long = "x".repeat(129);
    let rows: [(&Propagation, Exchange, Option<&str>, bool); 12] = [
        (&quiet, Exchange::default(), None, false),
        (&quiet, Exchange::default(), Some(""), false),
        (&quiet, Exchange::default(), Some(UUID), true),
        (&quiet, Exchange::default(), Some("no uuid at all"), true),
        (&quiet, insider(), Some(UUID), true),
        (&quiet, insider(), Some(&long), true),
        (&quiet, outsider(), Some(UUID), false),
        (&preserving, outsider(), Some(UUID), true),
        (&preserving, outsider(), Some("a.b-c_d:1"), true),
        (&preserving, outsider(), Some("a b"), false),
        (&preserving, outsider(), Some(&long), false),
        (&preserving, outsider(), Some(""), false),
    ];
    for (propagation, exchange, sent, is_kept) in rows {
        let headers: Vec<_> = sent.iter().map(|id| ("x-request-id", *id)).collect();
        let (trace, seen) = begin_with(propagation, &exchange, &headers);
        let id = trace.request_id().unwrap().to_str().unwrap();
        assert_eq!(shown(&seen, "x-request-id"), id);
        assert_eq!(Some(id) == sent, is_kept, "{sent:?} became {id}");
        if !is_kept {
            assert_eq!(id.len(), 36);
            assert_eq!(id, id.to_lowercase());
            assert_eq!(&id[14..15], "4");
            assert!("89ab".contains(&id[19..20]));
            let dashes: Vec<_> = id.match_indices('-').map(|(at, _)| at).collect();
            assert_eq!(dashes, [8, 13, 18, 23]);
        }
    }
}

#[test]
fn the_request_id_decides_alike_at_every_hop() {
    // The first 8 digits of `UUID` are 0x3f2504e0 = 1059390688, so it falls below 6.89 % and above.
    for (percent, sampled) in [
        (0.0, false),
        (6.88, false),
        (6.89, true),
        (100.0, true),
        (f64::NAN, false),
        (-1.0, false),
        (1e9, true),
    ] {
        let propagation = Propagation::new().sample_percent(percent);
        let (trace, _) = begin_with(
            &propagation,
            &Exchange::default(),
            &[("x-request-id", UUID)],
        );
        assert_eq!(trace.sampled, sampled, "{percent}");
        let expected = if sampled {
            UUID.replacen("-4", "-9", 2).replace("-9f89", "-4f89")
        } else {
            UUID.to_owned()
        };
        assert_eq!(trace.request_id().unwrap(), expected.as_str(), "{percent}");
    }
    for id in ["short", "zzzzzzzz-4f89-41d3-9a0c-0305e82c3301"] {
        let (trace, _) = begin_with(
            &Propagation::new().sample_percent(100.0),
            &Exchange::default(),
            &[("x-request-id", id)],
        );
        assert!(!trace.sampled, "{id}");
    }
}

#[test]
fn reasons_force_and_parents_decide() {
    let marked = |mark: &str| format!("3f2504e0-4f89-{mark}1d3-9a0c-0305e82c3301");
    let (on, off) = (
        format!("00-{TRACE}-{SPAN}-01"),
        format!("00-{TRACE}-{SPAN}-00"),
    );
    let id = |mark: &str| ("x-request-id", marked(mark));
    let client = ("x-client-trace-id", "abc".to_owned());
    let force = ("x-envoy-force-trace", "true".to_owned());
    let rows = [
        (vec![id("4")], false, "4"),
        (vec![id("9")], true, "9"),
        (vec![id("a")], true, "a"),
        (vec![id("b")], true, "b"),
        (vec![id("7")], false, "7"),
        (vec![id("4"), client.clone()], true, "b"),
        (vec![id("4"), force.clone()], true, "a"),
        (vec![id("4"), client.clone(), force.clone()], true, "b"),
        (vec![id("4"), ("traceparent", on)], true, "9"),
        (vec![id("9"), ("traceparent", off.clone())], false, "9"),
        (vec![id("4"), ("traceparent", off)], false, "4"),
        (vec![id("4"), ("b3", "1".to_owned())], true, "9"),
        (vec![id("9"), ("b3", "0".to_owned())], false, "9"),
    ];
    for (headers, sampled, mark) in rows {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (trace, _) = begin_with(
            &Propagation::new().sample_percent(0.0),
            &Exchange::default(),
            &headers,
        );
        assert_eq!(trace.sampled, sampled, "{headers:?}");
        assert_eq!(
            trace.request_id().unwrap(),
            marked(mark).as_str(),
            "{headers:?}"
        );
    }
}

#[test]
fn returns_the_request_id_only_when_asked() {
    let returned = |propagation: &Propagation, exchange: &Exchange, headers: &[(&str, &str)]| {
        let mut response = answer();
        propagation
            .begin(&mut request(headers), exchange, epoch)
            .answered(&mut response);
        response.headers.contains_key("x-request-id")
    };
    let force = [("x-envoy-force-trace", "1")];
    assert!(!returned(&Propagation::new(), &insider(), &[]));
    assert!(returned(&Propagation::new(), &insider(), &force));
    assert!(!returned(&Propagation::new(), &outsider(), &force));
    assert!(returned(
        &Propagation::new().return_request_id(),
        &outsider(),
        &[]
    ));
}

/// `useRequestIdForTraceSampling: false`: what nobody has decided is recorded.
#[test]
fn without_the_request_id_all_is_recorded() {
    let all = Propagation::new()
        .sample_percent(0.0)
        .sample_by_request_id(false);
    let off = format!("00-{TRACE}-{SPAN}-00");
    for (headers, sampled) in [
        (vec![("x-request-id", UUID)], true),
        (vec![("x-request-id", "abc")], true),
        (vec![], true),
        (vec![("traceparent", off.as_str())], false),
        (vec![("b3", "0")], false),
    ] {
        let (trace, _) = begin_with(&all, &Exchange::default(), &headers);
        assert_eq!(trace.sampled, sampled, "{headers:?}");
    }
    let mut call = request(&[]);
    let span = all.begin_call(&mut call, None, epoch);
    assert!(span.trace().unwrap().sampled);
}

#[test]
fn health_checks_are_never_recorded() {
    let all = Propagation::new().sample_percent(100.0);
    let chosen = all.clone().never_trace(["/probe"]);
    for (propagation, path, is_recorded) in [
        (&all, "/healthz", false),
        (&all, "/readyz?verbose", false),
        (&all, "/grpc.health.v1.Health/Check", false),
        (&all, "/healthz/", true),
        (&all, "/probe", true),
        (&chosen, "/probe", false),
        (&chosen, "/healthz", true),
    ] {
        for headers in [&[][..], &[("b3", "d")], &[("x-envoy-force-trace", "1")]] {
            let mut request = request(headers);
            request
                .headers
                .insert("x-request-id", UUID.parse().unwrap());
            request.uri = path.parse().unwrap();
            let exchange = Exchange::default();
            drop(propagation.begin(&mut request, &exchange, epoch));
            let trace = exchange.trace().unwrap();
            assert_eq!(trace.sampled, is_recorded, "{path} {headers:?}");
            assert_eq!(trace.request_id().unwrap() != UUID, is_recorded, "{path}");
            assert!(request.headers.contains_key("traceparent"));
        }
    }
}

#[test]
fn a_trace_says_why_it_is_recorded() {
    use crate::context::TraceReason::{ClientForced, Sampled, ServiceForced};

    let on = format!("00-{TRACE}-{SPAN}-01");
    for (percent, headers, reason) in [
        (100.0, vec![], Some(Sampled)),
        (0.0, vec![], None),
        (0.0, vec![("traceparent", on.as_str())], Some(Sampled)),
        (0.0, vec![("x-envoy-force-trace", "1")], Some(ServiceForced)),
        (0.0, vec![("x-client-trace-id", "1")], Some(ClientForced)),
    ] {
        let propagation = Propagation::new().sample_percent(percent);
        for id in [Some(UUID), None] {
            let id = id.map(|id| ("x-request-id", id));
            let headers: Vec<_> = headers.iter().copied().chain(id).collect();
            let (trace, _) = begin_with(&propagation, &Exchange::default(), &headers);
            assert_eq!(trace.reason(), reason, "{headers:?}");
        }
    }
    let headers = [("x-request-id", "abc"), ("traceparent", on.as_str())];
    let (trace, _) = begin_with(&Propagation::new(), &Exchange::default(), &headers);
    assert_eq!((trace.sampled, trace.reason()), (true, None));
}
