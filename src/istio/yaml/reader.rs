//! YAML and JSON text into positioned trees, one document at a time, within bounds.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use granit_parser::{
    ErrorKind, Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput, Tag,
};

use super::cursor::Sink;
use super::template::templates;
use super::tree::{Entry, Mark, Node, Scalar, Style, Value};
use crate::istio::Problem;

/// What one text may cost. Kubernetes stores at most 1.5 MiB an object; a dump of a large cluster
/// is some tens of MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the whole text.
    pub(crate) text: usize,
    /// Nodes of one document, aliases written out.
    pub(crate) nodes: usize,
    /// Nodes that the aliases of one document may add.
    pub(crate) aliased: usize,
    /// Nested block collections, and nested flow collections.
    pub(crate) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 64 << 20,
            nodes: 2_000_000,
            aliased: 10_000,
            depth: 100,
        }
    }
}

/// Something that stops one document from being read.
#[derive(Debug)]
struct Fault {
    at: Mark,
    /// The way to the field that is to blame, if one is.
    field: String,
    message: String,
    /// Whether nothing that follows is read either: what is too large must not cost more than what
    /// is not.
    is_last: bool,
}

impl Fault {
    fn new(at: Mark, message: impl Into<String>) -> Self {
        Self {
            at,
            field: String::new(),
            message: message.into(),
            is_last: false,
        }
    }

    fn last(at: Mark, message: impl Into<String>) -> Self {
        Self {
            is_last: true,
            ..Self::new(at, message)
        }
    }
}

/// Reads one text document by document. A document that cannot be read yields its first fault, and
/// reading goes on with the next one.
struct Documents<'t> {
    parser: Parser<'t, StrInput<'t>>,
    limits: Limits,
    done: bool,
    text: &'t str,
    /// Where the document begins that is being read.
    begun: u32,
    /// Whether the text was searched for templates.
    templates: Option<Vec<Mark>>,
}

impl<'t> Documents<'t> {
    /// # Errors
    ///
    /// The text is larger than the limit.
    fn new(text: &'t str, limits: Limits) -> Result<Self, Fault> {
        if text.len() > limits.text {
            let message = format!(
                "the text has {} bytes, more than the {} that are read; split it",
                text.len(),
                limits.text
            );
            let whole = Mark { line: 0, column: 0 };
            return Err(Fault::last(whole, message));
        }
        let mut options = Options::default();
        options.set_emit_comments(false);
        options.flow_nesting_limit = limits.depth;
        options.block_nesting_limit = limits.depth;
        Ok(Self {
            parser: Parser::new_from_str_with_options(text, options),
            limits,
            done: false,
            text,
            begun: 0,
            templates: None,
        })
    }

    fn document(&mut self) -> Option<Result<Node<'t>, Fault>> {
        let mut builder = Builder::new(self.limits);
        loop {
            let (event, span) = match self.parser.next_event()? {
                Ok(next) => next,
                Err(error) => {
                    let fault = syntax(&error, self.limits);
                    return Some(Err(self.template_or(fault)));
                }
            };
            if matches!(event, Event::DocumentStart(..)) {
                self.begun = mark(&span.start).line;
            }
            match builder.take(event, &span) {
                Ok(Some(root)) => return Some(Ok(root)),
                Ok(None) => {}
                Err(fault) => return Some(Err(self.template_or(fault))),
            }
        }
    }

    /// A fault at a template's action, or shortly after one, is the template's. It is reported
    /// once.
    fn template_or(&mut self, fault: Fault) -> Fault {
        if fault.is_last {
            return fault;
        }
        // Searched once: else a text of many bad documents would be searched for each.
        let templates = self.templates.get_or_insert_with(|| templates(self.text));
        let line = fault.at.line;
        let upto = templates.partition_point(|at| at.line <= line);
        let last = upto.checked_sub(1).and_then(|last| templates.get(last));
        match last.filter(|at| at.line >= self.begun && line - at.line <= NEAR) {
            Some(at) => Fault::last(
                *at,
                "a Helm template, which is not YAML yet; render it first: helm template RELEASE CHART > rendered.yaml",
            ),
            None => fault,
        }
    }
}

