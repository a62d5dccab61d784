//! Programs whose short flags have a secret.

/// What a flag has as its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlagValue {
    /// A secret.
    Secret,
    /// A user, then a colon or a percent sign, then a secret.
    UserAndSecret,
}

/// Flags of some programs.
struct Flags {
    programs: &'static [&'static str],
    /// Flags whose value is the next argument.
    before: &'static [(&'static str, FlagValue)],
    /// Flags whose value follows in the same argument.
    joined: &'static [(&'static str, FlagValue)],
}

use FlagValue::{Secret, UserAndSecret};

const FLAGS: [Flags; 15] = [
    Flags {
        programs: &["mysql", "mariadb"],
        before: &[],
        // `-p` alone asks for it.
        joined: &[("-p", Secret)],
    },
    Flags { programs: &["mycli", "mytop"], before: &[("-p", Secret)], joined: &[("-p", Secret)] },
    Flags {
        programs: &["mydumper", "myloader", "xtrabackup", "cqlsh", "evil-winrm", "nxc", "netexec"],
        before: &[("-p", Secret), ("-u", UserAndSecret)],
        joined: &[("-p", Secret)],
    },
    Flags {
        programs: &["mosquitto_pub", "mosquitto_sub", "mosquitto_rr", "ipmitool", "tsql", "isql"],
        before: &[("-P", Secret)],
        joined: &[("-P", Secret)],
    },
    Flags {
        programs: &["snmpget", "snmpwalk", "snmpset", "snmpbulkwalk", "snmptrap", "snmptable"],
        before: &[("-c", Secret), ("-A", Secret), ("-X", Secret)],
        joined: &[],
    },
    Flags {
        programs: &["sshpass", "mongo", "7z", "rar", "unrar"],
        before: &[("-p", Secret)],
        joined: &[("-p", Secret)],
    },
    Flags {
        programs: &["curl"],
        before: &[
            ("-u", UserAndSecret),
            ("--user", UserAndSecret),
            ("-U", UserAndSecret),
            ("--proxy-user", UserAndSecret),
            ("-b", Secret),
        ],
        joined: &[("-u", UserAndSecret), ("--user=", UserAndSecret)],
    },
    Flags {
        programs: &["http", "https", "xh"],
        before: &[("-a", UserAndSecret), ("--auth", UserAndSecret)],
        joined: &[("--auth=", UserAndSecret)],
    },
    Flags { programs: &["redis-cli", "valkey-cli"], before: &[("-a", Secret)], joined: &[] },
    Flags {
        programs: &["ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami", "ldapdelete"],
        before: &[("-w", Secret)],
        joined: &[("-w", Secret)],
    },
    Flags {
        programs: &["smbclient", "rpcclient", "smbget", "net"],
        before: &[("-U", UserAndSecret), ("--user", UserAndSecret)],
        joined: &[("-U", UserAndSecret), ("--user=", UserAndSecret)],
    },
    Flags {
        programs: &["sqlcmd", "bcp", "zip", "unzip"],
        before: &[("-P", Secret)],
        joined: &[("-P", Secret)],
    },
    Flags {
        programs: &["docker", "podman", "skopeo", "buildah", "nerdctl"],
        before: &[("--creds", UserAndSecret)],
        joined: &[("--creds=", UserAndSecret)],
    },
    Flags { programs: &["openssl"], before: &[("-k", Secret), ("-K", Secret)], joined: &[] },
    Flags {
        programs: &["xfreerdp", "wlfreerdp", "rdesktop"],
        before: &[("-p", Secret)],
        joined: &[("/p:", Secret)],
    },
];

/// What the programs called so do with their flags.
#[derive(Clone, Copy, Default)]
pub(super) struct Program(Option<&'static Flags>);

impl Program {
    /// The program that a path or a name is of: `mysqldump`, `mariadb-dump` and `mongosh` belong to
    /// `mysql`, `mariadb` and `mongo`.
    pub(super) fn of(word: &str) -> Option<Self> {
        let name = word.rsplit('/').next().unwrap_or(word);
        let is_of = |program: &&str| match *program {
            "mysql" | "mariadb" | "mongo" => name.starts_with(program) && !name.ends_with('d'),
            other => name == other,
        };
        let flags = FLAGS.iter().find(|flags| flags.programs.iter().any(&is_of));
        flags.map(|flags| Self(Some(flags)))
    }

    /// Whether `-u` has a user and a group, with a colon between them.
    pub(super) fn names_groups(self) -> bool {
        self.0.is_some_and(|flags| flags.programs.contains(&"docker"))
    }

    /// What the argument behind this flag is, if it is known.
    pub(super) fn value_behind(self, flag: &str) -> Option<FlagValue> {
        let known = self.0?.before.iter().find(|(known, _)| *known == flag)?;
        Some(known.1)
    }

    /// The flag at the beginning of an argument, and what follows it there.
    pub(super) fn joined(self, argument: &str) -> Option<(&'static str, FlagValue)> {
        let is_joined = |flag: &str| argument.len() > flag.len() && argument.starts_with(flag);
        self.0?.joined.iter().copied().find(|(flag, _)| is_joined(flag))
    }
}
