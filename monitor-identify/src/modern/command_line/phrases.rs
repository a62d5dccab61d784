//! Phrases that a command line has for one purpose, wherever they stand.

use super::found::Found;
use crate::{
    Grade,
    reader::{find, first_line, starts_with_ignoring_case},
};

/// What Mirai and its descendants type behind a login, to get from a device's menu to a shell.
pub(super) fn worm(bytes: &[u8]) -> Option<Found<'_>> {
    const STEPS: [&[u8]; 8] =
        [b"enable", b"system", b"shell", b"sh", b"linuxshell", b"start", b"bash", b"su"];
    const APPLET: &[u8] = b"/bin/busybox ";
    let reason = "commands by which Mirai and its kin get to the shell of a device";
    if let Some(at) = find(bytes, APPLET) {
        let text = first_line(&bytes[at + APPLET.len()..]);
        return Some(Found { grade: Grade::Confirmed, reason, field: "applet", text });
    }
    let line = first_line(bytes.trim_ascii_start());
    if let Some(applet) = line.strip_suffix(b": applet not found")
        && applet.iter().all(u8::is_ascii_alphanumeric)
    {
        let reason = "the answer of a device to a worm that asks for an applet that there is not";
        return Some(Found { grade: Grade::Confirmed, reason, field: "applet", text: applet });
    }
    if !STEPS.contains(&line) {
        return None;
    }
    let lines = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty());
    let steps = lines.clone().take(8).filter(|line| STEPS.contains(line)).count();
    let is_worm = steps >= 2 && lines.take(2).all(|line| STEPS.contains(&line));
    is_worm.then_some(Found {
        grade: if steps >= 3 { Grade::Confirmed } else { Grade::Consistent },
        reason,
        field: "commands",
        text: bytes.trim_ascii(),
    })
}

/// A shell that is opened, or a program that is fetched and run.
pub(super) fn phrase(bytes: &[u8]) -> Option<Found<'_>> {
    let phrase = first_phrase(bytes)?;
    Some(Found {
        grade: Grade::Confirmed,
        reason: "a command that opens a reverse shell or fetches and runs a program",
        field: "phrase",
        text: phrase.as_bytes(),
    })
}

/// Phrases by their first letter, in lower case.
const PHRASES: [(u8, &[&str]); 11] = [
    (b'/', &["/dev/tcp/", "/dev/udp/", "/inet/tcp/0/", "/bin/sh -i", "/bin/bash -i"]),
    (b'b', &["bash -i >", "base64 -d|", "base64 -d |", "base64 --decode|", "base64 --decode |"]),
    (b'c', &["certutil -urlcache", "certutil.exe -urlcache"]),
    (b'i', &["IEX(", "IEX (", "import pty"]),
    (b'm', &["mkfifo /tmp/"]),
    (b'n', &["nc -e /bin/", "ncat -e /bin/", "New-Object Net.", "New-Object System.Net."]),
    (b'p', &["pty.spawn(", "powershell -e", "powershell -nop", "powershell.exe -nop"]),
    (b's', &["sh -i >", "sh -i 2>", "sh -i <", "stty raw -echo"]),
    (b't', &["tftp -g "]),
    (b'u', &["unset HISTFILE"]),
    (b'{', &["{base64,-d}"]),
];

/// For every byte, the place behind its phrases; 0 where none begins with it.
const PLACES: [u8; 256] = {
    let mut places = [0; 256];
    let mut index = 0;
    while index < PHRASES.len() {
        let letter = PHRASES[index].0;
        places[letter as usize] = index as u8 + 1;
        places[letter.to_ascii_uppercase() as usize] = index as u8 + 1;
        index += 1;
    }
    places
};

fn first_phrase(bytes: &[u8]) -> Option<&'static str> {
    for (at, byte) in bytes.iter().enumerate() {
        let Some(place) = PLACES[usize::from(*byte)].checked_sub(1) else { continue };
        // At the start of a word only: behind a blank, a quote or a mark.
        if at > 0 && bytes[at - 1].is_ascii_alphanumeric() && *byte != b'/' {
            continue;
        }
        let rest = &bytes[at..];
        let mut phrases = PHRASES[usize::from(place)].1.iter();
        if let Some(found) =
            phrases.find(|phrase| starts_with_ignoring_case(rest, phrase.as_bytes()))
        {
            return Some(found);
        }
    }
    None
}
