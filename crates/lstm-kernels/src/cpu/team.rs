//! Threads that work on one recurrence: how the work is divided, and the barrier of each step.
//!
//! Rows of a batch are independent, so *teams* of threads share the rows and never meet. Within
//! a team, the members share the hidden units; each has its own slice of the weights, which then fits its
//! cache better, and all meet once in a step, since every unit reads the hidden state of all.
//!
//! # What is promised on a busy machine
//!
//! A thread that lost its core to another program gets it back after milliseconds, in which whole calls
//! would be through. So who calls never waits for a helper that isn't there, and seldom for one that was:
//!
//! - Work is claimed, not assigned: the weights to be packed, the teams, the rows of the weights' gradients. Who
//!   calls claims as well, until nothing is left. A helper that comes late, or not at all, costs nothing.
//! - A team is led by one thread. Others join it when they come, between two steps, and then do their part of each.
//!   If the leader has waited for them longer than they have saved it, the one that came last leaves, and the next
//!   time all do: the leader does what is left of the walk alone. So a call takes little longer than with one
//!   thread, and twice until another program gives a core back (once in teams of two, and once more where a helper
//!   has a team of its own).
//! - After a call that was held up, others take one thread for a while; see [`cores`](super::cores).
//!
//! Before, all members waited at each step for whichever had no core: with nine other programs on two cores, 3 s for
//! a call that takes 3 ms with one thread.
//!
//! Which thread does what changes no number. Only the division into teams and units can, since the products of the
//! backward pass are summed in that order. So it depends on the sizes and the largest number of threads, not on how
//! many are free; in the forward pass, where it changes no number, on the latter. (A single step adds up sums, too: its
//! slices of the weights depend as the backward pass does.)

use super::cores::{Outcome, Taken, Ties};
use super::pool::{self, Job};
use super::{Sizes, weights::Panels};
use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Hidden units come in blocks of this many, a multiple of every vector's lanes; the last block is padded with units
/// whose weights are zero.
pub(super) const BLOCK: usize = 16;

