//! Command lines without a protocol: reverse and bind shells, and what worms type into Telnet.

use crate::{
    Grade, Identification, Payload, Verdict,
    details::Details,
    reader::{contains, find, first_line, starts_with_ignoring_case},
};

/// Bytes that are looked at.
const SAMPLE: usize = 512;

pub(crate) fn identify(payload: &Payload<'_>) -> Option<Identification> {
    let bytes = &payload.bytes[..payload.bytes.len().min(SAMPLE)];
    let is_text = bytes.iter().all(|byte| {
        *byte >= 0x20 && *byte != 0x7f || matches!(byte, b'\t' | b'\r' | b'\n' | 0x07 | 0x08 | 0x1b)
    });
    if !is_text {
        return None;
    }
    let (grade, reason, field, text) = banner(bytes)
        .or_else(|| prompt(bytes))
        .or_else(|| worm(bytes))
        .or_else(|| command(bytes))?;
    let mut details = Details::default();
    details.set_text(field, text);
    Some(Identification::new(Verdict::Shell, grade, reason).with(details))
}

type Found<'a> = (Grade, &'static str, &'static str, &'a [u8]);

/// What a shell or an interpreter says when it starts without a terminal.
fn banner(bytes: &[u8]) -> Option<Found<'_>> {
    const STARTS: [&[u8]; 8] = [
        b"Microsoft Windows [Version ",
        b"Microsoft Windows XP [Version ",
        b"Windows PowerShell",
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
    let text = bytes.trim_ascii_start();
    let line = first_line(text);
    let is_start = STARTS.into_iter().any(|start| text.starts_with(start));
    let may_be_error = line.len() > 12 && line.contains(&b':');
    let is_banner =
        is_start || (may_be_error && PHRASES.into_iter().any(|phrase| contains(text, phrase)));
    is_banner.then_some((
        Grade::Confirmed,
        "what a shell says that was started without a terminal, as reverse shells are",
        "banner",
        line,
    ))
}

/// A prompt at the end, or the output of `id`.
fn prompt(bytes: &[u8]) -> Option<Found<'_>> {
    let identity = bytes.trim_ascii_start();
    if identity.starts_with(b"uid=") && contains(identity, b") gid=") {
        let reason = "the output of id, with which an intruder learns who he is";
        return Some((Grade::Confirmed, reason, "output", first_line(identity)));
    }
    let line = first_line(identity);
    if line.starts_with(b"Linux ") && line.ends_with(b" GNU/Linux") && contains(line, b" #") {
        let reason = "the output of uname -a, with which an intruder learns where he is";
        return Some((Grade::Consistent, reason, "output", line));
    }
    if let Some(blocks) = line.strip_prefix(b"total ")
        && blocks.iter().all(u8::is_ascii_digit)
        && is_listing(identity.get(line.len()..)?.trim_ascii_start())
    {
        let reason = "a folder as ls -l shows it";
        return Some((Grade::Consistent, reason, "output", line));
    }
    let text = bytes.strip_suffix(b"\x1b[0m").unwrap_or(bytes);
    let start = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = without_escapes(&text[start..]);
    let reason = "the prompt of a shell, and nothing behind it";
    let body = match line {
        [body @ .., b'$' | b'#' | b'%' | b'>', b' '] | [body @ .., b'>'] => body,
        _ => return None,
    };
    let last = line.trim_ascii_end().last().copied();
    if last == Some(b'>') {
        let is_windows = matches!(body, [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
        let is_powershell = body.starts_with(b"PS ") && body.contains(&b':');
        let is_prompt = (is_windows || is_powershell) && !body.contains(&b'<');
        return is_prompt.then_some((Grade::Confirmed, reason, "prompt", line));
    }
    let has_shell = [&b"sh-"[..], b"bash-", b"ash-", b"zsh-", b"ksh-"]
        .into_iter()
        .any(|name| body.starts_with(name) && body.get(name.len()).is_some_and(u8::is_ascii_digit));
    // `user@host:path`, perhaps in brackets.
    let at = body.iter().position(|byte| *byte == b'@');
    let has_host = at.is_some_and(|at| {
        at > 0
            && body[at..].iter().any(|byte| matches!(byte, b':' | b' '))
            && body.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
            && !body[..at].contains(&b' ')
    });
    let has_path = matches!(body, [b'/' | b'~', ..]) && !body.contains(&b' ');
    match () {
        () if has_shell => Some((Grade::Confirmed, reason, "prompt", line)),
        () if has_host && body.len() < 80 => Some((Grade::Confirmed, reason, "prompt", line)),
        () if has_path && body.len() < 80 => Some((Grade::Consistent, reason, "prompt", line)),
        // `$ ` or `# ` alone, as dash has it.
        () if body.is_empty() && bytes.len() <= 3 => Some((Grade::Suspect, reason, "prompt", line)),
        () => None,
    }
}

/// Whether text begins with the type and the permissions of a file.
fn is_listing(text: &[u8]) -> bool {
    matches!(text, [b'd' | b'-' | b'l', mode @ ..]
        if mode.len() > 9 && mode[..9].iter().all(|byte| b"rwxsStT-".contains(byte)))
}

/// Skips what sets the title and colours in front of a prompt.
fn without_escapes(line: &[u8]) -> &[u8] {
    let mut line = line;
    loop {
        line = match line {
            [0x1b, b']', title @ ..] => {
                let Some(end) = title.iter().position(|byte| *byte == 0x07) else { return line };
                &title[end + 1..]
            }
            [0x1b, b'[', rest @ ..] => {
                let Some(end) = rest.iter().position(u8::is_ascii_alphabetic) else { return line };
                &rest[end + 1..]
            }
            _ => return line,
        }
    }
}

/// What Mirai and its descendants type behind a login, to get from a device's menu to a shell.
fn worm(bytes: &[u8]) -> Option<Found<'_>> {
    const STEPS: [&[u8]; 6] = [b"enable", b"system", b"shell", b"sh", b"linuxshell", b"start"];
    let reason = "commands by which Mirai and its kin get to the shell of a device";
    if let Some(at) = find(bytes, b"/bin/busybox ") {
        let applet = first_line(&bytes[at + 13..]);
        return Some((Grade::Confirmed, reason, "applet", applet));
    }
    let lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty());
    let steps = lines.clone().take(8).filter(|line| STEPS.contains(line)).count();
    let is_worm = steps >= 2 && lines.take(2).all(|line| STEPS.contains(&line));
    is_worm.then_some((
        if steps >= 3 { Grade::Confirmed } else { Grade::Consistent },
        reason,
        "commands",
        bytes.trim_ascii(),
    ))
}

