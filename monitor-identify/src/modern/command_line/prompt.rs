//! Prompts of shells, which the last line of a payload is.

use super::found::Found;
use crate::{Grade, reader::contains};

/// Bytes of a prompt, without what colours it.
const LONGEST: usize = 96;

/// A prompt at the end.
pub(super) fn prompt(bytes: &[u8]) -> Option<Found<'_>> {
    let is_mark = |byte: &u8| matches!(byte, b'$' | b'#' | b'%' | b'>');
    // Most text ends otherwise: colours end with a letter, and a prompt with its mark.
    let tail = &bytes[bytes.len().saturating_sub(24)..];
    if !tail.iter().any(is_mark) {
        return None;
    }
    let mut plain = [0; LONGEST];
    let start = start_of_last_line(bytes);
    let line = without_escapes(&bytes[start..], &mut plain)?;
    let before = bytes[..start].trim_ascii();
    let grade = grade(line, !before.contains(&b'\n'), bytes)?;
    Some(Found {
        grade,
        reason: "the prompt of a shell, and nothing behind it",
        field: "prompt",
        text: &bytes[start..],
    })
}

/// Where the last line begins.
fn start_of_last_line(bytes: &[u8]) -> usize {
    let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    bytes.iter().rposition(is_end).map_or(0, |end| end + 1)
}

/// Copies a line without what sets the title, colours and moves the cursor, ECMA-48 §8.3; `None` if
/// it is too long for a prompt.
fn without_escapes<'a>(line: &[u8], plain: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    let (mut rest, mut len) = (line, 0);
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            // An operating system command, up to a bell or a string terminator.
            (0x1b, [b']', title @ ..]) => {
                let end = title.iter().position(|byte| matches!(byte, 0x07 | 0x1b))?;
                match &title[end..] {
                    [0x1b, b'\\', more @ ..] | [_, more @ ..] => more,
                    [] => return None,
                }
            }
            // A control sequence, up to its final byte.
            (0x1b, [b'[', sequence @ ..]) => {
                let end = sequence.iter().position(|byte| (0x40..=0x7e).contains(byte))?;
                &sequence[end + 1..]
            }
            (0x1b, [_, more @ ..]) => more,
            (0x1b, []) => return None,
            (byte, _) => {
                *plain.get_mut(len)? = *byte;
                len += 1;
                after
            }
        };
    }
    Some(&plain[..len])
}

/// How sure a line is a prompt; `is_alone` if one line at most precedes it.
fn grade(line: &[u8], is_alone: bool, bytes: &[u8]) -> Option<Grade> {
    let (body, mark, has_blank) = match line {
        [body @ .., mark, b' '] => (body, *mark, true),
        [body @ .., mark] => (body, *mark, false),
        [] => return None,
    };
    match mark {
        b'>' if is_windows(body) => return Some(Grade::Confirmed),
        // PowerShell without its path.
        b'>' if body == b"PS" => return Some(Grade::Consistent),
        // Others than fish and Windows have it for something else.
        b'>' if has_blank => return (account(body)? == Place::Folder).then_some(Grade::Confirmed),
        b'$' | b'#' | b'%' => {}
        _ => return None,
    }
    if is_named_shell(body) {
        return Some(Grade::Confirmed);
    }
    if !has_blank {
        // `[root@host ~]#`, whose blank was lost.
        return (body.ends_with(b"]") && account(body).is_some()).then_some(Grade::Consistent);
    }
    // Kali's, of two lines with a frame.
    if body == "└─".as_bytes() && contains(bytes, "┌──".as_bytes()) {
        return Some(Grade::Confirmed);
    }
    match account(body) {
        Some(Place::Folder) => return Some(Grade::Confirmed),
        Some(Place::Host) => return Some(Grade::Consistent),
        None => {}
    }
    if is_path(body.trim_ascii_end()) || has_host_and_path(body) {
        return Some(Grade::Consistent);
    }
    // `$ ` or `# ` alone, as dash has it; or behind the name of a host.
    let is_bare = body.is_empty() && bytes.len() <= 3 && mark != b'%';
    let is_host = is_alone && body.len() >= 3 && is_name(body) && body[0].is_ascii_alphabetic();
    (is_bare || is_host).then_some(Grade::Suspect)
}

