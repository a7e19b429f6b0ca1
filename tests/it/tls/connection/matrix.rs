//! Which certificates are good: each row shown by a real client to our server and by a real server to our client.

use std::time::{Duration, SystemTime};

use tower_mesh::testing::{Authority, Leaf, Pki};
use tower_mesh::tls::{Acceptor, Connector, Credentials, Identity, Reason, Settings};

use crate::tls::support::{
    accept, both_ways, chain, client_config, connect, credentials, id, server_config,
};

const PEER: &str = "spiffe://td/ns/default/sa/peer";

async fn judge(leaf: &Leaf) -> Result<(), Reason> {
    let pki = Pki::new("td").unwrap();
    both_ways(&pki, &chain(&pki.issue(leaf).unwrap())).await
}

/// M-01
#[tokio::test]
async fn accepts_one_spiffe_id_also_beside_other_names() {
    assert_eq!(judge(&Leaf::workload(PEER)).await, Ok(()));
    let more = Leaf::workload(PEER)
        .dns("peer.default")
        .ip([10, 0, 0, 1].into());
    assert_eq!(judge(&more).await, Ok(()));
}

/// M-02
#[tokio::test]
async fn refuses_two_uri_names() {
    for second in ["spiffe://td/ns/default/sa/other", "https://peer.example"] {
        let leaf = Leaf::workload(PEER).uri(second);
        assert_eq!(judge(&leaf).await, Err(Reason::SanCount), "{second}");
    }
}

/// M-03
#[tokio::test]
async fn refuses_certificate_without_spiffe_id() {
    for leaf in [
        Leaf::without_uri(),
        Leaf::without_uri().dns("peer.default"),
        Leaf::without_uri().uri("https://peer.example/ns/default/sa/peer"),
        Leaf::without_uri().common_name(PEER),
    ] {
        assert_eq!(judge(&leaf).await, Err(Reason::NoSpiffeId), "{leaf:?}");
    }
}

/// M-04
#[tokio::test]
async fn refuses_id_that_names_no_workload() {
    for uri in ["spiffe://td", "spiffe://td/"] {
        let leaf = Leaf::workload(uri);
        assert_eq!(judge(&leaf).await, Err(Reason::NoSpiffeId), "{uri}");
    }
}

/// M-05
#[tokio::test]
async fn refuses_foreign_trust_domain_under_our_own_root() {
    let foreign = Leaf::workload("spiffe://other/ns/default/sa/peer");
    assert_eq!(judge(&foreign).await, Err(Reason::UntrustedDomain));
    let upper = Leaf::workload("spiffe://TD/ns/default/sa/peer");
    assert_eq!(judge(&upper).await, Err(Reason::NoSpiffeId));
}

/// M-05: the id picks the bundle, so another domain's authority cannot speak for ours even if both are trusted.
#[tokio::test]
async fn refuses_our_trust_domain_under_another_root() {
    let impostor = Pki::new("td").unwrap();
    let shown = chain(&impostor.issue(&Leaf::workload(PEER)).unwrap());
    let verdict = both_ways(&Pki::new("td").unwrap(), &shown).await;
    assert_eq!(verdict, Err(Reason::UnknownIssuer));
}

/// M-06
#[tokio::test]
async fn refuses_leaf_with_the_key_usage_of_an_authority() {
    for leaf in [
        Leaf::workload(PEER).with_cert_sign(),
        Leaf::workload(PEER).with_crl_sign(),
        Leaf::workload(PEER).without_digital_signature(),
    ] {
        assert_eq!(judge(&leaf).await, Err(Reason::KeyUsage), "{leaf:?}");
    }
}

/// M-07
#[tokio::test]
async fn refuses_leaf_whose_key_usage_is_absent_or_not_critical() {
    for leaf in [
        Leaf::workload(PEER).without_key_usage(),
        Leaf::workload(PEER).with_key_usage_not_critical(),
    ] {
        assert_eq!(judge(&leaf).await, Err(Reason::KeyUsage), "{leaf:?}");
    }
}

/// M-08
#[tokio::test]
async fn accepts_leaf_without_extended_key_usage() {
    let leaf = Leaf::workload(PEER).without_extended_key_usage();
    assert_eq!(judge(&leaf).await, Ok(()));
}

/// M-09
#[tokio::test]
async fn refuses_extended_key_usage_for_one_side_only() {
    for leaf in [
        Leaf::workload(PEER).client_only(),
        Leaf::workload(PEER).server_only(),
        Leaf::workload(PEER).any_purpose(),
    ] {
        let verdict = judge(&leaf).await;
        assert_eq!(verdict, Err(Reason::ExtendedKeyUsage), "{leaf:?}");
    }
}

