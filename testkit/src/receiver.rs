//! An HTTP server that takes what is posted, in the manner that a test wants.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What a request is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// This status, at once.
    Status(u16),
    /// 200, after so long.
    After(Duration),
    /// Nothing, ever.
    Never,
}

/// A request that has come in.
#[derive(Clone, Debug)]
pub struct Request {
    /// When it was there completely.
    pub arrived: Instant,
    /// Request line and headers.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

/// A server in the namespaces of the thread that starts it.
pub struct Receiver {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// Answers request number n, from 0, with `answer(n)`.
    pub fn start(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), answer)
    }

    /// The same with TLS.
    pub fn start_with_tls(config: ServerConfig) -> Self {
        let config = Arc::new(config);
        let cipher = move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("TLS");
            StreamOwned::new(connection, stream)
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::serve(address, cipher, |_| Answer::Status(200))
    }

    /// The same on an address that is known before.
    pub fn start_on(
        address: SocketAddr,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, |stream| stream, answer)
    }

    fn serve<S: Read + Write>(
        address: SocketAddr,
        cipher: impl Fn(TcpStream) -> S + Send + Sync + 'static,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a listener");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (taken, answer, cipher) = (Arc::clone(&requests), Arc::new(answer), Arc::new(cipher));
        let count = Arc::new(AtomicUsize::new(0));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (taken, answer) = (Arc::clone(&taken), Arc::clone(&answer));
                let (cipher, count) = (Arc::clone(&cipher), Arc::clone(&count));
                thread::spawn(move || converse(cipher(stream), &taken, &*answer, &count));
            }
        });
        Self { address, requests }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("a lock").clone()
    }

    /// The elements of every JSON array that was posted so far.
    pub fn elements(&self) -> Vec<Value> {
        let requests = self.requests();
        let posted = requests.iter().filter(|request| request.head.starts_with("POST "));
        posted.flat_map(Request::elements).collect()
    }
}

impl Request {
    /// The body, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn elements(&self) -> Vec<Value> {
        self.json().as_array().expect("an array").clone()
    }
}

/// Serves a connection until the other side has had enough.
fn converse(
    stream: impl Read + Write,
    requests: &Mutex<Vec<Request>>,
    answer: &(dyn Fn(usize) -> Answer + Send + Sync),
    count: &AtomicUsize,
) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        requests.lock().expect("a lock").push(request);
        let status = match answer(count.fetch_add(1, Ordering::Relaxed)) {
            Answer::Status(status) => status,
            Answer::After(pause) => {
                thread::sleep(pause);
                200
            }
            Answer::Never => loop {
                thread::park();
            },
        };
        let answer = format!("HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n");
        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<impl Read>) -> Option<Request> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Request { arrived: Instant::now(), head, body })
}