/// Lines that an action may run over before it fails, as a comment at the head of a file does.
const NEAR: u32 = 20;

impl<'t> Iterator for Documents<'t> {
    type Item = Result<Node<'t>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.document();
        self.done = match &next {
            None => true,
            Some(Ok(_)) => false,
            // What is left of a bad document is skipped; that it was bad is reported once.
            Some(Err(fault)) => {
                fault.is_last || !self.parser.proceed_next_document().unwrap_or(false)
            }
        };
        next
    }
}

/// The documents of a text that can be read; the others are reported.
pub(crate) fn documents<'t>(
    text: &'t str,
    limits: Limits,
    sink: &'t Sink,
) -> impl Iterator<Item = Node<'t>> {
    let report = |fault: Fault| {
        let at = sink.position(fault.at);
        sink.report(Problem::new(at, fault.field, fault.message));
    };
    let documents = Documents::new(text, limits).map_err(report);
    let documents = documents.into_iter().flatten();
    documents.filter_map(move |document| document.map_err(report).ok())
}

/// Builds the tree of one document from events.
struct Builder<'t> {
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, (Node<'t>, usize)>,
    nodes: usize,
    aliased: usize,
    limits: Limits,
}

/// A list or map whose end has not come yet.
struct Open<'t> {
    node: Node<'t>,
    anchor: usize,
    /// In a map: the key that waits for its value.
    key: Option<(Cow<'t, str>, Mark)>,
    /// In a map that has grown: its keys, so that finding a double one stays linear.
    keys: Option<HashSet<Cow<'t, str>>>,
}

/// From how many keys on a map keeps a set of them.
const MANY_KEYS: usize = 16;

impl<'t> Builder<'t> {
    fn new(limits: Limits) -> Self {
        Self {
            open: Vec::new(),
            anchors: HashMap::new(),
            nodes: 0,
            aliased: 0,
            limits,
        }
    }

    /// Takes an event; gives the root when it is complete.
    fn take(&mut self, event: Event<'t>, span: &Span) -> Result<Option<Node<'t>>, Fault> {
        let at = mark(&span.start);
        let fault = |message: String| Fault::new(at, message);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = scalar_style(style, tag.as_deref()).map_err(fault)?;
                let scalar = Value::Scalar(Scalar { text, style });
                (scalar, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq").map_err(fault)?;
                return self.begin(Value::List(Vec::new()), anchor, at);
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map").map_err(fault)?;
                return self.begin(Value::Map(Vec::new()), anchor, at);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else {
                    return Ok(None);
                };
                return self.place(open.node, open.anchor);
            }
            Event::Alias(id) => return self.alias(id, at),
            _ => return Ok(None),
        };
        self.count(1, at)?;
        self.place(Node { value, at }, anchor)
    }

