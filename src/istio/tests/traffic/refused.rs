//! Istio's validation: for each rule a document that breaks it, where, and in which words.

use super::*;

/// That each spec is refused for one problem, at this field, in these words.
fn assert_refused(kind: &str, table: &[(&str, &str, &str)]) {
    for (spec, field, words) in table {
        let problem = only_problem(&resource(kind, spec));
        let said = problem.strip_prefix("4:").unwrap_or_default();
        let place = said
            .split_once(": ")
            .and_then(|(_, rest)| rest.split_once(": "));
        let Some((at, message)) = place else {
            panic!("{spec}\n{problem}")
        };
        assert_eq!(at, *field, "{spec}\n{problem}");
        assert!(message.contains(words), "{spec}\n{problem}");
    }
}

/// The same of a VirtualService for the host `a.test` whose only HTTP route has these fields.
fn assert_route_refused(table: &[(&str, &str, &str)]) {
    let table: Vec<_> = table
        .iter()
        .map(|(route, field, words)| {
            let spec = format!("{{hosts: [a.test], http: [{{{route}}}]}}");
            (spec, format!("spec.http[0]{field}"), *words)
        })
        .collect();
    let table: Vec<_> = table
        .iter()
        .map(|(spec, field, words)| (&**spec, &**field, *words))
        .collect();
    assert_refused("VirtualService", &table);
}

/// Destinations, for routes that break another rule.
const TO: &str = "route: [{destination: {host: b}}]";

#[test]
#[rustfmt::skip] // one row a line
fn of_virtual_services() {
    let http = format!("http: [{{{TO}}}]");
    let table = [
        ("{hosts: [a.test]}".to_owned(), "spec.http", "is missing, and so are tls and tcp"),
        (format!("{{{http}, hosts: [a.test, a.test]}}"), "spec.hosts", "overlap"),
        (format!("{{{http}, hosts: ['*.test', a.test]}}"), "spec.hosts", "overlap"),
        (format!("{{{http}, hosts: ['*']}}"), "spec.hosts[0]", "is for gateways only"),
        (format!("{{{http}, hosts: ['*'], gateways: [g, mesh]}}"), "spec.hosts[0]", "is for gateways only"),
        (format!("{{{http}, hosts: [a_b.test]}}"), "spec.hosts[0]", "`a_b` is no part of a name"),
        (format!("{{{http}, hosts: [a.test], gateways: [a/b/c]}}"), "spec.gateways[0]", "is no gateway"),
        (format!("{{{http}, gateways: [g]}}"), "spec.gateways", "does not belong into a delegate"),
        (format!("{{{http}, hosts: [a.test], exportTo: ['*', b]}}"), "spec.exportTo[0]", "stands alone"),
        (format!("{{{http}, hosts: [a.test], exportTo: ['~']}}"), "spec.exportTo[0]", "is for services only"),
        (format!("{{{http}, hosts: [a.test], exportTo: [., srv]}}"), "spec.exportTo[1]", "is listed twice"),
        (format!("{{{http}, hosts: [a.test], exportTo: [a.b]}}"), "spec.exportTo[0]", "is no namespace"),
        (format!("{{{http}, hosts: [a.test], hots: []}}"), "spec.hots", "did you mean `hosts`?"),
        ("{hosts: [a.test], http: [{match: [{headers: {'@request.auth.claims.x': {exact: z}}}], route: [{destination: {host: b}}]}]}".to_owned(), "spec.http[0].match[0].headers[@request.auth.claims.x]", "route at gateways only"),
        ("{hosts: [a.test], tls: [{route: [{destination: {host: b}}]}]}".to_owned(), "spec.tls[0].match", "is missing"),
        ("{hosts: [a.test], tls: [{match: [{port: 443}], route: [{destination: {host: b}}]}]}".to_owned(), "spec.tls[0].match[0].sniHosts", "is missing"),
        ("{hosts: [a.test], tls: [{match: [{sniHosts: [b.test]}], route: [{destination: {host: b}}]}]}".to_owned(), "spec.tls[0].match[0].sniHosts[0]", "lies within none of the hosts"),
        ("{hosts: [a.test], tls: [{match: [{sniHosts: [a.test]}]}]}".to_owned(), "spec.tls[0].route", "is missing"),
        ("{hosts: [a.test], tcp: [{match: [{destinationSubnets: [10.0.0.0/33]}], route: [{destination: {host: b}}]}]}".to_owned(), "spec.tcp[0].match[0].destinationSubnets[0]", "is no address"),
        ("{hosts: [a.test], tcp: [{match: [{sourceSubnet: 10.0.0.0/8}], route: [{destination: {host: b}}]}]}".to_owned(), "spec.tcp[0].match[0].sourceSubnet", "has no effect in Istio"),
        ("{hosts: [a.test], tcp: [{route: [{destination: {host: b}}, {destination: {host: c}}]}]}".to_owned(), "spec.tcp[0].route", "no weight"),
    ];
    let table: Vec<_> = table
        .iter()
        .map(|(spec, field, words)| (&**spec, *field, *words))
        .collect();
    assert_refused("VirtualService", &table);
}

