//! How a guest ended. Pure: what it said in, an outcome out.

use std::{collections::BTreeMap, time::Duration};

use super::table::SKIPS;

/// Lines of the console that are shown of a failure.
const LAST_LINES: usize = 60;

/// The end of a guest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every test passed or was rightly skipped.
    Passed { tests: usize, skipped: Vec<Skipped> },
    /// A test failed, or there was something else to complain about.
    Failed { why: String, console: String },
    /// The machine ended before the test did. It may have been bad luck.
    Died { why: String, console: String },
}

/// A test that found it cannot be done on this kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Skipped {
    pub(super) test: String,
    pub(super) why: String,
}

/// How each guest ended and how long it took, by the names of its kernel's line and its row.
pub(super) type Lived = BTreeMap<(&'static str, &'static str), (Outcome, Duration)>;

/// Judges a guest by its output. The guest's first process has to report success, and the test
/// program the number of tests: a machine that panics or is switched off reports neither.
pub(super) fn judge(console: &str, verdict: &str, limit: Option<Duration>, line: &str) -> Outcome {
    if let Some(limit) = limit {
        let why = format!("not done after {} s", limit.as_secs());
        return Outcome::Failed { why, console: last_lines(console) };
    }
    let failed = |why: String| Outcome::Failed { why, console: last_lines(console) };
    match verdict.trim() {
        "exit 0" => {}
        "exit 101" => return failed(failures(console)),
        "" => {
            let why = "the machine went off in the middle of the test".to_owned();
            return Outcome::Died { why, console: last_lines(console) };
        }
        "broken" => return failed("the guest could not be set up".to_owned()),
        other => return failed(format!("the test program ended with {other}")),
    }
    let skipped = skips(console);
    match passed(console) {
        None | Some(0) => failed("no test ran".to_owned()),
        Some(tests) => match skipped.iter().find(|skip| !is_declared(skip, line)) {
            Some(skip) => failed(format!("{} was skipped without leave: {}", skip.test, skip.why)),
            None => Outcome::Passed { tests: tests - skipped.len(), skipped },
        },
    }
}

fn is_declared(skip: &Skipped, line: &str) -> bool {
    let test = skip.test.rsplit("::").next();
    SKIPS.iter().any(|declared| Some(declared.test) == test && declared.kernels.contains(&line))
}

/// The number of passed tests, as the test program says it at the end.
fn passed(console: &str) -> Option<usize> {
    let end = console.lines().rev().find_map(|line| line.split_once("test result: ok. "))?;
    end.1.split_once(" passed")?.0.parse().ok()
}

/// What tests said to have skipped: it stands below the heading with the name of the test.
fn skips(console: &str) -> Vec<Skipped> {
    let mut test = None;
    let mut skipped = Vec::new();
    for line in console.lines() {
        if let Some(name) = heading(line) {
            test = Some(name);
        } else if let (Some(test), Some(why)) = (test, line.strip_prefix("skipped: ")) {
            let skip = Skipped { test: test.to_owned(), why: why.to_owned() };
            if !skipped.contains(&skip) {
                skipped.push(skip);
            }
        }
    }
    skipped
}

fn heading(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// Names of the tests that failed.
fn failures(console: &str) -> String {
    let failed = console.lines().filter_map(|line| {
        line.strip_prefix("test ")?.strip_suffix("FAILED")?.split_once(" ...").map(|(name, _)| name)
    });
    let names: Vec<&str> = failed.collect();
    if names.is_empty() { "tests failed".to_owned() } else { names.join(", ") }
}

fn last_lines(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = "test one ... ok\n\nsuccesses:\n\n---- one stdout ----\nhello\n\n\
                          test result: ok. 2 passed; 0 failed; 0 ignored\n";

    #[test]
    fn success_takes_verdict_and_count() {
        let passed = Outcome::Passed { tests: 2, skipped: Vec::new() };
        assert_eq!(judge(PASSED, "exit 0\n", None, "6.1"), passed);
        let silent = judge("nothing", "exit 0\n", None, "6.1");
        assert!(matches!(silent, Outcome::Failed { .. }));
        let none = "test result: ok. 0 passed; 0 failed; 9 filtered out\n";
        assert!(matches!(judge(none, "exit 0\n", None, "6.1"), Outcome::Failed { .. }));
    }

    #[test]
    fn a_machine_without_a_verdict_has_died() {
        assert!(matches!(judge(PASSED, "", None, "6.1"), Outcome::Died { .. }));
        assert!(matches!(judge(PASSED, "ex", None, "6.1"), Outcome::Failed { .. }));
    }

    #[test]
    fn being_too_late_is_a_failure() {
        let limit = Some(Duration::from_secs(9));
        let Outcome::Failed { why, .. } = judge(PASSED, "exit 0\n", limit, "6.1") else {
            panic!("not failed");
        };
        assert_eq!(why, "not done after 9 s");
    }

    #[test]
    fn failed_tests_have_names() {
        let console = "test one ... ok\ntest two ... FAILED\n";
        let Outcome::Failed { why, .. } = judge(console, "exit 101\n", None, "6.1") else {
            panic!("not failed");
        };
        assert_eq!(why, "two");
    }

    #[test]
    fn a_skip_needs_leave() {
        let name = format!("module::{}", SKIPS[0].test);
        let console = format!(
            "---- {name} stdout ----\nskipped: no such thing\n\ntest result: ok. 3 passed; 0 failed\n"
        );
        let skipped = vec![Skipped { test: name.clone(), why: "no such thing".to_owned() }];
        let here = SKIPS[0].kernels[0];
        assert_eq!(judge(&console, "exit 0", None, here), Outcome::Passed { tests: 2, skipped });
        assert!(matches!(judge(&console, "exit 0", None, "none"), Outcome::Failed { .. }));
    }
}
