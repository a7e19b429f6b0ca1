//! Changes of headers.

/// Changes of a message's headers: first all removals, then the values in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderChanges {
    /// Names of headers to remove.
    pub remove: Vec<String>,
    /// Values to set and to add.
    pub add: Vec<HeaderAdd>,
}

/// One value to set or to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderAdd {
    /// The header's name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether it takes the place of all lines of this name; otherwise it is one more.
    pub overwrite: bool,
}

impl HeaderChanges {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }

    /// One list of this and what follows it: all removals come first.
    pub fn extend(&mut self, after: Self) {
        self.remove.extend(after.remove);
        self.add.extend(after.add);
    }

    /// Makes the changes. A name that is both removed and set ends up set.
    pub fn apply(&self, headers: &mut dyn HeaderEdit) {
        for name in &self.remove {
            headers.remove(name);
        }
        for HeaderAdd {
            name,
            value,
            overwrite,
        } in &self.add
        {
            match overwrite {
                true => headers.set(name, value),
                false => headers.add(name, value),
            }
        }
    }
}

/// Headers that can be changed.
pub trait HeaderEdit {
    /// Removes all lines of a header.
    fn remove(&mut self, name: &str);
    /// Replaces all lines of a header by one.
    fn set(&mut self, name: &str, value: &str);
    /// Adds a line.
    fn add(&mut self, name: &str, value: &str);
}
