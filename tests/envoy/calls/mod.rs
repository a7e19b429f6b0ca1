//! What a mesh's client and an Envoy tell of the same calls.
//!
//! Each call goes through an Envoy that is set up as Istio sets up its sidecars' outbound listeners,
//! and through the client of a mesh, to servers of the same kinds: over mutual TLS, over another
//! identity, in plaintext, broken and closed ones. The headers that reach the server, the client
//! span, the line of the access log as text and as JSON, and what the caller gets must be the same,
//! field by field, but for the differences of [`listed`]. The metrics of the mesh must count what
//! the tables of Istio's standard metrics say.

mod call;
mod envoy;
mod listed;
mod mesh;
mod metrics;
mod party;
mod raw;
mod servers;
mod table;
mod table_traces;

use std::path::Path;

use tower_mesh::testing::Pki;

use self::listed::LISTED;
use crate::telemetry::Tally;

/// Makes all calls of the table through both, with both kinds of tracing.
pub(crate) async fn compare(program: &Path) -> Tally {
    let mut tally = Tally::new("calls", LISTED);
    for is_zipkin in [true, false] {
        let pki = Pki::new("cluster.local").unwrap();
        let ours = mesh::start(&pki, is_zipkin).await;
        let theirs = envoy::start(program, &pki, is_zipkin).await;
        let calls = table::calls(is_zipkin);
        for call in &calls {
            ours.make(call).await;
            theirs.make(call).await;
        }
        ours.end().await;
        theirs.end().await;
        let told = ours.metrics();
        let [ours, theirs] = [ours.records(&calls), theirs.records(&calls)];
        for ((call, ours), theirs) in calls.iter().zip(&ours).zip(&theirs) {
            tally.add(call.name, is_zipkin, ours, theirs);
        }
        let counted = metrics::compare(&told, &calls, &ours, &theirs);
        tally.fields += counted.0;
        tally.differences.extend(counted.1);
    }
    tally
}
