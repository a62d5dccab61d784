//! Groups of fields that only some kinds of events have.

use std::{net::IpAddr, ops::Not};

use monitor_identify::{Details, Grade, Verdict};
use serde::Serialize;

use super::body::ExecutableFound;

/// The conversation of an identification, beside its local end.
#[derive(Serialize)]
pub(super) struct ConversationFields<'a> {
    #[serde(rename = "ghostport.port")]
    pub(super) port: u16,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<IpAddr>,
    #[serde(rename = "network.peer.port", skip_serializing_if = "Option::is_none")]
    pub(super) peer_port: Option<u16>,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<&'a str>,
    #[serde(rename = "network.io.direction")]
    pub(super) io_direction: &'static str,
    #[serde(rename = "ghostport.verdict")]
    pub(super) verdict: Verdict,
    #[serde(rename = "ghostport.grade")]
    pub(super) grade: Grade,
    #[serde(rename = "ghostport.details", skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<&'a Details>,
    #[serde(rename = "ghostport.payload_size", skip_serializing_if = "Option::is_none")]
    pub(super) payload_size: Option<usize>,
    #[serde(rename = "ghostport.payload_sha256", skip_serializing_if = "Option::is_none")]
    pub(super) payload_sha256: Option<&'a str>,
    #[serde(rename = "ghostport.payload_hex", skip_serializing_if = "Option::is_none")]
    pub(super) payload_hex: Option<&'a str>,
}

/// The far end of a call that sends to a watched port of another host, or of a packet.
#[derive(Serialize)]
pub(super) struct ConnectFields {
    #[serde(rename = "ghostport.port")]
    pub(super) port: u16,
    #[serde(rename = "network.peer.address", skip_serializing_if = "Option::is_none")]
    pub(super) peer_address: Option<IpAddr>,
    #[serde(rename = "network.peer.port")]
    pub(super) peer_port: u16,
}

/// What a socket takes, beside its path.
#[derive(Serialize)]
pub(super) struct CaptureFields<'a> {
    #[serde(rename = "ghostport.port", skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<u16>,
    #[serde(rename = "ghostport.ports", skip_serializing_if = "<[u16]>::is_empty")]
    pub(super) ports: &'a [u16],
    #[serde(rename = "ghostport.filter")]
    pub(super) filter: &'a str,
}

/// What a summary adds to what its events have in common.
#[derive(Default, Serialize)]
pub(super) struct SummaryFields {
    #[serde(rename = "ghostport.summary_of")]
    pub(super) of: &'static str,
    #[serde(rename = "ghostport.processes", skip_serializing_if = "Option::is_none")]
    pub(super) processes: Option<u64>,
    #[serde(rename = "ghostport.peers", skip_serializing_if = "Option::is_none")]
    pub(super) peers: Option<u64>,
    #[serde(rename = "ghostport.peer_network", skip_serializing_if = "Option::is_none")]
    pub(super) peer_network: Option<String>,
    #[serde(rename = "ghostport.bytes", skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
}

/// What was found out about the file that a process executes.
#[derive(Serialize)]
pub(super) struct ExecutableFields<'a> {
    /// The port, where the socket has none.
    #[serde(rename = "ghostport.port", skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(rename = "ghostport.executable_sha256", skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
    #[serde(rename = "ghostport.executable_size", skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(rename = "process.executable.build_id.gnu", skip_serializing_if = "Option::is_none")]
    gnu_build_id: Option<&'a str>,
    #[serde(rename = "process.executable.build_id.go", skip_serializing_if = "Option::is_none")]
    go_build_id: Option<&'a str>,
    #[serde(rename = "ghostport.package", skip_serializing_if = "Option::is_none")]
    package: Option<&'a str>,
    #[serde(rename = "ghostport.package_version", skip_serializing_if = "Option::is_none")]
    package_version: Option<&'a str>,
    #[serde(rename = "ghostport.package_origin", skip_serializing_if = "Option::is_none")]
    package_origin: Option<&'a str>,
    #[serde(rename = "ghostport.package_manager", skip_serializing_if = "Option::is_none")]
    package_manager: Option<&'static str>,
    #[serde(rename = "ghostport.executable_modified", skip_serializing_if = "Option::is_none")]
    is_modified: Option<bool>,
    #[serde(rename = "ghostport.executable_memfd", skip_serializing_if = "Not::not")]
    is_memfd: bool,
    #[serde(rename = "ghostport.executable_in_writable_folder", skip_serializing_if = "Not::not")]
    is_in_writable_folder: bool,
    #[serde(rename = "ghostport.executable_setuid", skip_serializing_if = "Not::not")]
    is_setuid: bool,
    #[serde(rename = "ghostport.executable_setgid", skip_serializing_if = "Not::not")]
    is_setgid: bool,
    #[serde(rename = "ghostport.script", skip_serializing_if = "Option::is_none")]
    script: Option<&'a str>,
    #[serde(rename = "ghostport.script_sha256", skip_serializing_if = "Option::is_none")]
    script_sha256: Option<&'a str>,
    #[serde(rename = "ghostport.script_package", skip_serializing_if = "Option::is_none")]
    script_package: Option<&'a str>,
    #[serde(rename = "ghostport.script_package_version", skip_serializing_if = "Option::is_none")]
    script_package_version: Option<&'a str>,
    #[serde(rename = "ghostport.script_modified", skip_serializing_if = "Option::is_none")]
    script_is_modified: Option<bool>,
    #[serde(rename = "ghostport.script_in_writable_folder", skip_serializing_if = "Not::not")]
    script_is_in_writable_folder: bool,
}

impl<'a> From<&'a ExecutableFound> for ExecutableFields<'a> {
    fn from(found: &'a ExecutableFound) -> Self {
        let ExecutableFound { socket, port, facts, .. } = found;
        let (file, script) = (&facts.file, facts.script.as_ref());
        let package = file.package.as_ref();
        let script_package = script.and_then(|script| script.package.as_ref());
        Self {
            port: port.filter(|_| socket.local_port.is_none()),
            sha256: file.sha256.as_deref(),
            size: file.size,
            gnu_build_id: facts.gnu_build_id.as_deref(),
            go_build_id: facts.go_build_id.as_deref(),
            package: package.map(|package| package.name.as_str()),
            package_version: package.and_then(|package| package.version.as_deref()),
            package_origin: package.and_then(|package| package.origin.as_deref()),
            package_manager: package.map(|package| package.manager.name()),
            is_modified: file.is_modified,
            is_memfd: facts.is_memfd,
            is_in_writable_folder: file.is_in_writable_folder,
            is_setuid: facts.is_setuid,
            is_setgid: facts.is_setgid,
            script: script.map(|script| script.path.as_str()),
            script_sha256: script.and_then(|script| script.sha256.as_deref()),
            script_package: script_package.map(|package| package.name.as_str()),
            script_package_version: script_package.and_then(|package| package.version.as_deref()),
            script_is_modified: script.and_then(|script| script.is_modified),
            script_is_in_writable_folder: script.is_some_and(|script| script.is_in_writable_folder),
        }
    }
}

/// The hook of a change, beside its mechanism.
#[derive(Serialize)]
pub(super) struct HookFields<'a> {
    #[serde(rename = "ghostport.hook")]
    pub(super) hook: &'static str,
    #[serde(rename = "network.interface.name", skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<&'a str>,
}
