//! A systemd as process 1 of namespaces of its own, with nothing but the units of a test.
//!
//! It is this machine's own program on this machine's own files. Control groups are those of a new
//! branch of the unified hierarchy, which the host sees below a slice, as any unit's.

use std::{
    env, fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, id},
};

use super::{eventually, kernel::unified_hierarchy, sh, try_sh, world::World};

/// Where distributions put it.
const PROGRAMS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];

/// Process 1, once its namespaces are there.
const START: &str = r#"
echo $$ > "$0/cgroup.procs"
exec unshare --pid --fork --kill-child --mount --uts --ipc --cgroup --propagation private sh -c '
    mount -t proc proc /proc
    umount --recursive /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    exec "$0" --system --unit=default.target --log-level=warning
' "$1"
"#;

/// The variable that holds the order for a unit's program, which is the test program itself.
const BINDS: &str = "GHOSTPORT_TEST_BINDS";

/// Lines of a service that binds `port` and then `stays`, or `ends`. The test program has an ignored
/// test `unit` for it, which calls [`bind_as_ordered`].
pub fn binding(port: u16, then: &str) -> String {
    let program = env::current_exe().expect("a path");
    format!(
        "[Service]\nType=exec\nStandardOutput=null\nEnvironment=\"{BINDS}={port} {then}\"\n\
         ExecStart={} --exact unit --ignored\n",
        program.display()
    )
}

/// What a unit of [`binding`] does: it binds a port, and stays if its order says so.
pub fn bind_as_ordered() {
    let Ok(order) = env::var(BINDS) else { return };
    let (port, stays) = order.split_once(' ').expect("a port and an order");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port.parse().expect("a port")));
    let socket = socket.expect("bound");
    if stays == "stays" {
        let _ = socket.recv(&mut [0]);
    }
}

/// It ends, with all its units, when this is dropped.
pub struct Systemd {
    /// Parent of process 1, which takes it along.
    child: Child,
    group: PathBuf,
    units: PathBuf,
}

impl Systemd {
    /// Boots it. An error says why that cannot be done on this machine.
    pub fn boot(world: &World) -> Result<Self, &'static str> {
        let program = PROGRAMS.into_iter().find(|program| Path::new(program).exists());
        let program = program.ok_or("no systemd is installed")?;
        let hierarchy = unified_hierarchy().ok_or("no unified hierarchy of control groups")?;
        let group = hierarchy.join(format!("ghostport-test-{}.slice", id()));
        fs::create_dir(&group).expect("a group");
        let units = world.path("units");
        fs::create_dir(&units).expect("a folder");
        fs::write(units.join("default.target"), "[Unit]\nDefaultDependencies=no\n")
            .expect("a unit");
        let child = Command::new("sh")
            .args(["-c", START])
            .args([group.as_os_str(), program.as_ref()])
            // Units and generators of the host are none of its business.
            .env("SYSTEMD_UNIT_PATH", &units)
            .env("SYSTEMD_GENERATOR_PATH", "/nonexistent")
            .env("SYSTEMD_ENVIRONMENT_GENERATOR_PATH", "/nonexistent")
            .env("container", "ghostport-test")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("spawned");
        let systemd = Self { child, group, units };
        eventually("a systemd that takes orders", || {
            let pid = systemd.pids("init.scope").first().copied()?;
            try_sh(&order_to(pid, "show --property=Version")).0.then_some(())
        });
        Ok(systemd)
    }

    fn order(&self, order: &str) -> String {
        order_to(self.pid(), order)
    }

    /// Adds a unit; `text` goes below what keeps it apart from units that there are not.
    pub fn add(&self, name: &str, text: &str) {
        let text = format!("[Unit]\nDefaultDependencies=no\n{text}");
        fs::write(self.units.join(name), text).expect("a unit");
        sh(&self.order("daemon-reload"));
    }

    /// Starts a unit and waits until it is up, or has done its work.
    pub fn start(&self, name: &str) {
        self.tell("start", name);
    }

    /// Gives an order about a unit, which must be carried out.
    pub fn tell(&self, order: &str, name: &str) {
        sh(&self.order(&format!("{order} {name}")));
    }

    /// Gives an order about a unit. Returns whether it was carried out, and what was said.
    pub fn try_to_tell(&self, order: &str, name: &str) -> (bool, String) {
        try_sh(&self.order(&format!("{order} {name}")))
    }

    /// A property of a unit.
    pub fn property(&self, name: &str, property: &str) -> String {
        sh(&self.order(&format!("show --property={property} --value {name}"))).trim().to_owned()
    }

    /// Its own process id, as the host knows it.
    pub fn pid(&self) -> u32 {
        self.pids("init.scope")[0]
    }

    /// Ids of the processes of a unit of the system slice, as the host knows them.
    pub fn unit_pids(&self, name: &str) -> Vec<u32> {
        self.pids(&format!("system.slice/{name}"))
    }

    fn pids(&self, group: &str) -> Vec<u32> {
        let list = fs::read_to_string(self.group.join(group).join("cgroup.procs"));
        list.unwrap_or_default().lines().map(|pid| pid.parse().expect("a pid")).collect()
    }
}

/// The command line that gives an order to a systemd. It listens to processes of its own namespace
/// alone.
fn order_to(pid: u32, order: &str) -> String {
    format!("nsenter --target {pid} --pid --mount systemctl {order}")
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = fs::write(self.group.join("cgroup.kill"), "1");
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Groups can be removed when the last process is gone, the innermost first.
        for _ in 0..500 {
            remove(&self.group);
            if !self.group.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("{} stays", self.group.display());
    }
}

fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    let _ = fs::remove_dir(group);
}
