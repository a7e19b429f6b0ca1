//! The patients' service under audit: it is killed in the middle of its work and started again, the trail
//! is verified, one byte of it is changed, and the change is found.
//!
//! ```text
//! cargo run --example audit -- [FOLDER]
//! ```
//!
//! The program runs itself twice as a child process, which is the service with its callers. The first is
//! killed while many calls are under way. Each call that was answered before that must have its record.
//! The program fails if something does not hold. With a folder, which must not have a trail yet, the trail
//! stays there, with its keys and the checkpoints of its second place.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program that shows something, and stops when it cannot"
)]

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::Method;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tower_mesh::audit::{
    self, ActivityReport, Checkpoint, Form, PatientKey, PublicKeys, RecordFilter, Show, SigningKey,
    SinkError, Trail, Verify,
};
use tower_mesh::mesh::{AuditedRoute, ClientBody};
use tower_mesh::source::Fixed;
use tower_mesh::testing::{Issuer, JwksServer, Pki};
use tower_mesh::{Mesh, Workload};

/// The desk reads and amends charts for clinic users, and deletes none. In an emergency the ward reads
/// without a user.
const POLICIES: &str = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: clinic-users, namespace: default}
spec:
  jwtRules:
  - issuer: https://idp.clinic.example
    audiences: [patients]
    jwksUri: https://idp.clinic.example/jwks.json
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: desk, namespace: default}
spec:
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/default/sa/desk]
        requestPrincipals: ["https://idp.clinic.example/*"]
    to: [{operation: {methods: [GET, PUT], paths: ["/patients/*"]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: emergency
  namespace: default
  annotations: {mesh.tower/break-glass: "true"}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/ward]}}]
    to: [{operation: {methods: [GET], paths: ["/patients/*"]}}]
"#;

type BoxError = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), BoxError> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [command, folder] = arguments.as_slice() {
        let is_killed = command == "until-killed";
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(clinic(Path::new(folder), is_killed));
    }
    let temporary = tempfile::tempdir()?;
    let folder = match arguments.as_slice() {
        [folder] => Path::new(folder),
        _ => temporary.path(),
    };
    fs::create_dir_all(folder)?;
    // `tower-mesh audit key` makes one, too. The public key goes to whoever verifies.
    let key = SigningKey::create_file("patients", folder.join("audit.pem"))?;
    fs::write(folder.join("audit.pub"), format!("{}\n", key.public()))?;
    let keys = PublicKeys::from_iter([key.public()]);

    let mut first = run("until-killed", folder)?;
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let mut answered = 0;
    while answered < ANSWERED {
        answered += u64::from(lines.next().expect("the service has ended by itself")? == "read");
    }
    first.kill()?;
    first.wait()?;
    // What it has written to us before it died was answered, too.
    answered += lines
        .map_while(Result::ok)
        .filter(|line| line == "read")
        .count() as u64;
    println!("The service was killed after {answered} answered reads.");

    let mut second = run("once", folder)?;
    assert!(second.wait()?.success());
    println!("It was started again, and has ended by itself.\n");

    let trail = folder.join("trail");
    let notes = fs::read_to_string(folder.join("checkpoints.txt"))?;
    let verify = Verify::new(&trail)
        .keys(keys)
        .checkpoints(Checkpoint::parse_all(&notes)?);
    let report = ActivityReport::read(&verify, None, None)?;
    println!("{report}");
    assert!(report.verification().is_whole());
    // The reads that the load has made, and that were answered, are all in the trail.
    let reads = report
        .accesses()
        .find(|(access, _)| access.who.starts_with("dr-load"));
    let (_, recorded) = reads.expect("reads are recorded");
    assert!(recorded >= answered, "{recorded} of {answered}");
    assert_eq!(report.break_glass().0, 2, "one in each run");
    println!("Of {answered} answered reads none is missing.\n");

    println!("What was refused:\n");
    let refused = RecordFilter::default().outcome("deny");
    let shown = Show::new(&trail).filter(refused).form(Form::Text);
    let shown = shown.write(&mut std::io::stdout())?;
    assert_eq!(shown.records, 4);

    // Whoever may write the files makes a refusal look like a permission.
    let segment = first_segment(&trail)?;
    let text = fs::read_to_string(&segment)?;
    fs::write(&segment, text.replacen("\"deny\"", "\"dony\"", 1))?;
    let report = verify.run()?;
    let fault = report.first_fault().expect("the change is found");
    println!("\nOne byte was changed:\n\n{fault}");
    fs::write(&segment, text)?;
    if let [kept] = arguments.as_slice() {
        println!(
            "\nIt was changed back. To verify the trail again:\n\n\
             tower-mesh audit verify {kept}/trail --key {kept}/audit.pub --checkpoints {kept}/checkpoints.txt"
        );
    }
    Ok(())
}

