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
        r#"{labels: 'up{job="hosts",instance="a:10948"}', value: 0}"#,
        r#"{labels: 'up{job="ghostport",instance="b:10948"}', value: 0}"#,
    ]
    .join(", ");
    let panels = [
        ("Agents absent", "[{labels: '{}', value: 2}]".to_owned()),
        ("Who is absent", format!("[{absent}]")),
    ];
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/absent_test.yml");
    for (title, samples) in panels {
        let questions = questions("overview", "1m");
        let panel = questions.into_iter().find(|panel| panel.title == title).expect(title);
        let of_all_jobs = panel.expression.replace(r#"job=~"ghostport""#, r#"job=~".*""#);
        let test = MANY_ABSENT.replace("EXPRESSION", &of_all_jobs).replace("SAMPLES", &samples);
        fs::write(file, test).expect("written");
        run("promtool", &["test", "rules", file]);
    }
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
