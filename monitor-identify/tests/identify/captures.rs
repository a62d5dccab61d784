//! Verdicts on a folder of captures beside the words of nDPI and tshark, where they are installed:
//! `cargo xtask bench identify --captures FOLDER`.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use monitor_identify::{Verdict, capture::read_capture};

/// Set by `cargo xtask bench identify --captures`.
const FOLDER: &str = "GHOSTPORT_CAPTURES";

/// A conversation: its transport and its ends, the smaller first.
type Key = (String, String, String);

fn key(transport: &str, one: &str, other: &str) -> Key {
    let (one, other) = (one.to_owned(), other.to_owned());
    (transport.to_owned(), one.clone().min(other.clone()), one.max(other))
}

/// What ghostport finds in a capture.
fn ours(path: &Path) -> HashMap<Key, Verdict> {
    let mut verdicts = HashMap::new();
    let Ok(file) = File::open(path) else { return verdicts };
    let _ = read_capture(file, &mut |finding| {
        let (source, destination) = (finding.source.to_string(), finding.destination.to_string());
        let key = key(finding.transport, &source, &destination);
        verdicts.entry(key).or_insert(finding.identification.verdict);
        Ok(())
    });
    verdicts
}

/// What a tool prints of a capture; nothing where it is not installed.
fn output(program: &str, args: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(program).args(args).arg(path).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// nDPI's word for each conversation: `TCP 192.0.2.1:1 <-> 192.0.2.2:2 [proto: 91/TLS]…`.
fn ndpi(path: &Path) -> Option<HashMap<Key, String>> {
    let text = output("ndpiReader", &["-v", "2", "-i"], path)?;
    let conversations = text.lines().filter_map(|line| {
        let (_, word) = line.split_once("[proto: ")?;
        let word = word.split_once('/')?.1.split(']').next()?;
        let mut fields =
            line.split_whitespace().skip_while(|field| !matches!(*field, "TCP" | "UDP"));
        let (transport, one, _, other) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let other = other.split_once("[proto").map_or(other, |(end, _)| end);
        // The protocol, then the service in it.
        let word = word.split('.').next()?;
        Some((key(&transport.to_lowercase(), one, other), word.to_owned()))
    });
    Some(conversations.collect())
}

/// tshark's word for each conversation: the protocol right above the transport in its first packet
/// that has one.
fn tshark(path: &Path) -> Option<HashMap<Key, String>> {
    const FIELDS: [&str; 8] = [
        "frame.protocols",
        "ip.src",
        "ip.dst",
        "tcp.srcport",
        "tcp.dstport",
        "udp.srcport",
        "udp.dstport",
        "ipv6.src",
    ];
    let mut args = vec!["-T", "fields"];
    args.extend(FIELDS.into_iter().flat_map(|field| ["-e", field]));
    args.push("-r");
    let text = output("tshark", &args, path)?;
    let mut words = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [protocols, source, destination, tcp, tcp_to, udp, udp_to, ..] = fields[..] else {
            continue;
        };
        let (transport, from, to) = match (tcp, udp) {
            ("", "") => continue,
            ("", _) => ("udp", udp, udp_to),
            _ => ("tcp", tcp, tcp_to),
        };
        let mut layers = protocols.split(':').skip_while(|layer| *layer != transport).skip(1);
        let Some(word) = layers.next().filter(|word| *word != "data") else { continue };
        let ends = (format!("{source}:{from}"), format!("{destination}:{to}"));
        words.entry(key(transport, &ends.0, &ends.1)).or_insert_with(|| word.to_owned());
    }
    Some(words)
}

