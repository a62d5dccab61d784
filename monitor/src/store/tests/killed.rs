//! Writers that are killed.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    thread,
};

use super::*;

/// Path of the database of the process that will be killed.
const VICTIM: &str = "GHOSTPORT_TEST_STORE";

/// Writes one event after the other, and reports each to standard output.
fn keep_forever(path: PathBuf) -> ! {
    let config = StoreConfig { path, max_size: 1 << 20, ..forgets_nothing() };
    let mut store = Store::open(&config);
    let mut ledger = ledger();
    let mut stdout = io::stdout().lock();
    let mut number = Timestamp::now().as_nanosecond() as i64;
    loop {
        ledger.mark_unsaved();
        let changes = brings_the_ledger(number).then(|| ledger.take_changes());
        if store.keep(&[record(number)], changes) == 0 {
            writeln!(stdout, "kept {number}").expect("reported");
        }
        number += 1;
    }
}

fn brings_the_ledger(number: i64) -> bool {
    number % 3 == 0
}

#[test]
fn committed_events_survive_kill_9() {
    if let Some(path) = env::var_os(VICTIM) {
        keep_forever(path.into());
    }
    let directory = Directory::new();
    let config = directory.config();
    let name = "store::tests::killed::committed_events_survive_kill_9";
    let mut kept_in_all = 0;
    for round in 0..40_u64 {
        let mut victim = Command::new(env::current_exe().expect("a path"))
            .args([name, "--exact", "--nocapture"])
            .env(VICTIM, &config.path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(victim.stdout.take().expect("piped")).lines();
        // From the first moments, in which the database is created, to hundreds of commits.
        let reader = thread::spawn(move || {
            let numbers = lines.by_ref().map_while(Result::ok);
            numbers
                .filter_map(|line| line.strip_prefix("kept ")?.parse().ok())
                .collect::<Vec<i64>>()
        });
        thread::sleep(Duration::from_micros(1_000 + round * round * 200 + (round * 7919) % 1000));
        victim.kill().expect("killed");
        victim.wait().expect("waited");
        let kept = reader.join().expect("numbers");
        if round % 2 == 0 {
            // Without a writer that mends anything first.
            check_kept(&config, &kept, round);
        }
        let mut store = Store::open(&config);
        assert_eq!(store.keep(&[], None), 0);
        // A victim that was killed early has kept events alone.
        if kept.iter().any(|number| brings_the_ledger(*number)) {
            store.ledger().expect("a ledger");
        }
        drop(store);
        check_kept(&config, &kept, round);
        assert_eq!(integrity(&config.path), "ok", "round {round}");
        kept_in_all += kept.len();
    }
    assert!(kept_in_all > 100, "they were given time: {kept_in_all}");
    let aside = fs::read_dir(&directory.0).expect("a directory").count();
    assert!(aside <= 3, "nothing was set aside");
}

#[track_caller]
fn check_kept(config: &StoreConfig, kept: &[i64], round: u64) {
    if kept.is_empty() {
        return;
    }
    let stored = all(&config.path);
    for number in kept {
        assert!(
            stored.iter().any(|line| line == record(*number).line.json()),
            "round {round}: {number} was kept"
        );
    }
}