/// `C:\…` of the command interpreter, `PS C:\…` and its like of PowerShell.
fn is_windows(body: &[u8]) -> bool {
    let is_drive =
        |path: &[u8]| matches!(path, [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
    if body.contains(&b'<') || body.contains(&b'"') {
        return false;
    }
    match body.strip_prefix(b"PS ") {
        Some(path) => {
            is_drive(path)
                || path.starts_with(b"\\\\")
                || is_path(path)
                // Registries and stores of certificates are drives as well.
                || path.iter().position(|byte| *byte == b':').is_some_and(|colon| colon < 16)
        }
        None => is_drive(body),
    }
}

/// The name of a shell and its version, as it has none to show but its own.
fn is_named_shell(body: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] =
        [b"sh-", b"bash-", b"ash-", b"dash-", b"zsh-", b"ksh-", b"csh-", b"rbash-"];
    NAMES.into_iter().any(|name| {
        body.strip_prefix(name).is_some_and(|version| {
            version.first().is_some_and(u8::is_ascii_digit)
                && version.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        })
    })
}

/// What follows an account in a prompt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The host alone.
    Host,
    /// The host and a folder.
    Folder,
}

/// `user@host:path`, `user@host path`, `[user@host folder]` or `user@host`.
fn account(body: &[u8]) -> Option<Place> {
    let (inside, is_bracketed) =
        match body.strip_prefix(b"[").and_then(|body| body.trim_ascii_end().strip_suffix(b"]")) {
            Some(inside) => (inside, true),
            None => (body, false),
        };
    let at = inside.iter().position(|byte| *byte == b'@')?;
    let (user, rest) = (&inside[..at], &inside[at + 1..]);
    let end = rest.iter().position(|byte| matches!(byte, b':' | b' ')).unwrap_or(rest.len());
    let host = &rest[..end];
    if !is_name(user) || !is_name(host) {
        return None;
    }
    let folder = rest.get(end + 1..).unwrap_or_default().trim_ascii();
    if folder.is_empty() {
        return Some(Place::Host);
    }
    // The name of a folder without its path stands in brackets.
    let is_folder = is_path(folder) || (is_bracketed && !folder.contains(&b' '));
    is_folder.then_some(Place::Folder)
}

/// `host:path`, `host path`, or `host:path user`.
fn has_host_and_path(body: &[u8]) -> bool {
    let Some(end) = body.iter().position(|byte| matches!(byte, b':' | b' ')) else { return false };
    let host = &body[..end];
    let rest = body[end + 1..].trim_ascii();
    let (path, user) = match rest.iter().position(|byte| *byte == b' ') {
        Some(blank) => (&rest[..blank], Some(&rest[blank + 1..])),
        None => (rest, None),
    };
    is_name(host) && is_path(path) && user.is_none_or(|user| body[end] == b':' && is_name(user))
}

/// A path from the root or the home folder, without a blank.
fn is_path(path: &[u8]) -> bool {
    matches!(path, [b'~'] | [b'/', ..] | [b'~', b'/', ..]) && path.iter().all(u8::is_ascii_graphic)
}

/// The name of a user or a host.
fn is_name(name: &[u8]) -> bool {
    matches!(name.len(), 1..=64)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(text: &str) -> Option<Grade> {
        prompt(text.as_bytes()).map(|found| found.grade)
    }

    #[test]
    fn colours_and_titles_are_no_part_of_a_prompt() {
        let coloured = "\x1b]0;kali@kali: ~\x07\x1b[01;32mkali@kali\x1b[00m:\x1b[01;34m~\x1b[00m$ ";
        assert_eq!(graded(coloured), Some(Grade::Confirmed));
        assert_eq!(graded("\x1b]0;kali@kali: ~"), None, "an open title");
        assert_eq!(graded("\x1b[1m%\x1b[0m   \r \r\x1b[Jhost% \x1b[K"), Some(Grade::Suspect));
    }

    #[test]
    fn an_address_is_no_account() {
        assert_eq!(graded("bob@example.com: costs 5 $ "), None);
        assert_eq!(graded("bob@example.com wrote:\r\n> "), None);
        assert_eq!(graded("bob@example.com:/srv$ "), Some(Grade::Confirmed));
    }

    #[test]
    fn a_word_is_a_host_only_where_it_is_all() {
        assert_eq!(graded("host$ "), Some(Grade::Suspect));
        assert_eq!(graded("and\nthen\nhost$ "), None);
        assert_eq!(graded("20% "), None);
    }
}