#[test]
#[rustfmt::skip] // one row a line
fn of_http_routes_and_their_matches() {
    let long = format!("{TO}, match: [{{uri: {{regex: '{}'}}}}]", "a".repeat(1025));
    let with = |fields: &str| format!("{TO}, {fields}");
    let table = [
        ("timeout: 1s".to_owned(), ".route", "write destinations"),
        (with("redirect: {uri: /}"), ".route", "cannot be combined with redirect"),
        ("redirect: {uri: /}, fault: {delay: {fixedDelay: 1s, percentage: {value: 1}}}".to_owned(), ".fault", "cannot be combined with redirect"),
        ("redirect: {uri: /}, rewrite: {uri: /}".to_owned(), ".rewrite", "cannot be combined with redirect"),
        ("redirect: {uri: /}, directResponse: {status: 200}".to_owned(), ".directResponse", "cannot be combined with redirect"),
        ("directResponse: {status: 200}, rewrite: {uri: /}".to_owned(), ".rewrite", "cannot be combined with directResponse"),
        (with("delegate: {name: d}"), ".route", "cannot be combined with delegate"),
        (with("mirror: {host: b}, mirrors: [{destination: {host: b}}]"), ".mirror", "cannot be combined with mirrors"),
        (with("mirror: {host: b}, mirrorPercentage: {value: 100.1}"), ".mirrorPercentage.value", "is no percentage"),
        (with("timeout: 0s"), ".timeout", "less than a millisecond"),
        (with("timeout: 1us"), ".timeout", "less than a millisecond"),
        (with("timeout: 1500us"), ".timeout", "no whole number of milliseconds"),
        (with("match: [{uri: {regex: '(?=a)'}}]"), ".match[0].uri.regex", "is no RE2 expression"),
        (with("match: [{uri: {regex: '[a&&b]'}}]"), ".match[0].uri.regex", "a set operation in a class is not RE2"),
        (long, ".match[0].uri.regex", "at most 1024 bytes"),
        (with("match: [{headers: {a: {regex: '*'}}}]"), ".match[0].headers[a].regex", "is no RE2 expression"),
        (with("match: [{queryParams: {a: {regex: '*'}}}]"), ".match[0].queryParams[a].regex", "is no RE2 expression"),
        (with("match: [{headers: {a: {prefix: ''}}}]"), ".match[0].headers[a]", "has an empty prefix"),
        (with("match: [{headers: {'a b': {exact: c}}}]"), ".match[0].headers[a b]", "is no header name"),
        (with("match: [{uri: {exact: /, prefix: /}}]"), ".match[0].uri.prefix", "keep one of exact, prefix and regex"),
        (with("match: [{port: 65536}]"), ".match[0].port", "is no port"),
        (with("match: [{sourceLabels: {a: -b}}]"), ".match[0].sourceLabels[a]", "is no value of a label"),
        (with("match: [{sourceNamespace: a.b}]"), ".match[0].sourceNamespace", "is no name of a namespace"),
        ("route: [{destination: {host: '*'}}]".to_owned(), ".route[0].destination.host", "is no destination"),
        ("route: [{destination: {host: b, subset: v_1}}]".to_owned(), ".route[0].destination.subset", "is no name of a subset"),
        ("route: [{destination: {host: b, port: {}}}]".to_owned(), ".route[0].destination.port.number", "is missing"),
        ("route: [{weight: 1}]".to_owned(), ".route[0].destination", "is missing"),
        ("route: [{destination: {host: b}, weight: -1}]".to_owned(), ".route[0].weight", "write a whole number from 0"),
        ("route: [{destination: {host: b}}, {destination: {host: c}}]".to_owned(), ".route", "has several destinations and no weight"),
        ("route: [{destination: {host: b}, weight: 0}, {destination: {host: c}, weight: 0}]".to_owned(), ".route", "has several destinations and no weight"),
    ];
    let table: Vec<_> = table
        .iter()
        .map(|(route, field, words)| (&**route, *field, *words))
        .collect();
    assert_route_refused(&table);
}

