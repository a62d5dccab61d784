//! No order of events, restart or gap makes news of what was learned, or hides what was not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LEARN: u64 = 1_000;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A listener is opened, and its call is seen.
    Open(usize),
    /// A listener is opened, and no call is seen.
    OpenUnseen(usize),
    Close(usize),
    /// All sockets are scanned.
    Scan {
        is_complete: bool,
    },
    /// Covered time passes.
    Wait(u64),
    /// The news so far become events.
    Report,
    Save,
    /// The agent ends, and begins with what was saved last.
    Restart,
}

/// The listeners of the world.
fn listeners() -> Vec<Listener> {
    let mut all = Vec::new();
    for executable in ["/a", "/b"] {
        for port in [22, 80, 8080] {
            for scope in Scope::ALL {
                all.push(Listener { scope, ..listener(port, executable) });
            }
        }
    }
    all
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..listeners().len();
    prop_oneof![
        3 => which.clone().prop_map(Step::Open),
        2 => which.clone().prop_map(Step::OpenUnseen),
        3 => which.prop_map(Step::Close),
        3 => any::<bool>().prop_map(|is_complete| Step::Scan { is_complete }),
        2 => (1..400_u64).prop_map(Step::Wait),
        2 => Just(Step::Report),
        2 => Just(Step::Save),
        1 => Just(Step::Restart),
    ]
}

/// The world, the baseline, and what a reader of its events knows.
struct World {
    listeners: Vec<Listener>,
    is_open: Vec<bool>,
    now: u64,
    baseline: Baseline,
    saved: (SavedBaseline, BTreeMap<u32, Entry>),
    /// News that are no events yet.
    pending: Vec<News>,
    /// Listeners that were observed while the baseline was learned, up to the last save.
    learned: [Vec<bool>; 2],
    /// Listeners that are outside of the baseline, were events, and have not been gone since; and those
    /// of the last save, for an agent that is killed forgets that one is gone.
    reported: [Vec<bool>; 2],
}

impl World {
    fn new() -> Self {
        let listeners = listeners();
        let none = vec![false; listeners.len()];
        let baseline = Baseline::new(settings(LEARN));
        let saved = (baseline.saved(), BTreeMap::new());
        Self {
            listeners,
            is_open: none.clone(),
            now: 0,
            baseline,
            saved,
            pending: Vec::new(),
            learned: [none.clone(), none.clone()],
            reported: [none.clone(), none],
        }
    }

    fn index(&self, news: &News) -> usize {
        let is_it = |listener: &Listener| {
            (listener.port, listener.scope, &listener.program)
                == (news.port, news.scope, &news.program)
        };
        self.listeners.iter().position(is_it).expect("a listener of the world")
    }

    fn observe(&mut self, which: usize) {
        let is_learning = self.baseline.is_learning();
        let observation = self.baseline.observe(at(self.now), &self.listeners[which]);
        if is_learning {
            self.learned[0][which] = true;
        }
        let is_learned = self.learned[0][which];
        assert_eq!(observation.standing == Standing::Learned, is_learned, "{which}");
        let is_pending = self.pending.iter().any(|news| self.index(news) == which);
        if let Some(news) = observation.news {
            assert!(!is_learned, "news of what was learned");
            assert!(!is_pending, "news twice");
            self.pending.push(news);
        } else {
            assert!(is_learned || is_pending || self.reported[0][which], "{which} is hidden");
        }
    }

    fn scan(&mut self, is_complete: bool) {
        for which in 0..self.listeners.len() {
            if self.is_open[which] {
                self.observe(which);
            }
        }
        for news in self.baseline.finish_scan(at(self.now), is_complete, |_| true) {
            assert_eq!(news.novelty, Novelty::Gone);
            let which = self.index(&news);
            assert!(is_complete && !self.is_open[which], "it is open");
            self.reported[0][which] = false;
            self.pending.retain(|pending| {
                (pending.port, pending.scope, &pending.program)
                    != (news.port, news.scope, &news.program)
            });
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Open(which) => {
                self.is_open[which] = true;
                self.observe(which);
            }
            Step::OpenUnseen(which) => self.is_open[which] = true,
            Step::Close(which) => self.is_open[which] = false,
            Step::Scan { is_complete } => self.scan(is_complete),
            Step::Wait(seconds) => {
                self.now += seconds;
                self.baseline.tick(self.now * SECOND);
            }
            Step::Report => {
                for news in std::mem::take(&mut self.pending) {
                    let which = self.index(&news);
                    self.reported[0][which] = true;
                    self.baseline.reported(&[news.entry]);
                }
            }
            Step::Save => {
                for (id, entry) in self.baseline.take_changes() {
                    match entry {
                        Some(entry) => self.saved.1.insert(id, entry),
                        None => self.saved.1.remove(&id),
                    };
                }
                self.saved.0 = self.baseline.saved();
                self.learned[1] = self.learned[0].clone();
                self.reported[1] = self.reported[0].clone();
            }
            Step::Restart => {
                self.baseline = Baseline::new(settings(LEARN));
                let json = serde_json::to_string(&self.saved.1).expect("JSON");
                let entries: BTreeMap<u32, Entry> = serde_json::from_str(&json).expect("the same");
                self.baseline.restore(self.saved.0, entries, self.now * SECOND);
                self.baseline.tick(self.now * SECOND);
                self.learned[0] = self.learned[1].clone();
                let [reported, saved] = &mut self.reported;
                reported.iter_mut().zip(saved).for_each(|(reported, saved)| *reported |= *saved);
                self.pending.clear();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 512 }))]

    #[test]
    fn nothing_makes_news_of_what_was_learned_or_hides_what_was_not(
        steps in prop::collection::vec(step(), 1..120)
    ) {
        let mut world = World::new();
        world.baseline.tick(0);
        for step in &steps {
            world.apply(step);
        }
    }
}
