//! Requests as `check --requests` reads them, asked of an engine in this process.

use serde_json::Value;
use tower_mesh::identity::PeerCertificate;
use tower_mesh::policy::Request;

/// The request that a line says.
pub(crate) fn request(line: &Value, port: u16) -> Request {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut request = match line.get("method") {
        Some(method) => Request::new().method(text(method), text(&line["path"])),
        None => Request::tcp(),
    };
    if let Some(authority) = line.get("authority") {
        request = request.authority(text(authority));
    }
    let headers = line.get("headers").and_then(Value::as_object);
    for (name, lines) in headers.into_iter().flatten() {
        for value in texts(lines) {
            request = request.header(name, value);
        }
    }
    if let Some(claims) = line.get("claims") {
        request = request.claims(claims.as_object().unwrap().clone());
    }
    if let Some(sni) = line.get("sni") {
        request = request.sni(sni.as_str().unwrap());
    }
    let source = &line["source"];
    let mut uris = texts(&source["uri_sans"]);
    uris.extend(
        texts(&source["principal"])
            .iter()
            .map(|name| format!("spiffe://{name}")),
    );
    let dns = texts(&source["dns_sans"]);
    let subject = texts(&source["subject"]).pop().unwrap_or_default();
    if !(uris.is_empty() && dns.is_empty() && subject.is_empty()) {
        request = request.certificate(PeerCertificate::from_names(uris, dns, subject));
    }
    if let Some(ip) = source.get("ip") {
        request = request.source_ip(text(ip).parse().unwrap());
    }
    if let Some(ip) = source.get("remote_ip") {
        request = request.remote_ip(text(ip).parse().unwrap());
    }
    let destination = &line["destination"];
    if let Some(ip) = destination.get("ip") {
        request = request.destination_ip(text(ip).parse().unwrap());
    }
    let own = destination["port"].as_u64();
    request.port(own.map_or(port, |port| u16::try_from(port).unwrap()))
}

/// The texts of a list, or of one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(list) => list.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
