//! What an agent of this machine has, which is no business of the tests.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

use crate::privilege::as_root;

/// Its folders: configuration, state, pins, store and logs.
const PLACES: [&str; 5] = [
    "/etc/ghostport",
    "/run/ghostport",
    "/sys/fs/bpf/ghostport",
    "/var/lib/ghostport",
    "/var/log/ghostport",
];

/// Prints a line `PATH<TAB>FACTS` for each file, and for each regular one a line with its hash, as
/// far as it can be read: pins cannot. Only root gets everywhere.
const LOOK: &str = r#"
for place; do
    [ -e "$place" ] || continue
    find "$place" -printf '%p\t%y %m %U:%G, %s bytes, modified %TY-%Tm-%Td %TT %l\n'
    find "$place" -type f -exec sha256sum {} + 2>/dev/null | sed -E 's/^(\S+)  (.*)/\2\t\1/'
done
for place; do
    find /proc/[0-9]*/fd -lname "$place/*" -printf 'in use\t%h\n' 2>/dev/null
done
:
"#;

/// Files below the places, with what is known of each.
#[derive(Default, Debug)]
pub(super) struct Installation {
    files: BTreeMap<String, String>,
    user: Option<String>,
}

impl Installation {
    /// Looks at this machine.
    pub(super) fn look() -> Result<Self> {
        let mut command = as_root("sh")?;
        let output = command.args(["-c", LOOK, "sh"]).args(PLACES).output();
        let output = output.context("cannot look at the folders of this machine's agent")?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() && complaint.is_empty(), "sh: {complaint}");
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    fn parse(lines: &str) -> Self {
        let mut installation = Self::default();
        for (path, facts) in lines.lines().filter_map(|line| line.split_once('\t')) {
            if path == "in use" {
                // `/proc/PID/fd`
                installation.user = facts.split('/').nth(2).map(str::to_owned);
                continue;
            }
            let known = installation.files.entry(path.to_owned()).or_default();
            known.push_str(facts);
            known.push(' ');
        }
        installation
    }

    /// Process id of a program that has a file open in one of the places: an agent, most likely.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What is different in `later`, a line for each path.
    pub(super) fn differences(&self, later: &Self) -> Vec<String> {
        let mut paths: Vec<&String> = self.files.keys().chain(later.files.keys()).collect();
        paths.sort();
        paths.dedup();
        let difference = |path: &String| match (self.files.get(path), later.files.get(path)) {
            (None, Some(now)) => Some(format!("{path} has appeared: {now}")),
            (Some(before), None) => Some(format!("{path} is gone: {before}")),
            (Some(before), Some(now)) if before != now => {
                Some(format!("{path} has changed: {before}-> {now}"))
            }
            _ => None,
        };
        paths.into_iter().filter_map(difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_path_that_differs() {
        let before = Installation::parse(
            "/a\td 755\n/a/gone\tf 600\n/a/same\tf 600\n/a/db\tf 600\n/a/db\tbeef\n",
        );
        let later = Installation::parse(
            "/a\td 755\n/a/new\tf 600\n/a/same\tf 600\n/a/db\tf 600\n/a/db\tcafe\n",
        );
        let differences = before.differences(&later);
        let expected = [
            "/a/db has changed: f 600 beef -> f 600 cafe ",
            "/a/gone is gone: f 600 ",
            "/a/new has appeared: f 600 ",
        ];
        assert_eq!(differences, expected);
        assert!(before.differences(&before).is_empty());
    }

    #[test]
    fn names_the_process_that_has_a_file_open() {
        let installation = Installation::parse("/a\td 755\nin use\t/proc/4711/fd\n");
        assert_eq!(installation.user(), Some("4711"));
        assert_eq!(Installation::parse("/a\td 755\n").user(), None);
    }
}
