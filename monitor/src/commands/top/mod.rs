//! `ghostport top`: ports, who holds them, rates and events of a running agent, live in a terminal.
//!
//! `feed` asks the agent, `model` is the state (no I/O), `view` draws it, `screen` is the terminal.

mod counts;
mod feed;
mod holders;
mod model;
mod screen;
mod view;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use self::{feed::News, model::Model, screen::Screen};
use crate::terminal::{
    logging,
    output::{CANNOT_LOOK, fail},
};

/// Deliveries of the feed that wait to be drawn.
const CAPACITY: usize = 1024;

/// Draws until a key or a signal ends it.
pub async fn run() -> ExitCode {
    match show().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

async fn show() -> Result<()> {
    ensure!(
        io::stdin().is_terminal() && io::stdout().is_terminal(),
        "top draws on a terminal: `ghostport check` and `ghostport events` print"
    );
    let (ports, counts) = feed::ask().await?.context(feed::NO_AGENT)?;
    let mut signals = Signals::install()?;
    let began = Instant::now();
    let mut model = Model::default();
    model.look(ports, counts, began.elapsed());
    let (sender, mut news) = mpsc::channel(CAPACITY);
    tokio::spawn(feed::poll(sender.clone()));
    tokio::spawn(feed::follow(sender));
    let mut screen = Screen::open(logging::colour_is_wanted(&io::stdout()))?;
    let mut inputs = screen::inputs()?;
    loop {
        screen.draw(&model).context("cannot draw")?;
        tokio::select! {
            Some(one) = news.recv() => {
                apply(&mut model, one, began);
                // A burst is drawn once.
                while let Ok(more) = news.try_recv() {
                    apply(&mut model, more, began);
                }
            }
            Some(input) = inputs.recv() => {
                if input.is_some_and(|command| !model.handle(command)) {
                    return Ok(());
                }
            }
            () = signals.next() => return Ok(()),
        }
    }
}

fn apply(model: &mut Model, news: News, began: Instant) {
    match news {
        News::Look(ports, counts) => model.look(ports, counts, began.elapsed()),
        News::Event(event) => model.add_event(&event),
        News::Trouble(why) => model.trouble = Some(why),
    }
}

/// Signals that end it; the terminal is restored.
struct Signals([Signal; 3]);

impl Signals {
    fn install() -> io::Result<Self> {
        let [terminate, interrupt, hangup] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self([terminate?, interrupt?, hangup?]))
    }

    async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
