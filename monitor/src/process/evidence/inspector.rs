//! The thread that looks at executables.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    facts::{Evidence, ExecutableFacts},
    look::{FileKey, KnownFiles, Target, look, unread},
    steps::Steps,
};
use crate::{
    config::EvidenceLimits,
    lock::lock,
    process::{bounded_read, generations::Generations, identity::Identity, start_time::StartTime},
};

/// Processes and files that are remembered, twice as many at most.
const REMEMBERED: usize = 512;

/// Processes that wait at most. Each holds three files open.
const MAX_WAITING: usize = 64;

/// The longest that a process waits to be looked at, and what the look then may take.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_LOOK: Duration = Duration::from_secs(10);

/// After this time a process is looked at again: it may execute another file.
const FRESH: Duration = Duration::from_secs(60);

/// How long the thread rests while the budget is used up.
const BUDGET_PAUSE: Duration = Duration::from_millis(100);

/// How much less the thread gets of a processor than others.
const NICENESS: i32 = 10;

/// What a look is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To show it, some time.
    Display,
    /// An event.
    Event,
    /// A judgement that waits for it.
    Judgement,
}

/// A process by its id and the clock tick in which it was made.
pub type Inspected = (u32, u64);

/// Called on the thread with what a look found.
type Report = Box<dyn Fn(Inspected, &Arc<ExecutableFacts>) + Send + Sync>;

/// Looks at what processes execute. Clones share the thread and what is known.
#[derive(Clone)]
pub struct Inspector(Arc<Shared>);

struct Shared {
    limits: Mutex<EvidenceLimits>,
    files: KnownFiles,
    processes: Mutex<Generations<Inspected, Process>>,
    /// What files of the host turned out to be.
    programs: Mutex<Generations<(FileKey, String), Arc<ExecutableFacts>>>,
    queue: Mutex<VecDeque<Request>>,
    wake: Condvar,
}

struct Request {
    key: Inspected,
    target: Target,
    at: Instant,
    is_urgent: bool,
}

/// What is known of a process.
#[derive(Clone)]
struct Process {
    path: String,
    is_deleted: bool,
    file: Option<FileKey>,
    at: Instant,
    /// `None` while it waits.
    facts: Option<Arc<ExecutableFacts>>,
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

impl Inspector {
    /// One that looks when it is told to ([`Self::look_now`]), without a thread.
    pub fn new(limits: EvidenceLimits) -> Self {
        Self(Arc::new(Shared {
            limits: Mutex::new(limits),
            files: KnownFiles::default(),
            processes: Mutex::new(Generations::new(REMEMBERED)),
            programs: Mutex::new(Generations::new(REMEMBERED)),
            queue: Mutex::default(),
            wake: Condvar::new(),
        }))
    }

    /// Starts the thread, which calls `report` after each look.
    ///
    /// # Errors
    ///
    /// There is no room for a thread.
    pub fn start(
        &self,
        report: impl Fn(Inspected, &Arc<ExecutableFacts>) + Send + Sync + 'static,
    ) -> io::Result<()> {
        let (shared, report) = (Arc::clone(&self.0), Box::new(report));
        thread::Builder::new().name("evidence".into()).spawn(move || shared.run(report))?;
        Ok(())
    }

    /// Reads no more than this from now on.
    pub fn limit(&self, limits: EvidenceLimits) {
        *lock(&self.0.limits) = limits;
    }

    /// What distinguishes a process from others; `None` if its start time is not known: nothing is found
    /// out about such a process.
    pub fn key(process: &Identity) -> Option<Inspected> {
        Some((process.pid, StartTime::at(process.start_time_ns?).latest()))
    }

    /// What is known of the process, as long as it seems to execute the same file.
    pub fn known(&self, process: &Identity) -> Evidence {
        let known = self.0.remembered(process).and_then(|known| known.facts);
        known.map_or(Evidence::Pending, Evidence::Known)
    }

    /// What is known of the file that the process executes at this moment, maybe without its script.
    pub fn known_for_certain(&self, process: &Identity) -> Evidence {
        let Ok(target) = open(process) else { return Evidence::Pending };
        let Ok(file) = target.key() else { return Evidence::Pending };
        let known = self.0.remembered(process).filter(|known| known.file == Some(file));
        if let Some(facts) = known.and_then(|known| known.facts) {
            return Evidence::Known(facts);
        }
        let path = process.executable.as_ref().map(|executable| executable.path.clone());
        let path = path.filter(|_| process.executable_is_hosts);
        let program = path.and_then(|path| lock(&self.0.programs).get(&(file, path)).cloned());
        program.map_or(Evidence::Pending, Evidence::Known)
    }