/// Who does what.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The rows of each team.
    pub teams: Vec<Range<usize>>,
    /// The units of each member of a team that all have joined. With fewer, a member has those of several.
    pub members: Vec<Range<usize>>,
    /// Multiplications of a forward pass.
    work: usize,
    /// Whether the weights stay [in place](super::in_place).
    in_place: bool,
    #[cfg(test)]
    pub script: Option<Arc<tests::Script>>,
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
        /// The same where weights stay in place: each is read once, from a cache that takes far longer than the
        /// multiplication. Measured with cores of 1 MiB of L2, one step of one row, one thread and two: 4.8 and 4.4 to 5.6
        /// µs at I = H = 128 (131,000 weights), 6.6 to 7.0 and 5.4 to 6.5 at 160 (205,000), 12.0 and 7.2 at 192 (295,000).
        const WORTH_A_THREAD_IN_PLACE: usize = 100_000;
        /// Rows that are worth a team of their own. Every team reads all weights in each step, for however
        /// few rows; members of one team share them, and wait for each other. Measured as above, two
        /// members against two teams: 7.8 and 8.9 ms at 4,200,64,256, 11.4 and 11.3 at 6,200,64,256, 273
        /// and 260 at 64,100,256,512.
        const WORTH_A_TEAM: usize = 3;
        /// Multiplications of a member in a step that are worth a meeting, which takes half a microsecond. Measured on
        /// two AVX-512 cores, inference, B = 1, one thread and two: 0.40 and 0.41 ms at T,I,H = 500,48,48 (LSTM, 9,200
        /// of a member), 0.70 and 0.83 at 1000,96,96 (RNN, 9,200), 0.67 and 0.56 at 500,64,64 (LSTM, 16,400).
        const WORTH_A_MEETING: usize = 12_000;
        let depth = sizes.input + sizes.hidden;
        let step = sizes.batch * sizes.hidden * gates * depth;
        let work = step * sizes.time;
        let worth = match in_place {
            true => WORTH_A_THREAD_IN_PLACE,
            false => WORTH_A_THREAD,
        };
        let threads = threads.min(work / worth).max(1);
        let blocks = sizes.hidden.div_ceil(BLOCK);
        let teams = match in_place {
            true => 1,
            false => threads.min(sizes.batch / WORTH_A_TEAM).max(1),
        };
        let worth = (step / teams / WORTH_A_MEETING).max(1);
        let members = (threads / teams).min(blocks).min(Team::MOST).min(worth);
        Self {
            teams: shares(sizes.batch, teams),
            members: shares(blocks, members)
                .into_iter()
                .map(|blocks| blocks.start * BLOCK..blocks.end * BLOCK)
                .collect(),
            work,
            in_place,
            #[cfg(test)]
            script: None,
        }
    }

    /// With rows for each team by the steps that they have, where they are sorted by length, longest first. (Elsewhere
    /// shorter rows cost about as much as the longest of those near them.)
    pub fn with_lengths(mut self, lengths: &[usize]) -> Self {
        let teams = self.teams.len();
        if teams < 2 || !lengths.is_sorted_by(|a, b| a >= b) {
            return self;
        }
        // A row takes something without a step too.
        let all: usize = lengths.iter().map(|length| length + 1).sum();
        let (mut before, mut cuts) = (0, vec![0]);
        for (row, length) in lengths.iter().enumerate() {
            let left = lengths.len() - row;
            // Each team has a row at least.
            let is_due = before * teams >= all * cuts.len() || left <= teams - cuts.len();
            if cuts.len() < teams && is_due && row > cuts[cuts.len() - 1] {
                cuts.push(row);
            }
            before += length + 1;
        }
        cuts.push(lengths.len());
        self.teams = cuts.windows(2).map(|cut| cut[0]..cut[1]).collect();
        self
    }

    /// The threads that it has work for.
    pub fn threads(&self) -> usize {
        self.teams.len() * self.members.len()
    }

    /// Takes threads for it.
    pub fn take(&self) -> Taken {
        /// Multiplications of a forward pass that take about 8 ms with one thread.
        const LONG: usize = 400_000_000;
        let ties = match self.members.len() {
            2.. => Ties::Meetings,
            _ if self.work < LONG => Ties::Rows,
            _ => Ties::LongRows,
        };
        Taken::up_to(self.threads(), ties)
    }

    /// Does all of `work` on this thread and the others that are `taken`, those that come in time.
    ///
    /// # Panics
    ///
    /// If `work` does, once nobody is at it any more.
    pub fn run(self, taken: Taken, work: &dyn Work) {
        let [first, last] = work.tasks();
        let teams = self.teams.len() * usize::from(work.walks());
        if taken.threads() == 1 {
            (0..first).for_each(|task| work.prepare(task));
            for team in 0..teams {
                // (Alone it never leaves.)
                let member = Member::new(&self, team, 0, None);
                work.begin(&member);
                _ = work.walk(&member);
            }
            return (0..last).for_each(|task| work.finish(task));
        }
        // SAFETY: only the lifetime changes, of what is a pointer again at once. It is used as `Call::work` says, and
        // below all tasks are waited for; nothing unwinds before.
        let work = unsafe { std::mem::transmute::<&dyn Work, &'static dyn Work>(work) };
        let call = Arc::new(Call {
            work,
            prepare: Tasks::new(first),
            walks: Tasks {
                claimed: AtomicU64::new(1),
                ..Tasks::new(teams)
            },
            finish: Tasks::new(last),
            teams: (0..teams).map(|_| Team::default()).collect(),
            plan: self,
            joining: AtomicUsize::new(0),
            arrived: AtomicUsize::new(0),
            panic: Mutex::new(None),
            broken: AtomicBool::new(false),
        });
        let helpers = pool::call(taken.threads() - 1, &call);
        let patience = Patience::new(&call.plan);
        let others = helpers.len();
        for phase in [Phase::Prepare, Phase::Walk, Phase::Finish] {
            if let (Phase::Walk, 1..) = (phase, teams) {
                call.lead(0, &patience);
            }
            let tasks = call.work_off(phase, false, &patience);
            patience.wait_until(others, || {}, || tasks.all_done());
        }
        pool::put_back(helpers);
        if patience.held_up.get() || call.arrived.load(Ordering::Relaxed) > 0 {
            taken.report(patience.outcome(others));
        }
        let panic = call.panic.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(panic) = { panic }.take() {
            resume_unwind(panic);
        }
    }
}

/// Cuts `0..count` into `parts` ranges, as even as can be.
pub(super) fn shares(count: usize, parts: usize) -> Vec<Range<usize>> {
    (0..parts).map(|part| share(count, parts, part)).collect()
}

/// The range of part number `part`.
pub(super) fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

/// What threads do together.
pub(super) trait Work: Sync {
    /// How many tasks there are before the walk and after. Of those any thread can do any, in any order.
    fn tasks(&self) -> [usize; 2];

