//! What the expectations of the configuration are compared with.

use crate::{config::Owner, process::Identity};

/// A process as the configuration describes owners. A file that was deleted since the process was
/// started is not the file at its path.
pub(super) fn owner(process: &Identity) -> Owner<'_> {
    let cgroup = process.cgroup.as_deref();
    let executable = process.executable.as_ref().filter(|executable| !executable.is_deleted);
    let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
    Owner {
        executable: executable.map(|executable| executable.path.as_str()),
        executable_is_hosts: process.executable_is_hosts,
        user_name: process.effective_user.as_ref().and_then(|user| user.name.as_deref()),
        user_id: process.effective_user.as_ref().map(|user| user.id),
        systemd_unit: unit.filter(|unit| unit.is_of_system()).map(|unit| unit.name.as_str()),
        container_id: cgroup.and_then(|cgroup| cgroup.container_id.as_deref()),
    }
}
