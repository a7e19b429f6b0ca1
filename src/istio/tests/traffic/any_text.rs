//! No text of these kinds does harm.

use proptest::prelude::*;

use super::*;

/// Pieces of such texts.
const WORDS: &[&str] = &[
    "\n",
    " ",
    "  ",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    "\"",
    "*",
    "~",
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "80",
    "0s",
    "1ms",
    "1.0000001s",
    "a",
    "*.a",
    "a_b",
    "é",
    "(",
    "[a&&b]",
    "%",
    "%%",
    "unix://",
    "@request.auth.claims[",
    "exact",
    "prefix",
    "regex",
    "match",
    "route",
    "hosts",
    "destination: {host: b}",
    "weight",
    "headers",
    "set",
    "loadBalancer",
    "consistentHash",
    "localityLbSetting",
    "distribute",
    "us/*",
    "us//",
    "endpoints",
    "addresses",
    "ports",
    "number",
    "kind: VirtualService",
    "kind: Sidecar",
    "kind: HTTPRoute",
    "apiVersion: v1",
    "kind: Service",
];

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, annotations: {x: y}}
spec:
  hosts: [a.test, '*.b.test']
  gateways: [srv/g, mesh]
  http:
  - {name: r, match: [{uri: {regex: '/a.*'}, headers: {x: {exact: z}}, withoutHeaders: {z: {regex: '*'}}}], route: [{destination: {host: b, port: {number: 80}}, weight: 1, headers: {request: {set: {x: '%REQ(y)%'}}}}], retries: {attempts: 2, retryOn: '5xx,503'}, timeout: 1.5s, mirror: {host: b}}
  - {redirect: {uri: /, redirectCode: 302}}
  - {directResponse: {status: 200, body: {bytes: YQ==}}}
  tls: [{match: [{sniHosts: [a.test]}], route: [{destination: {host: b}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec: {host: b, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: c, ttl: 0s}, maglev: {tableSize: 65537}}, localityLbSetting: {distribute: [{from: us/a, to: {us/a: 80, us/b: 20}}]}}, outlierDetection: {}, retryBudget: {percent: 12.5}}, subsets: [{name: v, labels: {a: b}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [b.test], addresses: [10.0.0.0/8], ports: [{number: 80, name: http}], resolution: STATIC, endpoints: [{address: 10.0.0.1, ports: {http: 8080}, locality: us/a, weight: 3}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: a}
spec: {egress: [{hosts: [./*, ~b/*]}], outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b, port: {number: 1}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: a}
spec: {parentRefs: [{kind: Service, group: '', name: b}], rules: [{matches: [{path: {value: /a}}], filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}], backendRefs: [{name: b, port: 80}], timeouts: {request: 1s}}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, labels: {a: b}}
spec: {clusterIP: None, selector: {a: b}, ports: [{port: 80, targetPort: web, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: b, labels: {kubernetes.io/service-name: b}}
addressType: IPv4
endpoints: [{addresses: [10.0.0.1], conditions: {ready: false}, targetRef: {kind: Pod, name: p}}]
ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {a: b}}
spec: {nodeName: n, containers: [{ports: [{name: web, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}
";

proptest! {
    #[test]
    fn no_damaged_text_panics(
        cuts in proptest::collection::vec((any::<proptest::sample::Index>(), 0..6_usize, proptest::sample::select(WORDS)), 1..8),
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, dropped, word) in cuts {
            let at = at.index(text.len() + 1);
            let end = (at + dropped).min(text.len());
            text.splice(at..end, word.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = parse("f", &text, "foo") {
            prop_assert!(!problems.to_string().is_empty());
        }
    }

    #[test]
    fn no_spec_panics(kind in 0..9_usize, words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40)) {
        let spec = words.concat();
        let (group, kind) = [
            ("networking.istio.io", "VirtualService"),
            ("networking.istio.io", "DestinationRule"),
            ("networking.istio.io", "ServiceEntry"),
            ("networking.istio.io", "WorkloadEntry"),
            ("networking.istio.io", "WorkloadGroup"),
            ("networking.istio.io", "Sidecar"),
            ("gateway.networking.k8s.io", "HTTPRoute"),
            ("gateway.networking.k8s.io", "GRPCRoute"),
            ("gateway.networking.k8s.io", "ReferenceGrant"),
        ][kind];
        let text = format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}");
        let _ = parse("f", &text, "foo");
    }
}

#[test]
fn the_text_that_is_damaged_is_good() {
    let read = read(GOOD);
    assert_eq!(
        read.virtual_services.len() + read.destination_rules.len(),
        2
    );
    assert_eq!(
        read.http_routes.len() + read.endpoint_slices.len() + read.pods.len(),
        3
    );
}
