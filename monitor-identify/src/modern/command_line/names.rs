//! Names of the commands that intruders type first, and what speaks for a shell in each.

use crate::reader::starts_with_ignoring_case;

/// What the name of a command is besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing but the name of a program.
    Program,
    /// A program that fetches what an address names.
    Fetcher,
    /// An English word, or a word of other protocols: it takes an argument that only a command has.
    Word,
}

/// Programs of systems with a shell of Bourne's kind, in order.
const PROGRAMS: [&[u8]; 112] = [
    b"adduser",
    b"apk",
    b"apt",
    b"apt-get",
    b"arp",
    b"ash",
    b"awk",
    b"base64",
    b"bash",
    b"busybox",
    b"cd",
    b"chattr",
    b"chgrp",
    b"chmod",
    b"chown",
    b"chpasswd",
    b"chroot",
    b"cp",
    b"crontab",
    b"dash",
    b"dd",
    b"df",
    b"dig",
    b"dmesg",
    b"dnf",
    b"docker",
    b"du",
    b"egrep",
    b"fgrep",
    b"gcc",
    b"gdb",
    b"getent",
    b"grep",
    b"groupadd",
    b"gunzip",
    b"gzip",
    b"hexdump",
    b"id",
    b"ifconfig",
    b"insmod",
    b"ip",
    b"iptables",
    b"iwconfig",
    b"killall",
    b"ksh",
    b"kubectl",
    b"ln",
    b"ls",
    b"lsattr",
    b"lsb_release",
    b"lscpu",
    b"lsmod",
    b"lsof",
    b"lspci",
    b"lua",
    b"md5sum",
    b"mkdir",
    b"mkfifo",
    b"mknod",
    b"modprobe",
    b"mv",
    b"nc",
    b"ncat",
    b"netcat",
    b"netstat",
    b"nmap",
    b"nohup",
    b"nproc",
    b"nslookup",
    b"openssl",
    b"perl",
    b"pgrep",
    b"php",
    b"pip",
    b"pkill",
    b"printenv",
    b"printf",
    b"ps",
    b"pstree",
    b"pwd",
    b"python",
    b"python2",
    b"python3",
    b"readlink",
    b"rm",
    b"rmdir",
    b"ruby",
    b"scp",
    b"sed",
    b"service",
    b"sh",
    b"sha256sum",
    b"socat",
    b"ss",
    b"sshd",
    b"strings",
    b"stty",
    b"su",
    b"sudo",
    b"sysctl",
    b"systemctl",
    b"tar",
    b"tee",
    b"uname",
    b"unset",
    b"unzip",
    b"useradd",
    b"userdel",
    b"usermod",
    b"whoami",
    b"xargs",
    b"xxd",
];

/// Programs of Windows.
const WINDOWS: [&[u8]; 35] = [
    b"arp",
    b"attrib",
    b"certutil",
    b"cmd",
    b"cscript",
    b"findstr",
    b"fsutil",
    b"gpresult",
    b"icacls",
    b"iex",
    b"ipconfig",
    b"klist",
    b"msbuild",
    b"msiexec",
    b"net",
    b"net1",
    b"netsh",
    b"nltest",
    b"powershell",
    b"psexec",
    b"pwsh",
    b"quser",
    b"qwinsta",
    b"rd",
    b"reg",
    b"regsvr32",
    b"rundll32",
    b"sc",
    b"schtasks",
    b"systeminfo",
    b"takeown",
    b"taskkill",
    b"tasklist",
    b"wevtutil",
    b"wmic",
];

/// Programs that fetch what an address names, in order.
const FETCHERS: [&[u8]; 11] = [
    b"aria2c",
    b"axel",
    b"bitsadmin",
    b"curl",
    b"fetch",
    b"ftpget",
    b"irm",
    b"iwr",
    b"mshta",
    b"tftp",
    b"wget",
];

/// Commands that are words besides, in order.
const WORDS: [&[u8]; 46] = [
    b"alias",
    b"cat",
    b"copy",
    b"cut",
    b"del",
    b"dir",
    b"echo",
    b"env",
    b"eval",
    b"exec",
    b"export",
    b"file",
    b"find",
    b"for",
    b"free",
    b"groups",
    b"head",
    b"history",
    b"hostname",
    b"if",
    b"kill",
    b"last",
    b"md",
    b"more",
    b"mount",
    b"move",
    b"ping",
    b"query",
    b"ren",
    b"script",
    b"set",
    b"sleep",
    b"sort",
    b"source",
    b"ssh",
    b"start",
    b"tail",
    b"test",
    b"touch",
    b"type",
    b"uptime",
    b"vssadmin",
    b"w",
    b"wc",
    b"which",
    b"while",
];

