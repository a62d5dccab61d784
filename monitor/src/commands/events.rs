//! `ghostport events`: the stored history as a table or as JSON lines.

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
    cli::EventsArgs,
    config::{Config, Overrides},
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
    match show(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

async fn show(args: &EventsArgs) -> Result<()> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let filter = args.filter(Timestamp::now());
    let mut output = Output::new(args.json);
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
        if let unreadable @ 1.. = reader.unreadable() {
            let events = counted(
                unreadable,
                "damaged event of the store was",
                "damaged events of the store were",
            );
            eprintln!("ghostport: {events} skipped");
        }
        if !output.has_heading && !output.json && io::stdout().is_terminal() {
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

/// Standard output, for as long as its reader is there.
struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    json: bool,
    table: EventTable,
    /// Whether the heading of the table is printed.
    has_heading: bool,
    failed: Option<io::Error>,
}

impl Output {
    fn new(json: bool) -> Self {
        let stdout = io::stdout().lock();
        let table = EventTable::new(width(&stdout), logging::colour_is_wanted(&stdout));
        let stdout = BufWriter::new(stdout);
        Self { stdout, json, table, has_heading: false, failed: None }
    }

    fn show(&mut self, line: &str) -> ControlFlow<()> {
        let written = if self.json { writeln!(self.stdout, "{line}") } else { self.row(line) };
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