    /// A task before the walk.
    fn prepare(&self, task: usize);

    /// Whether there is a walk: without, tasks are all.
    fn walks(&self) -> bool {
        true
    }

    /// What the leader does alone before the walk of its team.
    fn begin(&self, leader: &Member);

    /// A member's part of its team's walk: the same sequence of meetings for all. Nothing but returning may follow
    /// a meeting that gives `None`.
    #[must_use]
    fn walk(&self, member: &Member) -> Option<()>;

    /// A task after the walk.
    fn finish(&self, task: usize);
}

/// What helpers know of a call. It outlives the call if one of them is late.
struct Call {
    /// There until all tasks are done. So only who has claimed one that isn't done may use it, and who is inside a
    /// team: its task isn't done before all have left.
    work: *const dyn Work,
    plan: Plan,
    prepare: Tasks,
    /// A task for each team: to lead it. The first is the caller's.
    walks: Tasks,
    finish: Tasks,
    teams: Vec<Team>,
    /// Which team the next helper joins, if it can.
    joining: AtomicUsize,
    /// Helpers that have come.
    arrived: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    broken: AtomicBool,
}

// SAFETY: `work` points to a `Work`, which is `Sync`; the other fields are `Send` and `Sync` themselves.
unsafe impl Send for Call {}
// SAFETY: as above.
unsafe impl Sync for Call {}

#[derive(Clone, Copy)]
enum Phase {
    Prepare,
    Walk,
    Finish,
}

/// Tasks to be claimed, each once: by who calls from the first on, and by helpers from the last, so that each packs
/// what it will need itself.
struct Tasks {
    count: usize,
    /// How many are claimed from the first on, and in the upper half, from the last.
    claimed: AtomicU64,
    done: AtomicUsize,
}

impl Tasks {
    fn new(count: usize) -> Self {
        Self {
            count,
            claimed: AtomicU64::new(0),
            done: AtomicUsize::new(0),
        }
    }

    fn claim(&self, helper: bool) -> Option<usize> {
        let halves = |claimed: u64| (claimed as u32 as usize, (claimed >> 32) as usize);
        let next = |claimed: u64| {
            let (first, last) = halves(claimed);
            let one = if helper { 1 << 32 } else { 1 };
            (first + last < self.count).then_some(claimed + one)
        };
        let claimed = self
            .claimed
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        let (first, last) = halves(claimed.ok()?);
        Some(if helper { self.count - 1 - last } else { first })
    }

    /// What was done before, all may read after.
    fn all_done(&self) -> bool {
        self.done.load(Ordering::Acquire) == self.count
    }
}

impl Call {
    /// Does tasks until none is left to claim.
    fn work_off(&self, phase: Phase, helper: bool, patience: &Patience) -> &Tasks {
        let tasks = match phase {
            Phase::Prepare => &self.prepare,
            Phase::Walk => &self.walks,
            Phase::Finish => &self.finish,
        };
        while let Some(task) = tasks.claim(helper) {
            match phase {
                Phase::Prepare => self.guarded(|work| work.prepare(task)),
                Phase::Walk => {
                    self.lead(task, patience);
                    continue;
                }
                Phase::Finish => self.guarded(|work| work.finish(task)),
            }
            tasks.done.fetch_add(1, Ordering::Release);
        }
        tasks
    }

