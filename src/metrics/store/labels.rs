//! The labels of Istio's request and connection metrics: their names, their order, and how they are
//! written.

use std::fmt::Write;

use http::StatusCode;

use crate::message::{GrpcStatus, ResponseFlags};

/// Istio's twenty base labels and the security policy, in Istio's order. An absent value prints
/// `unknown`.
#[derive(Clone, Copy, Debug)]
pub(in crate::metrics) struct BaseLabels<'a> {
    pub(in crate::metrics) reporter: &'a str,
    pub(in crate::metrics) source: EndLabels<'a>,
    pub(in crate::metrics) destination: EndLabels<'a>,
    pub(in crate::metrics) service: ServiceLabels<'a>,
    pub(in crate::metrics) security_policy: &'static str,
}

/// One end of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::metrics) struct EndLabels<'a> {
    pub(in crate::metrics) workload: Option<&'a str>,
    pub(in crate::metrics) namespace: Option<&'a str>,
    pub(in crate::metrics) principal: Option<&'a str>,
    pub(in crate::metrics) app: Option<&'a str>,
    pub(in crate::metrics) version: Option<&'a str>,
    pub(in crate::metrics) canonical_service: Option<&'a str>,
    pub(in crate::metrics) canonical_revision: Option<&'a str>,
    pub(in crate::metrics) cluster: Option<&'a str>,
}

/// The called service.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::metrics) struct ServiceLabels<'a> {
    pub(in crate::metrics) host: Option<&'a str>,
    pub(in crate::metrics) name: Option<&'a str>,
    pub(in crate::metrics) namespace: Option<&'a str>,
}

impl<'a> BaseLabels<'a> {
    /// Labels without a value for either end.
    pub(in crate::metrics) fn unknown(reporter: &'a str, security_policy: &'static str) -> Self {
        Self {
            reporter,
            source: EndLabels::default(),
            destination: EndLabels::default(),
            service: ServiceLabels::default(),
            security_policy,
        }
    }

    /// The labels as text, `a="x",b="y"`.
    pub(in crate::metrics) fn render(&self) -> String {
        let Self {
            source,
            destination,
            service,
            ..
        } = self;
        let revision = |revision: Option<&'a str>| Some(revision.unwrap_or("latest"));
        let values = [
            ("reporter", Some(self.reporter)),
            ("source_workload", source.workload),
            ("source_canonical_service", source.canonical_service),
            (
                "source_canonical_revision",
                revision(source.canonical_revision),
            ),
            ("source_workload_namespace", source.namespace),
            ("source_principal", source.principal),
            ("source_app", source.app),
            ("source_version", source.version),
            ("source_cluster", source.cluster),
            ("destination_workload", destination.workload),
            ("destination_workload_namespace", destination.namespace),
            ("destination_principal", destination.principal),
            ("destination_app", destination.app),
            ("destination_version", destination.version),
            ("destination_service", service.host),
            (
                "destination_canonical_service",
                destination.canonical_service,
            ),
            (
                "destination_canonical_revision",
                revision(destination.canonical_revision),
            ),
            ("destination_service_name", service.name),
            ("destination_service_namespace", service.namespace),
            ("destination_cluster", destination.cluster),
        ];
        let mut text = String::with_capacity(1024);
        for (name, value) in values {
            write_label(&mut text, name, value.unwrap_or(UNKNOWN));
        }
        text
    }
}

/// How the exchange ended: the labels that differ between the series of one base. They are packed
/// into one number, so that one step compares them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) struct OutcomeLabels(u64);

/// `request_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::metrics) enum Protocol {
    Http,
    Grpc,
}

impl OutcomeLabels {
    /// The outcome that counts when there is no room for another.
    pub(super) const UNKNOWN: Self = Self(u64::MAX);

    /// `status` is `None` if no response began. A status that gRPC does not define counts as 2
    /// (`UNKNOWN`), and a code that HTTP does not define (RFC 9110, section 15) prints `unknown`.
    /// Otherwise a server could make as many series as it likes.
    pub(in crate::metrics) fn new(
        protocol: Protocol,
        status: Option<StatusCode>,
        grpc_status: Option<GrpcStatus>,
        flags: ResponseFlags,
    ) -> Self {
        let code = status.map_or(0, |status| match status.as_u16() {
            known @ 100..=599 => u64::from(known),
            _ => NO_CODE,
        });
        let (protocol, grpc) = match (protocol, grpc_status) {
            (Protocol::Http, _) => (0, NO_GRPC_STATUS),
            (Protocol::Grpc, None) => (1, NO_GRPC_STATUS),
            (Protocol::Grpc, Some(status)) => (
                1,
                match status.code() {
                    known @ 0..=16 => u64::from(known),
                    _ => 2,
                },
            ),
        };
        Self(u64::from(flags.bits()) << 32 | code << 16 | grpc << 8 | protocol)
    }

