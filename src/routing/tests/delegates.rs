use super::world::{routes, routing, virtual_service};

const A: &str = "http://a.srv/";

/// The routes of a root whose one route has these matches, and of a delegate with these.
fn merged(root: &str, delegate: &str) -> Vec<String> {
    let matches = |list: &str| match list {
        "" => String::new(),
        list => format!("match: [{list}], "),
    };
    let root = format!(
        "http: [{{name: R, {}delegate: {{name: d}}}}, {{name: rest, route: [{{destination: {{host: c}}}}]}}]",
        matches(root)
    );
    let delegate = format!(
        "hosts: [], http: [{{name: D, {}route: [{{destination: {{host: b}}}}]}}]",
        matches(delegate)
    );
    let delegate = virtual_service("d", &delegate).replace("hosts: [], ", "");
    routes(
        &routing("client", &(virtual_service("root", &root) + &delegate)),
        A,
    )
}

#[test]
fn a_delegates_match_must_lie_within_its_roots() {
    let table = [
        ("", "", Some("/")),
        ("{uri: {prefix: /a}}", "", Some("/a")),
        ("", "{uri: {prefix: /a}}", Some("/a")),
        ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}", Some("/a/b")),
        ("{uri: {prefix: /a}}", "{uri: {exact: /a/x}}", Some("=/a/x")),
        ("{uri: {prefix: /a/b}}", "{uri: {prefix: /a}}", None),
        ("{uri: {exact: /e}}", "{uri: {exact: /e}}", Some("=/e")),
        ("{uri: {exact: /e}}", "{uri: {exact: /f}}", None),
        ("{uri: {exact: /e}}", "{uri: {prefix: /e}}", None),
        ("{uri: {regex: '/a.*'}}", "{uri: {regex: '/a.*'}}", None),
        ("{uri: {regex: '/a.*'}}", "{uri: {exact: /a}}", None),
        ("{uri: {exact: /a}}", "{uri: {regex: '/a.*'}}", None),
        ("{uri: {regex: '/a.*'}}", "", Some("~/a.*")),
        (
            "{uri: {regex: '/a.*'}}",
            "{headers: {x: {exact: '1'}}}",
            Some("~/a.*"),
        ),
        (
            "{headers: {x: {exact: '1'}}}",
            "{headers: {x: {exact: '1'}}}",
            Some("/"),
        ),
        (
            "{headers: {x: {exact: '1'}}}",
            "{headers: {x: {exact: '2'}}}",
            None,
        ),
        (
            "{headers: {x: {exact: '1'}}}",
            "{headers: {z: {exact: '2'}}}",
            Some("/"),
        ),
        ("{headers: {x: {}}}", "{headers: {x: {exact: '2'}}}", None),
        (
            "{withoutHeaders: {x: {exact: '1'}}}",
            "{withoutHeaders: {x: {exact: '2'}}}",
            None,
        ),
        (
            "{queryParams: {q: {prefix: a}}}",
            "{queryParams: {q: {exact: ab}}}",
            Some("/"),
        ),
        ("{method: {exact: GET}}", "{method: {exact: PUT}}", None),
        (
            "{uri: {prefix: /a}, ignoreUriCase: true}",
            "{uri: {prefix: /a}}",
            None,
        ),
        ("{port: 80}", "{port: 81}", None),
        ("{port: 80}", "{uri: {exact: /4}}", Some("=/4")),
        (
            "{sourceLabels: {app: client}}",
            "{sourceLabels: {app: other}}",
            None,
        ),
        (
            "{sourceNamespace: client}",
            "{sourceNamespace: client}",
            Some("/"),
        ),
        ("{sourceNamespace: client}", "{uri: {exact: /n}}", None),
        ("{sourceNamespace: client}", "", Some("/")),
        (
            "{uri: {exact: /n}}",
            "{sourceNamespace: client}",
            Some("=/n"),
        ),
        ("{gateways: [mesh]}", "{gateways: [mesh]}", Some("/")),
        ("{gateways: [mesh]}", "{gateways: [mesh, g]}", None),
        ("{gateways: [mesh]}", "{uri: {exact: /g}}", Some("=/g")),
    ];
    for (root, delegate, expected) in table {
        let found = merged(root, delegate);
        let expected = match expected {
            Some("/") if !found[0].contains("rest") => "R-D / -> outbound|80||b".to_owned(),
            Some(path) => format!("R-D {path} -> outbound|80||b"),
            None => "rest / -> outbound|80||c".to_owned(),
        };
        assert_eq!(found[0], expected, "{root} {delegate}");
    }
}

#[test]
fn matches_multiply_and_one_without_a_partner_drops_the_route() {
    let both = merged(
        "{uri: {prefix: /a}}, {uri: {prefix: /b}}",
        "{uri: {prefix: /a/1}}, {headers: {x: {exact: '1'}}}",
    );
    let expected = [
        "R-D /a/1 -> outbound|80||b",
        "R-D /a -> outbound|80||b",
        "R-D /b -> outbound|80||b",
        "rest / -> outbound|80||c",
    ];
    assert_eq!(both, expected);
    let one = merged(
        "{uri: {prefix: /a}}",
        "{uri: {prefix: /a/1}}, {uri: {prefix: /b}}",
    );
    assert_eq!(one, ["rest / -> outbound|80||c"]);
}

#[test]
fn a_delegate_that_is_missing_or_hidden_drops_its_route_only() {
    let root = virtual_service(
        "root",
        "http: [{name: R, delegate: {name: d, namespace: dns}}, {name: rest, route: [{destination: {host: c}}]}]",
    );
    let delegate = |export_to: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: d, namespace: dns}}\nspec: {{exportTo: [{export_to}], \
             http: [{{name: D, route: [{{destination: {{host: b.srv.svc.cluster.local}}}}]}}]}}\n"
        )
    };
    let rest = ["rest / -> outbound|80||c"];
    assert_eq!(routes(&routing("client", &root), A), rest);
    assert_eq!(
        routes(&routing("client", &(root.clone() + &delegate("client"))), A),
        rest
    );
    // Only the root must see it, not who calls.
    let seen = routes(&routing("client", &(root + &delegate("srv"))), A);
    assert_eq!(seen, ["R-D / -> outbound|80||b"]);
}

#[test]
fn blocks_are_the_delegates_or_the_roots_whole() {
    let root = virtual_service(
        "root",
        "http: [{name: R, timeout: 1s, retries: {attempts: 7}, headers: {request: {set: {x: root}, remove: [gone]}},
          delegate: {name: d}}]",
    );
    let delegate = virtual_service(
        "d",
        "hosts: [], http: [{name: D, timeout: 2s, headers: {request: {set: {z: delegate}}}, route: [{destination: {host: b}}]}]",
    )
    .replace("hosts: [], ", "");
    let routing = routing("client", &(root + &delegate));
    let table = routing.table(80).unwrap();
    let route = &table.virtual_host("a.srv").unwrap().routes[0];
    let crate::routing::route::Action::Forward(forward) = &route.action else {
        panic!("{route:?}");
    };
    assert_eq!(forward.timeout, Some(std::time::Duration::from_secs(2)));
    assert_eq!(forward.retry.as_ref().unwrap().retries, 7);
    assert_eq!(route.request_headers.add[0].name, "z");
    assert!(route.request_headers.remove.is_empty());
}
