use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::wire::{Field, Reader};
use crate::metrics::store::labels::is_invisible;

/// The description of the peer that it sends in the peer metadata headers. It labels metrics and
/// decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct PeerMetadata {
    pub(in crate::metrics) namespace: Option<String>,
    pub(in crate::metrics) workload: Option<String>,
    pub(in crate::metrics) cluster: Option<String>,
    pub(in crate::metrics) app: Option<String>,
    pub(in crate::metrics) version: Option<String>,
    pub(in crate::metrics) canonical_service: Option<String>,
    pub(in crate::metrics) canonical_revision: Option<String>,
}

impl PeerMetadata {
    /// Reads the value of `x-envoy-peer-metadata`: base64 (padded or not) of a protobuf `Struct`.
    ///
    /// `None` if the value is too big or unreadable, or if its labels would be longer than those of
    /// any real workload. A field that no workload can have (longer than a Kubernetes name, or with
    /// an invisible character) is ignored.
    pub(super) fn decode(value: &[u8]) -> Option<Self> {
        if value.len() > MAX_HEADER {
            return None;
        }
        let metadata = Self::read(&BASE64.decode(value).ok()?)?;
        (metadata.written() <= MAX_WRITTEN).then_some(metadata)
    }

    /// The bytes that labels write for it.
    pub(in crate::metrics) fn written(&self) -> usize {
        let fields = self.fields().into_iter().flatten();
        fields.map(|text| written(text)).sum()
    }

    /// Whether it has no field.
    pub(in crate::metrics) fn is_empty(&self) -> bool {
        self.fields().into_iter().all(Option::is_none)
    }

    const fn fields(&self) -> [&Option<String>; 7] {
        [
            &self.namespace,
            &self.workload,
            &self.cluster,
            &self.app,
            &self.version,
            &self.canonical_service,
            &self.canonical_revision,
        ]
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut metadata = Self::default();
        let mut labels = Labels::default();
        for entry in entries(bytes) {
            let (key, value) = entry?;
            match (key, value) {
                ("NAMESPACE", Value::Text(text)) => metadata.namespace = present(text),
                ("WORKLOAD_NAME", Value::Text(text)) => metadata.workload = present(text),
                ("CLUSTER_ID", Value::Text(text)) => metadata.cluster = present(text),
                ("LABELS", Value::Struct(inner)) => labels = Labels::read(inner)?,
                _ => {}
            }
        }
        metadata.app = labels.named_app.or(labels.app);
        metadata.version = labels.named_version.or(labels.version);
        metadata.canonical_service = labels
            .canonical_service
            .or_else(|| metadata.app.clone())
            .or_else(|| metadata.workload.clone());
        metadata.canonical_revision = labels
            .canonical_revision
            .or_else(|| metadata.version.clone());
        Some(metadata)
    }
}

#[derive(Default)]
struct Labels {
    canonical_service: Option<String>,
    canonical_revision: Option<String>,
    named_app: Option<String>,
    named_version: Option<String>,
    app: Option<String>,
    version: Option<String>,
}

impl Labels {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut labels = Self::default();
        for entry in entries(bytes) {
            let (key, Value::Text(text)) = entry? else {
                continue;
            };
            let label = match key {
                CANONICAL_NAME => &mut labels.canonical_service,
                CANONICAL_REVISION => &mut labels.canonical_revision,
                "app.kubernetes.io/name" => &mut labels.named_app,
                "app.kubernetes.io/version" => &mut labels.named_version,
                "app" => &mut labels.app,
                "version" => &mut labels.version,
                _ => continue,
            };
            *label = present(text);
        }
        Some(labels)
    }
}

fn present(text: &str) -> Option<String> {
    let is_name = !text.is_empty() && written(text) <= MAX_FIELD && !text.contains(is_invisible);
    is_name.then(|| text.to_owned())
}

/// The length of a text as a label writes it, if all its characters are visible.
fn written(text: &str) -> usize {
    text.len() + text.matches(['"', '\\']).count()
}

