//! Telemetry resources in a mesh that serves: what they change, and that they change it at once.

use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use hyper::client::conn::http2::SendRequest;
use tempfile::TempDir;
use tower_mesh::Mesh;
use tower_mesh::metrics::Format;
use tower_mesh::propagation::Propagation;
use tower_mesh::source::{Configuration, Fixed, SendError, Sender, channel};
use tower_mesh::testing::Pki;
use tower_mesh::{MeshBuilder, Workload};

use crate::support::mesh::{
    Log, Served, build, caller, empty, get2, http2, lines, read, serve, until,
};

type Caller = SendRequest<http_body_util::Full<bytes::Bytes>>;

/// A workload whose configuration a test changes.
struct Ward {
    pki: Pki,
    mesh: Mesh,
    served: Served,
    sender: Sender,
    ended: Log,
    asked: usize,
    caller: Caller,
    settings: String,
}

/// `/404` and the like answer with their number.
fn routes() -> Router {
    Router::new().fallback(any(async |request: http::Request<axum::body::Body>| {
        let code = request.uri().path().trim_start_matches('/').parse();
        code.ok()
            .and_then(|code| StatusCode::from_u16(code).ok())
            .unwrap_or(StatusCode::OK)
    }))
}

pub(super) fn loaded(
    settings: &str,
    text: &str,
) -> Result<Configuration, tower_mesh::istio::Problems> {
    let files = Fixed::yaml("telemetry.yaml", text);
    files.mesh_config("mesh.yaml", settings).load("default")
}

impl Ward {
    async fn new(settings: &str, text: &str) -> Self {
        Self::built(settings, text, |builder| builder).await
    }

    async fn built(
        settings: &str,
        text: &str,
        with: impl FnOnce(MeshBuilder) -> MeshBuilder,
    ) -> Self {
        let pki = Pki::new("cluster.local").unwrap();
        let ended = Log::default();
        let (sender, channel) = channel(loaded(settings, text).unwrap());
        let workload = Workload::new("default", "app")
            .label("app", "app")
            .service("app", 8443);
        let builder = Mesh::builder(workload, pki.identity("default", "app").unwrap())
            .config(channel)
            .telemetry(|telemetry| telemetry.on_complete(ended.observe()));
        let mesh = build(with(builder)).await;
        let served = serve(&mesh, routes()).await;
        let caller = http2(&pki, "desk", served.address).await;
        Self {
            pki,
            mesh,
            served,
            sender,
            ended,
            asked: 0,
            caller,
            settings: settings.to_owned(),
        }
    }

    async fn send(&self, text: &str) -> Result<(), SendError> {
        self.sender
            .send(loaded(&self.settings, text).unwrap())
            .await
    }

    /// Asks, and waits until the request has been recorded.
    async fn ask(&mut self, path: &str, headers: &[(&str, &str)]) -> http::HeaderMap {
        let mut request = get2(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.caller.send_request(empty(request)).await.unwrap();
        let (_, headers, _) = read(answer).await;
        self.asked += 1;
        self.ended.wait(self.asked).await;
        headers
    }

    /// The samples of a metric, without its name.
    fn samples(&self, metric: &str) -> Vec<String> {
        lines(&self.mesh, metric, &[])
    }
}

fn telemetry(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\n\
         metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n{spec}\n---\n"
    )
}

pub(super) fn mesh_wide(spec: &str) -> String {
    telemetry("mesh", "istio-system", spec)
}

/// The lines of a file, once there are so many.
async fn lines_of(path: &Path, count: usize) -> Vec<String> {
    let read = || std::fs::read_to_string(path).unwrap_or_default();
    until("lines of a log", || read().lines().count() >= count).await;
    read().lines().map(str::to_owned).collect()
}

fn file_log(folder: &TempDir) -> (std::path::PathBuf, String) {
    let path = folder.path().join("access.log");
    let settings = format!(
        "extensionProviders:\n- name: file\n  envoyFileAccessLog: {{path: {}, logFormat: {{text: '%REQ(:PATH)% %RESPONSE_CODE%'}}}}\n",
        path.display()
    );
    (path, settings)
}

