//! The rows: who calls what with which token, and what must come of it.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Response, Version, header};
use http_body_util::BodyExt;
use opentelemetry_sdk::trace::SpanData;
use tonic_prost::ProstCodec;
use tower_mesh::Mesh;
use tower_mesh::testing::{Issuer, Pki};
use tower_mesh::tls::{Credentials, Identity, Settings};

use crate::clinic::{self, Clinic};
use crate::grpc::{self, Patient, ReadRequest};
use crate::metrics;
use crate::raw::{self, REFUSED};
use crate::report::{Continued, Report, Row, Trace};

/// Runs every row, one after the other, over sockets.
pub async fn run(clinic: &Clinic) -> Report {
    let mut rows = Rows {
        clinic,
        rows: Vec::new(),
    };
    rows.receptionist().await;
    rows.admin().await;
    rows.strangers().await;
    rows.bad_tokens().await;
    rows.grpc().await;
    rows.desk().await;
    rows.connections().await;
    let rows = rows.rows;
    let spans = clinic::finished_spans();
    Report {
        trace: Trace::of(&rows, &spans),
        continued: continued(&rows, &spans),
        rows,
        metrics: metrics::scrape(clinic).await,
    }
}

// The traces that two requests of the receptionist come with.
const TRACE_OF_ROW_2: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN_OF_ROW_2: &str = "b7ad6b7169203331";
const TRACE_OF_ROW_3: &str = "463ac35c9f6413ad48485a3953bb6124";
const SPAN_OF_ROW_3: &str = "a2fb4a1d1a96d312";

fn continued(rows: &[Row], spans: &[SpanData]) -> Vec<Continued> {
    [
        (2, "traceparent", TRACE_OF_ROW_2, SPAN_OF_ROW_2),
        (3, "B3 headers", TRACE_OF_ROW_3, SPAN_OF_ROW_3),
    ]
    .into_iter()
    .map(|(number, headers, trace_id, span_id)| Continued {
        row: number,
        headers,
        trace_id,
        is_continued: rows
            .iter()
            .find(|row| row.row == number)
            .is_some_and(|row| Trace::is_continued(row, spans, trace_id, span_id)),
    })
    .collect()
}

struct Rows<'a> {
    clinic: &'a Clinic,
    rows: Vec<Row>,
}

/// A call to the patient service, and what must come of it.
struct Call<'a> {
    caller: &'static str,
    mesh: &'a Mesh,
    version: Version,
    method: Method,
    path: &'static str,
    token: (&'static str, Option<String>),
    expected: &'static str,
}