    /// Asks for a look at the process, if there was none or it is an old one. Returns its key if a report
    /// follows.
    pub fn ask(&self, process: &Identity, purpose: Purpose) -> Option<Inspected> {
        let key = Self::key(process)?;
        if self.0.remembered(process).is_some_and(|known| known.at.elapsed() < FRESH) {
            return None;
        }
        let executable = process.executable.as_ref()?;
        let mut entry = Process {
            path: executable.path.clone(),
            is_deleted: executable.is_deleted,
            file: None,
            at: Instant::now(),
            facts: None,
        };
        let refusal = match open(process) {
            Ok(target) => {
                entry.file = target.key().ok();
                let is_urgent = purpose == Purpose::Judgement;
                let request = Request { key, target, at: Instant::now(), is_urgent };
                match (self.0.enqueue(request), purpose) {
                    (true, _) => None,
                    // There is another time.
                    (false, Purpose::Display) => return None,
                    (false, _) => Some(unread::BUSY),
                }
            }
            Err(_) => Some(unread::GONE),
        };
        entry.facts = refusal.map(|why| Arc::new(ExecutableFacts::unread(&executable.path, why)));
        self.0.waits(key, entry);
        self.0.wake.notify_one();
        refusal.is_none().then_some(key)
    }

    /// Looks at the process on this thread, until `deadline` at the latest.
    pub fn look_now(&self, process: &Identity, deadline: Instant) -> Evidence {
        let path = process.executable.as_ref().map(|executable| executable.path.clone());
        let facts = match open(process) {
            Ok(target) => {
                let max_size = lock(&self.0.limits).max_size;
                look(&target, &self.0.files, max_size, &Steps::new(process.pid, deadline))
            }
            Err(_) => ExecutableFacts::unread(&path.unwrap_or_default(), unread::GONE),
        };
        Evidence::Known(Arc::new(facts))
    }
}

impl Shared {
    fn run(&self, report: Report) {
        // Where the kernel refuses, it has the priority of the others.
        let _ = rustix::process::setpriority_process(None, NICENESS);
        let mut budget = Budget::full(lock(&self.limits).per_minute, Instant::now());
        loop {
            let request = self.next(&mut budget);
            let facts = Arc::new(self.look(&request, &mut budget));
            self.found(&request, &facts);
            report(request.key, &facts);
        }
    }

    /// Queues a request, unless too many wait. Urgent ones come first, and have as much room again.
    fn enqueue(&self, request: Request) -> bool {
        let mut queue = lock(&self.queue);
        if !request.is_urgent {
            let has_room = queue.len() < MAX_WAITING;
            if has_room {
                queue.push_back(request);
            }
            return has_room;
        }
        let has_room = queue.len() < 2 * MAX_WAITING;
        if has_room {
            let urgent = queue.iter().take_while(|waiting| waiting.is_urgent).count();
            queue.insert(urgent, request);
        }
        has_room
    }

