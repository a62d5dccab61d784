//! The table of keys: what each one is, how it is read and written, and when a change takes effect.

use std::{collections::HashMap, fmt};

use monitor_kernel::mechanism::{BindMechanism, InterfaceMode};

use super::{
    listener_watch::ListenerWatch,
    model::{Config, IdentifiedEvents, PayloadDetails, PayloadKeep, WebDetails},
    parse, quantity, show,
    sink::sink,
    value::{boolean, choice, disk_reserve, duration, list, quantity_of, size_or_none},
    yaml::{Node, Position, Problem},
};

/// A key of the configuration file.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its section and its name, `store.path`; `ports` and `sinks` have no section.
    pub path: &'static str,
    /// What its value is, in Markdown.
    pub value: &'static str,
    /// What it does, in Markdown.
    pub help: &'static str,
    /// When a change takes effect.
    pub change: Change,
    read: fn(&mut Reading, Node<'_>) -> Result<(), Problem>,
    show: fn(&Config) -> String,
}

/// When a running agent follows a change of a key.
#[derive(Clone, Copy)]
pub enum Change {
    /// At the next reload.
    Reload,
    /// At the next start. The function copies the value of the running agent, its second argument,
    /// into the configuration that a reload has read.
    Restart(fn(&mut Config, &Config)),
}

/// A configuration while its keys are being read.
#[derive(Default)]
pub(super) struct Reading {
    /// What was read so far; defaults elsewhere.
    pub(super) config: Config,
    /// Where each port stands in the text.
    pub(super) port_positions: HashMap<u16, Position>,
}

