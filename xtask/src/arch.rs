//! The architectures that are packaged and booted, by the names that others have for them.

use std::env::consts;

use clap::ValueEnum;

/// An architecture, named on the command line as by Debian and by containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Arch {
    /// x86-64.
    Amd64,
    /// 64-bit ARM, little-endian.
    Arm64,
}

impl Arch {
    /// This machine's, if it is one of them.
    pub(crate) fn of_this_machine() -> Option<Self> {
        [Self::Amd64, Self::Arm64].into_iter().find(|arch| arch.red_hat() == consts::ARCH)
    }

    /// Debian's name, which container images have as well.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Red Hat's name, which is also that of the kernel and of Rust.
    pub(crate) fn red_hat(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// What Rust calls Linux with glibc on it.
    pub(crate) fn triple(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => "aarch64-unknown-linux-gnu",
        }
    }
}
