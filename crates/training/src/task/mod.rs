//! The long-range tasks: one file each, with its rule, baselines, success criterion and source.
//!
//! A task makes labelled sequences out of random numbers, or draws them from a data set. What counts
//! stands far before the step at which the network is asked for it: mostly after the last one.

mod adding;
mod copy;
mod digits;
mod embedded_reber;
mod first_symbol;
mod long_lag_noise;
mod temporal_order;
mod two_sequence;

pub use adding::Adding;
pub use copy::CopySymbols;
pub use digits::{Digits, Reading};
pub use embedded_reber::EmbeddedReber;
pub use first_symbol::FirstSymbol;
pub use long_lag_noise::LongLagNoise;
pub use temporal_order::TemporalOrder;
pub use two_sequence::TwoSequence;

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the network must say, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// After the last step, one of so many classes; scored by cross-entropy, right if the class is the
    /// target's.
    Class {
        /// The number of classes.
        count: usize,
    },
    /// After the last step, a number; scored by squared error, right if the absolute error is below
    /// the tolerance.
    Value {
        /// Bound of the absolute error.
        tolerance: f64,
    },
    /// At every scored step, which of so many classes may come: each sequence says which of its steps
    /// are scored. A sequence's loss is the mean cross-entropy over them; it is right if at all of them
    /// every class that may come is ranked above every one that may not.
    Steps {
        /// The number of classes.
        count: usize,
    },
}

impl Goal {
    /// Outputs of the network.
    pub fn d_output(self) -> usize {
        match self {
            Goal::Class { count } | Goal::Steps { count } => count,
            Goal::Value { .. } => 1,
        }
    }

    /// Numbers that a sequence's target is made of: the class' index; the value; or a row for each step
    /// with the probabilities of the classes, all zero where the step isn't scored.
    pub fn d_target(self, length: usize) -> usize {
        match self {
            Goal::Class { .. } | Goal::Value { .. } => 1,
            Goal::Steps { count } => length * count,
        }
    }
}

/// The number by which people judge a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Share of sequences answered right.
    Accuracy,
    /// Mean squared error.
    MeanSquaredError,
    /// Mean cross-entropy, in nats.
    CrossEntropy,
}

impl Metric {
    /// As in the results.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Accuracy => "accuracy",
            Metric::MeanSquaredError => "mse",
            Metric::CrossEntropy => "cross-entropy",
        }
    }

    /// Its value in a score.
    pub fn of(self, score: Score) -> f64 {
        match self {
            Metric::Accuracy => score.accuracy,
            Metric::MeanSquaredError | Metric::CrossEntropy => score.loss,
        }
    }
}

/// How well a network does on sequences it has not been trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Mean cross-entropy in nats, or mean squared error.
    #[serde(deserialize_with = "crate::metrics::number_or_null")]
    pub loss: f64,
    /// Share of sequences answered right: the accuracy, or the share within the tolerance.
    pub accuracy: f64,
}

/// What somebody scores who does without some of the input, or with a simpler model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Baseline {
    /// Who, in a few words.
    pub name: &'static str,
    /// The score.
    pub score: Score,
}

/// A long-range task of a fixed length.
pub trait Task: Send + Sync {
    /// Steps of a sequence, `T`; of the longest one, where lengths differ.
    fn length(&self) -> usize;

    /// Features of a step, `I`.
    fn d_input(&self) -> usize;

    /// What the network must say.
    fn goal(&self) -> Goal;

