//! The explanation of a code: its section of `docs/vet.md`, and its fixtures.

use crate::vet::Code;

/// What a [`Code`] means, as `tower-mesh vet --explain` prints it; given by [`Code::explanation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// What it means, why it matters and what to do: its section of `docs/vet.md`, in Markdown.
    pub text: &'static str,
    /// Resources that get the note, at the lines that end in `# <-` or follow a `# <-next`.
    pub example: &'static str,
    /// The same resources corrected: these get no note.
    pub remedy: &'static str,
}

impl Code {
    /// What it means, with an example.
    ///
    /// ```
    /// use tower_mesh::vet::Code;
    ///
    /// let explanation = Code::MethodLowerCase.explanation();
    /// assert!(explanation.text.contains("clients send upper case"));
    /// assert!(explanation.example.contains("# <-"));
    /// ```
    #[must_use]
    pub fn explanation(self) -> Explanation {
        let (example, remedy) = self.examples();
        Explanation {
            text: section(self).unwrap_or_else(|| self.summary()).trim(),
            example,
            remedy,
        }
    }
}

/// The section of the page about a code.
fn section(code: Code) -> Option<&'static str> {
    let mut sections = PAGE.split("\n### `").skip(1);
    sections.find_map(|section| {
        let text = section.strip_prefix(code.as_str())?;
        text.strip_prefix("`\n")
    })
}

const PAGE: &str = include_str!("../../../docs/vet.md");
