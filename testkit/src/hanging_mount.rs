//! A FUSE file system that stops answering: `/dev/fuse` is served here, as any user may serve it.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    mount::{MountFlags, UnmountFlags, mount, unmount},
    time::Timespec,
};

/// Requests, `include/uapi/linux/fuse.h`.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

const ROOT_NODE: u64 = 1;
const FILE_NODE: u64 = 2;

/// What the server answers.
const EVERYTHING: u8 = 0;
const NO_READS: u8 = 1;
const NOTHING: u8 = 2;
const CLOSED: u8 = 3;

/// How often the server looks whether it is to end.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A mounted file system with one file, which is a copy of another one. It answers until it has to
/// hang, and is unmounted when this is dropped.
pub struct HangingMount {
    folder: PathBuf,
    name: &'static str,
    answers: Arc<AtomicU8>,
    server: Option<JoinHandle<()>>,
}

impl HangingMount {
    /// Mounts it on a new folder. Every user may reach the file, which has this name and the content of
    /// `original`. `None` if this kernel has no FUSE.
    pub fn new(folder: &Path, name: &'static str, original: &Path) -> Option<Self> {
        // A request that was announced may be interrupted before it is read.
        let device = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/fuse")
            .ok()?;
        fs::create_dir_all(folder).expect("a folder");
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other");
        let options = CString::new(options).expect("options");
        mount("hanging", folder, c"fuse", MountFlags::empty(), &*options).ok()?;
        let answers = Arc::new(AtomicU8::new(EVERYTHING));
        let original = File::open(original).expect("a file");
        let size = original.metadata().expect("a size").len();
        let server = Server { device, original, size, name, answers: Arc::clone(&answers) };
        let server = Some(thread::spawn(move || server.run()));
        Some(Self { folder: folder.to_owned(), name, answers, server })
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    /// Answers no reads from now on.
    pub fn hang_reads(&self) {
        self.answers.store(NO_READS, Relaxed);
    }

    /// Answers nothing from now on.
    pub fn hang(&self) {
        self.answers.store(NOTHING, Relaxed);
    }
}

impl Drop for HangingMount {
    fn drop(&mut self) {
        // Whatever waits for an answer gets an error when the device is closed.
        self.answers.store(CLOSED, Relaxed);
        let _ = self.server.take().map(JoinHandle::join);
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
    }
}

struct Server {
    device: File,
    original: File,
    size: u64,
    name: &'static str,
    answers: Arc<AtomicU8>,
}

impl Server {
    fn run(mut self) {
        // Room for a request of the largest write.
        let mut request = vec![0; 1 << 18];
        loop {
            let answers = self.answers.load(Relaxed);
            if answers == CLOSED {
                return;
            }
            let waited = poll(&mut [PollFd::new(&self.device, PollFlags::IN)], Some(&TICK));
            if waited.is_ok_and(|ready| ready == 0) {
                continue;
            }
            let Ok(length) = self.device.read(&mut request) else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            self.answer(&request[..length]);
        }
    }

    fn answer(&mut self, request: &[u8]) {
        let (code, unique, node) = (u32_at(request, 4), u64_at(request, 8), u64_at(request, 16));
        let body = &request[40..];
        let answers = self.answers.load(Relaxed);
        let is_ignored = match code {
            FORGET | BATCH_FORGET | INTERRUPT => true,
            READ => answers != EVERYTHING,
            _ => answers >= NOTHING,
        };
        if is_ignored {
            return;
        }
        let reply = match code {
            INIT => Ok(init()),
            LOOKUP if body == [self.name.as_bytes(), &[0]].concat() => {
                // Neither name nor attributes may be cached.
                Ok([&numbers(&[FILE_NODE, 0, 0, 0, 0]), &*self.attributes(FILE_NODE)].concat())
            }
            LOOKUP => Err(libc::ENOENT),
            GETATTR => Ok([&numbers(&[0, 0]), &*self.attributes(node)].concat()),
            OPEN => Ok(numbers(&[0, 0])),
            READ => Ok(self.content(u64_at(body, 8), u32_at(body, 16))),
            RELEASE | FLUSH => Ok(Vec::new()),
            _ => Err(libc::ENOSYS),
        };
        let (error, body) = reply.map_or_else(|error| (-error, Vec::new()), |body| (0, body));
        let length = u32::try_from(16 + body.len()).expect("a length");
        let mut answer = [length.to_ne_bytes(), error.to_ne_bytes()].concat();
        answer.extend(unique.to_ne_bytes());
        answer.extend(body);
        // A request that was interrupted wants no answer.
        let _ = self.device.write(&answer);
    }

    fn content(&self, offset: u64, size: u32) -> Vec<u8> {
        let mut content = vec![0; size as usize];
        let length = self.original.read_at(&mut content, offset).expect("a file");
        content.truncate(length);
        content
    }

    /// `struct fuse_attr`.
    fn attributes(&self, node: u64) -> Vec<u8> {
        let (mode, size) = if node == ROOT_NODE { (0o040_755, 0) } else { (0o100_755, self.size) };
        let mut attributes = numbers(&[node, size, size.div_ceil(512), 0, 0, 0]);
        for field in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0_u32] {
            attributes.extend(field.to_ne_bytes());
        }
        attributes
    }
}

/// `struct fuse_init_out`, version 7.31, of which the kernel takes what it knows.
fn init() -> Vec<u8> {
    let mut answer = Vec::new();
    for field in [7, 31, 1 << 17, 0, 0, 1 << 17, 1, 0, 0_u32] {
        answer.extend(field.to_ne_bytes());
    }
    answer.resize(64, 0);
    answer
}

fn numbers(fields: &[u64]) -> Vec<u8> {
    fields.iter().flat_map(|field| field.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
