//! Decodes the conditions of rules.

use super::value;
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;
use crate::istio::yaml::suggest::nearest;
use crate::istio::{Condition, Text};

/// What a `when.key` speaks of, as far as validation needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The peer's certificate.
    Identity,
    /// The end user's token.
    Token,
    /// A header.
    Header,
    /// `destination.port`.
    Port,
    /// An address, the SNI, another filter's metadata.
    Connection,
}

impl Subject {
    /// Whether a raw TCP connection has no such thing.
    pub(super) fn is_http(self) -> bool {
        matches!(self, Self::Header | Self::Token)
    }
}

/// The keys that need no brackets.
const PLAIN: &[(&str, Subject)] = &[
    ("source.ip", Subject::Connection),
    ("remote.ip", Subject::Connection),
    ("source.namespace", Subject::Identity),
    ("source.principal", Subject::Identity),
    ("source.serviceAccount", Subject::Identity),
    ("source.trustDomain", Subject::Identity),
    ("request.auth.principal", Subject::Token),
    ("request.auth.audiences", Subject::Token),
    ("request.auth.presenter", Subject::Token),
    ("destination.ip", Subject::Connection),
    ("destination.port", Subject::Port),
    ("connection.sni", Subject::Connection),
];

/// The keys that need a name in brackets.
const BRACKETED: &[(&str, Subject)] = &[
    ("request.headers", Subject::Header),
    ("request.auth.claims", Subject::Token),
];

/// Keys of the 2018 resources.
const OLD: &[&str] = &[
    "destination.labels",
    "destination.name",
    "destination.namespace",
    "destination.user",
];

/// `when[]`; with the condition comes what it speaks of.
pub(super) fn condition(at: &Cursor<'_, '_>) -> Option<(Condition, Subject)> {
    let fields = at.fields(&["key", "values", "notValues"])?;
    let message = "is missing; write for example request.headers[x-user]";
    let cursor = fields.demand("key", message)?;
    let key = cursor.filled()?;
    let subject = subject(&key).map_err(|message| cursor.wrong(message));
    let subject = subject.ok()?;
    let condition = Condition {
        values: values(fields, "values", &key),
        not_values: values(fields, "notValues", &key),
        key,
    };
    if fields.listed("values").is_none() && fields.listed("notValues").is_none() {
        at.missing(
            "values",
            "is missing, and so is notValues; write at least one of them",
        );
    }
    Some((condition, subject))
}

fn values(fields: Fields<'_, '_>, name: &'static str, key: &str) -> Vec<Text> {
    let check: fn(&Cursor<'_, '_>, &str) = match key {
        "source.ip" | "remote.ip" | "destination.ip" => value::ip_block,
        "destination.port" => value::port,
        "source.principal" => value::principal,
        "source.serviceAccount" => value::service_account,
        "source.trustDomain" => value::trust_domain_pattern,
        _ => value::anything,
    };
    let values = fields.each(name, |item| {
        let text = item.text()?;
        check(item, &text);
        Some(text)
    });
    if let Some(list) = fields.get(name)
        && key == "source.serviceAccount"
        && values.len() > value::MAX_SERVICE_ACCOUNTS
    {
        list.wrong("has more than 16 service accounts; write several rules");
    }
    values
}

fn subject(key: &str) -> Result<Subject, String> {
    if let Some((_, subject)) = PLAIN.iter().find(|(name, _)| *name == key) {
        return Ok(*subject);
    }
    let (name, brackets) = match key.find('[') {
        Some(at) => key.split_at(at),
        None => (key, ""),
    };
    let bracketed = BRACKETED.iter().find(|(known, _)| *known == name);
    let subject = match bracketed {
        Some((_, subject)) => *subject,
        None if name
            .strip_prefix("experimental.envoy.filters.")
            .is_some_and(|filter| !filter.is_empty()) =>
        {
            Subject::Connection
        }
        None => return Err(unknown(key, name)),
    };
    let inner = brackets
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) if name == "request.auth.claims" && format!("][{inner}][").contains("][][") => {
            Err(format!("`{key}`: write a name in each pair of brackets"))
        }
        Some(inner) if !inner.is_empty() => Ok(subject),
        _ => Err(format!(
            "`{key}`: write {name}[NAME], with a name in brackets"
        )),
    }
}

fn unknown(key: &str, name: &str) -> String {
    if OLD.contains(&name) {
        return format!(
            "`{key}` is a key of the 2018 resources; select workloads with spec.selector instead"
        );
    }
    let known = PLAIN.iter().chain(BRACKETED).map(|(name, _)| *name);
    match nearest(name, known.clone()) {
        Some(meant) => format!("unknown key `{key}`; did you mean `{meant}`?"),
        None => format!(
            "unknown key `{key}`; known are {}, experimental.envoy.filters.*[..]",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_istio_is_known() {
        for key in [
            "request.headers[X-User]",
            "request.headers[:path]",
            "source.ip",
            "remote.ip",
            "source.namespace",
            "source.principal",
            "source.serviceAccount",
            "source.trustDomain",
            "request.auth.principal",
            "request.auth.audiences",
            "request.auth.presenter",
            "request.auth.claims[iss]",
            "request.auth.claims[a][b]",
            "destination.ip",
            "destination.port",
            "connection.sni",
            "experimental.envoy.filters.network.mysql_proxy[db.table]",
        ] {
            assert!(subject(key).is_ok(), "{key}");
        }
        for (key, word) in [
            ("request.headers", "brackets"),
            ("request.headers[]", "brackets"),
            ("request.headers[x", "brackets"),
            ("request.auth.claims[a][]", "each pair of brackets"),
            ("request.auth.claims[][a]", "each pair of brackets"),
            ("request.auth.claims", "brackets"),
            ("experimental.envoy.filters.", "unknown"),
            ("experimental.envoy.filters.x", "brackets"),
            ("destination.labels[app]", "2018"),
            ("destination.user", "2018"),
            ("source.principals", "did you mean `source.principal`"),
            ("source.ip[x]", "did you mean `source.ip`"),
            ("weather", "unknown"),
        ] {
            let message = subject(key).unwrap_err();
            assert!(message.contains(word), "{key}: {message}");
        }
    }
}
