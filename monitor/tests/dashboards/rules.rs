//! Rules, alerts and configurations that operators import, by the tools of Prometheus and
//! Alertmanager. What needs an agent is in `alerts.rs`.

use std::{fs, process::Command};

use testkit::{
    panels::questions,
    servers::{dashboards, program},
};

/// Runs a tool in the folder of the dashboards, which must succeed. Returns what it said.
#[track_caller]
fn run(tool: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program(tool)).args(arguments).current_dir(dashboards()).output().expect(tool);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}\n{stdout}{stderr}");
    stdout
}

/// Every alert fires, does not fire and is resolved; every recorded series is what it says.
#[test]
fn rules_pass_their_promtool_tests() {
    for file in ["alerts_test.yml", "recording_test.yml"] {
        run("promtool", &["test", "rules", &format!("prometheus/tests/{file}")]);
    }
}

/// Targets of other exporters, down as well, beside an agent whose job has another name, and one that
/// never answered.
const MANY_ABSENT: &str = r#"
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job="node",instance="a:9100"}', values: 1x9 0x20}
      - {series: 'up{job="hosts",instance="a:9256"}', values: 1x9 0x20}
      - {series: 'up{job="hosts",instance="a:10948"}', values: 1x9 0x20}
      - {series: 'ghostport_build_info{job="hosts",instance="a:10948"}', values: 1x9 stale}
      - {series: 'up{job="ghostport",instance="b:10948"}', values: 0x30}
      - {series: 'up{job="ghostport",instance="c:10948"}', values: 1x30}
    promql_expr_test:
      - expr: 'EXPRESSION'
        eval_time: 15m
        exp_samples: SAMPLES
"#;

#[test]
fn panels_about_absent_agents_count_no_other_targets() {
    let absent = [
        r#"{labels: 'up{job="hosts",instance="a:10948",host="a"}', value: 0}"#,
        r#"{labels: 'up{job="ghostport",instance="b:10948",host="b"}', value: 0}"#,
    ]
    .join(", ");
    let panels = [
        ("Hosts absent", "[{labels: '{}', value: 2}]".to_owned()),
        ("Who is absent", format!("[{absent}]")),
    ];
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/absent_test.yml");
    for (title, samples) in panels {
        let questions = questions("overview", "1m");
        let panel = questions.into_iter().find(|panel| panel.title == title).expect(title);
        let of_all_jobs = panel.expression.replace(r#"job=~"ghostport""#, r#"job=~".*""#);
        let test = MANY_ABSENT
            .replace("EXPRESSION", &on_one_line(&of_all_jobs))
            .replace("SAMPLES", &samples);
        fs::write(file, test).expect("written");
        run("promtool", &["test", "rules", file]);
    }
}

/// An expression that stands in a file of YAML.
fn on_one_line(expression: &str) -> String {
    expression.replace('\n', " ")
}

#[test]
fn prometheus_configurations_are_valid() {
    let fleet = ["federation", "remote-write", "replica"].map(|name| format!("fleet/{name}.yml"));
    for file in fleet.iter().map(String::as_str).chain(["prometheus.yml"]) {
        run("promtool", &["check", "config", &format!("prometheus/{file}")]);
    }
}

#[test]
fn alerts_are_routed_as_the_example_says() {
    let file = "alertmanager/alertmanager.yml";
    run("amtool", &["check-config", file]);
    let routes: &[(&str, &[&str])] = &[
        (
            "on-call",
            &["GhostportBindOnDormantPort", "severity=critical", "instance=a", "port=2948"],
        ),
        ("on-call", &["GhostportAgentAbsent", "severity=critical", "instance=a"]),
        ("on-call", &["GhostportPortServed", "severity=critical", "instance=a", "port=2948"]),
        // An expected service alerts no one; an unexpected program on the same port does.
        (
            "nobody",
            &[
                "GhostportPortServed",
                "severity=critical",
                "instance=wap-gateway-7:10948",
                "port=2948",
            ],
        ),
        (
            "on-call",
            &[
                "GhostportUnexpectedOwner",
                "severity=critical",
                "instance=wap-gateway-7:10948",
                "port=2948",
            ],
        ),
        ("team", &["GhostportBindRefused", "severity=warning", "port=2948"]),
        ("dashboard", &["GhostportAwakenedByPacket", "severity=info", "port=2948"]),
    ];
    for (receiver, labels) in routes {
        let alert = format!("alertname={}", labels[0]);
        let question = ["config", "routes", "test", "--config.file", file, &alert];
        let answer = run("amtool", &[&question, &labels[1..]].concat());
        assert_eq!(answer.trim(), *receiver, "{labels:?}");
    }
}

/// An alert of the agent, whose program has a hostile name.
const ALERT: &str = r#"{
    "receiver": "on-call", "status": "firing", "externalURL": "http://127.0.0.1:9093",
    "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {},
    "alerts": [{
        "status": "firing", "startsAt": "2026-01-02T03:04:05Z", "endsAt": "0001-01-01T00:00:00Z",
        "labels": {
            "alertname": "GhostportBindOnDormantPort", "instance": "web1:10948", "port": "2948",
            "severity": "critical", "reporter": "agent"
        },
        "annotations": {
            "summary": "Dormant port 2948/tcp of web1 was bound", "host_name": "web1",
            "service": "wap-push", "service_description": "WAP push",
            "certainty": "Certain: the kernel's call was observed by fexit.",
            "process_pid": "4711", "process_executable_path": "/tmp/<!channel>```",
            "process_user": "kannel", "systemd_unit": "kannel.service", "container_id": "0123abcd",
            "process_ancestors": "sh[98] < systemd[1]",
            "commands": "ghostport check 2948; ghostport explain 2948",
            "runbook_url": "http://web1:10948/runbook/GhostportBindOnDormantPort",
            "dashboard_url": "http://g/d/ghostport-host", "page_url": "http://web1:10948/"
        }
    }]
}"#;

/// A template of the example with that alert.
fn rendered(name: &str) -> String {
    let data = std::env::temp_dir().join(format!("ghostport-alert-{}-{name}", std::process::id()));
    fs::write(&data, ALERT).expect("written");
    let text = format!("--template.text={{{{ template \"ghostport.{name}\" . }}}}");
    let data_flag = format!("--template.data={}", data.display());
    let glob = "--template.glob=alertmanager/ghostport.tmpl";
    let text = run("amtool", &["template", "render", glob, &text, &data_flag]);
    fs::remove_file(&data).expect("removed");
    text
}

#[test]
fn messages_say_what_it_takes_to_act() {
    assert_eq!(rendered("title").trim(), "[FIRING] web1 port 2948: GhostportBindOnDormantPort");
    for name in ["text", "slack", "html"] {
        let message = rendered(name);
        for fact in [
            "host: web1\n",
            "port: 2948 (wap-push: WAP push)\n",
            "what: Dormant port 2948/tcp of web1 was bound\n",
            "how sure: Certain",
            "program: /tmp/‹!channel>''', pid 4711\n",
            "user: kannel\n",
            "unit: kannel.service\n",
            "container: 0123abcd\n",
            "parent: sh[98] ‹ systemd[1]\n",
            "since: 2026-01-02 03:04:05 UTC\n",
            "ghostport check 2948; ghostport explain 2948",
            "http://web1:10948/runbook/GhostportBindOnDormantPort",
            "http://g/d/ghostport-host",
            "http://web1:10948/",
        ] {
            assert!(message.contains(fact), "{fact} in {name}:\n{message}");
        }
        assert!(!message.contains("peer:"), "it is not known:\n{message}");
    }
}
