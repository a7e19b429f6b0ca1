//! TLS of clusters.

use serde_json::{Value, json};

use super::json::sparse;
use crate::routing::cluster::{
    ClientCertificate, MeshTls, RootCertificates, TlsOrigination, UpstreamTls,
};

/// `transport_socket` and `transport_socket_matches`.
///
/// Where we refuse a call Istio has it sent without TLS; that is what is printed.
pub(super) fn sockets(tls: &UpstreamTls) -> (Option<Value>, Option<Value>) {
    match tls {
        UpstreamTls::Plain | UpstreamTls::Refused(_) => (None, None),
        UpstreamTls::Mesh(mesh) => (Some(of_mesh(mesh)), None),
        UpstreamTls::Origination(tls) => (Some(origination(tls)), None),
        UpstreamTls::Auto(mesh) => {
            let plain = json!({
                "name": "envoy.transport_sockets.raw_buffer",
                "typed_config": {"@type": type_url("transport_sockets.raw_buffer.v3.RawBuffer")},
            });
            let matches = json!([
                {
                    "name": "tlsMode-istio",
                    "match": {"tlsMode": "istio"},
                    "transport_socket": of_mesh(mesh),
                },
                {"name": "tlsMode-disabled", "match": {}, "transport_socket": plain},
            ]);
            (None, Some(matches))
        }
    }
}

fn of_mesh(mesh: &MeshTls) -> Value {
    let validation = combined(&mesh.istio_names, None, "ROOTCA");
    let context = context(&mesh.alpn, Some("default"), validation);
    socket(Some(&mesh.sni).filter(|sni| !sni.is_empty()), &context)
}

fn origination(tls: &TlsOrigination) -> Value {
    let certificate = tls
        .certificate
        .as_ref()
        .map(|certificate| match certificate {
            ClientCertificate::Files { chain, key } => format!("file-cert:{chain}~{key}"),
            ClientCertificate::Credential(name) => format!("kubernetes://{name}"),
        });
    let roots = match &tls.roots {
        RootCertificates::System => "file-root:system".to_owned(),
        RootCertificates::File(path) => format!("file-root:{path}"),
        RootCertificates::Credential(name) => format!("kubernetes://{name}-cacert"),
    };
    let validation = match tls.skips_verification {
        true => ("validation_context", json!({})),
        false => combined(&tls.names, tls.revoked.as_deref(), &roots),
    };
    socket(
        tls.sni.as_ref(),
        &context(&tls.alpn, certificate.as_deref(), validation),
    )
}

fn socket(sni: Option<&String>, context: &Value) -> Value {
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": sparse(json!({
            "@type": type_url("transport_sockets.tls.v3.UpstreamTlsContext"),
            "common_tls_context": context,
            "sni": sni,
        })),
    })
}

fn context(alpn: &[&str], certificate: Option<&str>, validation: (&str, Value)) -> Value {
    let certificates: Vec<_> = certificate.into_iter().map(secret).collect();
    let mut context = sparse(json!({
        "tls_params": {
            "tls_minimum_protocol_version": "TLSv1_2",
            "tls_maximum_protocol_version": "TLSv1_3",
        },
        "alpn_protocols": alpn,
        "tls_certificate_sds_secret_configs": certificates,
    }));
    if let Some(fields) = context.as_object_mut() {
        fields.insert(validation.0.to_owned(), validation.1);
    }
    context
}

fn combined(names: &[String], revoked: Option<&str>, roots: &str) -> (&'static str, Value) {
    let names: Vec<_> = names.iter().map(|name| json!({"exact": name})).collect();
    let validation = json!({
        "default_validation_context": sparse(json!({
            "match_subject_alt_names": names,
            "crl": revoked.map(|path| json!({"filename": path})),
        })),
        "validation_context_sds_secret_config": secret(roots),
    });
    ("combined_validation_context", validation)
}

fn secret(name: &str) -> Value {
    json!({"name": name})
}

pub(super) fn type_url(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}
