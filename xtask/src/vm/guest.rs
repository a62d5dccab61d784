//! One guest: what it finds when it starts, and its life under the emulator.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    cpio::Archive,
    kernels::Kernel,
    machine::Machine,
    outcome::{Outcome, judge},
    programs::Programs,
    table::{Boot, Cgroup, Row, SCALE},
    tools::Tools,
};

/// Filesystems of a booted system, in the order in which they are mounted. The first filesystem is
/// in memory already; another one at /tmp could hide what was built there.
const MOUNTS: &[(&str, &str)] = &[
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("bpf", "/sys/fs/bpf"),
    ("tracefs", "/sys/kernel/tracing"),
    ("securityfs", "/sys/kernel/security"),
];

/// Who has a name.
const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n";

/// A row on a kernel.
pub(super) struct Guest<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) row: &'a Row,
    /// Arguments of the test program: names of tests in place of the row's, and options.
    pub(super) harness: &'a [String],
}

impl Guest<'_> {
    /// Lives once, in a folder of its own, and says how that ended.
    pub(super) fn live(
        &self,
        programs: &Programs,
        tools: &Tools,
        folder: &Path,
    ) -> Result<(Outcome, Duration)> {
        fs::create_dir_all(folder)?;
        let [root, console, verdict] =
            ["root.cpio", "console", "verdict"].map(|name| folder.join(name));
        fs::write(&root, self.filesystem(programs, tools)?)?;
        for output in [&console, &verdict] {
            fs::write(output, "")?;
        }
        let start = Instant::now();
        let mut emulator = self.emulator(&root, &console, &verdict);
        let said = emulator.output().context("cannot start the emulator: cargo xtask setup")?;
        let took = start.elapsed();
        fs::remove_file(&root)?;
        let complaint = String::from_utf8_lossy(&said.stderr);
        let console = String::from_utf8_lossy(&fs::read(&console)?).replace('\r', "");
        let verdict = fs::read_to_string(&verdict)?;
        let limit = (took >= self.row.limit).then_some(self.row.limit);
        let said = format!("{console}{complaint}");
        Ok((judge(&said, &verdict, limit, self.kernel.line.name), took))
    }

    fn emulator(&self, root: &Path, console: &Path, verdict: &Path) -> Command {
        let machine = Machine::of(self.kernel.line.arch);
        // Ends the guest even when its caller is gone.
        let mut command = Command::new("timeout");
        let limit = self.row.limit.as_secs().to_string();
        command.args(["--foreground", "--signal=KILL", &limit, machine.emulator()]);
        machine.describe(&mut command, console, verdict);
        if self.row.counts_instructions {
            // Waiting takes none, so it need not be waited for.
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        command
            .arg("-kernel")
            .arg(&self.kernel.image)
            .arg("-initrd")
            .arg(root)
            .arg("-append")
            .arg(format!("{} {}", machine.parameters(), self.row.append))
            .stdin(Stdio::null());
        command
    }

    fn filesystem(&self, programs: &Programs, tools: &Tools) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        archive.device(Path::new("/dev/console"), (5, 1));
        // Guests have no overlay filesystem: what the tests hide of an installation has to be there.
        for folder in ["/run", "/tmp", "/var/lib/ghostport", "/var/log/ghostport"] {
            archive.folder(Path::new(folder));
        }
        archive.file(Path::new("/etc/passwd"), USERS.as_bytes());
        archive.file(Path::new("/init"), &read(&programs.init)?);
        archive.file(Path::new("/script"), self.script(programs)?.as_bytes());
        for program in [&programs.ghostport, self.program(programs)?] {
            archive.file(program, &read(program)?);
        }
        for (path, bytes) in &tools.0 {
            archive.file(path, bytes);
        }
        for module in &self.kernel.modules {
            archive.file(&in_guest(module), &read(module)?);
        }
        Ok(archive.finish())
    }

    fn program<'a>(&self, programs: &'a Programs) -> Result<&'a PathBuf> {
        let name = self.row.program;
        programs.tests.get(name).with_context(|| format!("there is no test program {name}"))
    }

    /// Which tests are run: those of the row, unless others of its program are named.
    fn arguments(&self) -> impl Iterator<Item = &str> {
        let is_named = self.harness.iter().any(|argument| !argument.starts_with('-'));
        let tests = if is_named { &[] } else { self.row.tests };
        let skipped = self.row.skipped.iter().flat_map(|test| ["--skip", test]);
        tests.iter().copied().chain(skipped).chain(self.harness.iter().map(String::as_str))
    }

    /// What `guest-init` is to do.
    fn script(&self, programs: &Programs) -> Result<String> {
        let mut script = mounts(self.row.boot);
        for module in &self.kernel.modules {
            let _ = writeln!(script, "module {}", in_guest(module).display());
        }
        let _ = writeln!(script, "env GHOSTPORT_TEST_SCALE {SCALE}");
        let _ = writeln!(script, "do /usr/bin/ip link set lo up");
        let program = self.program(programs)?.display();
        let _ = write!(script, "test {program} --test-threads=1 --show-output");
        if self.row.is_ignored {
            script.push_str(" --ignored");
        }
        for argument in self.arguments() {
            let _ = write!(script, " {argument}");
        }
        script.push('\n');
        Ok(script)
    }
}

fn mounts(boot: Boot) -> String {
    let mut script = String::new();
    for (kind, at) in MOUNTS.iter().filter(|(_, at)| !boot.without.contains(at)) {
        let _ = writeln!(script, "mount {kind} {at}");
    }
    match boot.cgroup {
        Cgroup::Unified => script.push_str("mount cgroup2 /sys/fs/cgroup\n"),
        Cgroup::Version1 => {
            script.push_str("mount tmpfs /sys/fs/cgroup\nmount cgroup /sys/fs/cgroup/cpu cpu\n");
        }
    }
    script
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn in_guest(module: &Path) -> PathBuf {
    Path::new("/modules").join(module.file_name().unwrap_or_default())
}
