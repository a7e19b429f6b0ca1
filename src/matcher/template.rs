/// An Envoy URI template of Istio's kind: `{*}` is one path segment's text, `{**}` any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate(String);

/// A text that is no path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplateError(());
