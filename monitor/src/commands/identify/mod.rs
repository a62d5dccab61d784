//! `ghostport identify`: reads payloads from hexadecimal digits, standard input and captures, and
//! prints what `monitor_identify` finds in them.

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
    capture::{Compression, Finding, foreign_format, is_capture, read_capture},
    identify,
};
use monitor_kernel::{capabilities, confinement};

use crate::{
    cli::IdentifyArgs,
    terminal::{
        escape::escaped,
        output::{CANNOT_LOOK, fail},
    },
};

mod hex;
mod noticed;
mod text;

use self::noticed::Noticed;

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
    /// Whether not to say what takes long.
    pub is_quiet: bool,
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
        Self { source, transport, port: args.port, json: args.json, is_quiet: args.progress.quiet }
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
        Source::Hex(digits) => {
            confine();
            one(request, &hex::decode(digits)?, 0, output)
        }
        Source::File(path) => file(request, path, output),
        Source::Stdin => {
            confine();
            standard_input(request, output)
        }
    }
}

/// Gives up everything that parsing does not need: what is read may be made to take this process
/// over. It can still read its input and write its output.
fn confine() {
    let confined =
        capabilities::give_up_all().and_then(|()| confinement::confine(confinement::Role::Parser));
    if let Err(error) = confined {
        eprintln!("ghostport: this kernel does not confine the parser: {error}");
    }
}

fn file(request: &Request<'_>, path: &Path, output: &mut impl Write) -> Result<()> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    confine();
    let mut file = io::BufReader::new(file);
    let start = read_at_most(&mut file, PREFIX).with_context(|| format!("cannot read {name}"))?;
    if !begins_as_capture(&start) {
        let inside = match Compression::of(&start) {
            Some(compression) => format!(" inside {}", compression.name()),
            None => String::new(),
        };
        let what = foreign_format(&start).map(|what| format!(": it is {what}")).unwrap_or_default();
        bail!(
            "{name} is neither pcap nor pcapng{inside}{what}; for the bytes of a payload: ghostport identify - < FILE"
        );
    }
    let file = Noticed::new(file, request.is_quiet);
    many(request, start.as_slice().chain(file), output).with_context(|| format!("in {name}"))
}

fn standard_input(request: &Request<'_>, output: &mut impl Write) -> Result<()> {
    let mut stdin = io::stdin().lock();
    let mut start = read_at_most(&mut stdin, MAGIC).context("cannot read standard input")?;
    // What is inside is seen only behind its header.
    if Compression::of(&start).is_some() {
        start.extend(read_at_most(&mut stdin, PREFIX).context("cannot read standard input")?);
    }
    if begins_as_capture(&start) {
        let stdin = Noticed::new(stdin, request.is_quiet);
        return many(request, start.as_slice().chain(stdin), output).context("in standard input");
    }
    let mut payload = Vec::new();
    let mut reader = start.as_slice().chain(stdin);
    reader.by_ref().take(MAX_PAYLOAD).read_to_end(&mut payload)?;
    let beyond = io::copy(&mut reader, &mut io::sink())?;
    one(request, &payload, beyond as usize, output)
}

/// Bytes by which captures and compressed files are recognised.
const MAGIC: u64 = 4;
/// Bytes in which a compressed file shows the first ones of its content.
const PREFIX: u64 = 32 * 1024;

fn read_at_most(reader: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    reader.take(len).read_to_end(&mut start)?;
    Ok(start)
}

/// Whether a file that begins so is a capture, compressed or not.
fn begins_as_capture(start: &[u8]) -> bool {
    let Some(compression) = Compression::of(start) else { return is_capture(start) };
    let mut inside = [0; MAGIC as usize];
    // A prefix that ends in the middle still has the first bytes.
    let is_read =
        compression.decoder(start).is_ok_and(|mut decoder| decoder.read_exact(&mut inside).is_ok());
    is_read && is_capture(&inside)
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

fn many(request: &Request<'_>, reader: impl Read, output: &mut impl Write) -> Result<()> {
    let mut report = |finding: &Finding| -> io::Result<()> {
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
    let (summary, outcome) = read_capture(reader, &mut report);
    output.flush()?;
    eprintln!("ghostport: {}", escaped(&summary.to_string()));
    Ok(outcome?)
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
