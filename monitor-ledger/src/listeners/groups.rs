//! News alike as one event: what a program does on many ports, and no more events than a reader can
//! take.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use monitor_common::flow::Protocol;

use super::{
    identity::{Listener, Program, ProgramKey, Scope},
    news::News,
};

/// A group of a few ports is complete when nothing was added to it for this long.
const QUIET_OF_FEW_NS: u64 = 1_000_000_000;

/// A group of more, some of which may be summed up in the kernel or wait for the next scan.
const QUIET_OF_MANY_NS: u64 = 5_000_000_000;

/// A group of a few ports waits no longer than this.
const LONGEST_OF_FEW_NS: u64 = 10_000_000_000;

/// A group of more is a scan, which may take this long.
const LONGEST_OF_MANY_NS: u64 = 60_000_000_000;

/// Ports that are a few.
const FEW: u64 = 8;

/// Ports that an event names.
const NAMED_PORTS: usize = 64;

/// Groups at most. Further news have one group, without a program.
const MAX_GROUPS: usize = 1024;

/// Events of one program at once, and after how long there is another one.
const OF_PROGRAM: Rate = Rate { at_once: 8, period_ns: 450_000_000_000 };

/// The same of the host.
const OF_HOST: Rate = Rate { at_once: 64, period_ns: 60_000_000_000 };

/// How news were noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// By calls: so many, of which the port of the first is known.
    ByCalls(u64),
    /// By a scan, which also finds what calls have opened.
    ByScan,
}

/// News that wait to become events. `E` is what the caller knows of the process.
#[derive(Clone, Debug)]
pub struct NewsGroups<E> {
    groups: HashMap<Key, Group<E>>,
    programs: HashMap<ProgramKey, Bucket>,
    host: Bucket,
}

/// News alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedNews<E> {
    /// The first of them.
    pub first: News,
    /// Whether the configuration expects them.
    pub is_expected: bool,
    /// Their ports in ascending order, the first 64.
    pub ports: Vec<u16>,
    /// How many there were.
    pub count: u64,
    /// When the first and the last were seen.
    pub times: [Timestamp; 2],
    /// What is known of the process of the first; `None` if nothing is, and of programs that are too many.
    pub evidence: Option<E>,
    /// The entries that they are about.
    pub entries: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    novelty: usize,
    protocol: Protocol,
    scope: Scope,
    /// Without the user, which is not known by a call.
    program: ProgramKey,
    is_expected: bool,
}

#[derive(Clone, Debug)]
struct Group<E> {
    news: GroupedNews<E>,
    /// Calls whose port is known.
    named: u64,
    /// Calls whose port is not.
    summed: u64,
    /// Listeners that a scan found, and no call whose port is known announced.
    found: u64,
    ports: BTreeSet<u16>,
    entries: BTreeSet<u32>,
    began_ns: u64,
    last_ns: u64,
    /// When calls whose ports are not known were added last, until a scan that began later has ended: it
    /// finds the ports.
    unscanned_ns: Option<u64>,
}

impl<E> Default for NewsGroups<E> {
    fn default() -> Self {
        let host = Bucket::full(0);
        Self { groups: HashMap::new(), programs: HashMap::new(), host }
    }
}

impl<E> NewsGroups<E> {
    /// Adds news at the time `at`, `CLOCK_BOOTTIME` `now_ns`. `evidence` is asked for only if they are the
    /// first of their group.
    pub fn add(
        &mut self,
        mut news: News,
        (noticed, is_expected): (Noticed, bool),
        (at, now_ns): (Timestamp, u64),
        evidence: impl FnOnce() -> Option<E>,
    ) {
        let mut key = Key {
            novelty: news.novelty.index(),
            protocol: news.protocol,
            scope: news.scope,
            program: without_user(&news.program),
            is_expected,
        };
        let is_named = self.groups.len() < MAX_GROUPS || self.groups.contains_key(&key);
        if !is_named {
            key.program = ProgramKey::default();
            news.program = Program::default();
        }
        let (entry, port) = (news.entry, news.port);
        let group = self.groups.entry(key).or_insert_with(|| Group {
            news: GroupedNews {
                first: news,
                is_expected,
                ports: Vec::new(),
                count: 0,
                times: [at; 2],
                evidence: if is_named { evidence() } else { None },
                entries: Vec::new(),
            },
            named: 0,
            summed: 0,
            found: 0,
            ports: BTreeSet::new(),
            entries: BTreeSet::new(),
            began_ns: now_ns,
            last_ns: now_ns,
            unscanned_ns: None,
        });
        match noticed {
            Noticed::ByCalls(count) => {
                group.named += 1;
                group.add_summed(count.saturating_sub(1), now_ns);
            }
            Noticed::ByScan => group.found += 1,
        }
        group.touch(at, now_ns);
        group.entries.insert(entry);
        group.ports.insert(port);
        if group.ports.len() > NAMED_PORTS {
            group.ports.pop_last();
        }
    }

