//! A process that looks like an expected program, and is another one when it binds.

use std::{
    env, fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, UdpSocket},
    os::{
        fd::AsRawFd as _,
        unix::{fs::FileExt as _, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio, abort},
    ptr, thread,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    mm::{MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap_anonymous, mprotect, mremap_fixed},
};

use super::{eventually, process::stat_field};

/// The variable that holds the order of the process, which is the test program itself.
const ORDER: &str = "GHOSTPORT_TEST_IMPOSTOR";

/// The program that it pretends to be, which takes numbers as arguments.
pub const PRETENDED: &str = "sleep";

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trick {
    /// It binds, then executes the other program without address randomization, with the same name,
    /// and with the same command line at the same place.
    ExecutesLater,
    /// In a user namespace of its own it replaces `/proc/PID/exe` (`PR_SET_MM_MAP`), then binds.
    ClaimsIt,
    /// It binds, then executes the other program and keeps the socket.
    HandsOn,
    /// None: it binds when it is ordered to, and stays what it is.
    Honest,
}

impl Trick {
    const ALL: [Self; 4] = [Self::ExecutesLater, Self::ClaimsIt, Self::HandsOn, Self::Honest];

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// A process that has done its trick. It ends when this is dropped.
pub struct Impostor {
    child: Child,
    said: ChildStdout,
    /// Where its arguments were when it bound.
    pub arguments_at: u64,
}

impl Impostor {
    /// Starts the test program, which has an ignored test `impostor` that calls [`act_as_ordered`], and
    /// waits until it has bound a UDP port and seems to execute `pretended`.
    pub fn start(trick: Trick, port: u16, pretended: &Path) -> Self {
        let this = env::current_exe().expect("a path");
        let this = match trick {
            Trick::ClaimsIt => {
                let mut command = Command::new("unshare");
                command.arg("-r").arg(this);
                Self::spawn(trick, command, port, pretended)
            }
            _ => Self::spawn(trick, Command::new(this), port, pretended),
        };
        // While a thread executes something, the process has no executable.
        eventually("the other program", || {
            (this.executable().as_deref() == Some(pretended)).then_some(())
        });
        this
    }

    /// Starts a copy of the test program, which binds a UDP port when it is ordered to.
    pub fn honest(program: &Path, port: u16) -> Self {
        Self::spawn(Trick::Honest, Command::new(program), port, program)
    }

    /// Lets an honest one bind its port.
    pub fn bind(&mut self) {
        self.child.stdin.as_mut().expect("piped").write_all(b"b").expect("ordered");
        read_until_mark(&mut self.said);
    }

