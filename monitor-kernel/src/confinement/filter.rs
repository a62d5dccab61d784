//! Filters as the kernel takes them: compiled by `seccompiler`, installed here, because it has no way to
//! ask for the log.

use std::{collections::BTreeMap, io};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// A system call that is allowed, with what its arguments have to be.
#[derive(Clone, Debug)]
pub(super) struct Allowed {
    pub(super) number: libc::c_long,
    /// One of these has to hold; empty if there are no conditions.
    pub(super) any_of: Vec<Vec<Condition>>,
}

/// A condition on an argument, by its position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    /// The lower 32 bits are this.
    Is(u8, u32),
    /// The lower 32 bits are not this.
    IsNot(u8, u32),
    /// None of these bits is set.
    LacksBits(u8, u64),
    /// All of these bits are set.
    HasBits(u8, u64),
}

/// Whether the kernel logs what a filter refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusals {
    Logged,
    Silent,
}

/// A compiled filter.
pub(super) struct Filter(BpfProgram);

impl Filter {
    /// Allows these, and refuses everything else with `EPERM`.
    pub(super) fn allowing(calls: Vec<Allowed>) -> io::Result<Self> {
        let mut rules = BTreeMap::new();
        for Allowed { number, any_of } in calls {
            let any_of: io::Result<Vec<SeccompRule>> = any_of.into_iter().map(rule).collect();
            rules.insert(number, any_of?);
        }
        Self::compile(rules, errno(libc::EPERM), SeccompAction::Allow)
    }

    /// Answers `clone3(2)` as a kernel without it does. Its flags are in memory, where no filter sees
    /// them, and libraries use `clone(2)` then.
    pub(super) fn without_clone3() -> io::Result<Self> {
        let rules = [(libc::SYS_clone3, Vec::new())].into();
        Self::compile(rules, SeccompAction::Allow, errno(libc::ENOSYS))
    }

    fn compile(
        rules: BTreeMap<i64, Vec<SeccompRule>>,
        mismatch: SeccompAction,
        matched: SeccompAction,
    ) -> io::Result<Self> {
        let architecture =
            TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
        let filter = SeccompFilter::new(rules, mismatch, matched, architecture);
        let program = filter.and_then(BpfProgram::try_from).map_err(io::Error::other)?;
        Ok(Self(program))
    }

    /// Puts the filter before this thread's system calls.
    pub(super) fn install(&self, refusals: Refusals) -> io::Result<()> {
        let flags = match refusals {
            Refusals::Logged => libc::SECCOMP_FILTER_FLAG_LOG,
            Refusals::Silent => 0,
        };
        let Self(program) = self;
        let program = libc::sock_fprog {
            len: u16::try_from(program.len()).map_err(io::Error::other)?,
            filter: program.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the program has as many instructions as it says and outlives the call; both types
        // of an instruction are the kernel's `struct sock_filter`.
        let installed = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        };
        if installed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

fn errno(number: i32) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

fn rule(conditions: Vec<Condition>) -> io::Result<SeccompRule> {
    use SeccompCmpArgLen::{Dword, Qword};
    let condition = |condition| match condition {
        Condition::Is(at, value) => {
            SeccompCondition::new(at, Dword, SeccompCmpOp::Eq, value.into())
        }
        Condition::IsNot(at, value) => {
            SeccompCondition::new(at, Dword, SeccompCmpOp::Ne, value.into())
        }
        Condition::LacksBits(at, bits) => {
            SeccompCondition::new(at, Qword, SeccompCmpOp::MaskedEq(bits), 0)
        }
        Condition::HasBits(at, bits) => {
            SeccompCondition::new(at, Qword, SeccompCmpOp::MaskedEq(bits), bits)
        }
    };
    let conditions: Result<Vec<_>, _> = conditions.into_iter().map(condition).collect();
    SeccompRule::new(conditions.map_err(io::Error::other)?).map_err(io::Error::other)
}
