//! Devices of every kind: stacked on others, without an Ethernet header, gone without a word.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use testkit::{
    agent::{Agent, Config},
    eventually,
    metrics::{Counts, expect},
    patience, sh, try_sh,
    wire::open_tun,
    world::{Peer, World, in_world, port, set_sysctl},
};

const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Datagrams that go each way.
const DATAGRAMS: u64 = 5;
const PAYLOAD: usize = 100;

const ETHERNET: u64 = 14;
const VLAN_TAG: u64 = 4;
/// Headers of IPv4 and UDP, and the payload.
const PACKET: u64 = 20 + 8 + PAYLOAD as u64;

fn watched() -> u16 {
    port(0)
}

/// A device on top of another, at this end and at the peer's.
struct Stack {
    /// Arguments of `ip link add` here; none where the address is on the veth device itself.
    here: &'static [&'static str],
    /// The device that has the address here.
    device: &'static str,
    /// The same at the peer's.
    there: &'static [&'static str],
    peer_device: &'static str,
    /// Bytes of a frame as the upper device has it.
    frame: u64,
    /// Bytes that the lower one has more.
    tag: u64,
}

impl Stack {
    const PLAIN: Self = Self {
        here: &[],
        device: "gp0",
        there: &[],
        peer_device: "peer0",
        frame: ETHERNET + PACKET,
        tag: 0,
    };

    /// Makes the devices; an error is what was said where this kernel does not have them.
    fn make(&self, peer: &Peer) -> Result<(), String> {
        for command in self.here {
            let (made, said) = try_sh(command);
            if !made {
                return Err(said.trim().to_owned());
            }
        }
        // Only the device that has the address may answer for it.
        set_sysctl("net/ipv4/conf/all/arp_ignore", "1");
        let there = self.there;
        peer.run(move || there.iter().for_each(|command| drop(sh(command))));
        sh(&format!("ip link set {} up", self.device));
        sh(&format!("ip address add {HERE}/24 dev {}", self.device));
        let device = self.peer_device;
        peer.run(move || {
            sh(&format!("ip link set {device} up"));
            sh(&format!("ip address add {THERE}/24 dev {device}"));
        });
        Ok(())
    }

    /// Counts on both devices are exact, with the best mechanism and with TC.
    fn is_counted(&self) {
        for mode in ["auto", "tc"] {
            in_world(|world| {
                let peer = Peer::alone();
                world.veth("gp0", &peer, "peer0");
                if let Err(why) = self.make(&peer) {
                    return eprintln!("skipped: {why}");
                }
                let config = Config::new([watched()]).on(&["gp*"]).mode(mode);
                let agent = Agent::start(world, &config);
                for hook in ["ingress", "egress"] {
                    let mechanism = agent.metrics().mechanism(hook, Some(self.device));
                    assert!(mechanism.is_some(), "{hook} of {}: {}", self.device, agent.log());
                }
                let before = agent.metrics().traffic();
                talk(&peer);
                // Native XDP on veth sees a tag in the packet, or since Linux 7 beside it.
                let tag_beside = if mode == "auto" { self.tag } else { 0 };
                let expected = [0, tag_beside].map(|beside| self.expected(beside));
                agent.assert_traffic_is_one_of(&before, &expected, mode);
                is_counted_once(&agent);
            });
        }
    }

    /// With so many bytes of each received frame beside it.
    fn expected(&self, beside: u64) -> Counts {
        let mut counts = Counts::new();
        if self.device != "gp0" {
            let frame = self.frame + self.tag;
            expect_frames(&mut counts, "gp0", [frame - beside, frame]);
        }
        expect_frames(&mut counts, self.device, [self.frame; 2]);
        counts
    }
}

/// A sum over edges has every datagram once.
fn is_counted_once(agent: &Agent) {
    for direction in ["ingress", "egress"] {
        let edges = [("role", "edge"), ("direction", direction)];
        assert_eq!(agent.metrics().sum("ghostport_packets_total", &edges), DATAGRAMS);
    }
}

/// Received and sent frames of these lengths.
fn expect_frames(counts: &mut Counts, interface: &str, frames: [u64; 2]) {
    let port = watched().to_string();
    for (direction, frame) in ["ingress", "egress"].into_iter().zip(frames) {
        let labels = [
            ("interface", interface),
            ("port", &port),
            ("protocol", "udp"),
            ("direction", direction),
            ("side", "local"),
        ];
        expect(counts, "ghostport_packets_total", &labels, DATAGRAMS);
        expect(counts, "ghostport_bytes_total", &labels, DATAGRAMS * frame);
    }
}

