//! The same questions in Rust: a table, sentences, and the access table of everyone.

use tower_mesh::Workload;
use tower_mesh::policy::Request;
use tower_mesh::testing::policy::{Matrix, Policies, request};

fn patients() -> Policies {
    let workload = Workload::new("default", "patients").label("app", "patients");
    let path = std::env::var("POLICIES").unwrap_or("../patients/policies/v1".to_owned());
    Policies::read(&workload, path)
}

fn caller(account: &str, user: &str) -> Request {
    request()
        .from(&format!("cluster.local/ns/default/sa/{account}"))
        .user("https://idp.clinic.example", user)
}

fn desk() -> Request {
    caller("patient-check-in", "receptionist")
}

fn admin() -> Request {
    caller("admin", "administrator")
}

tower_mesh::policy_tests! {
    patients(), coverage 60;
    a_receptionist_reads_a_chart: desk().get("/patients/7") => allowed by "check-in/0";
    a_receptionist_deletes_nothing: desk().delete("/patients/7") => denied by "none";
    an_administrator_deletes_a_patient: admin().delete("/patients/7") => allowed by "admin/0";
    nobody_comes_without_a_token: request().get("/patients/7") => denied;
    a_fragment_is_no_path: desk().get("/patients/7#top") => 400;
    a_bad_escape_is_no_path: desk().get("/patients/%zz") => refused;
}

#[test]
fn a_receptionist_amends_what_the_desk_knows() {
    let patients = patients();
    for target in ["/patients/7", "/patients/7?dry-run", "/patients/7/address"] {
        patients
            .expect(desk().put(target))
            .to_be_allowed()
            .by("check-in/0");
    }
    patients.expect(desk().put("/patients")).to_be_allowed();
    patients
        .expect(desk().put("/patient"))
        .to_be_denied()
        .by("none");
}

#[test]
fn who_may_do_what() {
    let access = Matrix::new()
        .caller("desk", desk())
        .caller("admin", admin())
        .caller("billing", caller("billing", "clerk"))
        .caller("plaintext", request())
        .operation("GET /patients/7")
        .operation("POST /patients")
        .operation("DELETE /patients/7")
        .ask(&patients());
    access.assert_is(
        "
                   GET /patients/7  POST /patients  DELETE /patients/7
        desk       allowed          allowed         denied
        admin      allowed          allowed         allowed
        billing    denied           denied          denied
        plaintext  denied           denied          denied
        ",
    );
}
