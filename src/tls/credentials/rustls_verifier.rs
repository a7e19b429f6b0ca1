//! Fits a judge of chains to the verifier traits of rustls.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::SpiffeId;
use crate::tls::reason::Refusal;

use super::settings::Settings;

/// Judges the chain of a peer.
pub(super) trait JudgeChain: fmt::Debug + Send + Sync {
    /// The id that the chain proves.
    fn verify(&self, shown: &PeerChain<'_>) -> Result<SpiffeId, Refusal>;
}

/// The chain that a peer shows in a handshake.
#[derive(Clone, Copy)]
pub(super) struct PeerChain<'a> {
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) intermediates: &'a [CertificateDer<'a>],
    pub(super) role: Role,
    pub(super) now: UnixTime,
}

/// Which side of the handshake the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tls) enum Role {
    Client,
    Server,
}

/// A judge as rustls asks for one, in both directions: the judge decides about chains, and the
/// provider's algorithms about the signatures of the handshake.
///
/// Decision: a server sends no root hints (the names of the authorities that it trusts). A server
/// of the mesh trusts one set of roots per trust domain, so it would have to name all of them, and
/// the list would show every client which domains are federated. A workload has one certificate and
/// needs no hint. A client that holds several certificates, and would choose by the issuer's name,
/// must be configured with the right one.
#[derive(Debug)]
pub(super) struct RustlsVerifier<J> {
    judge: J,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<J: JudgeChain> RustlsVerifier<J> {
    pub(super) fn new(judge: J, settings: &Settings) -> Self {
        Self {
            judge,
            algorithms: settings.algorithms(),
        }
    }

    fn verify(&self, shown: &PeerChain<'_>) -> Result<(), rustls::Error> {
        match self.judge.verify(shown) {
            Ok(_) => Ok(()),
            // Our own error carries the refusal; the peer sees a bare alert.
            Err(refusal) => Err(CertificateError::Other(OtherError(Arc::new(refusal))).into()),
        }
    }
}

/// The methods that both traits of rustls have in common.
macro_rules! handshake_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

impl<J: JudgeChain> ClientCertVerifier for RustlsVerifier<J> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(&PeerChain {
            leaf,
            intermediates,
            role: Role::Client,
            now,
        })?;
        Ok(ClientCertVerified::assertion())
    }

    handshake_signatures!();
}

impl<J: JudgeChain> ServerCertVerifier for RustlsVerifier<J> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(&PeerChain {
            leaf,
            intermediates,
            role: Role::Server,
            now,
        })?;
        Ok(ServerCertVerified::assertion())
    }

    handshake_signatures!();
}
