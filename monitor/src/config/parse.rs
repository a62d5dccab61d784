//! From nodes of the YAML tree to values of the configuration, each checked where it stands.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use jiff::civil::Date;

use super::{
    expect::{Expectation, UserMatch},
    interfaces::InterfacePattern,
    listen,
    listeners::{ListenerExpectation, ListenerPorts},
    model::CommandLines,
    pattern::Pattern,
    port::WatchedPort,
    port_range::{PortRange, PortRangeError},
    value::{
        NestedKey, absolute, duration, list, matching, names, one_of, port_range, section, string,
    },
    yaml::{Node, Position, Problem, Value, excerpt},
};

/// The keys of a port that is written as a mapping.
pub const PORT_KEYS: [NestedKey; 3] = [
    NestedKey {
        name: "port",
        value: "number or range, required",
        help: "The port, from 1 to 65535, or several in a row, as `9200-9203`; each port once.",
    },
    NestedKey {
        name: "dormant_after",
        value: "duration, `7d`",
        help: "Covered time without a bind, a holder or a packet after which the port is dormant.",
    },
    NestedKey {
        name: "expect",
        value: "list, `[]`",
        help: "Who may bind the port; see below. An empty list expects no process at all.",
    },
];

/// The keys of an entry of `expect`.
pub const EXPECT_KEYS: [NestedKey; 7] = [
    NestedKey {
        name: "exe",
        value: "absolute path or glob",
        help: "The executable. `*` does not match `/`, `**` does. The path must be the host's own \
               file; beside `container` it may be any file.",
    },
    NestedKey {
        name: "sha256",
        value: "64 hexadecimal digits",
        help: "The SHA-256 of the executable. Where it is not known yet, the process is judged a moment \
               later; where it cannot be known, it does not match.",
    },
    NestedKey {
        name: "package",
        value: "name or glob",
        help: "The package of dpkg, rpm or apk that installed the executable, which must be as it was \
               installed. Judged as `sha256`.",
    },
    NestedKey {
        name: "user",
        value: "name or number",
        help: "The effective user, as the host names and numbers users.",
    },
    NestedKey {
        name: "unit",
        value: "unit name or glob",
        help: "The systemd unit, with its suffix: `kannel.service`, `ssh@*.service`. systemd itself \
               binds for a socket unit: in a child in the control group of `NAME.socket`, or, in \
               older versions, in `init.scope`.",
    },
    NestedKey {
        name: "container",
        value: "id or glob",
        help: "The id of the container, at least its first 12 characters, or a glob; `\"*\"` is any \
               container. LXC uses the name as the id. Names that only a container engine knows \
               cannot be matched.",
    },
    NestedKey {
        name: "until",
        value: "date, as `2027-01-31`",
        help: "The last day, in UTC, on which the entry holds. Afterwards it expects no process. \
               It is no field that must match: an entry needs another one.",
    },
];

/// The keys of an entry of `listeners.expect`, beside those of an entry of `expect`.
pub const LISTENER_EXPECT_KEYS: [NestedKey; 1] = [NestedKey {
    name: "port",
    value: "number, range or `\"*\"`, required",
    help: "The port, several in a row, as `9200-9203`, or every port.",
}];

/// Every port that is to be watched, in ascending order; `positions` gets the place of each one.
pub(super) fn watched_ports(
    node: Node<'_>,
    positions: &mut HashMap<u16, Position>,
) -> Result<Vec<WatchedPort>, Problem> {
    const LIST: &str = "a list of ports, as [2923, 2948]";
    let empty = Problem::new(node.position, "no port is watched", "at least one port in the list");
    if matches!(node.value, Value::Null) {
        return Err(empty);
    }
    let mut ports = Vec::new();
    list(node, LIST, |item| {
        let (range, settings, position) = watched_range(item)?;
        for number in range.ports() {
            if let Some(first) = positions.insert(number, position) {
                let message = format!("port {number} is already in line {}", first.line);
                return Err(Problem::new(position, message, "every port once"));
            }
            ports.push(WatchedPort { number, ..settings.clone() });
        }
        Ok(())
    })?;
    if ports.is_empty() {
        return Err(empty);
    }
    ports.sort_unstable_by_key(|port| port.number);
    Ok(ports)
}

/// Ports by their numbers alone, or as a mapping: which, the settings of each, and where they are.
fn watched_range(node: Node<'_>) -> Result<(PortRange, WatchedPort, Position), Problem> {
    let position = node.position;
    if !matches!(node.value, Value::Mapping(_)) {
        let range = port_range(&node)?;
        return Ok((range, WatchedPort::new(range.first()), position));
    }
    let [port, dormant_after, expect] = section(node, names(&PORT_KEYS))?;
    let Some(port) = port else {
        return Err(Problem::new(position, "the key `port` is missing", PortRange::EXPECTED));
    };
    let range = port_range(&port)?;
    let mut watched = WatchedPort::new(range.first());
    if let Some(dormant_after) = dormant_after {
        watched.dormant_after = duration(&dormant_after)?;
    }
    if let Some(expect) = expect {
        watched.expect = list(expect, "a list, as [{exe: /usr/sbin/bearerbox}]", expectation)?;
    }
    Ok((range, watched, port.position))
}

fn expectation(node: Node<'_>) -> Result<Expectation, Problem> {
    let position = node.position;
    let fields = section(node, names(&EXPECT_KEYS))?;
    expectation_of(fields, position)
}

