//! Completes what the kernel side captured of a caller with what `/proc` has of it.

use std::{
    io,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use monitor_common::socket_record::{Caller, FileNumbers, SocketRecord};

use super::{
    cgroup::{Cgroup, tree::CgroupTree},
    evidence::Inspector,
    generations::Generations,
    host_files::HostFiles,
    hosts_namespaces::HostsNamespaces,
    identity::{Ancestor, CommandLine, Executable, Identity, User},
    lineage::Lineage,
    proc_dir::ProcessDir,
    start_time::{ProcessKey, StartTime, to_nanoseconds},
    stat::Stat,
    text,
    users::Users,
};
use crate::{config::CommandLines, secrets::mask_arguments};
use monitor_kernel::clock::{EventClock, SteadyOffset};

/// Processes that are remembered, twice as many at most.
const REMEMBERED: usize = 512;

/// How long what was read of a process is used instead of reading it again.
const FRESH: Duration = Duration::from_millis(500);

/// Identifies processes. It wants a thread of its own: a process or a file system that does not answer
/// in time makes it wait, for a share of its time at most.
#[derive(Debug)]
pub struct ProcessEnricher {
    command_lines: CommandLines,
    clock: SteadyOffset,
    users: Users,
    cgroups: CgroupTree,
    lineage: Lineage,
    files: HostFiles,
    inspector: Option<Inspector>,
    /// Processes that were read, because one that ends closes its sockets when `/proc` has little of
    /// it left.
    seen: Generations<ProcessKey, Remembered>,
}

/// What only a living process shows.
#[derive(Clone, Debug)]
struct Remembered {
    /// When it was read.
    at: Instant,
    /// Another name may mean another program.
    name: Option<String>,
    /// As in [`Stat`].
    arguments_at: Option<NonZeroU32>,
    /// The file that it executed, as far as the kernel side could read it.
    file: Option<FileNumbers>,
    executable: Option<Executable>,
    executable_is_hosts: bool,
    is_in_hosts_user_namespace: bool,
    is_in_hosts_mount_namespace: bool,
    command_line: Option<CommandLine>,
    cgroup: Option<Arc<Cgroup>>,
    netns_inode: Option<u32>,
    ancestors: Vec<Ancestor>,
}

/// What distinguishes the program that made a call from one that the process executes later.
#[derive(Clone, Copy, Debug, Default)]
struct Program {
    /// Where the kernel has put its arguments.
    arguments_at: Option<NonZeroU32>,
    /// Its file.
    file: Option<FileNumbers>,
}

impl Program {
    const fn of(caller: &Caller) -> Self {
        Self { arguments_at: caller.arguments_at, file: caller.executable }
    }
}

impl ProcessEnricher {
    /// An enricher that shows so much of command lines.
    pub fn new(command_lines: CommandLines) -> Self {
        Self {
            command_lines,
            clock: SteadyOffset::new(EventClock::Boottime),
            users: Users::new("/etc/passwd"),
            cgroups: CgroupTree::new(),
            lineage: Lineage::new(),
            files: HostFiles::default(),
            inspector: None,
            seen: Generations::new(REMEMBERED),
        }
    }

    /// Shares what is known of the host's executables.
    #[must_use]
    pub fn knowing(self, files: HostFiles) -> Self {
        Self { files, ..self }
    }

    /// Says what is known of the files that processes execute.
    #[must_use]
    pub fn inspecting(self, inspector: Inspector) -> Self {
        Self { inspector: Some(inspector), ..self }
    }

    /// What is known of the host's executables.
    pub fn host_files(&self) -> &HostFiles {
        &self.files
    }

    /// Shows so much of command lines from now on.
    pub fn show_command_lines(&mut self, command_lines: CommandLines) {
        self.command_lines = command_lines;
    }

    /// The process that made the call of `record`; `None` for a call that no process made.
    ///
    /// What the kernel side captured at the moment of the call takes precedence over what `/proc`
    /// says afterwards.
    pub fn identify(&mut self, record: &SocketRecord) -> Option<Identity> {
        let caller = record.caller.as_ref()?;
        self.users.refresh();
        let mut identity = self.captured(caller);
        let start_time = StartTime::of_caller(caller, record.time_ns);
        let program = Program::of(caller);
        if self.was_just_seen(&identity, program) {
            self.complete_from_memory(&mut identity, program);
        } else if let Ok((process, stat)) = start_time.find(caller.tgid) {
            self.complete(&mut identity, &process, stat, program);
            identity.ancestors = self.lineage.of(identity.parent_pid, start_time.latest());
            self.remember(&identity, program);
        } else {
            self.complete_from_memory(&mut identity, program);
            if identity.ancestors.is_empty() {
                identity.ancestors = self.lineage.of(identity.parent_pid, start_time.latest());
            }
        }
        self.complete_by_numbers(&mut identity, program);
        let hosts = HostsNamespaces::get();
        if let Some(inode) = caller.user_namespace {
            identity.is_in_hosts_user_namespace = hosts.has_user_namespace(inode);
        }
        if let Some(inode) = caller.mount_namespace {
            identity.is_in_hosts_mount_namespace = hosts.has_mount_namespace(inode);
        }
        Some(self.finished(identity))
    }

    /// The identity with evidence, and with secrets in its command line masked, unless all is shown. What
    /// is remembered is not: it is compared with what the kernel side captures.
    fn finished(&self, mut identity: Identity) -> Identity {
        if let Some(inspector) = &self.inspector {
            identity.evidence = inspector.known(&identity);
        }
        if self.command_lines == CommandLines::Masked
            && let Some(line) = &mut identity.command_line
        {
            mask_arguments(&mut line.arguments);
        }
        identity
    }

    /// The process that has this id now; an error if there is none.
    pub fn look_up(&mut self, pid: u32) -> io::Result<Identity> {
        self.look_at(&ProcessDir::open(pid)?)
    }

    /// The process behind an open folder.
    pub(crate) fn look_at(&mut self, process: &ProcessDir) -> io::Result<Identity> {
        self.users.refresh();
        let stat = process.stat()?;
        let mut identity = Identity::unknown(process.pid);
        if let Ok((real, effective)) = process.user_ids() {
            identity.real_user = Some(self.user(real));
            identity.effective_user = Some(self.user(effective));
        }
        let start_ticks = stat.start_ticks;
        self.complete(&mut identity, process, stat, Program::default());
        identity.ancestors = self.lineage.of(identity.parent_pid, start_ticks);
        Ok(self.finished(identity))
    }

    /// What the kernel side captured.
    fn captured(&mut self, caller: &Caller) -> Identity {
        let command_line = caller.command_line.as_ref().filter(|_| self.command_lines.are_read());
        Identity {
            parent_pid: caller.parent_tgid,
            start_time_ns: caller.start_time_ns,
            creation_time: caller.start_time_ns.and_then(|time| self.time_of_day(time)),
            name: caller.process_name.and_then(|name| text::name(name.as_bytes())),
            command_line: command_line.map(|line| CommandLine {
                arguments: text::arguments(&line.bytes),
                is_truncated: line.is_truncated,
            }),
            real_user: Some(self.user(caller.uid)),
            effective_user: caller.effective_uid.map(|uid| self.user(uid)),
            cgroup: caller.cgroup_id.and_then(|id| self.cgroups.by_id(id.get())),
            ..Identity::unknown(caller.tgid)
        }
    }

    /// Adds what `/proc` has of a living process.
    fn complete(
        &mut self,
        identity: &mut Identity,
        process: &ProcessDir,
        stat: Stat,
        program: Program,
    ) {
        self.complete_program(identity, process, &stat, program);
        if is_unknown(identity.cgroup.as_deref()) {
            let own = process.cgroup().ok().flatten().map(Arc::new);
            identity.cgroup = own.or(identity.cgroup.take());
        }
        identity.netns_inode = process.netns_inode().ok();
        let hosts = HostsNamespaces::get();
        identity.is_in_hosts_user_namespace =
            process.user_namespace().is_ok_and(|inode| hosts.has_user_namespace(inode));
        identity.is_in_hosts_mount_namespace =
            process.mount_namespace().is_ok_and(|inode| hosts.has_mount_namespace(inode));
        identity.name.get_or_insert(stat.name);
        identity.parent_pid.get_or_insert(stat.parent_pid);
        if identity.start_time_ns.is_none() {
            let start = to_nanoseconds(stat.start_ticks);
            identity.start_time_ns = Some(start);
            identity.creation_time = self.time_of_day(start);
        }
    }

    /// Adds executable and command line, unless the process seems to execute another program by
    /// now, or begins to in the meantime.
    fn complete_program(
        &self,
        identity: &mut Identity,
        process: &ProcessDir,
        stat: &Stat,
        program: Program,
    ) {
        let captured = identity.command_line.as_ref();
        let is_wanted =
            self.command_lines.are_read() && captured.is_none_or(|line| line.is_truncated);
        let is_renamed = identity.name.as_ref().is_some_and(|name| *name != stat.name);
        let now =
            (is_wanted || is_renamed).then(|| process.command_line().ok().flatten()).flatten();
        let has_same_line = match (captured, &now) {
            (Some(captured), Some(now)) => captured.is_beginning_of(now),
            _ => !is_renamed,
        };
        let has_same_arguments =
            program.arguments_at.is_none() || program.arguments_at == stat.arguments_at;
        if !has_same_line || !has_same_arguments {
            return;
        }
        let Some((executable, is_hosts)) = self.executable(process, program.file) else { return };
        if process.stat().is_ok_and(|now| now.is_same_program(stat)) {
            identity.executable = executable;
            identity.executable_is_hosts = is_hosts;
            if is_wanted {
                identity.command_line = now.or(identity.command_line.take());
            }
        }
    }

    /// What a process executes, and whether it is, or was until it was replaced, the host's file of that
    /// path. `None` if it is not the file `captured`, which the process executed when it made a call.
    fn executable(
        &self,
        process: &ProcessDir,
        captured: Option<FileNumbers>,
    ) -> Option<(Option<Executable>, bool)> {
        let Ok(executable) = process.executable() else { return Some((None, false)) };
        let Ok(found) = process.compare_executable(&executable.path, captured) else {
            return Some((Some(executable), false));
        };
        let is_hosts = match found.hosts_is_captured {
            // The file of the call, whatever the process executes by now.
            Some(true) => true,
            Some(false) => false,
            None => found.is_hosts && !executable.is_deleted,
        };
        if !is_hosts && found.is_captured == Some(false) {
            return None;
        }
        let numbers = captured.or(found.numbers);
        let was_hosts = numbers.is_some_and(|numbers| {
            if is_hosts {
                self.files.remember(numbers, &executable.path);
            }
            executable.is_deleted && self.files.was_at(&numbers, &executable.path)
        });
        Some((Some(executable), is_hosts || was_hosts))
    }

    /// Names the executable by its numbers where the process shows it no longer: it has ended, or it
    /// executes something else.
    fn complete_by_numbers(&self, identity: &mut Identity, program: Program) {
        if identity.executable.is_some() {
            return;
        }
        let Some(executable) = program.file.and_then(|numbers| self.files.find(&numbers)) else {
            return;
        };
        identity.executable = Some(executable);
        identity.executable_is_hosts = true;
    }

    /// Whether the same program was read from the same process just now: one that binds in a loop is
    /// not read each time.
    fn was_just_seen(&mut self, identity: &Identity, program: Program) -> bool {
        let wants_command_lines = self.command_lines.are_read();
        let seen = key(identity).and_then(|key| self.seen.get(&key));
        seen.is_some_and(|seen| {
            let is_same_line = match (&identity.command_line, &seen.command_line) {
                (Some(captured), Some(whole)) => captured.is_beginning_of(whole),
                (Some(_), None) => false,
                // It was not wanted then.
                (None, seen) => seen.is_some() == wants_command_lines,
            };
            let is_same_program = seen.name == identity.name
                && seen.arguments_at == program.arguments_at
                && seen.file == program.file;
            is_same_program && is_same_line && seen.at.elapsed() < FRESH
        })
    }

    /// Adds what was read earlier from the same process, if it still seems to be the same program.
    fn complete_from_memory(&mut self, identity: &mut Identity, program: Program) {
        let Some(key) = key(identity) else { return };
        let Some(seen) = self.seen.get(&key) else { return };
        // A process that ends has no arguments when its sockets are closed.
        let has_others =
            program.arguments_at.is_some() && program.arguments_at != seen.arguments_at;
        let has_other_file = program.file.is_some() && program.file != seen.file;
        if seen.name != identity.name || has_others || has_other_file {
            return;
        }
        let seen = seen.clone();
        identity.executable = seen.executable;
        identity.executable_is_hosts = seen.executable_is_hosts;
        identity.is_in_hosts_user_namespace = seen.is_in_hosts_user_namespace;
        identity.is_in_hosts_mount_namespace = seen.is_in_hosts_mount_namespace;
        identity.netns_inode = seen.netns_inode;
        identity.ancestors = seen.ancestors;
        if is_unknown(identity.cgroup.as_deref()) {
            identity.cgroup = seen.cgroup.or(identity.cgroup.take());
        }
        if self.command_lines.are_read() {
            let captured = identity.command_line.take();
            identity.command_line = match (captured, seen.command_line) {
                (Some(cut), Some(whole)) if cut.is_truncated && cut.is_beginning_of(&whole) => {
                    Some(whole)
                }
                (captured, seen) => captured.or(seen),
            };
        }
    }

    fn remember(&mut self, identity: &Identity, program: Program) {
        let Some(key) = key(identity) else { return };
        let remembered = Remembered {
            at: Instant::now(),
            name: identity.name.clone(),
            arguments_at: program.arguments_at,
            file: program.file,
            executable: identity.executable.clone(),
            executable_is_hosts: identity.executable_is_hosts,
            is_in_hosts_user_namespace: identity.is_in_hosts_user_namespace,
            is_in_hosts_mount_namespace: identity.is_in_hosts_mount_namespace,
            command_line: identity.command_line.clone(),
            cgroup: identity.cgroup.clone(),
            netns_inode: identity.netns_inode,
            ancestors: identity.ancestors.clone(),
        };
        self.seen.insert(key, remembered);
    }

    fn user(&self, id: u32) -> User {
        User { id, name: self.users.name(id).map(str::to_owned) }
    }

    fn time_of_day(&mut self, boottime_ns: u64) -> Option<Timestamp> {
        let offset = self.clock.to_wall_clock_ns();
        Timestamp::from_nanosecond(i128::from(boottime_ns) + offset).ok()
    }
}

/// Whether the control group is not known: of a process in hierarchies of version 1 alone, the kernel
/// side has the root of the unified one.
fn is_unknown(cgroup: Option<&Cgroup>) -> bool {
    cgroup.is_none_or(|cgroup| cgroup.path == "/")
}

/// `None` if the start time is not known: nothing is remembered then.
fn key(identity: &Identity) -> Option<ProcessKey> {
    Some(ProcessKey { pid: identity.pid, start_time_ns: identity.start_time_ns? })
}
