use super::yaml::Yaml;

/// A caller, or an operation: fields that must all hold, and conditions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Part {
    /// Fields of `source` or of `operation`; none: anyone, anything.
    pub(super) fields: Vec<(&'static str, Vec<String>)>,
    pub(super) when: Vec<When>,
    /// Raw TCP knows nothing of one of them.
    pub(super) is_http: bool,
}

/// `when[]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct When {
    pub(super) key: String,
    pub(super) values: Vec<String>,
    pub(super) not_values: Vec<String>,
}

impl Part {
    pub(super) fn field<T: ToString>(
        &mut self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) {
        let values = strings(values);
        if !values.is_empty() {
            self.fields.push((name, values));
        }
    }

    pub(super) fn when<T: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.condition(key, strings(values), Vec::new());
    }

    pub(super) fn when_not<T: ToString>(&mut self, key: &str, values: impl IntoIterator<Item = T>) {
        self.condition(key, Vec::new(), strings(values));
    }

    fn condition(&mut self, key: &str, values: Vec<String>, not_values: Vec<String>) {
        if values.is_empty() && not_values.is_empty() {
            return;
        }
        self.is_http |= key.starts_with("request.");
        self.when.push(When {
            key: key.to_owned(),
            values,
            not_values,
        });
    }
}

fn strings<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
    let values = values.into_iter();
    values.map(|value| value.to_string()).collect()
}

/// Each caller with each operation. Those with equal conditions share a rule; what raw TCP knows
/// and what it does not never do, since there a rule with anything of HTTP in it is dropped whole.
pub(super) fn rules(callers: &[Part], operations: &[Part]) -> Vec<Yaml> {
    let mut rules = Vec::new();
    for callers in groups(callers) {
        for operations in groups(operations) {
            rules.push(rule(&callers, &operations));
        }
    }
    rules
}

fn groups(parts: &[Part]) -> Vec<Vec<&Part>> {
    let mut groups: Vec<Vec<&Part>> = Vec::new();
    for part in parts {
        let is_kin = |group: &&mut Vec<&Part>| {
            let first = group.first();
            first.is_some_and(|first| first.when == part.when && first.is_http == part.is_http)
        };
        match groups.iter_mut().find(is_kin) {
            Some(group) if group.iter().any(|known| known.fields == part.fields) => {}
            Some(group) => group.push(part),
            None => groups.push(vec![part]),
        }
    }
    groups
}

fn rule(callers: &[&Part], operations: &[&Part]) -> Yaml {
    let entries = |parts: &[&Part], name: &str| {
        // One that asks for nothing matches anyone, whatever the others ask for.
        let asks = parts.iter().all(|part| !part.fields.is_empty());
        let entries = parts.iter().map(|part| {
            let fields = part.fields.iter();
            let fields = Yaml::map(fields.map(|(name, values)| (*name, Yaml::texts(values))));
            Yaml::map([(name, Some(fields))])
        });
        asks.then(|| Yaml::List(entries.collect()))
    };
    let when = [callers.first(), operations.first()].into_iter().flatten();
    let when = when.flat_map(|part| &part.when).map(condition);
    Yaml::map([
        ("from", entries(callers, "source")),
        ("to", entries(operations, "operation")),
        ("when", Yaml::list(when)),
    ])
}

fn condition(when: &When) -> Yaml {
    Yaml::map([
        ("key", Some(Yaml::text(&*when.key))),
        ("values", Yaml::texts(&when.values)),
        ("notValues", Yaml::texts(&when.not_values)),
    ])
}