impl Rows<'_> {
    /// A receptionist calls the desk, and the desk calls the patient service with the receptionist's token. One request comes with
    /// `traceparent`, one with B3 headers, the others without any.
    async fn receptionist(&mut self) {
        let credentials = self.clinic.receptionist().unwrap();
        let token = Self::token(&self.clinic.issuer, "receptionist");
        let traceparent = format!("00-{TRACE_OF_ROW_2}-{SPAN_OF_ROW_2}-01");
        let traces: [&[(&str, &str)]; 4] = [
            &[],
            &[("traceparent", &traceparent)],
            &[
                ("x-b3-traceid", TRACE_OF_ROW_3),
                ("x-b3-spanid", SPAN_OF_ROW_3),
                ("x-b3-sampled", "1"),
            ],
            &[],
        ];
        let calls = [
            (Method::GET, "/patients/7", "200"),
            (Method::PUT, "/patients/7", "200"),
            (Method::POST, "/patients", "201"),
            (Method::DELETE, "/patients/7", "403"),
        ];
        for ((method, path, expected), headers) in calls.into_iter().zip(traces) {
            let row = row(
                "patient-check-in",
                "HTTP/1.1",
                method.as_str(),
                path,
                "receptionist",
                expected,
            );
            self.ask_the_desk("/desk/7", row, &credentials, Some(&token), headers)
                .await;
        }
    }

    /// The desk has policies of its own: it wants a token, and a workload of its own namespace.
    async fn desk(&mut self) {
        let (pki, is_legacy) = (&self.clinic.pki, self.clinic.is_legacy);
        let lab = pki.identity("lab", "front-desk").unwrap();
        let lab = Credentials::new(&lab, Settings::default()).unwrap();
        let desk = self.clinic.receptionist().unwrap();
        let token = Self::token(&self.clinic.issuer, "receptionist");
        let early = if is_legacy { "401" } else { "403" };
        for (caller, credentials, kind, token, expected) in [
            ("front-desk", &desk, "none", None, early),
            ("lab/front-desk", &lab, "receptionist", Some(&*token), "403"),
        ] {
            let row = Row {
                target: "patient-check-in".to_owned(),
                ..row(caller, "HTTP/1.1", "GET", "/desk", kind, expected)
            };
            self.ask_the_desk("/desk", row, credentials, token, &[])
                .await;
        }
    }

    async fn ask_the_desk(
        &mut self,
        path: &str,
        row: Row,
        credentials: &Credentials,
        token: Option<&str>,
        headers: &[(&str, &str)],
    ) {
        let id = Self::request_id();
        let mut request = Request::builder()
            .method(row.method.as_str())
            .uri(path)
            .header(header::HOST, "patient-check-in.default")
            .header("x-request-id", &id);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        let desk = &self.clinic.check_in;
        let desk = (desk.address, desk.mesh.spiffe_id());
        let got = match raw::call(credentials, desk, request).await {
            Ok(response) => status(response).await,
            Err(_) => REFUSED.to_owned(),
        };
        self.keep_by_way_of_the_desk(row, &id, got).await;
    }

    async fn admin(&mut self) {
        let token = Self::token(&self.clinic.issuer, "administrator");
        for (method, path, expected) in [
            (Method::GET, "/patients/7", "200"),
            (Method::POST, "/patients", "201"),
            (Method::PUT, "/patients/7", "200"),
            (Method::DELETE, "/patients/7", "204"),
        ] {
            self.call(Call {
                caller: "admin",
                mesh: &self.clinic.admin.mesh,
                version: Version::HTTP_2,
                method,
                path,
                token: ("administrator", Some(token.clone())),
                expected,
            })
            .await;
        }
    }

    /// Workloads that no policy admits, with a good token.
    async fn strangers(&mut self) {
        let lab = self.clinic.pki.identity("lab", "patient-check-in").unwrap();
        let lab = self.clinic.caller(lab).await.unwrap();
        let callers = [
            ("billing", &self.clinic.billing.mesh),
            ("lab/patient-check-in", &lab),
        ];
        for (caller, mesh) in callers {
            let token = Self::token(&self.clinic.issuer, "receptionist");
            self.get(caller, mesh, ("receptionist", Some(token)), "403")
                .await;
        }
    }

    /// Everything that can be wrong with a token. A missing one, and one for others, are refused by RBAC in v1 and by the legacy
    /// Policy before it.
    async fn bad_tokens(&mut self) {
        let issuer = &self.clinic.issuer;
        let stranger = Issuer::es256("https://idp.elsewhere.example");
        let early = if self.clinic.is_legacy { "401" } else { "403" };
        let good = || issuer.token().subject("receptionist").audience("patients");
        let tokens = [
            ("none", None, early),
            (
                "expired",
                Some(good().expired_ago(Duration::from_secs(600)).sign()),
                "401",
            ),
            (
                "wrong audience",
                Some(
                    issuer
                        .token()
                        .subject("receptionist")
                        .audience("billing")
                        .sign(),
                ),
                early,
            ),
            (
                "unknown issuer",
                Some(Self::token(&stranger, "receptionist")),
                "401",
            ),
            ("tampered", Some(good().tampered()), "401"),
            ("alg none", Some(good().unsigned()), "401"),
        ];
        for (kind, token, expected) in tokens {
            self.get(
                "patient-check-in",
                &self.clinic.check_in.mesh,
                (kind, token),
                expected,
            )
            .await;
        }
        self.get("admin", &self.clinic.admin.mesh, ("none", None), early)
            .await;
    }

    async fn grpc(&mut self) {
        let (desk, admin) = (&self.clinic.check_in.mesh, &self.clinic.admin.mesh);
        let callers = [
            ("patient-check-in", desk, "receptionist", "grpc-status 0"),
            ("admin", admin, "administrator", "grpc-status 0"),
            (
                "billing",
                &self.clinic.billing.mesh,
                "administrator",
                "grpc-status 7",
            ),
        ];
        for (caller, mesh, user, expected) in callers {
            let id = Self::request_id();
            let mut client = tonic::client::Grpc::with_origin(
                mesh.client().clone(),
                "http://patients.default".parse().unwrap(),
            );
            let mut request = tonic::Request::new(ReadRequest { id: 7 });
            let token = Self::token(&self.clinic.issuer, user);
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {token}").parse().unwrap());
            request
                .metadata_mut()
                .insert("x-request-id", id.parse().unwrap());
            let codec = ProstCodec::<ReadRequest, Patient>::default();
            let answer = match client.ready().await {
                Ok(()) => {
                    client
                        .unary(request, grpc::READ.parse().unwrap(), codec)
                        .await
                }
                Err(error) => Err(tonic::Status::unavailable(error.to_string())),
            };
            // An error with a source was made here: there was no answer.
            let is_answered = answer
                .as_ref()
                .map_or_else(|status| status.source().is_none(), |_| true);
            let code = answer.map_or_else(|status| status.code(), |_| tonic::Code::Ok);
            let got = format!("grpc-status {}", i32::from(code));
            let row = row(caller, "gRPC", "POST", grpc::READ, user, expected);
            match is_answered {
                true => self.keep(row, &id, got).await,
                false => self.push(Row { got, ..row }),
            }
        }
    }

    /// Callers that never get as far as a request.
    async fn connections(&mut self) {
        let address = self.clinic.patients.address;
        let patients = &self.clinic.patients;
        let refused = |caller| row(caller, "HTTP/1.1", "GET", "/patients/7", "none", REFUSED);

        let before = metrics::refusals(self.clinic, patients).await;
        let got = raw::plaintext(address).await.unwrap();
        self.keep_connection(refused("plaintext"), got, &before)
            .await;

        let before = metrics::refusals(self.clinic, patients).await;
        let got = raw::without_certificate(address, &self.clinic.pki)
            .await
            .unwrap();
        self.keep_connection(refused("no certificate"), got, &before)
            .await;

        // It trusts the clinic; the clinic does not trust it.
        let elsewhere = Pki::new("elsewhere.example").unwrap();
        let identity = elsewhere.identity("default", "patient-check-in").unwrap();
        let identity = Identity::new(identity.svid().clone(), both(&elsewhere, &self.clinic.pki));
        let mesh = self.clinic.caller(identity).await.unwrap();
        let before = metrics::refusals(self.clinic, patients).await;
        let got = match mesh
            .client()
            .get("http://patients.default/patients/7")
            .await
        {
            Ok(response) => status(response).await,
            Err(_) => REFUSED.to_owned(),
        };
        self.keep_connection(refused("elsewhere.example"), got, &before)
            .await;
    }

    async fn get(
        &mut self,
        caller: &'static str,
        mesh: &Mesh,
        token: (&'static str, Option<String>),
        expected: &'static str,
    ) {
        let (version, method, path) = (Version::HTTP_11, Method::GET, "/patients/7");
        self.call(Call {
            caller,
            mesh,
            version,
            method,
            path,
            token,
            expected,
        })
        .await;
    }

    async fn call(&mut self, call: Call<'_>) {
        let id = Self::request_id();
        let (kind, token) = call.token;
        let mut request = Request::builder()
            .version(call.version)
            .method(call.method.clone())
            .uri(format!("http://patients.default{}", call.path))
            .header("x-request-id", &id);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let got = match call
            .mesh
            .client()
            .request(request.body(Body::empty()).unwrap())
            .await
        {
            Ok(response) => status(response).await,
            Err(_) => REFUSED.to_owned(),
        };
        let protocol = if call.version == Version::HTTP_2 {
            "HTTP/2"
        } else {
            "HTTP/1.1"
        };
        let row = row(
            call.caller,
            protocol,
            call.method.as_str(),
            call.path,
            kind,
            call.expected,
        );
        self.keep(row, &id, got).await;
    }

    /// A row that the patient service decided, if it was reached.
    async fn keep(&mut self, row: Row, id: &str, got: String) {
        let policy = match got.as_str() {
            REFUSED => String::new(),
            _ => self.clinic.decision(&self.clinic.patients, id).await.by,
        };
        self.push(Row {
            got,
            policy,
            request_id: id.to_owned(),
            ..row
        });
    }

    /// A row that the patient service decided, unless the desk did, or nobody for want of a connection.
    async fn keep_by_way_of_the_desk(&mut self, row: Row, id: &str, got: String) {
        const BAD_GATEWAY: &str = "502";
        let desk = match got.as_str() {
            REFUSED => None,
            _ => Some(self.clinic.decision(&self.clinic.check_in, id).await),
        };
        let is_passed_on = row.target == "patients"
            && got != BAD_GATEWAY
            && desk.as_ref().is_some_and(|desk| !desk.is_refused);
        match is_passed_on {
            true => self.keep(row, id, got).await,
            false => self.push(Row {
                got,
                policy: desk.map(|desk| desk.by).unwrap_or_default(),
                request_id: id.to_owned(),
                ..row
            }),
        }
    }

    /// A row that was decided before there was a request: for the reason that the patient service has counted since.
    async fn keep_connection(&mut self, row: Row, got: String, before: &metrics::Refusals) {
        let policy = match got.as_str() {
            REFUSED => {
                let patients = &self.clinic.patients;
                let reason = metrics::refusal_since(self.clinic, patients, before).await;
                format!("TLS handshake: {reason}")
            }
            _ => String::new(),
        };
        self.push(Row { got, policy, ..row });
    }

    fn push(&mut self, row: Row) {
        self.rows.push(Row {
            row: self.rows.len() + 1,
            ..row
        });
    }

    fn token(issuer: &Issuer, subject: &str) -> String {
        issuer.token().subject(subject).audience("patients").sign()
    }

    /// By which a row is found again in what the workloads recorded.
    fn request_id() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // The `9` says that the request is sampled, so that nobody rewrites the id to say so.
        format!(
            "00000000-0000-9000-8000-{:012}",
            NEXT.fetch_add(1, Ordering::Relaxed)
        )
    }
}

fn row(caller: &str, protocol: &str, method: &str, path: &str, token: &str, expected: &str) -> Row {
    Row {
        caller: caller.to_owned(),
        target: "patients".to_owned(),
        protocol: protocol.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        token: token.to_owned(),
        expected: expected.to_owned(),
        ..Row::default()
    }
}

/// The status of a response whose body was read to its end, so that everything about it has been recorded.
async fn status<B: axum::body::HttpBody + Unpin>(response: Response<B>) -> String {
    let status = response.status().as_u16().to_string();
    let _ = response.into_body().collect().await;
    status
}

fn both(a: &Pki, b: &Pki) -> tower_mesh::tls::TrustBundles {
    let bundles = a.bundles().unwrap();
    bundles
        .with(b.trust_domain().clone(), [b.root().clone()])
        .unwrap()
}
