//! Threads that wait for work.
//!
//! A call of a small layer takes a tenth of a millisecond, and the start of a thread a third of that. So a
//! thread, once started, stays: it looks out for the next call for a moment, and then sleeps.
//!
//! Who calls doesn't wait for a helper: one that comes when all is done finds nothing to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What helpers can help with.
pub(super) trait Job: Send + Sync {
    /// Does what is left to do, if anything is. It must not panic.
    fn help(&self);
}

/// Helpers to be called. Who needs some takes them, and puts them back once they are called: they may still be busy,
/// or not awake yet, when the next call comes.
static HELPERS: Mutex<Vec<Helper>> = Mutex::new(vec![]);

/// Calls at most `count` other threads to help, as soon as they can.
pub(super) fn call(count: usize, job: &Arc<impl Job + 'static>) -> Vec<Helper> {
    let mut helpers = {
        let mut idle = lock(&HELPERS);
        let others = idle.len().saturating_sub(count);
        // Those that came back last are the likeliest to be awake.
        idle.split_off(others)
    };
    // If the operating system starts no more threads, there are fewer.
    let missing = count - helpers.len();
    helpers.extend((0..missing).map_while(|_| Helper::start()));
    helpers
        .iter()
        .for_each(|helper| helper.call(Some(job.clone())));
    helpers
}

/// Gives helpers back for other calls.
pub(super) fn put_back(helpers: Vec<Helper>) {
    /// More are only needed by many calls at once.
    const MOST: usize = 128;
    let mut idle = lock(&HELPERS);
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

/// A thread of the pool. It ends when this is dropped.
pub(super) struct Helper {
    thread: Thread,
    desk: Arc<Desk>,
}

/// Where a helper finds its job.
#[derive(Default)]
struct Desk {
    /// Whether it was called since it looked at its job.
    called: AtomicBool,
    job: Mutex<Next>,
}

/// What a helper that was called is to do.
#[derive(Default)]
enum Next {
    #[default]
    Wait,
    Help(Arc<dyn Job>),
    End,
}

impl Helper {
    fn start() -> Option<Self> {
        let desk = Arc::<Desk>::default();
        let own = desk.clone();
        let thread = thread::Builder::new().name("lstm-core".to_string());
        let thread = thread.spawn(move || own.work()).ok()?;
        Some(Self {
            thread: thread.thread().clone(),
            desk,
        })
    }

    fn call(&self, job: Option<Arc<dyn Job>>) {
        *lock(&self.desk.job) = job.map_or(Next::End, Next::Help);
        self.desk.called.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.call(None);
    }
}

impl Desk {
    /// Does one job after the other, until it is to end.
    fn work(&self) {
        loop {
            wait_until(|| self.called.load(Ordering::Relaxed));
            self.called.store(false, Ordering::Relaxed);
            let next = std::mem::take(&mut *lock(&self.job));
            match next {
                Next::Wait => {}
                Next::Help(job) => job.help(),
                Next::End => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Job for Count {
        fn help(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn until(ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(60), "it never comes");
            thread::yield_now();
        }
    }

    #[test]
    fn each_helper_helps_once_also_one_that_slept() {
        for count in [1, 2, 5, 3, 9] {
            for _ in 0..2 {
                let job = Arc::<Count>::default();
                let helpers = call(count, &job);
                until(|| job.0.load(Ordering::Relaxed) == count);
                put_back(helpers);
                thread::sleep(Duration::from_millis(2));
                assert_eq!(job.0.load(Ordering::Relaxed), count);
            }
        }
    }

    /// Keeps who helps with it until it is released.
    #[derive(Default)]
    struct Long {
        started: AtomicBool,
        released: AtomicBool,
    }

    impl Job for Long {
        fn help(&self) {
            self.started.store(true, Ordering::Relaxed);
            until(|| self.released.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_helper_that_is_late_does_the_last_job_only() {
        let helper = Helper::start().expect("it starts");
        let (long, [skipped, last]) = (
            Arc::<Long>::default(),
            [(); 2].map(|()| Arc::<Count>::default()),
        );
        helper.call(Some(long.clone()));
        until(|| long.started.load(Ordering::Relaxed));
        helper.call(Some(skipped.clone()));
        helper.call(Some(last.clone()));
        long.released.store(true, Ordering::Relaxed);
        until(|| last.0.load(Ordering::Relaxed) == 1);
        assert_eq!(skipped.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_helper_ends_when_nobody_keeps_it() {
        let helper = Helper::start().expect("it starts");
        let desk = Arc::downgrade(&helper.desk);
        drop(helper);
        until(|| desk.strong_count() == 0);
    }
}
