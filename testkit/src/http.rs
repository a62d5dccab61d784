//! Just enough of HTTP to read what the agent serves.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde::de::DeserializeOwned;

use super::patience;

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header lines, as they came.
    pub headers: Vec<String>,
    /// Body.
    pub body: String,
}

impl Response {
    /// The document of a successful answer.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        assert_eq!(self.status, 200, "{}", self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks for `path`, from this thread's namespace. When it returns, the connection is over.
pub fn get(server: SocketAddr, path: &str) -> io::Result<Response> {
    ask(server, path, "1.1")
}

/// The same of a server that sends long answers in chunks: by HTTP/1.0, which has none.
pub fn get_whole(server: SocketAddr, path: &str) -> io::Result<Response> {
    ask(server, path, "1.0")
}

fn ask(server: SocketAddr, path: &str, version: &str) -> io::Result<Response> {
    let request =
        format!("GET {path} HTTP/{version}\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    raw(server, request.as_bytes())
}

/// Sends a request as it is.
pub fn raw(server: SocketAddr, request: &[u8]) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&server, patience())?;
    stream.set_read_timeout(Some(patience()))?;
    stream.write_all(request)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    parse(&text).ok_or_else(|| io::Error::other(format!("not HTTP: {text}")))
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<String> = lines.map(str::to_owned).collect();
    let response = Response { status, headers, body: body.to_owned() };
    let chunked = response.header("transfer-encoding").is_some_and(|kind| kind == "chunked");
    assert!(!chunked, "a page of known size needs no chunks: {head}");
    Some(response)
}
