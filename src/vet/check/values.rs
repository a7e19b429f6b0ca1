//! Checks single values against what requests can hold.

use super::hosts;
use crate::gate::Gate;
use crate::istio::{
    Action, AuthorizationPolicy, MeshConfig, Meta, Operation, PathNormalization, Text,
};
use crate::matcher::{Cidr, StringMatcher, path};
use crate::policy::normalization;
use crate::vet::Code;
use crate::vet::logic::{includes, pattern_matches};
use crate::vet::report::notes::Notes;
use crate::vet::rules::carried::{as_it_stands, never};
use crate::vet::rules::lists::{self, Field, List};
use crate::vet::rules::refused;
use crate::vet::rules::written::Fault;
use crate::vet::world::known::World;

/// Adds notes about values.
pub(in crate::vet) fn check(world: World<'_>, notes: &mut Notes) {
    let mut values = Values {
        mesh: world.mesh,
        gate: world.gate,
        paths: world.mesh.path_normalization,
        has_aliases: world.mesh.trust_domain_or(None) != "cluster.local"
            || !world.mesh.trust_domain_aliases.is_empty(),
        notes,
    };
    for policy in &world.resources.authorization_policies {
        for list in lists::policy(policy) {
            values.list(&policy.meta, list);
            if list.field == Field::Host {
                hosts::check(policy, list, values.notes);
            }
        }
        for operation in policy.rules.iter().flat_map(|rule| &rule.to) {
            values.grpc(&policy.meta, &operation.paths, &operation.methods);
            values.denied_paths(policy, operation);
        }
    }
    for role in &world.resources.service_roles {
        for rule in &role.rules {
            for list in lists::access(rule) {
                values.list(&role.meta, list);
                if list.field == Field::Host {
                    hosts::check_granted(&role.meta, list, values.notes);
                }
            }
            values.grpc(&role.meta, &rule.paths, &rule.methods);
        }
    }
    for binding in &world.resources.service_role_bindings {
        for list in binding.subjects.iter().flat_map(lists::subject) {
            values.list(&binding.meta, list);
        }
    }
}

struct Values<'n> {
    mesh: &'n MeshConfig,
    gate: Option<Gate>,
    paths: PathNormalization,
    has_aliases: bool,
    notes: &'n mut Notes,
}

