use super::world::{routes, routing, try_routing, virtual_service};

const A: &str = "http://a.srv/";

fn to(host: &str) -> String {
    format!("route: [{{destination: {{host: {host}}}}}]")
}

/// A VirtualService of `a` with one route of its name, by its metadata.
fn dated(meta: &str, export_to: &str, name: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{{meta}}}\n\
         spec: {{hosts: [a.srv.svc.cluster.local], exportTo: [{export_to}], \
         http: [{{name: {name}, route: [{{destination: {{host: b.srv.svc.cluster.local}}}}]}}]}}\n"
    )
}

#[test]
fn the_own_and_the_named_come_before_the_public_and_the_old_before_the_young() {
    let young = "creationTimestamp: '2024-02-01T00:00:00Z'";
    let old = "creationTimestamp: '2024-01-01T00:00:00Z'";
    let all = [
        dated(
            &format!("name: pub-young, namespace: srv, {young}"),
            "'*'",
            "pub-young",
        ),
        dated(
            &format!("name: pub-old, namespace: other, {old}"),
            "'*'",
            "pub-old",
        ),
        dated(
            &format!("name: named, namespace: srv, {young}"),
            "client",
            "named",
        ),
        dated(
            &format!("name: own, namespace: client, {young}"),
            "'.'",
            "own",
        ),
    ];
    let first = |namespace, count: usize| {
        let routing = routing(namespace, &all[..count].concat());
        routes(&routing, A)[0].split(' ').next().unwrap().to_owned()
    };
    assert_eq!(first("client", 4), "own");
    assert_eq!(first("client", 3), "named");
    assert_eq!(first("client", 2), "pub-old");
    assert_eq!(first("srv", 4), "pub-old");
    assert_eq!(first("client", 1), "pub-young");
}

#[test]
fn without_a_word_the_mesh_says_who_sees_it() {
    let yaml = virtual_service("x", &format!("http: [{{name: x, {}}}]", to("b")));
    let mesh = "defaultVirtualServiceExportTo: ['.']";
    let first = |namespace| {
        let routing = try_routing(namespace, &yaml, mesh).unwrap();
        routes(&routing, A)[0].clone()
    };
    assert_eq!(first("srv"), "x / -> outbound|80||b");
    assert_eq!(first("client"), "default / -> outbound|80||a");
}

#[test]
fn the_sidecar_has_only_what_names_the_mesh_or_no_gateway() {
    for (gateways, is_ours) in [("", true), ("mesh", true), ("g, mesh", true), ("g", false)] {
        let gateways = match gateways {
            "" => String::new(),
            list => format!("gateways: [{list}], "),
        };
        let yaml = virtual_service("x", &format!("{gateways}http: [{{name: x, {}}}]", to("b")));
        let first = routes(&routing("client", &yaml), A)[0].clone();
        assert_eq!(first.starts_with("x "), is_ours, "{gateways}");
    }
}

#[test]
fn a_match_is_settled_by_port_gateway_labels_and_namespace() {
    let table = [
        ("port: 80", true),
        ("port: 81", false),
        ("sourceLabels: {app: client}", true),
        ("sourceLabels: {app: other}", false),
        ("sourceNamespace: client", true),
        ("sourceNamespace: srv", false),
        // With gateways the source is not looked at.
        (
            "gateways: [mesh], sourceNamespace: srv, sourceLabels: {app: other}",
            true,
        ),
        ("gateways: [g], sourceNamespace: client", false),
    ];
    for (of_match, holds) in table {
        let http = format!("http: [{{name: x, match: [{{{of_match}}}], {}}}]", to("b"));
        let yaml = virtual_service("x", &http);
        let first = routes(&routing("client", &yaml), A)[0].clone();
        // Nothing is left: the service's own route.
        let expected = match holds {
            true => "x / -> outbound|80||b",
            false => "default / -> outbound|80||a",
        };
        assert_eq!(first, expected, "{of_match}");
    }
}

#[test]
fn matches_are_tried_in_order_up_to_one_that_takes_everything() {
    let yaml = virtual_service(
        "x",
        "http: [
          {name: r, match: [{name: e, uri: {exact: /e}}, {uri: {prefix: /p}},
            {name: h, headers: {x: {exact: '1'}}}, {uri: {regex: .*}}, {uri: {prefix: /late}}],
            route: [{destination: {host: b}}]},
          {name: never, route: [{destination: {host: c}}]}]",
    );
    let expected = [
        "r.e =/e -> outbound|80||b",
        "r /p -> outbound|80||b",
        "r.h / -> outbound|80||b",
        "r ~.* -> outbound|80||b",
    ];
    assert_eq!(routes(&routing("client", &yaml), A), expected);
}

#[test]
fn the_first_of_two_for_one_host_has_it_alone() {
    let first = virtual_service(
        "a1",
        "hosts: [a.srv.svc.cluster.local, x.test], http: [{name: one, match: [{uri: {prefix: /p}}],
          route: [{destination: {host: b}}]}]",
    );
    let second = virtual_service(
        "a2",
        "hosts: [a.srv.svc.cluster.local, y.test], http: [{name: two, route: [{destination: {host: c}}]}]",
    );
    let routing = routing("client", &(second + &first));
    assert_eq!(routes(&routing, A), ["one /p -> outbound|80||b"]);
    assert_eq!(
        routes(&routing, "http://x.test/"),
        ["one /p -> outbound|80||b"]
    );
    assert_eq!(
        routes(&routing, "http://y.test/"),
        ["two / -> outbound|80||c"]
    );
}

#[test]
fn a_sidecar_leaves_out_what_it_does_not_import() {
    let sidecar = |hosts: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\n\
             metadata: {{name: s, namespace: client}}\nspec: {{egress: [{{hosts: [{hosts}]}}]}}\n"
        )
    };
    let yaml = virtual_service(
        "x",
        "hosts: ['*.svc.cluster.local', x.test], http: [{name: x, route: [{destination: {host: c}}]}]",
    );
    let seen = |hosts: &str| {
        let routing = routing("client", &(sidecar(hosts) + &yaml));
        (
            routes(&routing, A)[0].clone(),
            routes(&routing, "http://x.test/")[0].clone(),
        )
    };
    let unknown = "allow_any / -> PassthroughCluster".to_owned();
    let routed = "x / -> outbound|80||c".to_owned();
    // The whole resource is kept with any of its hosts.
    assert_eq!(
        seen("srv/a.srv.svc.cluster.local"),
        (routed.clone(), routed.clone())
    );
    assert_eq!(seen("'*/x.test'"), (unknown.clone(), routed));
    assert_eq!(seen("./*"), (unknown.clone(), unknown));
}
