//! Values that no request or connection can carry, by the attribute they are compared with.

use std::net::{IpAddr, Ipv6Addr};

use super::lists::{Field, List};
use super::names;
use super::written::{Fault, ONE_STAR, Written, literally, no_name, no_star};
use crate::istio::MeshConfig;
use crate::matcher::{Cidr, authority, header};

/// Why nothing that comes has what a value of the list asks for.
pub(in crate::vet) fn never(mesh: &MeshConfig, list: List<'_>, value: &str) -> Option<Fault> {
    match list.field {
        Field::Header => header_value(list.name, value),
        Field::Host => host(value),
        // A forwarding proxy may write any address.
        Field::Ip if list.name.starts_with("remote") => None,
        Field::Ip => ip(value),
        Field::Method => method(value),
        Field::Namespace => names::namespace(value),
        Field::Port => port(value),
        // Words of a subject of 2018.
        Field::Principal
            if matches!(list.name, "names" | "user")
                && matches!(value, "allUsers" | "allAuthenticatedUsers") =>
        {
            None
        }
        Field::Principal => names::principal(mesh, value),
        Field::RequestPrincipal => request_principal(value),
        Field::ServerName => server_name(value),
        Field::ServiceAccount => names::service_account(value),
        Field::TrustDomain => names::trust_domain(value),
        // A claim is any text; of paths codes of their own tell.
        Field::Claim | Field::Other | Field::Path | Field::Target => None,
    }
}

/// A fault when a value that a request could carry is taken literally.
pub(in crate::vet) fn as_it_stands(list: List<'_>, value: &str) -> Option<Fault> {
    match list.field {
        Field::Path if value.contains("{*") => None,
        Field::Path => literally(value, SEGMENT),
        Field::Header if takes_stars(list.name) => None,
        Field::Header | Field::Target => literally(value, ONE_STAR),
        Field::Claim | Field::RequestPrincipal => literally(value, ONE_STAR)
            .or_else(|| outer_blank(value))
            .or_else(|| several_words(list.name, value)),
        _ => None,
    }
}

const SEGMENT: &str =
    "write `{*}` for one segment of a path, `{**}` for any number, or a star at the end";

/// Headers whose values speak in stars themselves, such as `*/*`.
fn takes_stars(name: &str) -> bool {
    ["accept", "access-control-", "content-type", "if-"]
        .iter()
        .any(|start| header_name(name).starts_with(start))
}

fn outer_blank(value: &str) -> Option<Fault> {
    Written::from_value(value)?.outer_blank().then(|| {
        Fault::new(
            format!("the blank around `{value}` is compared, too"),
            format!("write `{}`", value.trim()),
        )
    })
}

/// A claim of words is a list of them to policy.
fn several_words(key: &str, value: &str) -> Option<Fault> {
    let is_split = matches!(
        key,
        "request.auth.claims[scope]" | "request.auth.claims[permission]"
    );
    (is_split && value.contains(' ')).then(|| {
        Fault::new(
            format!("`{value}` is compared with single words: this claim is split at its blanks"),
            "write one word a value; for all of several words, one condition each",
        )
    })
}

/// Hosts come as the client sends them, port and all.
fn host(value: &str) -> Option<Fault> {
    let written = Written::from_value(value)?;
    let literal = written.literal;
    if let Some(fault) = no_name(value, "host") {
        return Some(fault);
    }
    if !authority::is_legal(literal.as_bytes()) {
        return Some(Fault::new(
            format!("`{value}` is no host: a request that names it is answered with 400"),
            "write the host alone",
        ));
    }
    if written.open_start && literal.ends_with(":*") {
        let host = value.trim_end_matches(":*");
        return Some(Fault::new(
            "no host ends in `:*`: of two stars only the first is read, and a port is a number",
            format!("write each port that is listened on, such as `{host}:8080`"),
        ));
    }
    if let Some(fault) = no_star(value, "host") {
        return Some(fault);
    }
    if written.is_whole() && literal.parse::<Ipv6Addr>().is_ok() {
        return Some(Fault::new(
            format!("no host is like `{value}`: an IPv6 address stands in brackets there"),
            format!("write `[{literal}]`"),
        ));
    }
    // Colons within brackets are the address's own.
    let behind = literal.rsplit(']').next().unwrap_or_default();
    let port = behind.rsplit_once(':').map(|(_, port)| port)?;
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
        && (port.is_empty() || port.parse::<u16>().is_ok());
    (!written.open_end && !is_port).then(|| {
        Fault::new(
            format!("no host is like `{value}`: `{port}` is no port"),
            "write a number up to 65535 behind the colon, or `:*` behind a whole host",
        )
    })
}

