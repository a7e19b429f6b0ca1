//! What each field and each key compiles to, row by row.

use super::notation;
use super::world::{compiled, compiled_in, from, policy, texts, to, when};
use crate::istio::{Action, MeshConfig, Rule, Source};

/// Permissions and principals of one ALLOW rule, without the `and[..]` around a single field.
fn parts(mesh: &MeshConfig, rule: Rule) -> (String, String) {
    let program = compiled_in(mesh, vec![policy("p", Action::Allow, vec![rule])]).unwrap();
    let allow = program.http.default.allow.enforced.clone().unwrap();
    let rule = allow.policies.into_values().next().unwrap();
    let bare = |text: String| {
        let inside = text.strip_prefix("and[").and_then(|t| t.strip_suffix(']'));
        inside.unwrap_or(&text).to_owned()
    };
    let permissions = rule.permissions.iter().map(notation::permission);
    let principals = rule.principals.iter().map(notation::principal);
    (
        bare(permissions.collect::<Vec<_>>().join(", ")),
        bare(principals.collect::<Vec<_>>().join(", ")),
    )
}

fn principal(rule: Rule) -> String {
    let (permission, principal) = parts(&MeshConfig::default(), rule);
    assert_eq!(permission, "any");
    principal
}

fn permission(rule: Rule) -> String {
    let (permission, principal) = parts(&MeshConfig::default(), rule);
    assert_eq!(principal, "any");
    permission
}

type Field = fn(&mut Source, Vec<crate::istio::Text>);

#[test]
fn source_fields_become_principals() {
    let principals: Field = |source, values| source.principals = values;
    let namespaces: Field = |source, values| source.namespaces = values;
    let accounts: Field = |source, values| source.service_accounts = values;
    let domains: Field = |source, values| source.trust_domains = values;
    let ips: Field = |source, values| source.ip_blocks = values;
    let remote_ips: Field = |source, values| source.remote_ip_blocks = values;
    let rows: &[(Field, &str, &str)] = &[
        (
            principals,
            "td/ns/a/sa/b",
            "authenticated exact spiffe://td/ns/a/sa/b",
        ),
        (
            principals,
            "td/ns/a/*",
            "authenticated prefix spiffe://td/ns/a/",
        ),
        (
            principals,
            "*/sa/b.c",
            r"authenticated regex spiffe://.*/sa/b\.c",
        ),
        (principals, "*", "authenticated regex .+"),
        (
            principals,
            "spiffe://td/x",
            "authenticated exact spiffe://spiffe://td/x",
        ),
        (principals, "**", r"authenticated regex spiffe://.*\*"),
        (namespaces, "a", "authenticated regex .*/ns/a/.*"),
        (namespaces, "a.b", r"authenticated regex .*/ns/a\.b/.*"),
        (namespaces, "f*o*", "authenticated regex .*/ns/f.*o.*/.*"),
        (namespaces, "*", "authenticated regex .*/ns/.*/.*"),
        (
            namespaces,
            "a-b#c~d&e",
            "authenticated regex .*/ns/a-b#c~d&e/.*",
        ),
        (
            accounts,
            "sa",
            "authenticated regex spiffe://.+/ns/foo/(.+/|)sa/sa(/.+)?",
        ),
        (
            accounts,
            "n/s.a",
            r"authenticated regex spiffe://.+/ns/n/(.+/|)sa/s\.a(/.+)?",
        ),
        (domains, "td", "authenticated prefix spiffe://td/"),
        (domains, "*", "authenticated prefix spiffe://"),
        (
            domains,
            "*.td",
            r"authenticated regex spiffe://[^/]*\.td/.*",
        ),
        (
            domains,
            "td.*",
            r"authenticated regex spiffe://td\.[^/]*/.*",
        ),
        (ips, "10.1.2.3", "direct_remote_ip 10.1.2.3/32"),
        (ips, "10.1.2.3/8", "direct_remote_ip 10.0.0.0/8"),
        (ips, "::1", "direct_remote_ip ::1/128"),
        (remote_ips, "9.9.9.0/24", "remote_ip 9.9.9.0/24"),
    ];
    for (field, value, expected) in rows {
        let rule = from(|source| field(source, texts(&[value])));
        assert_eq!(principal(rule), format!("or[{expected}]"), "{value}");
    }
}