/// M-10, M-53
#[tokio::test]
async fn refuses_leaf_that_is_an_authority_or_out_of_its_time() {
    for (leaf, reason) in [
        (Leaf::workload(PEER).ca(), Reason::LeafIsCa),
        (Leaf::workload(PEER).expired(), Reason::Expired),
        (Leaf::workload(PEER).not_yet_valid(), Reason::NotYetValid),
        (
            Leaf::workload(PEER).with_unknown_critical_extension(),
            Reason::BadCertificate,
        ),
    ] {
        assert_eq!(judge(&leaf).await, Err(reason), "{leaf:?}");
    }
}

/// M-14
#[tokio::test]
async fn refuses_an_id_with_bytes_that_could_forge_a_header() {
    for tail in ["\0", "\n", ",", ";", ",By=x", "%00"] {
        let leaf = Leaf::workload(format!("{PEER}{tail}"));
        assert_eq!(judge(&leaf).await, Err(Reason::NoSpiffeId), "{tail:?}");
    }
}

/// M-16
#[tokio::test]
async fn accepts_chains_with_root_duplicates_and_disorder() {
    let root = Pki::new("td").unwrap();
    let issuing = root
        .intermediate(&Authority::new("a"))
        .unwrap()
        .intermediate(&Authority::new("b"))
        .unwrap();
    let (straight, key) = chain(&issuing.issue(&Leaf::workload(PEER)).unwrap());
    let [leaf, b, a] = <[_; 3]>::try_from(straight).unwrap();
    for shown in [
        vec![leaf.clone(), b.clone(), a.clone()],
        vec![leaf.clone(), b.clone(), a.clone(), root.root().clone()],
        vec![leaf.clone(), a.clone(), b.clone()],
        vec![leaf.clone(), b.clone(), b.clone(), a.clone(), a.clone()],
    ] {
        let count = shown.len();
        let verdict = both_ways(&root, &(shown, key.clone_key())).await;
        assert_eq!(verdict, Ok(()), "{count} certificates");
    }
}

/// M-16
#[tokio::test]
async fn accepts_a_peer_with_our_own_id() {
    let pki = Pki::new("td").unwrap();
    let ours = credentials(&pki, "ours");
    let twin = pki.issue(&Leaf::workload("spiffe://td/ns/default/sa/ours"));
    let client = client_config(Some(chain(&twin.unwrap())));
    let peer = accept(&Acceptor::new(ours), client).await;
    assert_eq!(peer.unwrap().principal(), Some("td/ns/default/sa/ours"));
}

/// M-11, M-12, M-13
#[tokio::test]
async fn refuses_intermediate_that_may_not_vouch() {
    for (intermediate, reason) in [
        (Authority::new("a").not_ca(), Reason::Intermediate),
        (Authority::new("a").expired(), Reason::Expired),
        (Authority::new("a").for_code(), Reason::ExtendedKeyUsage),
        (
            Authority::new("a").without_cert_sign(),
            Reason::Intermediate,
        ),
        (
            Authority::new("a").only_uris_of("td"),
            Reason::NameConstraints,
        ),
    ] {
        let root = Pki::new("td").unwrap();
        let issuing = root.intermediate(&intermediate).unwrap();
        let shown = chain(&issuing.issue(&Leaf::workload(PEER)).unwrap());
        let verdict = both_ways(&root, &shown).await;
        assert_eq!(verdict, Err(reason), "{intermediate:?}");
    }
}

/// M-11
#[tokio::test]
async fn refuses_more_authorities_than_a_path_length_allows() {
    let root = Pki::new("td").unwrap();
    let issuing = root
        .intermediate(&Authority::new("a").path_length(0))
        .unwrap()
        .intermediate(&Authority::new("b"))
        .unwrap();
    let shown = chain(&issuing.issue(&Leaf::workload(PEER)).unwrap());
    assert_eq!(both_ways(&root, &shown).await, Err(Reason::Intermediate));
}

/// M-15
#[tokio::test]
async fn accepts_six_authorities_in_line_and_no_seventh() {
    let root = Pki::new("td").unwrap();
    let mut issuing = root.intermediate(&Authority::new("1")).unwrap();
    for count in 1..=7 {
        let shown = chain(&issuing.issue(&Leaf::workload(PEER)).unwrap());
        let wanted = if count <= 6 {
            Ok(())
        } else {
            Err(Reason::ChainTooLong)
        };
        assert_eq!(both_ways(&root, &shown).await, wanted, "{count}");
        let next = Authority::new((count + 1).to_string());
        issuing = issuing.intermediate(&next).unwrap();
    }
}

