//! `tower-mesh route`: what it prints and what its exit status means.

use std::process::Output;

use serde_json::Value;

use crate::files::Files;
use crate::program::{run, text};

const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.5, ports: [{name: http, port: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - name: web
    match: [{sourceLabels: {app: web}, headers: {end-user: {exact: jason}}}]
    timeout: 2s
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
  - name: charts
    match: [{uri: {prefix: /charts/}}]
    route: [{destination: {host: reviews}}]
";

const STRICT: &str = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n";

fn route(words: &[&str]) -> Output {
    let files = Files::new(&[("shop.yaml", SHOP), ("mesh.yaml", STRICT)]);
    let (config, mesh) = (files.path("shop.yaml"), files.path("mesh.yaml"));
    let command = ["route", "--config", &config, "--mesh-config", &mesh];
    let workload = ["--workload", "shop/web"];
    run(&[&command[..], &workload[..], words].concat(), "")
}

#[test]
fn a_call_is_told_where_it_goes_and_which_routes_missed_it() {
    let output = route(&["GET", "http://reviews:8080/charts/7", "--label", "app=web"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "what is asked is not unused");
    let told = text(&output.stdout);
    assert!(
        told.starts_with("routed: outbound|8080||reviews.shop.svc.cluster.local\n"),
        "{told}"
    );
    assert!(
        told.contains(
            "shop.yaml:13): no match\n    headers[end-user] is not {exact: jason}: saw nothing\n"
        ),
        "{told}"
    );
    assert!(
        told.contains("  route charts of VirtualService shop/reviews ("),
        "{told}"
    );
    // Without the label the workload has no such route.
    let output = route(&["GET", "http://reviews:8080/charts/7"]);
    assert!(!text(&output.stdout).contains("route web"));
}

#[test]
fn headers_count_and_programs_get_json() {
    let words = [
        "GET",
        "http://reviews.shop:8080/7?a=b",
        "--label",
        "app=web",
    ];
    let header = ["--header", "End-User=jason"];
    let spoken = |format: &[&str]| {
        let output = route(&[&words[..], &header[..], format].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        json
    };
    let json = spoken(&["--json"]);
    let outcome = &json["outcome"];
    assert_eq!(outcome["clusters"][1]["subset"], "v2");
    assert_eq!(outcome["clusters"][1]["weight"], 10);
    assert_eq!(outcome["timeout_ms"], 2000);
    assert_eq!(json["virtual_host"]["by"], "exact");
    assert_eq!(json["routes"][0]["resource"]["name"], "reviews");
    let other = spoken(&["--format", "json"]);
    assert_eq!(other["outcome"], *outcome);
}

#[test]
fn a_call_that_goes_nowhere_has_the_status_1() {
    for (url, why) in [
        (
            "http://reviews:8080/",
            "no route of reviews.shop.svc.cluster.local:8080 takes it",
        ),
        ("http://nobody:8080/", "nobody knows the host on port 8080"),
        ("https://reviews/", "no service has port 443"),
    ] {
        let output = route(&["GET", url]);
        assert_eq!(output.status.code(), Some(1), "{url}");
        let told = text(&output.stdout);
        assert!(told.starts_with(&format!("not routed: {why}")), "{told}");
    }
}

#[test]
fn what_is_no_call_is_an_error() {
    for (words, why) in [
        (
            &["GET", "/7"][..],
            "`/7` names no host; write http://HOST[:PORT]/PATH",
        ),
        (&["GET", "ftp://reviews/"][..], "is not of http or https"),
        (&["GET", "http://me@reviews/"][..], "holds a user"),
        (&["GET", "http://reviews:0/"][..], "has a wrong port"),
        (&["G T", "http://reviews/"][..], "`G T` is no method"),
        (
            &["GET", "http://reviews/", "--header", "a b=c"][..],
            "`a b` is no name of a header",
        ),
        (
            &["GET", "http://reviews/", "--header", "Host=c"][..],
            "the host is that of the URL",
        ),
    ] {
        let output = route(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
        let told = text(&output.stderr);
        assert!(told.contains(why), "{words:?}: {told}");
    }
    let output = route(&["GET"]);
    assert_eq!(output.status.code(), Some(2));
}
