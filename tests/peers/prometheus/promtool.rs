//! `promtool`: the lint of the text, and the dashboards' queries over its samples.

use std::fmt::Write;

use tower_mesh::metrics::Format;

use super::queries;
use super::traffic::Traffic;
use crate::tool;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_has_nothing_against_our_text_but_istios_milliseconds() {
    let Some(promtool) = tool::find("promtool") else {
        return;
    };
    let traffic = Traffic::start().await;
    traffic.send().await;
    for text in traffic.both(Format::Text) {
        let said = tool::run(&promtool, &["check", "metrics"], &text).await;
        let allowed = "istio_request_duration_milliseconds use base unit \"seconds\" instead of \"milliseconds\"";
        // Envoy's own names are what its dashboards ask for.
        let ours = said.text.lines().filter(|line| !line.starts_with("envoy_"));
        let others: Vec<_> = ours.filter(|line| *line != allowed).collect();
        assert_eq!(others, [""; 0]);
        assert_eq!(said.code, Some(3), "the one thing is found");
    }
}

/// Each counter rises in one minute from nothing to what the traffic made it, and stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboards_and_kiali_find_what_they_ask_for() {
    let Some(promtool) = tool::find("promtool") else {
        return;
    };
    let traffic = Traffic::start().await;
    traffic.send().await;
    let mut test = "evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series:\n".to_owned();
    for (instance, text) in traffic.both(Format::Text).iter().enumerate() {
        for line in text.lines().filter(|line| line.starts_with("istio_")) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let series = match series.strip_suffix('}') {
                Some(labels) => format!("{labels},instance=\"{instance}\"}}"),
                None => format!("{series}{{instance=\"{instance}\"}}"),
            };
            let values = match series.starts_with("istio_build") {
                true => format!("{value}x20"),
                false => format!("0x10 {value}x10"),
            };
            let _ = writeln!(test, "  - series: '{series}'\n    values: '{values}'");
        }
    }
    test.push_str("  promql_expr_test:\n");
    for query in queries::all() {
        // The increase over the rise alone, which Prometheus reads to the ends of the range.
        let expression = query.expression.replace('\'', "''");
        let _ = writeln!(
            test,
            "  - expr: 'round({expression} * 1, 0.5)'\n    eval_time: 15m\n    exp_samples:"
        );
        for (labels, value) in query.answer {
            let _ = writeln!(test, "    - labels: '{labels}'\n      value: {value}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("queries.yaml");
    std::fs::write(&file, test).unwrap();
    let said = tool::run(&promtool, &["test", "rules", file.to_str().unwrap()], "").await;
    assert_eq!(said.code, Some(0), "{}", said.text);
}
