use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    net::{TcpListener, UdpSocket, UnixDatagram, UnixListener},
    task::LocalSet,
};

use super::*;
use crate::{
    event::{EncodedEvent, EventName},
    sinks::{losses::Losses, testing},
};

/// A sink at work, and its queue.
fn started(address: &str) -> (Arc<Queue>, tokio::task::JoinHandle<()>) {
    let losses = Losses::new("syslog".into(), Arc::<AtomicU64>::default());
    let queue = Arc::new(Queue::new(losses));
    let syslog = Syslog::open(&address.parse().expect("an address")).expect("open");
    let its_queue = Arc::clone(&queue);
    let pace = Pace::new(NonZeroU32::MAX, Arc::default());
    let work = tokio::task::spawn_local(async move { syslog.work(&its_queue, pace).await });
    (queue, work)
}

fn push(queue: &Queue, name: EventName) {
    let encoded = EncodedEvent::new(testing::event(name)).expect("JSON");
    queue.push(&Arc::new(encoded));
}

/// Name of a socket of this test.
fn socket(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ghostport-syslog-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

async fn counted_message(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.expect("a length") {
            b' ' => break,
            digit => length.push(digit.into()),
        }
    }
    let mut message = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut message).await.expect("a message");
    String::from_utf8(message).expect("text")
}

#[tokio::test]
async fn a_datagram_has_one_event() {
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let path = socket("datagrams");
    let unix = UnixDatagram::bind(&path).expect("bound");
    let test = async {
        let address = format!("udp:{}", udp.local_addr().expect("an address"));
        let (to_udp, _udp) = started(&address);
        let (to_unix, _unix) = started(&format!("unix:{}", path.display()));
        push(&to_udp, EventName::Awakened);
        push(&to_unix, EventName::Awakened);
        let mut bytes = [0; 4096];
        let length = udp.recv(&mut bytes).await.expect("a datagram");
        assert!(bytes[..length].starts_with(b"<26>1 1970-01-01T"), "{bytes:?}");
        assert!(bytes[..length].ends_with(b"}"), "{bytes:?}");
        let mut same = [0; 4096];
        let same_length = unix.recv(&mut same).await.expect("a datagram");
        assert_eq!(same[..same_length], bytes[..length]);
    };
    LocalSet::new().run_until(test).await;
    std::fs::remove_file(path).expect("removed");
}

#[tokio::test]
async fn a_stream_of_this_host_has_one_event_a_line() {
    let path = socket("stream");
    let listener = UnixListener::bind(&path).expect("bound");
    let test = async {
        let (queue, work) = started(&format!("unix:{}", path.display()));
        push(&queue, EventName::Bind);
        push(&queue, EventName::Close);
        let (stream, _) = listener.accept().await.expect("accepted");
        let mut lines = BufReader::new(stream).lines();
        for kind in ["bind", "close"] {
            let line = lines.next_line().await.expect("read").expect("a line");
            assert_eq!(line.split(' ').nth(5), Some(kind), "{line}");
        }
        queue.close();
        work.await.expect("ended");
        assert_eq!(lines.next_line().await.expect("read"), None, "an end");
    };
    LocalSet::new().run_until(test).await;
    std::fs::remove_file(path).expect("removed");
}

/// The server is away, comes, closes the connection and goes on: no event is missing.
#[tokio::test]
async fn a_connection_is_opened_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let test = async {
        let (queue, _work) = started(&format!("tcp:{address}"));
        push(&queue, EventName::Bind);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let listener = TcpListener::bind(address).await.expect("bound again");
        let (mut stream, _) = listener.accept().await.expect("accepted");
        let first = counted_message(&mut stream).await;
        assert!(first.contains(" bind [meta sequenceId=\"1\"] {"), "{first}");
        drop(stream);
        push(&queue, EventName::Close);
        let (mut stream, _) = listener.accept().await.expect("accepted again");
        let second = counted_message(&mut stream).await;
        assert!(second.contains(" close [meta sequenceId=\"2\"] {"), "{second}");
    };
    LocalSet::new().run_until(test).await;
}
