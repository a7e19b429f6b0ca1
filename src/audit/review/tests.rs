use std::time::{Duration, SystemTime};

use super::*;
use crate::audit::{Actor, Audit, Call, Event, Outcome, PatientKey, Resource, Trail, Verify};

const LONG: Duration = Duration::from_secs(60);

fn trail() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::builder()
        .trail(Trail::folder(folder.path()))
        .start()
        .unwrap();
    let desk = || Actor::workload("spiffe://td/ns/default/sa/desk");
    let patients = || Resource::route("/patients/{id}");
    for number in 0..5 {
        let call = Call::next();
        let actor = desk().principal("https://idp", "dr-7");
        audit.submit(
            Event::intent(call)
                .actor(actor)
                .action("GET")
                .resource(patients())
                .outcome(Outcome::Allow)
                .trace(format!("t{number}")),
        );
        let outcome = if number == 4 {
            Outcome::Error
        } else {
            Outcome::Allow
        };
        audit.submit(Event::completion(call).outcome(outcome).status(200));
    }
    for _ in 0..3 {
        audit.submit(
            Event::access()
                .actor(Actor::anonymous())
                .action("DELETE")
                .resource(patients())
                .outcome(Outcome::Deny)
                .policy("ns[default]-policy[desk-reads]-rule[0]")
                .reason("rbac"),
        );
    }
    audit.submit(
        Event::break_glass()
            .actor(desk())
            .action("GET")
            .resource(patients()),
    );
    audit.submit(Event::config("a1", "b2", "policies.yaml", "applied"));
    audit.submit(Event::identity("01", SystemTime::now(), "c3"));
    let key = PatientKey::new("k", &[1; 32]).unwrap();
    audit.submit(
        Event::application("chart.read")
            .subject("a\u{1b}[2J\u{202e}b")
            .patient(key.pseudonym("7")),
    );
    assert!(audit.shutdown(LONG));
    folder
}

fn shown(folder: &tempfile::TempDir, filter: RecordFilter, form: Form) -> Vec<String> {
    let mut out = Vec::new();
    let show = Show::new(folder.path()).filter(filter).form(form);
    let shown = show.write(&mut out).unwrap();
    let lines: Vec<_> = String::from_utf8(out)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!((shown.records, shown.unreadable), (lines.len() as u64, 0));
    lines
}

#[test]
fn records_are_found_by_who_what_when_outcome_trace_and_type() {
    let folder = trail();
    let count = |filter| shown(&folder, filter, Form::Json).len();
    let all = RecordFilter::default;
    assert_eq!(count(all()), 19);
    assert_eq!(count(all().who("dr-7")), 5);
    assert_eq!(count(all().who("sa/desk")), 6);
    assert_eq!(count(all().who("anonymous")), 3);
    assert_eq!(count(all().who("dr-").exact()), 0);
    assert_eq!(count(all().who("dr-7").what("GET").exact()), 5);
    assert_eq!(count(all().what("DELETE")), 3);
    assert_eq!(count(all().what("chart.read")), 1);
    assert_eq!(count(all().outcome("deny")), 3);
    assert_eq!(count(all().trace("t3")), 1);
    assert_eq!(count(all().kind("break_glass")), 1);
    assert_eq!(count(all().who("dr-7").outcome("deny")), 0);
    let key = PatientKey::new("k", &[1; 32]).unwrap();
    assert_eq!(count(all().patient(key.pseudonym("7").to_string())), 1);
    let now = SystemTime::now();
    assert_eq!(count(all().from(now)), 0);
    assert_eq!(count(all().to(now)), 19);
    assert_eq!(count(all().from(now - LONG).to(now)), 19);
}

#[test]
fn a_person_gets_lines_that_cannot_change_a_terminal_and_a_program_gets_the_records() {
    let folder = trail();
    let lines = shown(&folder, RecordFilter::default().kind("event"), Form::Text);
    assert!(
        lines[0].contains(" event chart.read subject a\\u{1b}[2J\\u{202e}b patient "),
        "{}",
        lines[0]
    );
    let lines = shown(&folder, RecordFilter::default().trace("t0"), Form::Text);
    let expected = " access intent allow GET /patients/{id} by dr-7 at spiffe://td/ns/default/sa/desk trace t0 [";
    assert!(lines[0].contains(expected), "{}", lines[0]);
    for line in shown(&folder, RecordFilter::default(), Form::Json) {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.to_string(), line);
    }
}

