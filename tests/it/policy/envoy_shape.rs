//! What is printed for Envoy, read back by the fields of its messages: each message has fields of its own only, and of a `oneof` one.

use serde_json::{Map, Value};
use tower_mesh::Workload;
use tower_mesh::policy::Engine;
use tower_mesh::policy::envoy::{http_filters, network_filters};

/// The kinds of value that `envoy.config.rbac.v3` and `envoy.type.matcher.v3` give a field.
#[derive(Clone, Copy)]
enum Shape {
    True,
    Flag,
    Text,
    NonEmpty,
    Number,
    /// A 64-bit integer, which proto3 JSON writes as text.
    Long,
    Of(&'static Message),
    /// A list with at least one element.
    ListOf(&'static Message),
    /// Any object: another extension's message.
    Extension,
}

/// A message: the fields that exclude one another, of which one must be there, and the others, of which the first `required` must.
struct Message {
    name: &'static str,
    one_of: &'static [(&'static str, Shape)],
    fields: &'static [(&'static str, Shape)],
    required: usize,
}

use Shape::{Extension, Flag, ListOf, Long, NonEmpty, Number, Of, Text, True};

static PERMISSION: Message = Message {
    name: "Permission",
    one_of: &[
        ("and_rules", Of(&PERMISSION_SET)),
        ("or_rules", Of(&PERMISSION_SET)),
        ("not_rule", Of(&PERMISSION)),
        ("any", True),
        ("header", Of(&HEADER)),
        ("url_path", Of(&PATH)),
        ("uri_template", Extension),
        ("destination_ip", Of(&CIDR)),
        ("destination_port", Number),
        ("destination_port_range", Of(&INT32_RANGE)),
        ("metadata", Of(&METADATA)),
        ("requested_server_name", Of(&STRING)),
    ],
    fields: &[],
    required: 0,
};
static PERMISSION_SET: Message = message("Permission.Set", &[("rules", ListOf(&PERMISSION))], 1);
static PRINCIPAL: Message = Message {
    name: "Principal",
    one_of: &[
        ("and_ids", Of(&PRINCIPAL_SET)),
        ("or_ids", Of(&PRINCIPAL_SET)),
        ("not_id", Of(&PRINCIPAL)),
        ("any", True),
        ("authenticated", Of(&AUTHENTICATED)),
        ("source_ip", Of(&CIDR)),
        ("direct_remote_ip", Of(&CIDR)),
        ("remote_ip", Of(&CIDR)),
        ("header", Of(&HEADER)),
        ("url_path", Of(&PATH)),
        ("metadata", Of(&METADATA)),
    ],
    fields: &[],
    required: 0,
};
static PRINCIPAL_SET: Message = message("Principal.Set", &[("ids", ListOf(&PRINCIPAL))], 1);
static AUTHENTICATED: Message = message("Authenticated", &[("principal_name", Of(&STRING))], 0);
static POLICY: Message = message(
    "Policy",
    &[
        ("permissions", ListOf(&PERMISSION)),
        ("principals", ListOf(&PRINCIPAL)),
    ],
    2,
);
static PATH: Message = message("PathMatcher", &[("path", Of(&STRING))], 1);
static CIDR: Message = message(
    "CidrRange",
    &[("address_prefix", NonEmpty), ("prefix_len", Number)],
    2,
);
static INT32_RANGE: Message = message("Int32Range", &[("start", Number), ("end", Number)], 2);
static INT64_RANGE: Message = message("Int64Range", &[("start", Long), ("end", Long)], 2);
static STRING: Message = Message {
    name: "StringMatcher",
    one_of: &[
        ("exact", Text),
        ("prefix", NonEmpty),
        ("suffix", NonEmpty),
        ("contains", NonEmpty),
        ("safe_regex", Of(&REGEX)),
    ],
    fields: &[("ignore_case", Flag)],
    required: 0,
};
static REGEX: Message = message("RegexMatcher", &[("regex", NonEmpty)], 1);
static HEADER: Message = Message {
    name: "HeaderMatcher",
    one_of: &[
        ("string_match", Of(&STRING)),
        ("range_match", Of(&INT64_RANGE)),
        ("present_match", Flag),
    ],
    fields: &[
        ("name", NonEmpty),
        ("invert_match", Flag),
        ("treat_missing_header_as_empty", Flag),
    ],
    required: 1,
};
static METADATA: Message = message(
    "MetadataMatcher",
    &[
        ("filter", NonEmpty),
        ("path", ListOf(&SEGMENT)),
        ("value", Of(&VALUE)),
        ("invert", Flag),
    ],
    3,
);
static SEGMENT: Message = message("MetadataMatcher.PathSegment", &[("key", NonEmpty)], 1);
static VALUE: Message = Message {
    name: "ValueMatcher",
    one_of: &[
        ("string_match", Of(&STRING)),
        ("list_match", Of(&LIST)),
        ("or_match", Of(&OR)),
        ("bool_match", Flag),
        ("present_match", Flag),
        ("null_match", Extension),
        ("double_match", Extension),
    ],
    fields: &[],
    required: 0,
};
static LIST: Message = message("ListMatcher", &[("one_of", Of(&VALUE))], 1);
static OR: Message = message("OrMatcher", &[("value_matchers", ListOf(&VALUE))], 1);

