//! The facts about a host that need no hook: kernel, privileges, mounts, limits.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use rustix::{
    fs::{Access, access},
    process::{Pid, geteuid},
};
use serde::Serialize;

use monitor_kernel::{
    KernelTypes, bpffs,
    capabilities::{self, CAPABILITIES, Capability},
    cgroup, limits,
    lockdown::{self, Lockdown},
    own_user::{self, OwnUser},
    pin_folder, pins,
    running::Running,
    time_namespace::{ClockShift, clock_shift},
    tracefs,
};

use super::agent::{Agent, is_ordinary_user};
use crate::{process::proc_dir::ProcessDir, sockets};

const BPFFS: &str = "/sys/fs/bpf";

/// A fact about the host: something that the kernel side requires or profits from, or that explains
/// its state.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    /// Section of the page.
    pub(super) group: &'static str,
    pub(super) name: &'static str,
    pub(super) value: String,
    /// Whether it is as it should be; absent where this user cannot know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ok: Option<bool>,
    /// What is lost where it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) costs: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
    /// Whether the agent cannot work at all.
    is_fatal: bool,
}

impl Fact {
    pub(super) fn ok(group: &'static str, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        Self { group, name, value, ok: Some(true), costs: None, remedy: None, is_fatal: false }
    }

    pub(super) fn lost(self, costs: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { ok: Some(false), costs: Some(costs.into()), remedy: Some(remedy.into()), ..self }
    }

    /// The same, where this user may not see whether it is so.
    pub(super) fn unknown(self, value: impl Into<String>) -> Self {
        Self { ok: None, value: value.into(), ..self }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.ok == Some(false)
    }

    pub(super) fn fatal(self) -> Self {
        Self { is_fatal: true, ..self }
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.is_fatal
    }
}

/// All facts; the privileges are those of the agent where one runs, else of this process.
pub(super) fn of_host(found: &Agent) -> Vec<Fact> {
    let agent = found.pid;
    let is_limit_known = !is_ordinary_user();
    let facts = [
        Some(release()),
        Some(types()),
        Some(lockdown_mode()),
        Some(security_modules()),
        just_in_time(),
        unprivileged_bpf(),
        user_namespace(),
        pid_namespace(),
        time_namespace(),
        network_namespace(),
        Some(user(agent)),
    ];
    let capabilities = capability_facts(agent);
    let rest = [
        Some(bpf_filesystem(found)),
        Some(tracefs_mount()),
        Some(cgroup2()),
        is_limit_known.then(memlock),
        Some(packet_filters()),
    ];
    facts.into_iter().flatten().chain(capabilities).chain(rest.into_iter().flatten()).collect()
}

pub(super) const TRACEFS: &str = "tracefs";
pub(super) const CGROUP2: &str = "cgroup2";
const KERNEL: &str = "Kernel";
const PRIVILEGES: &str = "Privileges";
const MOUNTS: &str = "Mounts and limits";

fn release() -> Fact {
    let system = rustix::system::uname();
    let release = system.release().to_string_lossy();
    Fact::ok(KERNEL, "release", format!("{release} {}", system.machine().to_string_lossy()))
}

/// What is lost where no BPF program can read a socket.
const WITHOUT_SOCKETS: &str =
    "refused binds are not seen, and little is known of who binds and is gone at once";

fn types() -> Fact {
    let types = KernelTypes::of_running_kernel(&[]);
    let fact = |value: &str| Fact::ok(KERNEL, "BTF", value);
    if types.missing.is_empty() {
        fact("every struct member that is read was found")
    } else if types.find_sockets() {
        let costs = format!("unknown: {}", types.missing.join(", "));
        let remedy = "report it, with this page: this kernel has changed them";
        fact("some struct members are not found").lost(costs, remedy)
    } else {
        let costs = format!("{WITHOUT_SOCKETS}; of closes only those of TCP listeners are");
        let remedy = "use a kernel built with CONFIG_DEBUG_INFO_BTF";
        fact("no type information of this kernel").lost(costs, remedy)
    }
}

const NO_SECURITYFS: &str = "not known: securityfs is not mounted";

fn lockdown_mode() -> Fact {
    let fact = |value: &str| Fact::ok(KERNEL, "lockdown", value);
    match Lockdown::in_force() {
        Some(mode @ Lockdown::Confidentiality) => fact(mode.name()).lost(
            format!("programs may not read kernel memory: {WITHOUT_SOCKETS}; listens and closes are not, either"),
            "boot with lockdown=integrity, or accept that packets and successful binds are all that is seen",
        ),
        Some(mode) => fact(mode.name()),
        None if Path::new(lockdown::PATH).parent().is_some_and(is_empty) => {
            fact("").unknown(NO_SECURITYFS)
        }
        None => fact("this kernel has none"),
    }
}

