//! Rules, alerts and configurations that operators import, by the tools of Prometheus and
//! Alertmanager. What needs an agent is in `alerts.rs`.

use std::process::Command;

use testkit::servers::{dashboards, program};

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