impl Values<'_> {
    fn list(&mut self, meta: &Meta, list: List<'_>) {
        for value in list.all() {
            let fault = never(self.mesh, list, value);
            let fault = fault.or_else(|| refused::never(self.gate, list, value));
            if let Some(Fault { message, help }) = fault {
                let code = Code::ValueNeverMatches;
                self.notes.add(code, meta, value.at(), message, help);
                continue;
            }
            match list.field {
                Field::Method => self.method(meta, value),
                Field::Path | Field::Target => self.path(meta, value, list.field),
                _ => {}
            }
            if let Some(Fault { message, help }) = as_it_stands(list, value) {
                let code = Code::TakenLiterally;
                self.notes.add(code, meta, value.at(), message, help);
            }
        }
        for values in [list.values, list.not_values] {
            self.redundant(meta, list.field, values);
        }
    }

    fn method(&mut self, meta: &Meta, value: &Text) {
        let is_known = |text: &str| METHODS.iter().any(|method| pattern_matches(text, method));
        let upper = value.to_ascii_uppercase();
        if is_known(value) {
            return;
        }
        let (code, message, help) = if is_known(&upper) {
            let message = format!(
                "`{value}` is no method: methods are compared with their case, and clients send `{upper}`"
            );
            (Code::MethodLowerCase, message, format!("write `{upper}`"))
        } else if *upper != **value
            && let Some(refusal) = refused::method(self.gate, value)
        {
            let why = refused::by_the_gate(refusal);
            let message = format!("`{value}` is no method: {why}");
            (Code::MethodLowerCase, message, format!("write `{upper}`"))
        } else {
            let message = format!("`{value}` is no registered HTTP method");
            let help = "write the method that clients send; a gRPC method is a path, and its HTTP method is POST";
            (Code::MethodUnknown, message, help.to_owned())
        };
        self.notes.add(code, meta, value.at(), message, help);
    }

    fn path(&mut self, meta: &Meta, value: &Text, field: Field) {
        let text = value.as_str();
        let literal = text.strip_prefix('*').unwrap_or(text);
        let is_start = literal.len() == text.len();
        let open_end = literal.strip_suffix('*').filter(|_| is_start);
        let literal = open_end.unwrap_or(literal);
        let at = value.at();
        if is_start && !text.starts_with('/') {
            let message = format!("`{text}` matches no path: every path starts with a slash");
            let help = match text.split_once("://") {
                None => format!("write `/{text}`"),
                Some((_, rest)) => {
                    let path = rest.find('/').and_then(|start| rest.get(start..));
                    let path = path.unwrap_or("/");
                    format!("write `{path}`; hosts are listed in `hosts`")
                }
            };
            self.notes
                .add(Code::PathWithoutSlash, meta, at, message, help);
            return;
        }
        let is_whole = literal.len() == text.len() && !text.contains('{');
        let why = unusual(literal, field, self.paths);
        if let Some(why) = why.or_else(|| is_whole.then(|| changed(text, self.paths)).flatten()) {
            let message = format!("`{text}` matches no path: {why}");
            let help = "write the path as it is after normalization";
            self.notes
                .add(Code::PathNotNormalized, meta, at, message, help);
        } else if let Some(refusal) = refused::path(self.gate, text) {
            let why = refused::by_the_gate(refusal);
            let message = format!("`{text}` matches no path: {why}");
            let help =
                "write the path as a request that passes has it; docs/gate.md lists the rules";
            self.notes
                .add(Code::PathNotNormalized, meta, at, message, help);
        } else if let Some(escape) = first_escape(literal) {
            let message = format!(
                "`{escape}` in `{text}` is compared as it is spelled: the same character sent otherwise, or decoded before, does not match"
            );
            let help =
                "name the path without encoded characters, or by a prefix or template around them";
            self.notes.add(Code::PathEncoded, meta, at, message, help);
        }
    }

    /// A value that another one of the list says, too.
    fn redundant(&mut self, meta: &Meta, field: Field, values: &[Text]) {
        for (index, value) in values.iter().enumerate() {
            // Of two that are the same, the first stays.
            let wider = values.iter().enumerate().find(|(place, other)| {
                match value.as_str() == other.as_str() {
                    true => *place < index,
                    false => self.is_part(value, other, field),
                }
            });
            if let Some((_, wider)) = wider {
                let (code, at) = (Code::RedundantValue, value.at());
                let message =
                    format!("`{value}` adds nothing: `{wider}` of this list matches it, too");
                let help = "take it out, or narrow the other one";
                self.notes.add(code, meta, at, message, help);
            }
        }
    }

    /// Whether all that one value matches is matched by another, and more.
    fn is_part(&self, narrow: &str, wide: &str, field: Field) -> bool {
        if field == Field::Ip {
            return match (Cidr::parse(narrow), Cidr::parse(wide)) {
                (Ok(a), Ok(b)) => a.prefix() > b.prefix() && b.contains(a.address()),
                _ => false,
            };
        }
        let plain = !field.is_token();
        match (self.pattern(narrow, field), self.pattern(wide, field)) {
            (Some(a), Some(b)) => includes(&a, &b, plain) && !includes(&b, &a, plain),
            _ => false,
        }
    }

    /// What a value matches, where that is a simple pattern.
    fn pattern(&self, value: &str, field: Field) -> Option<StringMatcher> {
        let is_simple = match field {
            Field::Path => !value.contains('{'),
            // With aliases one principal means several.
            Field::Principal => !self.has_aliases,
            Field::Claim
            | Field::Header
            | Field::Host
            | Field::Method
            | Field::ServerName
            | Field::Target => true,
            Field::Ip
            | Field::Namespace
            | Field::Other
            | Field::Port
            | Field::RequestPrincipal
            | Field::ServiceAccount
            | Field::TrustDomain => false,
        };
        let pattern = match (value.strip_prefix('*'), value.strip_suffix('*')) {
            (Some(""), _) => StringMatcher::non_empty(),
            (Some(end), _) => StringMatcher::suffix(end),
            (None, Some(start)) => StringMatcher::prefix(start),
            (None, None) => StringMatcher::exact(value),
        };
        is_simple.then(|| match field {
            Field::Host => pattern.ignoring_case(),
            _ => pattern,
        })
    }

    /// A gRPC method is called with POST.
    fn grpc(&mut self, meta: &Meta, paths: &[Text], methods: &[Text]) {
        let has_post = methods.iter().any(|method| pattern_matches(method, "POST"));
        let Some(method) = methods.first().filter(|_| !has_post) else {
            return;
        };
        for path in paths.iter().filter(|path| is_grpc(path)) {
            let message = format!(
                "`{path}` looks like a gRPC method, which is always called with POST, and the methods here are others"
            );
            let help = "write POST as the method; which gRPC method is called is in the path";
            let (code, at) = (Code::GrpcNotPost, method.at());
            if !self.notes.has(code, at) {
                self.notes.add(code, meta, at, message, help);
            }
        }
    }

    /// Servers read `/admin;x` and `/admin/` as `/admin`, and the comparison does not.
    fn denied_paths(&mut self, policy: &AuthorizationPolicy, operation: &Operation) {
        if policy.action != Action::Deny {
            return;
        }
        for value in &operation.paths {
            let path = value.as_str();
            let is_exact = path.starts_with('/') && !path.ends_with('*') && !path.contains('{');
            let longer = [";", "/"].map(|more| format!("{path}{more}"));
            let takes = |longer: &String| {
                let mut paths = operation.paths.iter();
                paths.any(|other| pattern_matches(other, longer))
            };
            if is_exact && path != "/" && !longer.iter().all(takes) {
                let (code, meta) = (Code::DenyExactPath, &policy.meta);
                let message = format!(
                    "`{path};x` and `{path}/` are other paths than `{path}` to this rule, and the same to many servers"
                );
                let help = format!(
                    "write `{path}*`, or allow what may pass instead of denying what may not"
                );
                self.notes.add(code, meta, value.at(), message, help);
            }
        }
    }
}

