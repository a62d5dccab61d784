//! `ghostport check` from the outside, on real sockets of real processes: who holds a port or talks
//! on it, wherever they are and however they came by the socket.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, Write as _},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{fs::MetadataExt as _, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{self, Child, Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
};

use rustix::{
    net::{
        AddressFamily, Protocol, RawProtocol, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, bind, listen, sendmsg, socket_with,
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use serde_json::{Value, json};
use testkit::{
    agent::{finish, ghostport, stderr, stdout},
    calls::{at, v4},
    child::take_stdin_from,
    eventually,
    namespaces::spawn_with_own_descriptors,
    privileges::{Privileges, SOMEBODY},
    sh,
    world::{Peer, World, in_world, netns_inode, port},
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What `check` says of some ports, and its exit code.
fn check(ports: &[u16]) -> (Option<i32>, Value) {
    let mut command = ghostport();
    command.arg("check").args(ports.iter().map(u16::to_string)).arg("--json");
    let output = finish(&mut command);
    (output.status.code(), document(&output))
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

/// The sockets of the first port in a document.
fn sockets(document: &Value) -> &[Value] {
    document["ports"][0]["sockets"].as_array().expect("sockets")
}

/// The only socket on a port.
#[track_caller]
fn only_socket(port: u16) -> Value {
    let (code, document) = check(&[port]);
    let sockets = sockets(&document);
    assert_eq!((code, sockets.len()), (Some(1), 1), "{document:#}");
    sockets[0].clone()
}

fn pids(socket: &Value) -> BTreeSet<u64> {
    let holders = socket["holders"].as_array().expect("holders");
    holders.iter().map(|holder| holder["pid"].as_u64().expect("a pid")).collect()
}

fn these(pids: &[u32]) -> BTreeSet<u64> {
    pids.iter().copied().map(u64::from).collect()
}

/// The only holder of the only socket on a port.
#[track_caller]
fn only_holder(port: u16) -> Value {
    let socket = only_socket(port);
    assert_eq!(socket["holders"].as_array().map(Vec::len), Some(1), "{socket:#}");
    socket["holders"][0].clone()
}

fn bound_udp(port: u16) -> OwnedFd {
    UdpSocket::bind(v4(port)).expect("bound").into()
}

/// A program that runs until this is dropped, with a socket as its standard input.
struct Holder(Child);

impl Holder {
    /// `cat`, which waits for what never comes.
    fn start(socket: OwnedFd) -> Self {
        Self::run(Command::new("cat"), socket)
    }

    /// The command keeps the socket for itself, too, and ends here for that.
    fn run(mut command: Command, socket: OwnedFd) -> Self {
        let command = command.stdin(Stdio::from(socket)).stdout(Stdio::null());
        Self(command.spawn().expect("spawned"))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits until it has the name of what it executes.
    fn named(self, name: &str) -> Self {
        eventually("a program that is executed", || {
            let comm = fs::read_to_string(format!("/proc/{}/comm", self.pid())).ok()?;
            (comm.trim_end() == name).then_some(())
        });
        self
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn check_prints_nothing_for_free_ports() {
    in_world(|_| {
        let (code, mut document) = check(&[port(1), port(0)]);
        assert_eq!(code, Some(0));
        for port in document["ports"].as_array_mut().expect("ports") {
            // Some of the ports that tests use are registered for a service.
            port.as_object_mut().expect("a port").remove("service");
        }
        let quiet = |port| json!({"port": port, "sockets": []});
        let ports = json!([quiet(port(0)), quiet(port(1))]);
        assert_eq!(document, json!({"schema": "ghostport.check/1", "ports": ports}));
    });
}

/// The document of the contract, to the field.
#[test]
fn check_describes_a_socket_in_full() {
    in_world(|_| {
        let holder = Holder::start(bound_udp(port(0))).named("cat");
        let executable = fs::read_link(format!("/proc/{}/exe", holder.pid())).expect("a link");
        let mut socket = only_socket(port(0));
        let told = socket["holders"][0].as_object_mut().expect("a holder");
        // What runs these tests may run in a unit or container itself.
        told.remove("systemd_unit");
        told.remove("container_id");
        let expected = json!({
            "transport": "udp",
            "family": "ipv4",
            "local_address": "127.0.0.1",
            "local_port": port(0),
            "side": "local",
            "netns_inode": netns_inode(),
            "holders": [{
                "pid": holder.pid(),
                "parent_pid": process::id(),
                "executable": executable,
                "name": "cat",
                "command_args": ["cat"],
                "user": "root",
            }],
        });
        assert_eq!(socket, expected);
    });
}

/// A socket that what is executed does not inherit.
fn own_socket(
    family: AddressFamily,
    kind: SocketType,
    protocol: Option<Protocol>,
) -> Option<OwnedFd> {
    socket_with(family, kind, SocketFlags::CLOEXEC, protocol).ok()
}

/// The sockets on a port as transport, family, local address, peer, state and side.
fn summary(port: u16) -> Vec<String> {
    let (_, document) = check(&[port]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |socket: &Value| {
        assert_eq!(pids(socket), these(&[process::id()]), "{socket:#}");
        let fields = ["transport", "family", "local_address", "peer_address", "tcp_state", "side"];
        fields.map(|field| text(&socket[field])).join(" ")
    };
    sockets(&document).iter().map(line).collect()
}

#[test]
fn finds_both_ends_of_a_connection() {
    in_world(|_| {
        let (one, two) = (v4(port(0)), at("::1", port(1)));
        let listener = TcpListener::bind(one).expect("bound");
        let _client = TcpStream::connect(one).expect("connected");
        let _accepted = listener.accept().expect("accepted");
        let expected = [
            "tcp ipv4 127.0.0.1 - listen local",
            "tcp ipv4 127.0.0.1 127.0.0.1 established local",
            "tcp ipv4 127.0.0.1 127.0.0.1 established remote",
        ];
        assert_eq!(summary(one.port()), expected);
        let _server = UdpSocket::bind(two).expect("bound");
        let sender = UdpSocket::bind("[::]:0").expect("bound");
        sender.connect(two).expect("connected");
        assert_eq!(summary(two.port()), ["udp ipv6 ::1 - - local", "udp ipv6 ::1 ::1 - remote"]);
        // Both ends on watched ports, and both on the same one.
        let (code, document) = check(&[one.port(), two.port()]);
        assert_eq!((code, document["ports"].as_array().map(Vec::len)), (Some(1), Some(2)));
        let same = v4(port(2));
        let itself = own_socket(AddressFamily::INET, SocketType::DGRAM, None).expect("a socket");
        bind(&itself, &same).expect("bound");
        rustix::net::connect(&itself, &same).expect("connected");
        assert_eq!(summary(same.port()), ["udp ipv4 127.0.0.1 127.0.0.1 - local"]);
    });
}

#[test]
fn finds_the_holder_of_a_multipath_socket() {
    const MPTCP: u32 = 262;
    in_world(|_| {
        let protocol = RawProtocol::new(MPTCP).map(Protocol::from_raw);
        let Some(listener) = own_socket(AddressFamily::INET, SocketType::STREAM, protocol) else {
            return eprintln!("skipped: this kernel has no MPTCP");
        };
        bind(&listener, &v4(port(0))).expect("bound");
        listen(&listener, 1).expect("listening");
        assert_eq!(summary(port(0)), ["tcp ipv4 127.0.0.1 - listen local"]);
    });
}

/// Whether this kernel's version is at least that.
fn is_at_least(major: u32, minor: u32) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

/// A port that is held without listening refuses others all the same.
#[test]
fn finds_tcp_sockets_that_are_only_bound() {
    in_world(|_| {
        let bound = own_socket(AddressFamily::INET6, SocketType::STREAM, None).expect("a socket");
        bind(&bound, &at("::1", port(0))).expect("bound");
        let told: &[&str] = if is_at_least(6, 8) { &["tcp ipv6 ::1 - bound local"] } else { &[] };
        assert_eq!(summary(port(0)), told);
    });
}

#[test]
fn reports_sockets_without_a_process() {
    in_world(|_| {
        let listener = TcpListener::bind(v4(port(0))).expect("bound");
        let mut client = TcpStream::connect(v4(port(0))).expect("connected");
        let (accepted, _) = listener.accept().expect("accepted");
        drop(listener);
        drop(accepted);
        let _ = client.read(&mut [0]).expect("the end");
        drop(client);
        let socket = only_socket(port(0));
        assert_eq!((&socket["tcp_state"], &socket["side"]), (&json!("time_wait"), &json!("local")));
        assert_eq!(socket["holders"], json!([]));
    });
}

#[test]
fn finds_every_holder_of_an_inherited_socket() {
    in_world(|_| {
        let ours = bound_udp(port(0));
        let child = Holder::start(ours.try_clone().expect("a copy"));
        let other = Holder::start(ours.try_clone().expect("a copy"));
        let all = [process::id(), child.pid(), other.pid()];
        assert_eq!(pids(&only_socket(port(0))), these(&all));
        // Who bound it is gone, who inherited it is not.
        drop(ours);
        assert_eq!(pids(&only_socket(port(0))), these(&all[1..]));
        drop(child);
        assert_eq!(pids(&only_socket(port(0))), these(&all[2..]));
        drop(other);
        assert_eq!(check(&[port(0)]).0, Some(0));
    });
}

#[test]
fn finds_the_holder_of_a_passed_socket() {
    in_world(|_| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let sender = thread::spawn(move || {
            let socket = bound_udp(port(0));
            let passed = [socket.as_fd()];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&passed)));
            let byte = [std::io::IoSlice::new(&[1])];
            sendmsg(&ours, &byte, &mut ancillary, SendFlags::empty()).expect("sent");
        });
        let mut command = Command::new("cat");
        take_stdin_from(&mut command, theirs);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("spawned");
        let child = Holder(child).named("cat");
        sender.join().expect("sent");
        assert_eq!(pids(&only_socket(port(0))), these(&[child.pid()]));
    });
}

/// Through the namespace itself, and, for who may not enter it, through `/proc`.
#[test]
fn finds_sockets_in_other_network_namespaces() {
    in_world(|world| {
        let peer = Peer::alone();
        let (there, _listener, _child) = peer.run(|| {
            let listener = TcpListener::bind(at("::1", port(0))).expect("bound");
            (netns_inode(), listener, Holder::start(bound_udp(port(0))).named("cat"))
        });
        let five = [0, SOMEBODY].map(|user| {
            let ports = port(0).to_string();
            Privileges::five(user).ghostport(world, &["check", &ports, "--json"])
        });
        let root = check(&[port(0)]);
        for mut command in five {
            let output = finish(&mut command);
            assert_eq!((output.status.code(), document(&output)), root, "{}", stderr(&output));
        }
        let (code, document) = root;
        let told: Vec<_> = sockets(&document)
            .iter()
            .map(|socket| (socket["transport"].as_str(), socket["netns_inode"].as_u64()))
            .collect();
        assert_eq!(
            (code, told),
            (Some(1), vec![(Some("tcp"), Some(there)), (Some("udp"), Some(there))])
        );
        assert_eq!(pids(&sockets(&document)[0]), these(&[process::id()]));
        assert_eq!(sockets(&document)[1]["holders"][0]["name"], "cat");
    });
}

/// No process runs in the namespace: only its name leads to it.
#[test]
fn finds_sockets_in_named_namespaces() {
    in_world(|world| {
        sh("ip netns add gp-named");
        let name = File::open("/run/netns/gp-named").expect("a name");
        let inode = name.metadata().expect("a namespace").ino();
        let enter = move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(name.as_fd(), kind).expect("entered");
            UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port(0))).expect("bound")
        };
        let _socket = thread::spawn(enter).join().expect("a socket");
        let socket = only_socket(port(0));
        assert_eq!(socket["netns_inode"].as_u64(), Some(inode));
        assert_eq!(pids(&socket), these(&[process::id()]));
        // Who may not enter it says so, and does not say that all is quiet.
        let ports = port(0).to_string();
        let output = finish(&mut Privileges::five(0).ghostport(world, &["check", &ports]));
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains("1 network namespaces could not be entered"));
    });
}

