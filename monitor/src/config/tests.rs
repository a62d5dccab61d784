mod messages;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process,
    time::Duration,
};

use jiff::civil::date;
use monitor_kernel::{
    interfaces::{Interface, Link},
    mechanism::{BindMechanism, InterfaceMode},
};
use proptest::prelude::*;

use super::{source::MAX_FILE_BYTES, *};

fn parse(text: &str) -> Result<Config, String> {
    parse_bytes(text.as_bytes(), &Overrides::default())
}

fn parse_bytes(bytes: &[u8], overrides: &Overrides) -> Result<Config, String> {
    Config::parse(Path::new("F"), bytes.to_vec(), overrides).map_err(|error| error.to_string())
}

fn error(text: &str) -> String {
    parse(text).expect_err(text)
}

fn numbers(config: &Config) -> Vec<u16> {
    config.port_numbers().collect()
}

fn interface(name: &str) -> Interface {
    Interface::new(7, name, 1500, Link::Ethernet)
}

fn counts(config: &Config, name: &str) -> bool {
    config.interfaces.counts(&interface(name))
}

#[test]
fn nothing_is_the_defaults() {
    for text in ["", "# nothing\n", "---\n", "~", "{}", "interfaces:\nweb:\nbind: {}\n"] {
        assert_eq!(parse(text), Ok(Config::default()), "{text:?}");
    }
    let config = Config::default();
    assert_eq!(numbers(&config), [2923, 2948, 2949, 3716, 3717]);
    assert!(config.ports.iter().all(|port| port.dormant_after == DEFAULT_DORMANT_AFTER));
    assert!(config.ports.iter().all(|port| port.expect.is_empty()), "no process is expected");
    assert!(counts(&config, "lo") && counts(&config, "eth0"));
    assert_eq!(config.interfaces, Interfaces::default());
}

#[test]
fn a_range_is_every_port_of_it() {
    let text = "ports:\n  - 9203-9205\n  - 7\n  - {port: 9200-9201, dormant_after: 1h, expect: [{user: root}]}";
    let config = parse(text).expect(text);
    let numbers: Vec<u16> = config.port_numbers().collect();
    assert_eq!(numbers, [7, 9200, 9201, 9203, 9204, 9205]);
    let [_, first, second, ..] = config.ports.as_slice() else { panic!("{numbers:?}") };
    assert_eq!(first.dormant_after, Duration::from_secs(3600));
    assert_eq!((&first.expect, first.expect.len()), (&second.expect, 1));
    let all = parse("web: {listen: []}\nports: [1-65535]");
    assert_eq!(all.map(|all| all.ports.len()), Ok(65_535));
}

#[test]
fn listeners_are_of_no_port_of_all_or_of_some() {
    let watch = |value: &str| {
        let config = parse(&format!("listeners: {{watch: {value}}}")).expect(value);
        let shown = config.to_string();
        assert_eq!(parse(&shown).as_ref(), Ok(&config), "{shown}");
        config.listeners.watch
    };
    assert_eq!(watch("none"), ListenerWatch::default());
    assert!(watch("none").is_empty() && watch("[]").is_empty() && !watch("all").is_empty());
    let all = watch("all").ports();
    assert!(!all.contains(0) && (1..=u16::MAX).all(|port| all.contains(port)));
    let some = watch("[22, 8000-8002]").ports();
    let ports = (0..=u16::MAX).filter(|port| some.contains(*port));
    assert!(ports.eq([22, 8000, 8001, 8002]));
}