/// RFC 9110, PATCH, QUERY, and WebDAV's.
const METHODS: &[&str] = &[
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LOCK",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PUT",
    "QUERY",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNLOCK",
];

/// Why no normalized path, or no target, is like this.
fn unusual(text: &str, field: Field, paths: PathNormalization) -> Option<String> {
    let is_target = field == Field::Target;
    let path = match text.split_once('?') {
        Some((path, _)) if is_target => path,
        Some(_) => return Some("a path is compared without its query".to_owned()),
        None => text,
    };
    if path.contains('#') {
        return Some("a request with `#` in its path is refused".to_owned());
    }
    if let Some(bad) = path.chars().find(|c| !c.is_ascii_graphic()) {
        return Some(format!(
            "`{}` is in no path as it is; clients send it encoded",
            bad.escape_default()
        ));
    }
    if paths == PathNormalization::None {
        return None;
    }
    // Braces in a path are templates; the loader knows them.
    let rewritten = match is_target {
        true => "\"<>^`|\\{}",
        false => "\"<>^`|\\",
    };
    if let Some(bad) = path.chars().find(|c| rewritten.contains(*c)) {
        return Some(format!("normalization leaves no `{bad}` in a path"));
    }
    let mut segments = path.split('/').skip(1);
    if segments.any(|segment| matches!(segment, "." | "..")) && path.starts_with('/') {
        return Some("normalization leaves no `.` and `..` in a path".to_owned());
    }
    let merges = matches!(
        paths,
        PathNormalization::MergeSlashes | PathNormalization::DecodeAndMergeSlashes
    );
    (merges && path.contains("//")).then(|| "normalization makes one slash of several".to_owned())
}

/// What becomes of a whole path that normalization does not leave as it is.
fn changed(text: &str, paths: PathNormalization) -> Option<String> {
    match path::normalize(text, normalization(paths)) {
        Ok(left) if left == text => None,
        Ok(left) => Some(format!("normalization makes `{left}` of it")),
        Err(refusal) => Some(format!("such a request is refused: {refusal}")),
    }
}

/// The first `%XX`.
fn first_escape(text: &str) -> Option<&str> {
    let start = text.find('%')?;
    let escape = text.get(start..start + 3)?;
    let digits = escape.bytes().skip(1).all(|byte| byte.is_ascii_hexdigit());
    digits.then_some(escape)
}

/// `/package.Service/Method`, or all methods of a service.
fn is_grpc(path: &str) -> bool {
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
    else {
        return false;
    };
    let starts_upper = |text: &str| text.starts_with(|c: char| c.is_ascii_uppercase());
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = |text: &str| text.bytes().all(in_name);
    let mut parts = service.split('.');
    service.contains('.')
        && parts.all(|part| !part.is_empty() && is_name(part))
        && service.rsplit('.').next().is_some_and(starts_upper)
        && (method == "*" || is_name(method) && starts_upper(method))
}
