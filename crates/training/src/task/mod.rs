//! The long-range tasks: one file each, with its rule, baseline, success criterion and source.
//!
//! A task makes labelled sequences out of random numbers. What counts is at the first steps; what is
//! scored is what the network says after the last one.

mod adding;
mod first_symbol;
mod temporal_order;

pub use adding::Adding;
pub use first_symbol::FirstSymbol;
pub use temporal_order::TemporalOrder;

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the network must say after the last step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// One of so many classes; scored by cross-entropy, right if the class is the target's.
    Class {
        /// The number of classes.
        count: usize,
    },
    /// A number; scored by squared error, right if the absolute error is below the tolerance.
    Value {
        /// Bound of the absolute error.
        tolerance: f64,
    },
}

impl Goal {
    /// Outputs of the network.
    pub fn d_output(self) -> usize {
        match self {
            Goal::Class { count } => count,
            Goal::Value { .. } => 1,
        }
    }
}

/// How well a network does on sequences it has not been trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean cross-entropy in nats, or mean squared error.
    pub loss: f64,
    /// Share of sequences answered right: the accuracy, or the share within the tolerance.
    pub accuracy: f64,
}

/// A long-range task of a fixed length.
pub trait Task: Send + Sync {
    /// Steps of a sequence, `T`.
    fn length(&self) -> usize;

    /// Features of a step, `I`.
    fn d_input(&self) -> usize;

    /// What the network must say.
    fn goal(&self) -> Goal;

    /// Writes one sequence, `[T, I]` row by row, over the zeros in `input` and returns its target:
    /// the class' index or the value.
    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32]) -> f32;

    /// The score of the best answer that ignores the input.
    fn chance(&self) -> Score;

    /// The number of held-out sequences that the success criterion is stated for.
    fn held_out(&self) -> usize;

    /// The success criterion.
    fn solved(&self, score: Score) -> bool;

    /// The criterion in words.
    fn criterion(&self) -> &'static str;
}

/// The tasks by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// Recall the first symbol after GAP random ones
    FirstSymbol,
    /// Tell the order of two symbols, the later of them at least GAP steps before the end
    TemporalOrder,
    /// Add two marked numbers, the first of them at least GAP steps before the end
    Adding,
}

impl TaskName {
    /// The task whose relevant input lies `gap` steps before the scored one.
    pub fn with_gap(self, gap: usize) -> Arc<dyn Task> {
        match self {
            TaskName::FirstSymbol => Arc::new(FirstSymbol::new(gap)),
            TaskName::TemporalOrder => Arc::new(TemporalOrder::new(gap)),
            TaskName::Adding => Arc::new(Adding::new(gap)),
        }
    }

    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            TaskName::FirstSymbol => "first-symbol",
            TaskName::TemporalOrder => "temporal-order",
            TaskName::Adding => "adding",
        }
    }
}

#[cfg(test)]
mod statistics {
    //! Draws for the tasks' tests of their own statistics.

    use super::Task;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    /// `count` sequences as `(input, target)`.
    pub fn draw(task: &dyn Task, count: usize) -> Vec<(Vec<f32>, f32)> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        (0..count)
            .map(|_| {
                let mut input = vec![0.0; task.length() * task.d_input()];
                let target = task.sample(&mut rng, &mut input);
                (input, target)
            })
            .collect()
    }

    /// The index of the one in a one-hot step; panics if the step isn't one-hot.
    pub fn one_hot(step: &[f32]) -> usize {
        assert_eq!(step.iter().filter(|v| **v == 1.0).count(), 1);
        assert_eq!(step.iter().filter(|v| **v == 0.0).count(), step.len() - 1);
        step.iter().position(|v| *v == 1.0).unwrap()
    }

    /// Asserts that a share measured on `count` draws is `expected` within five standard errors.
    pub fn assert_share(what: &str, hits: usize, count: usize, expected: f64) {
        let share = hits as f64 / count as f64;
        let error = (expected * (1.0 - expected) / count as f64).sqrt();
        assert!(
            (share - expected).abs() < 5.0 * error,
            "{what}: expected {expected}, got {share}"
        );
    }
}
