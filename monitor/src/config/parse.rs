//! From the YAML tree to a [`Config`]: every key is known, every value checked where it stands.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use super::{
    Config, Expectation, Interfaces, Overrides, Pattern, PayloadKeep, StoreConfig, UserMatch,
    WatchedPort, WebDetails,
    error::OTHER_PORT,
    listen, quantity,
    sink::sink,
    value::{
        absolute, boolean, choice, duration, list, matching, one_of, quantity_of, section, string,
    },
    yaml::{self, Node, Position, Problem, Value, excerpt},
};

use monitor_kernel::mechanism::{BindMechanism, InterfaceMode};

const PORT: &str = "a port from 1 to 65535";

/// The configuration that `text` and `overrides` describe together.
pub(super) fn config(text: &str, overrides: &Overrides) -> Result<Config, Problem> {
    let root = yaml::parse(text)?;
    let mut config = Config::default();
    let mut port_positions = HashMap::new();
    let [ports, interfaces, bind, payload, process, store, web, sinks] = section(
        root,
        ["ports", "interfaces", "bind", "payload", "process", "store", "web", "sinks"],
    )?;
    if let Some(ports) = ports {
        config.ports = watched_ports(ports, &mut port_positions)?;
    }
    if let Some(interfaces) = interfaces {
        config.interfaces = interface_section(interfaces)?;
    }
    if let Some(bind) = bind {
        let [mechanism] = section(bind, ["mechanism"])?;
        if let Some(mechanism) = mechanism {
            config.bind_mechanism = choice(mechanism, BindMechanism::ALL, BindMechanism::name)?;
        }
    }
    if let Some(payload) = payload {
        let [capture, keep] = section(payload, ["capture", "keep"])?;
        if let Some(capture) = capture {
            config.payload.capture = boolean(&capture)?;
        }
        if let Some(keep) = keep {
            config.payload.keep = choice(keep, PayloadKeep::ALL, PayloadKeep::name)?;
        }
    }
    if let Some(process) = process {
        let [command_line] = section(process, ["command_line"])?;
        if let Some(command_line) = command_line {
            config.command_line = boolean(&command_line)?;
        }
    }
    if let Some(store) = store {
        config.store = store_section(store)?;
    }
    if let Some(web) = web {
        let [listen, config_file, details] = section(web, ["listen", "config_file", "details"])?;
        if let Some(listen) = listen {
            config.web_listen = listen_addresses(listen)?;
        }
        if let Some(file) = config_file.filter(|file| !matches!(file.value, Value::Null)) {
            let file = absolute(&file, "an absolute path, as /etc/ghostport/web.yml")?;
            config.web_config_file = Some(PathBuf::from(file));
        }
        if let Some(details) = details {
            config.web_details = choice(details, WebDetails::ALL, WebDetails::name)?;
        }
    }
    if let Some(sinks) = sinks {
        config.sinks = list(sinks, "a list of sinks", sink)?;
    }
    config.apply(overrides);
    refuse_watched_listener(&config, &port_positions)?;
    Ok(config)
}

/// Every port that is to be watched, in ascending order; `positions` learns where each one stands.
fn watched_ports(
    node: Node<'_>,
    positions: &mut HashMap<u16, Position>,
) -> Result<Vec<WatchedPort>, Problem> {
    const LIST: &str = "a list of ports, as [2923, 2948]";
    let empty = Problem::new(node.position, "no port is watched", "at least one port in the list");
    if matches!(node.value, Value::Null) {
        return Err(empty);
    }
    let mut ports = list(node, LIST, |item| {
        let (port, position) = watched_port(item)?;
        match positions.insert(port.number, position) {
            None => Ok(port),
            Some(first) => Err(Problem::new(
                position,
                format!("port {} is already in line {}", port.number, first.line),
                "every port once",
            )),
        }
    })?;
    if ports.is_empty() {
        return Err(empty);
    }
    ports.sort_unstable_by_key(|port| port.number);
    Ok(ports)
}

