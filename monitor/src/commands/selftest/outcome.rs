//! How the last selftest of this boot ended, in a file: the agent reads it at each scrape.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Folder of the agent, which is empty after a boot.
pub const FOLDER: &str = "/run/ghostport";

/// Name of the file in it.
const FILE: &str = "selftest.json";

const SCHEMA: &str = "ghostport.selftest/1";

/// How a selftest ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    schema: String,
    /// Whether everything was seen.
    pub success: bool,
    /// When it ended.
    pub time: Timestamp,
}

impl Outcome {
    /// Of a selftest that ended at `time`.
    pub fn new(success: bool, time: Timestamp) -> Self {
        Self { schema: SCHEMA.to_owned(), success, time }
    }

    /// Of the last selftest, if there was one.
    pub fn read(folder: &Path) -> Option<Self> {
        let outcome: Self = serde_json::from_slice(&fs::read(folder.join(FILE)).ok()?).ok()?;
        (outcome.schema == SCHEMA).then_some(outcome)
    }

    /// Writes it, whole or not at all. The folder may be that of an agent of another user, who must
    /// not lead root elsewhere by a link: the file is a new one.
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
    fn the_last_outcome_is_read_back() {
        let folder = env::temp_dir().join(format!("ghostport-selftest-{}", process::id()));
        assert_eq!(Outcome::read(&folder), None);
        for success in [true, false] {
            let outcome = Outcome::new(success, Timestamp::UNIX_EPOCH);
            outcome.write(&folder).expect("written");
            assert_eq!(Outcome::read(&folder), Some(outcome));
        }
        let elsewhere = folder.join("elsewhere");
        fs::write(&elsewhere, "precious").expect("written");
        symlink(&elsewhere, folder.join("selftest.json.new")).expect("a link");
        Outcome::new(true, Timestamp::UNIX_EPOCH).write(&folder).expect("written");
        assert_eq!(fs::read(&elsewhere).expect("read"), b"precious");
        fs::write(folder.join(FILE), "{}").expect("written");
        assert_eq!(Outcome::read(&folder), None, "something else");
        fs::remove_dir_all(&folder).expect("removed");
    }
}
