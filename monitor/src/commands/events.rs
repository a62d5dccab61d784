//! `ghostport events`: the stored history as a table, as JSON lines, or in the format of another system.

use std::{
    io::{self, BufWriter, ErrorKind, IsTerminal as _, StdoutLock, Write},
    ops::ControlFlow,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    cli::{EventsArgs, EventsCommand, ExportArgs},
    config::{Config, Overrides},
    formats::EventFormat,
    store::{Place, Reader, with_remedy},
    terminal::{
        event_table::EventTable,
        logging,
        output::{CANNOT_LOOK, fail},
        plural::counted,
        progress::Progress,
        width::width,
    },
};

/// Period of polling with `--follow`: the store cannot notify other processes.
const POLL_PERIOD: Duration = Duration::from_millis(250);

/// Prints the events that match `args`; with `--follow` goes on with later ones until SIGINT.
pub async fn run(args: &EventsArgs) -> ExitCode {
    let outcome = match &args.task {
        Some(EventsCommand::Export(export)) => self::export(export),
        None => show(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

fn export(args: &ExportArgs) -> Result<()> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let filter = args.filter.filter(Timestamp::now());
    let mut output = Output::new(Some(args.format));
    let reader = Reader::open(&config.store.path).map_err(with_remedy)?;
    let progress = Progress::start("reading the store", args.progress.quiet);
    reader.each(&filter, |line| output.show(line))?;
    output.flush();
    drop(progress);
    warn_of_unreadable(&reader);
    output.outcome()
}

async fn show(args: &EventsArgs) -> Result<()> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let filter = args.filter.filter(Timestamp::now());
    let mut output = Output::new(args.json.then_some(EventFormat::Ghostport));
    let mut reader = Reader::open(&config.store.path).map_err(with_remedy)?;
    let progress = Progress::start("reading the store", args.progress.quiet);
    let mut place = if args.reverse {
        reader.each_backwards(&filter, |line| output.show(line))?;
        Place::default()
    } else {
        reader.each(&filter, |line| output.show(line))?
    };
    output.flush();
    drop(progress);
    if !args.follow {
        warn_of_unreadable(&reader);
        if !output.has_heading && output.format.is_none() && io::stdout().is_terminal() {
            eprintln!("ghostport: no stored event matches");
        }
        return output.outcome();
    }
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while output.is_wanted() {
        tokio::select! {
            _ = &mut interrupted => break,
            () = tokio::time::sleep(POLL_PERIOD) => {}
        }
        if reader.was_replaced() {
            // The file was replaced by a new store, which may not have its tables yet.
            let Ok(other) = Reader::open(&config.store.path) else { continue };
            (reader, place) = (other, Place::default());
        }
        place = reader.each_after(place, &filter, |line| output.show(line))?;
        output.flush();
    }
    output.outcome()
}

fn warn_of_unreadable(reader: &Reader) {
    if let unreadable @ 1.. = reader.unreadable() {
        let one = "damaged event of the store was";
        let events = counted(unreadable, one, "damaged events of the store were");
        eprintln!("ghostport: {events} skipped");
    }
}

/// Standard output, for as long as its reader is there.
struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    /// What a line is; `None` for a row of the table.
    format: Option<EventFormat>,
    table: EventTable,
    /// Whether the heading of the table is printed.
    has_heading: bool,
    failed: Option<io::Error>,
}

impl Output {
    fn new(format: Option<EventFormat>) -> Self {
        let stdout = io::stdout().lock();
        let table = EventTable::new(width(&stdout), logging::colour_is_wanted(&stdout));
        let stdout = BufWriter::new(stdout);
        Self { stdout, format, table, has_heading: false, failed: None }
    }

    fn show(&mut self, line: &str) -> ControlFlow<()> {
        let written = match self.format {
            Some(format) => writeln!(self.stdout, "{}", format.encode(line.trim_end(), None)),
            None => self.row(line),
        };
        self.note(written);
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn row(&mut self, line: &str) -> io::Result<()> {
        if !self.has_heading {
            self.has_heading = true;
            writeln!(self.stdout, "{}", self.table.heading())?;
        }
        writeln!(self.stdout, "{}", self.table.row(line, Timestamp::now()))
    }

    fn flush(&mut self) {
        let flushed = self.stdout.flush();
        self.note(flushed);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }

    /// Whether there may be a reader: `poll` reports an error on a pipe without one.
    fn is_wanted(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let gone = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
            && polled[0].revents().intersects(PollFlags::ERR);
        self.failed.is_none() && !gone
    }

    /// The first error of writing, unless it is that the reader has gone.
    fn outcome(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the events")
            }
            _ => Ok(()),
        }
    }
}