    /// Runs something, on a thread that may use [`work`](Self::work). A panic is stored for the caller, and nothing runs
    /// after it.
    fn guarded(&self, work: impl FnOnce(&dyn Work)) {
        if self.broken.load(Ordering::Relaxed) {
            return;
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: it is there: the caller may use it.
            work(unsafe { &*self.work })
        })) {
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(panic);
            self.broken.store(true, Ordering::Relaxed);
        }
    }

    fn lead(&self, number: usize, patience: &Patience) {
        let team = &self.teams[number];
        let meeting = Meeting {
            call: self,
            team,
            patience: Some(patience),
        };
        let member = Member::new(&self.plan, number, 0, Some(meeting));
        // (It never leaves, unless a member panicked.)
        self.guarded(|work| {
            work.begin(&member);
            self.let_in_at_once(&member, team);
            _ = work.walk(&member);
        });
        let others = self.plan.members.len() - 1;
        patience.wait_until(others, || {}, || team.inside.load(Ordering::Acquire) == 0);
        // (Not before: one that was let in at the last meeting may not know it yet.)
        team.state.store(Team::OVER, Ordering::Relaxed);
        self.walks.done.fetch_add(1, Ordering::Release);
    }

    /// Starts a team with those that have come already: as they have helped to pack, they are at the door by now, or in
    /// a moment.
    fn let_in_at_once(&self, leader: &Member, team: &Team) {
        /// A few microseconds.
        const SPINS: usize = 100;
        let teams = self.teams.len();
        let expected = (self.arrived.load(Ordering::Relaxed) + 1).saturating_sub(teams) / teams;
        let expected = expected.min(self.plan.members.len() - 1);
        for _ in 0..SPINS {
            if team.knocking.load(Ordering::Relaxed).count_ones() as usize >= expected {
                break;
            }
            std::hint::spin_loop();
        }
        let crew = team.next(Team::LEADER, 0);
        leader.go_on(crew.into());
        team.state.store(crew.into(), Ordering::Release);
    }

    /// Joins a team, if there is a place left.
    fn join(&self, number: usize) {
        let team = &self.teams[number];
        let seat = team.seats.fetch_add(1, Ordering::Relaxed) + 1;
        if seat >= self.plan.members.len() {
            return;
        }
        let bit = 1 << seat;
        team.knocking.fetch_or(bit, Ordering::Relaxed);
        let state = Cell::new(0);
        let admitted = || state.get() as u32 & bit != 0;
        let answered = || {
            state.set(team.state.load(Ordering::Acquire));
            admitted() || state.get() == Team::OVER || self.broken.load(Ordering::Relaxed)
        };
        wait_until(answered, |_| {});
        if !admitted() {
            // With another's panic, somebody may be about to let it in.
            let withdrawn = team.knocking.fetch_and(!bit, Ordering::Relaxed) & bit != 0;
            let inside = u32::from(!withdrawn);
            team.inside.fetch_sub(inside, Ordering::Release);
            return;
        }
        let state = state.get();
        let meeting = Meeting {
            call: self,
            team,
            patience: None,
        };
        let member = Member::new(&self.plan, number, seat, Some(meeting));
        member.go_on(state);
        member.behind.set((state >> 32) as u32);
        self.guarded(|work| _ = work.walk(&member));
        team.inside.fetch_sub(1, Ordering::Release);
    }
}

impl Job for Call {
    fn help(&self) {
        #[cfg(test)]
        if let Some(script) = &self.plan.script {
            script.before_helping();
        }
        let patience = Patience::new(&self.plan);
        let all_done = |tasks: &Tasks| wait_until(|| tasks.all_done(), |_| {});
        self.arrived.fetch_add(1, Ordering::Relaxed);
        all_done(self.work_off(Phase::Prepare, true, &patience));
        self.work_off(Phase::Walk, true, &patience);
        let teams = self.teams.len();
        if self.plan.members.len() > 1 && teams > 0 {
            let first = self.joining.fetch_add(1, Ordering::Relaxed);
            (first..first + teams).for_each(|team| self.join(team % teams));
        }
        if self.finish.count > 0 {
            all_done(&self.walks);
            self.work_off(Phase::Finish, true, &patience);
        }
    }
}

/// Where the members of a team meet, again and again. In cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Team {
    /// How often they have met, in the upper half, and in the lower the members since then, a bit for each seat.
    /// Written by who arrives last at a meeting.
    state: AtomicU64,
    /// Seats of those that want to join.
    knocking: AtomicU32,
    waiting: AtomicU32,
    /// Whether the leader has waited too long.
    late: AtomicBool,
    /// Whether that was so before.
    late_before: AtomicBool,
    /// Seats that were taken, the leader's aside.
    seats: AtomicUsize,
    /// Members beside the leader, until they have left the walk.
    inside: AtomicU32,
}

impl Team {
    /// The most members.
    const MOST: usize = 32;
    /// The bit of the leader's seat.
    const LEADER: u32 = 1;
    /// A state with which nobody joins any more.
    const OVER: u64 = 1 << 63;

    /// Who of `crew` goes on after a meeting at which `seat` was the last, and who joins.
    fn next(&self, crew: u32, seat: usize) -> u32 {
        let mut next = crew;
        if self.late.load(Ordering::Relaxed) {
            next = match self.late_before.swap(true, Ordering::Relaxed) {
                false => crew & !(1 << seat) | Self::LEADER,
                true => Self::LEADER,
            };
        }
        let knocking = self.knocking.load(Ordering::Relaxed);
        if knocking != 0 {
            // Counted before they are let in: who is let in and leaves at once, with another's panic, counts itself out, and
            // with nobody inside the leader would leave too, though this thread goes on.
            let count = |seats: u32| seats.count_ones();
            self.inside.fetch_add(count(knocking), Ordering::Relaxed);
            let joining = self.knocking.fetch_and(!knocking, Ordering::Relaxed) & knocking;
            self.inside
                .fetch_sub(count(knocking & !joining), Ordering::Relaxed);
            next |= joining;
        }
        next
    }
}

