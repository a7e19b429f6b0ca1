//! What is read of the kinds of `networking.istio.io`, field by field.

use std::time::Duration;

use super::*;
use crate::istio::traffic::{
    ClientTlsMode, FaultStatus, FractionalPercent, H2UpgradePolicy, HashAlgorithm, HashKey,
    Location, OutboundMode, Protocol, RedirectPort, Resolution, SimpleLb, StringMatch,
    UnmatchedPreflights,
};

/// So many hundredths of a percent.
fn percent(hundredths: u32) -> FractionalPercent {
    FractionalPercent::from_millionths(hundredths * 100)
}

#[test]
fn a_route_matches() {
    let read = read(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test, 10.0.0.1]
  gateways: [edge/g]
  exportTo: [., b]
  http:
  - name: first
    match:
    - name: m
      uri: {prefix: ''}
      scheme: {exact: https}
      method: {regex: GET|PUT}
      authority: {prefix: a.}
      headers: {X-A: {exact: b}, present: {}, nothing: null, '@request.auth.claims[a.b][c]': {exact: d}}
      without_headers: {gone: {regex: '*'}, other: {prefix: v}}
      queryParams: {Q: {exact: '1'}}
      ignoreUriCase: true
      port: 8080
      sourceLabels: {app: web}
      sourceNamespace: client
      gateways: [mesh]
      statPrefix: s
    route: [{destination: {host: b, subset: v1, port: {number: 81}}}]
",
    );
    let service = &read.virtual_services[0];
    assert_eq!(
        (
            service.hosts.len(),
            &*service.gateways[0],
            &*service.export_to[1]
        ),
        (2, "edge/g", "b")
    );
    let route = &service.http[0];
    assert_eq!(
        (route.name.as_deref(), route.at.to_string().as_str()),
        (Some("first"), "f:10:5")
    );
    let matched = &route.matches[0];
    assert!(matches!(&matched.uri, Some(StringMatch::Prefix(prefix)) if prefix.is_empty()));
    assert!(matches!(&matched.method, Some(StringMatch::Regex(regex)) if &**regex == "GET|PUT"));
    let headers: Vec<_> = matched
        .headers
        .iter()
        .map(|header| (&*header.name, header.test.is_some(), header.claim.len()))
        .collect();
    assert_eq!(
        headers,
        [
            ("X-A", true, 0),
            ("present", false, 0),
            ("nothing", false, 0),
            ("@request.auth.claims[a.b][c]", true, 2)
        ]
    );
    assert_eq!(matched.headers[3].claim, ["a.b", "c"]);
    assert_eq!(matched.without_headers[0].test, None, "it must be absent");
    assert!(matched.without_headers[1].test.is_some());
    assert_eq!(&*matched.query_params[0].name, "Q");
    assert!(matched.ignore_uri_case);
    assert_eq!(
        (matched.port, &*matched.source_labels["app"]),
        (Some(8080), "web")
    );
    assert_eq!(matched.source_namespace.as_deref(), Some("client"));
    assert_eq!(
        (&*matched.gateways[0], matched.stat_prefix.as_deref()),
        ("mesh", Some("s"))
    );
    let to = &route.route[0].destination;
    assert_eq!(
        (&*to.host, to.subset.as_deref(), to.port),
        ("b", Some("v1"), Some(81))
    );
    assert_eq!(to.host.at().to_string(), "f:26:34");
}

