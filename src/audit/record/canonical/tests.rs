use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::audit::record::{Call, Entry, Event, Kind, Outcome, PatientKey, Resource, Tls};

fn line(fields: &Fields) -> String {
    let kind = fields.kind;
    let link = Link {
        stream: "s",
        seq: 7,
        prev: &[0xab; 32],
        time: Timestamp::from_micros(1),
        clock_step: Some(-2000),
        count: None,
        seal: kind.is_some_and(Kind::is_sealed).then_some(Seal {
            index: 3,
            mac: [9; 32],
        }),
    };
    let mut out = Vec::new();
    write(&mut out, fields, link);
    String::from_utf8(out).unwrap()
}

/// An event with all fields that the setters have.
fn full(text: &str) -> Event {
    let text = || text.to_owned();
    let patient = PatientKey::new("k1", &[1; 32]).unwrap().pseudonym("p");
    Event::intent(Call::next())
        .actor(
            Actor::workload(text())
                .principal(text(), text())
                .azp(text())
                .via(text()),
        )
        .action(text())
        .resource(Resource::route(text()).service(text(), text()).id(text()))
        .patient(patient)
        .subject(text())
        .outcome(Outcome::Cancelled)
        .status(599)
        .grpc_status(16)
        .reason(text())
        .policy(text())
        .dry_run(text())
        .configuration(u64::MAX, text())
        .trace(text())
        .request_id(text())
        .source_ip(IpAddr::from([0xffff; 8]))
        .tls(Tls::new(text(), text(), text()).certificate(text()))
        .dest(text())
        .purpose(text())
}

#[test]
fn a01_keys_are_sorted_and_nothing_is_spaced() {
    let event = Event::access()
        .actor(Actor::anonymous())
        .action("GET")
        .outcome(Outcome::Deny)
        .status(403)
        .reason("a \"b\"");
    assert_eq!(
        line(&event.0),
        format!(
            "{{\"action\":\"GET\",\"actor\":{{\"anonymous\":true}},\"clock_step_ms\":-2000,\
             \"outcome\":\"deny\",\"prev\":\"{}\",\"reason\":\"a \\\"b\\\"\",\"seq\":7,\
             \"status\":403,\"stream\":\"s\",\"ts\":\"1970-01-01T00:00:00.000001Z\",\
             \"type\":\"access\",\"v\":1}}",
            "ab".repeat(32)
        )
    );
}

#[test]
fn no_record_is_longer_than_the_most() {
    for text in ["\u{1}", "x", "é", "\"", "\u{1f600}"] {
        let text = text.repeat(8192);
        let config = Event::config(text.clone(), text.clone(), text.clone(), text.clone());
        let identity = Event::identity(text.clone(), UNIX_EPOCH, text.clone());
        for event in [
            full(&text),
            config,
            identity,
            Event::application(text.clone()),
        ] {
            let line = line(&event.0);
            assert!(line.len() <= MOST_BYTES, "{}", line.len());
            Entry::parse(line.as_bytes()).unwrap();
            assert!(event.0.weight() <= 2 * MOST_BYTES);
        }
    }
}

#[test]
fn records_of_the_trail_itself_can_be_read_back() {
    let old = OldStream {
        stream: "o".to_owned(),
        size: 9,
        head: [1; 32],
    };
    let time = Timestamp::from(UNIX_EPOCH + Duration::from_secs(9));
    let own = [
        Own::Start(None),
        Own::Start(Some(old.clone())),
        Own::Gap {
            from: time,
            to: time,
            n: 3,
        },
        Own::Rotate {
            next: "next".to_owned(),
        },
        Own::Checkpoint {
            note: "a\nb\n\n— k x\n".to_owned(),
        },
        Own::Prune(Removed {
            first: "a".to_owned(),
            last: "b".to_owned(),
            latest: Some(time),
            segments: 2,
            follows: Some(old.clone()),
            old,
            peaks: vec![[2; 32]; 64],
        }),
    ];
    for own in own {
        let fields = Fields {
            own,
            ..Fields::default()
        };
        let line = line(&fields);
        assert!(line.len() < MOST_BYTES);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value.to_string(), line);
        // Without a type it is no record.
        Entry::parse(line.as_bytes()).unwrap_err();
    }
}

proptest! {
    #[test]
    fn a01_every_record_is_canonical(text in "\\PC{0,80}|[\\x00-\\x7f]{0,80}") {
        let line = line(&full(&text).0);
        // The map of serde_json is sorted, and it writes without spaces.
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        prop_assert_eq!(&value.to_string(), &line);
        let entry = Entry::parse(line.as_bytes()).unwrap();
        prop_assert_eq!(entry.seq(), 7);
    }
}
