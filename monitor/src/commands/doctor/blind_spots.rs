//! What passes this host and no hook sees: devices that programs or virtual machines drive, transports
//! that go past the network stack, other namespaces. A line is there only if the host has it.
//!
//! None is a defect: the agent's health does not depend on them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use monitor_kernel::hooks::HookMechanism;

use super::{facts::Fact, interfaces::InterfaceReport, other_programs};
use crate::sockets;

const GROUP: &str = "Blind spots";

/// Drivers that hand a device to a program of this host or to a virtual machine.
const USERSPACE_DRIVERS: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/// Those of this host. `programs` are the interfaces that have an XDP program.
pub(super) fn of_host(interfaces: &[InterfaceReport], programs: &[String]) -> Vec<Fact> {
    let sys = Path::new("/sys");
    let facts = [
        userspace_drivers(sys),
        virtual_functions(sys),
        rdma(sys),
        foreign_programs(interfaces, programs),
        unlisted_connections(Path::new("/proc"), sockets::lists_connections()),
        other_namespaces(sockets::other_namespaces()),
        other_programs::choosing_sockets(GROUP),
        other_programs::connecting(GROUP),
    ];
    facts.into_iter().flatten().collect()
}

/// Network devices with a driver of [`USERSPACE_DRIVERS`], apart from virtual functions: DPDK has
/// them, or a virtual machine.
fn userspace_drivers(sys: &Path) -> Option<Fact> {
    /// PCI class of network controllers, `PCI_BASE_CLASS_NETWORK`.
    const NETWORK: &str = "0x02";
    let mut found = Vec::new();
    for driver in USERSPACE_DRIVERS {
        for device in entries(&sys.join("bus/pci/drivers").join(driver)) {
            let is_virtual = device.join("physfn").is_symlink();
            let is_network = content(&device.join("class")).is_some_and(|c| c.starts_with(NETWORK));
            if is_network && !is_virtual {
                found.push(format!("{} ({driver})", name(&device)));
            }
        }
    }
    let pages: u64 = entries(&sys.join("kernel/mm/hugepages"))
        .iter()
        .filter_map(|size| content(&size.join("nr_hugepages"))?.parse::<u64>().ok())
        .sum();
    let pages = if pages > 0 { ", beside reserved huge pages as DPDK wants them" } else { "" };
    (!found.is_empty()).then(|| {
        let devices = found.join(", ");
        let value = format!(
            "{devices}{pages}: packets of these devices go to a program or a virtual machine, \
             past this kernel"
        );
        Fact::ok(GROUP, "userspace drivers", value)
    })
}

/// Virtual functions of interfaces that a driver of [`USERSPACE_DRIVERS`] has: those of virtual
/// machines.
fn virtual_functions(sys: &Path) -> Option<Fact> {
    let mut found = Vec::new();
    for interface in entries(&sys.join("class/net")) {
        let device = interface.join("device");
        let enabled = content(&device.join("sriov_numvfs")).is_some_and(|count| count != "0");
        let functions = entries(&device);
        let passed_on = |function: &&PathBuf| {
            let driver = fs::read_link(function.join("driver")).ok();
            let driver = driver.as_deref().map(name);
            name(function).starts_with("virtfn")
                && driver.is_some_and(|driver| USERSPACE_DRIVERS.contains(&&*driver))
        };
        let count = functions.iter().filter(passed_on).count();
        if enabled && count > 0 {
            found.push(format!("{count} of {}", name(&interface)));
        }
    }
    (!found.is_empty()).then(|| {
        let value = format!(
            "{} passed on: the device switches their packets, past this kernel",
            found.join(", ")
        );
        Fact::ok(GROUP, "virtual functions", value)
    })
}

/// Devices for RDMA, with the interfaces that they share a wire with.
fn rdma(sys: &Path) -> Option<Fact> {
    let device = |path: &PathBuf| {
        let interfaces: Vec<String> =
            entries(&path.join("device/net")).iter().map(|path| name(path)).collect();
        let over = if interfaces.is_empty() {
            String::new()
        } else {
            format!(" ({})", interfaces.join(", "))
        };
        format!("{}{over}", name(path))
    };
    let devices: Vec<String> = entries(&sys.join("class/infiniband")).iter().map(device).collect();
    (!devices.is_empty()).then(|| {
        let value = format!(
            "{}: what goes by RDMA (InfiniBand verbs, RoCE, iWARP) passes by the network stack",
            devices.join(", ")
        );
        Fact::ok(GROUP, "RDMA", value)
    })
}

/// Interfaces with an XDP program of others, which runs before a hook of TC: what it drops, answers or
/// redirects never gets there.
fn foreign_programs(interfaces: &[InterfaceReport], programs: &[String]) -> Option<Fact> {
    let is_ours = |name: &String| {
        let report = interfaces.iter().find(|interface| interface.name == *name);
        let ingress = report.and_then(|interface| interface.ingress);
        matches!(ingress, Some(HookMechanism::XdpNative | HookMechanism::XdpGeneric))
    };
    let foreign: Vec<&str> =
        programs.iter().filter(|name| !is_ours(name)).map(String::as_str).collect();
    (!foreign.is_empty()).then(|| {
        let value = format!(
            "on {}, before every hook there: packets that it drops, answers or redirects are not \
             counted",
            foreign.join(", ")
        );
        Fact::ok(GROUP, "XDP of others", value)
    })
}

/// Whether connections are tracked and cannot be listed.
fn unlisted_connections(proc: &Path, are_listed: bool) -> Option<Fact> {
    const MODULE: &str = "nf_conntrack_netlink";
    let are_tracked = proc.join("sys/net/netfilter/nf_conntrack_count").exists();
    (are_tracked && !are_listed).then(|| {
        let value = format!(
            "tracked, and not listed: where a redirected one goes is not known. The module {MODULE} \
             is not there, and is not loaded by asking (modprobe {MODULE})"
        );
        Fact::ok(GROUP, "connections", value)
    })
}

