//! Compares what both tell of one request.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Tally;
use super::record::Record;

impl Tally {
    pub(crate) fn add(&mut self, case: &str, is_zipkin: bool, ours: &Record, theirs: &Record) {
        self.exchanges += 1;
        let fields: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
        for field in fields {
            self.fields += 1;
            let [ours, theirs] = [ours, theirs].map(|record| record.get(field));
            if ours == theirs {
                continue;
            }
            let mut listed = self.list.iter().enumerate();
            let listed = listed.find(|(_, listed)| listed.explains(case, field, ours, theirs));
            if let Some((index, _)) = listed {
                *self.listed.entry(index).or_default() += 1;
                continue;
            }
            let shown = |value: Option<&Value>| {
                value.map_or_else(|| "nothing".to_owned(), Value::to_string)
            };
            let tracing = if is_zipkin { "zipkin" } else { "otlp" };
            self.differences.push(format!(
                "{tracing}, {}: {field}: {}, Envoy {}",
                case,
                shown(ours),
                shown(theirs),
            ));
        }
    }
}