/// A value of a `Struct` of the kinds that metadata uses.
pub(super) enum Value<'a> {
    Text(&'a str),
    Struct(&'a [u8]),
    Other,
}

/// The entries of a `google.protobuf.Struct`; `None` where it cannot be read.
pub(super) fn entries(bytes: &[u8]) -> impl Iterator<Item = Option<(&str, Value<'_>)>> {
    Reader::new(bytes).filter_map(|field| match field {
        None => Some(None),
        Some((FIELDS, Field::Bytes(entry))) => Some(read_entry(entry)),
        Some(_) => None,
    })
}

fn read_entry(entry: &[u8]) -> Option<(&str, Value<'_>)> {
    let (mut key, mut value) = ("", Value::Other);
    for field in Reader::new(entry) {
        match field? {
            (KEY, Field::Bytes(text)) => key = std::str::from_utf8(text).ok()?,
            (VALUE, Field::Bytes(bytes)) => value = read_value(bytes)?,
            _ => {}
        }
    }
    Some((key, value))
}

fn read_value(bytes: &[u8]) -> Option<Value<'_>> {
    let mut value = Value::Other;
    for field in Reader::new(bytes) {
        value = match field? {
            (STRING_VALUE, Field::Bytes(text)) => Value::Text(std::str::from_utf8(text).ok()?),
            (STRUCT_VALUE, Field::Bytes(bytes)) => Value::Struct(bytes),
            _ => Value::Other,
        };
    }
    Some(value)
}

/// Which of the two headers a message carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::metrics) struct PresentHeaders {
    pub(super) id: bool,
    pub(super) value: bool,
}

impl PresentHeaders {
    pub(in crate::metrics) const BOTH: Self = Self {
        id: true,
        value: true,
    };

    pub(in crate::metrics) const fn any(self) -> bool {
        self.id || self.value
    }
}

/// The two headers of a message as they came.
#[derive(Debug, Default)]
pub(in crate::metrics) struct ReceivedMetadata {
    pub(in crate::metrics) id: Option<HeaderValue>,
    pub(in crate::metrics) value: Option<HeaderValue>,
}

impl ReceivedMetadata {
    /// Takes both out of the headers, readable or not, so that the application never sees them.
    /// `any` is whether there is one: most messages have neither, and two lookups of long names
    /// cost more than the look at all names that the caller takes anyway.
    pub(in crate::metrics) fn take(headers: &mut HeaderMap, any: bool) -> Self {
        if !any {
            return Self::default();
        }
        Self {
            id: headers.remove(ID),
            value: headers.remove(METADATA),
        }
    }

    pub(in crate::metrics) const fn asked(&self) -> PresentHeaders {
        PresentHeaders {
            id: self.id.is_some(),
            value: self.value.is_some(),
        }
    }
}

/// Whether a header of this name is one of the two.
pub(in crate::metrics) fn is_metadata(name: &HeaderName) -> bool {
    *name == ID || *name == METADATA
}

pub(super) const ID: HeaderName = HeaderName::from_static("x-envoy-peer-metadata-id");
pub(in crate::metrics) const METADATA: HeaderName =
    HeaderName::from_static("x-envoy-peer-metadata");

/// Bigger metadata is ignored (H-13).
const MAX_HEADER: usize = 16 * 1024;
/// Kubernetes' longest names.
const MAX_FIELD: usize = 253;
/// Seven names as long as Kubernetes' labels, and some more.
const MAX_WRITTEN: usize = 512;

pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) const CANONICAL_NAME: &str = "service.istio.io/canonical-name";
pub(super) const CANONICAL_REVISION: &str = "service.istio.io/canonical-revision";

