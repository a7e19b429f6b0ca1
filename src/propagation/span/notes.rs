//! What a handler notes on a span while it lasts: tags and events, within bounds and without a
//! lock.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::finished::{SpanEvent, TagValue};
use crate::context::OnceList;

pub(in crate::propagation) type Tag = (Cow<'static, str>, TagValue);

/// So many tags, and so many events, a span keeps.
const MOST: u64 = 128;
/// So many bytes each name and each value may have; the rest is cut off.
const LONGEST: usize = 4 * 1024;

#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) tags: Bounded<Tag>,
    pub(super) events: Bounded<SpanEvent>,
}

impl Notes {
    pub(super) fn tag(&self, name: Cow<'static, str>, value: TagValue) {
        self.tags.push(|| (shorten(name), shorten_value(value)));
    }

    pub(super) fn event(&self, event: SpanEvent) {
        let SpanEvent { name, time } = event;
        self.events.push(|| SpanEvent {
            name: shorten(name),
            time,
        });
    }

    /// Adds the tags to those of the mesh. A name has one value: the mesh's own, else the one that
    /// was set last.
    pub(super) fn add_tags(&self, tags: &mut Vec<Tag>) {
        let own = tags.len();
        for (name, value) in self.tags.iter() {
            match tags.iter().position(|(known, _)| known == name) {
                Some(at) if at < own => {}
                Some(at) => {
                    if let Some(known) = tags.get_mut(at) {
                        known.1 = value.clone();
                    }
                }
                None => tags.push((name.clone(), value.clone())),
            }
        }
    }
}

/// A list of at most [`MOST`] values, which counts those that it did not take.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    list: OnceList<T>,
    asked: AtomicU64,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            list: OnceList::default(),
            asked: AtomicU64::new(0),
        }
    }
}

impl<T> Bounded<T> {
    fn push(&self, value: impl FnOnce() -> T) {
        if self.asked.fetch_add(1, Ordering::Relaxed) < MOST {
            self.list.push(value());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.iter()
    }

    /// How many values found no place.
    pub(super) fn dropped(&self) -> u32 {
        let beyond = self.asked.load(Ordering::Relaxed).saturating_sub(MOST);
        u32::try_from(beyond).unwrap_or(u32::MAX)
    }
}

fn shorten(text: Cow<'static, str>) -> Cow<'static, str> {
    match text.len() > LONGEST {
        true => Cow::Owned(start(&text).to_owned()),
        false => text,
    }
}

pub(super) fn shorten_value(value: TagValue) -> TagValue {
    match value.as_str().len() > LONGEST {
        true => TagValue::Owned(start(value.as_str()).to_owned()),
        false => value,
    }
}

/// The name of a span.
pub(super) fn shorten_name(text: &str) -> Arc<str> {
    start(text).into()
}

/// At most [`LONGEST`] bytes of it; whole characters.
fn start(text: &str) -> &str {
    let longest = LONGEST.min(text.len());
    let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let notes = Notes::default();
        let long = format!("a{}", "ä".repeat(LONGEST));
        notes.tag(long.clone().into(), long.as_str().into());
        let (name, value) = notes.tags.iter().next().unwrap();
        // 4,096 bytes would end inside of a character.
        assert_eq!((name.len(), value.as_str().len()), (4095, 4095));
        assert_eq!(shorten_name(&long).len(), 4095);
        assert_eq!(start("ä"), "ä");
        assert_eq!(start(""), "");
    }

    #[test]
    fn a_name_has_one_value_and_the_meshs_own_stays() {
        let notes = Notes::default();
        notes.tag("http.method".into(), "forged".into());
        notes.tag("ward".into(), 3.into());
        notes.tag("ward".into(), 4.into());
        let mut tags: Vec<Tag> = vec![("http.method".into(), "GET".into())];
        notes.add_tags(&mut tags);
        let shown: Vec<_> = tags.iter().map(|(n, v)| (&**n, v.as_str())).collect();
        assert_eq!(shown, [("http.method", "GET"), ("ward", "4")]);
    }
}
