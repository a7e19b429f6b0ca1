//! Templates of whole paths, as a router has them.

use std::borrow::Cow;
use std::sync::Arc;

/// A whole path with parameters: `/patients/{id}`, `/files/{*rest}`.
///
/// It matches more than a router does rather than less, because what it does not match is not
/// recorded: letters of either case, percent-encoded letters, empty segments and `..` hide nothing.
/// A path with `..` has two [`Readings`].
#[derive(Clone, Debug)]
pub(in crate::mesh) struct Template {
    text: Arc<str>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Literal(Box<str>),
    Parameter(Box<str>),
    /// All segments that are left, or none.
    Rest(Box<str>),
}

impl Template {
    /// # Errors
    /// What is wrong with it, and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let inside = text
            .strip_prefix('/')
            .ok_or("a template begins with /: /patients/{id}")?;
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        let mut segments = Vec::new();
        for segment in inside.split('/').filter(|_| !inside.is_empty()) {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err("nothing may follow {*rest}, which takes all that is left");
            }
            segments.push(Segment::parse(segment)?);
        }
        Ok(Self {
            text: text.into(),
            segments,
        })
    }

    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    pub(super) fn has(&self, parameter: &str) -> bool {
        self.segments.iter().any(|segment| match segment {
            Segment::Literal(_) => false,
            Segment::Parameter(name) | Segment::Rest(name) => &**name == parameter,
        })
    }

    /// What of several templates that match a path a router takes: the one that has a literal, or
    /// else a parameter, where the others have less, from the left. The least is the most specific.
    pub(super) fn rank(&self) -> impl Iterator<Item = u8> + '_ {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 0,
            Segment::Parameter(_) => 1,
            Segment::Rest(_) => 2,
        })
    }

    /// Whether this is a path of it.
    pub(super) fn matches(&self, path: &[Cow<'_, str>]) -> bool {
        let mut left = path.iter();
        for segment in &self.segments {
            let fits = match (segment, segment.is_rest()) {
                (_, true) => return true,
                (Segment::Literal(literal), _) => left
                    .next()
                    .is_some_and(|found| found.eq_ignore_ascii_case(literal)),
                _ => left.next().is_some(),
            };
            if !fits {
                return false;
            }
        }
        left.next().is_none()
    }

    /// The value of a parameter in a path of it.
    pub(super) fn value(&self, path: &[Cow<'_, str>], parameter: &str) -> Option<String> {
        let at = self.segments.iter().position(|segment| {
            matches!(segment, Segment::Parameter(name) | Segment::Rest(name) if &**name == parameter)
        })?;
        match self.segments.get(at)? {
            Segment::Rest(_) => Some(path.get(at..)?.join("/")),
            _ => Some(path.get(at)?.clone().into_owned()),
        }
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let name = |name: &str| match name.contains(['{', '}']) || name.is_empty() {
            true => Err("a parameter is a name in braces, alone between two slashes: {id}"),
            false => Ok(Box::from(name)),
        };
        match text
            .strip_prefix('{')
            .map(|inside| inside.strip_suffix('}'))
        {
            Some(Some(inside)) => match inside.strip_prefix('*') {
                Some(rest) => Ok(Self::Rest(name(rest)?)),
                None => Ok(Self::Parameter(name(inside)?)),
            },
            None if !text.contains(['{', '}']) && !text.is_empty() => {
                Ok(Self::Literal(text.into()))
            }
            _ if text.is_empty() => Err("a template has no empty segment: /patients/{id}"),
            _ => Err("a parameter is a name in braces, alone between two slashes: {id}"),
        }
    }

    fn is_rest(&self) -> bool {
        matches!(self, Self::Rest(_))
    }
}

/// What a router may take a path for. It is decoded, and has no empty segments.
///
/// Where the mesh does not normalize paths, axum's router takes `..` and `.` for values of
/// parameters, and what reads the path behind it may follow them.
#[derive(Debug)]
pub(super) struct Readings<'p> {
    /// With its dots, if it has any.
    kept: Option<Vec<Cow<'p, str>>>,
    /// Without `.`, and with each `..` followed.
    followed: Vec<Cow<'p, str>>,
}