#[test]
fn request_principals_split_at_the_last_slash() {
    let rows = [
        ("*", "regex .+", "regex .+"),
        ("*/alice", "regex .+", "exact alice"),
        ("*.com/alice", "suffix .com", "exact alice"),
        ("*alice", "regex .+", "suffix alice"),
        ("https://idp/*", "exact https://idp", "regex .+"),
        ("https://idp/al*", "exact https://idp", "prefix al"),
        ("https://idp*", "exact https:/", "prefix idp"),
        ("idp*", "prefix idp", "regex .+"),
        ("https://idp/a/b", "exact https://idp/a", "exact b"),
        ("idp", "exact idp", "exact "),
        ("*/", "regex .+", "exact "),
        ("*/*", "regex .+", "exact *"),
    ];
    for (value, issuer, subject) in rows {
        let expected = format!("and[jwt{{payload|iss}} {issuer}, jwt{{payload|sub}} {subject}]");
        let rule = from(|source| source.request_principals = texts(&[value]));
        assert_eq!(principal(rule), expected, "{value}");
        assert_eq!(
            principal(when("request.auth.principal", &[value], &[])),
            expected
        );
    }
    let two = from(|source| source.not_request_principals = texts(&["a/b", "*"]));
    assert_eq!(
        principal(two),
        "not(or[and[jwt{payload|iss} exact a, jwt{payload|sub} exact b], \
         and[jwt{payload|iss} regex .+, jwt{payload|sub} regex .+]])"
    );
}

#[test]
fn operation_fields_become_permissions() {
    let hosts = |values: &[&str]| to(|operation| operation.hosts = texts(values));
    let methods = |values: &[&str]| to(|operation| operation.methods = texts(values));
    let paths = |values: &[&str]| to(|operation| operation.paths = texts(values));
    let ports = |values: &[&str]| to(|operation| operation.ports = texts(values));
    let rows = [
        (hosts(&["Foo.com"]), "or[header{:authority} exacti Foo.com]"),
        (
            hosts(&["*.foo.com"]),
            "or[header{:authority} suffixi .foo.com]",
        ),
        (hosts(&["*"]), "or[header{:authority} present]"),
        (
            methods(&["GET", "P*"]),
            "or[header{:method} exact GET, header{:method} prefix P]",
        ),
        (paths(&["/a"]), "or[path exact /a]"),
        (
            paths(&["/a/*", "*.txt"]),
            "or[path prefix /a/, path suffix .txt]",
        ),
        (paths(&["*foo*"]), "or[path suffix foo*]"),
        (paths(&["**"]), "or[path suffix *]"),
        (paths(&["/a*b"]), "or[path exact /a*b]"),
        (paths(&["*"]), "or[path regex .+]"),
        (paths(&["/a/{*}/b/{**}"]), "or[template /a/{*}/b/{**}]"),
        (ports(&["80", "8443"]), "or[port 80, port 8443]"),
    ];
    for (rule, expected) in rows {
        assert_eq!(permission(rule), expected);
    }
}