#[tokio::test]
async fn a_filter_chooses_the_lines_of_a_log_and_changes_live() {
    let folder = tempfile::tempdir().unwrap();
    let (path, settings) = file_log(&folder);
    let log = |filter: &str| {
        mesh_wide(&format!(
            "  accessLogging: [{{providers: [{{name: file}}], filter: {{expression: \"{filter}\"}}}}]"
        ))
    };
    let mut ward = Ward::new(&settings, &log("response.code >= 400")).await;
    ward.ask("/200", &[]).await;
    ward.ask("/404", &[]).await;
    assert_eq!(lines_of(&path, 1).await, ["/404 404"]);
    // By a header, by who called, and by what is not there: an error is no line.
    let by_header = "request.headers['x-trace'] == 'yes' && filter_state.downstream_peer.namespace == 'default'";
    ward.send(&log(by_header)).await.unwrap();
    ward.ask("/500", &[]).await;
    ward.ask("/201", &[("x-trace", "yes")]).await;
    assert_eq!(lines_of(&path, 2).await, ["/404 404", "/201 201"]);
    // Without the resource there is no log.
    ward.send("").await.unwrap();
    ward.ask("/500", &[]).await;
    let off = mesh_wide("  accessLogging: [{providers: [{name: file}]}]");
    ward.send(&off).await.unwrap();
    ward.ask("/202", &[]).await;
    assert_eq!(lines_of(&path, 3).await.last().unwrap(), "/202 202");
    assert_eq!(lines_of(&path, 3).await.len(), 3);
}

#[tokio::test]
async fn mesh_config_alone_writes_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let settings = format!(
        "accessLogFile: {}\naccessLogEncoding: JSON\naccessLogFormat: '{{\"code\": \"%RESPONSE_CODE%\"}}'\n",
        path.display()
    );
    let mut ward = Ward::new(&settings, "").await;
    ward.ask("/404", &[]).await;
    assert_eq!(lines_of(&path, 1).await, [r#"{"code":404}"#]);
    assert_eq!(
        lines(&ward.mesh, "mesh_access_log_lines_total", &[]),
        ["mesh_access_log_lines_total 1"]
    );
}

#[tokio::test]
async fn a_provider_may_leave_out_what_has_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let text = "text: '%REQ(:PATH)% [%REQ(USER-AGENT)%] %RESPONSE_CODE%'";
    let labels =
        "labels: {agent: '%REQ(USER-AGENT)%', both: 'a %REQ(USER-AGENT)%', path: '%REQ(:PATH)%'}";
    let rows = [
        (text, false, "/200 [-] 200"),
        (text, true, "/200 [] 200"),
        (
            labels,
            false,
            r#"{"agent":null,"both":"a -","path":"/200"}"#,
        ),
        (labels, true, r#"{"both":"a ","path":"/200"}"#),
    ];
    let path = |index: usize| folder.path().join(format!("{index}.log"));
    let mut settings = "extensionProviders:\n".to_owned();
    let mut names = String::new();
    for (index, (format, omits, _)) in rows.iter().enumerate() {
        settings += &format!(
            "- name: p{index}\n  envoyFileAccessLog: {{path: {}, logFormat: {{{format}}}, omitEmptyValues: {omits}}}\n",
            path(index).display()
        );
        names += &format!("{{name: p{index}}}, ");
    }
    let log = mesh_wide(&format!("  accessLogging: [{{providers: [{names}]}}]"));
    let mut ward = Ward::new(&settings, &log).await;
    ward.ask("/200", &[]).await;
    assert!(ward.mesh.flush_access_logs(Duration::from_secs(20)));
    for (index, (format, omits, line)) in rows.iter().enumerate() {
        let written = std::fs::read_to_string(path(index)).unwrap();
        assert_eq!(written.trim_end_matches('\n'), *line, "{format} {omits}");
    }
}

/// logrotate's way: the file is moved away, and opened again on a signal.
#[tokio::test]
async fn files_that_mesh_config_names_are_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, settings) = file_log(&folder);
    let log = mesh_wide("  accessLogging: [{providers: [{name: file}]}]");
    let mut ward = Ward::new(&settings, &log).await;
    ward.ask("/200", &[]).await;
    assert!(ward.mesh.flush_access_logs(Duration::from_secs(20)));
    let moved = folder.path().join("access.log.1");
    std::fs::rename(&path, &moved).unwrap();
    ward.mesh.reopen_access_logs().unwrap();
    ward.ask("/404", &[]).await;
    assert!(ward.mesh.flush_access_logs(Duration::from_secs(20)));
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "/200 200\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "/404 404\n");
    // Where it cannot be opened, the old one stays in use.
    std::fs::rename(&path, &moved).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = ward.mesh.reopen_access_logs().unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    ward.ask("/201", &[]).await;
    assert!(ward.mesh.flush_access_logs(Duration::from_secs(20)));
    assert_eq!(
        std::fs::read_to_string(&moved).unwrap(),
        "/404 404\n/201 201\n"
    );
}

