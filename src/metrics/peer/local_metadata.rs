use base64::Engine;
use http::{HeaderMap, HeaderValue};

use super::metadata::{
    BASE64, CANONICAL_NAME, CANONICAL_REVISION, FIELDS, ID, KEY, METADATA, PresentHeaders,
    STRING_VALUE, STRUCT_VALUE, VALUE,
};
use super::wire::Writer;
use crate::identity::{SpiffeId, Workload};

/// The two headers of this workload, encoded once.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct LocalMetadata {
    id: HeaderValue,
    value: HeaderValue,
}

impl LocalMetadata {
    /// `identity` is that of this workload's certificate, and `extra` names labels to send besides
    /// those that Istio sends. `None` if a name of the workload is not allowed in a header.
    pub(in crate::metrics) fn new(
        workload: &Workload,
        identity: Option<&SpiffeId>,
        extra: &[String],
    ) -> Option<Self> {
        let value = BASE64.encode(encode(workload, identity, extra));
        Some(Self {
            id: HeaderValue::try_from(workload.node_id()).ok()?,
            value: HeaderValue::try_from(value).ok()?,
        })
    }

    /// Adds those of the two headers that were asked for.
    pub(in crate::metrics) fn add(&self, headers: &mut HeaderMap, asked: PresentHeaders) {
        if asked.id {
            headers.insert(ID, self.id.clone());
        }
        if asked.value {
            headers.insert(METADATA, self.value.clone());
        }
    }
}

/// Writes the keys in the order in which the sidecar sorts them.
fn encode(workload: &Workload, identity: Option<&SpiffeId>, extra: &[String]) -> Vec<u8> {
    let label = |key: &str| workload.labels().get(key).map(String::as_str);
    let mut labels = vec![
        (CANONICAL_NAME, Some(workload.canonical_service())),
        (CANONICAL_REVISION, Some(workload.canonical_revision())),
    ];
    let extra = extra.iter().map(String::as_str);
    labels.extend(
        ["app", "version"]
            .into_iter()
            .chain(extra)
            .map(|key| (key, label(key))),
    );
    labels.sort_unstable_by(|(one, _), (other, _)| sidecars_order(one, other));
    labels.dedup_by_key(|(key, _)| *key);
    let mut fields = Writer::default();
    write_texts(&mut fields, &labels);
    let mut metadata = Writer::default();
    let before = [
        ("AVAILABILITY_ZONE", workload.zone()),
        ("CLUSTER_ID", Some(workload.cluster_id())),
        ("IDENTITY", identity.map(SpiffeId::as_str)),
    ];
    write_texts(&mut metadata, &before);
    write_entry(&mut metadata, "LABELS", STRUCT_VALUE, fields.as_bytes());
    let pod = workload.pod_name();
    let after = [
        ("NAMESPACE", Some(workload.namespace())),
        ("NAME", pod.or_else(|| Some(workload.workload_name()))),
        ("OWNER", workload.owner()),
        ("REGION", workload.region()),
        ("WORKLOAD_NAME", Some(workload.workload_name())),
    ];
    write_texts(&mut metadata, &after);
    metadata.as_bytes().to_vec()
}

/// A longer key stands before a key that it starts with.
fn sidecars_order(one: &str, other: &str) -> std::cmp::Ordering {
    if one.starts_with(other) || other.starts_with(one) {
        other.len().cmp(&one.len())
    } else {
        one.cmp(other)
    }
}

fn write_texts(to: &mut Writer, entries: &[(&str, Option<&str>)]) {
    for (key, value) in entries {
        if let Some(value) = value {
            write_entry(to, key, STRING_VALUE, value.as_bytes());
        }
    }
}

