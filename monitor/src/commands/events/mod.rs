//! `ghostport events`: the stored history, for people and for programs.

mod table;

use std::{
    io::{self, BufWriter, ErrorKind, StdoutLock, Write},
    ops::ControlFlow,
    time::Duration,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

pub(crate) use self::table::{heading, row};
use crate::{
    cli::EventsArgs,
    config::{Config, Overrides},
    store::{Place, Reader},
};

/// How often a follower looks for more. The store has no way to tell other processes of news.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Shows the events that `args` ask for, and what comes after them until SIGINT if they say so.
pub async fn run(args: &EventsArgs) -> Result<()> {
    let config = Config::load(args.config.path.as_deref(), &Overrides::default())?;
    let filter = args.filter(Timestamp::now());
    let mut output = Output::new(args.json);
    let mut reader = Reader::open(&config.store.path)?;
    let mut place = reader.each(&filter, |line| output.show(line))?;
    output.flush();
    if !args.follow {
        return output.outcome();
    }
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while output.is_wanted() {
        tokio::select! {
            _ = &mut interrupted => break,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        if reader.was_replaced() {
            // A store that was begun anew; it may not be finished yet.
            let Ok(other) = Reader::open(&config.store.path) else { continue };
            (reader, place) = (other, Place::default());
        }
        place = reader.each_after(place, &filter, |line| output.show(line))?;
        output.flush();
    }
    output.outcome()
}

/// Standard output, as long as somebody reads it.
struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    json: bool,
    /// Whether the table has its heading.
    begun: bool,
    failed: Option<io::Error>,
}

impl Output {
    fn new(json: bool) -> Self {
        let stdout = BufWriter::new(io::stdout().lock());
        Self { stdout, json, begun: false, failed: None }
    }

    fn show(&mut self, line: &str) -> ControlFlow<()> {
        let written = if self.json { writeln!(self.stdout, "{line}") } else { self.row(line) };
        self.note(written);
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn row(&mut self, line: &str) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            writeln!(self.stdout, "{}", heading())?;
        }
        writeln!(self.stdout, "{}", row(line))
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

    /// Whether somebody may still read: a pipe says so when its reader has gone.
    fn is_wanted(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        let gone = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok()
            && polled[0].revents().intersects(PollFlags::ERR);
        self.failed.is_none() && !gone
    }

    /// A reader that has gone away wants no more of it.
    fn outcome(self) -> Result<()> {
        match self.failed {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("cannot write the events")
            }
            _ => Ok(()),
        }
    }
}
