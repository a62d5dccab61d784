//! What the pipeline does with listeners: those that a scan finds, and those that are opened and closed.

use monitor_ledger::{
    ClockReading,
    listeners::{Listener, News, Noticed, Scope, Standing},
};

use super::Worker;
use crate::{
    agent::{clock, pipeline::shared_ledger::lock},
    config::Judgement,
    event::{Event, SeenListener},
    listeners::{
        JudgedListener, ListenerChange, ListenerOverview, ListenerTurn, as_learned, as_opened,
        opener,
    },
    process::Purpose,
    sockets::{Listeners, OpenListener},
};

impl Worker {
    /// Takes a listener that was opened or closed. A scan, which follows soon, shows what became of it.
    pub(super) fn listener_changed(&mut self, change: &ListenerChange) {
        tracing::debug!(
            turn = ?change.turn,
            protocol = change.listener.protocol.name(),
            address = ?change.listener.local(),
            count = change.count,
            pid = change.caller.as_ref().map(|caller| caller.pid),
            mechanism = change.mechanism.name(),
            "listener changed"
        );
        if change.turn == ListenerTurn::Opened {
            self.judge_call(change);
        }
        self.shared.socket_changed.notify_one();
    }

    /// Compares the listeners that a scan found with the baseline.
    pub(super) fn reconcile_listeners(&mut self, at: ClockReading, found: &Listeners) {
        let is_watched = |open: &&OpenListener| self.listeners.ports.contains(open.socket.port);
        let watched: Vec<&OpenListener> = found.listeners.iter().filter(is_watched).collect();
        let listeners = watched.into_iter().map(|open| self.judge(at, open)).collect();
        let mut ledger = lock(&self.ledger);
        let (moment, ports) = (ledger.moment(at), &self.listeners.ports);
        let baseline = ledger.listeners_mut();
        let is_complete = found.unseen.namespaces == 0 && !found.unseen.may_have_holders();
        let gone = baseline.finish_scan(moment, is_complete, |port| ports.contains(port));
        drop(ledger);
        gone.into_iter()
            .for_each(|news| self.add_news(news, (at, Noticed::ByScan), false, || None));
        self.listeners.end_scan(at.boottime_ns, &found.listeners);
        self.shared.listeners.set(Some(ListenerOverview { listeners }));
    }

    /// Emits the events of news that are due, or of all.
    pub(super) fn emit_listener_news(&mut self, all: bool) {
        let news = &mut self.listeners.news;
        let due = if all { news.flush() } else { news.due(clock::now().boottime_ns) };
        for group in due {
            lock(&self.ledger).listeners_mut().reported(&group.entries);
            self.has_changes = true;
            for event in Event::of_listeners(group, &self.context) {
                let holder = self.process_of(&event);
                self.emit_of(event, holder.as_ref());
            }
        }
    }

    /// Counts the time of a reading as learned, if listeners are watched.
    pub(super) fn tick_listeners(&mut self, at: ClockReading) {
        let mut ledger = lock(&self.ledger);
        let covered_ns = ledger.moment(at).covered_ns;
        if self.listeners.is_on() {
            ledger.listeners_mut().tick(covered_ns);
        } else {
            ledger.listeners_mut().pause();
        }
    }

    fn judge(&mut self, at: ClockReading, open: &OpenListener) -> JudgedListener {
        let socket = &open.socket;
        let mut ledger = lock(&self.ledger);
        let is_pending = self.expected_owners.is_listener_pending(socket, &self.listeners.config);
        if is_pending {
            // The next scan judges it.
            for holder in &socket.holders {
                self.inspector.ask(holder, Purpose::Judgement);
            }
        }
        if is_pending || !self.listeners.can_judge(open, ledger.listeners().is_learning()) {
            let socket = socket.clone();
            return JudgedListener { socket, standing: None, expected: None, since: None };
        }
        let moment = ledger.moment(at);
        let mut listener = as_learned(open);
        if listener.scope == Scope::Host {
            // By its call alone it was taken for one that can be reached from elsewhere.
            let by_call = Listener { scope: Scope::World, ..listener.clone() };
            let baseline = ledger.listeners();
            let is_known = baseline.standing(&listener).is_some();
            if !is_known && baseline.standing(&by_call) == Some(Standing::Outside) {
                listener = by_call;
            }
        }
        let observation = ledger.listeners_mut().observe(moment, &listener);
        drop(ledger);
        let is_expected = observation.standing == Standing::Learned
            || self.expected_owners.expect_listener(socket, &self.listeners.config);
        if let Some(news) = observation.news {
            self.add_news(news, (at, Noticed::ByScan), is_expected, || {
                Some(SeenListener::found(socket, opener(&socket.holders)))
            });
        }
        JudgedListener {
            socket: socket.clone(),
            standing: Some(observation.standing),
            expected: Some(is_expected),
            since: Some(observation.since),
        }
    }

    /// Judges a listener by the process that opened it: it may be closed before a scan finds it.
    fn judge_call(&mut self, change: &ListenerChange) {
        let socket = &change.listener;
        if !self.listeners.ports.contains(socket.port) {
            return;
        }
        let judgement = change.caller.as_ref().map(|caller| {
            let expectations = self.listeners.config.of_port(socket.port);
            self.expected_owners.judge_process(caller, expectations)
        });
        if judgement == Some(Judgement::Pending) {
            // The scan that follows asks for a look at it.
            return;
        }
        let listener = as_opened(change);
        // Where the interfaces of its namespace decide, it may have been reached from this host alone.
        let local = Listener { scope: Scope::Host, ..listener.clone() };
        let mut ledger = lock(&self.ledger);
        let baseline = ledger.listeners();
        let is_local =
            baseline.standing(&listener).is_none() && baseline.standing(&local).is_some();
        let listener = if is_local { local } else { listener };
        let at = ClockReading { wall: change.time, boottime_ns: change.boottime_ns };
        let moment = ledger.moment(at);
        let observation = ledger.listeners_mut().observe(moment, &listener);
        drop(ledger);
        if let Some(news) = observation.news {
            let is_expected = judgement == Some(Judgement::Expected);
            let interface = self.interface(socket.interface, socket.netns_inode);
            let noticed = Noticed::ByCalls(change.count);
            self.add_news(news, (at, noticed), is_expected, || {
                Some(SeenListener::opened(change, interface))
            });
        } else if change.count > 1 {
            let times = (at.wall, clock::now().boottime_ns);
            self.listeners.news.add_calls(&listener, change.count, times);
        }
    }

    /// Adds news of a time. A watched port has events of its own.
    fn add_news(
        &mut self,
        news: News,
        (at, noticed): (ClockReading, Noticed),
        is_expected: bool,
        evidence: impl FnOnce() -> Option<SeenListener>,
    ) {
        if self.ports.contains_key(&news.port) {
            return lock(&self.ledger).listeners_mut().reported(&[news.entry]);
        }
        let times = (at.wall, clock::now().boottime_ns);
        self.listeners.news.add(news, (noticed, is_expected), times, evidence);
    }
}
