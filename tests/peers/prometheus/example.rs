//! A real Prometheus that scrapes the example `patients`, which `curl` calls as its text says.

use std::collections::HashMap;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;
use tower_mesh::metrics;

use super::server::{Prometheus, encoded};
use crate::tool::{self, PATIENCE};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_scrapes_the_example_and_finds_its_calls() {
    let (Some(program), Some(example), Some(curl)) = (
        tool::find("prometheus"),
        tool::find("patients"),
        tool::find("curl"),
    ) else {
        return;
    };
    let mut clinic = Command::new(example)
        .arg("--serve")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(clinic.stdout.take().unwrap()).lines();
    let mut values = HashMap::new();
    while !values.contains_key("TOKEN_FILE") {
        let line = timeout(PATIENCE, said.next_line()).await.unwrap().unwrap();
        let line = line.unwrap();
        if let Some((name, value)) = line.split_once('=') {
            values.insert(name.to_owned(), value.to_owned());
        }
    }
    let token = std::fs::read_to_string(&values["TOKEN_FILE"]).unwrap();
    let token = format!("authorization: Bearer {}", token.trim());
    for (url, times) in [("PATIENTS_URL", 2), ("CHECKIN_URL", 3)] {
        for _ in 0..times {
            let arguments = [
                "--silent",
                "--show-error",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "--cacert",
                &values["CA"],
                "--cert",
                &values["CERT"],
                "--key",
                &values["KEY"],
                "--header",
                &token,
                &values[url],
            ];
            let answer = tool::run(&curl, &arguments, "").await;
            assert_eq!(answer.text, "200", "{url}");
        }
    }

    let metrics_url = values["METRICS_URL"].strip_prefix("http://").unwrap();
    let target = metrics_url.strip_suffix(metrics::PATH).unwrap();
    let prometheus = Prometheus::start(&program, &[target.parse().unwrap()]);
    let value = |data: &Value| {
        data["result"][0]["value"][1]
            .as_str()
            .map(ToOwned::to_owned)
    };
    for (expression, expected) in [
        ("sum(up)", "1"),
        // The calls of curl, and those of the desk behind it.
        (
            r#"sum(istio_requests_total{reporter="destination", destination_workload="patients", response_code="200"})"#,
            "5",
        ),
        (
            r#"sum(istio_requests_total{reporter="source", destination_workload="patients", response_code="200"})"#,
            "3",
        ),
        (
            r#"count(istio_requests_total{connection_security_policy="none"}) or vector(0)"#,
            "0",
        ),
    ] {
        let path = format!("/api/v1/query?query={}", encoded(expression));
        let is_so = |data: &Value| value(data).as_deref() == Some(expected);
        prometheus.until(expression, &path, is_so).await;
    }
    clinic.kill().await.unwrap();
}
