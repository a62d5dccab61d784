use std::{fmt::Write as _, fs, io::Write as _, process};

use proptest::prelude::*;

use super::*;

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

#[test]
fn nothing_is_the_defaults() {
    for text in ["", "# nothing\n", "---\n", "~", "{}", "interfaces:\nweb:\nbind: {}\n"] {
        assert_eq!(parse(text), Ok(Config::default()), "{text:?}");
    }
    let config = Config::default();
    assert_eq!(numbers(&config), [2923, 2948, 2949, 3716, 3717]);
    assert!(config.ports.iter().all(|port| port.dormant_after == DEFAULT_DORMANT_AFTER));
    assert!(config.ports.iter().all(|port| port.expect.is_empty()), "nobody is expected");
    assert!(config.interfaces.counts("lo") && config.interfaces.counts("eth0"));
    for excluded in ["veth1", "docker0", "br-1a2b", "cali7", "lxcbr0", "virbr0"] {
        assert!(!config.interfaces.counts(excluded), "{excluded}");
    }
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
payload: {capture: false, keep: bytes}
process: {command_line: false}
store: {path: /tmp/g.db, retain: 4w, max_size: 1GiB}
web:
  listen: ["[::1]:9000", 127.0.0.1:9000]
  config_file: /etc/web.yml
  details: never
sinks:
  - {kind: stdout}
  - kind: file
    path: /tmp/events.jsonl
"#,
    )
    .expect("a configuration");
    assert_eq!(numbers(&config), [22, 80]);
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
    let store = StoreConfig { path: "/tmp/g.db".into(), retain, max_size: 1 << 30 };
    assert_eq!(config.store, store);
    assert_eq!(config.web_details, WebDetails::Never);
    assert_eq!(config.web_config_file, Some("/etc/web.yml".into()));
    assert_eq!(config.interfaces.include.len(), 2);
    assert!(config.interfaces.counts("wlan0") && !config.interfaces.counts("eth1"));
    assert_eq!(config.interfaces.exclude, []);
    assert_eq!(config.interfaces.mode, InterfaceMode::XdpGeneric);
    assert_eq!(config.bind_mechanism, BindMechanism::Kprobe);
    assert_eq!(config.payload, PayloadConfig { capture: false, keep: PayloadKeep::Bytes });
    assert!(!config.command_line);
    assert_eq!(config.web_listen.len(), 2);
    let file = SinkConfig::File { path: "/tmp/events.jsonl".into() };
    assert_eq!(config.sinks, [SinkConfig::Stdout, file]);
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let cases = [
        // YAML itself.
        ("ports: [1\n", "F:1:8: not YAML: unclosed bracket '['; expected YAML"),
        (
            "- 1",
            "F:1:1: a list in the place of a mapping; expected the keys ports, interfaces, bind, payload, process, store, web or sinks",
        ),
        (
            "ports: [1]\n---\nports: [2]",
            "F:2:1: a second YAML document begins here; expected one document",
        ),
        ("? [1]\n: 2", "F:1:3: a list in the place of a key; expected the name of a key"),
        // Keys.
        (
            "foo: 1\nbar: 2",
            "F:1:1: unknown key `foo`; expected ports, interfaces, bind, payload, process, store, web or sinks",
        ),
        (
            "ports:\n  - port: 1\n    expects: []",
            "F:3:5: unknown key `expects`; expected port, dormant_after or expect",
        ),
        (
            "interfaces: {includ: []}",
            "F:1:14: unknown key `includ`; expected include, exclude or mode",
        ),
        ("bind: {x: 1}", "F:1:8: unknown key `x`; expected mechanism"),
        ("payload: {keep: all}", "F:1:17: `all` is not known here; expected none, hash or bytes"),
        ("process: {x: 1}", "F:1:11: unknown key `x`; expected command_line"),
        ("process: {command_line: yes}", "F:1:25: `yes` is no boolean; expected true or false"),
        (
            "web:\n  detail: never",
            "F:2:3: unknown key `detail`; expected listen, config_file or details",
        ),
        ("store: {paht: /x}", "F:1:9: unknown key `paht`; expected path, retain or max_size"),
        (
            "sinks: [{kind: stdout, uri: x}]",
            "F:1:24: unknown key `uri`; expected kind, path, url, labels or endpoint",
        ),
        (
            "ports: [1]\nports: [2]",
            "F:2:1: the key `ports` is already in line 1; expected every key once",
        ),
        // Ports.
        ("ports:", "F:1:6: no port is watched; expected at least one port in the list"),
        ("ports: []", "F:1:8: no port is watched; expected at least one port in the list"),
        (
            "ports: 80",
            "F:1:8: `80` in the place of a list; expected a list of ports, as [2923, 2948]",
        ),
        ("ports: [0]", "F:1:9: port 0 does not exist; expected a port from 1 to 65535"),
        (
            "ports:\n- 1\n- 65536",
            "F:3:3: port 65536 does not exist; expected a port from 1 to 65535",
        ),
        ("ports: [-5]", "F:1:9: port -5 does not exist; expected a port from 1 to 65535"),
        ("ports: [1e3]", "F:1:9: `1e3` is not a port; expected a port from 1 to 65535"),
        ("ports: [1-9]", "F:1:9: `1-9` is not a port; expected a port from 1 to 65535"),
        (
            "ports: ['80']",
            "F:1:9: the string \"80\" is not a port; expected a port from 1 to 65535",
        ),
        ("ports: [[80]]", "F:1:9: a list is not a port; expected a port from 1 to 65535"),
        ("ports: [~]", "F:1:9: nothing is not a port; expected a port from 1 to 65535"),
        ("ports: [{}]", "F:1:9: the key `port` is missing; expected a port from 1 to 65535"),
        ("ports: [{port: x}]", "F:1:16: `x` is not a port; expected a port from 1 to 65535"),
        (
            "ports:\n- 80\n- port: 80",
            "F:3:9: port 80 is already in line 2; expected every port once",
        ),
        (
            "ports:\n- port: 80\n  dormant_after: 7",
            "F:3:18: `7` is no duration that can be used; expected a duration from 1s to 100y, as 7d or 1h30m; units, the largest first: y, w, d, h, m, s",
        ),
        (
            "ports: [{port: 80, dormant_after: [7d]}]",
            "F:1:35: a list in the place of a string; expected a duration from 1s to 100y, as 7d or 1h30m; units, the largest first: y, w, d, h, m, s",
        ),
        (
            "ports: [{port: 80, expect: {exe: /x}}]",
            "F:1:28: a mapping in the place of a list; expected a list, as [{exe: /usr/sbin/bearerbox}]",
        ),
        (
            "ports: [{port: 80, expect: [{}]}]",
            "F:1:29: nobody is named, which would allow everybody; expected exe, user, unit or container",
        ),
        (
            "ports: [{port: 80, expect: [{exe: nc}]}]",
            "F:1:35: `nc` is not an absolute path; expected an absolute path or a glob of one, as /usr/sbin/bearerbox",
        ),
        (
            "ports: [{port: 80, expect: [{exe: '/usr/['}]}]",
            "F:1:35: the pattern `/usr/[` cannot be used: unclosed character class; missing ']'; expected an absolute path or a glob of one, as /usr/sbin/bearerbox",
        ),
        (
            "ports: [{port: 80, expect: [{user: ''}]}]",
            "F:1:36: a user without a name; expected the name or the number of a user",
        ),
        (
            "ports: [{port: 80, expect: [{unit: kannel}]}]",
            "F:1:36: the pattern `kannel` cannot be used: it lacks the suffix of a unit, as .service; expected a unit or a glob, as kannel.service",
        ),
        (
            "ports: [{port: 80, expect: [{container: ''}]}]",
            "F:1:41: the pattern `` cannot be used: it is empty and would match nothing; expected the id of a container, its first 12 characters, or a glob",
        ),
        // Store.
        (
            "store: {path: g.db}",
            "F:1:15: `g.db` is not an absolute path; expected an absolute path, as /var/lib/ghostport/ghostport.db",
        ),
        (
            "store: {retain: forever}",
            "F:1:17: `forever` is no duration that can be used; expected a duration from 1s to 100y, as 7d or 1h30m; units, the largest first: y, w, d, h, m, s",
        ),
        (
            "store: {max_size: 256MB}",
            "F:1:19: `256MB` is no size that can be used; expected a size from 1MiB to 1024GiB, as 256MiB; units: B, KiB, MiB, GiB",
        ),
        // Interfaces.
        (
            "interfaces: 5",
            "F:1:13: `5` in the place of a mapping; expected the keys include, exclude or mode",
        ),
        (
            "interfaces: {mode: fast}",
            "F:1:20: `fast` is not known here; expected auto, xdp-native, xdp-generic or tc",
        ),
        (
            "interfaces: {mode: [tc]}",
            "F:1:20: a list in the place of a string; expected auto, xdp-native, xdp-generic or tc",
        ),
        (
            "interfaces: {include: eth0}",
            "F:1:23: `eth0` in the place of a list; expected a list of patterns, as [\"eth*\", lo]",
        ),
        (
            "interfaces: {include: [{}]}",
            "F:1:24: a mapping in the place of a string; expected the name of an interface or a glob, as \"eth*\"",
        ),
        (
            "interfaces:\n  exclude: ['a[']",
            "F:2:13: the pattern `a[` cannot be used: unclosed character class; missing ']'; expected the name of an interface or a glob, as \"eth*\"",
        ),
        // Bind.
        (
            "bind: {mechanism: ebpf}",
            "F:1:19: `ebpf` is not known here; expected auto, fexit, kprobe, cgroup or tracepoint",
        ),
        // Web.
        (
            "web: {listen: 10948}",
            "F:1:15: `10948` in the place of a list; expected a list of addresses, as [\"127.0.0.1:10948\"]",
        ),
        (
            "web: {listen: [localhost]}",
            "F:1:16: `localhost` is not an address to listen on; expected an address and a port, as 127.0.0.1:10948, [::1]:10948 or :10948",
        ),
        (
            "web:\n  listen:\n  - 127.0.0.1:1\n  - 127.0.0.1:1",
            "F:4:5: 127.0.0.1:1 is already in line 3; expected every address once",
        ),
        (
            "ports: [80,\n  10948]",
            "F:2:3: the agent itself listens on 127.0.0.1:10948; expected the agent to listen on a port that is not watched: web.listen or --web.listen-address",
        ),
        (
            "web: {listen: ['127.0.0.1:2948']}",
            "port 2948 is watched and the agent itself listens on 127.0.0.1:2948; expected the agent to listen on a port that is not watched: web.listen or --web.listen-address",
        ),
        (
            "web: {details: all}",
            "F:1:16: `all` is not known here; expected loopback, authenticated or never",
        ),
        // Sinks.
        ("sinks: stdout", "F:1:8: `stdout` in the place of a list; expected a list of sinks"),
        (
            "sinks: [{}]",
            "F:1:9: the key `kind` is missing; expected stdout, file, journal, webhook, alertmanager or otlp",
        ),
        (
            "sinks: [{kind: kafka}]",
            "F:1:16: `kafka` is not known here; expected stdout, file, journal, webhook, alertmanager or otlp",
        ),
        (
            "sinks: [{kind: file}]",
            "F:1:9: the key `path` is missing; expected the path of the file",
        ),
        (
            "sinks: [{kind: stdout, path: /x}]",
            "F:1:30: the sink stdout has no path; expected kind: file, or no path",
        ),
        (
            "sinks: [{kind: file, path: x}]",
            "F:1:28: `x` is not an absolute path; expected an absolute path, as /var/log/ghostport/events.jsonl",
        ),
        (
            "sinks: [{kind: webhook}]",
            "F:1:9: the key `url` is missing; expected a URL, as http://127.0.0.1:9093 or https://example.org/hook",
        ),
        (
            "sinks: [{kind: webhook, url: 'https://me:secret@example.org/'}]",
            "F:1:30: credentials in a URL are not supported; expected a URL, as http://127.0.0.1:9093 or https://example.org/hook",
        ),
        (
            "sinks: [{kind: file, path: /x, url: 'http://x'}]",
            "F:1:37: the sink file has no url; expected kind: webhook or alertmanager, or no url",
        ),
        (
            "sinks: [{kind: alertmanager, url: 'http://x', labels: {port: '1'}}]",
            "F:1:56: every alert has a port of its own; expected names of labels and their values, as {instance: \"web1:10948\"}",
        ),
        (
            "sinks: [{kind: alertmanager, url: 'http://x', labels: {a-b: x}}]",
            "F:1:56: `a-b` is not the name of a label; expected names of labels and their values, as {instance: \"web1:10948\"}",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(error(text), message, "{text}");
    }
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
    assert!(config.interfaces.counts("veth0"), "exclude is emptied");

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
    let config = parse("interfaces: {include: [eth0, 'w*', lo]}").expect("a configuration");
    let names = ["lo".to_owned(), "wlan0".to_owned()];
    let unmatched: Vec<&str> = config.interfaces.unmatched(&names).map(Pattern::as_str).collect();
    assert_eq!(unmatched, ["eth0"]);
}

