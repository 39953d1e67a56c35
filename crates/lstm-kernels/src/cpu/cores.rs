//! How many threads a call takes.
//!
//! At most as many as there are cores that no other call is using, so that calls from many threads at once
//! share the cores instead of bringing helpers each: eight threads that call a layer on two cores work
//! alone, each on its own call.
//!
//! And one for a while, after a call that helpers held up: a core that was taken away once will be again.
//! That is measured, not asked: a call is held up if its caller waited longer than helpers saved it, in this call and
//! those just before. (On an idle machine, too, a core is gone for a tenth of a millisecond now and then, which is
//! longer than many a call.)

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

/// Threads of all calls that are running.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// How a call's threads depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ties {
    /// They meet in every step.
    Meetings,
    /// They don't before the end.
    Rows,
    /// As `Rows`, and a call takes longer than the scheduler lets another program have the core: two halves of two
    /// cores are more than the half of one then, whoever waits for whom.
    LongRows,
}

impl Ties {
    /// What is remembered of calls of this kind, if it makes a difference to them.
    fn memory(self) -> Option<&'static Memory> {
        static MEETINGS: Memory = Memory::new();
        static ROWS: Memory = Memory::new();
        match self {
            Self::Meetings => Some(&MEETINGS),
            Self::Rows => Some(&ROWS),
            Self::LongRows => None,
        }
    }
}

/// Threads of a call, the one that calls included. They are given back when this is dropped.
pub(super) struct Taken {
    threads: usize,
    memory: Option<&'static Memory>,
}

impl Taken {
    /// At most `most` threads, at least one.
    pub fn up_to(most: usize, ties: Ties) -> Self {
        static CORES: OnceLock<usize> = OnceLock::new();
        let cores = *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from));
        let memory = ties.memory().filter(|_| most > 1);
        let most = match memory {
            Some(memory) if now() < memory.until.load(Ordering::Relaxed) => 1,
            _ => most,
        };
        let mut in_use = IN_USE.load(Ordering::Relaxed);
        loop {
            let threads = most.min(cores.saturating_sub(in_use)).max(1);
            match IN_USE.compare_exchange_weak(
                in_use,
                in_use + threads,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Self { threads, memory },
                Err(changed) => in_use = changed,
            }
        }
    }

    /// So many, whatever the machine has, and nothing is remembered.
    #[cfg(test)]
    pub fn exactly(threads: usize) -> Self {
        IN_USE.fetch_add(threads, Ordering::Relaxed);
        Self {
            threads,
            memory: None,
        }
    }

    /// How many there are.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What came of the helpers.
    pub fn report(&self, outcome: Outcome) {
        if let Some(memory) = self.memory {
            memory.report(outcome, now());
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        IN_USE.fetch_sub(self.threads, Ordering::Relaxed);
    }
}

/// Microseconds since the first call of this.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// What came of a call's helpers, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// They saved so much.
    Saved(u32),
    /// They held it up for so long.
    HeldUp(u32),
}

/// What is remembered of calls that were held up. All in microseconds; several threads may write at once, of which
/// any may win.
struct Memory {
    /// Until when calls take one thread.
    until: AtomicU64,
    /// How long that was the last time, or 0.
    pause: AtomicU64,
    /// Calls since that helpers didn't hold up.
    good: AtomicU32,
    /// What helpers saved since then and haven't spent on holding up, at most [`Self::CREDIT`].
    credit: AtomicU32,
}

impl Memory {
    /// The first pause. A call may be held up on an idle machine, by an interrupt.
    const FIRST: u64 = 16_000;
    /// The longest: so long after the machine has become idle do calls take one thread at most.
    const MOST: u64 = 1_024_000;
    /// So many good calls in a row, and a hold-up is the first again: they are less than one in a hundred by
    /// themselves then. (On a machine that is always busy some calls succeed by luck.)
    const FORGOTTEN: u32 = 128;
    /// Less than the scheduler lets another program have the core, and more than an interrupt takes.
    const CREDIT: u32 = 500;

    const fn new() -> Self {
        Self {
            until: AtomicU64::new(0),
            pause: AtomicU64::new(0),
            good: AtomicU32::new(0),
            credit: AtomicU32::new(0),
        }
    }

    fn report(&self, outcome: Outcome, now: u64) {
        let pause = self.pause.load(Ordering::Relaxed);
        let credit = self.credit.load(Ordering::Relaxed);
        match outcome {
            Outcome::Saved(saved) => {
                let credit = credit.saturating_add(saved).min(Self::CREDIT);
                self.credit.store(credit, Ordering::Relaxed);
                if pause > 0 && self.good.fetch_add(1, Ordering::Relaxed) + 1 >= Self::FORGOTTEN {
                    self.pause.store(0, Ordering::Relaxed);
                }
            }
            Outcome::HeldUp(waited) if waited <= credit => {
                self.credit.store(credit - waited, Ordering::Relaxed);
            }
            Outcome::HeldUp(_) => {
                let pause = (2 * pause).clamp(Self::FIRST, Self::MOST);
                self.pause.store(pause, Ordering::Relaxed);
                self.good.store(0, Ordering::Relaxed);
                self.credit.store(0, Ordering::Relaxed);
                self.until.store(now + pause, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_until_enough_calls_in_a_row_are_good() {
        let memory = Memory::new();
        let mut now = 0;
        let mut pause = |good: u32| {
            (0..good).for_each(|_| memory.report(Outcome::Saved(0), now));
            memory.report(Outcome::HeldUp(1), now);
            let pause = memory.until.load(Ordering::Relaxed) - now;
            now += pause;
            pause
        };
        for doublings in 0..6 {
            let good = Memory::FORGOTTEN - 1;
            assert_eq!(pause(good), Memory::FIRST << doublings);
        }
        assert_eq!([pause(0), pause(0)], [Memory::MOST; 2]);
        assert_eq!(pause(Memory::FORGOTTEN), Memory::FIRST);
    }

    #[test]
    fn what_helpers_save_pays_for_a_short_wait() {
        let memory = Memory::new();
        let report = |outcome| {
            memory.report(outcome, 0);
            memory.until.load(Ordering::Relaxed)
        };
        (0..10).for_each(|_| _ = report(Outcome::Saved(20)));
        assert_eq!(report(Outcome::HeldUp(150)), 0);
        assert_eq!(report(Outcome::HeldUp(150)), Memory::FIRST);
        // However much they saved.
        let memory = Memory::new();
        (0..1_000).for_each(|_| memory.report(Outcome::Saved(20), 0));
        memory.report(Outcome::HeldUp(Memory::CREDIT + 1), 0);
        assert_eq!(memory.until.load(Ordering::Relaxed), Memory::FIRST);
    }

    #[test]
    fn calls_at_once_take_no_more_threads_than_there_are_cores() {
        let all = Taken::exactly(1_000);
        let another = Taken::up_to(8, Ties::LongRows);
        assert_eq!(another.threads(), 1);
        drop((all, another));
    }
}