    /// Spreads over the upper bits.
    pub(in crate::metrics) const fn hash(self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    pub(in crate::metrics) fn is_grpc(self) -> bool {
        self != Self::UNKNOWN && self.0 & 0xff == 1
    }

    /// Whether a guard may have answered so: as far as the answer shows, the caller was not let in.
    pub(super) const fn is_refusal(self) -> bool {
        let (code, grpc) = (self.0 >> 16 & 0xffff, self.0 >> 8 & 0xff);
        matches!(code, 401 | 403) || matches!(grpc, PERMISSION_DENIED | UNAUTHENTICATED)
    }

    /// The five labels that follow the base labels.
    pub(in crate::metrics) fn render(self, security_policy: &str) -> String {
        let mut text = String::with_capacity(160);
        if self == Self::UNKNOWN {
            for name in [
                "request_protocol",
                "response_code",
                "grpc_response_status",
                "response_flags",
            ] {
                write_label(&mut text, name, UNKNOWN);
            }
        } else {
            let grpc = match self.0 >> 8 & 0xff {
                NO_GRPC_STATUS => String::new(),
                code => code.to_string(),
            };
            let code = match self.0 >> 16 & 0xffff {
                NO_CODE => UNKNOWN.to_owned(),
                code => code.to_string(),
            };
            write_label(&mut text, "request_protocol", self.protocol());
            write_label(&mut text, "response_code", &code);
            write_label(&mut text, "grpc_response_status", &grpc);
            write_label(&mut text, "response_flags", &self.flags().to_string());
        }
        write_label(&mut text, "connection_security_policy", security_policy);
        text
    }

    fn protocol(self) -> &'static str {
        if self.is_grpc() { "grpc" } else { "http" }
    }

    const fn flags(self) -> ResponseFlags {
        ResponseFlags::from_bits((self.0 >> 32) as u32)
    }
}

/// Appends `,name="value"`, without the comma if it is the first.
pub(in crate::metrics) fn write_label(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    write_value(text, value);
    text.push('"');
}

/// As [`write_label`], with a value that is escaped already.
pub(in crate::metrics) fn escaped(text: &mut String, name: &str, written: &str) {
    if !text.is_empty() {
        text.push(',');
    }
    text.push_str(name);
    text.push_str("=\"");
    text.push_str(written);
    text.push('"');
}

/// Escapes as the text format requires (`\\`, `\"`, `\n`). Other control characters and those that
/// turn the reading direction print as `\u{…}`, with the backslash escaped too. A value is cut
/// after 256 bytes as written, because a peer may have chosen it.
fn write_value(text: &mut String, value: &str) {
    let start = text.len();
    for c in value.chars() {
        let before = text.len();
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c if is_invisible(c) => {
                // Writing to a string does not fail.
                let _ = write!(text, "\\\\u{{{:x}}}", u32::from(c));
            }
            c => text.push(c),
        }
        if text.len() - start > MAX_VALUE {
            text.truncate(before);
            text.push('…');
            return;
        }
    }
}

/// Control characters (C0, C1, DEL), and those that turn the reading direction.
pub(in crate::metrics) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The value of a label that is not known.
pub(in crate::metrics) const UNKNOWN: &str = "unknown";

