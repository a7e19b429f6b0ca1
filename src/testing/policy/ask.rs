use crate::policy::Request;

/// An HTTP request, `GET /` in plaintext unless changed.
///
/// ```
/// use tower_mesh::testing::policy::request;
///
/// let amends = request()
///     .put("/patients/7")
///     .from("cluster.local/ns/default/sa/patient-check-in")
///     .user("https://idp.clinic.example", "receptionist")
///     .header("x-ward", "3")
///     .source_ip([10, 0, 0, 7].into());
/// # let _ = amends;
/// ```
#[must_use]
pub fn request() -> Request {
    Request::new()
}

/// A raw TCP connection in plaintext to port 80, unless changed.
///
/// ```
/// use tower_mesh::testing::policy::connection;
///
/// let ledger = connection().port(5432).from("cluster.local/ns/default/sa/billing");
/// # let _ = ledger;
/// ```
#[must_use]
pub fn connection() -> Request {
    Request::tcp()
}