#[test]
fn every_key_is_read() {
    let config = parse(
        r#"
ports:
  - 80
  - port: 22
    dormant_after: 1h30m
    expect:
      - {exe: /usr/sbin/sshd, user: root, unit: "ssh@*.service"}
      - user: 1000
        container: 4c01db0b339c
interfaces:
  include: [eth0, "wl*"]
  exclude: []
  mode: xdp-generic
bind: {mechanism: kprobe}
payload: {capture: false, keep: bytes, details: full}
identified: every
process: {command_line: false}
listeners:
  watch: [443, 8000-8999]
  learn: 2w
  expect:
    - {port: "*", user: root}
    - {port: 8080-8081, exe: /usr/sbin/nginx, until: 2027-01-31}
store: {path: /tmp/g.db, retain: 4w, history: 2y, max_size: 1GiB}
web:
  listen: ["[::1]:9000", 127.0.0.1:9000]
  config_file: /etc/web.yml
  details: never
metrics: {holder_info: true}
sinks:
  - {kind: stdout}
  - kind: file
    path: /tmp/events.jsonl
"#,
    )
    .expect("a configuration");
    assert_eq!(numbers(&config), [22, 80]);
    assert!(config.holder_info);
    assert_eq!(config.listeners.watch.to_string(), "[443, 8000-8999]");
    let ssh = config.port(22).expect("a port");
    assert_eq!(ssh.dormant_after, Duration::from_secs(5_400));
    assert_eq!(ssh.expect[0].exe, Some("/usr/sbin/sshd".parse().expect("a path")));
    assert_eq!(ssh.expect[0].user, Some(UserMatch::Name("root".into())));
    assert_eq!(ssh.expect[0].unit, Some("ssh@*.service".parse().expect("a unit")));
    assert_eq!(ssh.expect[0].container, None);
    assert_eq!(ssh.expect[1].user, Some(UserMatch::Id(1000)));
    assert_eq!(ssh.expect[1].container, Some("4c01db0b339c".parse().expect("an id")));
    assert_eq!(config.port(80), Some(&WatchedPort::new(80)));
    assert_eq!(config.port(81), None);
    let retain = Duration::from_secs(28 * 86_400);
    let store = StoreConfig {
        path: "/tmp/g.db".into(),
        retain,
        history: Duration::from_secs(2 * 365 * 86_400),
        max_size: 1 << 30,
        reserve: DiskReserve::Usual,
    };
    assert_eq!(config.store, store);
    assert_eq!(config.web_details, WebDetails::Never);
    assert_eq!(config.web_config_file, Some("/etc/web.yml".into()));
    assert_eq!(config.interfaces.include.len(), 2);
    assert!(counts(&config, "wlan0") && !counts(&config, "eth1"));
    assert_eq!(config.interfaces.exclude, []);
    assert_eq!(config.interfaces.mode, InterfaceMode::XdpGeneric);
    assert_eq!(config.bind_mechanism, BindMechanism::Kprobe);
    let payload =
        PayloadConfig { capture: false, keep: PayloadKeep::Bytes, details: PayloadDetails::Full };
    assert_eq!(config.payload, payload);
    assert_eq!(config.identified, IdentifiedEvents::Every);
    assert_eq!(config.command_line, CommandLines::Omitted);
    assert_eq!(config.listeners.learn, Duration::from_secs(14 * 86_400));
    let [any, nginx] = config.listeners.expect.as_slice() else { panic!("two entries") };
    assert_eq!((any.ports, &any.owner.user), (ListenerPorts::All, &Some("root".into())));
    assert!(nginx.ports.include(8081) && !nginx.ports.include(8082));
    assert_eq!(nginx.owner.until, Some(date(2027, 1, 31)));
    assert_eq!(config.web_listen.len(), 2);
    let file = SinkConfig::new(SinkTarget::file(Path::new("/tmp/events.jsonl")));
    assert_eq!(config.sinks, [SinkConfig::new(SinkTarget::Stdout), file]);
}

#[test]
fn anchors_and_tags_are_refused() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n";
    let anchors = "anchors (&name) and aliases (*name) are not supported; expected the value itself; \
                   a pattern that begins with * in quotes";
    assert_eq!(error(bomb), format!("F:1:7: {anchors}"));
    assert_eq!(error("interfaces: {include: [*eth]}"), format!("F:1:24: {anchors}"));
    assert_eq!(error("interfaces: {include: [*]}"), format!("F:1:24: {anchors}"));
    let tag = error("ports: !!set [1]");
    assert!(tag.contains("the tag `!!set` is not supported"), "{tag}");
}

#[test]
fn bytes_that_are_not_text_are_located() {
    let error = |bytes: &[u8]| parse_bytes(bytes, &Overrides::default()).expect_err("no text");
    let expected = "F:2:4: a byte that is not UTF-8; expected text in UTF-8";
    assert_eq!(error(b"a: 1\nb: \xff"), expected);
    assert!(error(b"\0").starts_with("F:1:1: not YAML"));
}

#[test]
fn nesting_is_bounded() {
    for opening in ["[", "{a: ", "- ", "? "] {
        let deep = error(&opening.repeat(5_000));
        assert!(deep.starts_with("F:1:"), "{deep}");
    }
    let deep = error(&format!("ports: {}1{}", "[".repeat(20), "]".repeat(20)));
    assert_eq!(deep, "F:1:24: nested too deeply; expected at most 16 levels");
}

#[test]
fn command_lines_are_masked_unless_all_is_wanted() {
    let command_line = |text: &str| parse(text).map(|config| config.command_line);
    assert_eq!(command_line("{}"), Ok(CommandLines::Masked));
    for (value, expected) in [
        ("true", CommandLines::Masked),
        ("false", CommandLines::Omitted),
        ("full", CommandLines::Full),
    ] {
        assert_eq!(command_line(&format!("process: {{command_line: {value}}}")), Ok(expected));
    }
}

