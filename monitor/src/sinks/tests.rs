mod rotation;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use testkit::logged::logged;

use super::{
    dispatch::{EventQueue, open},
    file::{self, Lines},
    losses::Losses,
    queue::{self, Queue, Work},
    testing::encoded_stop as encoded,
};
use crate::{
    config::{FileLimits, SinkConfig, SinkTarget},
    formats::EventFormat,
};

/// A directory that is removed with everything in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Relaxed);
        let name = format!("ghostport-sinks-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("events.jsonl")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(path: &Path) -> Lines {
    Lines::file(path.to_owned(), &FileLimits::default()).expect("a file")
}

fn file(path: &Path) -> SinkConfig {
    SinkConfig::new(SinkTarget::file(path))
}

fn start(configs: &[SinkConfig]) -> EventQueue {
    EventQueue::start(open(configs).expect("sinks"), Arc::new(|_| false)).expect("a queue")
}

/// A queue without a thread.
fn queue() -> Queue {
    Queue::new(Losses::new("the sink".into(), Arc::default()))
}

/// A pipe without a reader: a write to it blocks once it is full.
fn pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0)
        .expect("a pipe");
}

fn contents(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

#[tokio::test]
async fn events_are_appended_in_order() {
    let directory = Directory::new();
    let path = directory.file();
    fs::write(&path, "before\n").expect("written");
    let queue = start(&[file(&path)]);
    for number in 0..1000 {
        queue.send(&encoded(&number.to_string()));
    }
    assert!(queue.close(Duration::from_secs(10)).await);
    let contents = contents(&path);
    let lines: Vec<&str> = contents.lines().collect();
    assert_eq!(lines.len(), 1001);
    for (number, line) in lines[1..].iter().enumerate() {
        assert!(line.ends_with(&format!(r#""ghostport.reason":"{number}"}}"#)), "{line}");
    }
    assert_eq!(queue.lost(), 0);

    queue.send(&encoded("late"));
    assert_eq!(queue.lost(), 1);
    assert!(queue.close(Duration::from_secs(10)).await, "closing twice does no harm");
}

#[test]
fn creates_files_that_others_cannot_read() {
    let directory = Directory::new();
    lines(&directory.file());
    let mode = fs::metadata(directory.file()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777 & !0o640, 0, "{mode:o}");
}

#[test]
fn errors_name_a_file_that_cannot_be_opened() {
    let config = file(Path::new("/proc/nonexistent/events.jsonl"));
    let error = open(&[config]).err().expect("no sink").to_string();
    assert!(
        error.starts_with("cannot write events to /proc/nonexistent/events.jsonl: No such file")
    );
}

#[test]
fn a_full_disk_fails_every_event() {
    let mut full = lines(Path::new("/dev/full"));
    for _ in 0..3 {
        let error = full.append(b"lost\n").expect_err("the disk is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn losses_are_counted_and_logged_once() {
    let total = Arc::new(AtomicU64::new(0));
    let losses = Losses::new("the sink".into(), Arc::clone(&total));
    let log = logged(|| {
        losses.recover();
        losses.lose(0, "nothing");
        losses.lose(2, "the disk is full");
        losses.lose(3, "the disk is full");
        losses.recover();
        losses.recover();
    });
    assert_eq!(total.load(Relaxed), 5);
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains("ERROR") && log.contains("events to the sink are lost: the disk is full"));
    assert!(log.contains("written to the sink again; 5 were lost"), "{log}");
}

#[test]
fn opens_a_file_again_when_its_path_is_free() {
    let directory = Directory::new();
    let (path, aside) = (directory.file(), directory.0.join("aside"));
    let mut lines = lines(&path);
    // A directory in its place: the file can be neither found nor made.
    fs::rename(&path, &aside).expect("renamed");
    fs::create_dir(&path).expect("a directory");
    assert!(lines.append(b"1\n").is_err() && lines.append(b"2\n").is_err());
    fs::remove_dir(&path).expect("removed");
    assert!(lines.append(b"3\n").is_ok() && lines.append(b"4\n").is_ok());
    assert_eq!(contents(&path), "3\n4\n");
}

#[test]
fn creates_a_file_again_after_it_was_moved() {
    let directory = Directory::new();
    let (file, old) = (directory.file(), directory.0.join("events.jsonl.1"));
    let mut lines = lines(&file);
    lines.append(b"1\n").expect("written");
    fs::rename(&file, &old).expect("renamed");
    lines.append(b"2\n").expect("written");
    fs::remove_file(&file).expect("removed");
    lines.append(b"3\n").expect("written");
    assert_eq!((contents(&old), contents(&file)), ("1\n".into(), "3\n".into()));
}

#[test]
fn begins_a_new_line_after_one_that_was_cut_off() {
    let directory = Directory::new();
    fs::write(directory.file(), "{\"cut").expect("written");
    let mut lines = lines(&directory.file());
    assert!(lines.append(b"1\n").is_ok() && lines.append(b"2\n").is_ok());
    assert_eq!(contents(&directory.file()), "{\"cut\n1\n2\n");
}

#[test]
fn a_closed_pipe_is_an_error() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut file = File::from(std::os::fd::OwnedFd::from(writer));
    let error = append(&mut file, b"1\n");
    assert_eq!(error.expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
}

fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    file::append(file, line, &mut false).map_err(|failed| failed.error)
}

/// logrotate moves a file and sends SIGHUP. The old file has to be closed at once, not with the next
/// event.
#[tokio::test]
async fn files_are_reopened() {
    let directory = Directory::new();
    let (path, old) = (directory.file(), directory.0.join("old"));
    let queue = start(&[file(&path)]);
    fs::rename(&path, &old).expect("renamed");
    queue.reopen();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !path.exists() {
        assert!(Instant::now() < deadline, "the file was not created again");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(queue.close(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn sinks_can_be_replaced() {
    let directory = Directory::new();
    let [first, second, third] = ["1", "2", "3"].map(|name| directory.0.join(name));
    let queue = start(&[file(&first), file(&second)]);
    queue.send(&encoded("one"));
    queue.replace(queue.prepare(&[file(&second), file(&third), file(&third)]).expect("prepared"));
    queue.send(&encoded("two"));
    let nowhere = file(Path::new("/proc/nonexistent/x"));
    assert!(queue.prepare(&[nowhere]).is_err(), "and all stay");
    queue.send(&encoded("three"));
    assert!(queue.close(Duration::from_secs(10)).await);
    let counts = [&first, &second, &third].map(|path| contents(path).lines().count());
    assert_eq!(counts, [1, 3, 4], "a sink that is there twice writes twice");
    assert_eq!(queue.lost(), 0);
}

#[tokio::test]
async fn queued_events_survive_a_reload() {
    let directory = Directory::new();
    let path = directory.file();
    pipe(&path);
    let queue = start(&[file(&path)]);
    for _ in 0..2000 {
        queue.send(&encoded("more than fits into a pipe"));
    }
    queue.replace(
        queue.prepare(&[SinkConfig::new(SinkTarget::Stdout), file(&path)]).expect("prepared"),
    );
    let reading = read_to_end(&path);
    assert!(queue.close(Duration::from_secs(10)).await);
    assert_eq!(reading.join().expect("a reader"), 2000);
    assert_eq!(queue.lost(), 0);
}

/// Counts the lines of a pipe until its last writer closes it.
fn read_to_end(path: &Path) -> thread::JoinHandle<usize> {
    let mut reader = File::open(path).expect("the pipe");
    thread::spawn(move || {
        let mut events = Vec::new();
        reader.read_to_end(&mut events).expect("events");
        events.iter().filter(|byte| **byte == b'\n').count()
    })
}

#[tokio::test]
async fn a_sink_that_hangs_does_not_delay_others() {
    let directory = Directory::new();
    let (stuck, fine) = (directory.file(), directory.0.join("fine"));
    pipe(&stuck);
    let queue = start(&[file(&stuck), file(&fine)]);
    let start = Instant::now();
    let mut sent = 0;
    while queue.lost() < 10 {
        queue.send(&encoded("fills the pipe, then the queue"));
        sent += 1;
        // The other sink has to keep up.
        while sent % 1000 == 0 && contents(&fine).lines().count() + 100 < sent {
            assert!(start.elapsed() < Duration::from_secs(30), "the other sink waits");
        }
    }
    let started = Instant::now();
    assert!(!queue.close(Duration::from_millis(50)).await, "the pipe is full");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(contents(&fine).lines().count(), sent, "the other one has everything");

    // Events that are not in the pipe are counted. The event that the sink hangs on may be both.
    let written = read_to_end(&stuck).join().expect("a reader") as u64;
    let sum = queue.lost() + written;
    assert!((sent as u64..=sent as u64 + 1).contains(&sum), "{sum} of {sent}");
}

#[tokio::test]
async fn a_queue_is_bounded_in_events_and_in_bytes() {
    let queue = queue();
    let small = encoded("small");
    let large = encoded(&"x".repeat(1 << 20));
    let mut lost = 0;
    while lost == 0 && queue.losses().total() == 0 {
        queue.push(&small);
        lost = queue.losses().total();
    }
    let Work::Events(batch) = queue.next(usize::MAX).await else { panic!("no events") };
    assert!(batch.len() < queue::CAPACITY, "a batch is bounded in bytes: {}", batch.len());
    queue.delivered(queue::CAPACITY);
    for _ in 0..8 {
        queue.push(&large);
    }
    assert_eq!(queue.losses().total(), 2, "seven of a mebibyte and a bit fit into eight");
    let Work::Events(batch) = queue.next(usize::MAX).await else { panic!("no events") };
    assert_eq!(batch.len(), 1, "one that is larger than a batch goes alone");
}

#[tokio::test]
async fn counts_abandoned_events_once() {
    let queue = queue();
    for _ in 0..5 {
        queue.push(&encoded("x"));
    }
    queue.delivered(1);
    queue.taken_over(1);
    queue.hold(1);
    queue.close();
    assert_eq!(queue.abandon(), 4, "three that wait, and one that was taken over");
    queue.lost(3, "late");
    queue.hold(1);
    queue.lose_held("late");
    assert_eq!((queue.abandon(), queue.losses().total()), (0, 4));
    assert!(matches!(queue.next(1).await, Work::End));
}

#[tokio::test]
async fn a_sink_gets_its_format_with_its_labels() {
    let directory = Directory::new();
    let path = directory.file();
    let labels = [("dc".to_owned(), "fra".to_owned())].into();
    let config = SinkConfig { format: EventFormat::Ecs, labels, ..file(&path) };
    let queue = start(&[config]);
    queue.send(&encoded("bye"));
    assert!(queue.close(Duration::from_secs(10)).await);
    let event: serde_json::Value = serde_json::from_str(&contents(&path)).expect("one object");
    assert_eq!(event["event"]["action"], "agent_stopped");
    assert_eq!(event["event"]["reason"], "bye");
    assert_eq!(event["labels"]["dc"], "fra");
    assert_eq!(event["message"], "the agent ends: bye");
}
