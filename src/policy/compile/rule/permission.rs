use super::super::compiler::{Compiler, FieldPlace};
use super::claims::one_or_several;
use super::clause::{Key, one_of};
use super::principal::header;
use super::text::{cidr, pattern, port};
use crate::istio::Text;
use crate::matcher::PathTemplate;
use crate::policy::ir::{HeaderMatcher, HeaderTest, MetadataMatcher, Permission, ValueMatcher};

/// Something about the call that a rule can ask for, in `to` or in `when`.
pub(super) enum PermissionKey {
    DestinationIp,
    DestinationPort,
    Host,
    /// Dynamic metadata of a filter, by its key.
    Metadata {
        filter: String,
        key: String,
    },
    Method,
    Path,
    ServerName,
}

impl Key for PermissionKey {
    type Node = Permission;

    fn is_http_only(&self) -> bool {
        matches!(self, Self::Host | Self::Method | Self::Path)
    }

    fn test(
        &self,
        compiler: &mut Compiler<'_>,
        values: &[Text],
        place: FieldPlace<'_>,
    ) -> Option<Permission> {
        let test: fn(&str) -> Result<Permission, String> = match self {
            Self::DestinationIp => |value| Ok(Permission::DestinationIp(cidr(value)?)),
            Self::DestinationPort => |value| Ok(Permission::DestinationPort(port(value)?)),
            Self::Host => |value| Ok(Permission::Header(host(value))),
            Self::Method => |value| Ok(Permission::Header(header(":method", value))),
            Self::Path => path,
            Self::ServerName => |value| Ok(Permission::RequestedServerName(pattern(value))),
            Self::Metadata { filter, key } => return metadata(filter, key, values),
        };
        one_of(compiler, values, place, |_, value| test(value))
    }
}

/// Hosts are compared without case, port and all.
fn host(value: &str) -> HeaderMatcher {
    let mut matcher = header(":authority", value);
    if let HeaderTest::String(text) = &mut matcher.test {
        text.ignore_case = true;
    }
    matcher
}

/// A path with `{*}` or `{**}` anywhere is a template as a whole.
fn path(value: &str) -> Result<Permission, String> {
    if !PathTemplate::is_template(value) {
        return Ok(Permission::UrlPath(pattern(value)));
    }
    let template = PathTemplate::new(value);
    let template = template.map_err(|error| format!("{value:?} is no path template: {error}"))?;
    Ok(Permission::UriTemplate(template))
}

/// `[v]`: a list that holds `v`; else a string.
fn metadata_value(value: &Text) -> ValueMatcher {
    if value.starts_with('[') && value.ends_with(']') {
        let element = ValueMatcher::String(pattern(value.trim_matches(['[', ']'])));
        return ValueMatcher::ListOneOf(Box::new(element));
    }
    ValueMatcher::String(pattern(value))
}

fn metadata(filter: &str, key: &str, values: &[Text]) -> Option<Permission> {
    let matchers = values.iter().map(metadata_value).collect();
    let value = one_or_several(matchers, ValueMatcher::Or)?;
    Some(Permission::Metadata(MetadataMatcher::new(
        filter,
        [key],
        value,
    )))
}