#[test]
fn the_command_line_overrides_the_file() {
    let overrides = Overrides {
        web_listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 9))],
        web_config_file: Some("/web.yml".into()),
        interfaces: vec!["veth*".parse().expect("a glob")],
    };
    let text = b"ports: [10948]\nweb: {listen: ['127.0.0.1:10948']}\n";
    let config = parse_bytes(text, &overrides).expect("a configuration");
    assert_eq!(config.web_listen, overrides.web_listen);
    assert_eq!(config.web_config_file, overrides.web_config_file);
    assert!(counts(&config, "veth0"), "exclude is emptied");

    let overrides = Overrides { interfaces: Vec::new(), ..overrides };
    assert_eq!(
        parse_bytes(b"ports: [1,\n 9]", &overrides),
        Err("F:2:2: the agent itself listens on 127.0.0.1:9; expected the agent to listen on a port \
             that is not watched: web.listen or --web.listen-address"
            .into()),
    );
}

#[test]
fn what_matches_no_interface_is_told() {
    let config =
        parse("interfaces: {include: [eth0, 'w*', lo, 'kind:bond']}").expect("a configuration");
    let interfaces = ["lo", "wlan0"].map(interface);
    let unmatched = config.interfaces.unmatched(interfaces.iter()).map(ToString::to_string);
    let unmatched: Vec<String> = unmatched.collect();
    assert_eq!(unmatched, ["eth0", "kind:bond"]);
}

#[test]
fn files_are_read_with_care() {
    let load = |path: &Path| Config::load(Some(path), &Overrides::default());
    let missing = load(Path::new("/nonexistent/f.yaml")).expect_err("no file").to_string();
    assert!(missing.starts_with("/nonexistent/f.yaml: cannot be read: No such file"), "{missing}");
    assert!(load(Path::new("/")).is_err());
    let device = load(Path::new("/dev/zero")).expect_err("a device").to_string();
    assert!(device.contains("it is no regular file"), "{device}");
    assert_eq!(load(Path::new("/dev/null")).expect("nothing"), Config::default());
    let fifo = std::env::temp_dir().join(format!("ghostport-config-{}.fifo", process::id()));
    let made = process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let refused = load(&fifo).expect_err("a FIFO").to_string();
    fs::remove_file(&fifo).expect("removed");
    assert!(refused.contains("it is no regular file"), "{refused}");

    let path = std::env::temp_dir().join(format!("ghostport-config-{}.yaml", process::id()));
    let mut file = File::create(&path).expect("a file");
    file.write_all(b"ports: [7, x]").expect("written");
    let invalid = load(&path).expect_err("invalid").to_string();
    fs::remove_file(&path).expect("removed");
    assert_eq!(
        invalid,
        format!("{}:1:12: `x` is not a port; expected {}", path.display(), PortRange::EXPECTED)
    );
}

