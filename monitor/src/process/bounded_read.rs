//! Reads that may never end, on threads that are given up.
//!
//! The command line and the environment of a process wait for the lock of its memory map, and so does
//! a copy of one of its descriptors while it executes another program. Any process can hold that lock
//! forever. A file may be on a server that does not answer.

use std::{
    cell::Cell,
    collections::HashSet,
    io,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use super::wait_budget::WaitBudget;
use crate::lock::lock;

/// Threads that hang at most, of each kind of read.
const MAX_HANGING: usize = 16;

/// A worker opens files and parses nothing.
const STACK_BYTES: usize = 128 * 1024;

static MEMORY: LazyLock<Readers> = LazyLock::new(Readers::default);
static FILES: LazyLock<Readers> = LazyLock::new(Readers::default);
static CONTENTS: LazyLock<Readers> = LazyLock::new(Readers::default);

thread_local! {
    /// What the calling thread may wait for reads.
    static BUDGET: Cell<WaitBudget> = const { Cell::new(WaitBudget::full()) };
}

/// Reads that were given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbandonedReads {
    /// They did not end in time.
    pub timed_out: u64,
    /// They were not begun, because an earlier one of the same process hangs, or too many do.
    pub refused: u64,
}

/// The reads that this program has given up.
pub fn abandoned_reads() -> AbandonedReads {
    let kinds = [&MEMORY, &FILES, &CONTENTS].map(|readers| readers.abandoned());
    AbandonedReads {
        timed_out: kinds.iter().map(|kind| kind.timed_out).sum(),
        refused: kinds.iter().map(|kind| kind.refused).sum(),
    }
}

/// Reads what waits for the lock of a process's memory map.
///
/// # Errors
///
/// `TimedOut` if it takes too long, `WouldBlock` if it was not begun, and what `read` returns.
pub(crate) fn memory_of<T: Send + 'static>(
    pid: u32,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    MEMORY.read(pid, wait_by_budget, read)
}

/// Reads what the file system of a process's files has to answer for.
///
/// # Errors
///
/// As [`memory_of`].
pub(crate) fn files_of<T: Send + 'static>(
    pid: u32,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    FILES.read(pid, wait_by_budget, read)
}

/// Reads the content of a file, for a process, within `limit`: on behalf of a thread that nothing waits
/// for, whose waits are not counted.
///
/// # Errors
///
/// As [`memory_of`].
pub(crate) fn contents_of<T: Send + 'static>(
    pid: u32,
    limit: Duration,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    CONTENTS.read(pid, |answer| answer.recv_timeout(limit), read)
}

/// Waits for as long as the calling thread may.
fn wait_by_budget<T>(answer: &Receiver<T>) -> Result<T, RecvTimeoutError> {
    BUDGET.with(|budget| {
        let mut waits = budget.get();
        let answered = waits.spend(|limit| answer.recv_timeout(limit));
        budget.set(waits);
        answered
    })
}

type Job = Box<dyn FnOnce() + Send>;

/// Threads for one kind of read.
#[derive(Debug, Default)]
struct Readers {
    /// Threads without work.
    idle: Mutex<Vec<Sender<Job>>>,
    /// Processes of which a read hangs.
    hanging: Arc<Mutex<HashSet<u32>>>,
    timed_out: AtomicU64,
    refused: AtomicU64,
}

impl Readers {
    fn abandoned(&self) -> AbandonedReads {
        AbandonedReads {
            timed_out: self.timed_out.load(Relaxed),
            refused: self.refused.load(Relaxed),
        }
    }

    fn read<T: Send + 'static>(
        &self,
        pid: u32,
        wait: impl FnOnce(&Receiver<io::Result<T>>) -> Result<io::Result<T>, RecvTimeoutError>,
        read: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let is_refused = {
            let hanging = lock(&self.hanging);
            hanging.len() >= MAX_HANGING || hanging.contains(&pid)
        };
        if is_refused {
            self.refused.fetch_add(1, Relaxed);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (sender, answer) = mpsc::sync_channel(1);
        let hanging = Arc::clone(&self.hanging);
        let job = Box::new(move || {
            // An error means that the caller has given up.
            let _ = sender.send(read());
            lock(&hanging).remove(&pid);
        });
        let worker = self.begin(job)?;
        match wait(&answer) {
            Ok(result) => {
                lock(&self.idle).push(worker);
                return result;
            }
            Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // The worker answers before it takes this lock.
        let mut hanging = lock(&self.hanging);
        if let Ok(result) = answer.try_recv() {
            return result;
        }
        hanging.insert(pid);
        self.timed_out.fetch_add(1, Relaxed);
        Err(io::ErrorKind::TimedOut.into())
    }

    /// Gives the job to a thread, which ends when the returned sender is dropped and the job is done.
    fn begin(&self, job: Job) -> io::Result<Sender<Job>> {
        let idle = lock(&self.idle).pop();
        let worker = match idle {
            Some(worker) => worker,
            None => spawn()?,
        };
        worker.send(job).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(worker)
    }
}

fn spawn() -> io::Result<Sender<Job>> {
    let (jobs, queue) = mpsc::channel::<Job>();
    thread::Builder::new()
        .name("reader".into())
        .stack_size(STACK_BYTES)
        .spawn(move || queue.into_iter().for_each(|job| job()))?;
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A read that hangs until the sender is dropped.
    fn hanging_read(readers: &Readers, pid: u32) -> (io::Result<()>, Sender<()>) {
        let (release, released) = mpsc::channel::<()>();
        let read = readers.read(pid, wait_by_budget, move || {
            let _ = released.recv();
            Ok(())
        });
        (read, release)
    }

    fn kind(result: io::Result<()>) -> io::ErrorKind {
        result.expect_err("given up").kind()
    }

    #[test]
    fn gives_up_a_read_that_hangs_and_refuses_the_next_of_that_process() {
        let readers = Readers::default();
        let (read, release) = hanging_read(&readers, 7);
        assert_eq!(kind(read), io::ErrorKind::TimedOut);
        assert_eq!(kind(readers.read(7, wait_by_budget, || Ok(()))), io::ErrorKind::WouldBlock);
        assert_eq!(readers.read(8, wait_by_budget, || Ok(8)).expect("answered"), 8);
        assert_eq!(readers.abandoned(), AbandonedReads { timed_out: 1, refused: 1 });
        drop(release);
        let deadline = Instant::now() + Duration::from_secs(10);
        while readers.read(7, wait_by_budget, || Ok(())).is_err() {
            assert!(Instant::now() < deadline, "the process can be read again");
            thread::yield_now();
        }
    }

    #[test]
    fn bounds_the_threads_that_hang() {
        let readers = Readers::default();
        let hanging: Vec<_> =
            (1..=MAX_HANGING as u32).map(|pid| hanging_read(&readers, pid)).collect();
        assert!(hanging.iter().all(|(read, _)| read.is_err()));
        assert_eq!(kind(readers.read(1_000, wait_by_budget, || Ok(()))), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn passes_on_what_a_read_returns() {
        let readers = Readers::default();
        let failed = readers.read(1, wait_by_budget, || Err(io::ErrorKind::NotFound.into()));
        assert_eq!(kind(failed), io::ErrorKind::NotFound);
        assert_eq!(readers.abandoned(), AbandonedReads::default());
    }
}
