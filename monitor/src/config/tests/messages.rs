//! What an error says, key by key.

use super::error;

#[test]
fn errors_say_where_and_what_was_expected() {
    let cases = [
        // YAML itself.
        ("ports: [1\n", "F:1:8: not YAML: unclosed bracket '['; expected YAML"),
        (
            "- 1",
            "F:1:1: a list in the place of a mapping; expected the keys ports, interfaces, bind, payload, identified, process, evidence, listeners, store, web, metrics or sinks",
        ),
        (
            "ports: [1]\n---\nports: [2]",
            "F:2:1: a second YAML document begins here; expected one document",
        ),
        ("? [1]\n: 2", "F:1:3: a list in the place of a key; expected the name of a key"),
        // Keys.
        (
            "foo: 1\nbar: 2",
            "F:1:1: unknown key `foo`; expected ports, interfaces, bind, payload, identified, process, evidence, listeners, store, web, metrics or sinks",
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
        (
            "process: {command_line: yes}",
            "F:1:25: `yes` is no boolean; expected true, false or full",
        ),
        (
            "payload: {details: all}",
            "F:1:20: `all` is not known here; expected none, names or full",
        ),
        (
            "web:\n  detail: never",
            "F:2:3: unknown key `detail`; expected listen, config_file or details",
        ),
        (
            "ports: [{port: 1, expect: [{user: x, until: 2027-02-30}]}]",
            "F:1:45: `2027-02-30` is no date; expected a date, as 2027-01-31",
        ),
        (
            "ports: [{port: 1, expect: [{until: 2027-01-31}]}]",
            "F:1:28: no process is named, which would allow every process; expected exe, sha256, package, user, unit or container",
        ),
        ("listeners: {lern: 1d}", "F:1:13: unknown key `lern`; expected watch, learn or expect"),
        (
            "listeners:\n  expect:\n    - {exe: /a}",
            "F:3:7: the key `port` is missing; expected a port from 1 to 65535, a range as 9200-9203, or \"*\"",
        ),
        (
            "listeners:\n  expect:\n    - {port: 5-1, exe: /a}",
            "F:3:14: 5-1 ends before it begins; expected a port from 1 to 65535, a range as 9200-9203, or \"*\"",
        ),
        (
            "listeners: {expect: [{port: any, exe: /a}]}",
            "F:1:29: `any` is not a port; expected a port from 1 to 65535, a range as 9200-9203, or \"*\"",
        ),
        (
            "listeners: {expect: [{port: 8080}]}",
            "F:1:22: no process is named, which would allow every process; expected exe, sha256, package, user, unit or container",
        ),
        (
            "store: {paht: /x}",
            "F:1:9: unknown key `paht`; expected path, retain, history, max_size or reserve",
        ),
        (
            "sinks: [{kind: stdout, uri: x}]",
            "F:1:24: unknown key `uri`; expected kind, path, max_size, keep, reserve, address, url, endpoint, template, kinds, min_severity, labels, headers_file, linger, rate or format",
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
        (
            "ports: [0]",
            "F:1:9: port 0 does not exist; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports:\n- 1\n- 65536",
            "F:3:3: port 65536 does not exist; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [-5]",
            "F:1:9: port -5 does not exist; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [1e3]",
            "F:1:9: `1e3` is not a port; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [9-1]",
            "F:1:9: 9-1 ends before it begins; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "listeners: {watch: 80}",
            "F:1:20: `80` names no ports; expected none, all, or a list of ports and ranges, as [22, 8000-8999]",
        ),
        (
            "listeners:\n  watch: [22, 0]",
            "F:2:15: port 0 does not exist; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "listeners:\n  watch:\n  - 22\n  - 20-30",
            "F:4:5: port 22 is already in line 3; expected every port once",
        ),
        (
            "listeners: {watched: all}",
            "F:1:13: unknown key `watched`; expected watch, learn or expect",
        ),
        ("ports: [7, 1-9]", "F:1:12: port 7 is already in line 1; expected every port once"),
        (
            "ports: [{port: 9-70000}]",
            "F:1:16: port 70000 does not exist; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: ['80']",
            "F:1:9: the string \"80\" is not a port; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [[80]]",
            "F:1:9: a list is not a port; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [~]",
            "F:1:9: nothing is not a port; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [{}]",
            "F:1:9: the key `port` is missing; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
        (
            "ports: [{port: x}]",
            "F:1:16: `x` is not a port; expected a port from 1 to 65535, or a range as 9200-9203",
        ),
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
            "F:1:29: no process is named, which would allow every process; expected exe, sha256, package, user, unit or container",
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
            "F:1:16: `all` is not known here; expected admins, loopback, authenticated or never",
        ),
        // Sinks.
        ("sinks: stdout", "F:1:8: `stdout` in the place of a list; expected a list of sinks"),
        (
            "sinks: [{}]",
            "F:1:9: the key `kind` is missing; expected stdout, file, journal, syslog, webhook, alertmanager or otlp",
        ),
        (
            "sinks: [{kind: kafka}]",
            "F:1:16: `kafka` is not known here; expected stdout, file, journal, syslog, webhook, alertmanager or otlp",
        ),
        (
            "sinks: [{kind: syslog}]",
            "F:1:9: the key `address` is missing; expected unix:/dev/log, or udp:, tcp: or tls: before HOST:PORT, as tcp:logs.example.org:601",
        ),
        (
            "sinks: [{kind: syslog, address: 'tcp:localhost'}]",
            "F:1:33: the port is missing, or not a number from 1 to 65535; expected unix:/dev/log, or udp:, tcp: or tls: before HOST:PORT, as tcp:logs.example.org:601",
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
            "sinks: [{kind: file, path: /x, max_size: 1KiB}]",
            "F:1:42: `1KiB` is no size that can be used; expected a size from 1MiB to 1024GiB, as 256MiB; units: B, KiB, MiB, GiB, or none",
        ),
        (
            "store: {reserve: all}",
            "F:1:18: `all` is no size that can be used; expected a size from 1MiB to 1024GiB, as 256MiB; units: B, KiB, MiB, GiB, none or auto",
        ),
        (
            "sinks: [{kind: file, path: /x, keep: 0}]",
            "F:1:38: `0` is no number that can be used; expected a number from 1 to 999",
        ),
        (
            "sinks: [{kind: journal, rate: 1}]",
            "F:1:31: the sink journal has no rate; expected kind: syslog, webhook, alertmanager or otlp, or no rate",
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
            "sinks: [{kind: stdout, linger: 1s}]",
            "F:1:32: the sink stdout has no linger; expected kind: webhook, alertmanager or otlp, or no linger",
        ),
        (
            "sinks: [{kind: otlp, endpoint: 'http://x', linger: 2m}]",
            "F:1:52: events would wait for too long; expected a duration up to 1m",
        ),
        (
            "sinks: [{kind: stdout, format: xml}]",
            "F:1:32: `xml` is not known here; expected ghostport, ecs, ocsf or cef",
        ),
        (
            "sinks: [{kind: webhook, url: 'http://x', format: cef}]",
            "F:1:50: a webhook takes JSON, which cef is not; expected ghostport, ecs or ocsf",
        ),
        (
            "sinks: [{kind: webhook, url: 'http://x', format: ecs, template: '{\"x\": {{ event.text|tojson }}}'}]",
            "F:1:50: a template makes the body, so that a format has no effect; expected a template or a format",
        ),
        (
            "sinks: [{kind: alertmanager, url: 'http://x', format: ecs}]",
            "F:1:55: the sink alertmanager has no format; expected kind: stdout, file, journal, syslog, webhook or otlp, or no format",
        ),
        (
            "sinks: [{kind: stdout, min_severity: error}]",
            "F:1:38: `error` is not known here; expected info, warning or critical",
        ),
        (
            "sinks: [{kind: webhook, url: 'http://x', headers_file: x}]",
            "F:1:56: `x` is not an absolute path; expected an absolute path, as /etc/ghostport/headers",
        ),
        (
            "sinks:\n- kind: webhook\n  url: http://x\n  template: |\n    {\n     {{ event|nix }}}\n",
            "F:6:15: unknown filter: filter nix is unknown; expected a template that uses `event` or `events` and makes JSON, with values written as {{ x|tojson }}",
        ),
        (
            "sinks: [{kind: webhook, url: 'http://x', template: '{{ event|nix }}'}]",
            "F:1:52: 1:10: unknown filter: filter nix is unknown; expected a template that uses `event` or `events` and makes JSON, with values written as {{ x|tojson }}",
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