const NO_GRPC_STATUS: u64 = 0xff;
const NO_CODE: u64 = 0xffff;
const PERMISSION_DENIED: u64 = 7;
const UNAUTHENTICATED: u64 = 16;
const MAX_VALUE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_values_are_unknown_and_revisions_latest() {
        let labels = BaseLabels::unknown("source", "none");
        let text = labels.render();
        assert_eq!(text.matches("=\"").count(), 20);
        assert_eq!(text.matches("_canonical_revision=\"latest\"").count(), 2);
        assert_eq!(text.matches("=\"unknown\"").count(), 17);
    }

    #[test]
    fn an_outcome_prints_what_it_was_made_of() {
        let flags = ResponseFlags::UPSTREAM_CONNECTION_FAILURE;
        for (outcome, expected) in [
            (
                OutcomeLabels::new(
                    Protocol::Http,
                    Some(StatusCode::NOT_FOUND),
                    None,
                    ResponseFlags::none(),
                ),
                r#"request_protocol="http",response_code="404",grpc_response_status="",response_flags="-""#,
            ),
            (
                OutcomeLabels::new(Protocol::Http, None, Some(GrpcStatus::new(3)), flags),
                r#"request_protocol="http",response_code="0",grpc_response_status="",response_flags="UF""#,
            ),
            (
                OutcomeLabels::new(
                    Protocol::Grpc,
                    Some(StatusCode::OK),
                    Some(GrpcStatus::new(7)),
                    ResponseFlags::none(),
                ),
                r#"request_protocol="grpc",response_code="200",grpc_response_status="7",response_flags="-""#,
            ),
            (
                OutcomeLabels::new(
                    Protocol::Grpc,
                    Some(StatusCode::OK),
                    None,
                    ResponseFlags::none(),
                ),
                r#"request_protocol="grpc",response_code="200",grpc_response_status="",response_flags="-""#,
            ),
            (
                OutcomeLabels::UNKNOWN,
                r#"request_protocol="unknown",response_code="unknown",grpc_response_status="unknown",response_flags="unknown""#,
            ),
        ] {
            let expected = format!("{expected},connection_security_policy=\"none\"");
            assert_eq!(outcome.render("none"), expected);
        }
    }

    /// H-19.
    #[test]
    fn a_grpc_status_is_from_a_closed_set() {
        let with = |code| {
            OutcomeLabels::new(
                Protocol::Grpc,
                None,
                Some(GrpcStatus::new(code)),
                ResponseFlags::none(),
            )
        };
        assert_eq!(with(17), with(2));
        assert_eq!(with(u32::MAX), with(2));
        assert_ne!(with(16), with(2));
    }

    /// H-19.
    #[test]
    fn a_code_is_from_a_closed_set() {
        let with = |code| {
            let status = StatusCode::from_u16(code).ok();
            OutcomeLabels::new(Protocol::Http, status, None, ResponseFlags::none())
        };
        assert_eq!(with(600), with(999));
        assert_ne!(with(599), with(600));
        assert_ne!(with(0), with(600));
        let unknown = with(700).render("none");
        assert!(unknown.contains("response_code=\"unknown\""), "{unknown}");
    }

    #[test]
    fn a_refusal_is_known_by_its_code_or_its_grpc_status() {
        let with = |protocol, code, grpc: Option<u32>| {
            let status = StatusCode::from_u16(code).ok();
            let grpc = grpc.map(GrpcStatus::new);
            OutcomeLabels::new(protocol, status, grpc, ResponseFlags::none()).is_refusal()
        };
        assert!(with(Protocol::Http, 401, None) && with(Protocol::Http, 403, None));
        assert!(with(Protocol::Grpc, 200, Some(7)) && with(Protocol::Grpc, 200, Some(16)));
        assert!(!with(Protocol::Http, 200, None) && !with(Protocol::Http, 404, None));
        assert!(!with(Protocol::Grpc, 200, Some(0)) && !with(Protocol::Grpc, 200, None));
        assert!(!OutcomeLabels::UNKNOWN.is_refusal());
    }

    /// H-19.
    #[test]
    fn values_are_escaped_and_cut() {
        let shown = |value: &str| {
            let mut text = String::new();
            write_label(&mut text, "a", value);
            text
        };
        assert_eq!(shown("x"), r#"a="x""#);
        assert_eq!(shown("a\\b\"c\nd"), r#"a="a\\b\"c\nd""#);
        assert_eq!(
            shown("\u{1b}[0m\r\u{202e}"),
            r#"a="\\u{1b}[0m\\u{d}\\u{202e}""#
        );
        let long = "é".repeat(200);
        assert_eq!(shown(&long), format!("a=\"{}…\"", "é".repeat(128)));
        let whole = "x".repeat(256);
        assert_eq!(shown(&whole), format!("a=\"{whole}\""));
        // What is written counts, not what was said.
        for hostile in ["\u{1}", "\"", "\\", "\n", "\u{202e}"] {
            let written = shown(&hostile.repeat(256)).len();
            assert!(written <= 256 + "a=\"…\"".len(), "{hostile:?}: {written}");
        }
    }
}
