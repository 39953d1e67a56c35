//! Add two marked numbers.
//!
//! Rule: sequences of `T` steps with two features: a number drawn from U[0, 1], and a mark, which is 1
//! at one step of the first half and at one step of the second half and 0 elsewhere. The sum of the
//! two marked numbers is asked for after the last step. The second mark may stand on the last step, so
//! what `gap` says here is how long the *first* number must at least be held: `T = 2 · gap`.
//!
//! Baselines: always answering 1: mean squared error 2/12 = 0.1667; knowing only the last marked
//! number: 1/12 = 0.0833.
//! Solved: mean squared error below 10 % of 0.1667 *and* 99 % of the absolute errors below 0.1. (The
//! mean alone would let a network pass that is plainly wrong now and then.)
//!
//! Source: Arjovsky, Shah & Bengio 2016, *Unitary evolution recurrent neural networks*; in another form
//! Hochreiter & Schmidhuber 1997, *Long short-term memory*, task 4.

use super::rule::{Baseline, Defaults, Entry, Goal, HS97, Published, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "adding",
    help: "Add two marked numbers, the first of them at least GAP steps before the end",
    with_gap: |gap| Arc::new(Adding { gap }),
    longest_gap: Some(100_000),
    defaults: Defaults {
        gap: 50,
        ..Defaults::ADAM
    },
    published: &[Published {
        network: "LSTM, the task in their own form",
        result: "T = 100, 500, 1000 solved after 74,000, 209,000, 853,000 sequences",
        source: HS97,
    }],
}];

/// Features of a step: the number and the mark.
const FEATURES: usize = 2;
/// Variance of one number drawn from U[0, 1].
const VARIANCE: f64 = 1.0 / 12.0;
/// The absolute error below which an answer is right.
const TOLERANCE: f64 = 0.1;

/// Add two marked numbers.
#[derive(Clone, Copy)]
struct Adding {
    gap: usize,
}

impl Task for Adding {
    fn length(&self) -> usize {
        2 * self.gap
    }

    fn d_input(&self) -> usize {
        FEATURES
    }

    fn goal(&self) -> Goal {
        Goal::Value(TOLERANCE)
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        for step in input.chunks_exact_mut(FEATURES) {
            step[0] = rng.random();
        }
        let half = self.gap;
        for position in [rng.random_range(..half), rng.random_range(half..2 * half)] {
            let step = &mut input[FEATURES * position..][..FEATURES];
            step[1] = 1.0;
            target[0] += step[0];
        }
    }

    fn relevant(&self, input: &[f32]) -> Vec<usize> {
        let steps = input.chunks_exact(FEATURES).enumerate();
        steps
            .filter(|(_, step)| step[1] != 0.0)
            .map(|(t, _)| t)
            .collect()
    }

    fn chance(&self) -> Score {
        // The sum s has a triangular density around 1: P(|s - 1| < e) = 2e - e².
        Score::new(2.0 * VARIANCE, 2.0 * TOLERANCE - TOLERANCE * TOLERANCE)
    }

    /// Who knows only the last number errs by how far the first, uniform, is from 1/2.
    fn better_than_chance(&self) -> Option<Baseline> {
        Some(Baseline::new(
            "last number only",
            Score::new(VARIANCE, 2.0 * TOLERANCE),
        ))
    }

    fn solved(&self, score: Score) -> bool {
        score.loss < 0.1 * self.chance().loss && score.accuracy >= 0.99
    }

    fn criterion(&self) -> &'static str {
        "mean squared error below 0.01667 and 99 % of 2,000 absolute errors below 0.1"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw};

    fn marked(input: &[f32]) -> Vec<(usize, f32)> {
        let steps = input.chunks(FEATURES).enumerate();
        steps
            .filter(|(_, step)| step[1] != 0.0)
            .map(|(t, step)| {
                assert_eq!(step[1], 1.0);
                (t, step[0])
            })
            .collect()
    }

    #[test]
    fn one_mark_in_each_half_and_the_target_is_the_sum() {
        let task = Adding { gap: 10 };
        let (mut first, mut second) = (vec![], vec![]);
        for (input, target) in draw(&task, 5_000) {
            assert_eq!(input.len(), 20 * FEATURES);
            let marked = marked(&input);
            assert_eq!(marked.len(), 2);
            assert_eq!(target, marked[0].1 + marked[1].1);
            first.push(marked[0].0);
            second.push(marked[1].0);
        }
        for k in 0..10 {
            let hits = |places: &[usize], t| places.iter().filter(|p| **p == t).count();
            assert_share("first mark", hits(&first, k), first.len(), 0.1);
            assert_share("second mark", hits(&second, 10 + k), second.len(), 0.1);
        }
    }

    #[test]
    fn numbers_are_uniform() {
        let draws = draw(&Adding { gap: 10 }, 1_000);
        let numbers: Vec<f32> = draws
            .iter()
            .flat_map(|(input, _)| input.chunks(FEATURES).map(|step| step[0]))
            .collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        for tenth in 0..10 {
            let low = tenth as f32 / 10.0;
            let hits = numbers
                .iter()
                .filter(|number| (low..low + 0.1).contains(*number))
                .count();
            assert_share("tenth", hits, numbers.len(), 0.1);
        }
    }

    #[test]
    fn baselines_come_out_as_computed() {
        let task = Adding { gap: 10 };
        let draws = draw(&task, 40_000);
        let mse = |answer: &dyn Fn(&[f32]) -> f32| {
            let errors = draws
                .iter()
                .map(|(input, target)| (answer(input) - target).powi(2));
            f64::from(errors.sum::<f32>()) / draws.len() as f64
        };
        let constant = mse(&|_| 1.0);
        assert!((constant - 2.0 / 12.0).abs() < 0.005, "{constant}");
        assert_eq!(task.chance().loss, 2.0 / 12.0);
        let last_mark_only = mse(&|input| marked(input)[1].1 + 0.5);
        assert!(
            (last_mark_only - 1.0 / 12.0).abs() < 0.003,
            "{last_mark_only}"
        );

        let close = draws
            .iter()
            .filter(|(_, target)| (target - 1.0).abs() < 0.1)
            .count();
        assert_share(
            "within 0.1 of 1",
            close,
            draws.len(),
            task.chance().accuracy,
        );
        assert!(!task.solved(Score::new(0.016, 0.98)));
        assert!(!task.solved(Score::new(0.017, 1.0)));
        assert!(task.solved(Score::new(0.016, 0.99)));
    }
}
