//! The user that packages make for the agent, which an agent that root started becomes.

use std::{fs, io, path::Path};

use rustix::{
    fs::{Access, AtFlags, CWD, Gid, Uid, accessat, chownat, fchown, fstat, statat},
    process::{getegid, geteuid, getgroups},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
        set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use crate::own_folder::{OwnFolder, folder_of};

/// Name of the user, and of its group.
pub const NAME: &str = "ghostport";

/// The folders of the agent's user, as the unit has them: run-time, state and logs, with their modes.
const FOLDERS: [(&str, u32); 3] =
    [("/run/ghostport", 0o755), ("/var/lib/ghostport", 0o750), ("/var/log/ghostport", 0o750)];

/// The user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnUser {
    user: Uid,
    group: Gid,
    /// The other groups that it is a member of.
    groups: Vec<Gid>,
}

impl OwnUser {
    /// The user in this host's `/etc/passwd`, if there is one that is not root.
    pub fn find() -> Option<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/passwd"), &read("/etc/group"))
    }

    fn parse(users: &str, groups: &str) -> Option<Self> {
        let mut ids = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(NAME)).then(|| fields.skip(1).map_while(|id| id.parse().ok()))
        })?;
        let (user, group) = (ids.next().filter(|user| *user != 0)?, ids.next()?);
        let other = groups.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [_, _, id, members] = fields[..] else { return None };
            let is_member = members.split(',').any(|member| member == NAME);
            id.parse().ok().filter(|_| is_member).map(Gid::from_raw)
        });
        let group = Gid::from_raw(group);
        Some(Self { user: Uid::from_raw(user), group, groups: other.collect() })
    }

    /// Gives the user the folders that are its own by the packages' unit, and what root has left in them.
    /// Those that are missing are made.
    ///
    /// # Errors
    ///
    /// A folder is another user's, a link or writable for others, or something in it cannot be given.
    pub fn give_folders(&self) -> io::Result<()> {
        for (path, mode) in FOLDERS {
            let given = OwnFolder::open_or_make(Path::new(path), mode)
                .and_then(|folder| self.give(&folder, Path::new(path)));
            given.map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
        }
        Ok(())
    }

    fn give(&self, folder: &OwnFolder, path: &Path) -> io::Result<()> {
        let owner = fstat(folder)?.st_uid;
        if owner != 0 && owner != self.user.as_raw() {
            return Err(io::Error::other(format!("it belongs to user {owner}")));
        }
        let (user, group) = (Some(self.user), Some(self.group));
        for entry in fs::read_dir(path)? {
            let name = entry?.file_name();
            let found = statat(folder, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            // Neither a link nor a file that has another name elsewhere.
            let is_file = found.st_mode & libc::S_IFMT == libc::S_IFREG && found.st_nlink == 1;
            if is_file && found.st_uid == 0 {
                chownat(folder, &*name, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        if owner == 0 {
            fchown(folder, user, group)?;
        }
        Ok(())
    }

    /// Whether the user may write at `path`, with no other right than to read everything: to the file if
    /// there is one, and into its folder.
    ///
    /// To be called by root, on the only thread.
    ///
    /// # Errors
    ///
    /// The user may not, or this process may not act as the user.
    pub fn check_writable(&self, path: &Path) -> io::Result<()> {
        let before = (getgroups()?, getegid(), geteuid(), capabilities(None)?);
        let checked = self.act().and_then(|()| may_write(path));
        let (groups, group, user, sets) = before;
        // The real ids are root's all the time.
        set_thread_res_uid(None, user, None)?;
        set_thread_res_gid(None, group, None)?;
        set_capabilities(None, sets)?;
        set_thread_groups(&groups)?;
        checked
    }

    /// Takes the effective ids of the user, and the right to read.
    fn act(&self) -> io::Result<()> {
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(None, self.group, None)?;
        set_thread_res_uid(None, self.user, None)?;
        let sets = capabilities(None)?;
        let effective = CapabilitySet::DAC_READ_SEARCH & sets.permitted;
        Ok(set_capabilities(None, CapabilitySets { effective, ..sets })?)
    }

    /// Becomes the user for good, with the capabilities that this process has.
    ///
    /// Ids belong to threads. To be called on the first thread, while it is the only one.
    ///
    /// # Errors
    ///
    /// There are other threads, or this process may not change its user. Then it may have other groups.
    pub fn become_it(&self) -> io::Result<()> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("another thread would stay root"));
        }
        set_keep_capabilities(true)?;
        set_thread_groups(&self.groups)?;
        set_thread_res_gid(self.group, self.group, self.group)?;
        set_thread_res_uid(self.user, self.user, self.user)?;
        set_keep_capabilities(false)?;
        let sets = capabilities(None)?;
        Ok(set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })?)
    }
}

fn may_write(path: &Path) -> io::Result<()> {
    let check = |path: &Path, access| accessat(CWD, path, access, AtFlags::EACCESS);
    let checked = match check(path, Access::WRITE_OK) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {
            check(folder_of(path), Access::WRITE_OK | Access::EXEC_OK)
        }
        refused => refused,
    };
    Ok(checked?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_user_and_its_groups() {
        let users =
            "root:x:0:0::/:/bin/sh\nghostport2:x:7:7::/:\nghostport:x:991:990::/:/bin/false\n";
        let groups = "adm:x:4:syslog,ghostport\nghostport:x:990:\nother:x:5:ghostport2\n";
        let found = OwnUser::parse(users, groups).expect("a user");
        let expected = OwnUser {
            user: Uid::from_raw(991),
            group: Gid::from_raw(990),
            groups: vec![Gid::from_raw(4)],
        };
        assert_eq!(found, expected);
        assert_eq!(OwnUser::parse("ghostport:x:0:0::/:\n", ""), None, "root by another name");
        assert_eq!(OwnUser::parse("ghostport:x:many:0::/:\n", ""), None);
        assert_eq!(OwnUser::parse("root:x:0:0::/:\n", groups), None);
    }
}
