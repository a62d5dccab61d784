//! What the path of a control group says of those in it: container, pod, systemd unit.
//!
//! Pure: paths in, facts out. The path is the place where a container runtime says whose a process
//! is without being asked; nothing here talks to one.

#[cfg(test)]
mod tests;
pub(super) mod tree;

/// A control group and what its path says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// Path in its hierarchy.
    pub path: String,
    /// Id of the innermost container: what its runtime calls it, 64 hexadecimal digits for most,
    /// the container's or machine's name for LXC and systemd-nspawn.
    pub container_id: Option<String>,
    /// Uid of the innermost Kubernetes pod, with dashes; that of a static pod is 32 hexadecimal
    /// digits.
    pub pod_uid: Option<String>,
    /// The systemd unit.
    pub unit: Option<SystemdUnit>,
}

/// A unit of this host's systemd, or of a user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemdUnit {
    /// Name with suffix: `nginx.service`, `session-3.scope`.
    pub name: String,
    /// Whose unit it is.
    pub manager: UnitManager,
}

/// The systemd that a unit belongs to. A user names their units as they like, so a name alone says
/// nothing of a system unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitManager {
    /// PID 1.
    System,
    /// The one of the user with this id.
    User(u32),
}

impl SystemdUnit {
    /// Whether it is one of the host's own.
    pub fn is_of_system(&self) -> bool {
        self.manager == UnitManager::System
    }
}

impl Cgroup {
    /// What a path says.
    pub fn from_path(path: &str) -> Self {
        // containerd with runc's systemd syntax but without systemd leaves "slice:prefix:id" in
        // one component.
        let parts = || path.split(['/', ':']).filter(|part| !part.is_empty());
        Self {
            path: path.to_owned(),
            container_id: container_id(path),
            pod_uid: parts().rev().find_map(pod_uid),
            unit: systemd_unit(path),
        }
    }

    /// From `/proc/PID/cgroup` (cgroups(7)): one line a hierarchy, `id:controllers:path`.
    ///
    /// The unified hierarchy counts, unless it leaves the process at its root: then it is one of
    /// those of version 1, systemd's own before the others. `None` for a file without a line.
    pub(super) fn from_proc(file: &str) -> Option<Self> {
        let lines = file.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.split_once(':')
        });
        let (_, path) = lines.min_by_key(|(controllers, path)| {
            let rank = match *controllers {
                "" => 0,
                "name=systemd" => 1,
                _ => 2,
            };
            (*path == "/", rank)
        })?;
        Some(Self::from_path(path))
    }
}

/// Prefixes of the scopes and groups that runtimes make for a container: Docker, containerd's CRI
/// plugin, nerdctl, CRI-O, Podman. That of their monitors (`crio-conmon-`, `libpod-conmon-`) is not
/// among them, because a monitor is no container.
const RUNTIME_PREFIXES: [&str; 6] =
    ["docker-", "cri-containerd-", "nerdctl-", "crio-", "libpod-payload-", "libpod-"];

/// The id of the innermost container.
fn container_id(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split(['/', ':']).filter(|part| !part.is_empty()).collect();
    (0..parts.len()).rev().find_map(|index| {
        let before = index.checked_sub(1).map(|before| parts[before]);
        by_digits(parts[index])
            .or_else(|| lxc_name(before, parts[index]))
            .or_else(|| machine_name(parts[index]))
    })
}

fn by_digits(part: &str) -> Option<String> {
    let id = part.strip_suffix(".scope").unwrap_or(part);
    let id = RUNTIME_PREFIXES.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    let is_container = is_hexadecimal(id, 64) || is_fargate(id);
    is_container.then(|| id.to_owned())
}

/// Amazon ECS on Fargate: the task's id and a number.
fn is_fargate(id: &str) -> bool {
    id.split_once('-').is_some_and(|(task, number)| {
        is_hexadecimal(task, 32)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `lxc.payload.NAME` since LXC 4.0, `lxc.payload/NAME` in 3.1 and 3.2, `lxc/NAME` before.
/// `lxc.monitor` is the monitor.
fn lxc_name(before: Option<&str>, part: &str) -> Option<String> {
    let name = part.strip_prefix("lxc.payload.").or_else(|| {
        let is_parent = matches!(before, Some("lxc" | "lxc.payload"));
        is_parent.then_some(part)
    })?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// A machine of systemd-nspawn: `systemd-nspawn@NAME.service`, or `machine-NAME.scope` where it was
/// started by hand. Virtual machines are machines too (`machine-qemu\x2d…`), but no containers.
fn machine_name(part: &str) -> Option<String> {
    let service =
        part.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let scope = || part.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
    let name = unescape(service.or_else(scope)?);
    (!name.is_empty() && !name.starts_with("qemu-")).then_some(name)
}

/// Escapes of unit names: `\xNN` (systemd.unit(5)).
fn unescape(name: &str) -> String {
    let mut parts = name.split("\\x");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code.filter(u8::is_ascii) {
            Some(code) => {
                plain.push(char::from(code));
                plain.push_str(&part[2..]);
            }
            None => {
                plain.push_str("\\x");
                plain.push_str(part);
            }
        }
    }
    plain
}

/// `podUID` of the kubelet's cgroupfs driver, `…-podUID.slice` of its systemd driver, which has to
/// write underscores for the dashes (`kubernetes/pkg/kubelet/cm/cgroup_manager_linux.go`).
fn pod_uid(part: &str) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid)?.replace('_', "-"),
        None => part.strip_prefix("pod")?.to_owned(),
    };
    (is_uuid(&uid) || is_hexadecimal(&uid, 32)).then_some(uid)
}

fn is_uuid(text: &str) -> bool {
    let mut groups = text.split('-');
    [8, 4, 4, 4, 12]
        .into_iter()
        .all(|length| groups.next().is_some_and(|group| is_hexadecimal(group, length)))
        && groups.next().is_none()
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The unit as `cg_path_get_unit` and `cg_path_get_user_unit` of systemd's
/// `src/basic/cgroup-util.c` have it: the first one below the slices, and in a user's manager the
/// first one below its slices. Names further down are the choice of the unit's own programs.
fn systemd_unit(path: &str) -> Option<SystemdUnit> {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let name = first_unit(&mut parts)?;
    let user = name.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
    let of_user = user.and_then(|id| id.parse().ok()).and_then(|id| {
        let name = first_unit(&mut parts)?;
        Some(SystemdUnit { name: name.to_owned(), manager: UnitManager::User(id) })
    });
    let of_system = || SystemdUnit { name: name.to_owned(), manager: UnitManager::System };
    Some(of_user.unwrap_or_else(of_system))
}

fn first_unit<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let part = parts.find(|part| !part.ends_with(".slice"))?;
    // Systemd puts one in front of a name that the kernel might take for its own.
    let part = part.strip_prefix('_').unwrap_or(part);
    let is_unit = SUFFIXES.iter().any(|suffix| part.len() > suffix.len() && part.ends_with(suffix));
    is_unit.then_some(part)
}
