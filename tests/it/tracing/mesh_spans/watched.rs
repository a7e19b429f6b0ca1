//! A served workload, and what one request leaves behind: a span, a line and a count.

use std::sync::{Arc, Mutex};

use axum::Router;
use tower_mesh::access_log::AccessLog;
use tower_mesh::propagation::{FinishedSpan, Propagation};
use tower_mesh::testing::Pki;
use tower_mesh::{Mesh, MeshBuilder};

use super::site::Spans;
use crate::access_log::Lines;
use crate::support::mesh::{Served, app, build, lines, serve, until};

pub(super) struct Watched {
    pub(super) pki: Pki,
    pub(super) mesh: Mesh,
    pub(super) served: Served,
    pub(super) spans: Spans,
    pub(super) log: Lines,
    counted: Arc<Mutex<usize>>,
}

/// What a request has left behind.
pub(super) struct Left {
    pub(super) span: FinishedSpan,
    /// Code, flags, details.
    pub(super) line: String,
}

/// The value of a sample.
fn value(line: &str) -> usize {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

impl Watched {
    pub(super) async fn start(router: Router) -> Self {
        Self::with(router, |builder| builder).await
    }

    pub(super) async fn with(
        router: Router,
        change: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        Self::tracing(router, |propagation| propagation, change).await
    }

    /// With another way to propagate traces, too.
    pub(super) async fn tracing(
        router: Router,
        propagate: impl FnOnce(Propagation) -> Propagation,
        change: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let (spans, log) = (Spans::default(), Lines::default());
        let format = AccessLog::format(
            "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %DURATION%",
        )
        .unwrap()
        .to(log.sink());
        let propagation = propagate(spans.recording());
        let builder = change(app(&pki))
            .telemetry(|telemetry| telemetry.propagation(propagation).access_log(format));
        let mesh = build(builder).await;
        let served = serve(&mesh, router).await;
        Self {
            pki,
            mesh,
            served,
            spans,
            log,
            counted: Arc::default(),
        }
    }

    pub(super) fn sum(&self, metric: &str, labels: &[&str]) -> usize {
        let found = lines(&self.mesh, metric, labels);
        found.iter().map(|line| value(line)).sum()
    }

    /// The line of the request that has just ended. It is counted, too, with these labels and once.
    pub(super) async fn line(&self, labels: &[&str]) -> String {
        let line = self.log.one().await;
        let (line, duration) = line.rsplit_once(' ').unwrap();
        // In whole milliseconds, and never below 0.
        duration.parse::<u64>().unwrap();
        let expected = {
            let mut counted = self.counted.lock().unwrap();
            *counted += 1;
            *counted
        };
        let requests = "istio_requests_total{";
        until("the count", || self.sum(requests, &[]) >= expected).await;
        for metric in [requests, "istio_request_duration_milliseconds_count{"] {
            assert_eq!(self.sum(metric, &[]), expected, "{metric}");
        }
        let with_labels = self.sum(requests, labels);
        assert!(
            with_labels > 0,
            "{labels:?}: {:#?}",
            lines(&self.mesh, requests, &[])
        );
        line.to_owned()
    }

    /// The span, the line and the count of the request that has just ended. There is one of each,
    /// and they have the same code and the same flags.
    pub(super) async fn one(&self, code: &str, flags: &str, labels: &[&str]) -> Left {
        let (counted_code, counted_flags) = (
            format!("response_code=\"{code}\""),
            format!("response_flags=\"{flags}\""),
        );
        let labels = [&[&*counted_code, &*counted_flags], labels].concat();
        let line = self.line(&labels).await;
        let span = self.spans.all(1).await.remove(0);
        assert_eq!(span.tag("http.status_code"), Some(code), "{line}");
        assert_eq!(span.tag("response_flags"), Some(flags), "{line}");
        assert!(line.starts_with(&format!("{code} {flags} ")), "{line}");
        assert!(span.end >= span.start);
        Left { span, line }
    }
}