    fn spawn(trick: Trick, mut command: Command, port: u16, pretended: &Path) -> Self {
        command
            .args(["--exact", "impostor", "--ignored", "--nocapture", "--test-threads=1"])
            .env(ORDER, format!("{} {port} {}", trick.name(), pretended.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if trick == Trick::ExecutesLater {
            // SAFETY: one system call.
            unsafe { command.pre_exec(not_randomized) };
        }
        let mut child = command.spawn().expect("spawned");
        let mut said = child.stdout.take().expect("piped");
        let text = read_until_mark(&mut said);
        let number = text.rsplit('@').next().and_then(|number| number.parse().ok());
        Self { child, said, arguments_at: number.expect("a number") }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What `/proc/PID/exe` says.
    pub fn executable(&self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/exe", self.pid())).ok()
    }

    /// Where its arguments are now.
    pub fn arguments_now(&self) -> u64 {
        stat_field(self.pid(), ARG_START)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process says before its mark.
fn read_until_mark(said: &mut ChildStdout) -> String {
    let mut text = Vec::new();
    loop {
        let mut byte = [0];
        said.read_exact(&mut byte).expect("it lives");
        match byte {
            [b'!'] => return String::from_utf8(text).expect("text"),
            [byte] => text.push(byte),
        }
    }
}

fn not_randomized() -> io::Result<()> {
    // SAFETY: no memory is passed.
    let result = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether this process is to be an [`Impostor`].
pub fn is_ordered() -> bool {
    env::var_os(ORDER).is_some()
}

/// What an [`Impostor`] does.
pub fn act_as_ordered() {
    let Ok(order) = env::var(ORDER) else { return };
    let mut words = order.splitn(3, ' ');
    let trick = words.next().expect("a trick");
    let trick = Trick::ALL.into_iter().find(|known| known.name() == trick).expect("a trick");
    let port: u16 = words.next().and_then(|port| port.parse().ok()).expect("a port");
    let pretended = Path::new(words.next().expect("a path"));
    let arguments = stat_field("self", ARG_START);
    let disguise = || Disguise::for_program(pretended);
    match trick {
        Trick::ExecutesLater => disguise().put_on(arguments),
        Trick::ClaimsIt => claim(pretended),
        Trick::HandsOn => {}
        Trick::Honest => {
            say("@0!");
            io::stdin().read_exact(&mut [0]).expect("an order");
        }
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("bound");
    say(&format!("@{arguments}!"));
    match trick {
        Trick::ExecutesLater => {}
        Trick::HandsOn => fcntl_setfd(&socket, FdFlags::empty()).expect("inherited"),
        Trick::ClaimsIt | Trick::Honest => loop {
            thread::park();
        },
    }
    let error = disguise().execute(pretended);
    panic!("not executed: {error}");
}

fn say(text: &str) {
    let mut output = io::stdout();
    output.write_all(text.as_bytes()).expect("written");
    output.flush().expect("written");
}

/// Arguments and environment with which a program has its arguments where this process has them.
struct Disguise {
    /// An argument that makes the command line as long as this one.
    argument: String,
    /// A value of the variable `X` that makes the rest as long.
    padding: String,
}

impl Disguise {
    fn for_program(pretended: &Path) -> Self {
        let length = |file: &str| fs::read(file).expect("readable").len();
        // The command line has this length before and after it is overwritten.
        let arguments = length("/proc/self/cmdline") - PRETENDED.len() - 2;
        // Above the arguments are the environment and the path that was executed.
        let executed = env::current_exe().expect("a path").as_os_str().len();
        let above = length("/proc/self/environ") + executed;
        let padding = above - pretended.as_os_str().len() - "X=".len() - 1;
        Self { argument: format!("{:0>arguments$}", 1000), padding: "x".repeat(padding) }
    }

    /// Shows the name and the command line of the other program.
    fn put_on(&self, arguments: u64) {
        fs::write("/proc/self/comm", PRETENDED).expect("renamed");
        let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem").expect("memory");
        let line = format!("{PRETENDED}\0{}\0", self.argument);
        memory.write_all_at(line.as_bytes(), arguments).expect("written");
    }

    fn execute(&self, pretended: &Path) -> io::Error {
        let mut command = Command::new(pretended);
        command.arg0(PRETENDED).arg(&self.argument).env_clear().env("X", &self.padding);
        command.exec()
    }
}

// Fields of `/proc/PID/stat` by their number (proc_pid_stat(5)).
const START_CODE: usize = 26;
const END_CODE: usize = 27;
const START_STACK: usize = 28;
const START_DATA: usize = 45;
const END_DATA: usize = 46;
const START_BRK: usize = 47;
const ARG_START: usize = 48;
const ARG_END: usize = 49;
const ENV_START: usize = 50;
const ENV_END: usize = 51;

/// `struct prctl_mm_map`, `include/uapi/linux/prctl.h`.
#[repr(C)]
struct MemoryMap {
    start_code: u64,
    end_code: u64,
    start_data: u64,
    end_data: u64,
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arg_start: u64,
    arg_end: u64,
    env_start: u64,
    env_end: u64,
    auxv: u64,
    auxv_size: u32,
    exe_fd: u32,
}

/// Makes another program this process's executable: what is mapped of the own one goes first.
fn claim(pretended: &Path) {
    let own = env::current_exe().expect("a path");
    for line in fs::read_to_string("/proc/self/maps").expect("maps").lines() {
        if line.ends_with(own.to_str().expect("UTF-8")) {
            replace_by_memory(line);
        }
    }
    let file = fs::File::open(pretended).expect("a program");
    let field = |number| stat_field("self", number);
    // SAFETY: no memory is passed.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let map = MemoryMap {
        start_code: field(START_CODE),
        end_code: field(END_CODE),
        start_data: field(START_DATA),
        end_data: field(END_DATA),
        start_brk: field(START_BRK),
        brk,
        start_stack: field(START_STACK),
        arg_start: field(ARG_START),
        arg_end: field(ARG_END),
        env_start: field(ENV_START),
        env_end: field(ENV_END),
        auxv: 0,
        auxv_size: 0,
        exe_fd: file.as_raw_fd() as u32,
    };
    // SAFETY: the structure outlives the call, and describes this process as it is.
    let result = unsafe {
        let (option, size) = (libc::PR_SET_MM_MAP as usize, size_of_val(&map));
        libc::prctl(libc::PR_SET_MM, option, &raw const map, size, 0_usize)
    };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
}

/// Puts memory of the same content where a file is mapped.
fn replace_by_memory(mapping: &str) {
    let mut fields = mapping.split(' ');
    let (start, end) = fields.next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("an address");
    let (start, length) = (number(start), number(end) - number(start));
    let may = fields.next().expect("permissions");
    let mut protection = MprotectFlags::empty();
    for (letter, flag) in
        [('r', MprotectFlags::READ), ('w', MprotectFlags::WRITE), ('x', MprotectFlags::EXEC)]
    {
        protection.set(flag, may.contains(letter));
    }
    let old = start as *mut libc::c_void;
    // SAFETY: the new mapping has the content of the old one, whose place it takes in one call. No
    // other thread runs.
    unsafe {
        let new = mmap_anonymous(
            ptr::null_mut(),
            length,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE,
        );
        let Ok(new) = new else { abort() };
        if may.contains('r') {
            ptr::copy_nonoverlapping(old.cast::<u8>(), new.cast::<u8>(), length);
        }
        let moved = mprotect(new, length, protection)
            .and_then(|()| mremap_fixed(new, length, length, MremapFlags::MAYMOVE, old));
        if moved.is_err() {
            abort();
        }
    }
}
