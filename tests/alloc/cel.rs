//! What a rule in CEL asks of the allocator.

use std::hint::black_box;

use allocation_counter::measure;
use tower_mesh::cel::Expression;
use tower_mesh::policy::Request;

/// Five terms, of every kind that is lowered; the first is an error that the second absorbs.
const RULE: &str = "(request.headers['x-none'] == 'a' || source.namespace in ['ops', 'web']) \
    && request.url_path.startsWith('/charts/') && request.headers['x-ward'].matches('^[0-9]+$') \
    && source.ip != '10.0.0.9' && 'doctor' in auth.claims.roles && auth.principal == 'clinic/ada'";

#[test]
fn a_lowered_rule_allocates_nothing() {
    let rule = Expression::compile(RULE).unwrap();
    assert!(!rule.is_interpreted());
    let requests: Vec<_> = (0..100)
        .map(|ward| {
            Request::new()
                .get(format!("/charts/{ward}"))
                .from("cluster.local/ns/web/sa/portal")
                .header("x-ward", ward.to_string())
                .user("clinic", "ada")
                .claim("roles", vec!["nurse", "doctor"])
        })
        .collect();
    // The cache of the pattern is made once for a thread.
    assert_eq!(rule.evaluate(&requests[0]), Ok(true));
    let counted = measure(|| {
        for request in &requests {
            assert_eq!(black_box(rule.evaluate(request)), Ok(true));
        }
    });
    assert_eq!(counted.count_total, 0);
}
