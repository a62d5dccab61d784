//! `ghostport top`: ports, who holds them, rates and events of a running agent, live in a terminal.
//!
//! `feed` asks the agent, `model` is the state (no I/O), `view` draws it, `screen` is the terminal.

mod columns;
mod command;
mod counts;
mod detail;
mod events;
mod feed;
mod holders;
mod listeners;
mod model;
mod row;
mod screen;
mod sort;
mod sparkline;
mod theme;
mod view;

use std::{
    env,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::sleep_until,
};

use self::{feed::News, model::Model, screen::Screen};
use crate::{
    api::server::Server,
    cli::TopArgs,
    terminal::{
        logging,
        output::{CANNOT_LOOK, fail},
    },
};

/// Deliveries of the feed that wait to be drawn.
const CAPACITY: usize = 1024;

/// Time between two pictures that no key has asked for.
const REST: Duration = Duration::from_millis(250);

/// Ports whose hour is asked for.
const MOST_HISTORIES: usize = 16;

/// Draws until a key or a signal ends it.
pub async fn run(args: &TopArgs) -> ExitCode {
    match show(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(CANNOT_LOOK, &error),
    }
}

async fn show(args: &TopArgs) -> Result<()> {
    ensure!(
        io::stdin().is_terminal() && io::stdout().is_terminal(),
        "top draws on a terminal: `ghostport check` and `ghostport events` print"
    );
    ensure!(
        env::var_os("TERM").is_none_or(|term| term != "dumb"),
        "top cannot draw on this terminal (TERM=dumb): `ghostport check` and `ghostport events \
         --follow` print"
    );
    let server = args.server()?;
    let look = feed::ask(&server).await?.with_context(|| feed::no_agent(&server))?;
    let mut signals = Signals::install()?;
    let began = Instant::now();
    let mut model = Model::default();
    model.look(look, began.elapsed());
    let (wanted, news) = start_feed(&server, &model);
    draw_until_the_end(&mut model, news, &wanted, &mut signals, began).await
}

/// Starts the tasks that ask; returns what they deliver, and how they learn of wanted histories.
fn start_feed(server: &Server, model: &Model) -> (watch::Sender<Vec<u16>>, mpsc::Receiver<News>) {
    let (sender, news) = mpsc::channel(CAPACITY);
    let (wanted, watched) = watch::channel(model.wanted_histories(MOST_HISTORIES));
    tokio::spawn(feed::poll(server.clone(), sender.clone()));
    tokio::spawn(feed::look_back(server.clone(), watched, sender.clone()));
    tokio::spawn(feed::follow(server.clone(), sender));
    (wanted, news)
}

async fn draw_until_the_end(
    model: &mut Model,
    mut news: mpsc::Receiver<News>,
    wanted: &watch::Sender<Vec<u16>>,
    signals: &mut Signals,
    began: Instant,
) -> Result<()> {
    let mut screen = Screen::open(logging::colour_is_wanted(&io::stdout()))?;
    let mut inputs = screen::inputs()?;
    let mut drawn_at = None;
    loop {
        // Keys are followed at once. What arrives by itself, events by the hundred, waits a little.
        let is_due = drawn_at.is_none_or(|at: tokio::time::Instant| at.elapsed() >= REST);
        if is_due {
            screen.draw(model).context("cannot draw")?;
            drawn_at = Some(tokio::time::Instant::now());
        }
        let due = drawn_at.map(|at| at + REST).filter(|_| !is_due);
        tokio::select! {
            () = sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {}
            Some(one) = news.recv() => {
                apply(model, one, began);
                // A burst is drawn once.
                while let Ok(more) = news.try_recv() {
                    apply(model, more, began);
                }
            }
            Some(input) = inputs.recv() => {
                if input.is_some_and(|command| !model.handle(command)) {
                    return Ok(());
                }
                drawn_at = None;
            }
            () = signals.next() => return Ok(()),
        }
        ask_for_histories(model, wanted);
    }
}

/// Asks for the hours of the ports that are shown now: a port may have come to the top by itself.
fn ask_for_histories(model: &Model, wanted: &watch::Sender<Vec<u16>>) {
    let now_wanted = model.wanted_histories(MOST_HISTORIES);
    wanted.send_if_modified(|ports| {
        if *ports == now_wanted {
            return false;
        }
        // A port without a history is asked for at once; the others every ten seconds.
        let is_new = |port: &u16| !model.histories.contains_key(port) && !ports.contains(port);
        let has_new = now_wanted.iter().any(is_new);
        *ports = now_wanted;
        has_new
    });
}

fn apply(model: &mut Model, news: News, began: Instant) {
    match news {
        News::Look(look) => model.look(*look, began.elapsed()),
        News::History(history) => model.add_history(history),
        News::Talkers(talkers) => model.talkers = talkers,
        News::Listeners(listeners) => model.listeners = listeners,
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