#[test]
fn a_route_acts() {
    let read = read(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  http:
  - route:
    - {destination: {host: b}, weight: 3, headers: {response: {remove: [x]}}}
    - {destination: {host: c}, weight: 0}
    timeout: 1.5s
    rewrite: {authority: d, uriRegexRewrite: {match: a, rewrite: '\\1'}}
    retries: {attempts: 2, perTryTimeout: 250ms, retryOn: '5xx,503', retryRemoteLocalities: true, retryIgnorePreviousHosts: false, backoff: 10ms}
    fault: {delay: {fixedDelay: 5s, percent: 10}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.01}}}
    mirror: {host: e}
    mirrorPercentage: {value: 33.3333}
    corsPolicy: {allowOrigin: ['*'], allowMethods: [GET], allowHeaders: ['*'], exposeHeaders: [x-a], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE}
    headers: {request: {set: {x: '%REQ(y)%'}, add: {z: a}}}
  - {mirrors: [{destination: {host: e}, percentage: {value: 0}}], route: [{destination: {host: b}}]}
  - {redirect: {uri: /n, authority: r, scheme: https, derivePort: FROM_REQUEST_PORT, redirectCode: 307}}
  - {match: [{uri: {prefix: /a}}], redirect: {prefixRewrite: /b, port: 8443}}
  - {directResponse: {status: 503, body: {bytes: aGk=}}, headers: {response: {set: {content-type: a}}}}
  - {delegate: {name: d, namespace: other}, mirrorPercent: 7}
",
    );
    let routes = &read.virtual_services[0].http;
    let route = &routes[0];
    assert_eq!(
        route.route.iter().map(|to| to.weight).collect::<Vec<_>>(),
        [3, 0]
    );
    assert_eq!(
        &*route.route[0].headers.as_ref().unwrap().response.remove[0],
        "x"
    );
    assert_eq!(route.timeout, Some(Duration::from_millis(1500)));
    let rewrite = route.rewrite.as_ref().unwrap();
    assert_eq!(rewrite.authority.as_deref(), Some("d"));
    assert_eq!(&*rewrite.uri_regex_rewrite.as_ref().unwrap().rewrite, "\\1");
    let retries = route.retries.as_ref().unwrap();
    assert_eq!(
        (retries.attempts, retries.per_try_timeout),
        (2, Some(Duration::from_millis(250)))
    );
    assert_eq!(
        retries.retry_on.iter().map(|on| &**on).collect::<Vec<_>>(),
        ["5xx", "503"]
    );
    assert_eq!(
        (
            retries.retry_remote_localities,
            retries.retry_ignore_previous_hosts
        ),
        (Some(true), Some(false))
    );
    let fault = route.fault.as_ref().unwrap();
    let (delay, abort) = (fault.delay.unwrap(), fault.abort.unwrap());
    assert_eq!(
        (delay.fixed_delay.as_secs(), delay.percentage),
        (5, percent(1_000))
    );
    assert_eq!(
        (abort.status, abort.percentage),
        (FaultStatus::Grpc(14), percent(1))
    );
    assert_eq!(&*route.mirrors[0].destination.host, "e");
    assert_eq!(route.mirrors[0].percentage.unwrap().millionths(), 333_333);
    let cors = route.cors_policy.as_ref().unwrap();
    assert!(matches!(&cors.allow_origins[0], StringMatch::Exact(any) if &**any == "*"));
    assert_eq!(
        (cors.max_age, cors.unmatched_preflights),
        (
            Some(Duration::from_secs(86_400)),
            UnmatchedPreflights::Ignore
        )
    );
    let request = &route.headers.as_ref().unwrap().request;
    assert_eq!((&*request.set[0].1, &*request.add[0].0), ("%REQ(y)%", "z"));
    assert_eq!(routes[1].mirrors[0].percentage, Some(percent(0)));
    let redirect = routes[2].redirect.as_ref().unwrap();
    assert_eq!(
        (redirect.port, redirect.redirect_code),
        (Some(RedirectPort::FromRequestPort), Some(307))
    );
    let redirect = routes[3].redirect.as_ref().unwrap();
    assert_eq!(
        (redirect.port, redirect.prefix_rewrite.as_deref()),
        (Some(RedirectPort::Number(8443)), Some("/b"))
    );
    let direct = routes[4].direct_response.as_ref().unwrap();
    assert_eq!((direct.status, &*direct.body), (503, &b"hi"[..]));
    let delegate = routes[5].delegate.as_ref().unwrap();
    assert_eq!(
        (&*delegate.name, delegate.namespace.as_deref()),
        ("d", Some("other"))
    );
    assert_eq!(routes[5].mirror_percentage, Some(percent(700)));
}