#[test]
fn conditions_go_to_their_side() {
    let rows = [
        ("request.headers[X-Foo]", "a*", "or[header{x-foo} prefix a]"),
        ("request.headers[x]", "*", "or[header{x} present]"),
        ("request.headers[:path]", "/a", "or[header{:path} exact /a]"),
        ("source.ip", "10.0.0.0/8", "or[direct_remote_ip 10.0.0.0/8]"),
        ("remote.ip", "10.0.0.1", "or[remote_ip 10.0.0.1/32]"),
        (
            "source.namespace",
            "a",
            "or[authenticated regex .*/ns/a/.*]",
        ),
        (
            "source.principal",
            "td/x",
            "or[authenticated exact spiffe://td/x]",
        ),
        (
            "source.serviceAccount",
            "n/s",
            "or[authenticated regex spiffe://.+/ns/n/(.+/|)sa/s(/.+)?]",
        ),
        (
            "source.trustDomain",
            "td",
            "or[authenticated prefix spiffe://td/]",
        ),
        (
            "request.auth.audiences",
            "a",
            "jwt{payload|aud} or[list(exact a), exact a]",
        ),
        (
            "request.auth.presenter",
            "a*",
            "jwt{payload|azp} or[list(prefix a), prefix a]",
        ),
        (
            "request.auth.claims[a]",
            "*",
            "jwt{payload|a} or[list(regex .+), regex .+]",
        ),
        (
            "request.auth.claims[a.b][c]",
            "x",
            "jwt{payload|a.b|c} or[list(exact x), exact x]",
        ),
        (
            "request.auth.claims[a]x[b]",
            "x",
            "jwt{payload|a]x[b} or[list(exact x), exact x]",
        ),
    ];
    for (key, value, expected) in rows {
        assert_eq!(principal(when(key, &[value], &[])), expected, "{key}");
    }
    let rows = [
        (
            "destination.ip",
            "10.0.0.1",
            "or[destination_ip 10.0.0.1/32]",
        ),
        ("destination.port", "80", "or[port 80]"),
        ("connection.sni", "*", "or[sni regex .+]"),
        ("connection.sni", "a.*", "or[sni prefix a.]"),
        (
            "experimental.envoy.filters.a.b[k]",
            "v",
            "envoy.filters.a.b{k} exact v",
        ),
        (
            "experimental.envoy.filters.a.b[k]",
            "[v*]",
            "envoy.filters.a.b{k} list(prefix v)",
        ),
    ];
    for (key, value, expected) in rows {
        assert_eq!(permission(when(key, &[value], &[])), expected, "{key}");
    }
    assert_eq!(
        permission(when(
            "experimental.envoy.filters.a.b[k]",
            &["v", "[w]"],
            &[]
        )),
        "envoy.filters.a.b{k} or[exact v, list(exact w)]"
    );
    assert_eq!(
        principal(when("request.auth.claims[g]", &["a", "b*"], &["c"])),
        "jwt{payload|g} or[list(or[exact a, prefix b]), or[exact a, prefix b]], \
         not(jwt{payload|g} or[list(exact c), exact c])"
    );
}

#[test]
fn a_negative_list_is_not_of_or() {
    let rule = from(|source| {
        source.namespaces = texts(&["a"]);
        source.not_namespaces = texts(&["b", "c"]);
    });
    assert_eq!(
        principal(rule),
        "or[authenticated regex .*/ns/a/.*], \
         not(or[authenticated regex .*/ns/b/.*, authenticated regex .*/ns/c/.*])"
    );
}

#[test]
fn fields_of_a_rule_are_anded_in_istios_order_and_entries_ored() {
    let mut rule = from(|source| {
        source.ip_blocks = texts(&["10.0.0.1"]);
        source.principals = texts(&["td/a"]);
    });
    rule.from.push(Source {
        namespaces: texts(&["n"]),
        ..Source::default()
    });
    rule.to = to(|operation| {
        operation.ports = texts(&["80"]);
        operation.methods = texts(&["GET"]);
    })
    .to;
    rule.when = when("source.ip", &[], &["10.0.0.2"]).when;
    rule.when.extend(when("connection.sni", &["s"], &[]).when);
    let program = compiled(vec![policy("p", Action::Allow, vec![rule])]).unwrap();
    let allow = program.http.default.allow.enforced.as_ref().unwrap();
    assert_eq!(
        notation::rbac(allow),
        ["ns[foo]-policy[p]-rule[0]: \
          and[or[header{:method} exact GET], or[port 80], or[sni exact s]] => \
          and[or[authenticated exact spiffe://td/a], or[direct_remote_ip 10.0.0.1/32], not(or[direct_remote_ip 10.0.0.2/32])], \
          and[or[authenticated regex .*/ns/n/.*], not(or[direct_remote_ip 10.0.0.2/32])]"]
    );
}