    /// Writes one sequence to train on, `[T, I]` row by row, over the zeros in `input`, and its target,
    /// [`Goal::d_target`] numbers, over the zeros in `target`.
    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]);

    /// Writes held-out sequence number `index` in the same way: one more by the rule, unless the task
    /// is a data set with sequences of its own for this.
    fn held_out_sample(
        &self,
        _index: usize,
        rng: &mut ChaCha8Rng,
        input: &mut [f32],
        target: &mut [f32],
    ) {
        self.sample(rng, input, target);
    }

    /// The steps of a sequence whose input must be remembered over the gap, in order; none where the
    /// rule doesn't single any out.
    fn relevant(&self, input: &[f32]) -> Vec<usize>;

    /// The score of an answer that ignores the input: the best one, or one as plain.
    fn chance(&self) -> Score;

    /// Chance, and the scores of those who remember only a part or use a simpler model.
    fn baselines(&self) -> Vec<Baseline> {
        vec![self.chance_baseline()]
    }

    /// Chance as a baseline.
    fn chance_baseline(&self) -> Baseline {
        Baseline {
            name: "chance",
            score: self.chance(),
        }
    }

    /// The number by which people judge the task.
    fn metric(&self) -> Metric {
        match self.goal() {
            Goal::Class { .. } | Goal::Steps { .. } => Metric::Accuracy,
            Goal::Value { .. } => Metric::MeanSquaredError,
        }
    }

    /// The number of held-out sequences that the success criterion is stated for.
    fn held_out(&self) -> usize;

    /// The success criterion.
    fn solved(&self, score: Score) -> bool;

    /// The criterion in words.
    fn criterion(&self) -> &'static str;

    /// Whether training ends once the task is solved. It must not where the held-out sequences are
    /// a small fixed set: waiting for a lucky look at them would flatter the result.
    fn stops_when_solved(&self) -> bool {
        true
    }
}

/// The tasks by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// Recall the first symbol after GAP random ones
    FirstSymbol,
    /// Tell the order of two symbols, the later of them at least GAP steps before the end
    TemporalOrder,
    /// Tell the order of three symbols, the last of them at least GAP steps before the end
    #[value(name = "temporal-order-8")]
    #[serde(rename = "temporal-order-8")]
    TemporalOrder8,
    /// Add two marked numbers, the first of them at least GAP steps before the end
    Adding,
    /// Tell the sign of the first number, GAP to 1.1 GAP noisy ones before the end
    TwoSequence,
    /// Recall the first symbol after GAP random ones of an alphabet as large as the sequence is long
    LongLagNoise,
    /// Predict the next symbol of an embedded Reber grammar (no GAP)
    EmbeddedReber,
    /// Repeat ten symbols GAP blanks later
    Copy,
    /// Recognise handwritten digits, read pixel by pixel (no GAP)
    DigitsPixels,
    /// Recognise handwritten digits, read row by row (no GAP)
    DigitsRows,
    /// Recognise handwritten digits, pixel by pixel in a fixed shuffled order (no GAP)
    DigitsPixelsPermuted,
    /// Recognise handwritten digits, their pixels shuffled in a fixed way, row by row (no GAP)
    DigitsRowsPermuted,
}

impl TaskName {
    /// The task whose relevant input lies `gap` steps before the scored one; for a task without a gap
    /// the number doesn't matter.
    pub fn with_gap(self, gap: usize) -> Arc<dyn Task> {
        match self {
            TaskName::FirstSymbol => Arc::new(FirstSymbol::new(gap)),
            TaskName::TemporalOrder => Arc::new(TemporalOrder::of_two(gap)),
            TaskName::TemporalOrder8 => Arc::new(TemporalOrder::of_three(gap)),
            TaskName::Adding => Arc::new(Adding::new(gap)),
            TaskName::TwoSequence => Arc::new(TwoSequence::new(gap)),
            TaskName::LongLagNoise => Arc::new(LongLagNoise::new(gap)),
            TaskName::EmbeddedReber => Arc::new(EmbeddedReber),
            TaskName::Copy => Arc::new(CopySymbols::new(gap)),
            TaskName::DigitsPixels => Arc::new(Digits::new(Reading::Pixels, false)),
            TaskName::DigitsRows => Arc::new(Digits::new(Reading::Rows, false)),
            TaskName::DigitsPixelsPermuted => Arc::new(Digits::new(Reading::Pixels, true)),
            TaskName::DigitsRowsPermuted => Arc::new(Digits::new(Reading::Rows, true)),
        }
    }