    /// Adds calls that opened several listeners, of which a scan has found the first already. They count in
    /// the news of the program that wait, if there are any.
    pub fn add_calls(&mut self, listener: &Listener, calls: u64, (at, now_ns): (Timestamp, u64)) {
        let program = without_user(&listener.program);
        let place = (listener.protocol, listener.scope);
        let is_it = |(key, _): &(&Key, &mut Group<E>)| {
            (key.protocol, key.scope) == place && key.program == program
        };
        if let Some((_, group)) = self.groups.iter_mut().find(is_it) {
            group.add_summed(calls, now_ns);
            group.touch(at, now_ns);
        }
    }

    /// A scan has ended that began at `began_ns`, and what it found was added.
    pub fn end_scan(&mut self, began_ns: u64) {
        for group in self.groups.values_mut() {
            group.unscanned_ns = group.unscanned_ns.filter(|called_ns| *called_ns >= began_ns);
        }
    }

    /// The groups that are complete and may become events now.
    pub fn due(&mut self, now_ns: u64) -> Vec<GroupedNews<E>> {
        let complete = self.groups.iter().filter(|(_, group)| group.is_complete(now_ns));
        let mut complete: Vec<(u64, Key)> =
            complete.map(|(key, group)| (group.began_ns, key.clone())).collect();
        complete.sort_by_key(|(began_ns, _)| *began_ns);
        let mut due = Vec::new();
        for (_, key) in complete {
            if self.take_token(&key.program, now_ns)
                && let Some(group) = self.groups.remove(&key)
            {
                due.push(group.finished());
            }
        }
        due
    }

    /// All groups, whether they are complete or not.
    pub fn flush(&mut self) -> Vec<GroupedNews<E>> {
        self.groups.drain().map(|(_, group)| group.finished()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn take_token(&mut self, program: &ProgramKey, now_ns: u64) -> bool {
        if self.programs.len() >= MAX_GROUPS {
            self.programs.retain(|_, bucket| !bucket.is_full(now_ns));
        }
        if self.programs.len() >= MAX_GROUPS && !self.programs.contains_key(program) {
            return self.host.take(OF_HOST, now_ns);
        }
        let bucket = self.programs.entry(program.clone());
        let bucket = bucket.or_insert_with(|| Bucket::full(now_ns));
        if !bucket.has(OF_PROGRAM, now_ns) || !self.host.take(OF_HOST, now_ns) {
            return false;
        }
        bucket.take(OF_PROGRAM, now_ns)
    }
}

fn without_user(program: &Program) -> ProgramKey {
    ProgramKey { user: None, ..program.key() }
}

impl<E> Group<E> {
    fn touch(&mut self, at: Timestamp, now_ns: u64) {
        self.news.times[1] = self.news.times[1].max(at);
        self.last_ns = self.last_ns.max(now_ns);
    }

    const fn add_summed(&mut self, calls: u64, now_ns: u64) {
        self.summed += calls;
        if calls > 0 {
            self.unscanned_ns = Some(now_ns);
        }
    }

    /// How many there are. What a scan found are those that calls have opened, as far as these are still
    /// open; where they are more, the calls of some were not seen.
    const fn count(&self) -> u64 {
        let beyond = if self.summed > self.found { self.summed } else { self.found };
        self.named + beyond
    }

    const fn is_complete(&self, now_ns: u64) -> bool {
        let (quiet_ns, limit_ns) = if self.count() <= FEW {
            (QUIET_OF_FEW_NS, LONGEST_OF_FEW_NS)
        } else {
            (QUIET_OF_MANY_NS, LONGEST_OF_MANY_NS)
        };
        let is_quiet = now_ns.saturating_sub(self.last_ns) >= quiet_ns;
        is_quiet && self.unscanned_ns.is_none() || now_ns.saturating_sub(self.began_ns) >= limit_ns
    }

    fn finished(self) -> GroupedNews<E> {
        let count = self.count();
        let Self { news, ports, entries, .. } = self;
        GroupedNews {
            count,
            ports: ports.into_iter().collect(),
            entries: entries.into_iter().collect(),
            ..news
        }
    }
}

/// How many events there may be.
#[derive(Clone, Copy, Debug)]
struct Rate {
    at_once: u64,
    period_ns: u64,
}

/// A bucket of tokens: the time from which on it is full.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at_ns: u64,
}

impl Bucket {
    const fn full(now_ns: u64) -> Self {
        Self { full_at_ns: now_ns }
    }

    const fn is_full(self, now_ns: u64) -> bool {
        self.full_at_ns <= now_ns
    }

    const fn has(self, rate: Rate, now_ns: u64) -> bool {
        self.full_at_ns.saturating_sub(now_ns) <= (rate.at_once - 1) * rate.period_ns
    }

    fn take(&mut self, rate: Rate, now_ns: u64) -> bool {
        let has = self.has(rate, now_ns);
        if has {
            self.full_at_ns = self.full_at_ns.max(now_ns) + rate.period_ns;
        }
        has
    }
}
