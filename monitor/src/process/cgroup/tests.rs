use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const POD: &str = "12345678-9abc-def0-1234-56789abcdef0";

/// A path, and what it says: container, pod, unit.
struct Case {
    path: &'static str,
    container: Option<&'static str>,
    pod: Option<&'static str>,
    unit: Option<&'static str>,
}

const fn case(
    path: &'static str,
    container: Option<&'static str>,
    pod: Option<&'static str>,
    unit: Option<&'static str>,
) -> Case {
    Case { path, container, pod, unit }
}

/// In the paths `ID`, `OTHER`, `POD` and `POD_` stand for an id, another one, a pod's uid, and that
/// uid in a slice.
const CASES: &[Case] = &[
    // The host's own.
    case("/", None, None, None),
    case("/init.scope", None, None, Some("init.scope")),
    case("/system.slice/kannel.service", None, None, Some("kannel.service")),
    case(
        "/system.slice/system-getty.slice/getty@tty1.service",
        None,
        None,
        Some("getty@tty1.service"),
    ),
    case("/system.slice/dbus.socket", None, None, Some("dbus.socket")),
    case("/system.slice/_notify.service", None, None, Some("notify.service")),
    case("/user.slice/user-1000.slice/session-3.scope", None, None, Some("session-3.scope")),
    case(
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        None,
        None,
        Some("init.scope"),
    ),
    case(
        "/user.slice/user-1000.slice/user@1000.service/app.slice/app-a.slice/kannel.service",
        None,
        None,
        Some("kannel.service"),
    ),
    case("/user.slice/user-1000.slice/user@1000.service", None, None, Some("user@1000.service")),
    // What runs in a unit may call its own groups as it likes.
    case("/system.slice/web.service/kannel.service", None, None, Some("web.service")),
    case("/mine/kannel.service", None, None, None),
    // Docker: cgroupfs and systemd drivers, rootless, a parent of the user's choice, systemd inside
    // (moby/moby daemon/oci_linux.go, opencontainers/cgroups systemd/common.go).
    case("/docker/ID", Some(ID), None, None),
    case("/docker/ID/system.slice/nginx.service", Some(ID), None, None),
    case("/system.slice/docker-ID.scope", Some(ID), None, Some("docker-ID.scope")),
    case("/mine.slice/docker-ID.scope/init.scope", Some(ID), None, Some("docker-ID.scope")),
    case("/mine/ID", Some(ID), None, None),
    case(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
        Some(ID),
        None,
        Some("docker-ID.scope"),
    ),
    case("/system.slice/docker.service", None, None, Some("docker.service")),
    case("/docker/buildkit/p5o8gdsfzw4zsx2n8ovsaqyxh", None, None, None),
    // containerd: nerdctl and the CRI plugin (containerd/containerd internal/cri/server/helpers.go,
    // containerd/nerdctl pkg/cmd/container/create.go).
    case("/default/ID", Some(ID), None, None),
    case("/system.slice/nerdctl-ID.scope", Some(ID), None, Some("nerdctl-ID.scope")),
    case("/kubepods/podPOD/ID", Some(ID), Some(POD), None),
    case("/kubepods/burstable/podPOD/ID", Some(ID), Some(POD), None),
    case(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
        Some(ID),
        Some(POD),
        Some("cri-containerd-ID.scope"),
    ),
    case(
        "/kubepods.slice/kubepods-podPOD_.slice/cri-containerd-ID.scope",
        Some(ID),
        Some(POD),
        Some("cri-containerd-ID.scope"),
    ),
    case(
        "/system.slice/containerd.service/kubepods-besteffort-podPOD_.slice:cri-containerd:ID",
        Some(ID),
        Some(POD),
        Some("containerd.service"),
    ),
    // A static pod: its uid is a hash (kubernetes/pkg/kubelet/config/common.go).
    case(
        "/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/ID",
        Some(ID),
        Some("0123456789abcdef0123456789abcdef"),
        None,
    ),
    // kind: a node is a Docker container with a kubelet in it (kubernetes-sigs/kind).
    case(
        "/docker/OTHER/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podPOD_.slice/cri-containerd-ID.scope",
        Some(ID),
        Some(POD),
        None,
    ),
    case("/docker/OTHER/kubelet/kubepods/besteffort/podPOD/ID", Some(ID), Some(POD), None),
    case("/docker/ID/kubelet.slice/kubelet.service", Some(ID), None, None),
    // CRI-O (cri-o/cri-o internal/config/cgmgr).
    case(
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podPOD_.slice/crio-ID.scope",
        Some(ID),
        Some(POD),
        Some("crio-ID.scope"),
    ),
    case(
        "/kubepods.slice/kubepods-podPOD_.slice/crio-ID.scope/container",
        Some(ID),
        Some(POD),
        Some("crio-ID.scope"),
    ),
    case("/kubepods/burstable/podPOD/crio-ID", Some(ID), Some(POD), None),
    case(
        "/kubepods.slice/kubepods-podPOD_.slice/crio-conmon-ID.scope",
        None,
        Some(POD),
        Some("crio-conmon-ID.scope"),
    ),
    // Podman (containers/podman libpod/container_internal_linux.go).
    case("/machine.slice/libpod-ID.scope/container", Some(ID), None, Some("libpod-ID.scope")),
    case("/machine.slice/libpod-conmon-ID.scope", None, None, Some("libpod-conmon-ID.scope")),
    case("/libpod_parent/libpod-ID", Some(ID), None, None),
    case("/libpod_parent/conmon", None, None, None),
    case(
        "/machine.slice/machine-libpod_pod_OTHER.slice/libpod-ID.scope",
        Some(ID),
        None,
        Some("libpod-ID.scope"),
    ),
    case("/system.slice/web.service/libpod-payload-ID", Some(ID), None, Some("web.service")),
    case(
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope/container",
        Some(ID),
        None,
        Some("libpod-ID.scope"),
    ),
    // LXC, LXD and Incus, Proxmox (lxc/lxc src/lxc/cgroups/cgfsng.c).
    case("/lxc.payload.web/system.slice/nginx.service", Some("web"), None, None),
    case("/lxc.payload/web", Some("web"), None, None),
    case("/lxc/101/ns/init.scope", Some("101"), None, None),
    case("/lxc.monitor.web", None, None, None),
    case("/lxc", None, None, None),
    // systemd-nspawn (systemd src/nspawn/nspawn-register.c, src/shared/machine-pool.c).
    case(
        r"/machine.slice/systemd-nspawn@web\x2d1.service/payload/system.slice/nginx.service",
        Some("web-1"),
        None,
        Some(r"systemd-nspawn@web\x2d1.service"),
    ),
    case("/machine.slice/machine-web.scope", Some("web"), None, Some("machine-web.scope")),
    case(
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope",
        None,
        None,
        Some(r"machine-qemu\x2d1\x2dvm.scope"),
    ),
    // Amazon ECS (aws/amazon-ecs-agent ecs-agent/api/task).
    case("/ecs/0123456789abcdef0123456789abcdef/ID", Some(ID), None, None),
    case(
        "/ecs/0123456789abcdef0123456789abcdef/0123456789abcdef0123456789abcdef-1234567890",
        Some("0123456789abcdef0123456789abcdef-1234567890"),
        None,
        None,
    ),
    // What only looks like it.
    case("/system.slice/cache-ID.service", None, None, Some("cache-ID.service")),
    case("/docker/0123456789ab", None, None, None),
    case("/podPODx/podium", None, None, None),
    case("/a-pod.slice/pod", None, None, None),
];

