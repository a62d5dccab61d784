//! The name of a process' pod.

use std::sync::Arc;

use super::{identity::Identity, proc_dir::ProcessDir};

/// The pod of the first of `holders`: its name, or its uid where the name cannot be read; `None` if the
/// process is in no pod.
///
/// A kubelet gives every container the pod's name as `HOSTNAME`, unless it has the host's network.
pub(crate) fn of_first(holders: &[Arc<Identity>]) -> Option<String> {
    let holder = holders.first()?;
    let uid = holder.cgroup.as_ref()?.pod_uid.clone()?;
    let environment = ProcessDir::open(holder.pid).and_then(|process| process.environment());
    Some(environment.ok().and_then(|environment| host_name(&environment)).unwrap_or(uid))
}

/// The variable, if its value is a name that a pod may have (RFC 1123).
fn host_name(environment: &[u8]) -> Option<String> {
    let variables = environment.split(|byte| *byte == 0);
    let value = variables.into_iter().find_map(|variable| variable.strip_prefix(b"HOSTNAME="))?;
    let is_of_name = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.')
    };
    let is_name = !value.is_empty() && value.len() <= 253 && value.iter().all(is_of_name);
    is_name.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_in_an_environment() {
        let environment = b"PATH=/bin\0HOSTNAME=web-7d4b9c6f5-x2x8z\0HOME=/\0";
        assert_eq!(host_name(environment).as_deref(), Some("web-7d4b9c6f5-x2x8z"));
        assert_eq!(host_name(b"HOSTNAME=A B\0"), None);
        assert_eq!(host_name(b"XHOSTNAME=a\0"), None);
    }
}