/// How long a thread has waited for others.
struct Patience {
    start: Instant,
    /// The most that it waits.
    most: Duration,
    waited: Cell<Duration>,
    /// Whether it ever waited too long.
    held_up: Cell<bool>,
}

impl Patience {
    fn new(plan: &Plan) -> Self {
        /// A quarter of what a call takes with one thread, by its multiplications: 26 in a nanosecond at B,T,I,H =
        /// 1,200,64,128, on a core with AVX-512; more rows are faster. The clock alone doesn't tell, since it also
        /// runs while this thread itself has no core.
        const MULTIPLICATIONS: usize = 100;
        /// Half of it where weights stay in place: 15 in a nanosecond at 1,1,512,512. (A helper that slept comes late, and
        /// whoever calls waits for its last task; taken for a lost core, that would leave the helper asleep.)
        const IN_PLACE: usize = 30;
        let rate = match plan.in_place {
            true => IN_PLACE,
            false => MULTIPLICATIONS,
        };
        Self {
            start: Instant::now(),
            most: Duration::from_nanos((plan.work / rate) as u64),
            waited: Cell::new(Duration::ZERO),
            held_up: Cell::new(false),
        }
    }

    /// Waits until `ready` for `others`. Says so when that takes longer, together with all waits before, than others
    /// have saved.
    fn wait_until(&self, others: usize, too_long: impl Fn(), ready: impl Fn() -> bool) {
        /// Interrupts take no longer.
        const NOTHING: Duration = Duration::from_micros(50);
        let waited = self.waited.get();
        wait_until(ready, |now| {
            let waited = waited + now;
            self.waited.set(waited);
            if waited > NOTHING + self.saved(others) {
                self.held_up.set(true);
                too_long();
            }
        });
    }

    /// What `others` have saved.
    fn saved(&self, others: usize) -> Duration {
        let busy = self.start.elapsed().saturating_sub(self.waited.get());
        (busy * others as u32).min(self.most)
    }

    /// What came of them.
    fn outcome(&self, others: usize) -> Outcome {
        match self.held_up.get() {
            true => Outcome::HeldUp(self.waited.get().as_micros() as u32),
            false => Outcome::Saved(self.saved(others).as_micros() as u32),
        }
    }
}

/// Waits until `ready`; tells `waiting`, now and then, how long that has taken, unless it is soon.
///
/// Threads meet every few microseconds, so they spin for a while before they let others have the core.
fn wait_until(ready: impl Fn() -> bool, waiting: impl Fn(Duration)) {
    const SOON: usize = 64;
    const SPINS: usize = 1_000;
    let mut start = None;
    for spins in 1.. {
        if ready() {
            break;
        }
        match spins < SPINS {
            true => std::hint::spin_loop(),
            false => thread::yield_now(),
        }
        if spins % SOON == 0 || spins > SPINS {
            waiting(start.get_or_insert_with(Instant::now).elapsed());
        }
    }
    if let Some(start) = start {
        waiting(start.elapsed());
    }
}

/// A thread at work for a team.
pub(super) struct Member<'a> {
    plan: &'a Plan,
    team: usize,
    /// 0 is the leader's.
    seat: usize,
    /// As the team's state since the last meeting.
    state: Cell<u64>,
    /// Whose units it has since then: those of all members from the first of these to before the second.
    places: Cell<(usize, usize)>,
    /// Meetings that had been before it joined, and that its walk hasn't passed.
    behind: Cell<u32>,
    meeting: Option<Meeting<'a>>,
}

/// Where a member meets others.
struct Meeting<'a> {
    call: &'a Call,
    team: &'a Team,
    /// The leader's.
    patience: Option<&'a Patience>,
}

impl<'a> Member<'a> {
    fn new(plan: &'a Plan, team: usize, seat: usize, meeting: Option<Meeting<'a>>) -> Self {
        let alone = Team::LEADER.into();
        Self {
            plan,
            team,
            seat,
            state: Cell::new(alone),
            places: Cell::new((0, plan.members.len())),
            behind: Cell::new(0),
            meeting,
        }
    }

    /// The number of its team.
    pub fn team(&self) -> usize {
        self.team
    }