/// The configuration that names it is refused, and the last good one keeps serving and logging.
#[tokio::test]
async fn a_file_that_cannot_be_opened_refuses_its_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (path, settings) = file_log(&folder);
    let log = mesh_wide("  accessLogging: [{providers: [{name: file}]}]");
    let mut ward = Ward::new(&settings, &log).await;
    let absent = folder.path().join("no/such/folder/access.log");
    let absent = absent.display();
    let off = mesh_wide("  tracing: [{randomSamplingPercentage: 1}]");
    let provider =
        format!("extensionProviders:\n- name: file\n  envoyFileAccessLog: {{path: {absent}}}\n");
    for (settings, text, at) in [
        (
            format!("accessLogFile: {absent}\n"),
            &off,
            "mesh.yaml:1:16: accessLogFile: ",
        ),
        (provider, &log, "mesh.yaml:3:30: envoyFileAccessLog.path: "),
    ] {
        let refused = ward.sender.send(loaded(&settings, text).unwrap()).await;
        let error = refused.unwrap_err().problems().unwrap().to_string();
        let cause = format!("{at}the access log `{absent}` cannot be opened: ");
        assert!(error.contains(&cause), "{error}");
        assert!(
            error.contains("write another path, or /dev/stdout"),
            "{error}"
        );
        ward.ask("/200", &[]).await;
        assert!(ward.mesh.flush_access_logs(Duration::from_secs(20)));
    }
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "/200 200\n/200 200\n"
    );
}

#[tokio::test]
async fn sampling_is_changed_live() {
    let percent = |percent: &str| {
        mesh_wide(&format!(
            "  tracing: [{{randomSamplingPercentage: {percent}}}]"
        ))
    };
    let (spans, kept) = std::sync::mpsc::channel();
    let sink = Spans(spans);
    let mut ward = Ward::built("", &percent("100"), |builder| {
        builder.telemetry(|telemetry| telemetry.propagation(Propagation::new().export_to(sink)))
    })
    .await;
    let recorded = async |ward: &mut Ward| {
        ward.ask("/200", &[]).await;
        kept.try_iter().count()
    };
    assert_eq!(recorded(&mut ward).await, 1);
    ward.send(&percent("0")).await.unwrap();
    assert_eq!(recorded(&mut ward).await, 0);
    // The workload's own resource beats that of the mesh.
    let own = telemetry(
        "own",
        "default",
        "  selector: {matchLabels: {app: app}}\n  tracing: [{randomSamplingPercentage: 100, customTags: {ward: {literal: {value: west}}}}]",
    );
    let wide = telemetry(
        "wide",
        "default",
        "  tracing: [{randomSamplingPercentage: 0}]",
    );
    let other = telemetry(
        "other",
        "default",
        "  selector: {matchLabels: {app: desk}}\n  tracing: [{disableSpanReporting: true}]",
    );
    ward.send(&(own + &wide + &other)).await.unwrap();
    assert_eq!(recorded(&mut ward).await, 1);
    ward.send(&mesh_wide(
        "  tracing: [{randomSamplingPercentage: 100, disableSpanReporting: true}]",
    ))
    .await
    .unwrap();
    assert_eq!(recorded(&mut ward).await, 0);
    // A provider that is not there switches spans off.
    ward.send(&mesh_wide(
        "  tracing: [{randomSamplingPercentage: 100, providers: [{name: nobody}]}]",
    ))
    .await
    .unwrap();
    assert_eq!(recorded(&mut ward).await, 0);
    ward.send(&percent("100")).await.unwrap();
    assert_eq!(recorded(&mut ward).await, 1);
}

