//! What one party tells of one request, with names in place of what is made anew each time.

use serde_json::{Map, Value, json};

/// Fields by their names, as `json.user_agent`.
pub(crate) type Record = Map<String, Value>;

/// What is known of an exchange, as it was told.
pub(crate) struct Told<'a> {
    /// What the caller got.
    pub(crate) status: Value,
    /// Text, JSON, and more operators.
    pub(crate) lines: [&'a String; 3],
    /// What reached the other end.
    pub(crate) seen: Option<Value>,
    pub(crate) spans: &'a [Value],
    /// Whether the caller has sent this text itself.
    pub(crate) has_sent: &'a dyn Fn(&str) -> bool,
    /// Texts, and what stands for them.
    pub(crate) names: Vec<(String, &'static str)>,
}

/// Puts together what is known of a case.
pub(crate) fn record(told: Told<'_>) -> Record {
    let Told {
        status,
        lines: [text, json, more],
        seen,
        spans,
        has_sent,
        names,
    } = told;
    let written = [json, more].map(|line| keys(line));
    let json: Value = serde_json::from_str(json).unwrap();
    let more: Value = serde_json::from_str(more).unwrap();
    let id = json["request_id"].as_str().unwrap_or("none");
    let span = spans
        .iter()
        .find(|span| span["tags"]["guid:x-request-id"] == id)
        .map(plain);
    let names = Names::new(names, has_sent, &seen, span.as_ref(), id);
    let mut record = Map::new();
    record.insert("status".to_owned(), status);
    for (index, column) in columns(text).into_iter().enumerate() {
        let name = COLUMNS
            .get(index)
            .map_or_else(|| format!("text.{index}"), |name| format!("text.{name}"));
        record.insert(name, column.into());
    }
    add(&mut record, "json", &json);
    add(&mut record, "more", &more);
    for (name, keys) in ["json", "more"].into_iter().zip(written) {
        record.insert(format!("{name} keys"), keys.into());
    }
    add(
        &mut record,
        "app",
        &seen.unwrap_or_else(|| json!("not reached")),
    );
    add(&mut record, "span", &span.unwrap_or_else(|| json!("none")));
    for (name, value) in &mut record {
        named(name, value, &names);
    }
    record
}

/// A span without its times, which only have to be there.
fn plain(span: &Value) -> Value {
    let mut span = span.clone();
    let fields = span.as_object_mut().unwrap();
    for time in ["timestamp", "duration"] {
        if fields.contains_key(time) {
            fields.insert(time.to_owned(), "TIME".into());
        }
    }
    if let Some(Value::Array(notes)) = fields.get_mut("annotations") {
        for note in notes {
            note["timestamp"] = "TIME".into();
        }
    }
    span
}

fn add(record: &mut Record, name: &str, value: &Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                add(record, &format!("{name}.{field}"), value);
            }
        }
        value => drop(record.insert(name.to_owned(), value.clone())),
    }
}

/// The keys of an object in the order in which they are written.
fn keys(line: &str) -> Vec<String> {
    let Value::Object(fields) = serde_json::from_str(line).unwrap() else {
        panic!("no object: {line}");
    };
    let place = |key: &String| line.find(&format!("\"{key}\":")).unwrap();
    let mut keys: Vec<_> = fields.keys().cloned().collect();
    keys.sort_by_key(place);
    keys
}

/// The columns of a line: text in brackets or quotation marks is one.
fn columns(line: &str) -> Vec<String> {
    let (mut columns, mut column) = (Vec::new(), String::new());
    let (mut is_quoted, mut is_escaped) = (false, false);
    for letter in line.chars() {
        match letter {
            '"' if !is_escaped => is_quoted = !is_quoted,
            ' ' if !is_quoted => {
                columns.push(std::mem::take(&mut column));
                continue;
            }
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
        column.push(letter);
    }
    columns.push(column);
    columns
}

/// What stands for what.
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn new(
        mut names: Vec<(String, &'static str)>,
        has_sent: &dyn Fn(&str) -> bool,
        seen: &Option<Value>,
        span: Option<&Value>,
        request_id: &str,
    ) -> Self {
        let mut made = |text: &str, name| {
            if text.len() >= 8 && !has_sent(text) {
                names.push((text.to_owned(), name));
            }
        };
        made(request_id, "REQUEST-ID");
        if let Some(span) = span {
            let field = |name: &str| span[name].as_str().unwrap_or_default().to_owned();
            made(&field("id"), "SPAN");
            made(&field("parentId"), "PARENT");
            made(&field("traceId"), "TRACE");
        }
        let header = |name: &str| {
            let headers = seen.as_ref().map(|seen| &seen["headers"]);
            let value = headers.and_then(|headers| headers[name].as_str());
            value.unwrap_or_default().to_owned()
        };
        for name in ["traceparent", "b3"] {
            let value = header(name);
            let mut words = value.trim_start_matches("00-").split('-');
            let (trace, span) = (words.next(), words.next());
            made(trace.unwrap_or_default(), "TRACE");
            made(span.unwrap_or_default(), "SPAN");
            made(words.nth(1).unwrap_or_default(), "PARENT");
        }
        made(&header("x-b3-traceid"), "TRACE");
        made(&header("x-b3-spanid"), "SPAN");
        made(&header("x-b3-parentspanid"), "PARENT");
        names.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        Self(names)
    }
}

fn named(field: &str, value: &mut Value, names: &Names) {
    let last = field.rsplit('.').next().unwrap_or_default();
    match value {
        Value::String(text) => {
            for (from, name) in &names.0 {
                *text = text.replace(from, name);
            }
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            match last {
                "start_time" => *text = time(text),
                "duration" | "upstream_service_time" if is_number => *text = "NUMBER".to_owned(),
                _ => {}
            }
        }
        Value::Number(_) if last == "duration" => *value = "NUMBER".into(),
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| named(field, value, names)),
        Value::Object(fields) => {
            for (name, value) in fields {
                named(name, value, names);
            }
        }
        _ => {}
    }
}

/// Digits of a time are alike.
fn time(text: &str) -> String {
    let digit = |letter: char| if letter.is_ascii_digit() { '0' } else { letter };
    text.chars().map(digit).collect()
}

/// The columns of Istio's text.
const COLUMNS: [&str; 22] = [
    "start_time",
    "request",
    "response_code",
    "response_flags",
    "response_code_details",
    "connection_termination_details",
    "upstream_transport_failure_reason",
    "bytes_received",
    "bytes_sent",
    "duration",
    "upstream_service_time",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
    "upstream_cluster",
    "upstream_local_address",
    "downstream_local_address",
    "downstream_remote_address",
    "requested_server_name",
    "route_name",
];
