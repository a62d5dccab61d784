//! The process of an event.

use std::ops::Not;

use jiff::Timestamp;
use monitor_common::socket_record::Caller;
use serde::{Serialize, Serializer};

use super::context::EventContext;
use crate::process::{Ancestor, CommandLine, Identity, User, text};

/// The process that made a call or holds a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct CallerFields {
    #[serde(rename = "process.pid")]
    pub pid: u32,
    #[serde(rename = "process.parent_pid", skip_serializing_if = "Option::is_none")]
    pub parent_pid: Option<u32>,
    #[serde(
        rename = "process.creation.time",
        serialize_with = "optional_nanosecond_rfc3339",
        skip_serializing_if = "Option::is_none"
    )]
    pub creation_time: Option<Timestamp>,
    #[serde(rename = "process.executable.name", skip_serializing_if = "Option::is_none")]
    pub executable_name: Option<String>,
    #[serde(rename = "process.command_args", skip_serializing_if = "Option::is_none")]
    pub command_args: Option<Vec<String>>,
    #[serde(rename = "ghostport.command_args_truncated", skip_serializing_if = "Not::not")]
    pub command_args_truncated: bool,
    #[serde(rename = "thread.id", skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<u32>,
    #[serde(rename = "thread.name", skip_serializing_if = "Option::is_none")]
    pub thread_name: Option<String>,
    #[serde(rename = "process.user.id", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    #[serde(rename = "process.real_user.id", skip_serializing_if = "Option::is_none")]
    pub real_user_id: Option<u32>,
    #[serde(rename = "ghostport.real_group_id", skip_serializing_if = "Option::is_none")]
    pub real_group_id: Option<u32>,
    #[serde(rename = "ghostport.cgroup_id", skip_serializing_if = "Option::is_none")]
    pub cgroup_id: Option<u64>,
    #[serde(flatten)]
    pub identity: IdentityFields,
}

/// What `/proc` and the control group add.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by the name it is serialized with")]
pub struct IdentityFields {
    #[serde(rename = "process.executable.path", skip_serializing_if = "Option::is_none")]
    pub executable_path: Option<String>,
    #[serde(rename = "ghostport.executable_deleted", skip_serializing_if = "Not::not")]
    pub executable_deleted: bool,
    #[serde(rename = "process.user.name", skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    #[serde(rename = "process.real_user.name", skip_serializing_if = "Option::is_none")]
    pub real_user_name: Option<String>,
    #[serde(rename = "process.linux.cgroup", skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    #[serde(rename = "container.id", skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    #[serde(rename = "k8s.pod.uid", skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    #[serde(rename = "ghostport.systemd_unit", skip_serializing_if = "Option::is_none")]
    pub systemd_unit: Option<String>,
    #[serde(rename = "ghostport.ancestors", skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<AncestorFields>,
}

/// A process that the caller descends from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "every field is explained by its name")]
pub struct AncestorFields {
    pub pid: u32,
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<String>,
}

impl CallerFields {
    /// What the kernel side captured at the moment of the call.
    pub(super) fn captured(caller: &Caller, context: &EventContext) -> Self {
        let command_line = caller.command_line.as_ref();
        Self {
            pid: caller.tgid,
            parent_pid: caller.parent_tgid,
            creation_time: caller.start_time_ns.and_then(|time| context.time_of_day(time)),
            executable_name: caller.process_name.and_then(|name| text::name(name.as_bytes())),
            command_args: command_line.map(|line| text::arguments(&line.bytes)),
            command_args_truncated: command_line.is_some_and(|line| line.is_truncated),
            thread_id: caller.tid.map(Into::into),
            thread_name: text::name(caller.thread_name.as_bytes()),
            user_id: caller.effective_uid,
            real_user_id: Some(caller.uid),
            real_group_id: Some(caller.gid),
            cgroup_id: caller.cgroup_id.map(Into::into),
            identity: IdentityFields::default(),
        }
    }

    /// A process that was found in `/proc`, without a call.
    pub(super) fn found(identity: &Identity) -> Self {
        let id = |user: &Option<User>| user.as_ref().map(|user| user.id);
        let mut caller = Self {
            pid: identity.pid,
            user_id: id(&identity.effective_user),
            real_user_id: id(&identity.real_user),
            ..Self::default()
        };
        caller.complete(identity);
        caller
    }

    /// Adds what `/proc` says. Fields that the kernel side captured keep their values, because they
    /// are those of the moment of the call.
    pub(super) fn complete(&mut self, identity: &Identity) {
        self.parent_pid = self.parent_pid.or(identity.parent_pid);
        self.creation_time = self.creation_time.or(identity.creation_time);
        if self.executable_name.is_none() {
            self.executable_name.clone_from(&identity.name);
        }
        if let Some(CommandLine { arguments, is_truncated }) = &identity.command_line {
            self.command_args = Some(arguments.clone());
            self.command_args_truncated = *is_truncated;
        }
        self.identity = IdentityFields::from(identity);
    }
}

impl From<&Identity> for IdentityFields {
    fn from(identity: &Identity) -> Self {
        let name = |user: &Option<User>| user.as_ref().and_then(|user| user.name.clone());
        let cgroup = identity.cgroup.as_deref();
        let unit = cgroup.and_then(|cgroup| cgroup.unit.as_ref());
        Self {
            executable_path: identity.executable.as_ref().map(|exe| exe.path.clone()),
            executable_deleted: identity.executable.as_ref().is_some_and(|exe| exe.is_deleted),
            user_name: name(&identity.effective_user),
            real_user_name: name(&identity.real_user),
            cgroup: cgroup.map(|cgroup| cgroup.path.clone()),
            container_id: cgroup.and_then(|cgroup| cgroup.container_id.clone()),
            pod_uid: cgroup.and_then(|cgroup| cgroup.pod_uid.clone()),
            systemd_unit: unit.map(|unit| unit.name.clone()),
            ancestors: identity.ancestors.iter().map(AncestorFields::from).collect(),
        }
    }
}

impl From<&Ancestor> for AncestorFields {
    fn from(ancestor: &Ancestor) -> Self {
        Self {
            pid: ancestor.pid,
            name: ancestor.name.clone(),
            executable: ancestor.executable.as_ref().map(|exe| exe.path.clone()),
        }
    }
}

pub(super) fn optional_nanosecond_rfc3339<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => nanosecond_rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339 with nine digits of the second.
pub(super) fn nanosecond_rfc3339<S: Serializer>(
    time: &Timestamp,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.9}"))
}
