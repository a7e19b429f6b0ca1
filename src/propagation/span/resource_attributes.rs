//! Reads `OTEL_RESOURCE_ATTRIBUTES`.

use crate::matcher::query;

/// Reads `key=value,key=value`, percent-encoded. By OpenTelemetry's specification of resources
/// ("Specifying resource information via an environment variable") nothing of it counts where some
/// of it cannot be read.
pub(super) fn read(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    let all: Option<Vec<_>> = pairs.map(pair).collect();
    all.unwrap_or_else(|| {
        // The text may be anybody's: it is not for the log.
        tracing::warn!(
            "OTEL_RESOURCE_ATTRIBUTES is not used: it is no list of `key=value`, percent-encoded, with commas between"
        );
        Vec::new()
    })
}

fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let (key, value) = (decoded(key.trim())?, decoded(value.trim())?);
    (!key.is_empty()).then_some((key, value))
}

fn decoded(text: &str) -> Option<String> {
    let mut escapes = text.split('%').skip(1).map(str::as_bytes);
    let is_escape = |rest: &[u8]| {
        let digits = rest.iter().take(2);
        digits.filter(|byte| byte.is_ascii_hexdigit()).count() == 2
    };
    if !escapes.all(is_escape) {
        return None;
    }
    String::from_utf8(query::percent_decode(text.as_bytes()).into_owned()).ok()
}
