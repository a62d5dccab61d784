//! Writing into folders.
//!
//! An agent or a command of root also writes where the agent's own user may. What that user has put
//! there must not lead a write elsewhere: a folder is opened once, and then nothing is followed.

use std::{
    fs::{self, File, Metadata},
    io::{self, Write as _},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    process,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, fchmod, fchown, fstat, mkdirat, openat, renameat, unlinkat},
    process::geteuid,
};

use crate::modes::SHARED;

/// An open folder into which no other user but root and its owner may write.
#[derive(Debug)]
pub struct OwnFolder(OwnedFd);

impl OwnFolder {
    /// Opens a folder of this user, of root or, as root, of any user. If it is missing, it is made with
    /// this mode, whatever the umask is.
    ///
    /// # Errors
    ///
    /// It cannot be made or opened, it is a link, it is another user's, or others may write into it.
    pub fn open_or_make(path: &Path, mode: u32) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(mode);
        let is_new = match mkdirat(CWD, path, mode) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let folder = Self::open(path)?;
        if is_new {
            fchmod(&folder.0, mode)?;
        }
        Ok(folder)
    }

    /// Opens a folder that is there, as [`Self::open_or_make`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = openat(CWD, path, flags, Mode::empty())?;
        let found = fstat(&folder)?;
        if !is_trusted(found.st_uid) {
            return Err(refused(format!("it belongs to user {}", found.st_uid)));
        }
        if found.st_mode & SHARED != 0 {
            let mode = found.st_mode & 0o7777;
            return Err(refused(format!("others may write to it (mode {mode:04o})")));
        }
        Ok(Self(folder))
    }

    /// Makes it this user's.
    ///
    /// # Errors
    ///
    /// It is another user's, and this process may not change that.
    pub fn take(&self) -> io::Result<()> {
        let own = geteuid();
        if fstat(&self.0)?.st_uid == own.as_raw() {
            return Ok(());
        }
        Ok(fchown(&self.0, Some(own), None)?)
    }

    /// Replaces a file, or makes it: whole, or not at all, also after a power loss. Its mode is this one,
    /// whatever the umask is.
    ///
    /// # Errors
    ///
    /// A file cannot be made, written or renamed there.
    pub fn replace(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        let draft = format!("{name}.{}", process::id());
        // One that a killed process with this id left, or a link.
        match unlinkat(&self.0, &*draft, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let exclusive = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, &*draft, exclusive, Mode::RUSR | Mode::WUSR)?);
        let written = write(file, content, Mode::from_raw_mode(mode))
            .and_then(|()| Ok(renameat(&self.0, &*draft, &self.0, name)?));
        if written.is_err() {
            // The first error counts.
            let _ = unlinkat(&self.0, &*draft, AtFlags::empty());
        }
        written
    }
}

impl AsFd for OwnFolder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// An error for a file at `path` that this process should not write to: another user's, or a file of
/// root that root would reach by a name which another user has given it.
///
/// # Errors
///
/// The file is such a one, or its folder cannot be looked at.
pub fn check_file(path: &Path, found: &Metadata) -> io::Result<()> {
    let folder = fs::metadata(folder_of(path))?.uid();
    let (own, owner) = (geteuid().as_raw(), found.uid());
    if owner != own && owner != 0 && !(own == 0 && owner == folder) {
        return Err(refused(format!("it belongs to user {owner}")));
    }
    if own == 0 && owner == 0 && folder != 0 && found.nlink() > 1 {
        return Err(refused(format!("user {folder} may have linked it there")));
    }
    Ok(())
}

fn write(mut file: File, content: &[u8], mode: Mode) -> io::Result<()> {
    file.write_all(content)?;
    fchmod(&file, mode)?;
    file.sync_all()
}

/// Whether a user may have a say in what this process writes: this one, root, and for root all, because
/// nothing is followed.
fn is_trusted(user: u32) -> bool {
    let own = geteuid();
    own.is_root() || user == own.as_raw() || user == 0
}

fn refused(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt as _, chown, symlink},
        path::PathBuf,
    };

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("ghostport-folder-{name}-{}", process::id()))
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("it is there").permissions().mode() & 0o7777
    }

    #[test]
    fn replaces_a_file_and_follows_no_link() {
        let path = scratch("links");
        let folder = OwnFolder::open_or_make(&path, 0o755).expect("a folder");
        assert_eq!(mode(&path), 0o755);
        let precious = path.join("precious");
        fs::write(&precious, "precious").expect("written");
        for link in ["file".to_owned(), format!("file.{}", process::id())] {
            symlink(&precious, path.join(link)).expect("a link");
        }
        folder.replace("file", b"new", 0o640).expect("replaced");
        assert_eq!(fs::read(&precious).expect("read"), b"precious");
        let file = path.join("file");
        assert_eq!((fs::read(&file).expect("read"), mode(&file)), (b"new".to_vec(), 0o640));
        folder.replace("file", b"newer", 0o644).expect("replaced");
        assert_eq!((fs::read(&file).expect("read"), mode(&file)), (b"newer".to_vec(), 0o644));
        assert_eq!(fs::read_dir(&path).expect("listed").count(), 2, "no draft is left");
        folder.take().expect("it is ours");
        fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn rejects_files_of_others_and_links_that_others_made() {
        let path = scratch("files");
        drop(OwnFolder::open_or_make(&path, 0o755).expect("a folder"));
        let (file, link) = (path.join("file"), path.join("link"));
        fs::write(&file, "").expect("written");
        let checked = |file: &Path| check_file(file, &fs::symlink_metadata(file).expect("found"));
        checked(&file).expect("our own");
        fs::hard_link(&file, &link).expect("linked");
        checked(&link).expect("we made it");
        if geteuid().is_root() {
            chown(&path, Some(4711), None).expect("given away");
            let error = checked(&link).expect_err("they may have made it");
            assert!(error.to_string().contains("user 4711 may have linked it"), "{error}");
            chown(&file, Some(4711), None).expect("given away");
            checked(&file).expect("root's agent may take over from the user's");
            chown(&path, Some(0), None).expect("taken back");
            let error = checked(&file).expect_err("another user's");
            assert!(error.to_string().contains("belongs to user 4711"), "{error}");
        }
        fs::remove_dir_all(path).expect("removed");
    }

    #[test]
    fn rejects_links_and_folders_that_others_may_write() {
        let path = scratch("shared");
        drop(OwnFolder::open_or_make(&path, 0o755).expect("a folder"));
        let link = scratch("link");
        symlink(&path, &link).expect("a link");
        assert!(OwnFolder::open_or_make(&link, 0o755).is_err());
        fs::set_permissions(&path, Permissions::from_mode(0o775)).expect("shared");
        let refused = OwnFolder::open(&path).expect_err("shared");
        assert!(refused.to_string().contains("mode 0775"), "{refused}");
        fs::remove_file(link).expect("removed");
        fs::remove_dir(path).expect("removed");
    }
}