const fn message(
    name: &'static str,
    fields: &'static [(&'static str, Shape)],
    required: usize,
) -> Message {
    Message {
        name,
        one_of: &[],
        fields,
        required,
    }
}

fn assert_is(at: &str, value: &Value, expected: &Message) {
    let object = object(at, value);
    let field = |name: &str| {
        let mut known = expected.one_of.iter().chain(expected.fields);
        known.find(|(known, _)| *known == name)
    };
    for (name, inner) in object {
        let Some((_, shape)) = field(name) else {
            panic!("{at}: {} has no field {name}", expected.name);
        };
        assert_shape(&format!("{at}.{name}"), inner, *shape);
    }
    let chosen = expected.one_of.iter();
    let chosen = chosen.filter(|(name, _)| object.contains_key(*name));
    let due = usize::from(!expected.one_of.is_empty());
    assert_eq!(chosen.count(), due, "{at}: {}", expected.name);
    for (name, _) in &expected.fields[..expected.required] {
        assert!(object.contains_key(*name), "{at}: {name} is missing");
    }
}

fn assert_shape(at: &str, value: &Value, shape: Shape) {
    let fits = match shape {
        True => value == &Value::Bool(true),
        Flag => value.is_boolean(),
        Text => value.is_string(),
        NonEmpty => value.as_str().is_some_and(|text| !text.is_empty()),
        Number => value.as_u64().is_some_and(|number| number <= 65_536),
        Long => value
            .as_str()
            .is_some_and(|text| text.parse::<i64>().is_ok()),
        Extension => value.is_object(),
        Of(message) => return assert_is(at, value, message),
        ListOf(message) => {
            let list = value.as_array().unwrap_or_else(|| panic!("{at}: no list"));
            assert!(!list.is_empty(), "{at}: an empty list");
            for (place, element) in list.iter().enumerate() {
                assert_is(&format!("{at}[{place}]"), element, message);
            }
            return;
        }
    };
    assert!(fits, "{at}: {value}");
}

fn object<'a>(at: &str, value: &'a Value) -> &'a Map<String, Value> {
    let object = value.as_object();
    object.unwrap_or_else(|| panic!("{at}: {value} is no object"))
}

/// Checks one filter; gives how many policies it has.
fn check_filter(at: &str, filter: &Value, protocol: &str) -> usize {
    let name = filter["name"].as_str().unwrap();
    let config = object(at, &filter["typed_config"]);
    if name != format!("envoy.filters.{protocol}.rbac") {
        assert_eq!(name, format!("envoy.filters.{protocol}.ext_authz"), "{at}");
        return 0;
    }
    assert_eq!(
        config["@type"],
        format!("type.googleapis.com/envoy.extensions.filters.{protocol}.rbac.v3.RBAC")
    );
    assert_eq!(
        config.contains_key("stat_prefix"),
        protocol == "network",
        "{at}"
    );
    assert_eq!(
        config.contains_key("shadow_rules"),
        config.contains_key("shadow_rules_stat_prefix"),
        "{at}"
    );
    let mut policies = 0;
    for key in ["rules", "shadow_rules"] {
        let Some(rules) = config.get(key) else {
            continue;
        };
        let at = format!("{at}.{key}");
        assert!(["ALLOW", "DENY", "LOG"].contains(&rules["action"].as_str().unwrap()));
        let named = object(&at, &rules["policies"]);
        assert!(named.keys().is_sorted(), "{at}: byte order");
        for (name, policy) in named {
            assert_is(&format!("{at}[{name}]"), policy, &POLICY);
            if protocol == "network" {
                let text = policy.to_string();
                for http in ["\"header\":", "\"url_path\":", "\"uri_template\":"] {
                    assert!(!text.contains(http), "{at}[{name}]: {http} on TCP");
                }
            }
        }
        policies += named.len();
    }
    policies
}

#[test]
fn every_printed_filter_is_one_that_envoy_can_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let workload = Workload::new("foo", "httpbin")
        .label("app", "httpbin")
        .service("httpbin", 8080);
    let mut policies = [0; 2];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let engine = Engine::builder(&workload).yaml(&text).build().unwrap();
        let program = engine.program();
        let name = path.file_name().unwrap().to_string_lossy();
        for filter in http_filters(program.http.get(8080), None) {
            policies[0] += check_filter(&name, &filter, "http");
        }
        for filter in network_filters(program.tcp.get(8080)) {
            policies[1] += check_filter(&name, &filter, "network");
        }
    }
    assert!(policies.iter().all(|count| *count > 5), "{policies:?}");
}