#[test]
fn trust_domain_aliases_are_added_and_cluster_local_means_ours() {
    let mesh = |domain: &str, aliases: &[&str]| MeshConfig {
        trust_domain: Some(domain.to_owned()),
        trust_domain_aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        ..MeshConfig::default()
    };
    let rows = [
        (
            mesh("td2", &[]),
            "cluster.local/ns/a/sa/b",
            "exact spiffe://td2/ns/a/sa/b",
        ),
        (
            mesh("td1", &["td2"]),
            "td2/ns/a/sa/b",
            "exact spiffe://td1/ns/a/sa/b|exact spiffe://td2/ns/a/sa/b",
        ),
        (
            mesh("td1", &["td2"]),
            "cluster.local/ns/a/sa/b",
            "exact spiffe://td1/ns/a/sa/b|exact spiffe://td2/ns/a/sa/b",
        ),
        (
            mesh("td1", &["td2"]),
            "other/ns/a/sa/b",
            "exact spiffe://other/ns/a/sa/b",
        ),
        (
            mesh("td1", &["td2"]),
            "td1/ns/a/b",
            "exact spiffe://td1/ns/a/b",
        ),
        (
            mesh("td1", &["td2"]),
            "*/ns/a/sa/b",
            "regex spiffe://.*/ns/a/sa/b",
        ),
        (
            mesh("foobar", &["td2"]),
            "*bar/ns/a/sa/b",
            "regex spiffe://.*bar/ns/a/sa/b|exact spiffe://td2/ns/a/sa/b",
        ),
        (
            mesh("old-td", &["new-td"]),
            "*-td/ns/a/sa/b",
            "regex spiffe://.*-td/ns/a/sa/b",
        ),
        (
            mesh("td1", &["td*"]),
            "tdx/ns/a/sa/b",
            "exact spiffe://td1/ns/a/sa/b|exact spiffe://td*/ns/a/sa/b",
        ),
    ];
    for (mesh, value, expected) in rows {
        let nodes: Vec<_> = expected
            .split('|')
            .map(|matcher| format!("authenticated {matcher}"))
            .collect();
        let expected = format!("or[{}]", nodes.join(", "));
        let written = from(|source| source.principals = texts(&[value]));
        assert_eq!(parts(&mesh, written).1, expected, "{value}");
        let key = when("source.principal", &[], &[value]);
        assert_eq!(parts(&mesh, key).1, format!("not({expected})"), "{value}");
    }
    let domains =
        from(|source| source.trust_domains = texts(&["td2", "x", "td1", "cluster.local"]));
    assert_eq!(
        parts(&mesh("td1", &["td2"]), domains).1,
        "or[authenticated prefix spiffe://td1/, authenticated prefix spiffe://td2/, \
         authenticated prefix spiffe://x/, authenticated prefix spiffe://cluster.local/]"
    );
}

#[test]
fn what_has_no_meaning_is_refused_with_its_field() {
    let rows = [
        (
            from(|source| source.ip_blocks = texts(&["10.0.0.0/8", "x"])),
            "spec.rules[0].from[0].source.ipBlocks[1]",
        ),
        (
            to(|operation| operation.not_ports = texts(&["+80"])),
            "spec.rules[0].to[0].operation.notPorts[0]",
        ),
        (
            to(|operation| operation.ports = texts(&["65536"])),
            "spec.rules[0].to[0].operation.ports[0]",
        ),
        (
            to(|operation| operation.paths = texts(&["/{**}/{*}"])),
            "spec.rules[0].to[0].operation.paths[0]",
        ),
        (when("source.foo", &["a"], &[]), "spec.rules[0].when[0].key"),
        (
            when("request.headers", &["a"], &[]),
            "spec.rules[0].when[0].key",
        ),
        (
            when("request.auth.claims[a", &["a"], &[]),
            "spec.rules[0].when[0].key",
        ),
        (when("source.ip", &[], &[]), "spec.rules[0].when[0].values"),
        (
            when("destination.ip", &["a"], &[]),
            "spec.rules[0].when[0].values[0]",
        ),
    ];
    for (rule, field) in rows {
        let problems = compiled(vec![policy("p", Action::Allow, vec![rule])]).unwrap_err();
        let fields: Vec<_> = problems
            .as_slice()
            .iter()
            .map(|p| p.field.as_str())
            .collect();
        assert_eq!(fields, [field]);
    }
}
