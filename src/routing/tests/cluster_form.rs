//! Brings printed clusters to the form of the recorded ones.

use serde_json::{Map, Value, json};

/// A cluster without what the records leave out.
pub(super) fn trimmed(cluster: &Value) -> Value {
    let mut fields = Map::new();
    for (key, value) in cluster.as_object().unwrap() {
        let value = match key.as_str() {
            "transport_socket" => tls(value),
            "transport_socket_matches" => value.as_array().unwrap().iter().map(of_match).collect(),
            "circuit_breakers" => limits(value),
            _ => normal(value),
        };
        let says_nothing = match key.as_str() {
            "connect_timeout" => value == "10s",
            "circuit_breakers" => value == json!({}),
            "metadata" | "alt_stat_name" | "filters" | "eds_cluster_config" => true,
            _ => value.is_null(),
        };
        if !says_nothing {
            fields.insert(key.clone(), value);
        }
    }
    Value::Object(fields)
}

/// Without Envoy's defaults of slow starts, and without the metadata of endpoints.
pub(super) fn normal(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(normal).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(key, value)| match key.as_str() {
                "aggression" => value["default_value"] != 1,
                "min_weight_percent" => value["value"] != 10,
                "metadata" => false,
                _ => !value.is_null(),
            });
            let fields = fields.map(|(key, value)| (key.clone(), normal(value)));
            Value::Object(fields.collect())
        }
        // Whole numbers are written with and without a place.
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => {
                let text = format!("{float:.0}");
                json!(text.parse::<u64>().unwrap())
            }
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

fn of_match(value: &Value) -> Value {
    let mut printed = json!({"name": value["name"], "match": value["match"]});
    if value["transport_socket"]["name"] == "envoy.transport_sockets.tls" {
        printed["tls"] = tls(&value["transport_socket"]);
    }
    printed
}

fn tls(socket: &Value) -> Value {
    let config = &socket["typed_config"];
    let common = &config["common_tls_context"];
    let mut printed = json!({"params": "1.2-1.3"});
    let mut copy = |name: &str, value: &Value| {
        if !value.is_null() {
            printed[name] = value.clone();
        }
    };
    copy("sni", &config["sni"]);
    copy("alpn", &common["alpn_protocols"]);
    let certificates = common["tls_certificate_sds_secret_configs"].as_array();
    if let Some(certificates) = certificates {
        let names: Value = certificates.iter().map(|it| it["name"].clone()).collect();
        copy("cert_sds", &names);
    }
    if let Some(combined) = common.get("combined_validation_context") {
        let mut validation = combined["default_validation_context"].clone();
        validation["sds"] = combined["validation_context_sds_secret_config"]["name"].clone();
        copy("validation", &validation);
    }
    printed
}

fn limits(value: &Value) -> Value {
    let fields = value["thresholds"][0].as_object().unwrap().iter();
    let fields = fields.filter(|(_, value)| **value != json!(u32::MAX));
    Value::Object(
        fields
            .map(|(key, value)| (key.clone(), normal(value)))
            .collect(),
    )
}

/// The localities of a load assignment, as `{locality, priority, load_balancing_weight, hosts}`.
pub(super) fn localities(assignment: &Value) -> Value {
    let groups = assignment["endpoints"].as_array().into_iter().flatten();
    let groups = groups.map(|group| {
        let hosts = group["lb_endpoints"].as_array().into_iter().flatten();
        let mut printed = json!({
            "locality": group["locality"],
            "load_balancing_weight": group["load_balancing_weight"],
            "hosts": hosts.map(host).collect::<Value>(),
        });
        if let Some(priority) = group.get("priority") {
            printed["priority"] = priority.clone();
        }
        printed
    });
    groups.collect()
}

fn host(endpoint: &Value) -> Value {
    let address = &endpoint["endpoint"]["address"];
    let socket = &address["socket_address"];
    let a = match address.get("pipe") {
        Some(pipe) => pipe.clone(),
        None => json!(format!(
            "{}:{}",
            socket["address"].as_str().unwrap(),
            socket["port_value"]
        )),
    };
    let mut printed = json!({"a": a, "w": endpoint["load_balancing_weight"]});
    let mode = &endpoint["metadata"]["filter_metadata"]["envoy.transport_socket_match"]["tlsMode"];
    if !mode.is_null() {
        printed["tlsMode"] = mode.clone();
    }
    if let Some(health) = endpoint.get("health_status") {
        printed["health"] = health.clone();
    }
    printed
}

/// The same as `{loc, prio, w, hosts}`.
pub(super) fn short(localities: &Value) -> Value {
    let short = localities.as_array().unwrap().iter().map(|group| {
        let part = |name: &str| group["locality"][name].as_str().unwrap_or_default();
        let hosts = group["hosts"].as_array().unwrap().iter();
        let hosts = hosts.map(|it| format!("{}*{}", it["a"].as_str().unwrap_or_default(), it["w"]));
        json!({
            "loc": format!("{}/{}/{}", part("region"), part("zone"), part("sub_zone")),
            "prio": group["priority"].as_u64().unwrap_or(0),
            "w": group["load_balancing_weight"],
            "hosts": hosts.collect::<Vec<_>>(),
        })
    });
    short.collect()
}