#[test]
fn files_are_read_with_care() {
    let load = |path: &Path| Config::load(Some(path), &Overrides::default());
    let missing = load(Path::new("/nonexistent/f.yaml")).expect_err("no file").to_string();
    assert!(missing.starts_with("/nonexistent/f.yaml: cannot be read: No such file"), "{missing}");
    assert!(load(Path::new("/")).is_err());
    assert!(matches!(load(Path::new("/dev/zero")), Err(ConfigError::TooLarge { .. })));

    let path = std::env::temp_dir().join(format!("ghostport-config-{}.yaml", process::id()));
    let mut file = File::create(&path).expect("a file");
    file.write_all(b"ports: [7, x]").expect("written");
    let invalid = load(&path).expect_err("invalid").to_string();
    fs::remove_file(&path).expect("removed");
    assert_eq!(
        invalid,
        format!("{}:1:12: `x` is not a port; expected a port from 1 to 65535", path.display())
    );
}

#[test]
fn what_is_shown_reads_back() {
    let expect = r#"[{exe: "/a*", user: '12'}, {user: x, unit: y.service, container: "*"}]"#;
    let text = &format!(
        "ports: [9, {{port: 1, dormant_after: 10s, expect: {expect}}}]\n\
         store: {{path: \"/a b/é\", retain: 1h30m, max_size: 1500KiB}}\n\
         web: {{listen: [], config_file: /a b.yml, details: authenticated}}\nsinks: [{{kind: file, path: \"/a b/\\\"é\\n\"}}, \
         {{kind: journal}}, {{kind: webhook, url: 'https://a/b?c=d'}}, \
         {{kind: alertmanager, url: 'http://a:9093', labels: {{instance: 'web1:1', dc: ''}}}}, \
         {{kind: otlp, endpoint: 'http://[::1]:4318'}}]\n"
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
      exclude: ["veth*", "docker*", "br-*", "cali*", "lxc*", "virbr*"]
      mode: auto
    bind:
      mechanism: auto
    payload:
      capture: true
      keep: hash
    process:
      command_line: true
    store:
      path: "/var/lib/ghostport/ghostport.db"
      retain: 90d
      max_size: 256MiB
    web:
      listen: ["127.0.0.1:10948"]
      config_file: null
      details: loopback
    sinks: [{kind: stdout}]
    "#);
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