#[test]
fn paths_say_whose_a_process_is() {
    for case in CASES {
        let underscored = POD.replace('-', "_");
        let fill = |text: &str| {
            let text = text.replace("POD_", &underscored).replace("POD", POD);
            text.replace("OTHER", OTHER).replace("ID", ID)
        };
        let cgroup = Cgroup::from_path(&fill(case.path));
        assert_eq!(cgroup.path, fill(case.path));
        assert_eq!(cgroup.container_id.as_deref(), case.container, "{}", case.path);
        assert_eq!(cgroup.pod_uid.as_deref(), case.pod, "{}", case.path);
        let unit = cgroup.unit.map(|unit| unit.name);
        assert_eq!(unit, case.unit.map(fill), "{}", case.path);
    }
}

#[test]
fn a_users_unit_is_known_for_one() {
    let manager = |path: &str| systemd_unit(path).map(|unit| unit.manager);
    let user = "/user.slice/user-1000.slice/user@1000.service";
    assert_eq!(manager(user), Some(UnitManager::System));
    assert_eq!(manager(&format!("{user}/kannel.service")), Some(UnitManager::User(1000)));
    assert_eq!(manager("/system.slice/kannel.service"), Some(UnitManager::System));
    // Its name is its owner's choice: `user@NAME.service` of no user.
    assert_eq!(manager("/system.slice/user@x.service/a.service"), Some(UnitManager::System));
}

#[test]
fn one_hierarchy_of_several_counts() {
    let path = |file: &str| Cgroup::from_proc(file).map(|cgroup| cgroup.path);
    assert_eq!(path("0::/system.slice/a.service\n").as_deref(), Some("/system.slice/a.service"));
    assert_eq!(path("").as_deref(), None);
    let hybrid = "5:memory:/m\n1:name=systemd:/s\n0::/u\n";
    assert_eq!(path(hybrid).as_deref(), Some("/u"));
    assert_eq!(path(&hybrid.replace("/u", "/")).as_deref(), Some("/s"));
    assert_eq!(path("4:cpu,cpuacct:/docker/a:b\n3:pids:/\n").as_deref(), Some("/docker/a:b"));
    assert_eq!(path("4:cpu:/\n0::/\n").as_deref(), Some("/"));
}
