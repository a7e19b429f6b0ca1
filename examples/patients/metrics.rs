//! What the clinic's metrics say, read as a Prometheus server reads them.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::clinic::{Clinic, PATIENCE, Running};

/// All of them, as text.
pub async fn scrape(clinic: &Clinic) -> String {
    let mut stream = TcpStream::connect(clinic.metrics).await.unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        tower_mesh::metrics::PATH
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    body.to_owned()
}

/// How many connections a workload has refused, by reason.
pub type Refusals = BTreeMap<String, u64>;

/// The connections that this workload has refused so far.
pub async fn refusals(clinic: &Clinic, workload: &Running) -> Refusals {
    let (ip, port) = (workload.address.ip(), workload.address.port());
    let listener = format!("envoy_listener_address=\"{ip}_{port}\"");
    let text = scrape(clinic).await;
    text.lines()
        .filter(|line| line.starts_with("mesh_tls_handshakes_total{") && line.contains(&listener))
        .filter(|line| line.contains("result=\"refused\""))
        .filter_map(|line| {
            let (_, reason) = line.split_once("reason=\"")?;
            let (reason, _) = reason.split_once('"')?;
            let (_, count) = line.rsplit_once(' ')?;
            Some((reason.to_owned(), count.parse().ok()?))
        })
        .collect()
}

/// Why a workload refused a connection since then. It may count it a moment after the caller has noticed.
pub async fn refusal_since(clinic: &Clinic, workload: &Running, before: &Refusals) -> String {
    let counted = async {
        loop {
            let now = refusals(clinic, workload).await;
            let rose = |(reason, count): &(&String, &u64)| before.get(*reason) < Some(*count);
            if let Some((reason, _)) = now.iter().find(rose) {
                return reason.clone();
            }
        }
    };
    tokio::time::timeout(PATIENCE, counted)
        .await
        .unwrap_or_else(|_| "nothing was counted".to_owned())
}
