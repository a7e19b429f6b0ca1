//! The protocol of a port: Istio reads it from the name of the port or from `appProtocol`, else
//! from the number.

use std::collections::BTreeMap;

/// What the ports of a workload speak: `None` where that is HTTP, or where nothing says what it is.
#[derive(Clone, Debug, Default)]
pub(in crate::vet) struct Protocols(BTreeMap<u16, Option<&'static str>>);

impl Protocols {
    /// Adds a port that the workload listens on, the number under which clients know it, and the
    /// protocol that a service states. Of several services on one port the one counts that is no
    /// HTTP.
    pub(in crate::vet) fn add(&mut self, port: u16, of_service: Option<u16>, said: &str) {
        let protocol = match Protocol::said(said) {
            Some(Protocol::Http) => None,
            Some(Protocol::Other(name)) => Some(name),
            None => of_service.and_then(customary).or_else(|| customary(port)),
        };
        let known = self.0.entry(port).or_default();
        *known = known.or(protocol);
    }

    /// Adds the protocols of ports that are not known yet.
    pub(super) fn complete(&mut self, others: Self) {
        for (port, protocol) in others.0 {
            self.0.entry(port).or_insert(protocol);
        }
    }

    /// Whether a service has the port.
    pub(in crate::vet) fn knows(&self, port: u16) -> bool {
        self.0.contains_key(&port)
    }

    /// The ports that do not speak HTTP, and what they speak.
    pub(in crate::vet) fn others(&self) -> impl Iterator<Item = (u16, &'static str)> {
        let ports = self.0.iter();
        ports.filter_map(|(port, protocol)| Some((*port, (*protocol)?)))
    }
}

enum Protocol {
    Http,
    Other(&'static str),
}

impl Protocol {
    /// The protocol that a port's name starts with, or that an `appProtocol` is.
    fn said(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "kubernetes.io/h2c" | "kubernetes.io/ws" => return Some(Self::Http),
            "kubernetes.io/wss" => return Some(Self::Other("TLS of its own")),
            _ => {}
        }
        let start = lower.split('-').next().unwrap_or_default();
        if HTTP.contains(&start) {
            return Some(Self::Http);
        }
        let other = OTHERS.iter().find(|(name, _)| *name == start);
        other.map(|(_, protocol)| Self::Other(protocol))
    }
}

/// The protocol of a port on which hardly anybody speaks HTTP.
pub(in crate::vet) fn customary(port: u16) -> Option<&'static str> {
    let known = CUSTOMARY.iter().find(|(number, _)| *number == port);
    known.map(|(_, protocol)| *protocol)
}

const HTTP: [&str; 4] = ["grpc", "http", "http2", "http_proxy"];

/// Those of Istio, then those that name a protocol of a port in [`CUSTOMARY`].
const OTHERS: &[(&str, &str)] = &[
    ("tcp", "raw TCP"),
    ("tls", "TLS of its own"),
    ("https", "TLS of its own"),
    ("mongo", "MongoDB's protocol"),
    ("mysql", "MySQL's protocol"),
    ("redis", "Redis' protocol"),
    ("udp", "UDP"),
    ("sctp", "SCTP"),
    ("amqp", "AMQP"),
    ("cassandra", "Cassandra's protocol"),
    ("dns", "DNS"),
    ("kafka", "Kafka's protocol"),
    ("memcached", "memcached's protocol"),
    ("mongodb", "MongoDB's protocol"),
    ("postgres", "PostgreSQL's protocol"),
    ("postgresql", "PostgreSQL's protocol"),
    ("smtp", "SMTP"),
    ("ssh", "SSH"),
];

/// Ports that rarely carry HTTP. Istio itself takes 25, 53, 3306 and 27017 for TCP without a stated
/// protocol.
const CUSTOMARY: &[(u16, &str)] = &[
    (22, "SSH"),
    (25, "SMTP"),
    (53, "DNS"),
    (1433, "SQL Server's protocol"),
    (1521, "Oracle's protocol"),
    (3306, "MySQL's protocol"),
    (5432, "PostgreSQL's protocol"),
    (5672, "AMQP"),
    (6379, "Redis' protocol"),
    (9042, "Cassandra's protocol"),
    (9092, "Kafka's protocol"),
    (11211, "memcached's protocol"),
    (27017, "MongoDB's protocol"),
];