/// Datagrams from the peer to the watched port, and back.
fn talk(peer: &Peer) {
    let here = UdpSocket::bind((HERE, watched())).expect("bound");
    here.set_read_timeout(Some(patience())).expect("set");
    let answers = peer.start(|| {
        let there = UdpSocket::bind((THERE, 0)).expect("bound");
        there.set_read_timeout(Some(patience())).expect("set");
        let mut buffer = [0; PAYLOAD];
        for _ in 0..DATAGRAMS {
            there.send_to(&[0; PAYLOAD], SocketAddrV4::new(HERE, watched())).expect("sent");
            there.recv(&mut buffer).expect("an answer");
        }
    });
    let mut buffer = [0; PAYLOAD];
    for _ in 0..DATAGRAMS {
        let (_, from) = here.recv_from(&mut buffer).expect("a question");
        here.send_to(&buffer, from).expect("answered");
    }
    answers.recv().expect("the peer has all its answers");
}

#[test]
fn counts_on_veth() {
    Stack::PLAIN.is_counted();
}

#[test]
fn counts_on_veth_with_jumbo_frames() {
    Stack {
        here: &["ip link set gp0 mtu 9000"],
        there: &["ip link set peer0 mtu 9000"],
        ..Stack::PLAIN
    }
    .is_counted();
}

#[test]
fn counts_on_a_vlan() {
    Stack {
        here: &["ip link add link gp0 name gp1 type vlan id 7"],
        device: "gp1",
        there: &["ip link add link peer0 name peer1 type vlan id 7"],
        peer_device: "peer1",
        tag: VLAN_TAG,
        ..Stack::PLAIN
    }
    .is_counted();
}

#[test]
fn counts_on_a_bridge() {
    Stack {
        here: &["ip link add gp1 type bridge", "ip link set gp0 master gp1"],
        device: "gp1",
        ..Stack::PLAIN
    }
    .is_counted();
}

#[test]
fn counts_on_a_bond() {
    Stack {
        here: &[
            "ip link set gp0 down",
            "ip link add gp1 type bond mode active-backup miimon 100",
            "ip link set gp0 master gp1",
        ],
        device: "gp1",
        ..Stack::PLAIN
    }
    .is_counted();
}

#[test]
fn counts_on_macvlan() {
    Stack {
        here: &["ip link add link gp0 name gp1 type macvlan mode bridge"],
        device: "gp1",
        ..Stack::PLAIN
    }
    .is_counted();
}

#[test]
fn counts_on_ipvlan() {
    Stack {
        here: &["ip link add link gp0 name gp1 type ipvlan mode l2"],
        device: "gp1",
        ..Stack::PLAIN
    }
    .is_counted();
}

/// A bond that has a program in its driver takes no port that has one of its own, or none at all.
#[test]
fn a_watched_bond_still_takes_ports() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        world.veth("gp1", &peer, "peer1");
        let (made, said) = try_sh("ip link add gp2 type bond mode active-backup miimon 100");
        if !made {
            return eprintln!("skipped: {}", said.trim());
        }
        sh("ip link set gp0 down");
        sh("ip link set gp0 master gp2");
        sh("ip link set gp2 up");
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        assert!(agent.metrics().mechanism("ingress", Some("gp2")).is_some(), "{}", agent.log());
        sh("ip link set gp1 down");
        sh("ip link set gp1 master gp2");
        assert_eq!(agent.terminate().code(), Some(0));
    });
}

/// The role of an interface goes over to its bridge, and its counts go on.
#[test]
fn a_bridge_that_is_made_later_becomes_the_edge() {
    const FRAMES: u64 = 100;
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        Stack::PLAIN.make(&peer).expect("addresses");
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        let ingress = |labels: &[(&str, &str)]| {
            let labels = [&[("direction", "ingress"), ("side", "local")], labels].concat();
            agent.metrics().sum("ghostport_packets_total", &labels)
        };
        let send = || {
            peer.run(|| {
                let socket = UdpSocket::bind((THERE, 0)).expect("bound");
                for _ in 0..FRAMES {
                    socket.send_to(&[0; PAYLOAD], (HERE, watched())).expect("sent");
                }
            });
        };
        send();
        eventually("packets", || (ingress(&[("role", "edge")]) == FRAMES).then_some(()));
        sh("ip link add gp1 type bridge");
        sh("ip link set gp0 master gp1");
        sh("ip link set gp1 up");
        sh(&format!("ip address del {HERE}/24 dev gp0"));
        sh(&format!("ip address add {HERE}/24 dev gp1"));
        let of_gp0 = |role| ingress(&[("interface", "gp0"), ("role", role)]);
        eventually("another role", || (of_gp0("inner") == FRAMES).then_some(()));
        assert_eq!(of_gp0("edge"), 0);
        send();
        eventually("packets", || (of_gp0("inner") == 2 * FRAMES).then_some(()));
        assert_eq!(ingress(&[("role", "edge")]), FRAMES, "once each, on the bridge");
        assert_eq!(ingress(&[("interface", "gp1"), ("role", "edge")]), FRAMES);
        sh("ip link set gp0 nomaster");
        eventually("its role back", || (of_gp0("edge") == 2 * FRAMES).then_some(()));
    });
}

