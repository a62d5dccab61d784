//! The namespaces of the host.

use std::{io, process, sync::LazyLock};

use super::proc_dir::ProcessDir;

/// The namespaces in which paths and users mean what they mean to the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostsNamespaces {
    user: Option<u32>,
    /// That of the first process, which this one may not be allowed to look at.
    first_mounts: Option<u32>,
    own_mounts: Option<u32>,
}

impl HostsNamespaces {
    pub(super) fn get() -> Self {
        static HOSTS: LazyLock<HostsNamespaces> = LazyLock::new(|| {
            let of = |pid, read: fn(&ProcessDir) -> io::Result<u32>| {
                read(&ProcessDir::open(pid).ok()?).ok()
            };
            let own = process::id();
            HostsNamespaces {
                user: of(1, ProcessDir::user_namespace)
                    .or_else(|| of(own, ProcessDir::user_namespace)),
                first_mounts: of(1, ProcessDir::mount_namespace),
                own_mounts: of(own, ProcessDir::mount_namespace),
            }
        });
        *HOSTS
    }

    /// Whether a user namespace is that of the first process, or of this one where the first may not be
    /// looked at.
    pub(super) fn has_user_namespace(self, inode: u32) -> bool {
        self.user == Some(inode)
    }

    /// Whether a mount namespace is that of the first process or of this one. Where the first may not be
    /// looked at, any may be the host's; the numbers of files say enough then.
    pub(super) fn has_mount_namespace(self, inode: u32) -> bool {
        let known = [self.first_mounts, self.own_mounts];
        self.first_mounts.is_none() || known.contains(&Some(inode))
    }
}
