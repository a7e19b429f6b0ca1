//! Decodes `filters`.

use std::collections::HashSet;
use std::time::Duration;

use super::super::value::{choice, field, port, text, whole_percent};
use super::reference::backend;
use crate::istio::Text;
use crate::istio::decode::value::{checked, header_name, required};
use crate::istio::traffic::FractionalPercent;
use crate::istio::traffic::gateway_api::{
    HeaderModifier, HttpRouteFilter, PathModifier, RequestMirror, RequestRedirect, RouteCors,
    UrlRewrite,
};
use crate::istio::yaml::cursor::Cursor;
use crate::istio::yaml::fields::Fields;

const FILTER: &[&str] = &[
    "type",
    "requestHeaderModifier",
    "responseHeaderModifier",
    "requestMirror",
    "requestRedirect",
    "urlRewrite",
    "cors",
    "extensionRef",
];

/// The types, and the field of each.
const TYPES: &[(&str, &str)] = &[
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("CORS", "cors"),
    ("ExtensionRef", "extensionRef"),
];

/// `filters[]`, of a GRPCRoute without those that are of HTTP alone.
pub(super) fn filters(fields: Fields<'_, '_>, is_grpc: bool) -> Vec<HttpRouteFilter> {
    let mut seen: HashSet<&str> = HashSet::new();
    let filters = fields.each("filters", |at| {
        let fields = at.fields(FILTER)?;
        let kind = fields.demand("type", "is missing; write the type of the filter")?;
        let name = kind.word(TYPES)?;
        if is_grpc && ["requestRedirect", "urlRewrite", "cors"].contains(&name) {
            kind.wrong("is not a filter of a GRPCRoute; write an HTTPRoute");
        }
        if !seen.insert(name) && !["requestMirror", "extensionRef"].contains(&name) {
            kind.wrong("is a second filter of one type; merge the two");
        }
        let others = FILTER.iter().skip(1).filter(|other| **other != name);
        for other in others.filter_map(|other| fields.get(other)) {
            other.wrong(format!(
                "does not belong to this type; write {name}, or another type"
            ));
        }
        filter(fields, name)
    });
    let both = ["requestRedirect", "urlRewrite"];
    if both.into_iter().all(|name| seen.contains(&name))
        && let Some(at) = fields.get("filters")
    {
        at.wrong("has a RequestRedirect and a URLRewrite; keep one");
    }
    filters
}

fn filter(fields: Fields<'_, '_>, name: &'static str) -> Option<HttpRouteFilter> {
    let at = &fields.demand(name, "is missing; write what the filter does")?;
    Some(match name {
        "requestHeaderModifier" => HttpRouteFilter::RequestHeaderModifier(modifier(at)?),
        "responseHeaderModifier" => HttpRouteFilter::ResponseHeaderModifier(modifier(at)?),
        "requestMirror" => HttpRouteFilter::RequestMirror(mirror(at)?),
        "requestRedirect" => HttpRouteFilter::RequestRedirect(redirect(at)?),
        "urlRewrite" => HttpRouteFilter::UrlRewrite(rewrite(at)?),
        "cors" => HttpRouteFilter::Cors(cors(at)?),
        _ => {
            let fields = at.fields(&["group", "kind", "name"])?;
            at.note("is not served: its rule answers 500, as Istio's does where it knows no such extension");
            HttpRouteFilter::ExtensionRef(required(fields, "name", |_, _| {})?)
        }
    })
}

fn modifier(at: &Cursor<'_, '_>) -> Option<HeaderModifier> {
    let fields = at.fields(&["set", "add", "remove"])?;
    let values = |name| {
        fields.each(name, |at| {
            let fields = at.fields(&["name", "value"])?;
            let name = required(fields, "name", header_name)?;
            let value = fields.demand("value", "is missing; write a value")?;
            Some((name, value.text()?))
        })
    };
    Some(HeaderModifier {
        set: values("set"),
        add: values("add"),
        remove: fields.texts("remove", header_name),
    })
}

fn mirror(at: &Cursor<'_, '_>) -> Option<RequestMirror> {
    let fields = at.fields(&["backendRef", "percent", "fraction"])?;
    let (percent, fraction) = (fields.get("percent"), fields.get("fraction"));
    if let (Some(_), Some(second)) = (&percent, &fraction) {
        second.wrong("cannot be combined with percent; keep one");
    }
    let to = fields.demand("backendRef", "is missing; write where the copies go")?;
    Some(RequestMirror {
        percentage: match percent {
            Some(at) => whole_percent(&at),
            None => fraction.and_then(|at| self::fraction(&at)),
        },
        backend: backend(&to)?,
    })
}

