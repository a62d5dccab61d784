//! A process about which the kernel answers questions never, or late.

use std::{
    env,
    fs::File,
    io::{Read as _, Write as _, stdin, stdout},
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::FileExt as _,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    ptr, thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    mm::{MapFlags, MlockAllFlags, ProtFlags, mlockall, mmap, mmap_anonymous},
    net::{AddressFamily, bind},
    time::Timespec,
};

use super::{calls::udp, patience};

/// The variable that holds the order of the process, which is the test program itself.
const ORDER: &str = "GHOSTPORT_TEST_STUCK";

const PAGE: usize = 4096;

const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Longer than what the kernel side captures of a command line.
const LONG: usize = 400;

/// A process that binds a UDP port on an order. It ends when this is dropped.
pub struct StuckProcess {
    child: Child,
    orders: ChildStdin,
}

impl StuckProcess {
    /// Starts `program`, a copy of the test program, and waits until it can bind. The test program has
    /// an ignored test `stuck` for it, which calls [`act_as_ordered`].
    ///
    /// With a file whose reads hang, the lock of its memory map is held until they end.
    pub fn start(program: &Path, port: u16, hanging_file: Option<&Path>) -> Self {
        let file = hanging_file.map_or(String::new(), |file| file.display().to_string());
        let mut child = Command::new(program)
            .args(["--exact", "stuck", "--ignored", "--test-threads=1", &"x".repeat(LONG)])
            .env(ORDER, format!("{port} {file}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawned");
        let orders = child.stdin.take().expect("piped");
        let mut said = child.stdout.take().expect("piped");
        let process = Self { child, orders };
        let deadline = Instant::now() + patience();
        let mut byte = [0];
        while byte != *b"!" {
            assert!(Instant::now() < deadline, "the process is not ready");
            if poll(&mut [PollFd::new(&said, PollFlags::IN)], Some(&SECOND)).is_ok_and(|n| n > 0) {
                said.read_exact(&mut byte).expect("it is ready");
            }
        }
        process
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it bind its port.
    pub fn bind(&mut self) {
        self.orders.write_all(b"b").expect("ordered");
    }
}

impl Drop for StuckProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        // It may wait for a file system that is not unmounted yet.
        let _ = self.child.try_wait();
    }
}

/// Whether this process is to be a [`StuckProcess`].
pub fn is_ordered() -> bool {
    env::var_os(ORDER).is_some()
}

/// What a [`StuckProcess`] does: it gets ready, binds on an order, and stays.
pub fn act_as_ordered() {
    let Ok(order) = env::var(ORDER) else { return };
    let (port, file) = order.split_once(' ').expect("a port and a file");
    let [tried, used] = [(); 2].map(|()| udp(AddressFamily::INET));
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let watched = address(port.parse().expect("a port"));
    // Nothing may have to be loaded into memory later, which would wait for the lock.
    mlockall(MlockAllFlags::CURRENT).expect("in memory");
    bind(&tried, &address(0)).expect("bound");
    let (input, output) = (stdin(), stdout());
    let mut byte = [0];
    rustix::io::write(&output, b"").expect("written");
    rustix::io::read(&input, &mut byte[..0]).expect("read");
    if !file.is_empty() {
        lock_memory_map(Path::new(file));
    }
    rustix::io::write(&output, b"!").expect("written");
    rustix::io::read(&input, &mut byte).expect("an order");
    bind(&used, &watched).expect("bound");
    rustix::io::read(&input, &mut byte).expect("the end");
}

/// Locks the memory map of this process until a read of `file` ends: a thread reads a page of the
/// file through `/proc/self/mem`, which keeps the map locked for reading, and another one waits to
/// write it, after which no reader gets in.
fn lock_memory_map(file: &Path) {
    let file = File::open(file).expect("a file");
    // SAFETY: a new mapping, which nothing refers to.
    let page = unsafe {
        mmap(ptr::null_mut(), PAGE, ProtFlags::READ, MapFlags::PRIVATE, &file, 0).expect("mapped")
    };
    let page = page as u64;
    let memory = File::open("/proc/self/mem").expect("memory");
    // To start a thread takes the lock as well.
    let in_turn = |turn: u32| thread::sleep(Duration::from_millis(400) * turn);
    thread::spawn(move || {
        in_turn(1);
        memory.read_at(&mut [0], page)
    });
    thread::spawn(move || {
        in_turn(2);
        // SAFETY: as above.
        unsafe { mmap_anonymous(ptr::null_mut(), PAGE, ProtFlags::READ, MapFlags::PRIVATE) }
            .expect("mapped");
    });
    in_turn(3);
}