/// Commands that are typed into a shell by whom it obeys, or into which it is brought to call.
fn command(bytes: &[u8]) -> Option<Found<'_>> {
    let text = bytes.trim_ascii_start();
    let line = first_line(text);
    let reason = "commands of a shell, as an intruder types them";
    if let Some(phrase) = phrase(bytes) {
        let reason = "a command that opens a reverse shell or fetches and runs a program";
        return Some((Grade::Confirmed, reason, "phrase", phrase.as_bytes()));
    }
    // One command a line: without an end of line it is a word.
    let has_end = line.len() < text.len();
    let word = line.split(|byte| matches!(byte, b' ' | b';' | b'|' | b'&')).next()?;
    const ALONE: [&[u8]; 16] = [
        b"id",
        b"whoami",
        b"uname -a",
        b"ls",
        b"ls -la",
        b"ls -al",
        b"pwd",
        b"hostname",
        b"ifconfig",
        b"ip a",
        b"ps aux",
        b"ps -ef",
        b"w",
        b"ipconfig",
        b"ipconfig /all",
        b"systeminfo",
    ];
    if has_end && ALONE.contains(&line) {
        // A word that other protocols may have as well.
        let grade = if line.len() >= 4 { Grade::Consistent } else { Grade::Suspect };
        return Some((grade, reason, "command", line));
    }
    const WITH_ARGUMENTS: [&[u8]; 12] = [
        b"cat", b"cd", b"echo", b"export", b"wget", b"curl", b"chmod", b"sudo", b"uname", b"nohup",
        b"crontab", b"type",
    ];
    let argument = line.get(word.len() + 1..).unwrap_or_default();
    let is_path = matches!(argument, [b'/' | b'~' | b'-' | b'.' | b'$' | b'\'' | b'"', ..])
        || contains(argument, b"://")
        || contains(argument, b"=");
    (has_end && WITH_ARGUMENTS.contains(&word) && is_path).then_some((
        Grade::Consistent,
        reason,
        "command",
        line,
    ))
}

/// Phrases that a command line has for one purpose.
fn phrase(bytes: &[u8]) -> Option<&'static str> {
    /// By their first letter, in lower case.
    const PHRASES: [(u8, &[&str]); 12] = [
        (
            b'/',
            &["/dev/tcp/", "/dev/udp/", "/etc/passwd", "/etc/shadow", "/bin/sh -i", "/bin/bash -i"],
        ),
        (b'b', &["bash -i >", "bash -c ", "base64 -d"]),
        (b'c', &["chmod +x ", "chmod 777 ", "cmd.exe /c ", "certutil -urlcache"]),
        (b'e', &["export TERM="]),
        (b'i', &["IEX(", "IEX (", "Invoke-Expression", "Invoke-WebRequest", "import pty"]),
        (b'm', &["mkfifo /tmp/"]),
        (
            b'n',
            &[
                "nc -e /bin/",
                "ncat -e /bin/",
                "net user ",
                "New-Object Net.",
                "New-Object System.Net.",
            ],
        ),
        (
            b'p',
            &[
                "pty.spawn(",
                "powershell -",
                "powershell.exe -",
                "perl -e ",
                "python -c ",
                "python3 -c ",
                "php -r ",
            ],
        ),
        (b'r', &["rm -rf /tmp", "rm -f /tmp/"]),
        (b's', &["sh -i >", "sh -i 2>", "stty raw -echo", "socat exec:"]),
        (b't', &["tftp -g ", "TERM=xterm"]),
        (b'w', &["wget http", "whoami /priv"]),
    ];
    for (at, byte) in bytes.iter().enumerate() {
        // At the start of a word only: behind a blank, a quote or a mark.
        if at > 0 && bytes[at - 1].is_ascii_alphanumeric() && *byte != b'/' {
            continue;
        }
        let letter = byte.to_ascii_lowercase();
        let Some((_, phrases)) = PHRASES.iter().find(|(first, _)| *first == letter) else {
            continue;
        };
        let rest = &bytes[at..];
        let found =
            phrases.iter().find(|phrase| starts_with_ignoring_case(rest, phrase.as_bytes()));
        if let Some(found) = found {
            return Some(found);
        }
    }
    None
}
