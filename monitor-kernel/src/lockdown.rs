//! The kernel's lockdown mode, which can forbid programs to read kernel memory.

use std::fs;

use serde::Serialize;

/// The file of securityfs.
pub const PATH: &str = "/sys/kernel/security/lockdown";

/// A mode, `Documentation/admin-guide/kernel-parameters.txt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lockdown {
    /// Nothing is locked.
    None,
    /// The kernel cannot be changed; no effect on ghostport.
    Integrity,
    /// Kernel memory cannot be read either.
    Confidentiality,
}

impl Lockdown {
    /// The mode in force; `None` if securityfs does not have it.
    pub fn in_force() -> Option<Self> {
        Self::parse(&fs::read_to_string(PATH).ok()?)
    }

    /// The mode in brackets: `none [integrity] confidentiality`.
    fn parse(modes: &str) -> Option<Self> {
        let (_, rest) = modes.split_once('[')?;
        match rest.split_once(']')?.0 {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }

    /// Its name on the kernel's command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_is_the_one_in_brackets() {
        assert_eq!(Lockdown::parse("[none] integrity confidentiality\n"), Some(Lockdown::None));
        assert_eq!(
            Lockdown::parse("none integrity [confidentiality]\n"),
            Some(Lockdown::Confidentiality)
        );
        assert_eq!(Lockdown::parse("none [paranoia]\n"), None);
    }
}