pub(super) fn write_entry(to: &mut Writer, key: &str, kind: u32, bytes: &[u8]) {
    let mut value = Writer::default();
    value.bytes(kind, bytes);
    let mut entry = Writer::default();
    entry.bytes(KEY, key.as_bytes());
    entry.bytes(VALUE, value.as_bytes());
    to.bytes(FIELDS, entry.as_bytes());
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::peer::metadata::{PeerMetadata, Value, entries};

    /// The vector of the specification.
    pub(in crate::metrics) const VECTOR: &str = "ChoKCkNMVVNURVJfSUQSDBoKS3ViZXJuZXRlcwo0CgZMQUJFTFMSKiooCiYKH3NlcnZpY2UuaXN0aW8uaW8vY2Fub25pY2FsLW5hbWUSAxoBYwoQCglOQU1FU1BBQ0USAxoBbgoLCgROQU1FEgMaAXAKFAoNV09SS0xPQURfTkFNRRIDGgF3";

    #[test]
    fn writes_what_it_reads_in_the_sidecars_order() {
        let workload = Workload::new("n", "a")
            .name("w")
            .pod("p")
            .ip([10, 0, 0, 1].into())
            .label("app", "x")
            .label("version", "v1");
        let own = LocalMetadata::new(&workload, None, &[]).unwrap();
        assert_eq!(own.id, "sidecar~10.0.0.1~p.n~n.svc.cluster.local");
        let expected = PeerMetadata {
            namespace: Some("n".to_owned()),
            workload: Some("w".to_owned()),
            cluster: Some("Kubernetes".to_owned()),
            app: Some("x".to_owned()),
            version: Some("v1".to_owned()),
            canonical_service: Some("x".to_owned()),
            canonical_revision: Some("v1".to_owned()),
        };
        assert_eq!(PeerMetadata::decode(own.value.as_bytes()), Some(expected));
        let bytes = encode(&workload, None, &[]);
        let keys: Vec<_> = entries(&bytes).map(|e| e.unwrap().0).collect();
        assert_eq!(
            keys,
            ["CLUSTER_ID", "LABELS", "NAMESPACE", "NAME", "WORKLOAD_NAME"]
        );
    }

    #[test]
    fn writes_what_else_is_known() {
        let workload = Workload::new("n", "a")
            .name("w")
            .owned_by("kubernetes://apis/apps/v1/namespaces/n/deployments/w")
            .locality("eu", "eu-1")
            .with_labels([
                ("app", "x"),
                ("team", "t"),
                ("app.kubernetes.io/part-of", "shop"),
            ]);
        let identity = SpiffeId::new("spiffe://cluster.local/ns/n/sa/a").unwrap();
        let extra = ["team", "app", "app.kubernetes.io/part-of", "none"].map(str::to_owned);
        let bytes = encode(&workload, Some(&identity), &extra);
        let mut said = Vec::new();
        for entry in entries(&bytes) {
            match entry.unwrap() {
                (key, Value::Text(text)) => said.push(format!("{key}={text}")),
                ("LABELS", Value::Struct(labels)) => {
                    let keys = entries(labels).map(|entry| entry.unwrap().0);
                    said.push(keys.collect::<Vec<_>>().join(","));
                }
                _ => {}
            }
        }
        assert_eq!(
            said,
            [
                "AVAILABILITY_ZONE=eu-1",
                "CLUSTER_ID=Kubernetes",
                "IDENTITY=spiffe://cluster.local/ns/n/sa/a",
                "app.kubernetes.io/part-of,app,service.istio.io/canonical-name,\
                 service.istio.io/canonical-revision,team",
                "NAMESPACE=n",
                "NAME=w",
                "OWNER=kubernetes://apis/apps/v1/namespaces/n/deployments/w",
                "REGION=eu",
                "WORKLOAD_NAME=w",
            ]
        );
    }

    #[test]
    fn writes_the_vector() {
        let mut labels = Writer::default();
        write_entry(&mut labels, CANONICAL_NAME, STRING_VALUE, b"c");
        let mut all = Writer::default();
        write_entry(&mut all, "CLUSTER_ID", STRING_VALUE, b"Kubernetes");
        write_entry(&mut all, "LABELS", STRUCT_VALUE, labels.as_bytes());
        write_entry(&mut all, "NAMESPACE", STRING_VALUE, b"n");
        write_entry(&mut all, "NAME", STRING_VALUE, b"p");
        write_entry(&mut all, "WORKLOAD_NAME", STRING_VALUE, b"w");
        assert_eq!(all.as_bytes().len(), 135);
        assert_eq!(BASE64.encode(all.as_bytes()), VECTOR);
    }

    #[test]
    fn padding_may_be_missing() {
        let workload = Workload::new("n", "a").name("ww");
        let padded = BASE64.encode(encode(&workload, None, &[]));
        let bare = padded.trim_end_matches('=');
        assert_eq!(
            PeerMetadata::decode(padded.as_bytes()),
            PeerMetadata::decode(bare.as_bytes())
        );
        assert!(PeerMetadata::decode(bare.as_bytes()).is_some());
    }
}