/// The verdict that a word of another tool stands for, where both know the protocol.
fn verdict(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase().replace('_', "-");
    let name = match word.as_str() {
        // Words for nothing, which both have.
        "unknown" | "text" | "json" | "empty" => return None,
        "ssl" | "imaps" | "smtps" | "pops" | "ftps" | "doh-dot" => "tls",
        "ftp-control" => "ftp",
        "ipsec" | "isakmp" => "ike",
        "mssql-tds" => "tds",
        "oracle" => "tns",
        "drda" => "db2",
        "jabber" => "xmpp",
        "usenet" => "nntp",
        "jrmi" | "rmi" => "java-rmi",
        "corba" => "giop",
        "ajp" => "ajp13",
        "nfs" | "rpc" | "portmap" | "mount" => "sunrpc",
        "ethernetip" => "enip",
        "iec60870" | "60870-5-104" | "iec60870-5-104" => "iec104",
        "opc-ua" => "opcua",
        "s7commplus" | "iso9506-1-mms" | "tpkt" => "cotp",
        "source-engine" => "source-query",
        "rmcp" => "ipmi",
        "smbv1" | "smbv23" | "nbss" => "smb",
        "nbns" | "nbdgm" => "netbios",
        "ciscoskinny" => "skinny",
        "dhcpv6" => "dhcp",
        "llmnr" | "dnscrypt" => "dns",
        "bt-dht" | "bt-utp" => "bittorrent",
        "resp" => "redis",
        "pgsql" => "postgresql",
        "cflow" => "netflow",
        "tacplus" => "tacacs",
        "mongo" => "mongodb",
        "gquic" => "quic",
        other => return Verdict::ALL.iter().map(|known| known.name()).find(|name| *name == other),
    };
    Some(name)
}

/// How often a tool and ghostport agree on one verdict.
#[derive(Default)]
struct Counts {
    agree: u32,
    /// The tool names it, ghostport nothing.
    missed: u32,
    /// The tool names it, ghostport something else.
    differ: u32,
    /// Ghostport names it, the tool something else that both know.
    extra: u32,
}

impl Counts {
    fn share(part: u32, whole: u32) -> String {
        if whole == 0 {
            return "-".to_owned();
        }
        format!("{:.0} %", f64::from(part) * 100.0 / f64::from(whole))
    }

    fn row(&self, name: &str) {
        let Self { agree, missed, differ, extra } = *self;
        let precision = Self::share(agree, agree + extra);
        let recall = Self::share(agree, agree + missed + differ);
        println!(
            "| {name:<16} | {agree:>6} | {missed:>6} | {differ:>6} | {precision:>9} | {recall:>6} |"
        );
    }
}

/// Adds what a tool and ghostport say of one capture.
fn compare(
    ours: &HashMap<Key, Verdict>,
    theirs: &HashMap<Key, String>,
    table: &mut BTreeMap<&'static str, Counts>,
) {
    for (key, found) in ours {
        let Some(wanted) = theirs.get(key).and_then(|word| verdict(word)) else { continue };
        let is_nothing = found.specificity() < Verdict::Http.specificity();
        // Conversations without a payload are named by their ports alone.
        if found.is_scan() || *found == Verdict::Empty {
            continue;
        }
        let counts = table.entry(wanted).or_default();
        match found.name() {
            name if name == wanted => counts.agree += 1,
            _ if is_nothing => counts.missed += 1,
            name => {
                counts.differ += 1;
                table.entry(name).or_default().extra += 1;
            }
        }
    }
}

#[test]
#[ignore = "needs captures and other tools: cargo xtask bench identify --captures FOLDER"]
fn beside_other_tools() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    type Tool = fn(&Path) -> Option<HashMap<Key, String>>;
    let tools: [(&str, Tool); 2] = [("nDPI", ndpi), ("tshark", tshark)];
    for (name, tool) in tools {
        let mut table = BTreeMap::new();
        let mut is_there = true;
        for path in &paths {
            let Some(theirs) = tool(path) else {
                is_there = false;
                break;
            };
            compare(&ours(path), &theirs, &mut table);
        }
        if !is_there {
            println!("{name} is not installed");
            continue;
        }
        println!("| {name:<16} | agree  | missed | differ | precision | recall |");
        println!("| ---------------- | -----: | -----: | -----: | --------: | -----: |");
        let mut total = Counts::default();
        for (name, counts) in &table {
            counts.row(name);
            total.agree += counts.agree;
            total.missed += counts.missed;
            total.differ += counts.differ;
            total.extra += counts.extra;
        }
        total.row("all");
    }
}
