//! Which rooms of `monitor` may import which.

/// Where the rooms lie.
const HOUSE: &str = "monitor/src/";

/// Rooms that others are never to import, and who may.
const UPWARDS: &[Rule] = &[
    Rule {
        rooms: &[
            "api",
            "catalogue",
            "config",
            "event",
            "metrics",
            "process",
            "secrets",
            "sinks",
            "sockets",
            "store",
            "terminal",
            "web",
            "classification",
        ],
        never: &["agent", "commands"],
        why: "the agent and the commands stand above all other rooms",
    },
    Rule {
        rooms: &["api", "event", "process", "sockets"],
        never: &["web", "sinks", "store"],
        why: "models and observations know nothing of who keeps or hands out events",
    },
    Rule {
        rooms: &["agent"],
        never: &["commands"],
        why: "commands use the agent, not the reverse",
    },
];

struct Rule {
    rooms: &'static [&'static str],
    never: &'static [&'static str],
    why: &'static str,
}

/// Why `from` must not import `to`, if it must not.
pub(super) fn objection(from: &str, to: &str) -> Option<&'static str> {
    let to = to.strip_prefix(HOUSE)?;
    let is_main = from == "monitor/src/main.rs";
    if let (Some(command), false) = (to.strip_prefix("commands/"), is_main) {
        let own = from.strip_prefix(HOUSE).and_then(|from| from.strip_prefix("commands/"));
        if own.map(first) != Some(first(command)) {
            return Some("main.rs alone imports commands");
        }
    }
    let room = first(from.strip_prefix(HOUSE)?);
    let broken = |rule: &&Rule| rule.rooms.contains(&room) && rule.never.contains(&first(to));
    UPWARDS.iter().find(broken).map(|rule| rule.why)
}

/// The first folder of a path; of a file, its name without the extension.
fn first(path: &str) -> &str {
    let name = path.split('/').next().unwrap_or_default();
    name.strip_suffix(".rs").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_main_imports_a_command() {
        assert_eq!(objection("monitor/src/main.rs", "monitor/src/commands/top/mod.rs"), None);
        assert_eq!(
            objection("monitor/src/commands/top/view.rs", "monitor/src/commands/top/model.rs"),
            None
        );
        for from in
            ["monitor/src/cli.rs", "monitor/tests/top.rs", "monitor/src/commands/check/mod.rs"]
        {
            assert!(objection(from, "monitor/src/commands/top/mod.rs").is_some(), "{from}");
        }
    }

    #[test]
    fn rejects_an_arrow_upwards() {
        assert!(objection("monitor/src/web/api.rs", "monitor/src/agent/answers.rs").is_some());
        assert!(objection("monitor/src/event/body.rs", "monitor/src/store/mod.rs").is_some());
        assert_eq!(objection("monitor/src/agent/mod.rs", "monitor/src/web/mod.rs"), None);
        assert_eq!(objection("monitor/src/web/api.rs", "monitor/src/store/reader.rs"), None);
    }
}
