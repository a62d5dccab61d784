//! The emulated machines: what each kind wants of the emulator, and what it calls its ports.

use std::{path::Path, process::Command};

use crate::arch::Arch;

/// A kind of machine.
pub(super) struct Machine {
    emulator: &'static str,
    /// What it is, beside memory and the number of CPUs.
    kind: &'static [&'static str],
    /// The kernel's name of the serial port that is its console.
    console: &'static str,
    /// How the second serial port is plugged in, which is the character device `verdict`.
    second_port: &'static [&'static str],
    /// What the guest calls that one.
    verdict: &'static str,
}

const PC: Machine = Machine {
    emulator: "qemu-system-x86_64",
    kind: &["-cpu", "max"],
    console: "ttyS0",
    second_port: &["-serial", "chardev:verdict"],
    verdict: "/dev/ttyS1",
};

/// Pointer authentication by the architecture's own cipher would take as long as all the rest.
const ARM64: Machine = Machine {
    emulator: "qemu-system-aarch64",
    kind: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
    console: "ttyAMA0",
    second_port: &["-device", "pci-serial,chardev=verdict"],
    verdict: "/dev/ttyS0",
};

impl Machine {
    pub(super) fn of(arch: Arch) -> &'static Self {
        match arch {
            Arch::Amd64 => &PC,
            Arch::Arm64 => &ARM64,
        }
    }

    /// The program that emulates it.
    pub(super) fn emulator(&self) -> &'static str {
        self.emulator
    }

    /// Configures what the emulator emulates, and where console and verdict go.
    pub(super) fn describe(&self, command: &mut Command, console: &Path, verdict: &Path) {
        command
            .args(self.kind)
            // Not a thread for each CPU: then one runs into what another is changing in the kernel's
            // code, as it does to switch tracepoints on.
            .args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "768"])
            .args(["-display", "none", "-nodefaults", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-chardev")
            .arg(format!("file,id=verdict,path={}", verdict.display()))
            .args(self.second_port);
    }

    /// Parameters of the kernel: its console, and to its first process the port for the verdict.
    pub(super) fn parameters(&self) -> String {
        format!("console={} panic=-1 quiet VERDICT={}", self.console, self.verdict)
    }
}