fn security_modules() -> Fact {
    let fact = |value: &str| Fact::ok(KERNEL, "LSMs", value);
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) => fact(&list.trim().replace(',', ", ")),
        Err(_) => fact("").unknown(NO_SECURITYFS),
    }
}

/// Readable by root alone; absent otherwise.
fn just_in_time() -> Option<Fact> {
    let fact = |value: &str| Fact::ok(KERNEL, "BPF JIT", value);
    match sysctl("net/core/bpf_jit_enable")?.as_str() {
        "0" => Some(fact("off").lost(
            "programs are interpreted: a packet costs several times as much, and there is no fexit",
            "sysctl net.core.bpf_jit_enable=1",
        )),
        _ => Some(fact("on")),
    }
}

fn unprivileged_bpf() -> Option<Fact> {
    let value = match sysctl("kernel/unprivileged_bpf_disabled")?.as_str() {
        "0" => "allowed".to_owned(),
        disabled => format!("forbidden ({disabled}), which costs nothing with CAP_BPF"),
    };
    Some(Fact::ok(KERNEL, "unprivileged BPF", value))
}

/// BPF needs capabilities in the initial user namespace.
fn user_namespace() -> Option<Fact> {
    let map = fs::read_to_string("/proc/self/uid_map").ok()?;
    let is_initial = map.split_ascii_whitespace().eq(["0", "0", "4294967295"]);
    let fact = Fact::ok(PRIVILEGES, "container", "in a user namespace of its own").lost(
        "its capabilities count inside alone: the kernel lets it load nothing",
        "run it in the user namespace of the host: --userns=host, or PrivateUsers=no in the unit",
    );
    (!is_initial).then(|| fact.fatal())
}

fn pid_namespace() -> Option<Fact> {
    /// `PROC_PID_INIT_INO`, `include/linux/proc_ns.h`.
    const INITIAL: u64 = 0xefff_fffc;
    let is_initial = fs::metadata("/proc/self/ns/pid").ok()?.ino() == INITIAL;
    (!is_initial).then(|| {
        Fact::ok(PRIVILEGES, "container", "in a process namespace of its own").lost(
            "processes outside have a number that means nothing in here",
            "run it with the process ids of the host: --pid=host",
        )
    })
}

/// The clocks of a time namespace are converted, if their shift is known.
fn time_namespace() -> Option<Fact> {
    let fact = |value: String| Fact::ok(PRIVILEGES, "clocks", value);
    match clock_shift() {
        Some(shift) if shift == ClockShift::default() => None,
        Some(ClockShift { boottime_ns, .. }) => Some(fact(format!(
            "of a time namespace, {} s ahead of the kernel's, which is taken into account",
            boottime_ns / 1_000_000_000
        ))),
        None => Some(
            fact("of a time namespace, and how far they are shifted is not known".into()).lost(
                "times of events, and processes by their start, are wrong by that",
                "run it in the time namespace of the host",
            ),
        ),
    }
}

/// Another network namespace is a choice of the operator, and reported as no defect.
fn network_namespace() -> Option<Fact> {
    let inode = |process: &str| Some(fs::metadata(format!("/proc/{process}/ns/net")).ok()?.ino());
    (inode("self")? != inode("1")?).then(|| {
        let value = "not that of process 1: its interfaces are not counted";
        Fact::ok(PRIVILEGES, "network", value)
    })
}

fn user(agent: Option<i32>) -> Fact {
    // The owner of its folder in /proc is root in any case, because its memory is private.
    let ids = |pid: i32| ProcessDir::open(pid.cast_unsigned()).and_then(|agent| agent.user_ids());
    let agent = agent.and_then(|pid| Some((pid, ids(pid).ok()?.1)));
    let name = |uid: u32| if uid == 0 { "root".to_owned() } else { format!("user {uid}") };
    let value = match agent {
        Some((pid, 0)) => format!("root, the agent (process {pid}): {}", why_root()),
        Some((pid, uid)) => format!("{}, the agent (process {pid})", name(uid)),
        None => format!("{}, this command", name(geteuid().as_raw())),
    };
    Fact::ok(PRIVILEGES, "who", value)
}

/// Why an agent that root started is still root's.
fn why_root() -> String {
    let name = own_user::NAME;
    match OwnUser::find() {
        Some(_) => format!("its log says why it did not become user {name}"),
        None => format!("this host has no user {name}, which it would become"),
    }
}

fn capability_facts(agent: Option<i32>) -> Vec<Fact> {
    let process = agent.and_then(Pid::from_raw);
    if process.is_none() && is_ordinary_user() {
        return vec![
            Fact::ok(PRIVILEGES, "capabilities", "")
                .unknown("not visible to you: those of an agent decide what it can do, not yours"),
        ];
    }
    let missing = capabilities::missing_of(process);
    let fact = |capability: &Capability| {
        let fact = Fact::ok(PRIVILEGES, capability.name, format!("to {}", capability.purpose));
        if !missing.contains(capability) {
            return fact;
        }
        // All of them have the same remedy.
        let remedy = if missing.first() == Some(capability) {
            capabilities::remedy()
        } else {
            "as above".to_owned()
        };
        let fact = fact.lost(capability.costs, remedy);
        if capability.is_vital { fact.fatal() } else { fact }
    };
    CAPABILITIES.iter().map(fact).collect()
}