    /// Its team's rows.
    pub fn rows(&self) -> Range<usize> {
        self.plan.teams[self.team].clone()
    }

    /// Whether it takes part in what comes before the next meeting: its walk has come to where it joined.
    pub fn present(&self) -> bool {
        self.behind.get() == 0
    }

    fn stays(&self) -> bool {
        self.crew() >> self.seat & 1 == 1
    }

    fn crew(&self) -> u32 {
        self.state.get() as u32
    }

    /// Its share, until the next meeting, of `count` things.
    pub fn share(&self, count: usize) -> Range<usize> {
        let before = self.crew() & ((1 << self.seat) - 1);
        let members = self.crew().count_ones() as usize;
        share(count, members, before.count_ones() as usize)
    }

    /// Its panels, until the next meeting.
    pub fn panels(&self, panels: &Panels) -> Range<usize> {
        let (start, end) = self.places.get();
        panels.of_members[start].start..panels.of_members[end - 1].end
    }

    /// Its units of `hidden`, without those that fill the last block, until the next meeting.
    pub fn real_units(&self, hidden: usize) -> Range<usize> {
        let (start, end) = self.places.get();
        let units = &self.plan.members;
        units[start].start..units[end - 1].end.min(hidden)
    }

    /// Takes over what a meeting has decided.
    fn go_on(&self, state: u64) {
        let before = self.state.replace(state);
        if before as u32 != state as u32 && self.stays() {
            let Range { start, end } = self.share(self.plan.members.len());
            self.places.set((start, end));
        }
    }

    /// Waits for its team; what any has written before, all may read after. Who is in the team, and so what is whose,
    /// may change by it. `None` if this member leaves.
    #[must_use]
    pub fn meet(&self) -> Option<()> {
        self.meet_and(|team, crew| team.next(crew, self.seat))
    }

    /// As [`meet`](Self::meet), and all members stay the same.
    #[must_use]
    pub fn meet_as_we_are(&self) -> Option<()> {
        self.meet_and(|_, crew| crew)
    }

