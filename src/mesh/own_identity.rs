//! Loads our own identity, and compares it with the workload that the application names.

use tokio::time::timeout;

use super::config::first_answer::{BESIDE_FAULTS, first_answer};
use super::config::identity_source::Origin;
use super::error::{Faults, IdentityFault};
use crate::identity::{SpiffeId, Workload};
use crate::tls::{Credentials, Rotation, Settings};

/// Refuses the certificate of another workload: policies would be chosen for the workload, and
/// peers would see the certificate.
///
/// Ids of another shape than `/ns/NAMESPACE/sa/ACCOUNT` name no namespace and account, and are not
/// compared.
///
/// # Errors
///
/// The id of the certificate, the workload, and a remedy.
pub(super) fn check(
    workload: &Workload,
    id: &SpiffeId,
    allowed: &[SpiffeId],
) -> Result<(), String> {
    let (Some(namespace), Some(account)) = (id.namespace(), id.service_account()) else {
        return Ok(());
    };
    let (own_namespace, own_account) = (workload.namespace(), workload.service_account());
    let is_ours = namespace == own_namespace && account == own_account;
    if is_ours || allowed.contains(id) {
        return Ok(());
    }
    Err(format!(
        "the certificate is of {id} (namespace {namespace:?}, service account {account:?}), but \
         the workload is of namespace {own_namespace:?}, service account {own_account:?}: write \
         Workload::new({namespace:?}, {account:?}), or give the workload a certificate of \
         its own; where both are meant, name the id in MeshBuilder::allow_identity"
    ))
}

/// Loads our own identity, and starts what follows it. `None` when it is wrong, or when something
/// else is wrong already and the source does not answer in time.
pub(super) async fn load(
    origin: Origin,
    settings: &Settings,
    faults: &mut Faults,
) -> Option<(Credentials, Option<Rotation>)> {
    let settings = settings.clone();
    match origin {
        Origin::Fixed(identity) => {
            let credentials = Credentials::new(&identity, settings);
            let credentials = faults.identity(credentials.map_err(IdentityFault::from))?;
            Some((credentials, None))
        }
        Origin::Followed(source) => {
            let start = Rotation::start(source, settings);
            let started = match faults.is_empty() {
                true => first_answer(start, "our own identity").await,
                false => timeout(BESIDE_FAULTS, start).await.ok()?,
            };
            let (credentials, rotation) = faults.identity(started.map_err(IdentityFault::from))?;
            Some((credentials, Some(rotation)))
        }
        Origin::Shared(credentials) => Some((credentials, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_ids_of_istios_shape_by_namespace_and_account() {
        let workload = Workload::new("shop", "web").name("storefront");
        let id = |text: &str| SpiffeId::new(text).unwrap();
        let other = id("spiffe://td/ns/default/sa/web");
        for (certificate, allowed, is_good) in [
            ("spiffe://td/ns/shop/sa/web", None, true),
            ("spiffe://another/ns/shop/sa/web", None, true),
            ("spiffe://td/shop/web", None, true),
            ("spiffe://td/ns/default/sa/web", None, false),
            ("spiffe://td/ns/shop/sa/storefront", None, false),
            ("spiffe://td/ns/default/sa/web", Some(&other), true),
            ("spiffe://td/ns/default/sa/api", Some(&other), false),
            ("spiffe://another/ns/default/sa/web", Some(&other), false),
        ] {
            let allowed: Vec<_> = allowed.into_iter().cloned().collect();
            let verdict = check(&workload, &id(certificate), &allowed);
            assert_eq!(verdict.is_ok(), is_good, "{certificate}: {verdict:?}");
        }
    }
}
