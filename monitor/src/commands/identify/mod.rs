//! `ghostport identify`: reads payloads from hexadecimal digits, standard input and captures, and
//! says what they are. What they are is `identify`'s business; here is the reading and the telling.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use monitor_common::flow::Protocol;
use monitor_identify::{
    Payload,
    capture::{Finding, is_capture, read_capture},
    identify,
};

use crate::{
    cli::IdentifyArgs,
    terminal::output::{CANNOT_LOOK, fail},
};

mod hex;
mod text;

/// What to read, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where the bytes are.
    pub source: Source<'a>,
    /// The transport, if it is known; of captures only what came by it.
    pub transport: Option<Protocol>,
    /// The port, if it is known; of captures only what came from it or went to it.
    pub port: Option<u16>,
    /// Whether to write JSON.
    pub json: bool,
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// These digits are a payload.
    Hex(&'a str),
    /// A payload or a capture, distinguished by how it begins.
    Stdin,
    /// A capture.
    File(&'a Path),
}

impl<'a> From<&'a IdentifyArgs> for Request<'a> {
    fn from(args: &'a IdentifyArgs) -> Self {
        let source = match (&args.hex, args.file.as_deref()) {
            (Some(digits), _) => Source::Hex(digits),
            (None, Some(path)) if path != Path::new("-") => Source::File(path),
            _ => Source::Stdin,
        };
        let transport = match (args.udp, args.tcp) {
            (true, _) => Some(Protocol::Udp),
            (_, true) => Some(Protocol::Tcp),
            _ => None,
        };
        Self { source, transport, port: args.port, json: args.json }
    }
}

/// Reads what `args` name, and prints what it is.
pub fn run(args: &IdentifyArgs) -> ExitCode {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match examine(&args.into(), &mut stdout) {
        Err(error) if !is_broken_pipe(&error) => fail(CANNOT_LOOK, &error),
        _ => ExitCode::SUCCESS,
    }
}

/// Whether the reader of the output has closed its end.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.root_cause().downcast_ref().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// The largest payload of a datagram; of a stream, no signature looks further.
const MAX_PAYLOAD: u64 = 65_535;

/// Reads, identifies and writes.
///
/// # Errors
/// Input that is not hexadecimal, cannot be read, or is no capture; a damaged capture is an error
/// after what could be read of it. Of what `output` says, the error is the last in the chain.
fn examine(request: &Request<'_>, output: &mut impl Write) -> Result<()> {
    match request.source {
        Source::Hex(digits) => one(request, &hex::decode(digits)?, 0, output),
        Source::File(path) => {
            let file =
                File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            let mut file = io::BufReader::new(file);
            let start =
                start(&mut file).with_context(|| format!("cannot read {}", path.display()))?;
            if !is_capture(&start) {
                bail!(
                    "{} is neither pcap nor pcapng; for the bytes of a payload: ghostport identify - < FILE",
                    path.display()
                );
            }
            many(request, start.as_slice().chain(file), output)
                .with_context(|| format!("in {}", path.display()))
        }
        Source::Stdin => {
            // Not locked: a lock is not `Send`, as the reader of captures wants it.
            let mut stdin = io::stdin();
            let start = start(&mut stdin).context("cannot read standard input")?;
            if is_capture(&start) {
                return many(request, start.as_slice().chain(stdin), output)
                    .context("in standard input");
            }
            let mut payload = Vec::new();
            let mut reader = start.as_slice().chain(stdin);
            reader.by_ref().take(MAX_PAYLOAD).read_to_end(&mut payload)?;
            let beyond = io::copy(&mut reader, &mut io::sink())?;
            one(request, &payload, beyond as usize, output)
        }
    }
}

/// The first bytes, which tell captures from payloads.
fn start(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.take(4).read_to_end(&mut start)?;
    Ok(start)
}

/// `beyond` bytes of the payload were left out.
fn one(request: &Request<'_>, bytes: &[u8], beyond: usize, output: &mut impl Write) -> Result<()> {
    let payload = Payload {
        wire_len: bytes.len() + beyond,
        transport: request.transport,
        destination_port: request.port,
        ..Payload::of(bytes)
    };
    let identification = identify(&payload);
    if request.json {
        serde_json::to_writer(&mut *output, &identification)?;
        writeln!(output)?;
    } else {
        output.write_all(text::identification(&identification, "").as_bytes())?;
    }
    Ok(output.flush()?)
}

fn many(request: &Request<'_>, reader: impl Read + Send, output: &mut impl Write) -> Result<()> {
    let mut tell = |finding: &Finding| -> io::Result<()> {
        if !request.matches(finding) {
            return Ok(());
        }
        if request.json {
            serde_json::to_writer(&mut *output, finding)?;
            writeln!(output)
        } else {
            output.write_all(text::finding(finding).as_bytes())
        }
    };
    let (summary, outcome) = read_capture(reader, &mut tell);
    output.flush()?;
    eprintln!("ghostport: {summary}");
    outcome
}

impl Request<'_> {
    fn matches(&self, finding: &Finding) -> bool {
        let is_of = |port| finding.source.port() == port || finding.destination.port() == port;
        self.transport.is_none_or(|transport| transport.name() == finding.transport)
            && self.port.is_none_or(is_of)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn reads_digits_files_and_standard_input() {
        let request = |line: &str| {
            let cli = Cli::try_parse_from(line.split_whitespace()).expect(line);
            let Command::Identify(args) = cli.command else { panic!("{line}") };
            format!("{:?}", Request::from(&args))
        };
        let hex = request("ghostport identify --udp --port 2948 --json --hex dc06");
        assert!(hex.contains(r#"Hex("dc06"), transport: Some(Udp), port: Some(2948), json: true"#));
        assert!(
            request("ghostport identify --tcp a.pcap")
                .contains(r#"File("a.pcap"), transport: Some(Tcp)"#)
        );
        assert!(request("ghostport identify -").contains("Stdin, transport: None"));
    }
}