fn bpf_filesystem(agent: &Agent) -> Fact {
    const COSTS: &str = "counters and hooks end with the agent, also when it is killed: what \
                         happens until the next one starts is not seen";
    let fact = |value: &str| Fact::ok(MOUNTS, "bpffs", value);
    if !bpffs::is_bpf_filesystem(Path::new(BPFFS)) {
        return fact("no BPF filesystem at /sys/fs/bpf")
            .lost(COSTS, "mount -t bpf bpf /sys/fs/bpf");
    }
    if is_ordinary_user() && agent.traces.as_ref().is_none_or(|traces| !traces.is_pinned) {
        return fact(BPFFS).unknown("mounted; what an agent has in it is not visible to you");
    }
    let root = Path::new(pins::ROOT);
    if let Some(why) = pin_folder::distrusted(root) {
        let used = agent.traces.as_ref().and_then(Running::pins).filter(|used| *used != root);
        let used = used.map_or("another folder".to_owned(), |used| used.display().to_string());
        return fact(&format!("{}: {why}; pins are in {used}", pins::ROOT)).lost(
            "whatever made that folder may have tried to be taken for the agent",
            format!("find out who made {}, remove it, and restart the agent", pins::ROOT),
        );
    }
    match (&agent.traces, pins::check_writable(root)) {
        (Some(traces), _) if traces.is_pinned => fact(BPFFS),
        (Some(_), Ok(())) => fact("the agent has nothing in /sys/fs/bpf")
            .lost(COSTS, "its log says why; start it again where it can write there"),
        (None, Ok(())) => fact(BPFFS),
        (_, Err(error)) => fact("/sys/fs/bpf cannot be written").lost(COSTS, error.to_string()),
    }
}

fn tracefs_mount() -> Fact {
    const COMMAND: &str = "mount -t tracefs tracefs /sys/kernel/tracing";
    let fact = |value: &str| Fact::ok(MOUNTS, TRACEFS, value);
    if tracefs::is_mounted() {
        fact(tracefs::MOUNT_POINT)
    } else if capabilities::has_sys_admin() {
        fact("not mounted: it is read through a private mount, which costs nothing")
    } else {
        fact("not mounted")
            .lost("a bind by tracepoint, where fexit and kprobe are missing", COMMAND)
    }
}

fn cgroup2() -> Fact {
    let fact = |value: &str| Fact::ok(MOUNTS, CGROUP2, value);
    match cgroup::root() {
        Some(root) if access(&root, Access::READ_OK).is_ok() => fact(&root.display().to_string()),
        Some(root) => fact("cannot be read").lost(
            "the cgroup hooks cannot be used",
            format!("grant the user access to {}", root.display()),
        ),
        None => fact("no unified hierarchy: a host of cgroup v1, or nothing is mounted").lost(
            "the cgroup hooks cannot be used; they are needed where fexit and kprobe are missing",
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}

fn memlock() -> Fact {
    limits::lift();
    let fact = |value: String| Fact::ok(MOUNTS, "memlock", value);
    match limits::of_maps() {
        None => fact("sets no limit to maps here".to_owned()),
        Some(bytes) => fact(format!("{} KiB, and this kernel charges maps to it", bytes / 1024))
            .lost("maps beyond it cannot be made, and without maps nothing works", limits::REMEDY),
    }
}

/// The source for the holders of ports: the iterator over open files, or why it cannot be used.
pub(super) fn holders(iterator: Result<(), &str>) -> Fact {
    let fact = |value: String| Fact::ok("Holders of ports", "source", value);
    match iterator {
        Ok(()) => fact("the kernel's iterator over open files, and sock_diag".to_owned()),
        Err(why) => fact(format!("sock_diag and /proc; not the iterator over open files: {why}"))
            .lost(
                "sockets in a network namespace that no process lives in and no file names, and \
                 TCP sockets that are bound and no more where their namespace may not be entered",
                "use Linux 5.8 or later, built with CONFIG_DEBUG_INFO_BTF and not locked down",
            ),
    }
}

/// Whether the filters of packet sockets can be read. The module is not there on most hosts until a
/// program asks for it, which is no defect.
fn packet_filters() -> Fact {
    let value = if sockets::lists_packet_filters() {
        "listed by the kernel"
    } else {
        "unknown: the module packet_diag is not there, and is not loaded by asking (modprobe packet_diag)"
    };
    Fact::ok("Holders of ports", "packet filters", value)
}

fn sysctl(name: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(value.trim().to_owned())
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}