    fn begin(
        &mut self,
        value: Value<'t>,
        anchor: usize,
        at: Mark,
    ) -> Result<Option<Node<'t>>, Fault> {
        self.count(1, at)?;
        self.open.push(Open {
            node: Node { value, at },
            anchor,
            key: None,
            keys: None,
        });
        Ok(None)
    }

    /// Writes an alias out. The copy keeps the places of what it copies.
    fn alias(&mut self, id: usize, at: Mark) -> Result<Option<Node<'t>>, Fault> {
        let Some((node, size)) = self.anchors.get(&id) else {
            let message = "the alias is inside the value that it names; write the value out";
            return Err(Fault::new(at, message));
        };
        let (node, size) = (node.clone(), *size);
        self.copy(size, at)?;
        self.count(size, at)?;
        self.place(node, 0)
    }

    fn copy(&mut self, more: usize, at: Mark) -> Result<(), Fault> {
        self.aliased += more;
        if self.aliased <= self.limits.aliased {
            return Ok(());
        }
        let message = format!(
            "the anchors and aliases of this document expand to more than {} values; write them out",
            self.limits.aliased
        );
        Err(Fault::last(at, message))
    }

    fn count(&mut self, more: usize, at: Mark) -> Result<(), Fault> {
        self.nodes += more;
        let most = self.limits.nodes;
        if self.nodes <= most {
            return Ok(());
        }
        let message = format!("the document has more than {most} values; split it");
        Err(Fault::last(at, message))
    }

    /// The way to a key of the map that is open.
    fn path(&self, key: &Node<'t>) -> String {
        let mut path = String::new();
        for open in &self.open {
            match (&open.node.value, &open.key) {
                (Value::List(items), _) => path.push_str(&format!("[{}]", items.len())),
                (_, Some((name, ..))) => join(&mut path, name),
                (_, None) => {}
            }
        }
        if let Some(scalar) = key.scalar() {
            join(&mut path, &scalar.text);
        }
        path
    }

    /// Puts a finished node where it belongs; gives it back when it is the root.
    fn place(&mut self, node: Node<'t>, anchor: usize) -> Result<Option<Node<'t>>, Fault> {
        if anchor != 0 {
            let size = node.size();
            // An anchor keeps a copy and so counts as what it names: nested ones would otherwise
            // cost their depth times their size.
            self.copy(size, node.at)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => match key(&node, entries, &mut open.keys) {
                    Ok(key) => open.key = Some(key),
                    Err(fault) => {
                        let field = self.path(&node);
                        return Err(Fault { field, ..fault });
                    }
                },
                Some((key, at)) => entries.push(Entry {
                    key,
                    at,
                    value: node,
                }),
            },
            // INVARIANT: only lists and maps are opened.
            Value::Scalar(_) => {}
        }
        Ok(None)
    }
}

/// The path of a field below `path`.
fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// A node as the next key of a map that holds `entries`.
fn key<'t>(
    node: &Node<'t>,
    entries: &[Entry<'t>],
    keys: &mut Option<HashSet<Cow<'t, str>>>,
) -> Result<(Cow<'t, str>, Mark), Fault> {
    let Value::Scalar(scalar) = &node.value else {
        return Err(Fault::new(node.at, "a key must be text"));
    };
    let text = &scalar.text;
    let twice = match keys {
        Some(keys) => !keys.insert(text.clone()),
        None => {
            if entries.len() >= MANY_KEYS {
                let known = entries.iter().map(|entry| entry.key.clone());
                *keys = Some(known.chain([text.clone()]).collect());
            }
            entries.iter().any(|entry| entry.key == *text)
        }
    };
    if twice {
        let first = entries.iter().find(|entry| entry.key == *text);
        let line = first.map_or(0, |entry| entry.at.line);
        let message = format!("the key `{text}` was already written at line {line}; keep one");
        return Err(Fault::new(node.at, message));
    }
    Ok((text.clone(), node.at))
}

fn scalar_style(style: ScalarStyle, tag: Option<&Tag>) -> Result<Style, String> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema_tag("str") => return Ok(Style::Quoted),
        Some(tag) => return Err(unknown_tag(tag)),
        None => {}
    }
    Ok(match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    })
}

fn collection_tag(tag: Option<&Tag>, own: &str) -> Result<(), String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(own) => Err(unknown_tag(tag)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag) -> String {
    format!(
        "the tag `{}` is not supported; leave it out",
        tag.original()
    )
}

fn syntax(error: &ScanError, limits: Limits) -> Fault {
    let at = mark(error.marker());
    if matches!(error.kind(), ErrorKind::RecursionLimitExceeded) {
        let message = format!(
            "is nested deeper than the {} levels that are read; flatten it",
            limits.depth
        );
        return Fault::last(at, message);
    }
    let what = error.kind().to_string();
    let remedy = match what.starts_with("tab") {
        true => "; indent with spaces",
        false => "",
    };
    Fault::new(at, format!("not YAML: {what}{remedy}"))
}

fn mark(marker: &Marker) -> Mark {
    Mark {
        line: number(marker.line()),
        column: number(marker.col() + 1),
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
