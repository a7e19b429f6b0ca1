//! Sends every span to a collector, too: `--otlp URL`, `--zipkin URL`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use opentelemetry_sdk::trace::TracerProviderBuilder;
use tower_mesh::Workload;
use tower_mesh::propagation::{
    EndpointError, ExportCounts, FinishedSpan, Format, OpenTelemetry, Otlp, SpanSink, Zipkin,
};

/// Where the spans go, besides this process's memory, in which the report finds them.
#[derive(Debug, Default)]
pub struct Export {
    to: To,
    /// One exporter for each workload, and one for the applications' own spans.
    exporters: Mutex<Vec<Exporter>>,
}

#[derive(Debug, Default)]
enum To {
    #[default]
    Nowhere,
    Otlp(String),
    Zipkin(String),
}

#[derive(Clone, Debug)]
enum Exporter {
    Otlp(Otlp),
    Zipkin(Zipkin),
}

impl Export {
    /// Reads the argument `--otlp` or `--zipkin`.
    pub fn new(option: &str, url: String) -> Result<Self, EndpointError> {
        let to = match option {
            "--zipkin" => To::Zipkin(url),
            _ => To::Otlp(url),
        };
        let export = Self {
            to,
            exporters: Mutex::default(),
        };
        export.exporter()?;
        Ok(export)
    }

    /// What a workload's spans go to.
    pub fn sink(&self, memory: OpenTelemetry) -> Result<Sink, EndpointError> {
        let exporter = self.exporter()?;
        self.exporters.lock().unwrap().extend(exporter.clone());
        Ok(Sink { memory, exporter })
    }

    /// Adds what the applications' own spans go to.
    pub fn add_to(&self, provider: TracerProviderBuilder) -> TracerProviderBuilder {
        let Ok(Some(exporter)) = self.exporter() else {
            return provider;
        };
        self.exporters.lock().unwrap().push(exporter.clone());
        match exporter {
            Exporter::Otlp(otlp) => {
                otlp.workload(&Workload::new("default", "clinic"));
                provider.with_span_processor(otlp)
            }
            Exporter::Zipkin(zipkin) => {
                zipkin.workload(&Workload::new("default", "clinic"));
                provider.with_span_processor(zipkin)
            }
        }
    }

    /// Sends all that is left, before the process ends. Returns how many spans the collector has
    /// taken, and how many it has not.
    pub async fn flush(&self) -> Option<(u64, u64)> {
        let exporters = self.exporters.lock().unwrap().clone();
        let (mut taken, mut not) = (0, 0);
        for exporter in &exporters {
            let counts = match exporter {
                Exporter::Otlp(otlp) => {
                    otlp.flush(PATIENCE).await;
                    otlp.counts()
                }
                Exporter::Zipkin(zipkin) => {
                    zipkin.flush(PATIENCE).await;
                    zipkin.counts()
                }
            };
            taken += counts.exported;
            not += counts.queued + counts.dropped + counts.failed + counts.lost;
        }
        (!exporters.is_empty()).then_some((taken, not))
    }

    fn exporter(&self) -> Result<Option<Exporter>, EndpointError> {
        Ok(match &self.to {
            To::Nowhere => None,
            To::Otlp(url) => Some(Exporter::Otlp(Otlp::to(url)?)),
            To::Zipkin(url) => Some(Exporter::Zipkin(Zipkin::to(url)?)),
        })
    }
}

/// Takes each span twice: for the report, and for the collector.
#[derive(Debug)]
pub struct Sink {
    memory: OpenTelemetry,
    exporter: Option<Exporter>,
}

impl Sink {
    fn exporter(&self) -> Option<&dyn SpanSink> {
        match self.exporter.as_ref()? {
            Exporter::Otlp(otlp) => Some(otlp),
            Exporter::Zipkin(zipkin) => Some(zipkin),
        }
    }
}

impl SpanSink for Sink {
    fn export(&self, span: FinishedSpan) {
        if let Some(exporter) = self.exporter() {
            exporter.export(span.clone());
        }
        self.memory.export(span);
    }

    fn workload(&self, workload: &Workload) {
        if let Some(exporter) = self.exporter() {
            exporter.workload(workload);
        }
    }

    fn usual_formats(&self) -> &'static [Format] {
        self.exporter()
            .map_or_else(|| self.memory.usual_formats(), SpanSink::usual_formats)
    }

    fn takes_shared_spans(&self) -> bool {
        false
    }

    fn counts(&self) -> Option<ExportCounts> {
        self.exporter()?.counts()
    }

    fn flush(&self, within: Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> {
        match self.exporter() {
            Some(exporter) => exporter.flush(within),
            None => self.memory.flush(within),
        }
    }
}

/// For a collector that is slow.
const PATIENCE: Duration = Duration::from_secs(5);
