use clap::{CommandFactory as _, error::ErrorKind};
use jiff::Timestamp;

use super::*;
use crate::{
    config::{Overrides, PortRange},
    event::EventName,
    formats::EventFormat,
    store::Filter,
    terminal::logging::{LogFormat, LogLevel},
};

fn parse(args: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(args.split_whitespace()).map(|cli| cli.command)
}

#[test]
fn definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn run_takes_all_its_options() {
    let command = parse(
        "ghostport run --config f.yaml --web.listen-address 127.0.0.1:1 \
         --web.listen-address [::1]:2 --interface eth* --interface lo --keep-attached \
         --log.level debug --log.format json",
    );
    let Ok(Command::Run(run)) = command else { panic!("{command:?}") };
    assert_eq!(run.config.path, Some("f.yaml".into()));
    assert_eq!(run.overrides().web_listen.len(), 2);
    assert_eq!(run.overrides().interfaces[0].to_string(), "eth*");
    assert!(run.keep_attached);
    assert_eq!(run.log_level, LogLevel::Debug);
    assert_eq!(run.log_format, LogFormat::Json);
}

#[test]
fn run_needs_no_arguments() {
    let Ok(Command::Run(run)) = parse("ghostport run") else { panic!("no run") };
    assert_eq!(run.overrides(), Overrides::default());
    assert_eq!(run.log_level, LogLevel::Info);
    assert_eq!(run.log_format, LogFormat::Text);
}

#[test]
fn events_take_all_their_options() {
    let args = "ghostport events --since 24h --until 1h --port 2948 --kind bind_failed --verdict http \
                --pid 7 --exe nc --user root --peer 192.0.2.1 --grep x --limit 9 --reverse --json";
    let Ok(Command::Events(events)) = parse(args) else { panic!("no events") };
    assert!(events.reverse && events.json);
    let now = Timestamp::from_second(86_400).expect("a time");
    let filter = Filter {
        since: Some(Timestamp::UNIX_EPOCH),
        until: Timestamp::from_second(82_800).ok(),
        port: Some(2948.into()),
        kind: Some(EventName::BindFailed),
        verdict: Some("http".into()),
        process: Some(7),
        executable: Some("nc".into()),
        user: Some("root".into()),
        peer: Some([192, 0, 2, 1].into()),
        text: Some("x".into()),
        limit: Some(9),
    };
    assert_eq!(events.filter.filter(now), filter);
    let Ok(Command::Events(events)) = parse("ghostport events --follow") else {
        panic!("no events")
    };
    assert!(events.follow);
    let Ok(Command::Events(events)) = parse("ghostport events") else { panic!("no events") };
    assert_eq!(events.filter.filter(now), Filter::default());
}

#[test]
fn an_export_has_a_format_and_the_same_filters() {
    let args = "ghostport events export --format ocsf --since 24h --port 2948";
    let Ok(Command::Events(events)) = parse(args) else { panic!("no events") };
    let Some(EventsCommand::Export(export)) = events.task else { panic!("no export") };
    assert_eq!(export.format, EventFormat::Ocsf);
    assert_eq!(export.filter.port, Some(2948.into()));
    for wrong in ["export", "export --format xml", "export --format ecs --follow", "--json export"]
    {
        assert!(parse(&format!("ghostport events {wrong}")).is_err(), "{wrong}");
    }
}

#[test]
fn check_takes_ports_or_none() {
    let Ok(Command::Check(check)) = parse("ghostport check 2949 2948 2949 --json") else {
        panic!("no check")
    };
    assert_eq!((check.ports(), check.json), (Some(vec![2948, 2949]), true));
    let Ok(Command::Check(check)) = parse("ghostport check --config f.yaml") else {
        panic!("no check")
    };
    assert_eq!((check.ports(), check.config.path), (None, Some("f.yaml".into())));
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        "ghostport",
        "ghostport check 0",
        "ghostport check 65536",
        "ghostport check wap-push",
        "ghostport fly",
        "ghostport run --web.listen-address localhost",
        "ghostport run --interface eth[",
        "ghostport run --log.level loud",
        "ghostport config",
        "ghostport completions cobol",
        "ghostport events --kind birth",
        "ghostport events --since 24",
        "ghostport events --port 65536",
        "ghostport identify",
        "ghostport identify --udp --tcp -",
        "ghostport identify --port 65536 -",
        "ghostport identify --hex 00 capture.pcap",
        "ghostport explain wap-push",
    ] {
        assert_eq!(parse(args).expect_err(args).exit_code(), 2, "{args}");
    }
}

#[test]
fn usage_of_identify_names_both_sources() {
    for args in ["ghostport identify", "ghostport identify --help"] {
        let text = parse(args).expect_err(args).to_string();
        let usage = text.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
        assert!(usage.contains("--hex <STRING>") && usage.contains("FILE"), "{usage}");
    }
}

#[test]
fn ranges_of_ports_are_taken() {
    let Ok(Command::Check(check)) = parse("ghostport check 9202 9200-9202 7") else {
        panic!("no check")
    };
    assert_eq!(check.ports(), Some(vec![7, 9200, 9201, 9202]));
    let Ok(Command::Events(events)) = parse("ghostport events --port 9200-9203") else {
        panic!("no events")
    };
    assert_eq!(events.filter.port.map(PortRange::ports), Some(9200..=9203));
}

#[test]
fn a_wrong_port_is_explained() {
    for args in ["explain abc", "explain 0", "check 65536", "events --port x", "check 9-7"] {
        let error = parse(&format!("ghostport {args}")).expect_err(args).to_string();
        assert!(error.contains("expected a port from 1 to 65535"), "{error}");
    }
}

#[test]
fn the_list_of_commands_fits_a_terminal() {
    let help = parse("ghostport --help").expect_err("help").to_string();
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
}

#[test]
fn every_help_has_two_examples_and_the_exit_codes() {
    let commands = [
        "",
        "run",
        "events",
        "events export",
        "check",
        "doctor",
        "selftest",
        "detach",
        "config",
        "config check",
        "config show",
        "identify",
        "explain",
        "top",
        "learn",
        "report",
        "schema",
        "completions",
    ];
    for command in commands {
        for flag in ["-h", "--help"] {
            let args = format!("ghostport {command} {flag}");
            let help = parse(&args).expect_err("help");
            assert_eq!(help.kind(), ErrorKind::DisplayHelp);
            let help = help.to_string();
            let part = |title: &str| {
                help.split("\n\n").find_map(|part| part.strip_prefix(title).map(str::to_owned))
            };
            let examples = part("Examples:\n").expect("examples");
            assert!(examples.matches("ghostport").count() >= 2, "{args}: {help}");
            if !command.is_empty() {
                let codes = part("Exit codes:\n").expect("exit codes");
                assert!(codes.starts_with("  0  "), "{args}: {help}");
            }
        }
    }
}

#[test]
fn misspelt_kinds_and_options_get_a_suggestion() {
    let error = parse("ghostport events --kind awakend").expect_err("no such kind").to_string();
    assert!(error.contains("'awakened'"), "{error}");
    let error = parse("ghostport events --sinze 24h").expect_err("no such option").to_string();
    assert!(error.contains("'--since'"), "{error}");
    let error = parse("ghostport chek").expect_err("no such command").to_string();
    assert!(error.contains("'check'"), "{error}");
}