/// Packets of a member never cross the device of its VRF, so both are edges.
#[test]
fn a_packet_of_a_vrf_is_counted_on_its_member() {
    in_world(|world| {
        let peer = Peer::alone();
        world.veth("gp0", &peer, "peer0");
        if let (false, said) = try_sh("ip link add gp1 type vrf table 4321") {
            return eprintln!("skipped: {}", said.trim());
        }
        sh("ip link set gp1 up");
        sh("ip link set gp0 master gp1");
        Stack::PLAIN.make(&peer).expect("addresses");
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        peer.run(|| {
            let socket = UdpSocket::bind((THERE, 0)).expect("bound");
            for _ in 0..DATAGRAMS {
                socket.send_to(&[0; PAYLOAD], (HERE, watched())).expect("sent");
            }
        });
        let edges = [("role", "edge"), ("direction", "ingress")];
        let count = || agent.metrics().sum("ghostport_packets_total", &edges);
        eventually("packets", || (count() >= DATAGRAMS).then_some(()));
        assert_eq!(count(), DATAGRAMS);
    });
}

/// The end of a tun device that a program holds.
struct Tun {
    file: File,
    /// Packets that the host sent into it.
    sent: Receiver<Vec<u8>>,
    stop: Sender<()>,
}

impl Tun {
    /// Makes a tun device with an address, and reads what is sent into it.
    fn make(name: &str) -> io::Result<Self> {
        let file = open_tun(name)?;
        rustix::fs::fcntl_setfl(&file, rustix::fs::OFlags::NONBLOCK)?;
        let mut reader = file.try_clone()?;
        let (packets, sent) = channel();
        let (stop, stopped) = channel::<()>();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                match reader.read(&mut buffer) {
                    Ok(len) => drop(packets.send(buffer[..len].to_vec())),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    Err(_) => return,
                }
            }
        });
        Ok(Self { file, sent, stop })
    }
}

impl Drop for Tun {
    fn drop(&mut self) {
        let _ = self.stop.send(());
    }
}

/// An IPv4 packet with a UDP datagram, without checksum, to the watched port.
fn question() -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, PACKET as u8, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(THERE.octets());
    packet.extend(HERE.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(port(1).to_be_bytes());
    packet.extend(watched().to_be_bytes());
    packet.extend((8 + PAYLOAD as u16).to_be_bytes());
    packet.extend([0; 2 + PAYLOAD]);
    packet
}

#[test]
fn counts_on_tun() {
    in_world(|world| {
        let mut tun = match Tun::make("gp0") {
            Ok(tun) => tun,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        sh("ip link set gp0 up");
        sh(&format!("ip address add {HERE}/24 dev gp0"));
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        let before = agent.metrics().traffic();
        let here = UdpSocket::bind((HERE, watched())).expect("bound");
        here.set_read_timeout(Some(patience())).expect("set");
        let mut buffer = [0; PAYLOAD];
        for _ in 0..DATAGRAMS {
            tun.file.write_all(&question()).expect("sent");
            let (_, from) = here.recv_from(&mut buffer).expect("a question");
            here.send_to(&buffer, from).expect("answered");
        }
        let answers = || tun.sent.try_iter().filter(|packet| packet.len() == PACKET as usize);
        let mut arrived = 0;
        eventually("the answers", || {
            arrived += answers().count() as u64;
            (arrived == DATAGRAMS).then_some(())
        });
        let mut expected = Counts::new();
        // No Ethernet header is counted where there is none.
        expect_frames(&mut expected, "gp0", [PACKET; 2]);
        agent.assert_traffic(&before, &expected, "tun");
    });
}

/// The device goes with all its hooks while packets are under way, again and again.
#[test]
fn keeps_counts_when_a_device_vanishes() {
    in_world(|world: &World| {
        let agent = Agent::start(world, &Config::new([watched()]).on(&["gp*"]));
        for _ in 0..10 {
            let peer = Peer::alone();
            world.veth("gp0", &peer, "peer0");
            Stack::PLAIN.make(&peer).expect("addresses");
            eventually("a hook", || agent.metrics().mechanism("ingress", Some("gp0")));
            let flood = peer.start(|| {
                // Until the device is gone, which it may be already.
                let Ok(socket) = UdpSocket::bind((THERE, 0)) else { return };
                while socket.send_to(&[0; PAYLOAD], SocketAddrV4::new(HERE, watched())).is_ok() {}
            });
            thread::sleep(Duration::from_millis(20));
            sh("ip link delete gp0");
            flood.recv().expect("it ended");
            eventually("no hook", || {
                agent.metrics().mechanism("ingress", Some("gp0")).is_none().then_some(())
            });
        }
        let errors = agent.metrics().sum("ghostport_kernel_errors_total", &[]);
        assert_eq!(errors, 0, "{}", agent.log());
        assert_eq!(agent.terminate().code(), Some(0));
    });
}
