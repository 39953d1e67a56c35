//! Tell the sign of the first number, long after it.
//!
//! Rule: a sequence is one number per step: the first is +1 or −1, the class; all others are noise,
//! normal with mean 0 and variance 0.2. Its length is drawn uniformly from `T` to 1.1 `T`, with
//! `T = gap + 1`, and the class is asked for after its own last step, so at least `gap` steps after the
//! first. Shorter sequences are filled up with zeros *after* their end, and scored where they end: were
//! the zeros in front, they would tell the network where the sequence starts, which it must find out
//! from nothing but its own initial state.
//!
//! Baseline: without memory, chance: cross-entropy ln 2, accuracy 50 %.
//! Solved: at least 99 % of 2,000 held-out sequences right.
//!
//! Source: task 3a of Hochreiter & Schmidhuber 1997, *Long short-term memory*, with N = 1 relevant
//! number. They ask for 1 or 0 and train on squared error; here it is two classes and cross-entropy.
//! This is the easy one, as they say themselves: guessing weights at random solves it too.

use super::rule::{Defaults, Entry, Goal, HS97, Published, Score, TEXTBOOK, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "two-sequence",
    help: "Tell the sign of the first number, GAP to 1.1 GAP noisy ones before the end",
    with_gap: |gap| Arc::new(TwoSequence { gap }),
    longest_gap: Some(100_000),
    defaults: Defaults {
        gap: 80,
        updates: 10_000,
        ..Defaults::SGD
    },
    published: &[
        TEXTBOOK,
        Published {
            network: "LSTM",
            result: "task 3a, T = 100, N = 1: solved after 58,000 to 64,000 sequences; T = 1000, N = 3: 447,000 to 452,000",
            source: HS97,
        },
    ],
}];

/// The signs: plus, minus.
const CLASSES: usize = 2;
/// Variance of the noise.
const VARIANCE: f32 = 0.2;

/// Tell the sign of the first number after `gap` or more noisy ones.
#[derive(Clone, Copy)]
struct TwoSequence {
    gap: usize,
}

impl TwoSequence {
    /// `T`.
    fn shortest(&self) -> usize {
        self.gap + 1
    }
}

impl Task for TwoSequence {
    fn length(&self) -> usize {
        self.shortest() * 11 / 10
    }

    fn d_input(&self) -> usize {
        1
    }

    fn goal(&self) -> Goal {
        Goal::Steps(CLASSES)
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let length = rng.random_range(self.shortest()..=self.length());
        let class = rng.random_range(0..CLASSES);
        let noise = Normal::new(0.0, VARIANCE.sqrt()).expect("the deviation is finite");
        for number in &mut input[..length] {
            *number = noise.sample(rng);
        }
        input[0] = if class == 0 { 1.0 } else { -1.0 };
        target[CLASSES * (length - 1) + class] = 1.0;
    }

    fn chance(&self) -> Score {
        Score::guess(CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw_all};

    /// The length and the class, from the one scored step.
    fn scored(target: &[f32]) -> (usize, usize) {
        let ones = target.iter().enumerate().filter(|(_, one)| **one == 1.0);
        let ones: Vec<usize> = ones.map(|(k, _)| k).collect();
        assert_eq!(ones.len(), 1);
        assert_eq!(target.iter().sum::<f32>(), 1.0);
        (ones[0] / CLASSES + 1, ones[0] % CLASSES)
    }

    #[test]
    fn the_first_number_is_the_class_and_nothing_follows_the_end() {
        let task = TwoSequence { gap: 39 };
        let draws = draw_all(&task, 20_000);
        let (mut plus, mut lengths) = (0, [0; 5]);
        for (input, target) in &draws {
            let (length, class) = scored(target);
            assert_eq!(input.len(), 44);
            assert_eq!(input[0], [1.0, -1.0][class]);
            assert!(input[length..].iter().all(|number| *number == 0.0));
            assert!(input[..length].iter().all(|number| *number != 0.0));
            plus += usize::from(class == 0);
            lengths[length - 40] += 1;
        }
        assert_share("plus", plus, draws.len(), 0.5);
        for count in lengths {
            assert_share("length", count, draws.len(), 0.2);
        }
    }

    #[test]
    fn the_noise_is_normal_with_variance_one_fifth() {
        let task = TwoSequence { gap: 39 };
        let draws = draw_all(&task, 2_000);
        let noise = draws.iter().flat_map(|(input, target)| {
            let (length, _) = scored(target);
            input[1..length].iter().map(|number| f64::from(*number))
        });
        let noise: Vec<f64> = noise.collect();
        let count = noise.len() as f64;
        let mean = noise.iter().sum::<f64>() / count;
        let variance = noise.iter().map(|number| number * number).sum::<f64>() / count;
        // Five standard errors: sqrt(0.2 / n) of the mean, 0.2 sqrt(2 / n) of the variance.
        assert!(mean.abs() < 5.0 * (0.2 / count).sqrt(), "{mean}");
        let error = 0.2 * (2.0 / count).sqrt();
        assert!((variance - 0.2).abs() < 5.0 * error, "{variance}");
        // Of a normal variable 31.73 % lie beyond one deviation, 4.55 % beyond two.
        for (deviations, share) in [(1.0, 0.3173), (2.0, 0.0455)] {
            let beyond = |number: &&f64| number.abs() > deviations * 0.2f64.sqrt();
            let hits = noise.iter().filter(beyond).count();
            assert_share("beyond", hits, noise.len(), share);
        }
    }

    #[test]
    fn chance_is_what_constant_answers_score() {
        let task = TwoSequence { gap: 1 };
        assert_eq!(task.length(), 2);
        let draws = draw_all(&task, 20_000);
        let always_plus = draws.iter().filter(|(_, target)| scored(target).1 == 0);
        let expected = task.chance().accuracy;
        assert_share("always plus", always_plus.count(), draws.len(), expected);
        assert!((task.chance().loss + 0.5f64.ln()).abs() < 1e-12);
    }
}
