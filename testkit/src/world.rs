//! Namespaces of its own for every test.

use std::{
    ffi::CString,
    fs::{self, Permissions},
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    panic::resume_unwind,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
    thread::gettid,
};

use super::{
    namespaces::{enter_new_network, enter_new_network_and_mounts},
    sh,
};

const BPFFS: &str = "/sys/fs/bpf";
const TRACEFS: &str = "/sys/kernel/tracing";

/// What [`World::shield`] keeps.
const LAYERS: &str = "/run/layers";

/// What an agent of this machine has, apart from its pins and what is in `/run`.
const INSTALLATION: [&str; 3] = ["/etc/ghostport", "/var/lib/ghostport", "/var/log/ghostport"];

/// Folders in which an agent makes its own if it is not there.
const WRITTEN: [&str; 2] = ["/var/lib", "/var/log"];

/// Namespaces are cheap, but the tests measure what the whole machine does.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A network and a mount namespace, with a BPF filesystem, tracefs, an empty `/run` and nothing of
/// an agent that is installed on this machine. They belong to the thread of the test, to what it
/// starts, and vanish with the last of them.
pub struct World(());

/// Runs a test in a world of its own.
pub fn in_world(test: impl FnOnce(&World) + Send) {
    assert!(rustix::process::geteuid().is_root(), "these tests need root: cargo xtask test");
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let start = Instant::now();
    let outcome = thread::scope(|scope| {
        let body = move || test(&World::enter());
        thread::Builder::new().name("world".into()).spawn_scoped(scope, body).expect("spawn").join()
    });
    // Shown with `--show-output`, as in guests, where time is short.
    eprintln!("took {:.1} s", start.elapsed().as_secs_f32());
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

impl World {
    /// Folder for the files of a test.
    pub const DIR: &str = "/run/world";

    fn enter() -> Self {
        enter_new_network_and_mounts();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("private mounts");
        mount_new("tmpfs", "/run");
        fs::create_dir(Self::DIR).expect("a folder");
        mount_new("bpf", BPFFS);
        mount_new("tracefs", TRACEFS);
        sh("ip link set lo up");
        own_the_ends_of_frames();
        let world = Self(());
        world.hide_installation();
        world
    }

    /// Puts empty folders in place of those of this machine's agent; where there are none, what is
    /// written there stays in this world.
    fn hide_installation(&self) {
        for folder in INSTALLATION {
            let parent = Path::new(folder).parent().and_then(Path::to_str).expect("a folder");
            if !Path::new(folder).exists() {
                if WRITTEN.contains(&parent) {
                    self.shield(&[parent]);
                }
                continue;
            }
            mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
                .unwrap_or_else(|error| panic!("tmpfs on {folder}: {error}"));
        }
    }

    /// Path of a file of this test.
    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(Self::DIR).join(name)
    }

    /// What is written below these folders of the host stays in this world, which sees them without
    /// what belongs to this machine's agent.
    pub fn shield(&self, folders: &[&str]) {
        for folder in folders {
            let layers = Path::new(LAYERS).join(folder.trim_start_matches('/').replace('/', "-"));
            let [upper, work] = ["upper", "work"].map(|kind| layers.join(kind));
            for layer in [&upper, &work] {
                fs::create_dir_all(layer).expect("a folder");
            }
            let layers = format!(
                "lowerdir={folder},upperdir={},workdir={}",
                upper.display(),
                work.display()
            );
            let layers = CString::new(layers).expect("no NUL");
            mount("overlay", *folder, "overlay", MountFlags::empty(), Some(&*layers))
                .unwrap_or_else(|error| panic!("overlay on {folder}: {error}"));
            for place in INSTALLATION.map(Path::new) {
                if place.starts_with(folder) && place.exists() {
                    // Of the upper layer, which is ours.
                    fs::remove_dir_all(place).expect("removed");
                }
            }
        }
    }

    /// The BPF filesystem goes away, as on a machine that never mounted one.
    pub fn without_bpffs(&self) {
        unmount_all(BPFFS);
    }

    /// tracefs goes away.
    pub fn without_tracefs(&self) {
        unmount_all("/sys/kernel/debug");
        unmount_all(TRACEFS);
        assert!(!Path::new(TRACEFS).join("events").exists(), "tracefs is still there");
    }

    /// The kernel's type information is hidden.
    pub fn without_btf(&self) {
        mount_new("tmpfs", "/sys/kernel/btf");
        assert!(!Path::new("/sys/kernel/btf/vmlinux").exists(), "the types are still there");
    }

    /// No unified hierarchy of control groups, as on a host of version 1.
    pub fn without_cgroup2(&self) {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            if fields[2] == "cgroup2" {
                unmount_all(fields[1]);
            }
        }
    }

    /// Makes another user's what an administrator would make theirs: the folder of this test, that
    /// of the agent, and a folder in the BPF filesystem, which is root's own otherwise.
    pub fn give_to(&self, user: u32) {
        let run = Path::new("/run/ghostport");
        let pins = Path::new(BPFFS).join("ghostport");
        fs::set_permissions(BPFFS, Permissions::from_mode(0o711)).expect("permissions");
        for folder in [run, &pins] {
            fs::create_dir_all(folder).expect("a folder");
            chown(folder, Some(user), Some(user)).expect("owned");
        }
        self.give_files_to(user);
    }

    /// Makes the folder of this test another user's, and what is in it.
    pub fn give_files_to(&self, user: u32) {
        let files = fs::read_dir(Self::DIR).expect("a folder").flatten().map(|file| file.path());
        for path in files.chain([Self::DIR.into()]) {
            chown(path, Some(user), Some(user)).expect("owned");
        }
    }

    /// A veth pair: `ours` here, `theirs` in the peer's namespace, both up and silent.
    pub fn veth(&self, ours: &str, peer: &Peer, theirs: &str) {
        sh(&format!("ip link add {ours} type veth peer name {theirs} netns {}", peer.thread_id));
        quiet_and_up(ours);
        let theirs = theirs.to_owned();
        peer.run(move || quiet_and_up(&theirs));
    }

    /// The pair that most tests use: `gp0` with [`HERE`] on this end, `peer0` with [`THERE`] on the
    /// other.
    pub fn peer(&self) -> Peer {
        let peer = Peer::alone();
        self.veth("gp0", &peer, "peer0");
        give_addresses(&peer);
        peer
    }

    /// Ids of the processes in this network namespace, except this one.
    pub fn inhabitants(&self) -> Vec<u32> {
        let here = netns_inode();
        let processes = fs::read_dir("/proc").expect("/proc").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| *id != process::id())
            .filter(|id| {
                fs::metadata(format!("/proc/{id}/ns/net")).is_ok_and(|net| net.ino() == here)
            })
            .collect()
    }
}