#[test]
#[rustfmt::skip] // one row a line
fn of_what_routes_do() {
    let table = [
        ("redirect: {redirectCode: 302}", ".redirect", "changes nothing"),
        ("redirect: {uri: /, redirectCode: 304}", ".redirect.redirectCode", "write 301, 302, 303, 307 or 308"),
        ("redirect: {uri: /, scheme: ftp}", ".redirect.scheme", "write http or https"),
        ("redirect: {port: 80, derivePort: FROM_REQUEST_PORT}", ".redirect.derivePort", "cannot be combined with port"),
        ("redirect: {uri: /, prefixRewrite: /}", ".redirect", "keep one of them"),
        ("match: [{uri: {exact: /a}}], redirect: {prefixRewrite: /b}", "", "write uri: {prefix: ...}"),
        ("directResponse: {status: 199}", ".directResponse.status", "from 200 to 599"),
        ("directResponse: {status: 600}", ".directResponse.status", "from 200 to 599"),
        ("directResponse: {status: 200, body: {bytes: '?'}}", ".directResponse.body.bytes", "is no base64"),
        ("route: [{destination: {host: b}}], rewrite: {}", ".rewrite", "changes nothing"),
        ("route: [{destination: {host: b}}], rewrite: {uri: /, uriRegexRewrite: {match: a, rewrite: b}}", ".rewrite.uriRegexRewrite", "cannot be combined with uri"),
        ("route: [{destination: {host: b}}], rewrite: {uriRegexRewrite: {match: a}}", ".rewrite.uriRegexRewrite.rewrite", "is missing"),
        ("route: [{destination: {host: b}}], rewrite: {authority: c}, headers: {request: {set: {Host: d}}}", "", "writes the authority twice"),
        ("route: [{destination: {host: b}}], headers: {request: {set: {':path': /}}}", ".headers.request.set[:path]", "part of the request's head"),
        ("route: [{destination: {host: b}}], headers: {request: {remove: [host]}}", ".headers.request.remove[0]", "is only set in requests"),
        ("route: [{destination: {host: b}}], headers: {response: {set: {host: c}}}", ".headers.response.set[host]", "is only set in requests"),
        ("route: [{destination: {host: b}, headers: {request: {add: {x: '%a'}}}}]", ".route[0].headers.request.add[x]", "has a single %"),
        ("route: [{destination: {host: b}}], retries: {retryOn: 5xx}", ".retries.retryOn", "attempts is 0 or missing"),
        ("route: [{destination: {host: b}}], retries: {attempts: 0, perTryTimeout: 1s}", ".retries.perTryTimeout", "attempts is 0 or missing"),
        ("route: [{destination: {host: b}}], retries: {attempts: -1}", ".retries.attempts", "write a whole number from 0"),
        ("route: [{destination: {host: b}}], retries: {attempts: 1, retryOn: '5xx, reset'}", ".retries.retryOn", "leave out the blank"),
        ("route: [{destination: {host: b}}], retries: {attempts: 1, retryOn: 499}", ".retries.retryOn", "`499` is no condition"),
        ("route: [{destination: {host: b}}], retries: {attempts: 1, retryOn: often}", ".retries.retryOn", "known are codes of HTTP"),
        ("route: [{destination: {host: b}}], retries: {attempts: 1, backoff: 0s}", ".retries.backoff", "less than a millisecond"),
        ("route: [{destination: {host: b}}], fault: {}", ".fault", "injects nothing"),
        ("route: [{destination: {host: b}}], fault: {delay: {exponentialDelay: 1s, percentage: {value: 1}}}", ".fault.delay.exponentialDelay", "is not supported"),
        ("route: [{destination: {host: b}}], fault: {abort: {http2Error: x, percentage: {value: 1}}}", ".fault.abort.http2Error", "is not supported"),
        ("route: [{destination: {host: b}}], fault: {abort: {grpcStatus: '14', percentage: {value: 1}}}", ".fault.abort.grpcStatus", "for example UNAVAILABLE"),
        ("route: [{destination: {host: b}}], fault: {abort: {httpStatus: 600, percentage: {value: 1}}}", ".fault.abort.httpStatus", "from 200 to 599"),
        ("route: [{destination: {host: b}}], fault: {abort: {httpStatus: 500, percentage: {value: 0.00001}}}", ".fault.abort.percentage.value", "the least percentage"),
        ("route: [{destination: {host: b}}], corsPolicy: {allowOrigins: [{}]}", ".corsPolicy.allowOrigins[0]", "matches no origin"),
        ("route: [{destination: {host: b}}], corsPolicy: {allowMethods: [get]}", ".corsPolicy.allowMethods[0]", "is no method of HTTP"),
        ("route: [{destination: {host: b}}], corsPolicy: {maxAge: 1500ms}", ".corsPolicy.maxAge", "no whole number of seconds"),
    ];
    assert_route_refused(&table);
    let large = format!(
        "directResponse: {{status: 200, body: {{string: '{}'}}}}",
        "a".repeat(1 << 20 | 1)
    );
    assert_route_refused(&[(&large, ".directResponse.body", "larger than 1 MiB")]);
}

