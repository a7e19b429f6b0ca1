//! Reads annotations that silence notes, and remembers which are used.

use std::collections::HashMap;

use super::note::resource_name;
use crate::istio::{Meta, Position, Resources, Text};
use crate::vet::{Code, Note};

/// The annotation that silences notes about its resource: a line `CODE: reason` for each.
pub(super) const ANNOTATION: &str = "tower-mesh.io/vet-ignore";

/// What is silenced: everywhere, and by the resources themselves.
#[derive(Debug, Default)]
pub(in crate::vet) struct Silences {
    everywhere: Vec<(Code, String)>,
    /// By the resource's place.
    annotated: HashMap<Position, Vec<Silence>>,
    invalid: Vec<Note>,
}

/// One line of an annotation.
#[derive(Debug)]
struct Silence {
    code: Code,
    reason: String,
    resource: String,
    at: Position,
    used: bool,
}

impl Silences {
    /// What is silenced everywhere, and what annotations silence.
    pub(in crate::vet) fn new(everywhere: &[(Code, String)], resources: &Resources) -> Self {
        let mut silences = Self {
            everywhere: everywhere.to_vec(),
            ..Self::default()
        };
        for meta in resources.metas() {
            if let Some(text) = meta.annotations.get(ANNOTATION) {
                silences.read(meta, text);
            }
        }
        silences
    }

    fn read(&mut self, meta: &Meta, text: &Text) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        for line in lines {
            let (code, reason) = line.split_once(':').unwrap_or((line, ""));
            let (code, reason) = (code.trim(), reason.trim());
            let message = match code.parse::<Code>() {
                Err(error) => format!("{error}, so this silences nothing"),
                Ok(Code::SilenceInvalid | Code::SilenceUnused) => {
                    format!("`{code}` cannot be silenced; correct the annotation")
                }
                Ok(_) if reason.is_empty() => {
                    format!("`{code}` is silenced without a reason, so it is not")
                }
                Ok(code) => {
                    let silence = Silence {
                        code,
                        reason: reason.to_owned(),
                        resource: resource_name(meta),
                        at: text.at().clone(),
                        used: false,
                    };
                    let of_resource = self.annotated.entry(meta.at.clone());
                    of_resource.or_default().push(silence);
                    continue;
                }
            };
            self.invalid.push(Note {
                code: Code::SilenceInvalid,
                resource: resource_name(meta),
                at: text.at().clone(),
                message,
                help: format!("write `{ANNOTATION}: \"CODE: reason\"`, a line for each code"),
            });
        }
    }

    /// Why a note about the resource at a place is silenced, when it is.
    pub(in crate::vet) fn reason(&mut self, code: Code, resource: &Position) -> Option<String> {
        let own = self.annotated.get_mut(resource);
        let mut reason = None;
        for silence in own.into_iter().flatten() {
            if silence.code == code {
                silence.used = true;
                reason.get_or_insert_with(|| silence.reason.clone());
            }
        }
        reason.or_else(|| {
            let everywhere = self.everywhere.iter().find(|(known, _)| *known == code);
            everywhere.map(|(_, reason)| reason.clone())
        })
    }

    /// Notes about the annotations themselves.
    pub(super) fn into_notes(self) -> impl Iterator<Item = Note> {
        let unused = self.annotated.into_values().flatten();
        // Whether these are found depends on what else is known, so they may come and go.
        let comes_and_goes = |code| {
            matches!(
                code,
                Code::AgelessPeerAuthentication
                    | Code::DelegateNotFound
                    | Code::DelegateUnused
                    | Code::DestinationUnknown
                    | Code::EjectsNobody
                    | Code::HostRoutedTwice
                    | Code::HttpOnTcpPort
                    | Code::LegacyIgnored
                    | Code::MeshRefuses
                    | Code::MeshWarns
                    | Code::PlaintextToStrict
                    | Code::ProviderNotAsked
                    | Code::SelectorMatchesNothing
                    | Code::ProviderDefinedTwice
                    | Code::ProviderUnused
                    | Code::ServiceHidden
                    | Code::SeveralProviders
                    | Code::SubsetUndefined
                    | Code::TargetRefsElsewhere
                    | Code::TlsToPlainPort
                    | Code::TrafficPolicyTwice
                    | Code::UnguardedWorkload
                    | Code::UnknownProvider
            )
        };
        let unused = unused.filter(move |silence| !silence.used && !comes_and_goes(silence.code));
        let unused = unused.map(|silence| Note {
            code: Code::SilenceUnused,
            resource: silence.resource,
            at: silence.at,
            message: format!("`{}` is silenced, and there is no such note", silence.code),
            help: "take the line out of the annotation".to_owned(),
        });
        self.invalid.into_iter().chain(unused)
    }
}
