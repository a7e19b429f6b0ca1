use super::rule::Part;
use super::text::bracketed;
use super::writer::Writer;
use crate::istio::{Position, PrincipalBinding, Subject, Text};

/// The known callers of the workloads that a role is for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Callers {
    /// Every binding that some port of theirs has.
    pub(super) bindings: Vec<PrincipalBinding>,
    /// The issuers whose tokens are good there.
    pub(super) issuers: Vec<String>,
}

/// The callers that a subject matches; `None` for none.
pub(super) fn caller(
    writer: &mut Writer<'_>,
    index: usize,
    subject: &Subject,
    callers: &Callers,
) -> Option<Part> {
    let mut caller = Caller {
        writer,
        subject,
        field: format!("spec.subjects[{index}]"),
        callers,
        part: Part::default(),
        has_principals: false,
    };
    caller.names()?;
    caller.namespaces();
    caller.addresses();
    caller.groups();
    for (key, value) in &subject.properties {
        caller.property(key, value)?;
    }
    Some(caller.part)
}

struct Caller<'c, 'a> {
    writer: &'c mut Writer<'a>,
    subject: &'c Subject,
    field: String,
    callers: &'c Callers,
    part: Part,
    /// `principals` is taken; what must hold besides goes into conditions.
    has_principals: bool,
}

impl Caller<'_, '_> {
    fn note(&mut self, at: &Position, field: &str, message: &str) {
        let field = format!("{}.{field}", self.field);
        self.writer.note(at, field, message);
    }

    fn refuse(&mut self, at: &Position, field: &str, message: &str) {
        let field = format!("{}.{field}", self.field);
        self.writer.refuse(at, field, message);
    }

    /// `user`, `names`, `notNames`.
    fn names(&mut self) -> Option<()> {
        let subject = self.subject;
        if let Some(user) = &subject.user
            && &**user != "*"
        {
            self.peers(std::slice::from_ref(user));
        }
        self.unaliased(&subject.names, "names");
        self.peers(&subject.names);
        self.unaliased(&subject.not_names, "notNames");
        if let Some(all) = subject.not_names.iter().find(|name| &***name == ALL) {
            let message = "shuts everyone out: the subject is nobody and is left out";
            self.note(all.at(), "notNames", message);
            return None;
        }
        let names = subject.not_names.iter().map(|name| peer(name));
        self.part.field("notPrincipals", names);
        Some(())
    }

    /// The caller must be one of these peers; `allUsers` is anyone.
    fn peers(&mut self, names: &[Text]) {
        if names.iter().all(|name| &**name != ALL) {
            let names: Vec<_> = names.iter().map(|name| peer(name)).collect();
            self.principals(&names);
        }
    }

    /// The caller must also be one of these principals.
    fn principals(&mut self, names: &[&str]) {
        if names.is_empty() {
            return;
        }
        if std::mem::replace(&mut self.has_principals, true) {
            self.part.when("source.principal", names);
        } else {
            self.part.field("principals", names);
        }
    }

    /// Today one of our trust domains means all of ours; in 2018 it meant itself.
    fn unaliased(&mut self, names: &[Text], field: &str) {
        let mesh = self.writer.mesh;
        if mesh.trust_domain_or(None) == "cluster.local" && mesh.trust_domain_aliases.is_empty() {
            return;
        }
        let is_exchanged = |name: &&Text| {
            name.bytes().filter(|byte| *byte == b'/').count() == 4 && !name.starts_with("*/")
        };
        if let Some(name) = names.iter().find(is_exchanged) {
            let message = "was taken as written; in `principals` its trust domain is exchanged for \
                the mesh's own and its aliases, when it is one of them";
            self.note(&name.at().clone(), field, message);
        }
    }

    fn namespaces(&mut self) {
        let subject = self.subject;
        let lists = [
            ("namespaces", &subject.namespaces),
            ("notNamespaces", &subject.not_namespaces),
        ];
        for (name, values) in lists {
            for value in values {
                self.plain_namespace(value, name);
            }
            self.part.field(name, values);
        }
    }