fn server_name(value: &str) -> Option<Fault> {
    let written = Written::from_value(value)?;
    let literal = written.literal;
    if let Some(fault) = no_name(value, "server name").or_else(|| no_star(value, "server name")) {
        return Some(fault);
    }
    let lower = value.to_ascii_lowercase();
    if lower != value {
        return Some(Fault::new(
            format!("`{value}` is no server name: it arrives in lower case"),
            format!("write `{lower}`"),
        ));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if let Some(bad) = literal.chars().find(|c| !legal(*c)) {
        return Some(Fault::new(
            format!("`{value}` is no server name: none holds `{bad}`"),
            "write the name alone, as DNS has it",
        ));
    }
    if written.is_whole() && literal.parse::<IpAddr>().is_ok() {
        return Some(Fault::new(
            format!("`{value}` is no server name: a client that calls an address sends none"),
            "name the host, or go by `destination.ip`",
        ));
    }
    (!written.open_end && literal.ends_with('.')).then(|| {
        Fault::new(
            format!("`{value}` is no server name: it arrives without the dot at its end"),
            format!("write `{}`", value.trim_end_matches('.')),
        )
    })
}

fn method(value: &str) -> Option<Fault> {
    let literal = Written::from_value(value)?.literal;
    if let Some(fault) = no_name(value, "method") {
        return Some(fault);
    }
    let bad = literal.chars().find(|c| !is_token(*c))?;
    Some(Fault::new(
        format!("no method is like `{value}`: none holds `{bad}`"),
        "write the method that clients send, one a value",
    ))
}

fn port(value: &str) -> Option<Fault> {
    (value.parse() == Ok(0_u16)).then(|| {
        Fault::new(
            "nothing listens on port 0, so no connection comes to it",
            "write the port that the workload listens on; leave `ports` out for all",
        )
    })
}

/// Addresses come as they are, and IPv4 as IPv4.
fn ip(value: &str) -> Option<Fault> {
    let range = Cidr::parse(value).ok()?;
    let mapped = |address: Ipv6Addr| address.to_ipv4_mapped().filter(|_| range.prefix() >= 96);
    match range.address() {
        IpAddr::V6(address) if let Some(v4) = mapped(address) => Some(Fault::new(
            format!("no address is like `{value}`: IPv4 comes as IPv4, also over a socket of IPv6"),
            format!("write `{v4}/{}`", range.prefix().saturating_sub(96)),
        )),
        address => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            (address.is_unspecified() && range.prefix() == bits).then(|| {
                Fault::new(
                    format!("`{value}` is no address of a caller"),
                    format!("write `{value}/0` for every address of its family"),
                )
            })
        }
    }
}

/// `ISSUER/SUBJECT`, cut at the last slash.
fn request_principal(value: &str) -> Option<Fault> {
    let written = Written::from_value(value)?;
    let subject = written.literal.rsplit_once('/').map(|(_, subject)| subject);
    let lacks_subject = match subject {
        // `*x` is any issuer, and a subject that ends so.
        None => written.is_whole(),
        Some(subject) => subject.is_empty() && !written.open_end,
    };
    lacks_subject.then(|| {
        Fault::new(
            format!("`{value}` matches no caller: it names an issuer and no subject"),
            format!(
                "write ISSUER/SUBJECT, or `{}/*` for all of an issuer",
                value.trim_end_matches('/')
            ),
        )
    })
}

/// A header's value comes without blanks around it, and some headers never come.
fn header_value(key: &str, value: &str) -> Option<Fault> {
    let name = header_name(key);
    if let Some(why) = absent(&name) {
        let message = format!("no request has the header `{name}`: {why}");
        return Some(Fault::new(message, "name a header that clients send"));
    }
    let written = Written::from_value(value)?;
    let is_control = |c: char| c.is_ascii_control() && c != '\t';
    if written.literal.contains(is_control) {
        return Some(Fault::new(
            format!(
                "no header is like `{}`: none holds a line break or another control character",
                value.escape_debug()
            ),
            format!(
                "write `{}`; a block (`|`) ends in a line break",
                value.trim().escape_debug()
            ),
        ));
    }
    written.outer_blank().then(|| {
        Fault::new(
            format!("no header is like `{value}`: a value comes without the blanks around it"),
            format!("write `{}`", value.trim()),
        )
    })
}

/// The name in brackets, in lower case.
pub(super) fn header_name(key: &str) -> String {
    let inner = key.strip_prefix("request.headers[");
    let inner = inner.and_then(|name| name.strip_suffix(']'));
    inner.unwrap_or(key).to_ascii_lowercase()
}

/// Why policy never sees a header of this name.
fn absent(name: &str) -> Option<&'static str> {
    if let Some(pseudo) = name.strip_prefix(':') {
        let is_known = matches!(pseudo, "authority" | "method" | "path" | "scheme");
        return (!is_known)
            .then_some("the only names with a colon are :authority, :method, :path and :scheme");
    }
    if !name.chars().all(is_token) {
        return Some("it is no header's name");
    }
    header::never_comes(name).then_some("it is taken off before policy looks")
}

/// RFC 9110 §5.6.2.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
