//! What a mesh and an Envoy tell of the same requests.
//!
//! Each request goes, over mutual TLS, to an Envoy that is set up as Istio sets up its sidecars, and
//! to a mesh with the same policies; once with Zipkin, once with OpenTelemetry. The headers that
//! reach the application, the line of the access log as text and as JSON, the span, and the status
//! must be the same, field by field, but for the differences of [`listed`]. The metrics of the mesh
//! must count what Envoy's log says.

pub(crate) mod app;
mod ask;
pub(crate) mod collector;
mod compare;
pub(crate) mod listed;
pub(crate) mod metrics;
pub(crate) mod parties;
pub(crate) mod record;
pub(crate) mod setting;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use self::listed::{LISTED, Listed};
use self::parties::Parties;

/// What became of all requests.
pub(crate) struct Tally {
    /// What is compared: `requests`, say.
    of: &'static str,
    list: &'static [Listed],
    exchanges: usize,
    pub(crate) fields: usize,
    /// How many fields each listed difference explains.
    listed: BTreeMap<usize, usize>,
    pub(crate) differences: Vec<String>,
}

/// Sends the whole table to both, with both kinds of tracing.
pub(crate) async fn compare(program: &Path) -> Tally {
    let mut tally = Tally::new("requests", LISTED);
    for is_zipkin in [true, false] {
        let parties = Parties::start(program, is_zipkin).await;
        let cases = table::cases(&parties.issuer, is_zipkin);
        let [ours, theirs] = [&parties.ours, &parties.theirs];
        for case in &cases {
            ours.ask(case, &parties.pki).await;
            theirs.ask(case, &parties.pki).await;
        }
        ours.end(&parties.pki).await;
        theirs.end(&parties.pki).await;
        let [ours, theirs] = [ours.records(&cases), theirs.records(&cases)];
        for ((case, ours), theirs) in cases.iter().zip(&ours).zip(&theirs) {
            tally.add(case.name, is_zipkin, ours, theirs);
        }
        let told = parties.ours.metrics();
        let counted = metrics::compare(&told, &ours, &theirs);
        tally.fields += counted.0;
        tally.differences.extend(counted.1);
    }
    tally
}

impl Tally {
    pub(crate) fn new(of: &'static str, list: &'static [Listed]) -> Self {
        Self {
            of,
            list,
            exchanges: 0,
            fields: 0,
            listed: BTreeMap::new(),
            differences: Vec::new(),
        }
    }

    /// Prints what was found, and fails on anything that the list does not say.
    pub(crate) fn report(&self) {
        for difference in &self.differences {
            eprintln!("{difference}");
        }
        let count = |index: usize| self.listed.get(&index).copied().unwrap_or_default();
        for (index, listed) in self.list.iter().enumerate() {
            eprintln!("{:>4} {}: {}", count(index), listed.field, listed.why);
        }
        eprintln!(
            "telemetry: {} {}, {} fields, {} listed, {} different",
            self.exchanges,
            self.of,
            self.fields,
            self.listed.values().sum::<usize>(),
            self.differences.len(),
        );
        let idle = self.list.iter().enumerate();
        let idle: Vec<_> = idle
            .filter(|(index, _)| count(*index) == 0)
            .map(|(_, listed)| listed.field)
            .collect();
        assert!(idle.is_empty(), "listed, but not seen: {idle:#?}");
        assert!(self.differences.is_empty(), "the mesh and Envoy differ");
    }
}