#[test]
#[rustfmt::skip] // one row a line
fn of_delegates() {
    assert_refused(
        "VirtualService",
        &[
            ("{http: [{delegate: {name: d}}]}", "spec.http[0].delegate", "does not delegate"),
            ("{http: [{name: x}]}", "spec.http[0].route", "is missing"),
        ],
    );
}

#[test]
#[rustfmt::skip] // one row a line
fn of_destination_rules() {
    assert_refused(
        "DestinationRule",
        &[
            ("{}", "spec.host", "is missing"),
            ("{host: a_b}", "spec.host", "is no host"),
            ("{host: a, trafficPolicy: {}}", "spec.trafficPolicy", "has no settings"),
            ("{host: a, trafficPolicy: {tunnel: {}}}", "spec.trafficPolicy.tunnel", "is not supported"),
            ("{host: a, trafficPolicy: {proxyProtocol: {}}}", "spec.trafficPolicy.proxyProtocol", "is not supported"),
            ("{host: a, subsets: [{name: v}, {name: v}]}", "spec.subsets[1]", "a second subset `v`"),
            ("{host: a, subsets: [{name: v.1}]}", "spec.subsets[0].name", "is no name of a subset"),
            ("{host: a, exportTo: ['~']}", "spec.exportTo[0]", "is for services only"),
            ("{host: a, exportTo: [b], workloadSelector: {matchLabels: {a: b}}}", "spec.exportTo[0]", "stays in its own namespace"),
            ("{host: a, workloadSelector: {matchLabels: {a: '*'}}}", "spec.workloadSelector.matchLabels[a]", "not supported"),
            ("{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 80}}]}}", "spec.trafficPolicy.portLevelSettings[0]", "has no settings"),
            ("{host: a, trafficPolicy: {portLevelSettings: [{tls: {}}]}}", "spec.trafficPolicy.portLevelSettings[0].port", "is missing"),
            ("{host: a, trafficPolicy: {tls: {mode: MUTUAL, privateKey: /k}}}", "spec.trafficPolicy.tls.clientCertificate", "is missing"),
            ("{host: a, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, caCertificates: /c}}}", "spec.trafficPolicy.tls", "verifies nothing"),
            ("{host: a, workloadSelector: {matchLabels: {a: b}}, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c, caCertificates: /c}}}", "spec.trafficPolicy.tls", "keep one of the two"),
            ("{host: a, trafficPolicy: {tls: {mode: simple}}}", "spec.trafficPolicy.tls.mode", "did you mean SIMPLE?"),
        ],
    );
}