/// Makes both addresses of [`frames`](crate::frames) this namespace's own: packets with them are
/// then for this host when they arrive and from it when they leave.
fn own_the_ends_of_frames() {
    for end in [1, 2] {
        sh(&format!("ip route add local 192.0.2.{end}/32 dev lo"));
        if Path::new("/proc/net/if_inet6").exists() {
            sh(&format!("ip -6 route add local 2001:db8::{end}/128 dev lo"));
        }
    }
}

/// Address of this end of a pair.
pub const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// Address of the peer's end.
pub const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Gives both ends of the pair `gp0`, `peer0` their addresses.
pub fn give_addresses(peer: &Peer) {
    sh(&format!("ip address add {HERE}/24 dev gp0"));
    peer.run(|| sh(&format!("ip address add {THERE}/24 dev peer0")));
}

/// Inode of the calling thread's network namespace.
pub fn netns_inode() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").expect("a namespace").ino()
}

/// A port that other tests on this machine hardly use: socket hooks see every namespace, so two
/// test programs at once must not share watched ports. `offset` is below 100.
pub fn port(offset: u16) -> u16 {
    assert!(offset < 100);
    // Above the port on which the agent of a test listens.
    11_000 + (process::id() % 200) as u16 * 100 + offset
}

/// Without IPv6 the stack says nothing by itself.
fn quiet_and_up(interface: &str) {
    set_sysctl(&format!("net/ipv6/conf/{interface}/disable_ipv6"), "1");
    sh(&format!("ip link set {interface} up"));
}

/// Sets a variable of this thread's network namespace.
pub fn set_sysctl(name: &str, value: &str) {
    fs::write(Path::new("/proc/sys").join(name), value)
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// Packets that an interface of this thread's namespace received, as the kernel counts them.
pub fn received_packets(interface: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/dev").expect("counters");
    let line =
        table.lines().find_map(|line| line.trim().strip_prefix(interface)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("no {interface} in {table}"));
    line.split_ascii_whitespace().nth(1).and_then(|field| field.parse().ok()).expect("a number")
}

/// A TCP counter of this thread's network namespace, by its name in RFC 1213.
pub fn tcp_counter(name: &str) -> u64 {
    snmp_counter("Tcp: ", name)
}

/// The same of UDP.
pub fn udp_counter(name: &str) -> u64 {
    snmp_counter("Udp: ", name)
}

fn snmp_counter(protocol: &str, name: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/snmp").expect("counters");
    let mut lines = table.lines().filter_map(|line| line.strip_prefix(protocol));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let position = names.split(' ').position(|found| found == name).expect(name);
    values.split(' ').nth(position).and_then(|field| field.parse().ok()).expect("a number")
}

/// A filesystem of which there is only one may be there already.
fn mount_new(kind: &str, at: &str) {
    match mount(kind, at, kind, MountFlags::empty(), None) {
        Ok(()) | Err(Errno::BUSY) => {}
        Err(error) => panic!("mount {kind} at {at}: {error}"),
    }
}

fn unmount_all(path: &str) {
    while unmount(path, UnmountFlags::DETACH).is_ok() {}
}

type Job = Box<dyn FnOnce() + Send>;

/// Another network namespace, with a thread in it that runs jobs.
pub struct Peer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    thread_id: i32,
}

impl Peer {
    /// A namespace with nothing but `lo`.
    pub fn alone() -> Self {
        let (jobs, todo) = channel::<Job>();
        let (announce, announced) = channel();
        let work = move || {
            enter_new_network();
            announce.send(gettid().as_raw_nonzero().get()).expect("a listener");
            todo.into_iter().for_each(|job| job());
        };
        let thread = thread::Builder::new().name("peer".into()).spawn(work).expect("spawned");
        let thread_id = announced.recv().expect("a namespace");
        let peer = Self { jobs: Some(jobs), thread: Some(thread), thread_id };
        peer.run(|| sh("ip link set lo up"));
        peer
    }

    /// Runs `work` over there, and waits for it.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.start(work).recv().expect("the peer has panicked")
    }

    /// Starts `work` over there; what it returns arrives at the receiver.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Receiver<T> {
        let (done, result) = channel();
        let job: Job = Box::new(move || {
            let _ = done.send(work());
        });
        self.jobs.as_ref().expect("open").send(job).expect("the peer has panicked");
        result
    }

    /// The argument that names this namespace for `ip link set … netns`.
    pub fn thread_id(&self) -> i32 {
        self.thread_id
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
