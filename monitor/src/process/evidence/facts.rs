//! What is found out about the file that a process executes.

use std::sync::Arc;

/// How far the file that a process executes was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// It was not, or not to its end.
    #[default]
    Pending,
    /// What was found.
    Known(Arc<ExecutableFacts>),
}

/// The file that a process executes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutableFacts {
    /// The file.
    pub file: FileFacts,
    /// Whether it has been deleted or replaced since.
    pub is_deleted: bool,
    /// Whether it never had a path: memfd_create(2).
    pub is_memfd: bool,
    /// Whether it gives the rights of its owner to those who execute it.
    pub is_setuid: bool,
    /// The same of its group.
    pub is_setgid: bool,
    /// The id that the GNU linker gave it, in hexadecimal digits.
    pub gnu_build_id: Option<String>,
    /// The id that the Go toolchain gave it.
    pub go_build_id: Option<String>,
    /// The script that it interprets, if the arguments name one.
    pub script: Option<FileFacts>,
}

/// A file, as far as it could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileFacts {
    /// Its path in the mount namespace of the process.
    pub path: String,
    /// Its size in bytes; `None` if it could not be opened.
    pub size: Option<u64>,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: Option<String>,
    /// Why there is no hash.
    pub unread: Option<&'static str>,
    /// Whether every user may write into a folder on its path.
    pub is_in_writable_folder: bool,
    /// The package that installed it.
    pub package: Option<Package>,
    /// Whether it differs from what the package installed; `None` if the package does not say.
    pub is_modified: Option<bool>,
}

/// An installed package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package {
    /// What manages it.
    pub manager: PackageManager,
    /// Its name.
    pub name: String,
    /// Its version, with the release.
    pub version: Option<String>,
    /// Who made it: origin or maintainer, as the database has it.
    pub origin: Option<String>,
}

/// A database of packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PackageManager {
    /// Debian's, of Ubuntu too.
    #[default]
    Dpkg,
    /// That of Fedora, RHEL and SUSE.
    Rpm,
    /// Alpine's.
    Apk,
}

impl PackageManager {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
            Self::Apk => "apk",
        }
    }
}

impl Evidence {
    /// What was found, if the look has ended.
    pub fn known(&self) -> Option<&ExecutableFacts> {
        match self {
            Self::Pending => None,
            Self::Known(facts) => Some(facts),
        }
    }
}

impl ExecutableFacts {
    /// Facts about a file that could not be looked at.
    pub(super) fn unread(path: &str, why: &'static str) -> Self {
        let file = FileFacts { path: path.to_owned(), unread: Some(why), ..FileFacts::default() };
        Self { file, ..Self::default() }
    }

    /// Whether it has no file that could be compared with anything, or differs from what its package
    /// installed.
    pub fn is_suspicious(&self) -> bool {
        let is_modified = |file: &FileFacts| file.is_modified == Some(true);
        self.is_memfd || is_modified(&self.file) || self.script.as_ref().is_some_and(is_modified)
    }

    /// These, or what an earlier look at the same process found where this one could not: a file that was
    /// replaced since is no longer at the path that its package has.
    #[must_use]
    pub(super) fn with_earlier(mut self, earlier: &Self) -> Self {
        let is_same_file = self.file.size.is_none() || self.file.size == earlier.file.size;
        if self.file.sha256.is_none() && is_same_file && earlier.file.sha256.is_some() {
            self.file.sha256.clone_from(&earlier.file.sha256);
            self.file.unread = None;
        }
        if self.is_deleted && self.file.package.is_none() && self.file.sha256 == earlier.file.sha256
        {
            self.file.package.clone_from(&earlier.file.package);
            self.file.is_modified = earlier.file.is_modified;
        }
        self
    }

    /// One line for a person: hash, package, and what is unusual.
    pub fn sentence(&self) -> String {
        let mut parts = vec![self.file.words()];
        let marks = [
            (self.is_memfd, "in memory alone (memfd)"),
            (self.is_deleted && !self.is_memfd, "deleted"),
            (self.is_setuid, "setuid"),
            (self.is_setgid, "setgid"),
        ];
        parts.extend(marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark.to_owned()));
        if let Some(script) = &self.script {
            parts.push(format!("script {}: {}", script.path, script.words()));
        }
        parts.join(", ")
    }
}

impl FileFacts {
    fn words(&self) -> String {
        let mut parts = Vec::new();
        parts.push(match (&self.sha256, self.unread) {
            (Some(sha256), _) => format!("sha256 {sha256}"),
            (None, Some(why)) => format!("no hash: {why}"),
            (None, None) => "no hash".to_owned(),
        });
        parts.push(match (&self.package, self.is_modified) {
            (Some(package), None) => package.words(),
            (Some(package), Some(true)) => format!("{}, MODIFIED since", package.words()),
            (Some(package), Some(false)) => format!("{}, unmodified", package.words()),
            (None, _) => "of no known package".to_owned(),
        });
        if self.is_in_writable_folder {
            parts.push("in a folder that every user may write to".to_owned());
        }
        parts.join(", ")
    }
}

impl Package {
    fn words(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}"));
        format!("package {}{}", self.name, version.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_what_is_unusual() {
        let python = FileFacts {
            path: "/usr/bin/python3.13".into(),
            sha256: Some("ab12".into()),
            package: Some(Package {
                name: "python3.13-minimal".into(),
                version: Some("3.13.5-2".into()),
                ..Package::default()
            }),
            is_modified: Some(true),
            ..FileFacts::default()
        };
        let script = FileFacts {
            path: "/tmp/x.py".into(),
            unread: Some("it is larger than evidence.max_size"),
            is_in_writable_folder: true,
            ..FileFacts::default()
        };
        let facts =
            ExecutableFacts { file: python, script: Some(script), ..ExecutableFacts::default() };
        assert_eq!(
            facts.sentence(),
            "sha256 ab12, package python3.13-minimal 3.13.5-2, MODIFIED since, \
             script /tmp/x.py: no hash: it is larger than evidence.max_size, of no known package, \
             in a folder that every user may write to"
        );
        let hidden = ExecutableFacts { is_memfd: true, is_deleted: true, ..Default::default() };
        assert_eq!(hidden.sentence(), "no hash, of no known package, in memory alone (memfd)");
    }
}