    fn meet_and(&self, next: impl Fn(&Team, u32) -> u32) -> Option<()> {
        let Some(Meeting {
            call,
            team,
            patience,
        }) = &self.meeting
        else {
            return Some(());
        };
        if let Some(behind) = self.behind.get().checked_sub(1) {
            self.behind.set(behind);
            return Some(());
        }
        #[cfg(test)]
        if let Some(script) = &self.plan.script {
            script.before_meeting(self.seat, (self.state.get() >> 32) as u32 + 1, team);
        }
        let (before, crew) = (self.state.get(), self.crew());
        let after = |crew: u32| ((before >> 32) + 1) << 32 | u64::from(crew);
        if crew == Team::LEADER {
            let crew = next(team, crew);
            self.go_on(after(crew));
            if crew != Team::LEADER {
                team.state.store(after(crew), Ordering::Release);
            }
            return Some(());
        }
        if team.waiting.fetch_add(1, Ordering::AcqRel) + 1 == crew.count_ones() {
            team.waiting.store(0, Ordering::Relaxed);
            let state = after(next(team, crew));
            team.state.store(state, Ordering::Release);
            self.go_on(state);
        } else {
            let state = || team.state.load(Ordering::Acquire);
            let ready = || state() != before || call.broken.load(Ordering::Relaxed);
            match patience {
                None => wait_until(ready, |_| {}),
                Some(patience) => {
                    let others = crew.count_ones() as usize - 1;
                    let too_long = || {
                        #[cfg(test)]
                        if let Some(script) = &self.plan.script
                            && !script.is_late(before)
                        {
                            return;
                        }
                        team.late.store(true, Ordering::Relaxed);
                    };
                    patience.wait_until(others, too_long, ready);
                    // (A store for nothing would cost a meeting a tenth of its time.)
                    if team.late.load(Ordering::Relaxed) {
                        team.late.store(false, Ordering::Relaxed);
                    }
                }
            }
            self.go_on(state());
            if self.state.get() == before {
                return None; // broken
            }
        }
        #[cfg(test)]
        if let Some(script) = &self.plan.script {
            script
                .left
                .fetch_add(usize::from(!self.stays()), Ordering::Relaxed);
        }
        self.stays().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Simd;
    use super::super::walks::Given;
    use super::*;
    use crate::{CellKind, GruKind, LstmKind, Nonlinearity, RnnKind, SLstmKind};

    /// What happens to the threads of a call.
    #[derive(Debug, Default)]
    pub(in super::super) struct Script {
        /// Helpers that come at the leader's first meeting, where it waits for them, so that they do join.
        helpers: u32,
        /// Seats, and the meetings that each comes late to.
        late: Vec<(usize, u32)>,
        /// A seat that panics before a meeting.
        panics: Option<(usize, u32)>,
        /// Whether helpers stay away until all is over.
        away: bool,
        released: AtomicBool,
        /// Members that left their team before its walk was through.
        pub left: AtomicUsize,
    }

    impl Script {
        /// Whether somebody is late at the meeting after `state`, by the script and not by the machine.
        pub fn is_late(&self, state: u64) -> bool {
            let round = (state >> 32) as u32 + 1;
            self.late.iter().any(|late| late.0 > 0 && late.1 == round)
        }

        pub fn before_helping(&self) {
            if self.away || self.helpers > 0 {
                until(|| self.released.load(Ordering::Relaxed));
            }
        }

        pub(super) fn before_meeting(&self, seat: usize, round: u32, team: &Team) {
            if (seat, round) == (0, 1) {
                self.released.store(!self.away, Ordering::Relaxed);
                until(|| team.knocking.load(Ordering::Relaxed).count_ones() >= self.helpers);
            }
            if self.late.contains(&(seat, round)) {
                match seat {
                    0 => thread::sleep(Duration::from_millis(20)),
                    _ => until(|| team.late.load(Ordering::Relaxed)),
                }
            }
            if self.panics == Some((seat, round)) {
                resume_unwind(Box::new((seat, round)));
            }
        }
    }

    fn until(ready: impl Fn() -> bool) {
        let start = Instant::now();
        while !ready() {
            assert!(start.elapsed() < Duration::from_secs(60), "it never comes");
            thread::sleep(Duration::from_micros(50));
        }
    }

    /// A plan for `teams` teams of `members` members, each worth it.
    fn plan(sizes: Sizes, teams: usize, members: usize, script: Script) -> Plan {
        let whole = Plan::new(sizes, 1, 1, false);
        let units = shares(sizes.hidden.div_ceil(BLOCK), members).into_iter();
        Plan {
            teams: shares(sizes.batch, teams),
            members: units
                .map(|blocks| blocks.start * BLOCK..blocks.end * BLOCK)
                .collect(),
            script: Some(Arc::new(script)),
            ..whole
        }
    }

    #[test]
    fn teams_have_rows_by_their_steps() {
        let sizes = Sizes {
            batch: 40,
            time: 64,
            input: 8,
            hidden: 64,
            reverse: false,
        };
        let even = Plan::new(sizes, 4, 4, false).teams;
        assert_eq!(even, [0..10, 10..20, 20..30, 30..40]);
        let teams = |length: &dyn Fn(usize) -> usize| {
            let lengths: Vec<_> = (0..40).map(length).collect();
            Plan::new(sizes, 4, 4, false).with_lengths(&lengths).teams
        };
        assert_eq!(teams(&|row| 64 - row), [0..8, 8..16, 16..26, 26..40]);
        assert_eq!(
            teams(&|row| if row == 0 { 64 } else { 0 }),
            [0..1, 1..2, 2..14, 14..40]
        );
        assert_eq!(teams(&|_| 0), even);
        assert_eq!(teams(&|row| row), even);
    }

    const SIZES: Sizes = Sizes {
        batch: 2,
        time: 150,
        input: 3,
        hidden: 60,
        reverse: false,
    };
    const MEMBERS: usize = 4;

    /// The bits of all that forward and backward give, and how many members left their teams.
    fn bits(
        kind: CellKind,
        masked: bool,
        teams: usize,
        threads: usize,
        script: &dyn Fn() -> Script,
    ) -> (Vec<u64>, usize) {
        let given = Given::<f32>::draw(kind, SIZES, 24 | usize::from(masked), Simd::chosen());
        let plans = [(); 2].map(|()| plan(SIZES, teams, MEMBERS, script()));
        let bits = given.bits(Some((&plans, threads)));
        let mut left = 0;
        for plan in plans {
            let script = plan.script.expect("it has one");
            left += script.left.load(Ordering::Relaxed);
            script.released.store(true, Ordering::Relaxed);
        }
        (bits, left)
    }

    /// Cells whose teams meet once in a step and twice, and with a mask.
    fn cells() -> [(CellKind, bool); 5] {
        let rnn = RnnKind {
            activation: Nonlinearity::Tanh,
            clip: None,
            clip_sums: None,
        };
        let reset_first = GruKind {
            reset_first: true,
            ..GruKind::USUAL
        };
        let slstm = SLstmKind {
            exponential_forget: false,
        };
        [
            (CellKind::Lstm(LstmKind::USUAL), false),
            (CellKind::Rnn(rnn), true),
            (CellKind::Gru(GruKind::USUAL), false),
            (CellKind::Gru(reset_first), true),
            (CellKind::SLstm(slstm), false),
        ]
    }

    #[test]
    fn who_comes_late_leaves_and_no_number_changes() {
        for (kind, masked) in cells() {
            let (alone, _) = bits(kind, masked, 1, 1, &Script::default);
            let finite = |bits: &u64| f64::from_bits(*bits).is_finite();
            assert!(alone.iter().all(finite), "{kind:?}");
            // Late, and how many have left by the end: who came last, and then all, a leader never. (On a machine as
            // busy as that, who came last may be another.)
            for (late, left) in [
                (vec![], 0),
                (vec![(1, 6)], 1),
                (vec![(3, 140)], 1),
                (vec![(0, 8), (0, 80)], 0),
                (vec![(2, 6), (1, 50), (3, 50)], 3),
                (vec![(2, 6), (0, 20), (1, 130), (3, 130)], 3),
            ] {
                let script = || Script {
                    helpers: 3,
                    late: late.clone(),
                    ..Script::default()
                };
                let (together, gone) = bits(kind, masked, 1, MEMBERS, &script);
                assert_eq!(gone, 2 * left, "{kind:?} {late:?}");
                assert!(together == alone, "{kind:?} {late:?}");
            }
        }
    }

    #[test]
    fn helpers_that_stay_away_are_not_waited_for() {
        for teams in [1, 2] {
            for (kind, masked) in cells() {
                let (alone, _) = bits(kind, masked, teams, 1, &Script::default);
                let script = || Script {
                    away: true,
                    ..Script::default()
                };
                let (without, _) = bits(kind, masked, teams, 3, &script);
                assert!(without == alone, "{kind:?}");
            }
        }
    }

    #[test]
    fn teams_and_members_in_any_number_of_threads_give_the_same() {
        for (kind, masked) in cells() {
            let (alone, _) = bits(kind, masked, 2, 1, &Script::default);
            for threads in 2..10 {
                let (together, _) = bits(kind, masked, 2, threads, &Script::default);
                assert!(together == alone, "{kind:?} {threads}");
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let (kind, masked) = cells()[0];
        for culprit in [(0, 1), (0, 70), (1, 2), (3, 149)] {
            let script = || Script {
                helpers: 3,
                panics: Some(culprit),
                ..Script::default()
            };
            let panic = catch_unwind(AssertUnwindSafe(|| bits(kind, masked, 1, MEMBERS, &script)));
            let panic = panic.expect_err("one panicked");
            assert_eq!(panic.downcast_ref(), Some(&culprit));
        }
    }

    /// Panics in one task.
    struct Panics([usize; 2], [Option<usize>; 2], AtomicUsize);

    impl Work for Panics {
        fn tasks(&self) -> [usize; 2] {
            self.0
        }

        fn prepare(&self, task: usize) {
            self.do_task(0, task);
        }

        fn begin(&self, _leader: &Member) {}

        fn walk(&self, _member: &Member) -> Option<()> {
            Some(())
        }

        fn finish(&self, task: usize) {
            self.do_task(1, task);
        }
    }

    impl Panics {
        fn do_task(&self, phase: usize, task: usize) {
            if self.1[phase] == Some(task) {
                resume_unwind(Box::new((phase, task)));
            }
            self.2.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn tasks_are_done_once_each_or_their_panic_reaches_the_caller() {
        for threads in [1, 2, 5] {
            let run = |work: &Panics| {
                let plan = plan(SIZES, 2, 2, Script::default());
                catch_unwind(AssertUnwindSafe(|| plan.run(Taken::exactly(threads), work)))
            };
            let all = Panics([100, 50], [None; 2], AtomicUsize::new(0));
            run(&all).expect("nobody panics");
            assert_eq!(all.2.into_inner(), 150);
            for (phase, task) in [(0, 0), (0, 99), (1, 7)] {
                let mut culprit = [None; 2];
                culprit[phase] = Some(task);
                let work = Panics([100, 50], culprit, AtomicUsize::new(0));
                let panic = run(&work).expect_err("a task panics");
                assert_eq!(panic.downcast_ref(), Some(&(phase, task)));
            }
        }
    }
}