#[test]
fn a_report_answers_the_standing_questions() {
    let folder = trail();
    let report = ActivityReport::read(&Verify::new(folder.path()), None, None).unwrap();
    let accesses: Vec<_> = report.accesses().collect();
    let [(access, 5)] = accesses.as_slice() else {
        panic!("{accesses:?}");
    };
    assert_eq!(access.who, "dr-7 at spiffe://td/ns/default/sa/desk");
    assert_eq!(
        (access.action.as_str(), access.resource.as_str()),
        ("GET", "/patients/{id}")
    );
    let refusals: Vec<_> = report.refusals().collect();
    let [(refused, 3)] = refusals.as_slice() else {
        panic!("{refusals:?}");
    };
    assert_eq!(refused.policy, "ns[default]-policy[desk-reads]-rule[0]");
    assert_eq!(refused.what, "DELETE /patients/{id}");
    assert_eq!(report.break_glass().0, 1);
    assert_eq!(
        report.configuration().1[0].what,
        "policies.yaml: applied, a1 to b2"
    );
    assert!(report.verification().is_whole());
    let text = report.to_string();
    for part in [
        "       5  dr-7 at spiffe",
        "emergency access: 1 uses",
        "1  chart.read",
        "whole: 19",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["accesses"]["counts"][0]["count"], 5);
    assert_eq!(json["accesses"]["counts"][0]["what"]["action"], "GET");
    assert_eq!(json["errors"], 1);
    assert_eq!(json["verification"]["records"], 19);
    // Another period.
    let now = SystemTime::now();
    let later = ActivityReport::read(&Verify::new(folder.path()), Some(now), None).unwrap();
    assert_eq!(later.accesses().count(), 0);
}

/// A subject is a name that its issuer has given, and a request that was not let through is no access.
#[test]
fn a_report_tells_users_of_two_issuers_apart_and_counts_only_what_was_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let audit = Audit::builder()
        .trail(Trail::folder(folder.path()))
        .start()
        .unwrap();
    let read = |call, actor| {
        Event::intent(call)
            .actor(actor)
            .action("GET")
            .resource(Resource::route("/patients/{id}"))
            .outcome(Outcome::Allow)
    };
    let end = |call, outcome, reason| Event::completion(call).outcome(outcome).reason(reason);
    let ours = || Actor::user("https://idp", "dr-7");
    let others = || Actor::user("https://other", "dr-7");
    for (actor, outcome, reason) in [
        (ours(), Outcome::Allow, ""),
        (others(), Outcome::Allow, ""),
        (
            others().via("spiffe://td/ns/a/sa/proxy"),
            Outcome::Error,
            "",
        ),
        (ours(), Outcome::Error, "audit_unavailable"),
        (ours(), Outcome::Deny, "guard"),
    ] {
        let call = Call::next();
        audit.submit(read(call, actor));
        audit.submit(end(call, outcome, reason));
    }
    audit.submit(read(Call::next(), ours()));
    assert!(audit.shutdown(LONG));
    let report = ActivityReport::read(&Verify::new(folder.path()), None, None).unwrap();
    let counted: Vec<_> = report
        .accesses()
        .map(|(access, count)| (access.issuer.as_str(), access.via.as_str(), count))
        .collect();
    assert_eq!(
        counted,
        [
            ("https://idp", "", 2),
            ("https://other", "", 1),
            ("https://other", "spiffe://td/ns/a/sa/proxy", 1),
        ]
    );
    let text = report.to_string();
    for part in [
        "       2  dr-7  GET /patients/{id}  issuer https://idp\n",
        "       1  dr-7  GET /patients/{id}  issuer https://other  via spiffe://td/ns/a/sa/proxy\n",
        "       1  of these have no end in the period\n",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["open"], 1);
    assert_eq!(
        json["accesses"]["counts"][0]["what"]["issuer"],
        "https://idp"
    );
}
