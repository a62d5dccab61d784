use std::{
    fs,
    io::{IoSliceMut, Read as _, Seek as _},
    time::Duration,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;
use crate::{event::EventName, sinks::testing};

/// A socket that stands in for the one of journald.
struct Journald {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journald {
    fn new(name: &str) -> Self {
        let name = format!("ghostport-journal-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        Self { socket, path }
    }

    fn datagram(&self) -> Vec<u8> {
        let mut bytes = vec![0; 1 << 16];
        let length = self.socket.recv(&mut bytes).expect("a datagram");
        bytes.truncate(length);
        bytes
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn encoded(name: EventName) -> EncodedEvent {
    EncodedEvent::new(testing::event(name)).expect("JSON")
}

/// The fields of an entry, parsed as journald does.
fn fields(mut entry: &[u8]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    while !entry.is_empty() {
        let end = entry.iter().position(|byte| b"=\n".contains(byte)).expect("a name");
        let (name, rest) = entry.split_at(end);
        let (value, rest) = if rest[0] == b'=' {
            let end = rest.iter().position(|byte| *byte == b'\n').expect("an end");
            (&rest[1..end], &rest[end + 1..])
        } else {
            let (length, rest) = rest[1..].split_at(8);
            let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            assert_eq!(rest[length], b'\n');
            (&rest[..length], &rest[length + 1..])
        };
        fields.push((text(name), text(value)));
        entry = rest;
    }
    fields
}

#[test]
fn writes_every_field_as_a_field_of_the_journal() {
    let journald = Journald::new("fields");
    let mut journal = Journal::at(journald.path.clone()).expect("a sink");
    journal.write(&encoded(EventName::Awakened)).expect("written");
    let fields = fields(&journald.datagram());
    let all = |name: &str| -> Vec<&str> {
        fields.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    };
    assert_eq!(all("MESSAGE"), ["port 2948/tcp (wap-push) awakened after 1m30s: tcp bind"]);
    assert_eq!(all("PRIORITY"), ["2"]);
    assert_eq!(all("SYSLOG_IDENTIFIER"), ["ghostport"]);
    assert_eq!(all("EVENT_NAME"), ["ghostport.awakened"]);
    assert_eq!(all("NETWORK_LOCAL_PORT"), ["2948"]);
    assert_eq!(all("GHOSTPORT_EXPECTED"), ["false"]);
    assert_eq!(all("PROCESS_COMMAND_ARGS"), ["nc", "-l", "29\n48"]);
    let is_allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    for (name, _) in &fields {
        assert!(
            name.bytes().all(is_allowed) && !name.starts_with('_') && name.len() <= 64,
            "{name}"
        );
    }
}

#[test]
fn sends_large_entries_as_sealed_files() {
    let journald = Journald::new("large");
    let journal = Journal::at(journald.path.clone()).expect("a sink");
    let entry = vec![b'x'; 4 << 20];
    journal.send(&entry).expect("sent");

    let mut bytes = [0; 16];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(&journald.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
    assert_eq!(received.expect("a message").bytes, 0);
    let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = control.drain().next() else {
        panic!("no descriptor")
    };
    let mut file = File::from(descriptors.next().expect("a descriptor"));
    assert!(file.write_all(b"y").is_err(), "it is sealed");
    let mut read = Vec::new();
    file.rewind().expect("rewound");
    file.read_to_end(&mut read).expect("read");
    assert_eq!(read, entry);
}

#[test]
fn survives_a_restart_of_journald() {
    let gone = Journald::new("gone");
    let path = gone.path.clone();
    let mut journal = Journal::at(path.clone()).expect("a sink");
    drop(gone);
    assert!(journal.write(&encoded(EventName::Bind)).is_err());
    let back = Journald::new("gone");
    assert_eq!(back.path, path);
    journal.write(&encoded(EventName::Bind)).expect("written");
    let message = "MESSAGE=nc[4711] bound port 2948/tcp (wap-push)\n";
    assert!(back.datagram().starts_with(message.as_bytes()));
}
