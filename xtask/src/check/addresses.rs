//! Nothing points at a page, an image or a mailbox of the project's name that is not the project's.
//!
//! `repository` in the workspace's manifest is the one place that says where the project's home is.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::outcome::Outcome;
use crate::workspace::root;

/// The project's name, as it is in an address.
const NAME: &str = "ghostport";

/// What is part of no address in prose, code or markup.
const SEPARATORS: &[char] =
    &['"', '\'', '`', '<', '>', '(', ')', '[', ']', '{', '}', '|', ',', ';'];

/// Names that cannot be registered (RFC 2606, RFC 6761), and those of a network or cluster of one's own.
const RESERVED: [&str; 11] = [
    "example",
    "example.com",
    "example.net",
    "example.org",
    "internal",
    "invalid",
    "local",
    "localhost",
    "svc",
    "svc.cluster.local",
    "test",
];

/// Checks every text of the repository.
pub(super) fn hold() -> Result<Outcome> {
    let mut list = Command::new("git");
    let list = list.args(["ls-files", "-z"]).current_dir(root()).output();
    let list = list.context("cannot start git")?;
    ensure!(list.status.success(), "git ls-files: {}", String::from_utf8_lossy(&list.stderr));
    let mut problems = Vec::new();
    for name in String::from_utf8_lossy(&list.stdout).split_terminator('\0') {
        // Links, pictures, and files that are about to be removed.
        let Ok(text) = std::fs::read_to_string(root().join(name)) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            let found = foreign(line, env!("CARGO_PKG_REPOSITORY"));
            problems.extend(found.map(|address| {
                format!("{name}:{}: {address} is not the project's home", index + 1)
            }));
        }
    }
    Ok(Outcome::from_problems(problems))
}

/// Addresses with the project's name in them that are not below `home`.
fn foreign<'a>(line: &'a str, home: &'a str) -> impl Iterator<Item = &'a str> {
    let words = line.split(|c: char| c.is_whitespace() || SEPARATORS.contains(&c));
    words.filter(move |word| {
        let is_ours = !home.is_empty() && word.starts_with(home);
        !is_ours && word.to_ascii_lowercase().contains(NAME) && host(word).is_some_and(is_somewhere)
    })
}

/// The host that a word names, if it is an address: of a page, a mailbox, or an image.
fn host(word: &str) -> Option<&str> {
    let before_path = |text| str::split(text, ['/', ':', '?', '#']).next();
    if let Some((_, rest)) = word.split_once("://") {
        return before_path(rest.rsplit_once('@').map_or(rest, |(_, host)| host));
    }
    if let Some((_, host)) = word.split_once('@') {
        return before_path(host);
    }
    // `ghostport.event/1` is a schema, and `kubernetes.io/name=ghostport` a label.
    let is_of_path = |path: &str| path.contains(NAME) && !path.contains('=');
    word.split_once('/').filter(|(_, path)| is_of_path(path)).map(|(host, _)| host)
}

/// Whether a host has a name that anybody could register.
fn is_somewhere(host: &str) -> bool {
    let mut labels = host.split('.');
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let top = labels.next_back().unwrap_or_default();
    let is_name = labels.next().is_some() && host.split('.').all(is_label);
    // `conf.d/` and `0.1.0/` are folders.
    let is_top = top.len() > 1 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_below = |name: &&str| {
        host.strip_suffix(*name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    is_name && is_top && !RESERVED.iter().any(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address that this file does not contain as it is.
    fn address(before: &str, after: &str) -> String {
        format!("{before}.net{after}")
    }

    #[test]
    fn finds_pages_images_and_mailboxes_of_the_name() {
        for foreign_one in [
            address("https://forge", "/ghostport/ghostport/issues"),
            address("https://user@forge", ":8080/x/Ghostport"),
            address("https://ghostport", "/docs"),
            address("registry", "/ghostport/ghostport:0.1.0"),
            address("ghostport@mail", ""),
        ] {
            let line = format!("See [it]({foreign_one}), please.");
            assert_eq!(foreign(&line, "").collect::<Vec<_>>(), [foreign_one.as_str()]);
        }
    }

    #[test]
    fn leaves_the_home_examples_and_paths_alone() {
        let home = address("https://forge", "/ghostport");
        assert_eq!(foreign(&format!("{home}/wiki"), &home).count(), 0);
        assert_eq!(foreign(&address("https://forge", "/another"), "").count(), 0);
        for line in [
            "http://127.0.0.1:10948/ghostport https://grafana.example/d/ghostport-host",
            "ghostport@localhost developers@ghostport.invalid ghostport@.service",
            "ghostport.event/1 app.kubernetes.io/name=ghostport",
            "localhost/ghostport:0.1.0 vendor_completions.d/ghostport.fish 0.1.0/ghostport",
            "http://{{ $labels.instance }}/runbook/GhostportX http://${agent:raw}/runbook/GhostportX",
            "http://ghostport.monitoring.svc:10948 usr/share/doc/ghostport ./ghostport_0.1.0.deb",
        ] {
            assert_eq!(foreign(line, "").collect::<Vec<_>>(), Vec::<&str>::new());
        }
    }
}
