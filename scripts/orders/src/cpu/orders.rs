//! See the crate.

use super::Sizes;
use super::pool::{self, Job};
use super::team::{Member, Plan, Work};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const UNITS: usize = 60;
const STEPS: usize = 7;
/// A meeting in the middle of a step, of the same members.
const TWICE: usize = 2;

/// A walk in which each step of a unit reads what all units have written in the one before.
struct Steps {
    /// Times that each unit was written, by even and by odd steps, for each team.
    written: Vec<[Vec<AtomicUsize>; 2]>,
    between: Vec<Vec<AtomicUsize>>,
    meetings: usize,
    prepared: Vec<AtomicUsize>,
    finished: Vec<AtomicUsize>,
    /// Who panics: a task of those before the walk, a step of the leader or of another, or a task after it.
    panics: Option<(usize, usize)>,
}

fn zeros(count: usize) -> Vec<AtomicUsize> {
    (0..count).map(|_| AtomicUsize::new(0)).collect()
}

impl Steps {
    fn new(teams: usize, meetings: usize, panics: Option<(usize, usize)>) -> Self {
        let each = || zeros(UNITS);
        Self {
            written: (0..teams).map(|_| [each(), each()]).collect(),
            between: (0..teams).map(|_| each()).collect(),
            meetings,
            prepared: zeros(5),
            finished: zeros(4),
            panics,
        }
    }

    fn culprit(&self, place: usize, number: usize) {
        if self.panics == Some((place, number)) {
            resume_unwind(Box::new((place, number)));
        }
    }
}

impl Work for Steps {
    fn tasks(&self) -> [usize; 2] {
        [self.prepared.len(), self.finished.len()]
    }

    fn prepare(&self, task: usize) {
        self.culprit(0, task);
        self.prepared[task].fetch_add(1, Ordering::Relaxed);
    }

    fn begin(&self, leader: &Member) {
        let all = self.prepared.iter();
        assert!(
            all.map(|done| done.load(Ordering::Relaxed))
                .all(|done| done == 1)
        );
        let [even, _] = &self.written[leader.team()];
        even.iter()
            .for_each(|unit| unit.store(0, Ordering::Relaxed));
    }

    fn walk(&self, member: &Member) -> Option<()> {
        let (written, between) = (&self.written[member.team()], &self.between[member.team()]);
        for k in 0..STEPS {
            if k > 0 {
                member.meet()?;
            }
            if !member.present() {
                if self.meetings == TWICE {
                    member.meet_as_we_are()?;
                }
                continue;
            }
            let [before, after] = [&written[k % 2], &written[(k + 1) % 2]];
            let all_have = |units: &[AtomicUsize], count| {
                units
                    .iter()
                    .all(|unit| unit.load(Ordering::Relaxed) == count)
            };
            let times = |k: usize| k.div_ceil(2);
            if self.meetings == TWICE {
                for unit in member.real_units(UNITS) {
                    between[unit].fetch_add(1, Ordering::Relaxed);
                }
                member.meet_as_we_are()?;
                assert!(all_have(between, k + 1), "step {k}");
            }
            self.culprit(1, k);
            assert!(all_have(before, times(k)), "step {k}");
            for unit in member.real_units(UNITS) {
                after[unit].fetch_add(1, Ordering::Relaxed);
            }
        }
        Some(())
    }

    fn finish(&self, task: usize) {
        self.culprit(2, task);
        for [even, odd] in &self.written {
            for (units, count) in [(even, STEPS / 2), (odd, STEPS.div_ceil(2))] {
                let mut units = units.iter();
                assert!(units.all(|unit| unit.load(Ordering::Relaxed) == count));
            }
        }
        self.finished[task].fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets helpers go.
struct Nothing;

impl Job for Nothing {
    fn help(&self) {}
}

/// One call, in an order of shuttle's.
fn call(batch: usize, meetings: usize, panics: Option<(usize, usize)>) {
    std::sync::begin();
    let sizes = Sizes {
        batch,
        time: 1_000,
        input: 1_000,
        hidden: UNITS,
    };
    let plan = Plan::new(sizes, 100, 4, false);
    let teams = plan.teams.len();
    assert_eq!(plan.threads(), 4);
    assert_eq!(teams, (batch / 3).clamp(1, 4));
    let steps = Steps::new(teams, meetings, panics);
    let taken = plan.take();
    let helpers = taken.threads() - 1;
    assert_eq!(helpers, 3);
    let ended = catch_unwind(AssertUnwindSafe(|| plan.run(taken, &steps)));
    match (ended, panics) {
        (Ok(()), None) => {
            let mut all = steps.finished.iter();
            assert!(all.all(|done| done.load(Ordering::Relaxed) == 1));
        }
        (Err(panic), Some(culprit)) => assert_eq!(panic.downcast_ref(), Some(&culprit)),
        (Err(panic), None) => resume_unwind(panic),
        (Ok(()), Some(culprit)) => panic!("the panic of {culprit:?} is lost"),
    }
    // They end, as shuttle wants all threads to.
    drop(pool::call(helpers, &Arc::new(Nothing)));
}

/// Each in so many random orders as `ORDERS` says, and as many that change seldom.
pub fn all() {
    let count = std::env::var("ORDERS").map_or(500, |count| count.parse().expect("a number"));
    let check = |what: &str, batch, meetings, panics| {
        println!("{what}, {meetings} meetings a step, panics: {panics:?}");
        shuttle::check_random(move || call(batch, meetings, panics), count);
        shuttle::check_pct(move || call(batch, meetings, panics), count, 3);
    };
    check("a team", 2, 1, None);
    check("a team", 2, TWICE, None);
    check("two teams of two", 7, 1, None);
    check("two teams of two", 7, TWICE, None);
    check("four teams of one", 12, 1, None);
    for culprit in [(0, 0), (0, 4), (1, 0), (1, 3), (2, 1)] {
        check("a team", 2, 1, Some(culprit));
        check("two teams of two", 7, TWICE, Some(culprit));
    }
}
