//! Which learning rate an arm gets at a gap.

use super::folder::RunResult;
use crate::stats::median;
use itertools::Itertools;
use std::cmp::Ordering;

/// The learning rate whose runs solved the task most often; among those, the one that took the fewest
/// updates (median of the solved runs); among those, the one with the lowest held-out loss (median).
pub fn best_learning_rate(tuning: &[&RunResult]) -> Option<f64> {
    let rates = tuning.iter().map(|run| run.settings.lr);
    let rates = rates.sorted_by(f64::total_cmp).dedup();
    rates.min_by(|a, b| {
        let of = |lr: f64| Merit::of(tuning.iter().filter(|run| run.settings.lr == lr));
        of(*a).compare(&of(*b))
    })
}

struct Merit {
    solved: usize,
    updates: f64,
    loss: f64,
}

impl Merit {
    fn of<'a>(runs: impl Iterator<Item = &'a &'a RunResult>) -> Self {
        let runs: Vec<_> = runs.collect();
        let solved: Vec<f64> = runs
            .iter()
            .filter(|run| run.solved)
            .map(|run| run.updates as f64)
            .collect();
        // The loss of a diverged run is not a number, which counts as the largest.
        let losses: Vec<f64> = runs.iter().map(|run| run.score.loss.abs()).collect();
        Self {
            solved: solved.len(),
            updates: median(&solved).unwrap_or(f64::INFINITY),
            loss: median(&losses).unwrap_or(f64::INFINITY),
        }
    }

    /// Less is better.
    fn compare(&self, other: &Self) -> Ordering {
        let solved = other.solved.cmp(&self.solved);
        solved
            .then(self.updates.total_cmp(&other.updates))
            .then(self.loss.total_cmp(&other.loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::sweep::plan::Role;
    use crate::task::Score;

    fn run(lr: f64, solved_after: Option<usize>, loss: f64) -> RunResult {
        RunResult {
            id: String::new(),
            arm: String::new(),
            role: Role::Tuning,
            settings: Settings::of(&format!("lr = {lr}")),
            parameters: 1,
            updates: solved_after.unwrap_or(1000),
            solved: solved_after.is_some(),
            score: Score::new(loss, 0.5),
            seconds: 1.0,
            points: vec![],
        }
    }

    fn best(runs: &[RunResult]) -> Option<f64> {
        best_learning_rate(&runs.iter().collect::<Vec<_>>())
    }

    #[test]
    fn success_counts_first_then_speed_then_loss() {
        assert_eq!(best(&[]), None);
        let often = [
            run(0.1, Some(900), 0.1),
            run(0.1, Some(800), 0.1),
            run(0.2, Some(10), 0.0),
            run(0.2, None, 0.7),
        ];
        assert_eq!(best(&often), Some(0.1));
        let fast = [run(0.1, Some(900), 0.1), run(0.3, Some(800), 0.2)];
        assert_eq!(best(&fast), Some(0.3));
        let low = [
            run(0.1, None, 0.70),
            run(0.2, None, 0.69),
            run(0.3, None, 0.71),
        ];
        assert_eq!(best(&low), Some(0.2));
    }

    #[test]
    fn diverged_runs_come_last() {
        for nan in [f64::NAN, -f64::NAN, f64::INFINITY] {
            assert_eq!(best(&[run(0.1, None, nan), run(0.2, None, 9.0)]), Some(0.2));
        }
    }
}
