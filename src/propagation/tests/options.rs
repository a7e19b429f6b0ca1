use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use http::{HeaderMap, Request, StatusCode};

use super::fixture::{SPAN, TRACE, answer, begin_with, epoch, request};
use crate::context::{Exchange, TraceContext};
use crate::identity::Workload;
use crate::message::{ByteCount, Direction, Record, Watch};
use crate::propagation::{CustomTag, FinishedSpan, Propagation, SpanSink, TraceOptions};

#[derive(Debug)]
struct Kept(Sender<FinishedSpan>);

impl SpanSink for Kept {
    fn export(&self, span: FinishedSpan) {
        self.0.send(span).unwrap();
    }
}

fn kept() -> (Propagation, Receiver<FinishedSpan>) {
    let (sender, receiver) = channel();
    let propagation = Propagation::new()
        .sample_percent(100.0)
        .workload(&Workload::new("default", "patients"))
        .export_to(Kept(sender));
    (propagation, receiver)
}

fn end<W: Watch>(watch: W, direction: Direction) {
    let (head, ()) = Request::new(()).into_parts();
    let sent = ByteCount::default();
    let mut record = Record::new(direction, &head, None, sent, Instant::now(), watch);
    let mut head = answer();
    head.status = StatusCode::OK;
    record.answered(&mut head);
    drop(record);
}

/// A request with these headers, and a call that is made for it. Returns the trace of the request,
/// and the headers of the call.
fn exchange(propagation: &Propagation, headers: &[(&str, &str)]) -> (TraceContext, HeaderMap) {
    let exchange = Exchange::default();
    let mut inbound = request(headers);
    let span = propagation.begin(&mut inbound, &exchange, epoch);
    let mut outbound = request(&[("x-tenant", "acme")]);
    let call = propagation.begin_call(&mut outbound, Some(&exchange), epoch);
    end(call, Direction::Outbound);
    end(span, Direction::Inbound);
    (exchange.trace().unwrap().clone(), outbound.headers)
}

fn shown(span: &FinishedSpan, names: &[&str]) -> Vec<Option<String>> {
    let text = |name: &&str| span.tag(name).map(str::to_owned);
    names.iter().map(text).collect()
}

#[test]
fn custom_tags_are_on_both_spans_and_can_be_replaced() {
    let (propagation, spans) = kept();
    let propagation = propagation.custom_tags([
        CustomTag::literal("ward", "west").unwrap(),
        CustomTag::header("tenant", "x-tenant", "").unwrap(),
        CustomTag::literal("component", "mine").unwrap(),
    ]);
    let names = ["ward", "tenant", "component"];
    exchange(&propagation, &[]);
    let text = |text| Some(String::from(text));
    let (call, served) = (spans.recv().unwrap(), spans.recv().unwrap());
    let own = [text("west"), text("acme"), text("mine")];
    assert_eq!(shown(&call, &names), own);
    assert_eq!(shown(&served, &names), [text("west"), None, text("mine")]);
    for span in [&call, &served] {
        let named = span.tags.iter().filter(|(name, _)| name == "component");
        assert_eq!(named.count(), 1);
    }

    // A layer that is in use has a clone.
    let in_use = propagation.clone();
    let east = [CustomTag::literal("ward", "east").unwrap()];
    let client = propagation.client_options().custom_tags(east);
    propagation.replace_options(TraceOptions::default().sample_percent(100.0), client);
    exchange(&in_use, &[]);
    let (call, served) = (spans.recv().unwrap(), spans.recv().unwrap());
    let own = [text("east"), None, text("proxy")];
    assert_eq!(shown(&call, &names), own);
    assert_eq!(shown(&served, &names), [None, None, text("proxy")]);
}

#[test]
fn istios_tags_can_be_left_out() {
    let (propagation, spans) = kept();
    let names = ["istio.namespace", "istio.canonical_service", "component"];
    let options = propagation.server_options();
    propagation.replace_options(options.clone().istio_tags(false), options);
    exchange(&propagation, &[]);
    let (call, served) = (spans.recv().unwrap(), spans.recv().unwrap());
    let text = |text| Some(String::from(text));
    let all = [text("default"), text("patients"), text("proxy")];
    assert_eq!(shown(&call, &names), all);
    assert_eq!(shown(&served, &names), [None, None, text("proxy")]);
}

#[test]
fn each_side_has_its_own_share() {
    let propagation = Propagation::new();
    let options = propagation.server_options();
    propagation.replace_options(
        options.clone().sample_percent(0.0),
        options.sample_percent(100.0),
    );
    let (trace, _) = begin_with(&propagation, &Exchange::default(), &[]);
    assert!(!trace.sampled);
    let call = propagation.begin_call(&mut request(&[]), None, epoch);
    assert!(call.trace().unwrap().sampled);
}

/// A hop that records no spans leaves no gap in the trace.
#[test]
fn a_side_without_spans_leaves_the_trace_as_it_came() {
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let parent = |headers: &HeaderMap| headers["traceparent"].to_str().unwrap().to_owned();

    let (propagation, spans) = kept();
    let options = propagation.server_options();
    let silent = options.clone().report_spans(false);
    propagation.replace_options(silent.clone(), options.clone());
    let (trace, _) = exchange(&propagation, &headers);
    assert_eq!(trace.span_id.to_string(), SPAN);
    let call = spans.recv().unwrap();
    let told = call.trace.parent_span_id.unwrap();
    assert_eq!(told.to_string(), SPAN, "the call is a child of the caller");
    assert!(spans.try_recv().is_err(), "the server has no span");

    propagation.replace_options(options, silent.clone());
    let (trace, sent) = exchange(&propagation, &headers);
    let served = spans.recv().unwrap();
    assert_eq!(served.trace.span_id, trace.span_id);
    assert!(parent(&sent).contains(&trace.span_id.to_string()));
    assert!(spans.try_recv().is_err(), "the call has no span");

    propagation.replace_options(silent.clone(), silent);
    let (_, sent) = exchange(&propagation, &headers);
    assert_eq!(parent(&sent), traceparent);
    let b3 = [("b3", &*format!("{TRACE}-{SPAN}-1-00f067aa0ba902b7"))];
    let (_, sent) = exchange(&propagation, &b3);
    assert_eq!(sent["b3"], b3[0].1);
    assert!(spans.try_recv().is_err());
}

#[test]
fn a_call_can_go_without_its_trace() {
    let (propagation, spans) = kept();
    let options = propagation.server_options();
    propagation.replace_options(options.clone(), options.send_context(false));
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    let headers = [("traceparent", traceparent.as_str())];
    let exchange = Exchange::default();
    let span = propagation.begin(&mut request(&headers), &exchange, epoch);
    let copied = [headers[0], ("x-b3-sampled", "1"), ("tracestate", "a=1")];
    let mut call = request(&copied);
    let outbound = propagation.begin_call(&mut call, Some(&exchange), epoch);
    let names: Vec<_> = call.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-request-id"]);
    end(outbound, Direction::Outbound);
    end(span, Direction::Inbound);
    let (call, served) = (spans.recv().unwrap(), spans.recv().unwrap());
    assert_eq!(call.trace.parent_span_id, Some(served.trace.span_id));
}