/// `numerator` of `denominator`, which is 100 where it is not written.
fn fraction(at: &Cursor<'_, '_>) -> Option<FractionalPercent> {
    let fields = at.fields(&["numerator", "denominator"])?;
    let number = |name| fields.get(name).and_then(|at| at.number(0..=MOST));
    let numerator = fields.demand("numerator", "is missing; write for example 5")?;
    let numerator = numerator.number(0..=MOST)?;
    let denominator = number("denominator").unwrap_or(100);
    if denominator == 0 || numerator > denominator {
        at.wrong(
            "is more than all; write a numerator up to the denominator, which is 100 if missing",
        );
        return None;
    }
    let millionths = u64::from(numerator) * 1_000_000 / u64::from(denominator);
    u32::try_from(millionths)
        .ok()
        .map(FractionalPercent::from_millionths)
}

const MOST: u32 = super::super::value::MAX_INT32;

fn redirect(at: &Cursor<'_, '_>) -> Option<RequestRedirect> {
    let fields = at.fields(&["scheme", "hostname", "path", "port", "statusCode"])?;
    let code = fields.get("statusCode");
    let code = code.map_or(Some(DEFAULT_CODE), |at| {
        let code = at.number(0..=u32::from(u16::MAX))?;
        if ![301, 302, 303, 307, 308].contains(&code) {
            at.wrong(format!(
                "{code} is no code of a redirect; write 301, 302, 303, 307 or 308"
            ));
        }
        u16::try_from(code).ok()
    });
    Some(RequestRedirect {
        scheme: checked(fields, "scheme", |at, scheme| {
            if !["http", "https"].contains(&scheme) {
                at.wrong(format!(
                    "`{scheme}` is no scheme of a redirect; write http or https"
                ));
            }
        }),
        hostname: text(fields, "hostname"),
        path: field(fields, "path", path_modifier),
        port: port(fields, "port"),
        status_code: code?,
    })
}

/// The default of the resource's schema.
const DEFAULT_CODE: u16 = 302;

fn rewrite(at: &Cursor<'_, '_>) -> Option<UrlRewrite> {
    let fields = at.fields(&["hostname", "path"])?;
    Some(UrlRewrite {
        hostname: text(fields, "hostname"),
        path: field(fields, "path", path_modifier),
    })
}

fn path_modifier(at: &Cursor<'_, '_>) -> Option<PathModifier> {
    const FULL: &str = "replaceFullPath";
    const PREFIX: &str = "replacePrefixMatch";
    let fields = at.fields(&["type", FULL, PREFIX])?;
    let kind = fields.demand(
        "type",
        "is missing; write ReplaceFullPath or ReplacePrefixMatch",
    )?;
    let (name, other) = kind.word(&[
        ("ReplaceFullPath", (FULL, PREFIX)),
        ("ReplacePrefixMatch", (PREFIX, FULL)),
    ])?;
    if let Some(other) = fields.get(other) {
        other.wrong(format!("does not belong to this type; write {name}"));
    }
    let path = fields
        .demand(name, "is missing; write the new path")?
        .text()?;
    Some(match name {
        FULL => PathModifier::ReplaceFullPath(path),
        _ => PathModifier::ReplacePrefixMatch(path),
    })
}

fn cors(at: &Cursor<'_, '_>) -> Option<RouteCors> {
    let fields = at.fields(&[
        "allowOrigins",
        "allowCredentials",
        "allowMethods",
        "allowHeaders",
        "exposeHeaders",
        "maxAge",
    ])?;
    let age = fields
        .get("maxAge")
        .map_or(Some(5), |at| at.number(1..=MOST));
    let texts = |name: &'static str| -> Vec<Text> { fields.texts(name, |_, _| {}) };
    Some(RouteCors {
        allow_origins: texts("allowOrigins"),
        allow_credentials: choice(fields, "allowCredentials"),
        allow_methods: texts("allowMethods"),
        allow_headers: texts("allowHeaders"),
        expose_headers: texts("exposeHeaders"),
        max_age: Duration::from_secs(u64::from(age?)),
    })
}