#[derive(Debug)]
struct Spans(std::sync::mpsc::Sender<tower_mesh::propagation::FinishedSpan>);

impl tower_mesh::propagation::SpanSink for Spans {
    fn export(&self, span: tower_mesh::propagation::FinishedSpan) {
        let _ = self.0.send(span);
    }
}

#[tokio::test]
async fn a_metric_is_disabled_for_one_side_and_comes_back() {
    let mut ward = Ward::new("", "").await;
    ward.ask("/200", &[]).await;
    let count = "istio_requests_total{";
    assert_eq!(ward.samples(count).len(), 1);
    let disabled = |metric: &str, mode: &str| {
        mesh_wide(&format!(
            "  metrics: [{{overrides: [{{match: {{metric: {metric}, mode: {mode}}}, disabled: true}}]}}]"
        ))
    };
    ward.send(&disabled("REQUEST_COUNT", "SERVER"))
        .await
        .unwrap();
    ward.ask("/200", &[]).await;
    assert_eq!(ward.samples(count), [""; 0]);
    assert_eq!(ward.samples("# TYPE istio_requests_total"), [""; 0]);
    assert_eq!(
        ward.samples("istio_request_duration_milliseconds_count{")
            .len(),
        1
    );
    ward.send(&disabled("REQUEST_COUNT", "CLIENT"))
        .await
        .unwrap();
    let found = ward.samples(count);
    // What was counted meanwhile is there: a counter does not go back.
    assert!(found[0].ends_with(" 2"), "{found:?}");
    ward.send(&disabled("ALL_METRICS", "SERVER")).await.unwrap();
    assert_eq!(ward.samples("istio_request"), [""; 0]);
    assert_eq!(ward.samples("istio_build").len(), 1);
}