    /// The longest gap that is accepted, as the held-out sequences must fit the memory; `None` for
    /// a task without a gap.
    pub fn longest_gap(self) -> Option<usize> {
        match self {
            TaskName::FirstSymbol
            | TaskName::TemporalOrder
            | TaskName::TemporalOrder8
            | TaskName::Adding
            | TaskName::TwoSequence => Some(100_000),
            TaskName::Copy => Some(10_000),
            // Steps and symbols grow together.
            TaskName::LongLagNoise => Some(500),
            TaskName::EmbeddedReber
            | TaskName::DigitsPixels
            | TaskName::DigitsRows
            | TaskName::DigitsPixelsPermuted
            | TaskName::DigitsRowsPermuted => None,
        }
    }

    /// The name as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            TaskName::FirstSymbol => "first-symbol",
            TaskName::TemporalOrder => "temporal-order",
            TaskName::TemporalOrder8 => "temporal-order-8",
            TaskName::Adding => "adding",
            TaskName::TwoSequence => "two-sequence",
            TaskName::LongLagNoise => "long-lag-noise",
            TaskName::EmbeddedReber => "embedded-reber",
            TaskName::Copy => "copy",
            TaskName::DigitsPixels => "digits-pixels",
            TaskName::DigitsRows => "digits-rows",
            TaskName::DigitsPixelsPermuted => "digits-pixels-permuted",
            TaskName::DigitsRowsPermuted => "digits-rows-permuted",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line_and_of_files() {
        for task in TaskName::value_variants() {
            let argument = task.to_possible_value().unwrap();
            assert_eq!(argument.get_name(), task.name());
            let json = serde_json::to_string(task).unwrap();
            assert_eq!(json, format!("\"{}\"", task.name()));
        }
    }

    #[test]
    fn every_task_is_sound() {
        for name in TaskName::value_variants() {
            let task = name.with_gap(7);
            let chance = task.chance();
            assert!(!task.solved(chance), "{name:?} is solved by chance");
            assert_eq!(task.baselines()[0].score, chance);
            for baseline in task.baselines() {
                let (score, name) = (baseline.score, baseline.name);
                assert!(score.loss > 0.0 && score.loss <= chance.loss, "{name}");
                assert!((chance.accuracy..1.0).contains(&score.accuracy), "{name}");
            }
            for (input, target) in statistics::draw_all(&*task, 20) {
                assert!(input.iter().chain(&target).all(|value| value.is_finite()));
                let relevant = task.relevant(&input);
                assert!(relevant.is_sorted());
                assert!(relevant.iter().all(|step| *step < task.length()));
                if let Goal::Steps { count } = task.goal() {
                    let sums = target.chunks(count).map(|row| row.iter().sum::<f32>());
                    let sums: Vec<f32> = sums.collect();
                    assert!(sums.iter().all(|sum| *sum == 0.0 || *sum == 1.0));
                    assert!(sums.contains(&1.0), "{name:?}: no step is scored");
                }
            }
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
    pub fn draw_all(task: &dyn Task, count: usize) -> Vec<(Vec<f32>, Vec<f32>)> {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        (0..count)
            .map(|_| {
                let mut input = vec![0.0; task.length() * task.d_input()];
                let mut target = vec![0.0; task.goal().d_target(task.length())];
                task.sample(&mut rng, &mut input, &mut target);
                (input, target)
            })
            .collect()
    }

    /// `count` sequences of a task with one target, as `(input, target)`.
    pub fn draw(task: &dyn Task, count: usize) -> Vec<(Vec<f32>, f32)> {
        let draws = draw_all(task, count).into_iter();
        draws
            .map(|(input, target)| match target[..] {
                [target] => (input, target),
                _ => panic!("one target expected, got {}", target.len()),
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