#[test]
fn connections_are_routed() {
    let read = read(&resource(
        "VirtualService",
        "{hosts: ['*.test'], tls: [{match: [{sniHosts: [a.test], port: 443, destinationSubnets: [10.0.0.0/8]}], route: [{destination: {host: b}}]}], tcp: [{route: [{destination: {host: b}, weight: 1}, {destination: {host: c}, weight: 3}]}]}",
    ));
    let service = &read.virtual_services[0];
    let matched = &service.tls[0].matches[0];
    assert_eq!(
        (
            &*matched.sni_hosts[0],
            matched.l4.port,
            matched.l4.destination_subnets.len()
        ),
        ("a.test", Some(443), 1)
    );
    assert_eq!(
        (service.tcp[0].matches.len(), service.tcp[0].route[1].weight),
        (0, 3)
    );
}

#[test]
fn a_destination_rule_has_settings_and_subsets() {
    let read = read(
        "
apiVersion: networking.istio.io/v1alpha3
kind: DestinationRule
metadata: {name: a}
spec:
  host: b
  exportTo: [.]
  workloadSelector: {matchLabels: {app: web}}
  trafficPolicy:
    loadBalancer: {simple: LEAST_CONN, warmupDurationSecs: 30s}
    connectionPool:
      tcp: {maxConnections: 0, connectTimeout: 30ms, tcpKeepalive: {time: 7200s}, idleTimeout: 0s}
      http: {http1MaxPendingRequests: 7, maxRetries: 1, h2UpgradePolicy: UPGRADE, http2KeepAlive: {interval: 30s, timeout: 5s}}
    outlierDetection: {consecutiveGatewayErrors: 0, splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, maxEjectionPercent: 0, minHealthPercent: 40, baseEjectionTime: 3m}
    tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /a, subjectAltNames: [s], sni: s}
    retryBudget: {percent: 12.5, minRetryConcurrency: 4}
    portLevelSettings: [{port: {number: 80}, tls: {mode: DISABLE}}]
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: sid, path: /p, ttl: 0s, attributes: [{name: HttpOnly}]}, ringHash: {minimumRingSize: 2048}}}}
",
    );
    let rule = &read.destination_rules[0];
    assert_eq!(
        &*rule.workload_selector.as_ref().unwrap().match_labels["app"],
        "web"
    );
    let policy = rule.traffic_policy.as_ref().unwrap();
    let balancer = policy.load_balancer.as_ref().unwrap();
    assert_eq!(
        (balancer.simple, balancer.warmup.unwrap().duration.as_secs()),
        (SimpleLb::LeastRequest, 30)
    );
    let pool = policy.connection_pool.as_ref().unwrap();
    let (tcp, http) = (pool.tcp.unwrap(), pool.http.unwrap());
    assert_eq!(
        (tcp.max_connections, tcp.idle_timeout),
        (None, Some(Duration::ZERO)),
        "0 is none"
    );
    assert_eq!(
        tcp.tcp_keepalive.unwrap().time,
        Some(Duration::from_secs(7200))
    );
    assert_eq!(
        (
            http.http1_max_pending_requests,
            http.max_retries,
            http.h2_upgrade_policy
        ),
        (Some(7), Some(1), H2UpgradePolicy::Upgrade)
    );
    assert_eq!(
        http.http2_keep_alive.unwrap().timeout,
        Duration::from_secs(5)
    );
    let outliers = policy.outlier_detection.as_ref().unwrap();
    assert_eq!(
        (
            outliers.consecutive_gateway_errors,
            outliers.consecutive_5xx_errors
        ),
        (Some(0), None)
    );
    assert_eq!(
        (outliers.max_ejection_percent, outliers.min_health_percent),
        (None, percent(4_000))
    );
    let tls = policy.tls.as_ref().unwrap();
    assert_eq!(
        (tls.mode, tls.sni.as_deref(), &*tls.subject_alt_names[0]),
        (ClientTlsMode::Mutual, Some("s"), "s")
    );
    let budget = policy.retry_budget.unwrap();
    assert_eq!(
        (budget.percent, budget.min_retry_concurrency),
        (Some(percent(1_250)), Some(4))
    );
    let port = &policy.port_level_settings[0];
    assert_eq!(
        (port.port, port.tls.as_ref().unwrap().mode),
        (80, ClientTlsMode::Disable)
    );
    assert_eq!(&*rule.subsets[0].labels["version"], "v1");
    let subset = rule.subsets[1].traffic_policy.as_ref().unwrap();
    let hash = subset
        .load_balancer
        .as_ref()
        .unwrap()
        .consistent_hash
        .as_ref()
        .unwrap();
    assert_eq!(hash.algorithm, HashAlgorithm::RingHash(2048));
    let HashKey::HttpCookie(cookie) = &hash.key else {
        panic!("{hash:?}")
    };
    assert_eq!(
        (&*cookie.name, cookie.ttl, &*cookie.attributes[0].0),
        ("sid", Some(Duration::ZERO), "HttpOnly")
    );
}