#[test]
fn finds_holders_in_other_pid_namespaces() {
    in_world(|_| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "cat"]);
        let outer = Holder::run(command, bound_udp(port(0))).named("unshare");
        let children = format!("/proc/{0}/task/{0}/children", outer.pid());
        let inner: u32 = eventually("a process that is the first of its namespace", || {
            let child = fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
            (name.trim_end() == "cat").then_some(child)
        });
        let socket = only_socket(port(0));
        assert_eq!(pids(&socket), these(&[outer.pid(), inner]));
        let holders = socket["holders"].as_array().expect("holders");
        let inner = holders.iter().find(|holder| holder["pid"] == inner).expect("inside");
        assert_eq!((&inner["name"], &inner["parent_pid"]), (&json!("cat"), &json!(outer.pid())));
    });
}

/// A thread with descriptors of its own, which are not in the folder of the process.
#[test]
fn finds_threads_with_their_own_descriptors() {
    in_world(|_| {
        let (end, ended) = channel::<()>();
        let (announce, announced) = channel();
        let thread = spawn_with_own_descriptors(move || {
            let socket = bound_udp(port(0));
            announce.send(()).expect("a listener");
            let _ = ended.recv();
            drop(socket);
        });
        announced.recv().expect("bound");
        assert_eq!(pids(&only_socket(port(0))), these(&[process::id()]));
        drop(end);
        thread.join().expect("no panic");
    });
}