/// A port by its number alone, or as a mapping.
fn watched_port(node: Node<'_>) -> Result<(WatchedPort, Position), Problem> {
    let position = node.position;
    if !matches!(node.value, Value::Mapping(_)) {
        return Ok((WatchedPort::new(port_number(&node)?), position));
    }
    let [port, dormant_after, expect] = section(node, ["port", "dormant_after", "expect"])?;
    let Some(port) = port else {
        return Err(Problem::new(position, "the key `port` is missing", PORT));
    };
    let mut watched = WatchedPort::new(port_number(&port)?);
    if let Some(dormant_after) = dormant_after {
        watched.dormant_after = duration(&dormant_after)?;
    }
    if let Some(expect) = expect {
        watched.expect = list(expect, "a list, as [{exe: /usr/sbin/bearerbox}]", expectation)?;
    }
    Ok((watched, port.position))
}

fn expectation(node: Node<'_>) -> Result<Expectation, Problem> {
    const KEYS: [&str; 4] = ["exe", "user", "unit", "container"];
    let position = node.position;
    let [exe, user, unit, container] = section(node, KEYS)?;
    let expectation = Expectation {
        exe: exe.map(|exe| executable(&exe)).transpose()?,
        user: user.map(|user| user_match(&user)).transpose()?,
        unit: unit
            .map(|unit| matching(&unit, "a unit or a glob, as kannel.service"))
            .transpose()?,
        container: container
            .map(|id| matching(&id, "the id of a container, its first 12 characters, or a glob"))
            .transpose()?,
    };
    if expectation.is_empty() {
        let message = "nobody is named, which would allow everybody";
        return Err(Problem::new(position, message, one_of(KEYS)));
    }
    Ok(expectation)
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

fn port_number(node: &Node<'_>) -> Result<u16, Problem> {
    let problem = |message: String| Err(Problem::new(node.position, message, PORT));
    let Value::Plain(text) = &node.value else {
        return problem(format!("{} is not a port", node.value));
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return problem(format!("{} is not a port", node.value));
    }
    match text.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => problem(format!("port {} does not exist", excerpt(text))),
    }
}

fn interface_section(node: Node<'_>) -> Result<Interfaces, Problem> {
    const PATTERNS: &str = "a list of patterns, as [\"eth*\", lo]";
    let mut interfaces = Interfaces::default();
    let [include, exclude, mode] = section(node, ["include", "exclude", "mode"])?;
    if let Some(include) = include {
        interfaces.include = list(include, PATTERNS, pattern)?;
    }
    if let Some(exclude) = exclude {
        interfaces.exclude = list(exclude, PATTERNS, pattern)?;
    }
    if let Some(mode) = mode {
        interfaces.mode = choice(mode, InterfaceMode::ALL, InterfaceMode::name)?;
    }
    Ok(interfaces)
}

fn pattern(node: Node<'_>) -> Result<Pattern, Problem> {
    matching(&node, "the name of an interface or a glob, as \"eth*\"")
}

fn store_section(node: Node<'_>) -> Result<StoreConfig, Problem> {
    const PATH: &str = "an absolute path, as /var/lib/ghostport/ghostport.db";
    let mut store = StoreConfig::default();
    let [path, retain, max_size] = section(node, ["path", "retain", "max_size"])?;
    if let Some(path) = path {
        store.path = PathBuf::from(absolute(&path, PATH)?);
    }
    if let Some(retain) = retain {
        store.retain = duration(&retain)?;
    }
    if let Some(max_size) = max_size {
        store.max_size = quantity_of(&max_size, quantity::parse_size, "size", quantity::SIZE)?;
    }
    Ok(store)
}

fn listen_addresses(node: Node<'_>) -> Result<Vec<SocketAddr>, Problem> {
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

/// A watched port that is the agent's own would count every scrape.
fn refuse_watched_listener(
    config: &Config,
    port_positions: &HashMap<u16, Position>,
) -> Result<(), Problem> {
    let own = config.web_listen.iter().find_map(|address| {
        port_positions.get(&address.port()).map(|position| (address, *position))
    });
    own.map_or(Ok(()), |(address, position)| {
        let message = format!("the agent itself listens on {address}");
        Err(Problem::new(position, message, OTHER_PORT))
    })
}