/// Listeners that are expected beside the baseline.
pub(super) fn listener_expectations(node: Node<'_>) -> Result<Vec<ListenerExpectation>, Problem> {
    const LIST: &str = "a list, as [{port: 8080, exe: /usr/sbin/nginx}]";
    list(node, LIST, |item| {
        let position = item.position;
        let [exe, sha256, package, user, unit, container, until, port] = {
            let [exe, sha256, package, user, unit, container, until] = names(&EXPECT_KEYS);
            let [port] = names(&LISTENER_EXPECT_KEYS);
            section(item, [exe, sha256, package, user, unit, container, until, port])?
        };
        let Some(port) = port else {
            let message = "the key `port` is missing";
            return Err(Problem::new(position, message, ListenerPorts::EXPECTED));
        };
        let ports = listener_ports(&port)?;
        let owner = [exe, sha256, package, user, unit, container, until];
        let owner = expectation_of(owner, position)?;
        Ok(ListenerExpectation { ports, owner })
    })
}

fn listener_ports(node: &Node<'_>) -> Result<ListenerPorts, Problem> {
    let problem = |message: String| Problem::new(node.position, message, ListenerPorts::EXPECTED);
    match &node.value {
        Value::Quoted(text) if text == "*" => Ok(ListenerPorts::All),
        Value::Plain(text) => text
            .parse()
            .map(ListenerPorts::Range)
            .map_err(|error: PortRangeError| problem(error.to_string())),
        other => Err(problem(format!("{other} is not a port"))),
    }
}

fn expectation_of(
    [exe, sha256, package, user, unit, container, until]: [Option<Node<'_>>; 7],
    position: Position,
) -> Result<Expectation, Problem> {
    let expectation = Expectation {
        exe: exe.map(|exe| executable(&exe)).transpose()?,
        sha256: sha256
            .map(|hash| matching(&hash, "a SHA-256: 64 hexadecimal digits"))
            .transpose()?,
        package: package
            .map(|name| matching(&name, "the name of a package or a glob, as kannel"))
            .transpose()?,
        user: user.map(|user| user_match(&user)).transpose()?,
        unit: unit
            .map(|unit| matching(&unit, "a unit or a glob, as kannel.service"))
            .transpose()?,
        container: container
            .map(|id| matching(&id, "the id of a container, its first 12 characters, or a glob"))
            .transpose()?,
        until: until.map(|day| last_day(&day)).transpose()?,
    };
    if expectation.is_empty() {
        let message = "no process is named, which would allow every process";
        let [processes @ .., _] = names(&EXPECT_KEYS);
        return Err(Problem::new(position, message, one_of(processes)));
    }
    Ok(expectation)
}

fn last_day(node: &Node<'_>) -> Result<Date, Problem> {
    const DATE: &str = "a date, as 2027-01-31";
    let text = string(node, DATE)?;
    // A date parser would take a time behind it.
    let date = text.parse().ok().filter(|date: &Date| date.to_string() == text);
    date.ok_or_else(|| Problem::new(node.position, format!("`{}` is no date", excerpt(text)), DATE))
}

fn executable(node: &Node<'_>) -> Result<Pattern, Problem> {
    const PATH: &str = "an absolute path or a glob of one, as /usr/sbin/bearerbox";
    absolute(node, PATH)?;
    matching(node, PATH)
}

fn user_match(node: &Node<'_>) -> Result<UserMatch, Problem> {
    const USER: &str = "the name or the number of a user";
    match string(node, USER)? {
        "" => Err(Problem::new(node.position, "a user without a name", USER)),
        text => Ok(text.into()),
    }
}

/// A list of globs of interface names.
pub(super) fn patterns(node: Node<'_>) -> Result<Vec<InterfacePattern>, Problem> {
    list(node, "a list of patterns, as [\"eth*\", lo]", pattern)
}

fn pattern(node: Node<'_>) -> Result<InterfacePattern, Problem> {
    matching(&node, "the name of an interface or a glob, as \"eth*\"")
}

/// How much is shown of command lines: a boolean, or `full`.
pub(super) fn command_lines(node: &Node<'_>) -> Result<CommandLines, Problem> {
    let is =
        |lines: &CommandLines| matches!(&node.value, Value::Plain(text) if *text == lines.name());
    let expected = || one_of(["true", "false", "full"]);
    CommandLines::ALL.into_iter().find(is).ok_or_else(|| {
        Problem::new(node.position, format!("{} is no boolean", node.value), expected())
    })
}

/// The path of the database.
pub(super) fn store_path(node: &Node<'_>) -> Result<PathBuf, Problem> {
    absolute(node, "an absolute path, as /var/lib/ghostport/ghostport.db").map(PathBuf::from)
}

/// The path of the file with TLS and passwords; `None` for the value `null`.
pub(super) fn web_config_file(node: &Node<'_>) -> Result<Option<PathBuf>, Problem> {
    if matches!(node.value, Value::Null) {
        return Ok(None);
    }
    absolute(node, "an absolute path, as /etc/ghostport/web.yml").map(|path| Some(path.into()))
}

/// Addresses to listen on, each once.
pub(super) fn listen_addresses(node: Node<'_>) -> Result<Vec<SocketAddr>, Problem> {
    let mut first_use = HashMap::new();
    list(node, "a list of addresses, as [\"127.0.0.1:10948\"]", |item| {
        let text = string(&item, listen::EXPECTED)?;
        let Ok(address) = listen::parse(text) else {
            let message = format!("`{}` is not an address to listen on", excerpt(text));
            return Err(Problem::new(item.position, message, listen::EXPECTED));
        };
        match first_use.insert(address, item.position) {
            None => Ok(address),
            Some(first) => Err(Problem::new(
                item.position,
                format!("{address} is already in line {}", first.line),
                "every address once",
            )),
        }
    })
}
