//! What shells say when they start, and the output of the commands that intruders begin with.

use super::found::Found;
use crate::{
    Grade,
    reader::{contains, first_line, starts_with_ignoring_case},
};

/// What a shell or an interpreter says when it starts without a terminal.
pub(super) fn banner(bytes: &[u8]) -> Option<Found<'_>> {
    const STARTS: [&[u8]; 8] = [
        b"Microsoft Windows [",
        b"Microsoft Windows XP [",
        b"Windows PowerShell running as ",
        b"PowerShell 7",
        b"BusyBox v",
        b"(c) Microsoft Corporation",
        b"bash: cannot set terminal process group",
        b"bash: no job control in this shell",
    ];
    const PHRASES: [&[u8]; 3] = [
        b"can't access tty; job control turned off",
        b"no job control in this shell",
        b"cannot set terminal process group",
    ];
    const NOT_RECOGNISED: &[u8] = b"' is not recognized as an internal or external command";
    let text = bytes.trim_ascii_start();
    let line = first_line(text);
    let is_start = STARTS.into_iter().any(|start| text.starts_with(start))
        || (line == b"Windows PowerShell" && contains(text, b"Microsoft Corporation"));
    let may_be_error = line.len() > 12 && is_of_shell(line);
    let is_banner = is_start
        || (may_be_error && PHRASES.into_iter().any(|phrase| contains(text, phrase)))
        || (text.starts_with(b"'") && contains(line, NOT_RECOGNISED));
    is_banner.then_some(Found {
        grade: Grade::Confirmed,
        reason: "what a shell says that was started without a terminal, as reverse shells are",
        field: "banner",
        text: line,
    })
}

/// The output of a command by which an intruder learns who and where he is.
pub(super) fn output(bytes: &[u8]) -> Option<Found<'_>> {
    let text = bytes.trim_ascii_start();
    let line = first_line(text);
    let (grade, reason) = if is_identity(line) {
        (Grade::Confirmed, "the output of id, by which an intruder learns who he is")
    } else if is_system(line) {
        (Grade::Consistent, "the output of uname -a, by which an intruder learns where he is")
    } else if is_windows_account(line) {
        (Grade::Consistent, "the output of whoami on Windows: an account of the system")
    } else if is_folder(text, line) {
        (Grade::Consistent, "a folder as ls -l or dir shows it")
    } else if line.starts_with(b"root:x:0:0:") || line.starts_with(b"root:*:0:0:") {
        (Grade::Consistent, "the content of /etc/passwd")
    } else if line == b"Windows IP Configuration" {
        (Grade::Consistent, "the output of ipconfig")
    } else if is_refusal(line) {
        (Grade::Consistent, "what a shell says of a command that there is not")
    } else {
        return None;
    };
    Some(Found { grade, reason, field: "output", text: line })
}

/// `uid=0(root) gid=0(root) …`, or numbers alone.
fn is_identity(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"uid=") else { return false };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0
        && match &rest[digits..] {
            [b'(', ..] => contains(rest, b") gid="),
            numbers => numbers.starts_with(b" gid="),
        }
}

/// The system, its host and its version, as `uname -a` has them.
fn is_system(line: &[u8]) -> bool {
    let is_linux =
        || line.starts_with(b"Linux ") && line.ends_with(b"Linux") && contains(line, b" #");
    let is_darwin = || line.starts_with(b"Darwin ") && contains(line, b" Darwin Kernel Version ");
    let is_bsd = || {
        [&b"FreeBSD "[..], b"OpenBSD ", b"NetBSD ", b"DragonFly "]
            .into_iter()
            .any(|name| line.starts_with(name))
            && (contains(line, b"-RELEASE") || contains(line, b"GENERIC"))
    };
    let is_solaris = || line.starts_with(b"SunOS ") && contains(line, b" sun4");
    is_linux() || is_darwin() || is_bsd() || is_solaris()
}

/// Accounts of Windows' own, which programs of servers run as.
fn is_windows_account(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.len() <= 64
        && [&b"nt authority\\"[..], b"iis apppool\\", b"nt service\\"]
            .into_iter()
            .any(|authority| starts_with_ignoring_case(line, authority))
}

/// The sum and the first file of a folder, or the volume of Windows' `dir`.
fn is_folder(text: &[u8], line: &[u8]) -> bool {
    if line.starts_with(b"Volume in drive ") {
        return true;
    }
    let Some(blocks) = line.strip_prefix(b"total ") else { return false };
    // FTP's lists have the same lines, with both bytes at their ends.
    let files = text.get(line.len()..).and_then(|rest| rest.strip_prefix(b"\n"));
    let files = files.unwrap_or_default();
    blocks.iter().all(u8::is_ascii_digit)
        && matches!(files, [b'd' | b'-' | b'l', mode @ ..]
            if mode.len() > 9 && mode[..9].iter().all(|byte| b"rwxsStT-".contains(byte)))
}

/// Whether a line begins with the name of a shell and a colon.
fn is_of_shell(line: &[u8]) -> bool {
    let Some(colon) = line.iter().take(32).position(|byte| *byte == b':') else { return false };
    let shell = line[..colon].rsplit(|byte| matches!(byte, b'/' | b'-')).next();
    shell.is_some_and(|shell| matches!(shell, b"sh" | b"bash" | b"ash" | b"dash" | b"zsh" | b"ksh"))
}

/// `bash: x: command not found`, `sh: 1: x: not found`.
fn is_refusal(line: &[u8]) -> bool {
    is_of_shell(line)
        && (line.ends_with(b": not found")
            || line.ends_with(b": command not found")
            || contains(line, b": command not found: "))
}