/// So many reads are answered before the service is killed.
const ANSWERED: u64 = 300;

/// In what time a record must be durable; 500 ms if it is not set, which is short for a machine that also
/// builds.
const PATIENCE: Duration = Duration::from_secs(30);

fn run(command: &str, folder: &Path) -> Result<Child, BoxError> {
    let program = std::env::current_exe()?;
    let mut child = Command::new(program);
    child.arg(command).arg(folder).stdout(Stdio::piped());
    Ok(child.spawn()?)
}

fn first_segment(trail: &Path) -> Result<std::path::PathBuf, BoxError> {
    let entries = fs::read_dir(trail)?.collect::<Result<Vec<_>, _>>()?;
    let segments = entries.into_iter().map(|entry| entry.path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    Ok(segments.min().expect("a trail"))
}

/// The service and its callers.
async fn clinic(folder: &Path, is_killed: bool) -> Result<(), BoxError> {
    let pki = Pki::new("cluster.local")?;
    let issuer = Issuer::es256("https://idp.clinic.example");
    let idp = JwksServer::start(&pki, "idp.clinic.example", &issuer).await?;

    // The trail: signed checkpoints, and a second place for them. Here that is a file; it should be one
    // that the service cannot change.
    let mut second_place = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("checkpoints.txt"))?;
    let trail = Trail::folder(folder.join("trail"))
        .signer(SigningKey::from_file("patients", folder.join("audit.pem"))?)
        .second_place(move |checkpoint| {
            let kept = second_place.write_all(checkpoint.to_string().as_bytes());
            kept.map_err(|error| SinkError::new(&error.to_string()))
        });
    // Charts are read only once that is recorded. Whose they are is known by pseudonyms.
    let charts =
        AuditedRoute::new("/patients/{id}").patient("id", PatientKey::new("2026", &[7; 32])?);

    let workload = Workload::new("default", "patients").label("app", "patients");
    let (patients, driver) = Mesh::builder(workload, pki.identity("default", "patients")?)
        .config(Fixed::yaml("policies.yaml", POLICIES))
        .tokens(|tokens| {
            tokens
                .jwks_roots(pki.root_pem())
                .resolve("idp.clinic.example:443", idp.address())
        })
        .audit(|audit| audit.trail(trail).route(charts).deadline(PATIENCE))
        .build()
        .await?;
    tokio::spawn(driver.run());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn({
        let patients = patients.clone();
        async move { patients.serve_on(listener, app()).await.map(drop) }
    });

    let desk = caller(&pki, "desk", address).await?;
    let ward = caller(&pki, "ward", address).await?;
    let token = |user: &str| Some(issuer.token().subject(user).audience("patients").sign());
    for (mesh, method, user, expected) in [
        (&desk, Method::GET, token("dr-7"), 200),
        (&desk, Method::PUT, token("dr-7"), 200),
        (&desk, Method::DELETE, token("dr-7"), 403),
        (&desk, Method::GET, None, 403),
        (&ward, Method::GET, None, 200),
    ] {
        let status = ask(mesh, method.clone(), user).await?;
        assert_eq!(status, expected, "{method}");
    }
    if is_killed {
        let load = token("dr-load");
        let tasks = (0..8).map(|_| tokio::spawn(reads(desk.clone(), load.clone())));
        for task in tasks.collect::<Vec<_>>() {
            task.await??;
        }
    }
    patients.shutdown(Duration::from_secs(5));
    serving.await??;
    Ok(())
}

fn app() -> Router {
    let read = || async {
        // The application's own event, with the caller of the request.
        audit::event("chart.read").subject("lab-results").write();
        "normal"
    };
    Router::new().route("/patients/{id}", get(read).put(|| async { "amended" }))
}

async fn caller(pki: &Pki, name: &str, address: SocketAddr) -> Result<Mesh, BoxError> {
    let workload = Workload::new("default", name);
    let (mesh, driver) = Mesh::builder(workload, pki.identity("default", name)?)
        .upstream(
            "patients.default",
            [address],
            ["spiffe://cluster.local/ns/default/sa/patients"],
        )
        .build()
        .await?;
    tokio::spawn(driver.run());
    Ok(mesh)
}

async fn ask(mesh: &Mesh, method: Method, token: Option<String>) -> Result<u16, BoxError> {
    let mut request = http::Request::builder()
        .method(method)
        .uri("http://patients.default/patients/7");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let answer = mesh
        .client()
        .request(request.body(ClientBody::empty())?)
        .await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok(status)
}

/// Reads until the process is killed, and says which reads were answered.
async fn reads(desk: Mesh, token: Option<String>) -> Result<(), BoxError> {
    loop {
        assert_eq!(ask(&desk, Method::GET, token.clone()).await?, 200);
        println!("read");
    }
}