#[test]
fn localities_are_read() {
    let read = read(&resource(
        "DestinationRule",
        "{host: a, trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: true, distribute: [{from: us/a/*, to: {us/a: 80, 'us/b/*': 20}}, {from: '*', to: {us: 100}}]}}}, subsets: [{name: v, trafficPolicy: {loadBalancer: {zoneAwareLbSetting: {minClusterSize: 4, failover: [{from: us, to: eu}]}}}}]}",
    ));
    let rule = &read.destination_rules[0];
    let locality = rule
        .traffic_policy
        .as_ref()
        .unwrap()
        .load_balancer
        .as_ref()
        .unwrap()
        .locality_lb_setting
        .as_ref()
        .unwrap();
    assert_eq!(locality.distribute[0].to["us/b/*"], 20);
    assert_eq!(
        &*locality.distribute[1].from, "*",
        "the first that matches counts"
    );
    let subset = rule.subsets[0].traffic_policy.as_ref().unwrap();
    let zone_aware = subset
        .load_balancer
        .as_ref()
        .unwrap()
        .zone_aware_lb_setting
        .as_ref()
        .unwrap();
    assert_eq!(
        (zone_aware.min_cluster_size, &*zone_aware.failover[0].to),
        (Some(4), "eu")
    );
}

#[test]
fn services_outside_kubernetes_are_read() {
    let read = read(
        "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, annotations: {networking.istio.io/traffic-distribution: PreferSameZone}}
spec:
  hosts: [a.test]
  addresses: [10.0.0.0/8]
  location: MESH_INTERNAL
  resolution: STATIC
  exportTo: ['~']
  subjectAltNames: [spiffe://x]
  ports: [{number: 80, name: http-80, protocol: http, targetPort: 8080}, {number: 90, name: b}]
  endpoints: [{address: 10.0.0.1, ports: {http-80: 81}, labels: {v: '1'}, network: net, locality: us/a/1, weight: 3, serviceAccount: sa}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: socket}
spec: {hosts: [s.test], resolution: STATIC, ports: [{number: 80, name: a}], endpoints: [{address: 'unix:///run/a'}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: w, labels: {v: '2'}}
spec: {address: db.test, labels: {v: '1', app: db}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: g}
spec:
  metadata: {labels: {app: db}, annotations: {a: b}}
  template: {ports: {http: 8080}, serviceAccount: sa}
  probe: {periodSeconds: 5, httpGet: {port: 8080, path: /ready, httpHeaders: [{name: a, value: b}]}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s}
spec:
  workloadSelector: {labels: {app: web}}
  egress:
  - {port: {number: 15080, protocol: HTTP_PROXY, name: h}, hosts: [srv/*]}
  - {hosts: ['~other/*', ./*.test, '*/*']}
  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: out.test, subset: v, port: {number: 80}}}
",
    );
    let entry = &read.service_entries[0];
    assert_eq!(
        (entry.location, entry.resolution),
        (Location::MeshInternal, Resolution::Static)
    );
    assert!(entry.traffic_distribution.is_some());
    let ports: Vec<_> = entry
        .ports
        .iter()
        .map(|port| (port.number, port.protocol, port.target_port))
        .collect();
    assert_eq!(
        ports,
        [
            (80, Protocol::Http, Some(8080)),
            (90, Protocol::Unspecified, None)
        ]
    );
    let endpoint = &entry.endpoints[0];
    assert_eq!(
        (
            endpoint.ports["http-80"],
            endpoint.weight,
            endpoint.network.as_deref()
        ),
        (81, Some(3), Some("net"))
    );
    assert_eq!(endpoint.locality.as_ref().unwrap().subzone, "1");
    let socket = &read.service_entries[1].endpoints[0];
    assert_eq!(socket.address.as_deref(), Some("unix:///run/a"));
    let workload = &read.workload_entries[0].spec;
    assert_eq!(
        (&*workload.labels["v"], &*workload.labels["app"]),
        ("2", "db"),
        "metadata wins"
    );
    let group = &read.workload_groups[0];
    assert_eq!(
        (
            &*group.labels["app"],
            &*group.annotations["a"],
            group.template.ports["http"]
        ),
        ("db", "b", 8080)
    );
    let sidecar = &read.sidecars[0];
    assert_eq!(
        &*sidecar.workload_selector.as_ref().unwrap().match_labels["app"],
        "web"
    );
    let port = sidecar.egress[0].port.as_ref().unwrap();
    assert_eq!((port.number, port.protocol), (15080, Protocol::HttpProxy));
    assert_eq!(
        (
            sidecar.egress[1].port.is_none(),
            sidecar.egress[1].hosts.len()
        ),
        (true, 3)
    );
    let outbound = sidecar.outbound_traffic_policy.as_ref().unwrap();
    assert_eq!(outbound.mode, OutboundMode::AllowAny);
    assert_eq!(outbound.egress_proxy.as_ref().unwrap().port, Some(80));
}

#[test]
fn what_is_allowed_and_not_meant_is_told() {
    let to = "route: [{destination: {host: b}}]";
    for (kind, spec, note) in [
        ("VirtualService", format!("{{hosts: [a.test], http: [{{{to}, fault: {{abort: {{httpStatus: 500}}}}}}]}}"), "has no percentage, and so never happens"),
        ("VirtualService", format!("{{hosts: [a.test], http: [{{{to}, fault: {{abort: {{percentage: {{value: 1}}}}}}}}]}}"), "aborts nothing"),
        ("VirtualService", format!("{{hosts: [a.test], http: [{{{to}, mirrorPercent: 5}}]}}"), "is deprecated"),
        ("DestinationRule", "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c}}}".to_owned(), "counts at gateways only"),
        ("DestinationRule", "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}}}".to_owned(), "has no effect without outlierDetection"),
        ("DestinationRule", "{host: a, trafficPolicy: {outlierDetection: {consecutiveErrors: 3}}}".to_owned(), "has no effect in Istio any more"),
        ("Sidecar", "{ingress: [{port: {number: 80}}]}".to_owned(), "the ports of this process are set in code"),
        ("Sidecar", "{egress: [{port: {number: 80}, bind: 127.0.0.1, hosts: [./*]}]}".to_owned(), "without a listener"),
    ] {
        let notes = notes(&resource(kind, &spec));
        assert_eq!(notes.len(), 1, "{spec}: {notes:?}");
        assert!(notes[0].contains(note), "{spec}: {notes:?}");
    }
}