/// A program of this test's own, started with a socket on a port.
fn copied(world: &World, name: &str, port: u16) -> (PathBuf, Holder) {
    let path = world.path(name);
    fs::copy("/bin/cat", &path).expect("copied");
    let holder = Holder::run(Command::new(&path), bound_udp(port));
    let comm: String = name.chars().take(15).collect();
    (path, holder.named(&comm))
}

fn page(port: u16) -> String {
    let output = finish(ghostport().args(["check", &port.to_string()]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stdout(&output)
}

#[test]
fn marks_deleted_executables() {
    in_world(|world| {
        let (path, _holder) = copied(world, "gone", port(0));
        assert!(!page(port(0)).contains("(deleted)"));
        fs::remove_file(&path).expect("removed");
        assert_eq!(only_holder(port(0))["executable"], json!(path));
        assert!(page(port(0)).contains(&format!("{} (deleted)\n", path.display())));
        // One that is only called so.
        let (path, _other) = copied(world, "x (deleted)", port(1));
        assert_eq!(only_holder(port(1))["executable"], json!(path));
        assert!(page(port(1)).contains(&format!("{}\n", path.display())));
    });
}

#[test]
fn reports_both_names_of_a_renamed_process() {
    in_world(|_| {
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf '\\033[31mred' > /proc/$$/comm; read line"]);
        let _holder = Holder::run(shell, bound_udp(port(0))).named("\u{1b}[31mred");
        let holder = only_holder(port(0));
        assert_eq!(holder["name"], "\u{1b}[31mred");
        let executable = fs::canonicalize("/bin/sh").expect("a shell");
        assert_eq!(holder["executable"], json!(executable));
        // No program speaks to the terminal.
        let page = page(port(0));
        assert!(!page.contains('\u{1b}') && page.contains("\\u{1b}[31mred"), "{page}");
    });
}

/// A control group below the unified hierarchy, which ends with this.
struct Group {
    folder: PathBuf,
    made: Vec<PathBuf>,
}

impl Group {
    fn make(path: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mount = mounts.find(|fields| fields[2] == "cgroup2")?[1].to_owned();
        let mut folder = PathBuf::from(mount);
        let mut made = Vec::new();
        for part in path.split('/') {
            folder.push(part);
            if fs::create_dir(&folder).is_ok() {
                made.push(folder.clone());
            }
        }
        Some(Self { folder, made })
    }

    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[test]
fn names_containers_and_units_by_control_group() {
    let pod = "12345678_9abc_def0_1234_56789abcdef0";
    let cases = [
        (format!("gp-test-docker/{ID}"), Some(ID), None),
        (
            format!("kubepods.slice/kubepods-pod{pod}.slice/cri-containerd-{ID}.scope"),
            Some(ID),
            Some(format!("cri-containerd-{ID}.scope")),
        ),
        ("system.slice/gp-test.service".into(), None, Some("gp-test.service".to_owned())),
    ];
    in_world(|_| {
        for (path, container, unit) in cases {
            let Some(group) = Group::make(&path) else {
                return eprintln!("skipped: no unified hierarchy of control groups");
            };
            let holder = Holder::start(bound_udp(port(0)));
            group.take(holder.pid());
            let told = only_holder(port(0));
            assert_eq!(told["container_id"].as_str(), container, "{path}");
            assert_eq!(told["systemd_unit"].as_str(), unit.as_deref(), "{path}");
            drop(holder);
        }
    });
}

/// Every socket is seen, and who holds it is not.
#[test]
fn check_runs_without_privileges() {
    in_world(|world| {
        let none = |arguments: &[&str]| {
            let mut privileges = Privileges::five(SOMEBODY);
            for (_, capability) in testkit::privileges::FIVE {
                privileges = privileges.without(capability);
            }
            finish(&mut privileges.ghostport(world, arguments))
        };
        let port_text = port(0).to_string();
        let quiet = none(&["check", &port_text]);
        assert_eq!(quiet.status.code(), Some(0), "{}", stderr(&quiet));
        let peer = Peer::alone();
        let _there = peer.run(|| Holder::start(bound_udp(port(0))));
        let _here = bound_udp(port(0));
        let found = none(&["check", &port_text, "--json"]);
        assert_eq!(found.status.code(), Some(1));
        let document = document(&found);
        let here = Some(netns_inode());
        let told: Vec<_> = sockets(&document)
            .iter()
            .map(|socket| (socket["netns_inode"].as_u64(), socket["holders"].clone()))
            .collect();
        // Unknown holders are null; an empty list would mean that there are none.
        assert_eq!(told, [(None, Value::Null), (here, Value::Null)]);
        assert!(stderr(&found).contains("descriptors cannot be read"), "{}", stderr(&found));
    });
}

#[test]
fn check_takes_ports_from_the_configuration() {
    in_world(|world| {
        let config = world.path("ghostport.yaml");
        fs::write(&config, format!("ports: [{}, {}]\n", port(0), port(1))).expect("written");
        let run =
            |config: &Path| finish(ghostport().args(["check", "--json", "--config"]).arg(config));
        let _socket = bound_udp(port(1));
        let output = run(&config);
        assert_eq!(output.status.code(), Some(1));
        let ports = document(&output)["ports"].clone();
        let numbers: Vec<_> =
            ports.as_array().expect("ports").iter().map(|port| port["port"].clone()).collect();
        assert_eq!(numbers, [json!(port(0)), json!(port(1))]);
        let missing = run(&world.path("missing.yaml"));
        assert_eq!((missing.status.code(), &*missing.stdout), (Some(2), &b""[..]));
    });
}

/// Long names and addresses are cut or wrapped.
#[test]
fn check_fits_its_page_to_the_terminal() {
    in_world(|_| {
        sh("ip address add 2001:db8:1111:2222:3333:4444:5555:6666/128 dev lo");
        let long: SocketAddr = at("2001:db8:1111:2222:3333:4444:5555:6666", port(0));
        let listener = eventually("an address", || TcpListener::bind(long).ok());
        let mut client = TcpStream::connect(long).expect("connected");
        client.write_all(b"x").expect("sent");
        let mut command = Command::new("sleep");
        command.arg("60").args(["0.00000000000000000000"; 20]);
        let _holder = Holder::run(command, listener.into()).named("sleep");
        let page = page(port(0));
        assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
        for part in ["listen", "established", &long.to_string(), "$ sleep 60 0.000", "…"] {
            assert!(page.contains(part), "{part} in {page}");
        }
    });
}