/// Every key, in the order in which `config show` writes them. Keys of one section are together.
pub const KEYS: &[Key] = &[
    Key {
        path: "ports",
        value: "list of ports",
        help: "The watched ports, 1 to 65,535 of them. An entry is a number, a range as \
               `9200-9203`, or a mapping with the keys below. What a packet costs does not depend on how many there are.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.ports = parse::watched_ports(node, &mut reading.port_positions)?;
            Ok(())
        },
        show: |config| show::ports(&config.ports),
    },
    Key {
        path: "interfaces.include",
        value: "list of globs, names and `kind:NAME`",
        help: "An interface is counted if a glob matches its name, or if it is of that kind, as \
               `kind:bond`. New interfaces are counted as they appear.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.interfaces.include = parse::patterns(node)?;
            Ok(())
        },
        show: |config| show::patterns(&config.interfaces.include),
    },
    Key {
        path: "interfaces.exclude",
        value: "list of globs, names and `kind:NAME`",
        help: "What matches is not counted, unless `include` is more particular: a name wins over \
               globs, a glob over kinds, a kind over `*`. The list replaces the default.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.interfaces.exclude = parse::patterns(node)?;
            Ok(())
        },
        show: |config| show::patterns(&config.interfaces.exclude),
    },
    Key {
        path: "interfaces.mode",
        value: "`auto`, `xdp-native`, `xdp-generic` or `tc`",
        help: "How ingress is attached; `auto` tries native XDP first. An interface that another \
               mechanism serves already keeps it until the next start.",
        change: Change::Reload,
        read: |reading, node| {
            let mode = choice(node, InterfaceMode::ALL, InterfaceMode::name)?;
            reading.config.interfaces.mode = mode;
            Ok(())
        },
        show: |config| config.interfaces.mode.name().into(),
    },
    Key {
        path: "bind.mechanism",
        value: "`auto`, `fexit`, `kprobe`, `cgroup` or `tracepoint`",
        help: "How binds are observed; `auto` takes the best mechanism that the kernel accepts.",
        change: Change::Restart(|new, running| new.bind_mechanism = running.bind_mechanism),
        read: |reading, node| {
            let mechanism = choice(node, BindMechanism::ALL, BindMechanism::name)?;
            reading.config.bind_mechanism = mechanism;
            Ok(())
        },
        show: |config| config.bind_mechanism.name().into(),
    },
    Key {
        path: "payload.capture",
        value: "boolean",
        help: "Whether the first payload of each new conversation is captured and identified.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.payload.capture = boolean(&node)?;
            Ok(())
        },
        show: |config| config.payload.capture.to_string(),
    },
    Key {
        path: "payload.keep",
        value: "`none`, `hash` or `bytes`",
        help: "What an event keeps of a payload: nothing, a SHA-256 hash of the captured bytes, or \
               the bytes, at most 256.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.payload.keep = choice(node, PayloadKeep::ALL, PayloadKeep::name)?;
            Ok(())
        },
        show: |config| config.payload.keep.name().into(),
    },
    Key {
        path: "payload.details",
        value: "`none`, `names` or `full`",
        help: "What an event says of a payload's text: nothing; names, versions and commands, without \
               query strings, credentials, cookies and what somebody wrote; or all that is decoded.",
        change: Change::Reload,
        read: |reading, node| {
            let details = choice(node, PayloadDetails::ALL, PayloadDetails::name)?;
            reading.config.payload.details = details;
            Ok(())
        },
        show: |config| config.payload.details.name().into(),
    },
    Key {
        path: "identified",
        value: "`first` or `every`",
        help: "`first`: of conversations that were identified alike, and of alike binds, refusals, \
               listens and closes of one program, the first is an event, and the others are summed \
               up in [`summary` events](../operate/history.md#events-alike). `every`: each is an \
               event.",
        change: Change::Reload,
        read: |reading, node| {
            let identified = choice(node, IdentifiedEvents::ALL, IdentifiedEvents::name)?;
            reading.config.identified = identified;
            Ok(())
        },
        show: |config| config.identified.name().into(),
    },
    Key {
        path: "process.command_line",
        value: "`true`, `false` or `full`",
        help: "Whether events and the API have command lines, at most the first 256 bytes of a \
               caller's. With `true` what looks like a secret is masked; with `full` nothing is.",
        change: Change::Restart(|new, running| new.command_line = running.command_line),
        read: |reading, node| {
            reading.config.command_line = parse::command_lines(&node)?;
            Ok(())
        },
        show: |config| config.command_line.name().into(),
    },
    Key {
        path: "evidence.max_size",
        value: "size or `none`",
        help: "Executables and scripts that are larger are not hashed. With `none` nothing is read of \
               them: events have no hash, and `expect` entries with `sha256` or `package` match no \
               process. See [evidence](../operate/evidence.md).",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.evidence.max_size = size_or_none(&node)?;
            Ok(())
        },
        show: |config| {
            config.evidence.max_size.map_or_else(|| "none".into(), quantity::format_size)
        },
    },
    Key {
        path: "evidence.per_minute",
        value: "size",
        help: "The most that is read in a minute to hash executables and to find their packages; what \
               exceeds it waits for up to ten seconds, and has no hash then. A file that did not \
               change is read once.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.evidence.per_minute =
                quantity_of(&node, quantity::parse_size, "size", quantity::SIZE)?;
            Ok(())
        },
        show: |config| quantity::format_size(config.evidence.per_minute),
    },
    Key {
        path: "listeners.watch",
        value: "`none`, `all`, or list of ports",
        help: "The ports whose listeners are reported beside the watched ports: TCP and SCTP sockets that \
               listen, UDP and UDP-Lite sockets that were bound to a port of their program's choice. \
               Packets of these ports cost nothing, and the ports have no series. An entry is a \
               number or a range, as `8000-8999`.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.listeners.watch = ListenerWatch::read(node)?;
            Ok(())
        },
        show: |config| config.listeners.watch.to_string(),
    },
    Key {
        path: "listeners.learn",
        value: "duration",
        help: "Covered time, from the first start on, in which every listener of the host becomes part \
               of [the baseline](../operate/listeners.md).",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.listeners.learn = duration(&node)?;
            Ok(())
        },
        show: |config| quantity::format_duration(config.listeners.learn),
    },
    Key {
        path: "listeners.expect",
        value: "list, see below",
        help: "Listeners that are expected beside the baseline. Another one is reported as \
               `listener_unexpected`.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.listeners.expect = parse::listener_expectations(node)?;
            Ok(())
        },
        show: |config| show::listener_expectations(&config.listeners.expect),
    },
    Key {
        path: "store.path",
        value: "absolute path",
        help: "The SQLite database with the history and the ledger.",
        change: Change::Restart(|new, running| new.store.path.clone_from(&running.store.path)),
        read: |reading, node| {
            reading.config.store.path = parse::store_path(&node)?;
            Ok(())
        },
        show: |config| show::quoted_path(&config.store.path),
    },
    Key {
        path: "store.retain",
        value: "duration",
        help: "Events older than this are deleted.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.store.retain = duration(&node)?;
            Ok(())
        },
        show: |config| quantity::format_duration(config.store.retain),
    },
    Key {
        path: "store.history",
        value: "duration",
        help: "For how long [the history by day](../operate/report.md) is kept, in days on which the agent \
               ran. It is a file of its own, which may be as large as `max_size` beside the events.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.store.history = duration(&node)?;
            Ok(())
        },
        show: |config| quantity::format_duration(config.store.history),
    },
    Key {
        path: "store.max_size",
        value: "size",
        help: "The most that the database takes on disk, its log included; the oldest events are \
               deleted first.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.store.max_size =
                quantity_of(&node, quantity::parse_size, "size", quantity::SIZE)?;
            Ok(())
        },
        show: |config| quantity::format_size(config.store.max_size),
    },
    Key {
        path: "store.reserve",
        value: "size, `none` or `auto`",
        help: "Space of the disk that is left to others: nothing is kept that would leave less. `auto` \
               is 64 MiB, or a twentieth of the disk if that is less.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.store.reserve = disk_reserve(&node)?;
            Ok(())
        },
        show: |config| show::disk_reserve(config.store.reserve),
    },
    Key {
        path: "web.listen",
        value: "list of addresses",
        help: "Where the HTTP server listens: `127.0.0.1:10948`, `[::1]:10948`, or `:10948` for \
               every address. `--web.listen-address` replaces it. A watched port is refused.",
        change: Change::Restart(|new, running| new.web_listen.clone_from(&running.web_listen)),
        read: |reading, node| {
            reading.config.web_listen = parse::listen_addresses(node)?;
            Ok(())
        },
        show: |config| show::addresses(&config.web_listen),
    },
    Key {
        path: "web.config_file",
        value: "absolute path or `null`",
        help: "The file with TLS, passwords and headers, in the format of Prometheus' \
               exporter-toolkit; see [the web server](../operate/web-server.md). \
               `--web.config.file` replaces it. A change inside the file needs neither a reload \
               nor a restart.",
        change: Change::Restart(|new, running| {
            new.web_config_file.clone_from(&running.web_config_file);
        }),
        read: |reading, node| {
            reading.config.web_config_file = parse::web_config_file(&node)?;
            Ok(())
        },
        show: |config| show::optional_path(config.web_config_file.as_deref()),
    },
    Key {
        path: "web.details",
        value: "`admins`, `loopback`, `authenticated` or `never`",
        help: "Which clients may read the page and the API over TCP; see \
               [the web server](../operate/web-server.md). The Unix socket always serves them.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.web_details = choice(node, WebDetails::ALL, WebDetails::name)?;
            Ok(())
        },
        show: |config| config.web_details.name().into(),
    },
    Key {
        path: "metrics.holder_info",
        value: "boolean",
        help: "Whether `/metrics` names the programs that hold watched ports, as of the last scan, by \
               executable, unit, user and container; see [alerts](../operate/alerts.md#from-prometheus). \
               Of more than 64 those of the lowest ports. Every client that may read `/metrics` reads \
               them, and each program that comes makes a series.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.holder_info = boolean(&node)?;
            Ok(())
        },
        show: |config| config.holder_info.to_string(),
    },
    Key {
        path: "sinks",
        value: "list of sinks",
        help: "Where events go; any number of each kind. A sink is a mapping with the keys below.",
        change: Change::Reload,
        read: |reading, node| {
            reading.config.sinks = list(node, "a list of sinks", sink)?;
            Ok(())
        },
        show: |config| show::sinks(&config.sinks),
    },
];