// Field numbers of google.protobuf.Struct, its map entry and Value.
pub(super) const FIELDS: u32 = 1;
pub(super) const KEY: u32 = 1;
pub(super) const VALUE: u32 = 2;
pub(super) const STRING_VALUE: u32 = 3;
pub(super) const STRUCT_VALUE: u32 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metrics::peer::local_metadata::tests::VECTOR;
    use crate::metrics::peer::local_metadata::write_entry;
    use crate::metrics::peer::wire::Writer;

    #[test]
    fn reads_what_a_sidecar_writes() {
        let expected = PeerMetadata {
            namespace: Some("n".to_owned()),
            workload: Some("w".to_owned()),
            cluster: Some("Kubernetes".to_owned()),
            canonical_service: Some("c".to_owned()),
            ..PeerMetadata::default()
        };
        assert_eq!(PeerMetadata::decode(VECTOR.as_bytes()), Some(expected));
    }

    /// H-13.
    #[test]
    fn what_is_too_big_or_unreadable_is_absent() {
        assert_eq!(PeerMetadata::decode(b"not base64!"), None);
        assert_eq!(
            PeerMetadata::decode(BASE64.encode([0x0a, 0x7f]).as_bytes()),
            None
        );
        let padded = |size| {
            let mut all = Writer::default();
            write_entry(&mut all, "NAMESPACE", STRING_VALUE, b"default");
            write_entry(&mut all, "other", STRING_VALUE, &vec![b'a'; size]);
            BASE64.encode(all.as_bytes())
        };
        let (largest, larger) = (padded(12_200), padded(12_300));
        assert!(largest.len() <= 16 * 1024 && larger.len() > 16 * 1024);
        assert!(PeerMetadata::decode(largest.as_bytes()).is_some());
        assert_eq!(PeerMetadata::decode(larger.as_bytes()), None);
    }

    /// H-19, R-21.
    #[test]
    fn a_field_that_no_workload_has_is_absent() {
        let read = |app: &str, version: &str| {
            let mut labels = Writer::default();
            write_entry(&mut labels, "app", STRING_VALUE, app.as_bytes());
            write_entry(&mut labels, "version", STRING_VALUE, version.as_bytes());
            let mut all = Writer::default();
            write_entry(&mut all, "LABELS", STRUCT_VALUE, labels.as_bytes());
            PeerMetadata::decode(BASE64.encode(all.as_bytes()).as_bytes())
        };
        for hostile in ["\0", "a\u{1f}", "\u{7f}", "a\u{85}b", "\n", "\u{202e}x"] {
            let metadata = read(hostile, "v1").unwrap();
            assert_eq!(metadata.app, None, "{hostile:?}");
            assert_eq!(metadata.version.as_deref(), Some("v1"));
        }
        assert!(read("\u{1}", "\u{2}").unwrap().is_empty());
        // As many bytes as a label writes.
        let longest = "a".repeat(MAX_FIELD);
        assert_eq!(read(&longest, "").unwrap().app, Some(longest.clone()));
        assert_eq!(read(&format!("{longest}a"), "").unwrap().app, None);
        assert_eq!(read(&"\"".repeat(MAX_FIELD / 2 + 1), "").unwrap().app, None);
        // An app names the canonical service too, so that it is written twice.
        assert_eq!(read(&longest, &longest), None);
    }

    #[test]
    fn a_peers_app_is_the_kubernetes_name_before_the_short_label() {
        let mut labels = Writer::default();
        write_entry(&mut labels, "app", STRING_VALUE, b"short");
        write_entry(&mut labels, "app.kubernetes.io/name", STRING_VALUE, b"long");
        write_entry(&mut labels, "version", STRING_VALUE, b"");
        let mut all = Writer::default();
        write_entry(&mut all, "LABELS", STRUCT_VALUE, labels.as_bytes());
        let read = PeerMetadata::read(all.as_bytes()).unwrap();
        assert_eq!(read.app.as_deref(), Some("long"));
        assert_eq!(read.version, None);
        assert_eq!(read.canonical_service.as_deref(), Some("long"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = PeerMetadata::read(&bytes);
            let _ = PeerMetadata::decode(&bytes);
        }
    }
}
