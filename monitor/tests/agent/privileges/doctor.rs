//! The report of `ghostport doctor`: as text, as JSON, and by its exit code.

use std::process::Command;

use serde_json::Value;
use testkit::{
    agent::{finish, ghostport, json as document, stdout},
    privileges::Privileges,
    world::World,
};

use super::support::{EVERYTHING, SOCKETS, Seen, TRAFFIC};

/// What doctor says: as text, as JSON, and by its exit code, which all must agree. The JSON is read
/// raw, because no type of the program reads it.
pub(super) struct Doctor {
    pub(super) text: String,
    pub(super) page: Value,
    pub(super) code: i32,
}

impl Doctor {
    #[track_caller]
    pub(super) fn ask(command: impl Fn(&[&str]) -> Command) -> Self {
        let text = finish(&mut command(&["doctor"]));
        let json = finish(&mut command(&["doctor", "--json"]));
        let code = text.status.code().expect("a code");
        assert_eq!(json.status.code(), Some(code), "{}{}", stdout(&text), stdout(&json));
        let page: Value = document(&json);
        let verdict = ["full", "degraded", "broken"][code as usize];
        assert_eq!(page["verdict"], verdict, "{}", stdout(&text));
        let text = stdout(&text);
        assert!(text.starts_with(&format!("ghostport doctor: {verdict}")), "{text}");
        // A long word has no place to break.
        let longest = |line: &str| line.split(' ').map(str::len).max().unwrap_or(0);
        let too_wide = text.lines().find(|line| line.chars().count() > 80 && longest(line) < 40);
        assert_eq!(too_wide, None);
        Self { text, page, code }
    }

    pub(super) fn of_root() -> Self {
        Self::ask(|arguments| {
            let mut command = ghostport();
            command.args(arguments);
            command
        })
    }

    pub(super) fn of(world: &World, privileges: Privileges) -> Self {
        Self::ask(|arguments| privileges.ghostport(world, arguments))
    }

    /// A fact by its name. Whatever is not well says what it costs and what to do, on the page as
    /// well.
    #[track_caller]
    pub(super) fn fact(&self, name: &str) -> &Value {
        let facts = self.page["facts"].as_array().expect("facts");
        let fact = facts.iter().find(|fact| fact["name"] == name);
        let fact = fact.unwrap_or_else(|| panic!("no {name} in {}", self.text));
        assert!(self.text.contains(name), "{}", self.text);
        if fact["ok"] == false {
            let first = |key: &str| {
                let words = fact[key].as_str().unwrap_or_else(|| panic!("no {key}: {fact}"));
                words.split(' ').take(2).collect::<Vec<_>>().join(" ")
            };
            assert!(self.text.contains(&first("costs")), "{}", self.text);
            assert!(self.text.contains(&first("remedy")), "{}", self.text);
        }
        fact
    }

    #[track_caller]
    pub(super) fn is_ok(&self, name: &str) -> bool {
        self.fact(name)["ok"] == true
    }

    /// The hooks of that name.
    pub(super) fn hooks(&self, name: &str) -> Vec<&Value> {
        let hooks = self.page["hooks"].as_array().expect("hooks");
        hooks.iter().filter(|hook| hook["hook"] == name).collect()
    }

    /// The mechanism of the only hook of that name.
    pub(super) fn mechanism(&self, name: &str) -> &str {
        self.hooks(name)[0]["mechanism"].as_str().unwrap_or("none")
    }

    /// Checks that the agent reports what `seen` expects of each hook.
    #[track_caller]
    pub(super) fn assert_tells(&self, seen: Seen) {
        let traffic = TRAFFIC.map(|name| (name, seen.traffic));
        let sockets = SOCKETS.map(|name| (name, seen.has(name)));
        for (name, served) in traffic.into_iter().chain(sockets) {
            let hooks = self.hooks(name);
            assert!(!hooks.is_empty(), "{name}: {}", self.text);
            for hook in hooks {
                assert_eq!(hook["state"] != "unserved", served, "{name}: {}", self.text);
                let says_why =
                    hook["passed_over"].as_array().is_some_and(|reasons| !reasons.is_empty());
                assert!(served || says_why, "{name}: {}", self.text);
            }
        }
        if seen != EVERYTHING {
            assert_ne!(self.code, 0, "{}", self.text);
        }
    }
}
