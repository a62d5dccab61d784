//! Files that are full, and disks that are.

use std::{fs, io};

use testkit::logged::logged;

use super::{Directory, contents};
use crate::{
    config::{DiskReserve, FileLimits},
    sinks::{file::Lines, local::Local},
};

/// Limits that only a test has: lines of some bytes fill a file.
fn limits(max_size: u64, keep: u32) -> FileLimits {
    FileLimits { max_size: Some(max_size), keep, ..FileLimits::default() }
}

#[test]
fn a_full_file_is_renamed_and_the_oldest_is_removed() {
    let directory = Directory::new();
    let path = directory.file();
    let mut lines = Lines::file(path.clone(), &limits(20, 2)).expect("a file");
    for number in 0..17 {
        // Two lines of eight bytes each have room.
        lines.append(format!("line {number:02}\n").as_bytes()).expect("written");
    }
    let rotated = |number| contents(&directory.0.join(format!("events.jsonl.{number:06}")));
    assert_eq!(contents(&path), "line 16\n");
    assert_eq!(
        (rotated(7), rotated(8)),
        ("line 12\nline 13\n".into(), "line 14\nline 15\n".into())
    );
    assert_eq!(fs::read_dir(&directory.0).expect("a folder").count(), 3);
    // The next agent goes on with the file and with the numbers.
    let mut lines = Lines::file(path, &limits(20, 2)).expect("a file");
    lines.append(b"line 17\n").expect("written");
    lines.append(b"line 18\n").expect("written");
    assert_eq!(rotated(9), "line 16\nline 17\n");
}

/// logrotate renames a file at any time, and so does another sink of the same path.
#[test]
fn rotation_loses_no_line_of_a_file_that_others_rotate() {
    let directory = Directory::new();
    let path = directory.file();
    let mut both = [0, 1].map(|_| Lines::file(path.clone(), &limits(40, 99)).expect("a file"));
    for number in 0..60 {
        if number % 7 == 0 {
            fs::rename(&path, directory.0.join(format!("events.jsonl.{}", number / 7 + 1)))
                .expect("renamed");
        }
        for lines in &mut both {
            if number % 11 == 0 {
                Local::reopen(lines);
            }
            lines.append(format!("line {number:02}\n").as_bytes()).expect("written");
        }
    }
    let files = fs::read_dir(&directory.0).expect("a folder");
    let text: String = files.map(|file| contents(&file.expect("a file").path())).collect();
    let mut seen: Vec<&str> = text.lines().collect();
    seen.sort_unstable();
    let expected: Vec<String> =
        (0..60).flat_map(|number| [0, 1].map(|_| format!("line {number:02}"))).collect();
    assert_eq!(seen, expected);
}

#[test]
fn a_file_that_cannot_be_renamed_grows_on() {
    let directory = Directory::new();
    let path = directory.file();
    // Every name that is tried is taken by what is no file.
    for number in 1..10 {
        fs::create_dir(directory.0.join(format!("events.jsonl.{number:06}"))).expect("a folder");
    }
    let mut lines = Lines::file(path.clone(), &limits(20, 2)).expect("a file");
    let log = logged(|| {
        for _ in 0..9 {
            lines.append(b"a line\n").expect("written");
        }
    });
    assert_eq!(contents(&path).lines().count(), 9);
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("events.jsonl grows beyond its limit: File exists"), "{log}");
}

#[test]
fn a_file_leaves_the_reserve_of_its_disk() {
    let directory = Directory::new();
    let all = FileLimits { reserve: DiskReserve::Bytes(1 << 60), ..FileLimits::default() };
    let mut lines = Lines::file(directory.file(), &all).expect("a file");
    let error = lines.append(b"lost\n").expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert!(error.to_string().contains("than the reserve of"), "{error}");
    assert_eq!(contents(&directory.file()), "");
}