    /// Waits for the next request, and until the budget has something for it or it has waited too long.
    fn next(&self, budget: &mut Budget) -> Request {
        let mut queue = lock(&self.queue);
        loop {
            budget.refill(lock(&self.limits).per_minute, Instant::now());
            let is_due = |first: &Request| budget.has_some() || first.is_late();
            if queue.front().is_some_and(is_due)
                && let Some(first) = queue.pop_front()
            {
                return first;
            }
            queue = if queue.is_empty() {
                self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.wake.wait_timeout(queue, BUDGET_PAUSE);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn look(&self, request: &Request, budget: &mut Budget) -> ExecutableFacts {
        let earlier = lock(&self.processes).get(&request.key).cloned();
        let earlier = earlier.filter(|earlier| earlier.path == request.target.path());
        let earlier = earlier.and_then(|earlier| earlier.facts);
        let facts = if request.is_late() && !budget.has_some() {
            ExecutableFacts::unread(request.target.path(), unread::BUSY)
        } else {
            let steps = Steps::new(request.target.pid(), Instant::now() + LONGEST_LOOK);
            let max_size = lock(&self.limits).max_size;
            let facts = look(&request.target, &self.files, max_size, &steps);
            budget.spend(steps.bytes());
            facts
        };
        match earlier {
            Some(earlier) => facts.with_earlier(&earlier),
            None => facts,
        }
    }

    fn found(&self, request: &Request, facts: &Arc<ExecutableFacts>) {
        let Request { key, target, .. } = request;
        let file = target.key().ok();
        if let Some(file) = file.filter(FileKey::is_settled)
            && target.is_hosts()
            && facts.file.sha256.is_some()
        {
            let program = (file, target.path().to_owned());
            let facts = ExecutableFacts { script: None, ..ExecutableFacts::clone(facts) };
            lock(&self.programs).insert(program, Arc::new(facts));
        }
        let known = Process {
            path: target.path().to_owned(),
            is_deleted: target.is_deleted(),
            file,
            at: Instant::now(),
            facts: Some(Arc::clone(facts)),
        };
        lock(&self.processes).insert(*key, known);
    }

    /// What is known of a process, as long as it seems to execute the same file.
    fn remembered(&self, process: &Identity) -> Option<Process> {
        let executable = process.executable.as_ref()?;
        let known = lock(&self.processes).get(&Inspector::key(process)?).cloned()?;
        let is_same = known.path == executable.path && known.is_deleted == executable.is_deleted;
        is_same.then_some(known)
    }

    /// Notes that a process waits. What was known of it is known until then.
    fn waits(&self, key: Inspected, mut process: Process) {
        let mut processes = lock(&self.processes);
        let earlier = processes.get(&key).filter(|earlier| earlier.path == process.path);
        process.facts = process.facts.or(earlier.and_then(|earlier| earlier.facts.clone()));
        processes.insert(key, process);
    }
}

impl Request {
    fn is_late(&self) -> bool {
        self.at.elapsed() > LONGEST_WAIT
    }
}

/// Bytes that may be read. One look may take more than is left; the next waits for that.
#[derive(Debug)]
struct Budget {
    left: i64,
    at: Instant,
}

impl Budget {
    fn full(per_minute: u64, at: Instant) -> Self {
        Self { left: signed(per_minute), at }
    }

    fn refill(&mut self, per_minute: u64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_millis();
        let earned = u128::from(per_minute) * passed / 60_000;
        if earned > 0 {
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.left = self.left.saturating_add(earned).min(signed(per_minute));
            self.at = now;
        }
    }

    const fn has_some(&self) -> bool {
        self.left > 0
    }

    fn spend(&mut self, bytes: u64) {
        self.left = self.left.saturating_sub(signed(bytes));
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Opens what a look needs. An error if that takes too long.
fn open(process: &Identity) -> io::Result<Target> {
    let process = process.clone();
    bounded_read::files_of(process.pid, move || Target::open(&process))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::CommandLines, process::ProcessEnricher};

    fn own() -> Identity {
        ProcessEnricher::new(CommandLines::Masked).look_up(std::process::id()).expect("myself")
    }

    fn looked(limits: EvidenceLimits) -> Arc<ExecutableFacts> {
        let deadline = Instant::now() + Duration::from_secs(60);
        match Inspector::new(limits).look_now(&own(), deadline) {
            Evidence::Known(facts) => facts,
            Evidence::Pending => panic!("looked at"),
        }
    }

    #[test]
    fn hashes_the_executable_of_a_process() {
        let bytes = std::fs::read("/proc/self/exe").expect("the test program");
        let expected = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let limits = EvidenceLimits { max_size: Some(1 << 40), ..EvidenceLimits::default() };
        let facts = looked(limits);
        let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(facts.file.sha256.as_deref(), Some(&*expected));
        assert_eq!(facts.file.size, Some(bytes.len() as u64));
        assert!(!facts.is_deleted && !facts.is_memfd && facts.script.is_none());
        let small = EvidenceLimits { max_size: Some(1 << 10), ..EvidenceLimits::default() };
        assert_eq!(looked(small).file.unread, Some("it is larger than evidence.max_size"));
    }

    #[test]
    fn reports_a_look_and_remembers_it() {
        let inspector = Inspector::new(EvidenceLimits::default());
        let (sender, reports) = std::sync::mpsc::channel();
        let report = move |key, facts: &Arc<ExecutableFacts>| {
            let _ = sender.send((key, Arc::clone(facts)));
        };
        inspector.start(report).expect("a thread");
        let own = own();
        assert_eq!(inspector.known(&own), Evidence::Pending);
        let asked = inspector.ask(&own, Purpose::Event).expect("it was not looked at");
        assert_eq!(inspector.ask(&own, Purpose::Judgement), None, "it waits already");
        let (key, facts) = reports.recv_timeout(Duration::from_secs(60)).expect("a report");
        assert_eq!(key, asked);
        assert_eq!(inspector.known(&own), Evidence::Known(Arc::clone(&facts)));
        assert_eq!(inspector.known_for_certain(&own), Evidence::Known(facts));
        let other = Identity { start_time_ns: Some(1), ..own };
        assert_eq!(inspector.known(&other), Evidence::Pending, "one that had its id before");
        assert_eq!(inspector.ask(&other, Purpose::Judgement), None);
        let unread = inspector.known(&other).known().and_then(|facts| facts.file.unread);
        assert_eq!(unread, Some(unread::GONE));
    }

    #[test]
    fn the_budget_is_earned_by_the_minute_and_may_be_overdrawn_once() {
        let start = Instant::now();
        let mut budget = Budget::full(60_000, start);
        budget.spend(90_000);
        assert!(!budget.has_some());
        budget.refill(60_000, start + Duration::from_secs(30));
        assert!(!budget.has_some());
        budget.refill(60_000, start + Duration::from_millis(30_001));
        assert!(budget.has_some());
        budget.refill(60_000, start + Duration::from_secs(3_600));
        assert_eq!(budget.left, 60_000);
    }
}
