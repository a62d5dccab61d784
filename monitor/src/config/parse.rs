//! From the YAML tree to a [`Config`]: every key is known, every value checked where it stands.

use std::{collections::HashMap, fmt::Display, net::SocketAddr, path::PathBuf};

use super::{
    BindMechanism, Config, InterfaceMode, Interfaces, Overrides, Pattern, SinkConfig,
    error::OTHER_PORT,
    listen,
    yaml::{self, Entry, Node, Position, Problem, Value, excerpt},
};

const PORT: &str = "a port from 1 to 65535";

/// The configuration that `text` and `overrides` describe together.
pub(super) fn config(text: &str, overrides: &Overrides) -> Result<Config, Problem> {
    let root = yaml::parse(text)?;
    let mut config = Config::default();
    let mut port_positions = HashMap::new();
    let [ports, interfaces, bind, process, web, sinks] =
        section(root, ["ports", "interfaces", "bind", "process", "web", "sinks"])?;
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
    if let Some(process) = process {
        let [command_line] = section(process, ["command_line"])?;
        if let Some(command_line) = command_line {
            config.command_line = boolean(&command_line)?;
        }
    }
    if let Some(web) = web {
        let [listen] = section(web, ["listen"])?;
        if let Some(listen) = listen {
            config.web_listen = listen_addresses(listen)?;
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
) -> Result<Vec<u16>, Problem> {
    const LIST: &str = "a list of ports, as [2923, 2948]";
    let empty = Problem::new(node.position, "no port is watched", "at least one port in the list");
    if matches!(node.value, Value::Null) {
        return Err(empty);
    }
    let mut ports = list(node, LIST, |item| {
        let (port, position) = watched_port(item)?;
        match positions.insert(port, position) {
            None => Ok(port),
            Some(first) => Err(Problem::new(
                position,
                format!("port {port} is already in line {}", first.line),
                "every port once",
            )),
        }
    })?;
    if ports.is_empty() {
        return Err(empty);
    }
    ports.sort_unstable();
    Ok(ports)
}

/// A port by its number, or as a mapping with the key `port`.
fn watched_port(node: Node<'_>) -> Result<(u16, Position), Problem> {
    let position = node.position;
    if !matches!(node.value, Value::Mapping(_)) {
        return Ok((port_number(&node)?, position));
    }
    match section(node, ["port"])? {
        [Some(port)] => Ok((port_number(&port)?, port.position)),
        [None] => Err(Problem::new(position, "the key `port` is missing", PORT)),
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
    const GLOB: &str = "the name of an interface or a glob, as \"eth*\"";
    string(&node, GLOB)?
        .parse()
        .map_err(|error: super::PatternError| Problem::new(node.position, error.to_string(), GLOB))
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

fn sink(node: Node<'_>) -> Result<SinkConfig, Problem> {
    const KINDS: [&str; 2] = ["stdout", "file"];
    let position = node.position;
    let [kind, path] = section(node, ["kind", "path"])?;
    let Some(kind) = kind else {
        return Err(Problem::new(position, "the key `kind` is missing", one_of(KINDS)));
    };
    match (choice(kind, KINDS, |kind| kind)?, path) {
        ("file", Some(path)) => Ok(SinkConfig::File { path: absolute_path(&path)? }),
        ("file", None) => {
            Err(Problem::new(position, "the key `path` is missing", "the path of the file"))
        }
        (_, Some(path)) => Err(Problem::new(
            path.position,
            "the sink stdout has no path",
            "kind: file, or no path",
        )),
        (_, None) => Ok(SinkConfig::Stdout),
    }
}

/// The agent changes into no directory, but who starts it may: only an absolute path stays true.
fn absolute_path(node: &Node<'_>) -> Result<PathBuf, Problem> {
    const PATH: &str = "an absolute path, as /var/log/ghostport/events.jsonl";
    let text = string(node, PATH)?;
    if text.starts_with('/') && !text.contains('\0') {
        return Ok(PathBuf::from(text));
    }
    Err(Problem::new(node.position, format!("`{}` is not an absolute path", excerpt(text)), PATH))
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

/// The values of the keys `allowed`; any other key, and any key twice, is a problem.
fn section<'text, const N: usize>(
    node: Node<'text>,
    allowed: [&'static str; N],
) -> Result<[Option<Node<'text>>; N], Problem> {
    let mut found: [Option<Entry<'text>>; N] = [const { None }; N];
    let keys = || one_of(allowed);
    let entries = match node.value {
        Value::Mapping(entries) => entries,
        // A section whose keys are all commented out.
        Value::Null => Vec::new(),
        other => {
            let message = format!("{other} in the place of a mapping");
            return Err(Problem::new(node.position, message, format!("the keys {}", keys())));
        }
    };
    for entry in entries {
        let Some(index) = allowed.iter().position(|key| *key == entry.key) else {
            let message = format!("unknown key `{}`", excerpt(&entry.key));
            return Err(Problem::new(entry.key_position, message, keys()));
        };
        if let Some(first) = &found[index] {
            let line = first.key_position.line;
            let message = format!("the key `{}` is already in line {line}", entry.key);
            return Err(Problem::new(entry.key_position, message, "every key once"));
        }
        found[index] = Some(entry);
    }
    Ok(found.map(|entry| entry.map(|entry| entry.value)))
}

fn list<'text, T>(
    node: Node<'text>,
    expected: &str,
    mut item: impl FnMut(Node<'text>) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    match node.value {
        Value::List(items) => items.into_iter().map(&mut item).collect(),
        other => {
            let message = format!("{other} in the place of a list");
            Err(Problem::new(node.position, message, expected))
        }
    }
}

fn string<'node>(node: &'node Node<'_>, expected: &str) -> Result<&'node str, Problem> {
    match &node.value {
        Value::Plain(text) | Value::Quoted(text) => Ok(text),
        other => {
            let message = format!("{other} in the place of a string");
            Err(Problem::new(node.position, message, expected))
        }
    }
}

fn choice<T: Copy, const N: usize>(
    node: Node<'_>,
    choices: [T; N],
    name: impl Fn(T) -> &'static str,
) -> Result<T, Problem> {
    let expected = || one_of(choices.map(&name));
    let text = string(&node, &expected())?;
    choices.into_iter().find(|choice| name(*choice) == text).ok_or_else(|| {
        Problem::new(node.position, format!("`{}` is not known here", excerpt(text)), expected())
    })
}

/// As in YAML 1.2: nothing else is a boolean, `yes` least of all.
fn boolean(node: &Node<'_>) -> Result<bool, Problem> {
    match &node.value {
        Value::Plain(text) if text == "true" => Ok(true),
        Value::Plain(text) if text == "false" => Ok(false),
        other => {
            Err(Problem::new(node.position, format!("{other} is no boolean"), "true or false"))
        }
    }
}

fn one_of(names: impl IntoIterator<Item = impl Display>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    match names.as_slice() {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