#[tokio::test]
async fn tags_are_replaced_added_and_removed_and_no_series_is_there_twice() {
    let mut ward = Ward::new("", "").await;
    ward.ask("/200", &[("x-team", "a")]).await;
    let overrides = mesh_wide(
        "  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        team: {value: \"request.headers['x-team']\"}
        response_code: {value: \"string(response.code / 100) + 'xx'\"}
        region: {value: \"'west'\"}
        source_principal: {operation: REMOVE}
        destination_principal: {operation: REMOVE}",
    );
    ward.send(&overrides).await.unwrap();
    for (path, team) in [("/200", "b"), ("/201", "b"), ("/200", "c")] {
        ward.ask(path, &[("x-team", team)]).await;
    }
    // A header that is not there.
    ward.ask("/503", &[]).await;
    let count = "istio_requests_total{";
    let found = ward.samples(count);
    let of = |labels: &[&str]| {
        let found = lines(&ward.mesh, count, labels);
        found
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().1.to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of(&[r#"team="b""#, r#"response_code="2xx""#, r#"region="west""#]),
        ["2"]
    );
    assert_eq!(of(&[r#"team="c""#]), ["1"]);
    assert_eq!(of(&[r#"team="unknown""#, r#"response_code="5xx""#]), ["1"]);
    // From before the override.
    assert_eq!(
        of(&[r#"team="unknown""#, r#"response_code="unknown""#]),
        ["1"]
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(
        found.iter().all(|line| !line.contains("_principal")),
        "{found:#?}"
    );
    // Other metrics are as ever, and hold each series once.
    let durations = ward.samples("istio_request_duration_milliseconds_count{");
    assert_eq!(durations.len(), 3, "{durations:#?}");
    assert!(
        durations
            .iter()
            .all(|line| line.contains("source_principal=\"spiffe://"))
    );
    assert!(durations.iter().all(|line| !line.contains("team=")));

    ward.send("").await.unwrap();
    let found = ward.samples(count);
    assert_eq!(found.len(), 3, "{found:#?}");
    let sum: u32 = found
        .iter()
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap())
        .sum();
    assert_eq!(sum, 5);
    let open_metrics = ward.mesh.metrics().render(Format::OpenMetrics);
    let mut series: Vec<_> = open_metrics
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit_once(' ').unwrap().0)
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
}

/// Values that callers choose cannot fill the registry.
#[tokio::test]
async fn values_of_callers_are_bounded() {
    let overrides = mesh_wide(
        "  metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: {x: {value: \"request.headers['x']\"}}}]}]",
    );
    let mut ward = Ward::new("", &overrides).await;
    let long = "v".repeat(2000);
    for index in 0..1_100_u32 {
        ward.ask("/200", &[("x", &format!("{index}-{long}"))]).await;
    }
    let found = ward.samples("istio_requests_total{");
    assert_eq!(found.len(), 513);
    assert!(found.iter().all(|line| line.len() < 3_000));
    let rest: Vec<_> = found
        .iter()
        .filter(|line| line.contains("x=\"unknown\""))
        .collect();
    assert!(rest.len() == 1 && rest[0].ends_with(" 588"), "{rest:?}");
    assert!(rest[0].contains("response_code=\"200\""), "{rest:?}");
}

#[tokio::test]
async fn calls_have_their_own_telemetry() {
    let folder = tempfile::tempdir().unwrap();
    let (path, settings) = file_log(&folder);
    let ward = Ward::new("", "").await;
    let text = mesh_wide(
        "  accessLogging:
  - match: {mode: CLIENT}
    providers: [{name: file}]
    filter: {expression: \"upstream.port > 0 && xds.cluster_name.contains('app')\"}
  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT, mode: CLIENT}
      tagOverrides: {served_by: {value: filter_state.upstream_peer.workload}}",
    );
    let expected = ward.pki.identity("default", "app").unwrap();
    let builder = Mesh::builder(
        Workload::new("default", "desk"),
        ward.pki.identity("default", "desk").unwrap(),
    )
    .config(Fixed::yaml("t.yaml", text).mesh_config("mesh.yaml", settings))
    .upstream(
        "app.default",
        [ward.served.address],
        [expected.svid().spiffe_id().clone()],
    );
    let desk = build(builder).await;
    let answer = desk.client().get("http://app.default/404").await.unwrap();
    read(answer).await;
    assert_eq!(lines_of(&path, 1).await, ["/404 404"]);
    let found = lines(&desk, "istio_requests_total{", &[r#"served_by="app""#]);
    assert_eq!(
        found.len(),
        1,
        "{:#?}",
        lines(&desk, "istio_requests_total{", &[])
    );
    drop(caller(&ward.pki, "other", ward.served.address).await);
}

#[tokio::test]
async fn a_bad_file_is_refused_and_the_last_good_one_stays() {
    let good = mesh_wide(
        "  metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, tagOverrides: {region: {value: \"'west'\"}}}]}]",
    );
    let mut ward = Ward::new("", &good).await;
    #[rustfmt::skip] // one row a line
    let rows = [
        ("  tracing: [{randomSamplingPercentage: 200}]", "telemetry.yaml:5:40: spec.tracing[0].randomSamplingPercentage: "),
        ("  metrics: [{overrides: [{tagOverrides: {a: {value: respons.code}}}]}]", "telemetry.yaml:5:53: spec.metrics[0].overrides[0].tagOverrides[a].value: "),
        ("  accessLogging: [{filter: {expression: response.code}}]", "telemetry.yaml:5:41: spec.accessLogging[0].filter.expression: "),
    ];
    for (spec, place) in rows {
        let problems = loaded("", &mesh_wide(spec)).unwrap_err();
        assert!(problems.to_string().starts_with(place), "{problems}");
        let refused = ward
            .sender
            .send(tower_mesh::source::Update::new(Err(problems)))
            .await;
        assert!(refused.unwrap_err().problems().is_some());
        ward.ask("/200", &[]).await;
        let found = lines(&ward.mesh, "istio_requests_total{", &[r#"region="west""#]);
        assert_eq!(found.len(), 1, "{found:?}");
    }
    // What only a mesh can know: a header that holds a secret.
    let secret = mesh_wide("  tracing: [{customTags: {a: {header: {name: cookie}}}}]");
    let refused = ward.send(&secret).await.unwrap_err();
    let problems = refused.problems().unwrap().to_string();
    assert!(problems.starts_with("telemetry.yaml:5:46: "), "{problems}");
    // And a format that cannot be used.
    let settings = "extensionProviders: [{name: file, envoyFileAccessLog: {path: /dev/null, logFormat: {text: '%NONSENSE%'}}}]";
    let log = mesh_wide("  accessLogging: [{providers: [{name: file}]}]");
    let refused = ward
        .sender
        .send(loaded(settings, &log).unwrap())
        .await
        .unwrap_err();
    let problems = refused.problems().unwrap().to_string();
    assert!(problems.starts_with("mesh.yaml:1:"), "{problems}");
    assert!(problems.contains("NONSENSE"), "{problems}");
}

/// A label is on show for as long as the process lives: it has no more than a line of the access log.
#[tokio::test]
async fn labels_hide_what_access_logs_hide() {
    let overrides = mesh_wide(
        "  metrics:
  - overrides:
    - match: {metric: REQUEST_COUNT, mode: SERVER}
      tagOverrides:
        path: {value: request.path}
        url_path: {value: request.url_path}
        query: {value: request.query}
        referer: {value: \"request.headers['referer']\"}
        token: {value: \"request.headers['x-upstream-token']\"}",
    );
    let mut ward = Ward::built("", &overrides, |builder| {
        builder.telemetry(|telemetry| telemetry.redact_path("/patients/{id}"))
    })
    .await;
    let part = "eyJhbGciOiJFUzI1NiJ9";
    let token = format!("{part}.{part}.{part}");
    let headers = [
        ("referer", "https://desk/patients/4711?name=meier"),
        ("x-upstream-token", token.as_str()),
    ];
    ward.ask("/patients/4711?name=meier", &headers).await;
    let found = ward.samples("istio_requests_total{");
    let [line] = found.as_slice() else {
        panic!("{found:#?}");
    };
    for shown in [
        r#",path="/patients/{id}?…""#,
        r#"url_path="/patients/{id}""#,
        r#"query="…""#,
        r#"referer="https://desk/patients/{id}?…""#,
        r#"token="unknown""#,
    ] {
        assert!(line.contains(shown), "{shown}: {line}");
    }
    assert!(!line.contains("4711") && !line.contains("meier"), "{line}");
}

/// A variable of the application's environment may be a secret; those of the injector are none.
#[tokio::test]
async fn a_tag_shows_what_the_injector_sets_and_nothing_else_of_the_environment() {
    let tags = mesh_wide(
        "  tracing:
  - randomSamplingPercentage: 100
    customTags:
      secret: {environment: {name: CARGO_PKG_NAME, defaultValue: hidden}}
      pod: {environment: {name: POD_NAME_OF_NOBODY, defaultValue: none}}",
    );
    let (spans, kept) = std::sync::mpsc::channel();
    let sink = Spans(spans);
    let mut ward = Ward::built("", &tags, |builder| {
        builder.telemetry(|telemetry| telemetry.propagation(Propagation::new().export_to(sink)))
    })
    .await;
    ward.ask("/200", &[]).await;
    let span = kept.try_recv().unwrap();
    let tag = |name| span.tags.iter().find(|(known, _)| known == name);
    assert_eq!(tag("secret").unwrap().1.as_str(), "hidden");
    assert_eq!(tag("pod").unwrap().1.as_str(), "none");
}
