use super::fixture::{SPAN, TRACE, answer, begin_with, epoch, insider, outsider, request, shown};
use crate::context::Exchange;
use crate::identity::Workload;
use crate::message::Watch as _;
use crate::propagation::{EdgeTrace, Propagation};

/// H-15: what a caller without identity says of traces.
#[test]
fn a_stranger_neither_continues_traces_nor_forces_them() {
    let on = format!("00-{TRACE}-{SPAN}-01");
    let told = [
        ("traceparent", on.as_str()),
        ("x-envoy-force-trace", "1"),
        ("x-client-trace-id", "x"),
        ("x-envoy-decorator-operation", "evil"),
    ];
    for percent in [0.0, 100.0] {
        for (edge, is_continued) in [
            (EdgeTrace::Restart, false),
            (EdgeTrace::RestartAndLink, false),
            (EdgeTrace::Accept, true),
        ] {
            let propagation = Propagation::new().sample_percent(percent).edge_trace(edge);
            let (trace, headers) = begin_with(&propagation, &outsider(), &told);
            assert_eq!(
                trace.trace_id.to_string() == TRACE,
                is_continued,
                "{edge:?}"
            );
            assert_eq!(trace.sampled, percent > 0.0, "{edge:?} at {percent}");
            assert!(!headers.contains_key("x-envoy-force-trace"));
            assert!(!headers.contains_key("x-envoy-decorator-operation"));
        }
    }
    let (trace, _) = begin_with(&Propagation::new(), &insider(), &told);
    assert_eq!(trace.trace_id.to_string(), TRACE);
}

#[test]
fn an_exchange_is_traced_once() {
    let propagation = Propagation::new();
    let exchange = Exchange::default();
    let (first, _) = begin_with(&propagation, &exchange, &[]);
    let (second, headers) = begin_with(&propagation, &exchange, &[]);
    assert_eq!(first.span_id, second.span_id);
    assert!(headers.is_empty());
}

#[test]
fn operations_are_named_after_services() {
    let workload = Workload::new("default", "patients")
        .service("patients", 8443)
        .service("admin", 9443);
    let propagation = Propagation::new().workload(&workload);
    let mut response = answer();
    propagation
        .begin(&mut request(&[]), &insider(), epoch)
        .answered(&mut response);
    assert_eq!(
        shown(&response.headers, "x-envoy-decorator-operation"),
        "patients.default.svc.cluster.local:8443/*"
    );
    let mut response = answer();
    propagation
        .begin(&mut request(&[]), &outsider(), epoch)
        .answered(&mut response);
    assert!(response.headers.is_empty(), "strangers are told nothing");
}