    /// The old one went into a regex as it stood; only a plain one means the same in quotes.
    fn plain_namespace(&mut self, value: &Text, field: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_/*".contains(c);
        if !value.chars().all(plain) {
            let message = "was a regular expression, and today's namespaces are not; write the namespaces it stands for";
            self.refuse(value.at(), field, message);
        }
    }

    fn addresses(&mut self) {
        let subject = self.subject;
        for (name, field, values) in [
            ("ipBlocks", "ips", &subject.ips),
            ("notIpBlocks", "notIps", &subject.not_ips),
        ] {
            if let Some(first) = values.first() {
                self.proxied(first, field);
            }
            self.part.field(name, values);
        }
    }

    fn proxied(&mut self, value: &Text, field: &str) {
        let message = "behind a load balancer that speaks the PROXY protocol this was the address \
            that it tells; ipBlocks is the balancer's own";
        self.note(value.at(), field, message);
    }

    fn groups(&mut self) {
        let subject = self.subject;
        let group = subject.group.as_slice();
        for (field, values, negated) in [
            ("group", group, false),
            ("groups", &subject.groups, false),
            ("notGroups", &subject.not_groups, true),
        ] {
            let Some(first) = values.first() else {
                continue;
            };
            self.claims_note(first, field);
            let key = "request.auth.claims[groups]";
            match negated {
                true => self.part.when_not(key, values),
                false => self.part.when(key, values),
            }
        }
    }

    fn claims_note(&mut self, value: &Text, field: &str) {
        let message = "a claim that is a list of anything but texts was no claim, and of blanks \
            none either; today the texts in it count, and \"*\" passes over empty ones";
        self.note(value.at(), field, message);
    }

    fn property(&mut self, key: &str, value: &Text) -> Option<()> {
        let field = format!("properties[{key}]");
        let values = [value.as_str()];
        if let Some(claim) = bracketed(key, "request.auth.claims") {
            if claim.contains(['[', ']']) {
                let message = "a claim with brackets in its name cannot be named today";
                self.refuse(value.at(), &field, message);
            }
            self.claims_note(value, &field);
            self.part.when(key, values);
            return Some(());
        }
        if bracketed(key, "request.headers").is_some() {
            self.part.when(key, values);
            return Some(());
        }
        match key {
            "source.principal" | "source.user" => self.principals(&values),
            "source.namespace" => {
                self.plain_namespace(value, &field);
                self.part.field("namespaces", values);
            }
            "source.ip" => {
                self.proxied(value, &field);
                self.part.field("ipBlocks", values);
            }
            "request.auth.principal" => self.request_principal(value, &field)?,
            "request.auth.audiences" => {
                let message = "was a token's first audience only, and of that the first word; \
                    today any of its audiences";
                self.note(value.at(), &field, message);
                self.part.when(key, values);
            }
            "request.auth.presenter" => {
                let message =
                    "was the first word of the claim azp; today all of it, or a text in a list";
                self.note(value.at(), &field, message);
                self.part.when(key, values);
            }
            _ => {
                let message =
                    "is a property that nobody has: the subject is nobody and is left out";
                self.note(value.at(), &field, message);
                return None;
            }
        }
        Some(())
    }

    fn request_principal(&mut self, value: &Text, field: &str) -> Option<()> {
        match self.callers.bindings.as_slice() {
            [PrincipalBinding::UseOrigin] => {}
            [PrincipalBinding::UsePeer] | [] => {
                self.unaliased(std::slice::from_ref(value), field);
                self.principals(&[value.as_str()]);
                // As everything of a request it let no raw connection in, and every request has a
                // method.
                self.part.when("request.headers[:method]", ["*"]);
                return Some(());
            }
            _ => {
                let message = "is the caller on some of the ports that the role is for and the end \
                    user on others; write a role for each";
                self.refuse(value.at(), field, message);
                return Some(());
            }
        }
        let message = "was compared with ISSUER/SUBJECT as one text, of each the first word; today \
            it is split at its last slash, so a subject with a slash in it is met only by * \
            patterns";
        self.note(value.at(), field, message);
        let values = self.issuer_and_subject(value);
        if values.is_empty() {
            let message = "is no ISSUER/SUBJECT of an issuer whose tokens are good: the subject is \
                nobody and is left out";
            self.note(value.at(), field, message);
            return None;
        }
        self.part.is_http = true;
        self.part.field("requestPrincipals", values);
        Some(())
    }

    /// Today's patterns for what one text with a star at its end meant; empty: no caller.
    fn issuer_and_subject(&self, value: &str) -> Vec<String> {
        let issuers = &self.callers.issuers;
        let Some(start) = value
            .strip_suffix('*')
            .filter(|start| !start.is_empty() && !start.starts_with('*'))
        else {
            // Exact texts need the slash; `*` and `*x` mean what they meant.
            let fits = value.starts_with('*') || value.contains('/');
            return fits.then(|| value.to_owned()).into_iter().collect();
        };
        let mut values = Vec::new();
        for issuer in issuers {
            let whole = format!("{issuer}/");
            if start.starts_with(&whole) {
                values.push(value.to_owned());
            } else if whole.starts_with(start) {
                values.push(format!("{whole}*"));
            }
        }
        values.dedup();
        values
    }
}

/// A peer as `principals` writes it.
fn peer(name: &str) -> &str {
    match name {
        "allAuthenticatedUsers" => "*",
        name => name,
    }
}

const ALL: &str = "allUsers";