/// M-15 (RUSTSEC-2023-0053): counted before anything is parsed.
#[tokio::test]
async fn refuses_more_certificates_than_are_worth_a_look() {
    let root = Pki::new("td").unwrap();
    for many in [8, 100] {
        let (mut shown, key) = chain(&root.issue(&Leaf::workload(PEER)).unwrap());
        for _ in 0..many {
            let same = root.intermediate(&Authority::new("same")).unwrap();
            let issued = same.issue(&Leaf::workload(PEER)).unwrap();
            shown.extend_from_slice(&issued.chain()[1..]);
        }
        let verdict = both_ways(&root, &(shown, key)).await;
        assert_eq!(verdict, Err(Reason::ChainTooLong), "{many}");
    }
}

/// M-15: more than a message of TLS may hold is not even gathered.
#[tokio::test]
async fn refuses_certificates_larger_than_a_message() {
    let root = Pki::new("td").unwrap();
    let mut large = Leaf::workload(PEER);
    for number in 0..3000 {
        large = large.dns(format!("name-{number:04}.peer.default.example"));
    }
    let (mut many, key) = chain(&root.issue(&Leaf::workload(PEER)).unwrap());
    let same = root.intermediate(&Authority::new("same")).unwrap();
    let issued = same.issue(&Leaf::workload(PEER)).unwrap();
    many.extend(std::iter::repeat_n(issued.chain()[1].clone(), 1000));
    for (shown, key) in [chain(&root.issue(&large).unwrap()), (many, key)] {
        let ours = credentials(&root, "ours");
        let client = client_config(Some((shown.clone(), key.clone_key())));
        let refused = accept(&Acceptor::new(ours.clone()), client).await;
        assert!(refused.is_err(), "{} certificates", shown.len());
        let server = server_config((shown, key));
        let refused = connect(&Connector::new(ours), server, &[id(PEER)]).await;
        assert!(refused.is_err());
    }
}

/// M-42
#[tokio::test]
async fn refuses_what_its_issuer_revoked_and_what_cannot_be_looked_up() {
    let pki = Pki::new("td").unwrap();
    let [bad, good] = [(); 2].map(|()| pki.issue(&Leaf::workload(PEER)).unwrap());
    let soon = SystemTime::now() + Duration::from_secs(60);
    let past = SystemTime::now() - Duration::from_secs(60);
    let ours = pki.identity("default", "ours").unwrap();
    let stranger = Pki::new("stranger").unwrap();
    for (list, shown, verdict) in [
        (
            pki.revocation_list_pem(&[&bad], soon),
            &bad,
            Err(Reason::Revoked),
        ),
        (pki.revocation_list_pem(&[&bad], soon), &good, Ok(())),
    ] {
        let bundles = pki.bundles().unwrap();
        let bundles = bundles
            .with_revoked_pem(pki.trust_domain(), list.unwrap().as_bytes())
            .unwrap();
        let ours = Identity::new(ours.svid().clone(), bundles);
        let ours = Credentials::new(&ours, Settings::default()).unwrap();
        let client = client_config(Some(chain(shown)));
        let accepted = accept(&Acceptor::new(ours.clone()), client).await;
        assert_eq!(accepted.map(drop).map_err(|e| e.reason()), verdict);
        let server = server_config(chain(shown));
        let connected = connect(&Connector::new(ours), server, &[id(PEER)]).await;
        assert_eq!(connected.map(drop).map_err(|e| e.reason()), verdict);
    }
    // With a list that says nothing of us we would refuse ourselves: such an identity is not put to use.
    for (list, reason) in [
        (pki.revocation_list_pem(&[&bad], past), Reason::Revocation),
        (stranger.revocation_list_pem(&[], soon), Reason::Revocation),
    ] {
        let bundles = pki.bundles().unwrap();
        let bundles = bundles
            .with_revoked_pem(pki.trust_domain(), list.unwrap().as_bytes())
            .unwrap();
        let ours = Identity::new(ours.svid().clone(), bundles);
        let refused = Credentials::new(&ours, Settings::default()).unwrap_err();
        assert_eq!(refused.reason(), reason);
    }
    let bundles = pki.bundles().unwrap();
    let garbage = bundles.with_revoked_pem(pki.trust_domain(), b"garbage");
    assert_eq!(garbage.unwrap_err().reason(), Reason::Revocation);
}
