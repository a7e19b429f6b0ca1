/// What has become of the spans that an exporter was given, since the start of the process.
///
/// Each span is in one of the counts but the one of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportCounts {
    /// Spans that wait to be sent, or are being sent.
    pub queued: u64,
    /// Spans that the collector has taken.
    pub exported: u64,
    /// Spans for which the queue had no room, in number or in bytes.
    pub dropped: u64,
    /// Spans in batches that the collector did not take: it could not be reached, refused them, or
    /// did not answer in time.
    pub failed: u64,
    /// Spans that ended where no runtime of tokio runs, or whose runtime ended before they were
    /// sent.
    pub lost: u64,
    /// Batches that the collector did not take.
    pub failed_batches: u64,
    /// Spans that the collector has rejected of a batch that it took: OTLP's partial success.
    pub rejected: u64,
}
