use serde_json::{Value, json};

use super::rules::set;

/// Which listener the filters are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Tcp,
}

impl Protocol {
    /// A filter by the last part of its name, with its configuration, which is a `message`.
    pub(super) fn filter(self, name: &str, message: &str, mut config: Value) -> Value {
        let name = self.full_name(name);
        let url = "type.googleapis.com/envoy.extensions.filters";
        let kind = name.replace("envoy.filters", url);
        set(&mut config, "@type", format!("{kind}.v3.{message}").into());
        if self == Self::Tcp {
            set(&mut config, "stat_prefix", "tcp.".into());
        }
        json!({"name": name, "typed_config": config})
    }

    /// A filter's whole name.
    pub(super) fn full_name(self, name: &str) -> String {
        match self {
            Self::Http => format!("envoy.filters.http.{name}"),
            Self::Tcp => format!("envoy.filters.network.{name}"),
        }
    }
}
