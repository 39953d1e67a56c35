//! Threads that wait for work.
//!
//! A call of a small layer takes a tenth of a millisecond, and the start of a thread a third of that. So a
//! thread, once started, stays: it looks out for the next call for a moment, and then sleeps.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What to do, by the number of the thread.
type Work<'a> = dyn Fn(usize) + Sync + 'a;

/// Helpers that have nothing to do. Who needs some takes them, and puts them back.
static IDLE: Mutex<Vec<Helper>> = Mutex::new(vec![]);

/// Runs `work(0)` on this thread and `work(1)` to `work(threads - 1)` on others, all at once.
///
/// # Panics
///
/// If one of them does, when all are done.
pub(super) fn run(threads: usize, work: &Work<'_>) {
    if threads == 1 {
        return work(0);
    }
    let helpers = take(threads - 1);
    // SAFETY: no helper has it for longer than this function runs: nothing between here and where all of
    // them are done unwinds.
    let lasting = unsafe { std::mem::transmute::<&Work<'_>, &'static Work<'static>>(work) };
    for (number, helper) in (1..).zip(&helpers) {
        helper.call(Job {
            work: lasting,
            number,
            caller: thread::current(),
        });
    }
    let mut result = catch_unwind(AssertUnwindSafe(|| work(0)));
    for helper in &helpers {
        result = result.and(helper.result());
    }
    put_back(helpers);
    if let Err(panic) = result {
        resume_unwind(panic);
    }
}

fn take(count: usize) -> Vec<Helper> {
    let mut helpers = {
        let mut idle = lock(&IDLE);
        let others = idle.len().saturating_sub(count);
        // Those that came back last are the likeliest to be awake.
        idle.split_off(others)
    };
    helpers.resize_with(count, Helper::start);
    helpers
}

fn put_back(helpers: Vec<Helper>) {
    /// More are only needed by many calls at once.
    const MOST: usize = 128;
    let mut idle = lock(&IDLE);
    idle.extend(helpers);
    idle.truncate(MOST);
}

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `ready`, asleep after a moment, until somebody wakes this thread.
fn wait_until(ready: impl Fn() -> bool) {
    /// How long to stay awake. Measured on two cores, LSTM forward + backward at B,T,I,H = 32,64,2,64 with
    /// Burn's autodiff: 1.44 to 1.48 ms at 100 µs, 1.45 to 1.51 at 20, 1.48 to 1.54 asleep at once, and
    /// 1.56 to 1.72 with threads started anew.
    const AWAKE: Duration = Duration::from_micros(100);
    const SPINS: usize = 50;
    let start = Instant::now();
    loop {
        for _ in 0..SPINS {
            if ready() {
                return;
            }
            std::hint::spin_loop();
        }
        if start.elapsed() > AWAKE {
            thread::park();
        }
    }
}

struct Job {
    work: &'static Work<'static>,
    number: usize,
    caller: Thread,
}

/// A thread of the pool. It ends when this is dropped.
struct Helper {
    thread: Thread,
    desk: Arc<Desk>,
}

/// Where a helper finds its job and leaves what came of it.
#[derive(Default)]
struct Desk {
    /// Whether there is a job that isn't done, or none to come.
    busy: AtomicBool,
    job: Mutex<Option<Job>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Helper {
    fn start() -> Self {
        let desk = Arc::<Desk>::default();
        let own = desk.clone();
        let thread = thread::Builder::new()
            .name("lstm-core".to_string())
            .spawn(move || own.work())
            .expect("the operating system starts another thread");
        Self {
            thread: thread.thread().clone(),
            desk,
        }
    }

    fn call(&self, job: Job) {
        *lock(&self.desk.job) = Some(job);
        self.wake();
    }

    fn wake(&self) {
        self.desk.busy.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Waits until the job is done.
    fn result(&self) -> thread::Result<()> {
        wait_until(|| !self.desk.busy.load(Ordering::Acquire));
        lock(&self.desk.panic).take().map_or(Ok(()), Err)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.wake();
    }
}

impl Desk {
    /// Does one job after the other, until there is none.
    fn work(&self) {
        loop {
            wait_until(|| self.busy.load(Ordering::Acquire));
            let Some(job) = lock(&self.job).take() else {
                return;
            };
            let result = catch_unwind(AssertUnwindSafe(|| (job.work)(job.number)));
            *lock(&self.panic) = result.err();
            self.busy.store(false, Ordering::Release);
            job.caller.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    /// How often each of `threads` numbers is run.
    fn counts(threads: usize) -> Vec<usize> {
        let counts: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
        run(threads, &|number| {
            counts[number].fetch_add(1, Ordering::Relaxed);
        });
        counts.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_number_is_run_once_also_by_helpers_that_slept() {
        for threads in [1, 2, 5, 3, 9] {
            assert_eq!(counts(threads), vec![1; threads]);
            thread::sleep(Duration::from_millis(2));
            assert_eq!(counts(threads), vec![1; threads]);
        }
    }

    #[test]
    fn calls_at_once_and_within_each_other_have_helpers_of_their_own() {
        let sum = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        run(3, &|_| {
                            sum.fetch_add(counts(2).len(), Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * 3 * 2);
    }

    #[test]
    fn a_panic_reaches_the_caller_once_all_are_done() {
        for culprit in 0..3 {
            let done = AtomicUsize::new(0);
            let panic = catch_unwind(AssertUnwindSafe(|| {
                run(3, &|number| {
                    if number == culprit {
                        resume_unwind(Box::new(number));
                    }
                    thread::sleep(Duration::from_millis(2));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }))
            .expect_err("one panicked");
            assert_eq!(panic.downcast_ref::<usize>(), Some(&culprit));
            assert_eq!(done.into_inner(), 2);
            assert_eq!(counts(3), [1; 3], "the helpers go on");
        }
    }

    #[test]
    fn a_helper_ends_when_nobody_keeps_it() {
        let helper = Helper::start();
        let desk = Arc::downgrade(&helper.desk);
        drop(helper);
        let start = Instant::now();
        while desk.strong_count() > 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "it goes on");
            thread::yield_now();
        }
    }
}
