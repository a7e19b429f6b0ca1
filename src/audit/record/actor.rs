//! Who acted, on what, and over which connection.

use super::text::{Bounded, Text};

/// Who acted: the workload, and the user on whose behalf. Never a token.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Actor {
    pub(super) is_anonymous: bool,
    pub(super) azp: Bounded<256>,
    pub(super) iss: Bounded<512>,
    pub(super) spiffe: Bounded<2048>,
    pub(super) sub: Bounded<512>,
    pub(super) via: Bounded<512>,
}

impl Actor {
    /// Nobody who has proved an identity; the record says so.
    pub fn anonymous() -> Self {
        Self {
            is_anonymous: true,
            ..Self::default()
        }
    }

    /// The workload with this SPIFFE ID.
    pub fn workload(spiffe_id: impl Into<Text>) -> Self {
        Self::default().spiffe(spiffe_id)
    }

    /// The end user of a token: its issuer and subject, at most 512 bytes each.
    pub fn user(issuer: impl Into<Text>, subject: impl Into<Text>) -> Self {
        Self::default().principal(issuer, subject)
    }

    /// The SPIFFE ID of the caller, at most 2,048 bytes.
    pub fn spiffe(mut self, spiffe_id: impl Into<Text>) -> Self {
        self.is_anonymous = false;
        self.spiffe = Bounded::new(spiffe_id);
        self
    }

    /// The request principal: the issuer and the subject of the token, at most 512 bytes each.
    pub fn principal(mut self, issuer: impl Into<Text>, subject: impl Into<Text>) -> Self {
        self.is_anonymous = false;
        self.iss = Bounded::new(issuer);
        self.sub = Bounded::new(subject);
        self
    }

    /// The client that the token was issued to, at most 256 bytes.
    pub fn azp(mut self, client: impl Into<Text>) -> Self {
        self.azp = Bounded::new(client);
        self
    }

    /// The workload between the user and the caller, at most 512 bytes.
    pub fn via(mut self, workload: impl Into<Text>) -> Self {
        self.via = Bounded::new(workload);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.azp.len() + self.iss.len() + self.spiffe.len() + self.sub.len() + self.via.len()
    }
}

/// What was acted on. Never a raw path.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Resource {
    pub(super) id: Bounded<256>,
    pub(super) namespace: Bounded<256>,
    pub(super) route: Bounded<1024>,
    pub(super) service: Bounded<256>,
}

impl Resource {
    /// The template of a route, as `/patients/{id}`, at most 1,024 bytes.
    pub fn route(template: impl Into<Text>) -> Self {
        Self {
            route: Bounded::new(template),
            ..Self::default()
        }
    }

    /// The service and its namespace, at most 256 bytes each.
    pub fn service(mut self, service: impl Into<Text>, namespace: impl Into<Text>) -> Self {
        self.service = Bounded::new(service);
        self.namespace = Bounded::new(namespace);
        self
    }

    /// Which one, at most 256 bytes. It must say nothing about a person; for that there is
    /// [`Event::patient`](super::Event::patient).
    pub fn id(mut self, id: impl Into<Text>) -> Self {
        self.id = Bounded::new(id);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.id.len() + self.namespace.len() + self.route.len() + self.service.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self {
            id,
            namespace,
            route,
            service,
        } = self;
        [id, namespace, service]
            .iter()
            .all(|text| text.as_str().is_none())
            && route.as_str().is_none()
    }
}

/// The caller's connection.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Tls {
    pub(super) certificate: Bounded<64>,
    pub(super) group: Bounded<64>,
    pub(super) suite: Bounded<64>,
    pub(super) version: Bounded<64>,
}

impl Tls {
    /// The version, suite and key exchange group, as `TLSv1.3`, `TLS13_AES_128_GCM_SHA256`,
    /// `X25519MLKEM768`; at most 64 bytes each.
    pub fn new(version: impl Into<Text>, suite: impl Into<Text>, group: impl Into<Text>) -> Self {
        Self {
            certificate: Bounded::default(),
            group: Bounded::new(group),
            suite: Bounded::new(suite),
            version: Bounded::new(version),
        }
    }

    /// The SHA-256 of the caller's certificate, in 64 hexadecimal digits.
    pub fn certificate(mut self, hash: impl Into<Text>) -> Self {
        self.certificate = Bounded::new(hash);
        self
    }

    pub(super) fn len(&self) -> usize {
        self.certificate.len() + self.group.len() + self.suite.len() + self.version.len()
    }
}
