//! The result of the last selftest of this boot, in a file that `ghostport selftest` writes and the
//! agent reads at each scrape.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Folder of the agent, on a file system that is empty after a boot.
pub const FOLDER: &str = "/run/ghostport";

/// Name of the file in [`FOLDER`].
const FILE: &str = "selftest.json";

const SCHEMA: &str = "ghostport.selftest/1";

/// The result of a selftest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelftestResult {
    schema: String,
    /// Whether everything was seen.
    pub success: bool,
    /// When it ended.
    pub time: Timestamp,
}

impl SelftestResult {
    /// The result of a selftest that ended at `time`.
    pub fn new(success: bool, time: Timestamp) -> Self {
        Self { schema: SCHEMA.to_owned(), success, time }
    }

    /// The result of the last selftest; `None` without one, and of a file in another format.
    pub fn read(folder: &Path) -> Option<Self> {
        let result: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        (result.schema == SCHEMA).then_some(result)
    }

    /// Replaces the file atomically. The folder may belong to the user of an agent that is not root's:
    /// the draft is created exclusively, so that a symbolic link there cannot redirect the write.
    ///
    /// # Errors
    /// The folder or the file cannot be created, written or renamed.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o755).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let draft = folder.join(format!("{FILE}.new"));
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(draft, folder.join(FILE))
    }
}

#[cfg(test)]
mod tests {
    use std::{env, os::unix::fs::symlink, process};

    use super::*;

    #[test]
    fn reads_back_the_last_result_and_follows_no_link() {
        let folder = env::temp_dir().join(format!("ghostport-selftest-{}", process::id()));
        assert_eq!(SelftestResult::read(&folder), None);
        for success in [true, false] {
            let result = SelftestResult::new(success, Timestamp::UNIX_EPOCH);
            result.write(&folder).expect("written");
            assert_eq!(SelftestResult::read(&folder), Some(result));
        }
        let elsewhere = folder.join("elsewhere");
        fs::write(&elsewhere, "precious").expect("written");
        symlink(&elsewhere, folder.join("selftest.json.new")).expect("a link");
        SelftestResult::new(true, Timestamp::UNIX_EPOCH).write(&folder).expect("written");
        assert_eq!(fs::read(&elsewhere).expect("read"), b"precious");
        fs::write(folder.join(FILE), "{}").expect("written");
        assert_eq!(SelftestResult::read(&folder), None, "something else");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
