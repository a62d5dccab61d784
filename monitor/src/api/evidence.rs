//! What is known of the file that a process executes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::{ExecutableFacts, FileFacts};

/// The file that a process executes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// All of it in one line, for a person.
    pub summary: String,
    /// The file.
    #[serde(flatten)]
    pub file: File,
    /// Whether it was deleted or replaced since the process executed it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub deleted: bool,
    /// Whether it was in memory alone (memfd_create(2)).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub memfd: bool,
    /// Whether it gives the rights of its owner to those who execute it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub setuid: bool,
    /// Whether it gives those of its group.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub setgid: bool,
    /// The build id of the GNU linker.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub build_id_gnu: Option<String>,
    /// The build id of the Go toolchain.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub build_id_go: Option<String>,
    /// The script that it interprets.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub script: Option<File>,
}

/// A file, as far as it could be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct File {
    /// Its path in the mount namespace of the process.
    pub path: String,
    /// Its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sha256: Option<String>,
    /// Why it has no hash.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unread: Option<String>,
    /// Its size in bytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub size: Option<u64>,
    /// The package that installed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub package: Option<Package>,
    /// Whether it differs from what the package installed; absent if the package does not say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub modified: Option<bool>,
    /// Whether every user may write to a folder on its path.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub in_writable_folder: bool,
}

/// An installed package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Package {
    /// The database that has it: `dpkg`, `rpm` or `apk`.
    pub manager: String,
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<String>,
}

impl From<&ExecutableFacts> for Evidence {
    fn from(facts: &ExecutableFacts) -> Self {
        Self {
            summary: facts.sentence(),
            file: File::from(&facts.file),
            deleted: facts.is_deleted,
            memfd: facts.is_memfd,
            setuid: facts.is_setuid,
            setgid: facts.is_setgid,
            build_id_gnu: facts.gnu_build_id.clone(),
            build_id_go: facts.go_build_id.clone(),
            script: facts.script.as_ref().map(File::from),
        }
    }
}

impl From<&FileFacts> for File {
    fn from(facts: &FileFacts) -> Self {
        let package = facts.package.as_ref().map(|package| Package {
            manager: package.manager.name().to_owned(),
            name: package.name.clone(),
            version: package.version.clone(),
            origin: package.origin.clone(),
        });
        Self {
            path: facts.path.clone(),
            sha256: facts.sha256.clone(),
            unread: facts.unread.map(str::to_owned),
            size: facts.size,
            package,
            modified: facts.is_modified,
            in_writable_folder: facts.is_in_writable_folder,
        }
    }
}