#[test]
fn what_is_shown_reads_back() {
    let hash = "0123456789abcdef".repeat(4);
    let expect = &format!(
        r#"[{{exe: "/a*", sha256: {hash}, package: 'a*', user: '12'}}, {{user: x, unit: y.service, container: "*", until: 2027-01-31}}]"#
    );
    let listeners = r#"{watch: [5-9], learn: 1h, expect: [{port: "*", exe: /a}, {port: 5-9, user: x, until: 2030-12-01}]}"#;
    let text = &format!(
        "ports: [9, {{port: 1, dormant_after: 10s, expect: {expect}}}]\n\
         listeners: {listeners}\n\
         store: {{path: \"/a b/é\", retain: 1h30m, max_size: 1500KiB, reserve: 1GiB}}\n\
         evidence: {{max_size: none, per_minute: 1GiB}}\n\
         web: {{listen: [], config_file: /a b.yml, details: authenticated}}\nmetrics: {{holder_info: true}}\nsinks: [{{kind: file, path: \"/a b/\\\"é\\n\"}}, \
         {{kind: journal}}, {{kind: syslog, address: 'tls:[::1]:6514', min_severity: warning}}, {{kind: webhook, url: 'https://a/b?c=d'}}, \
         {{kind: alertmanager, url: 'http://a:9093', labels: {{instance: 'web1:1', dc: ''}}, linger: 2s}}, \
         {{kind: stdout, kinds: [bind, awakened], min_severity: warning, labels: {{dc: fra}}}}, \
         {{kind: webhook, url: 'https://a/', headers_file: /a/h, linger: 1m, template: '{{\"x\": {{{{ event.text|tojson }}}}}}'}}, \
         {{kind: otlp, endpoint: 'http://[::1]:4318', rate: 9, format: ocsf}}, \
         {{kind: file, path: /a, max_size: none, keep: 9, reserve: none}}, \
         {{kind: file, path: /b, max_size: 1MiB, reserve: 2GiB}}]\n"
    );
    for config in [Config::default(), parse(text).expect("a configuration")] {
        assert_eq!(parse(&config.to_string()), Ok(config));
    }
    insta::assert_snapshot!(Config::default(), @r#"
    ports:
      - {port: 2923, dormant_after: 7d, expect: []}
      - {port: 2948, dormant_after: 7d, expect: []}
      - {port: 2949, dormant_after: 7d, expect: []}
      - {port: 3716, dormant_after: 7d, expect: []}
      - {port: 3717, dormant_after: 7d, expect: []}
    interfaces:
      include: ["*"]
      exclude: ["kind:veth", "kind:bridge", "kind:ifb", "kind:dummy", "kind:tap", "kind:vxlan", "kind:geneve", "kind:netkit"]
      mode: auto
    bind:
      mechanism: auto
    payload:
      capture: true
      keep: hash
      details: names
    identified: first
    process:
      command_line: true
    evidence:
      max_size: 256MiB
      per_minute: 512MiB
    listeners:
      watch: none
      learn: 14d
      expect: []
    store:
      path: "/var/lib/ghostport/ghostport.db"
      retain: 90d
      history: 1825d
      max_size: 256MiB
      reserve: auto
    web:
      listen: ["127.0.0.1:10948"]
      config_file: null
      details: admins
    metrics:
      holder_info: false
    sinks: [{kind: stdout}]
    "#);
}

/// Values that differ from the defaults in every key that `KEYS` says needs a restart.
const CHANGED: &str = "bind: {mechanism: tracepoint}\n\
                       process: {command_line: false}\n\
                       store: {path: /tmp/other.db, retain: 1d}\n\
                       web: {listen: [], config_file: /web.yml, details: never}\n";

#[test]
fn a_reload_keeps_what_needs_a_restart_and_names_it() {
    let running = Config::default();
    let mut read = parse(CHANGED).expect("a configuration");
    let changed = read.keep_until_restart(&running);
    let restart = |key: &&Key| matches!(key.change, Change::Restart(_));
    let expected: Vec<&str> = KEYS.iter().filter(restart).map(|key| key.path).collect();
    assert_eq!(changed, expected, "CHANGED names every key that needs a restart");
    assert_eq!(
        changed,
        ["bind.mechanism", "process.command_line", "store.path", "web.listen", "web.config_file"]
    );
    for key in KEYS.iter().filter(restart) {
        assert_eq!(key.shown(&read), key.shown(&running), "{}", key.path);
    }
    assert_eq!(read.web_details, WebDetails::Never, "other keys are those of the file");
    assert_eq!(read.store.retain, Duration::from_secs(86_400));
    assert_eq!(read.keep_until_restart(&running), [""; 0], "nothing differs any more");
}

#[test]
fn keys_of_one_section_are_together() {
    let mut sections: Vec<&str> = KEYS.iter().map(Key::section).collect();
    sections.dedup();
    let count = sections.len();
    sections.sort_unstable();
    sections.dedup();
    assert_eq!(sections.len(), count);
}

#[test]
fn every_port_can_be_watched() {
    let own = "web: {listen: ['127.0.0.1:0']}\n";
    let flow = (1..=u16::MAX).fold(format!("{own}ports: ["), |mut text, port| {
        let _ = write!(text, "{port}, ");
        text
    }) + "]";
    let block = (1..=u16::MAX).fold(format!("{own}ports:\n"), |mut text, port| {
        let _ = writeln!(text, "  - port: {port}");
        text
    });
    for text in [flow, block] {
        let config = parse(&text).expect("a configuration");
        assert_eq!(config.ports.len(), 65_535);
        assert!((config.to_string().len() as u64) < MAX_FILE_BYTES, "it must read back");
    }
}

proptest! {
    #[test]
    fn no_text_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes, &Overrides::default());
    }

    #[test]
    fn no_almost_yaml_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "ports", "interfaces", "include", "mode", "web", "listen", "sinks", "kind", "file", ": ",
        ":", "- ", "[", "]", "{", "}", ", ", "\n", "\n  ", "\n    ", "*", "&a ", "!!int ", "'", "\"",
        "2948", "-1", "~", "|\n", ">\n", "? ", "# ", "---\n", "\t", "127.0.0.1:1", "\u{feff}",
    ]), 0..40)) {
        let text = parts.concat();
        if let Err(message) = parse(&text) {
            prop_assert!(message.contains("; expected "), "{message}");
            prop_assert!(message.starts_with("F:") || message.contains("is watched"), "{message}");
        }
    }

    #[test]
    fn ports_come_back_sorted(ports in prop::collection::hash_set(1_u16.., 1..50)) {
        let list: Vec<String> = ports.iter().map(u16::to_string).collect();
        let text = format!("web: {{listen: []}}\nports: [{}]", list.join(", "));
        let mut sorted: Vec<u16> = ports.into_iter().collect();
        sorted.sort_unstable();
        prop_assert_eq!(parse(&text).map(|config| numbers(&config)), Ok(sorted));
    }
}