#[test]
#[rustfmt::skip] // one row a line
fn of_load_balancers() {
    let table = [
        ("backendUtilization: {}", ".backendUtilization", "is not supported"),
        ("consistentHash: {}", ".consistentHash", "hashes nothing"),
        ("consistentHash: {httpHeaderName: a, useSourceIp: true}", ".consistentHash.useSourceIp", "a second key"),
        ("consistentHash: {httpCookie: {ttl: 1s}}", ".consistentHash.httpCookie.name", "is missing"),
        ("consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}", ".consistentHash.httpCookie.attributes[1]", "written twice"),
        ("consistentHash: {useSourceIp: true, maglev: {}}", ".consistentHash.maglev.tableSize", "is missing"),
        ("consistentHash: {useSourceIp: true, maglev: {tableSize: 100}}", ".consistentHash.maglev.tableSize", "is no prime"),
        ("consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}", ".consistentHash.maglev.tableSize", "from 1 to 5000010"),
        ("consistentHash: {useSourceIp: true, maglev: {tableSize: 7}, ringHash: {}}", ".consistentHash.maglev", "a second table"),
        ("localityLbSetting: {}, zoneAwareLbSetting: {}", ".zoneAwareLbSetting", "cannot be combined"),
        ("localityLbSetting: {distribute: [{from: a, to: {a: 90}}]}", ".localityLbSetting.distribute[0].to", "add up to 90"),
        ("localityLbSetting: {distribute: [{from: a, to: {a: 0}}]}", ".localityLbSetting.distribute[0].to[a]", "from 1 to 100"),
        ("localityLbSetting: {distribute: [{from: a, to: {a: 100}}, {from: a/b, to: {a: 100}}]}", ".localityLbSetting.distribute", "overlap"),
        ("localityLbSetting: {distribute: [{from: a//b, to: {a: 100}}]}", ".localityLbSetting.distribute", "is no locality"),
        ("localityLbSetting: {distribute: [{from: a, to: {a: 100}}], failover: [{from: a, to: b}]}", ".localityLbSetting.failover", "cannot be combined with distribute"),
        ("localityLbSetting: {failover: [{from: a, to: a}]}", ".localityLbSetting.failover[0]", "fails over to the region itself"),
        ("localityLbSetting: {failover: [{from: a/b, to: c}]}", ".localityLbSetting.failover[0].from", "is no region"),
        ("localityLbSetting: {failover: [{from: a, to: c}], failoverPriority: [topology.kubernetes.io/zone]}", ".localityLbSetting.failoverPriority[0]", "cannot be combined with failover"),
        ("zoneAwareLbSetting: {failoverPriority: [topology.istio.io/subzone]}", ".zoneAwareLbSetting.failoverPriority[0]", "is ordered by itself"),
        ("zoneAwareLbSetting: {forceLocalZone: {}}", ".zoneAwareLbSetting.forceLocalZone", "unknown field"),
        ("warmup: {}", ".warmup.duration", "is missing"),
        ("warmup: {duration: 1s, minimumPercent: 101}", ".warmup.minimumPercent", "is no percentage"),
        ("warmup: {duration: 1s, aggression: 0}", ".warmup.aggression", "is no aggression"),
    ];
    for (balancer, field, words) in table {
        let spec = format!("{{host: a, trafficPolicy: {{loadBalancer: {{{balancer}}}}}}}");
        let field = format!("spec.trafficPolicy.loadBalancer{field}");
        assert_refused("DestinationRule", &[(&spec, &field, words)]);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn of_pools_and_outliers() {
    let table = [
        ("connectionPool: {}", "connectionPool", "has no settings"),
        ("connectionPool: {tcp: {maxConnections: -1}}", "connectionPool.tcp.maxConnections", "from 0 to 2147483647"),
        ("connectionPool: {tcp: {connectTimeout: 0s}}", "connectionPool.tcp.connectTimeout", "less than a millisecond"),
        ("connectionPool: {http: {idleTimeout: 0s}}", "connectionPool.http.idleTimeout", "less than a millisecond"),
        ("connectionPool: {http: {h2UpgradePolicy: UPGRADE, useClientProtocol: true}}", "connectionPool.http", "contradict each other"),
        ("connectionPool: {http: {http2KeepAlive: {interval: 1s}}}", "connectionPool.http.http2KeepAlive.timeout", "is missing"),
        ("outlierDetection: {consecutiveLocalOriginFailures: 3}", "outlierDetection.consecutiveLocalOriginFailures", "only with splitExternalLocalOriginErrors"),
        ("outlierDetection: {maxEjectionPercent: 101}", "outlierDetection.maxEjectionPercent", "from 0 to 100"),
        ("outlierDetection: {interval: 0s}", "outlierDetection.interval", "less than a millisecond"),
        ("outlierDetection: {outlierDetectionHttpErrorCodes: [500]}", "outlierDetection.outlierDetectionHttpErrorCodes", "without effect there"),
        ("outlierDetection: {failurePercentageThreshold: 5}", "outlierDetection.failurePercentageThreshold", "without effect there"),
    ];
    for (policy, field, words) in table {
        let spec = format!("{{host: a, trafficPolicy: {{{policy}}}}}");
        let field = format!("spec.trafficPolicy.{field}");
        assert_refused("DestinationRule", &[(&spec, &field, words)]);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn of_service_entries() {
    let table = [
        ("resolution: DNS", "hosts", "write at least one host"),
        ("hosts: ['*']", "hosts[0]", "is every host"),
        ("hosts: [a.test], addresses: [a]", "addresses[0]", "is no address"),
        ("hosts: [a.test], addresses: [10.0.0.0/8], resolution: DNS", "addresses", "has a CIDR block"),
        ("hosts: [a.test], ports: [{number: 80, name: a}, {number: 81, name: a}]", "ports[1]", "a second port of the name"),
        ("hosts: [a.test], ports: [{number: 80, name: a}, {number: 80, name: b}]", "ports[1]", "a second port 80"),
        ("hosts: [a.test], ports: [{number: 80, name: a.b}]", "ports[0].name", "is no name of a port"),
        ("hosts: [a.test], ports: [{number: 80, name: a, protocol: QUIC}]", "ports[0].protocol", "is no protocol"),
        ("hosts: [a.test], endpoints: [{address: 10.0.0.1}]", "endpoints", "has no use with resolution NONE"),
        ("hosts: [a.test], resolution: STATIC, workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]", "endpoints", "cannot be combined with workloadSelector"),
        ("hosts: [a.test], resolution: STATIC, endpoints: [{address: b.test}]", "endpoints[0]", "write an IP address or unix:///PATH"),
        ("hosts: [a.test], resolution: STATIC, ports: [{number: 80, name: a}], endpoints: [{address: 'unix://a'}]", "endpoints[0].address", "is no path of a socket"),
        ("hosts: [a.test], resolution: STATIC, ports: [{number: 80, name: a}, {number: 81, name: b}], endpoints: [{address: 'unix:///a'}]", "endpoints[0]", "a ServiceEntry with one port"),
        ("hosts: [a.test], resolution: DNS, ports: [{number: 80, name: a}], endpoints: [{address: 'unix:///a'}]", "endpoints[0]", "or resolution STATIC"),
        ("hosts: [a.test], resolution: STATIC, endpoints: [{labels: {a: b}}]", "endpoints[0].address", "is missing"),
        ("hosts: [a.test], resolution: STATIC, ports: [{number: 80, name: a}], endpoints: [{address: 10.0.0.1, ports: {b: 81}}]", "endpoints[0]", "`b` is no port of the ServiceEntry"),
        ("hosts: ['*.test'], resolution: DNS", "hosts", "cannot be resolved"),
        ("hosts: [a.test], resolution: DNS_ROUND_ROBIN, endpoints: [{address: b.test}, {address: c.test}]", "endpoints", "has more than one entry"),
        ("hosts: [a.test], resolution: DYNAMIC_DNS", "hosts", "is one host"),
        ("hosts: ['*.test'], resolution: DYNAMIC_DNS, addresses: [10.0.0.1]", "addresses", "has no use with resolution DYNAMIC_DNS"),
        ("hosts: ['*.test'], resolution: DYNAMIC_DNS, ports: [{number: 1, name: a, protocol: TCP}]", "ports", "takes HTTP, HTTP2, GRPC and TLS"),
        ("hosts: [a.test, b.test], resolution: DNS, ports: [{number: 1, name: a, protocol: TCP}]", "hosts", "a ServiceEntry for each"),
        ("hosts: [a.test], exportTo: ['~', b]", "exportTo[0]", "stands alone"),
    ];
    for (spec, field, words) in table {
        let field = format!("spec.{field}");
        assert_refused("ServiceEntry", &[(&format!("{{{spec}}}"), &field, words)]);
    }
}

#[test]
#[rustfmt::skip] // one row a line
fn of_workloads_and_sidecars() {
    assert_refused(
        "WorkloadEntry",
        &[
            ("{labels: {a: b}}", "spec.address", "is missing"),
            ("{address: a_b}", "spec.address", "neither an address nor a name"),
            ("{address: 10.0.0.1, ports: {a: 0}}", "spec.ports[a]", "is no port"),
        ],
    );
    assert_refused(
        "WorkloadGroup",
        &[
            ("{}", "spec.template", "is missing"),
            ("{template: {}, probe: {}}", "spec.probe", "needs one of httpGet"),
            ("{template: {}, probe: {httpGet: {}}}", "spec.probe.httpGet.port", "is missing"),
            ("{template: {}, probe: {exec: {}}}", "spec.probe.exec.command", "is missing"),
        ],
    );
    assert_refused(
        "Sidecar",
        &[
            ("{workloadSelector: {labels: {a: b}}}", "spec.egress", "is missing"),
            ("{egress: [{}]}", "spec.egress[0].hosts", "is missing"),
            ("{egress: [{hosts: [a.test]}]}", "spec.egress[0].hosts[0]", "has no namespace"),
            ("{egress: [{hosts: [./a]}]}", "spec.egress[0].hosts[0]", "is a short name"),
            ("{egress: [{hosts: [./*a.b]}]}", "spec.egress[0].hosts[0]", "a wildcard inside a part"),
            ("{egress: [{hosts: [a.b/*]}]}", "spec.egress[0].hosts[0]", "is no namespace"),
            ("{egress: [{hosts: [./*]}, {port: {number: 80}, hosts: [./*]}]}", "spec.egress[0]", "write it last"),
            ("{egress: [{port: {number: 80}, hosts: [./*]}, {port: {number: 80}, hosts: [./*]}]}", "spec.egress[1]", "a second listener of port 80"),
            ("{egress: [{port: {number: 80, targetPort: 8080}, hosts: [./*]}]}", "spec.egress[0].port.targetPort", "has no effect"),
            ("{egress: [{port: {protocol: HTTP}, bind: 'unix:///a', hosts: [./*]}]}", "spec.egress[0].port", "is not supported"),
            ("{ingress: [{port: {number: 80}, tls: {mode: SIMPLE}}]}", "spec.ingress[0].tls", "is not supported"),
            ("{outboundTrafficPolicy: {egressProxy: {host: a.test, port: {number: 80}}}}", "spec.outboundTrafficPolicy.egressProxy", "write mode ALLOW_ANY"),
            ("{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.test}}}", "spec.outboundTrafficPolicy.egressProxy.port", "is missing"),
            ("{outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}}", "spec.outboundTrafficPolicy.mode", "is for MeshConfig only"),
        ],
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a_b]\n  http:\n  - timeout: 5\n    route:\n    - destination:\n        host: '*'\n    rewrit: {uri: /}\n";
    let problems = parse("routes.yaml", text, "srv").unwrap_err().to_string();
    let lines: Vec<&str> = problems.lines().collect();
    assert_eq!(lines.len(), 4, "{problems}");
    assert!(
        lines[0].starts_with("routes.yaml:5:11: spec.hosts[0]: "),
        "{problems}"
    );
    assert!(
        lines[1].starts_with("routes.yaml:7:14: spec.http[0].timeout: 5 is a number"),
        "{problems}"
    );
    assert!(
        lines[2].starts_with("routes.yaml:10:15: spec.http[0].route[0].destination.host: "),
        "{problems}"
    );
    assert!(
        lines[3].starts_with(
            "routes.yaml:11:5: spec.http[0].rewrit: unknown field; did you mean `rewrite`?"
        ),
        "{problems}"
    );
}