impl Key {
    /// The section it is in: `store`. A key without a section is one itself.
    pub fn section(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(section, _)| section)
    }

    /// Its name in the section: `path`.
    pub fn name(&self) -> &'static str {
        self.path.split_once('.').map_or(self.path, |(_, name)| name)
    }

    /// Its value in `config`, as YAML that reads back. A block list begins with a line break.
    pub fn shown(&self, config: &Config) -> String {
        (self.show)(config)
    }

    /// Reads the value at `node`.
    pub(super) fn read(&self, reading: &mut Reading, node: Node<'_>) -> Result<(), Problem> {
        (self.read)(reading, node)
    }
}

impl Config {
    /// Gives every key that needs a restart the value that it has in `running`, and returns the
    /// paths of those that had another one.
    pub fn keep_until_restart(&mut self, running: &Self) -> Vec<&'static str> {
        let mut changed = Vec::new();
        for key in KEYS {
            let Change::Restart(keep) = key.change else { continue };
            if key.shown(self) != key.shown(running) {
                changed.push(key.path);
            }
            keep(self, running);
        }
        changed
    }
}

impl fmt::Display for Config {
    /// YAML that reads back as the same configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for key in KEYS {
            let value = key.shown(self);
            let space = if value.starts_with('\n') { "" } else { " " };
            if key.section() == key.path {
                writeln!(f, "{}:{space}{value}", key.path)?;
                continue;
            }
            if key.section() != section {
                section = key.section();
                writeln!(f, "{section}:")?;
            }
            writeln!(f, "  {}:{space}{value}", key.name())?;
        }
        Ok(())
    }
}
