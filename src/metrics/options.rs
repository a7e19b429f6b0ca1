use std::time::Duration;

/// What a registry needs beside its series.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) reporting_interval: Duration,
    pub(super) exemplars: bool,
    pub(super) extra_labels: Vec<String>,
    pub(super) reads_plaintext: bool,
    pub(super) semantic_conventions: bool,
    /// Whether also those that the conventions make opt-in.
    pub(super) opt_in_conventions: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reporting_interval: Duration::from_secs(5),
            exemplars: true,
            extra_labels: Vec::new(),
            reads_plaintext: false,
            semantic_conventions: false,
            opt_in_conventions: false,
        }
    }
}