impl<'p> Readings<'p> {
    pub(super) fn new(path: &'p str) -> Self {
        let segments = path.split('/').map(decoded);
        let kept: Vec<_> = segments.filter(|segment| !segment.is_empty()).collect();
        if !kept.iter().any(|segment| is_dots(segment)) {
            return Self {
                kept: None,
                followed: kept,
            };
        }
        let mut followed = Vec::new();
        for segment in &kept {
            match &**segment {
                "." => {}
                ".." => drop(followed.pop()),
                _ => followed.push(segment.clone()),
            }
        }
        Self {
            kept: Some(kept),
            followed,
        }
    }

    /// That of a router first.
    pub(super) fn all(&self) -> impl Iterator<Item = &[Cow<'p, str>]> {
        let kept = self.kept.as_deref().into_iter();
        kept.chain([&*self.followed])
    }
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = segment.bytes();
    let mut out = Vec::with_capacity(segment.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'%'));
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(template: &str, path: &str, parameter: &str) -> Option<String> {
        let template = Template::parse(template).unwrap();
        let readings = Readings::new(path);
        let path = readings.all().find(|path| template.matches(path));
        template.value(path.unwrap_or_else(|| panic!("{readings:?}")), parameter)
    }

    #[test]
    fn parameters_are_found_however_the_path_is_written() {
        for path in [
            "/patients/7",
            "/patients/7/",
            "//patients//7",
            "/PATIENTS/7",
            "/p%61tients/%37",
            "/wards/../patients/./7",
        ] {
            let found = value("/patients/{id}", path, "id");
            assert_eq!(found.as_deref(), Some("7"), "{path}");
        }
        assert_eq!(
            value("/files/{*rest}", "/files/a/b", "rest").unwrap(),
            "a/b"
        );
        assert_eq!(value("/files/{*rest}", "/files", "rest").unwrap(), "");
        assert_eq!(value("/", "/", "id"), None);
    }

    /// As axum takes it where paths are not normalized, and as what follows the dots does.
    #[test]
    fn dots_are_read_both_ways() {
        for path in ["/wards/../patients/7", "/wards/%2e%2E/patients/7"] {
            let of_ward = value("/wards/{ward}/patients/{id}", path, "ward");
            assert_eq!(of_ward.as_deref(), Some(".."), "{path}");
            assert_eq!(value("/patients/{id}", path, "id").as_deref(), Some("7"));
        }
        assert_eq!(Readings::new("/a/b").all().count(), 1);
    }

    #[test]
    fn the_least_rank_is_the_template_that_a_router_takes() {
        let rank = |text| Template::parse(text).unwrap().rank().collect::<Vec<_>>();
        let ordered = ["/a/b", "/a/{x}", "/a/{*x}", "/{x}/b", "/{x}/{y}", "/{*x}"];
        assert!(ordered.map(rank).is_sorted());
        assert!(rank("/a") < rank("/a/{*x}"));
    }

    #[test]
    fn a_template_is_a_whole_path() {
        let template = Template::parse("/patients/{id}").unwrap();
        for path in ["/", "/patients", "/patients/7/notes", "/a/patients/7"] {
            let readings = Readings::new(path);
            assert!(!readings.all().any(|path| template.matches(path)), "{path}");
        }
    }

    #[test]
    fn a_template_that_cannot_be_used_says_what_to_write() {
        for text in [
            "patients", "/a//b", "/{}", "/x{id}", "/{id", "/{*a}/b", "/{a{b}}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_panics(path in ".*") {
            let template = Template::parse("/a/{b}/{*c}").unwrap();
            for path in Readings::new(&path).all() {
                if template.matches(path) {
                    assert!(template.value(path, "b").is_some());
                }
            }
        }
    }
}
