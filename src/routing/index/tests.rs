use std::sync::Arc;

use proptest::prelude::*;

use super::TableIndex;
use crate::istio::Position;
use crate::matcher::{SafeRegex, StringMatcher};
use crate::routing::route::{
    Action, Call, HeaderChanges, HeaderMatch, HeaderTest, PathMatch, Respond, Route, RouteMatch,
    Subject,
};
use crate::routing::{RouteTable, VirtualHost};

fn route(path: PathMatch, header: Option<&str>) -> Route {
    let headers = header.map(|value| HeaderMatch {
        subject: Subject::header("x"),
        test: HeaderTest::Text(StringMatcher::exact(value)),
        missing_is_empty: false,
        invert: false,
    });
    Route {
        name: None,
        matches: RouteMatch {
            path,
            headers: headers.into_iter().collect(),
            ..RouteMatch::all()
        },
        action: Action::Respond(Respond {
            status: 200,
            body: Vec::new(),
        }),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        fault: None,
        cors: None,
        stat_prefix: None,
        at: Position::default(),
    }
}

fn path_text() -> impl Strategy<Value = String> {
    "(/[abA]{0,2}){1,4}".prop_map(|text: String| text)
}

fn path_match() -> impl Strategy<Value = PathMatch> {
    (path_text(), any::<bool>(), 0..8_u8).prop_map(|(text, ignore_case, kind)| match kind {
        0 | 1 => PathMatch::Exact {
            path: text,
            ignore_case,
        },
        2..=4 => PathMatch::Prefix {
            prefix: text,
            ignore_case,
        },
        5 | 6 => PathMatch::Segments {
            prefix: text.trim_end_matches('/').to_owned(),
            ignore_case,
        },
        _ => PathMatch::Regex {
            regex: SafeRegex::new(&format!("{text}.*")).unwrap(),
            ignore_case,
        },
    })
}

fn routes() -> impl Strategy<Value = Arc<[Route]>> {
    let header = prop_oneof![3 => Just(None), 1 => Just(Some("1"))];
    let one = (path_match(), header).prop_map(|(path, header)| route(path, header));
    prop::collection::vec(one, 0..40).prop_map(Arc::from)
}

fn domain() -> impl Strategy<Value = String> {
    let name = "[abA]{1,2}(\\.[ab]{1,2}){0,2}";
    prop_oneof![
        4 => name,
        2 => name.prop_map(|name: String| format!("*.{name}")),
        1 => name.prop_map(|name: String| format!("*{name}")),
        2 => name.prop_map(|name: String| format!("{name}.*")),
        1 => Just("*".to_owned()),
    ]
}

fn table() -> impl Strategy<Value = RouteTable> {
    let host = (prop::collection::vec(domain(), 1..4), routes());
    prop::collection::vec(host, 1..8).prop_map(|hosts| {
        // A domain is of one virtual host only.
        let mut taken = std::collections::HashSet::new();
        let virtual_hosts = hosts.into_iter().map(|(mut domains, routes)| {
            domains.retain(|domain| taken.insert(domain.to_ascii_lowercase()));
            VirtualHost {
                name: domains.join(","),
                domains,
                routes,
            }
        });
        RouteTable {
            name: "80".to_owned(),
            virtual_hosts: virtual_hosts.collect(),
        }
    })
}

fn call() -> impl Strategy<Value = Call> {
    let host = prop_oneof![
        6 => "[abA]{1,2}(\\.[abA]{1,2}){0,3}(:80)?",
        1 => Just("\\[::1\\]:80".to_owned()),
        1 => domain(),
        1 => Just("A".repeat(300)),
    ];
    let path = prop_oneof![8 => path_text(), 1 => Just("/a".repeat(20))];
    (host, path, any::<bool>()).prop_map(|(host, path, header)| {
        let call = Call::get(&format!("http://{host}{path}?a=/b"));
        if header { call.header("x", "1") } else { call }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_index_chooses_as_the_plain_search_does(
        table in table(),
        calls in prop::collection::vec(call(), 20),
    ) {
        let index = TableIndex::new(&table);
        for call in &calls {
            let plain = table.choose(call);
            let found = index.choose(&table, call);
            let same = match (&plain, &found) {
                (Some(plain), Some(found)) => {
                    std::ptr::eq(plain.route, found.route)
                        && std::ptr::eq(plain.virtual_host, found.virtual_host)
                }
                (None, None) => true,
                _ => false,
            };
            prop_assert!(same, "{call:?}: {plain:?} but {found:?}");
        }
    }
}

/// `cargo test --release --lib routing::index -- --ignored --nocapture` prints the times.
#[test]
#[ignore = "measures"]
fn the_time_of_a_choice() {
    for hosts in [10, 1_000] {
        let prefix = |number: usize| PathMatch::Prefix {
            prefix: format!("/api/v{number}/"),
            ignore_case: false,
        };
        let routes: Arc<[Route]> = (0..10).map(|number| route(prefix(number), None)).collect();
        let virtual_hosts = (0..hosts).map(|number| {
            let host = format!("service-{number}.clinic.svc.cluster.local");
            VirtualHost {
                name: host.clone(),
                domains: vec![
                    host.clone(),
                    format!("{host}."),
                    format!("service-{number}.clinic"),
                ],
                routes: Arc::clone(&routes),
            }
        });
        let table = RouteTable {
            name: "80".to_owned(),
            virtual_hosts: virtual_hosts.collect(),
        };
        let index = TableIndex::new(&table);
        let calls: Vec<_> = (0..hosts)
            .map(|number| {
                let version = number % 10;
                let host = format!("service-{number}.clinic.svc.cluster.local");
                Call::get(&format!(
                    "http://{host}:80/api/v{version}/patients/7?full=1"
                ))
            })
            .collect();
        let start = std::time::Instant::now();
        let rounds = 2_000_000 / hosts;
        for _ in 0..rounds {
            for call in &calls {
                assert!(std::hint::black_box(index.choose(&table, call)).is_some());
            }
        }
        let each = start.elapsed() / u32::try_from(rounds * hosts).unwrap();
        println!("{hosts} virtual hosts of 10 rules: {each:?}");
    }
}
