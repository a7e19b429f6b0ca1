//! The files of one test, in a directory that is removed with it.

use std::fs;

pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new(files: &[(&str, impl AsRef<[u8]>)]) -> Self {
        let directory = Self(tempfile::tempdir().unwrap());
        for (name, content) in files {
            directory.write(name, content);
        }
        directory
    }

    /// Writes a file, and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}
