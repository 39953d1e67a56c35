//! Threads that work on one recurrence: who does what, and how they meet.
//!
//! Rows of a batch don't know of each other, so *teams* of threads share the rows and never meet. Within
//! a team, the members share the hidden units; each has its own slice of the weights, which then fits its
//! cache better, and all meet once in a step, since every unit reads the hidden state of all.

use super::{Sizes, pool};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Hidden units come in blocks of this many, which is a multiple of every vector's lanes; behind the last
/// unit a block is filled up with units whose weights are zero.
pub(super) const BLOCK: usize = 16;

/// Who does what.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The rows of each team.
    pub teams: Vec<Range<usize>>,
    /// The units of each member of a team.
    pub members: Vec<Range<usize>>,
}

impl Plan {
    /// A plan for at most `threads` threads; `gates` is the number of packed gates. All are one team where the weights
    /// stay [in place](super::in_place).
    pub fn new(sizes: Sizes, gates: usize, threads: usize, in_place: bool) -> Self {
        /// Multiplications of a forward pass that are worth a thread. Measured on two AVX-512 cores,
        /// LSTM forward + backward with Burn's autodiff, one thread against two: 0.082 and 0.084 ms at
        /// B,T,I,H = 8,20,4,32 (0.7 million), 0.139 and 0.120 at 16,20,4,32 (1.5 million), 0.224 and 0.177
        /// at 8,20,4,64 (2.8 million).
        const WORTH_A_THREAD: usize = 700_000;
        /// Rows that are worth a team of their own. Every team reads all weights in each step, for however
        /// few rows; members of one team share them, and wait for each other. Measured as above, two
        /// members against two teams: 7.8 and 8.9 ms at 4,200,64,256, 11.4 and 11.3 at 6,200,64,256, 273
        /// and 260 at 64,100,256,512.
        const WORTH_A_TEAM: usize = 3;
        let depth = sizes.input + sizes.hidden;
        let work = sizes.batch * sizes.time * sizes.hidden * gates * depth;
        let threads = threads.min(work / WORTH_A_THREAD).max(1);
        let blocks = sizes.hidden.div_ceil(BLOCK);
        let teams = match in_place {
            true => 1,
            false => threads.min(sizes.batch / WORTH_A_TEAM).max(1),
        };
        Self {
            teams: shares(sizes.batch, teams),
            members: shares(blocks, (threads / teams).min(blocks))
                .into_iter()
                .map(|blocks| blocks.start * BLOCK..blocks.end * BLOCK)
                .collect(),
        }
    }

    /// Runs `work` on all members of all teams at once, on this thread and as many others as it takes.
    pub fn run(&self, work: impl Fn(Member) + Sync) {
        let (teams, members) = (self.teams.len(), self.members.len());
        let all = Barrier::new(teams * members);
        let barriers: Vec<Barrier> = self.teams.iter().map(|_| Barrier::new(members)).collect();
        let run = |number: usize| {
            let team = number / members;
            // Whoever panics must not leave the others waiting.
            let _broken = [BreakOnPanic(&all), BreakOnPanic(&barriers[team])];
            work(Member {
                plan: self,
                number,
                all: &all,
                team: &barriers[team],
            });
        };
        pool::run(teams * members, &run);
    }
}

/// Cuts `0..count` into `parts` ranges, as even as can be.
pub(super) fn shares(count: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts)
        .map(|part| count * part / parts..count * (part + 1) / parts)
        .collect()
}

/// A thread at work.
pub(super) struct Member<'a> {
    plan: &'a Plan,
    number: usize,
    all: &'a Barrier,
    team: &'a Barrier,
}

impl<'a> Member<'a> {
    /// Its number among all threads.
    pub fn number(&self) -> usize {
        self.number
    }

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.plan.teams.len() * self.plan.members.len()
    }

    /// The number of its team.
    pub fn team(&self) -> usize {
        self.number / self.plan.members.len()
    }

    /// Its number in its team.
    pub fn place(&self) -> usize {
        self.number % self.plan.members.len()
    }

    /// Its team's rows.
    pub fn rows(&self) -> Range<usize> {
        self.plan.teams[self.team()].clone()
    }

    /// Its units, those that fill the last block included.
    fn units(&self) -> Range<usize> {
        self.plan.members[self.place()].clone()
    }

    /// Its units without those that fill the last block, of `hidden` units.
    pub fn real_units(&self, hidden: usize) -> Range<usize> {
        let units = self.units();
        units.start..units.end.min(hidden)
    }

    /// How many members its team has.
    pub fn members(&self) -> usize {
        self.plan.members.len()
    }

    /// Waits for all threads; what any has written before, all may read after.
    pub fn meet_all(&self) {
        self.all.wait();
    }

    /// Waits for its team; as [`meet_all`](Member::meet_all).
    pub fn meet_team(&self) {
        self.team.wait();
    }
}

/// Where threads wait for each other, again and again.
///
/// They meet every few microseconds, so they spin for a while before they let others have the core.
struct Barrier {
    threads: usize,
    waiting: AtomicUsize,
    /// How often all have met.
    round: AtomicUsize,
    broken: AtomicBool,
}

impl Barrier {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            waiting: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
        }
    }

    fn wait(&self) {
        const SPINS: usize = 2_000;
        if self.threads == 1 {
            return;
        }
        let round = self.round.load(Ordering::Acquire);
        if self.waiting.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.waiting.store(0, Ordering::Relaxed);
            self.round.store(round.wrapping_add(1), Ordering::Release);
            return;
        }
        let mut spins = 0;
        while self.round.load(Ordering::Acquire) == round {
            spins += 1;
            if spins < SPINS {
                std::hint::spin_loop();
            } else {
                assert!(
                    !self.broken.load(Ordering::Relaxed),
                    "another thread of this recurrence panicked"
                );
                thread::yield_now();
            }
        }
    }
}

struct BreakOnPanic<'a>(&'a Barrier);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}