/// Verbs with which cmdlets of PowerShell begin.
const VERBS: [&[u8]; 16] = [
    b"Get-",
    b"Set-",
    b"New-",
    b"Invoke-",
    b"Start-",
    b"Stop-",
    b"Remove-",
    b"Add-",
    b"Import-",
    b"Export-",
    b"Out-",
    b"Write-",
    b"Test-",
    b"ConvertTo-",
    b"ConvertFrom-",
    b"Expand-",
];

impl Class {
    /// The class of the command that a word names, perhaps with its path and extension.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        let name = bare(word);
        if PROGRAMS.binary_search(&name).is_ok() {
            return Some(Self::Program);
        }
        if FETCHERS.binary_search(&name).is_ok() {
            return Some(Self::Fetcher);
        }
        if WORDS.binary_search(&name).is_ok() {
            return Some(Self::Word);
        }
        let is_of_windows = WINDOWS.iter().any(|known| known.eq_ignore_ascii_case(name));
        (is_of_windows || is_cmdlet(name)).then_some(Self::Program)
    }
}

/// The name of a command without its path and extension.
pub(super) fn bare(word: &[u8]) -> &[u8] {
    let start = word.iter().rposition(|byte| matches!(byte, b'/' | b'\\')).map_or(0, |at| at + 1);
    let name = &word[start..];
    match name.len().checked_sub(4) {
        Some(end) if name[end..].eq_ignore_ascii_case(b".exe") => &name[..end],
        _ => name,
    }
}

/// A verb and a noun.
fn is_cmdlet(name: &[u8]) -> bool {
    name.contains(&b'-')
        && VERBS.into_iter().any(|verb| {
            starts_with_ignoring_case(name, verb)
                && name.len() >= verb.len() + 4
                && name[verb.len()..].iter().all(u8::is_ascii_alphanumeric)
        })
}

/// Whether a program is known with this word behind it, which no option is.
pub(super) fn has_subcommand(program: &[u8], word: &[u8]) -> bool {
    let words: &[&[u8]] = match program {
        b"ip" => &[b"a", b"addr", b"address", b"link", b"route", b"r", b"neigh"],
        b"net" | b"net1" => {
            &[b"user", b"users", b"localgroup", b"group", b"view", b"use", b"share", b"accounts"]
        }
        b"reg" => &[b"query", b"add", b"delete", b"save", b"export"],
        b"sc" => &[b"query", b"create", b"start", b"stop", b"config", b"delete", b"qc"],
        b"wmic" => &[b"process", b"os", b"useraccount", b"service", b"product", b"qfe"],
        b"netsh" => &[b"advfirewall", b"firewall", b"interface", b"wlan", b"int"],
        b"systemctl" => &[b"status", b"start", b"stop", b"disable", b"enable"],
        b"docker" => &[b"ps", b"run", b"exec", b"images", b"pull"],
        b"kubectl" => &[b"get", b"exec", b"apply", b"describe"],
        b"query" => &[b"user", b"session"],
        b"wevtutil" => &[b"cl", b"el", b"qe"],
        b"vssadmin" => &[b"delete", b"list"],
        b"apt" | b"apt-get" | b"dnf" | b"pip" => &[b"install", b"update", b"remove"],
        b"apk" => &[b"add", b"update"],
        b"ps" => &[b"aux", b"auxw", b"auxww", b"ax", b"auxf"],
        b"sudo" | b"su" => &[b"su", b"bash", b"sh", b"root", b"id"],
        b"tar" => &[b"xf", b"xzf", b"xvf", b"zxvf", b"xzvf", b"czf"],
        _ => return false,
    };
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order() {
        assert!(PROGRAMS.is_sorted() && FETCHERS.is_sorted() && WORDS.is_sorted());
    }

    #[test]
    fn a_name_may_have_a_path_and_an_extension() {
        assert!(Class::of(b"/usr/bin/id") == Some(Class::Program));
        assert!(Class::of(b"CMD.EXE") == Some(Class::Program));
        assert!(Class::of(b"Get-ChildItem") == Some(Class::Program));
        assert!(Class::of(b"Set-Cookie:").is_none());
        assert!(Class::of(b"hello").is_none());
    }
}