/// Network namespaces beside this one. Those of processes that may not be seen are not counted.
fn other_namespaces(count: io::Result<usize>) -> Option<Fact> {
    let count = count.ok().filter(|count| *count > 0)?;
    let value = match count {
        1 => {
            "1 other: its packets are counted where they cross an interface of this one".to_owned()
        }
        _ => format!(
            "{count} others: their packets are counted where they cross an interface of this one"
        ),
    };
    Some(Fact::ok(GROUP, "namespaces", value))
}

/// What is in a folder, in order; nothing where it is not there.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

fn content(file: &Path) -> Option<String> {
    Some(fs::read_to_string(file).ok()?.trim().to_owned())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder in place of `/sys`, which is removed at the end.
    struct FakeSys(PathBuf);

    impl FakeSys {
        fn new(test: &str) -> Self {
            let folder = format!("ghostport-sys-{test}-{}", std::process::id());
            let sys = Self(std::env::temp_dir().join(folder));
            fs::create_dir_all(&sys.0).expect("a folder");
            sys
        }

        fn file(&self, path: &str, content: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, content).expect("written");
        }

        fn link(&self, path: &str, target: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            symlink(target, path).expect("linked");
        }
    }

    impl Drop for FakeSys {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_host_without_them_has_no_line() {
        let sys = FakeSys::new("empty");
        let found = [userspace_drivers(&sys.0), virtual_functions(&sys.0), rdma(&sys.0)];
        assert!(found.iter().all(Option::is_none));
        assert!(foreign_programs(&[], &[]).is_none());
        assert!(unlisted_connections(&sys.0, false).is_none());
        assert!(other_namespaces(Ok(0)).is_none());
        assert!(other_namespaces(Err(io::ErrorKind::PermissionDenied.into())).is_none());
    }

    #[test]
    fn a_network_card_of_dpdk_is_named_and_a_disk_is_not() {
        let sys = FakeSys::new("dpdk");
        sys.file("bus/pci/drivers/vfio-pci/0000:01:00.0/class", "0x020000\n");
        sys.file("bus/pci/drivers/vfio-pci/0000:02:00.0/class", "0x010802\n");
        sys.file("bus/pci/drivers/vfio-pci/0000:03:10.0/class", "0x020000\n");
        sys.link("bus/pci/drivers/vfio-pci/0000:03:10.0/physfn", "../0000:03:00.0");
        sys.file("bus/pci/drivers/vfio-pci/bind", "");
        let fact = userspace_drivers(&sys.0).expect("a fact");
        assert_eq!(fact.ok, Some(true));
        let expected = "0000:01:00.0 (vfio-pci): packets of these devices go to a program or a \
                        virtual machine, past this kernel";
        assert_eq!(fact.value, expected);
        sys.file("kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
        let fact = userspace_drivers(&sys.0).expect("a fact");
        assert!(fact.value.contains("huge pages"), "{}", fact.value);
    }

    #[test]
    fn only_virtual_functions_that_are_passed_on_count() {
        let sys = FakeSys::new("vfs");
        sys.file("class/net/eth0/device/sriov_numvfs", "3\n");
        for (function, driver) in [(0, "vfio-pci"), (1, "vfio-pci"), (2, "iavf")] {
            sys.link(
                &format!("class/net/eth0/device/virtfn{function}/driver"),
                &format!("/sys/bus/pci/drivers/{driver}"),
            );
        }
        sys.file("class/net/eth1/device/sriov_numvfs", "0\n");
        let fact = virtual_functions(&sys.0).expect("a fact");
        assert!(fact.value.starts_with("2 of eth0 passed on"), "{}", fact.value);
    }

    #[test]
    fn an_rdma_device_is_named_with_its_interface() {
        let sys = FakeSys::new("rdma");
        sys.file("class/infiniband/mlx5_0/device/net/eth0/mtu", "1500\n");
        sys.file("class/infiniband/mlx5_1/node_type", "1: CA\n");
        let fact = rdma(&sys.0).expect("a fact");
        assert!(fact.value.starts_with("mlx5_0 (eth0), mlx5_1: "), "{}", fact.value);
    }

    #[test]
    fn an_xdp_program_of_the_agent_is_none_of_others() {
        let report = |name: &str, ingress| InterfaceReport {
            name: name.to_owned(),
            driver: None,
            mtu: 1500,
            counted: true,
            ingress,
            egress: None,
        };
        let interfaces = [
            report("eth0", Some(HookMechanism::XdpNative)),
            report("eth1", Some(HookMechanism::Tcx)),
        ];
        let programs = ["eth0", "eth1", "eth2"].map(str::to_owned);
        let fact = foreign_programs(&interfaces, &programs).expect("a fact");
        assert!(fact.value.starts_with("on eth1, eth2, "), "{}", fact.value);
        assert!(foreign_programs(&interfaces, &programs[..1]).is_none());
    }

    #[test]
    fn connections_without_a_list_are_said() {
        let proc = FakeSys::new("connections");
        proc.file("sys/net/netfilter/nf_conntrack_count", "0\n");
        assert!(unlisted_connections(&proc.0, true).is_none());
        let fact = unlisted_connections(&proc.0, false).expect("a fact");
        assert!(fact.value.contains("modprobe nf_conntrack_netlink"), "{}", fact.value);
    }

    #[test]
    fn other_namespaces_are_counted() {
        assert!(other_namespaces(Ok(1)).expect("a fact").value.starts_with("1 other: its"));
        assert!(other_namespaces(Ok(7)).expect("a fact").value.starts_with("7 others: their"));
    }
}
