//! Runs cases that were recorded at a gateway: routes of the Gateway API are converted alike for a
//! Service.

use serde_json::Value;

use super::case::Case;
use super::recorded::list_agrees;
use super::seen::Seen;

/// Beside a VirtualService of a gateway; and where istiod was given no status of a redirect, which
/// an API server sets to 302, as we do.
const OTHERS: [&str; 2] = ["ga-redir-prefix", "ga-vs-same-host"];

#[test]
#[ignore = "needs recorded cases"]
fn routes_recorded_at_a_gateway_agree() {
    let mut agreeing = 0;
    let mut differing = 0;
    for case in Case::all() {
        let Some(Value::Object(hosts)) = case.want.get("http.80") else {
            continue;
        };
        if !case.name.starts_with("ga-") || OTHERS.contains(&case.name.as_str()) {
            continue;
        }
        let seen = Seen::new(&case.routing_as_mesh().unwrap());
        let agrees = hosts.iter().all(|(name, routes)| match name.as_str() {
            // Nothing is routed: the service has its own route.
            "blackhole:80" => {
                list_agrees(
                    "a",
                    &["default | prefix=/ -> outbound|80||a.srv.svc.cluster.local".into()],
                    &seen,
                ) == Some(true)
            }
            _ => list_agrees("a", routes.as_array().unwrap(), &seen) == Some(true),
        });
        match agrees {
            true => agreeing += 1,
            false => {
                differing += 1;
                let routes: Vec<_> = seen.routes().collect();
                println!("{}: want {hosts:?}\n    have {routes:?}", case.name);
            }
        }
    }
    println!("{agreeing} cases of gateways agree, {differing} differ");
    assert!(agreeing > 0);
    assert_eq!(differing, 0);
}
