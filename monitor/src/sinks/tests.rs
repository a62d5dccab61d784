use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, atomic::AtomicU32},
    time::Instant,
};

use jiff::Timestamp;

use super::*;
use crate::event::EventContext;

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

fn event(reason: &str) -> Event {
    let context = EventContext { host_name: "host".into(), clock_offset_ns: 0 };
    Event::agent_stopped(Timestamp::UNIX_EPOCH, reason, &context)
}

fn sink(path: &Path) -> Sink {
    Sink::open(&SinkConfig::File { path: path.to_owned() }).expect("a sink")
}

fn start(configs: &[SinkConfig]) -> EventQueue {
    EventQueue::start(open(configs).expect("sinks")).expect("a queue")
}

fn contents(path: &Path) -> String {
    fs::read_to_string(path).expect("a file")
}

/// What `body` logs.
fn logged(body: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a lock").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, body);
    String::from_utf8(log.0.lock().expect("a lock").clone()).expect("text")
}

#[tokio::test]
async fn events_are_appended_in_order() {
    let directory = Directory::new();
    let file = directory.file();
    fs::write(&file, "before\n").expect("written");
    let queue = start(&[SinkConfig::File { path: file.clone() }]);
    for number in 0..1000 {
        queue.send(event(&number.to_string()));
    }
    assert!(queue.close(Duration::from_secs(10)).await);
    let contents = contents(&file);
    let lines: Vec<&str> = contents.lines().collect();
    assert_eq!(lines.len(), 1001);
    for (number, line) in lines[1..].iter().enumerate() {
        assert!(line.ends_with(&format!(r#""ghostport.reason":"{number}"}}"#)), "{line}");
    }
    assert_eq!(queue.losses(), EventLosses::default());

    queue.send(event("late"));
    assert_eq!(queue.losses(), EventLosses { queue: 1, sink: 0 });
    assert!(queue.close(Duration::from_secs(10)).await, "closing twice does no harm");
}

#[test]
fn a_new_file_is_not_for_everyone() {
    let directory = Directory::new();
    sink(&directory.file());
    let mode = fs::metadata(directory.file()).expect("a file").permissions().mode();
    assert_eq!(mode & 0o7777 & !0o640, 0, "{mode:o}");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let config = SinkConfig::File { path: "/proc/nonexistent/events.jsonl".into() };
    let error = open(&[config]).expect_err("no sink").to_string();
    assert!(
        error.starts_with("cannot write events to /proc/nonexistent/events.jsonl: No such file")
    );
}

#[test]
fn a_full_disk_is_counted_and_logged_once() {
    let mut sinks = [sink(Path::new("/dev/full"))];
    let log = logged(|| {
        for _ in 0..3 {
            assert_eq!(write(&event("lost"), &mut sinks), 1);
        }
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("ERROR") && log.contains("events to /dev/full are lost: No space left"));
}

#[test]
fn recovery_is_logged() {
    let directory = Directory::new();
    let (file, aside) = (directory.file(), directory.0.join("aside"));
    let mut sink = sink(&file);
    let log = logged(|| {
        // A directory in its place: the file can be neither found nor made.
        fs::rename(&file, &aside).expect("renamed");
        fs::create_dir(&file).expect("a directory");
        assert!(!sink.write(b"1\n") && !sink.write(b"2\n"));
        fs::remove_dir(&file).expect("removed");
        assert!(sink.write(b"3\n") && sink.write(b"4\n"));
    });
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains("are written to") && log.contains("again; 2 were lost"), "{log}");
    assert_eq!(contents(&file), "3\n4\n");
}

#[test]
fn a_moved_file_is_made_anew() {
    let directory = Directory::new();
    let (file, old) = (directory.file(), directory.0.join("events.jsonl.1"));
    let mut sink = sink(&file);
    assert!(sink.write(b"1\n"));
    fs::rename(&file, &old).expect("renamed");
    assert!(sink.write(b"2\n"));
    fs::remove_file(&file).expect("removed");
    assert!(sink.write(b"3\n"));
    assert_eq!((contents(&old), contents(&file)), ("1\n".into(), "3\n".into()));
}

#[test]
fn a_line_that_was_cut_off_swallows_no_other() {
    let directory = Directory::new();
    fs::write(directory.file(), "{\"cut").expect("written");
    let mut sink = sink(&directory.file());
    assert!(sink.write(b"1\n") && sink.write(b"2\n"));
    assert_eq!(contents(&directory.file()), "{\"cut\n1\n2\n");
}

#[test]
fn a_closed_pipe_is_an_error_and_no_more() {
    let (reader, writer) = io::pipe().expect("a pipe");
    drop(reader);
    let mut file = File::from(std::os::fd::OwnedFd::from(writer));
    let error = append(&mut file, b"1\n");
    assert_eq!(error.expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
}

fn append(file: &mut File, line: &[u8]) -> io::Result<()> {
    sink::append(file, line, &mut false)
}

#[tokio::test]
async fn sinks_can_be_reopened_and_replaced() {
    let directory = Directory::new();
    let (first, second) = (directory.file(), directory.0.join("second"));
    let queue = start(&[SinkConfig::File { path: first.clone() }]);
    queue.send(event("one"));
    queue.reopen().await;
    queue.send(event("two"));
    queue.replace(&[SinkConfig::File { path: second.clone() }]).await.expect("replaced");
    queue.send(event("three"));
    assert!(
        queue.replace(&[SinkConfig::File { path: "/proc/nonexistent/x".into() }]).await.is_err()
    );
    queue.send(event("four"));
    assert!(queue.close(Duration::from_secs(10)).await);
    assert_eq!(contents(&first).lines().count(), 2);
    assert_eq!(contents(&second).lines().count(), 2);
}

#[tokio::test]
async fn a_sink_that_blocks_holds_up_nobody() {
    let directory = Directory::new();
    let pipe = directory.file();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    let queue = start(&[SinkConfig::File { path: pipe.clone() }]);
    let start = Instant::now();
    let mut sent = 0;
    while queue.losses().queue == 0 {
        queue.send(event("fills the pipe, then the queue"));
        sent += 1;
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    assert!(!queue.close(Duration::from_millis(50)).await, "the pipe is full");

    // Whoever reads gets everything that was queued.
    let mut reader = File::open(&pipe).expect("the pipe");
    let reading = thread::spawn(move || {
        let mut events = Vec::new();
        reader.read_to_end(&mut events).expect("events");
        events.iter().filter(|byte| **byte == b'\n').count() as u64
    });
    assert!(queue.close(Duration::from_secs(10)).await);
    assert_eq!(reading.join().expect("a reader"), sent - queue.losses().queue);
    assert_eq!(queue.losses().sink, 0);
}
