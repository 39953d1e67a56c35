//! Tell whether a string of bits has an odd number of ones.
//!
//! Rule: `gap + 1` bits, each 0 or 1 with equal chance, one feature a step. The class, even or odd, is asked for
//! after the last step; every one turns it over, so each bit must be remembered, the first over `gap` steps.
//!
//! Baseline: chance: cross-entropy ln 2, accuracy 50 %. Who misses a single bit is no better.
//! Solved: at least 99 % of 2,000 held-out sequences right. (Up to a gap of 9 or so, most of them come in training too:
//! it is the rule that is tested.)
//!
//! Source: Minsky & Papert 1969, *Perceptrons*; as a task for recurrent networks with the answer at the end only,
//! Hochreiter & Schmidhuber 1996, *Bridging long time lags by weight guessing and "long short-term memory"*.

use super::rule::{Defaults, Entry, Goal, Score, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "parity",
    help: "Tell whether GAP + 1 bits have an odd number of ones",
    with_gap: |gap| Arc::new(Parity { gap }),
    longest_gap: Some(100_000),
    defaults: Defaults {
        gap: 9,
        hidden: 32,
        lr: 1e-2,
        ..Defaults::ADAM
    },
    published: &[],
}];

/// Even and odd.
const CLASSES: usize = 2;

/// Tell whether a string of bits has an odd number of ones.
struct Parity {
    gap: usize,
}

impl Task for Parity {
    fn length(&self) -> usize {
        self.gap + 1
    }

    fn d_input(&self) -> usize {
        1
    }

    fn goal(&self) -> Goal {
        Goal::Class(CLASSES)
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let mut ones = 0;
        for bit in input {
            let one = rng.random_range(0..CLASSES);
            *bit = one as f32;
            ones += one;
        }
        target[0] = (ones % CLASSES) as f32;
    }

    /// The ones, each of which turns the answer over.
    fn relevant(&self, input: &[f32]) -> Vec<usize> {
        let ones = input.iter().enumerate().filter(|(_, bit)| **bit == 1.0);
        ones.map(|(t, _)| t).collect()
    }

    fn chance(&self) -> Score {
        Score::guess(CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw};

    #[test]
    fn the_class_is_the_parity_and_each_bit_is_even() {
        let task = Parity { gap: 6 };
        let draws = draw(&task, 20_000);
        let mut ones = [0; 7];
        for (input, target) in &draws {
            let relevant = task.relevant(input);
            assert_eq!(*target, (relevant.len() % 2) as f32);
            for (t, bit) in input.iter().enumerate() {
                assert_eq!(*bit == 1.0, relevant.contains(&t));
                assert!(*bit == 0.0 || *bit == 1.0);
                ones[t] += usize::from(*bit == 1.0);
            }
        }
        for count in ones {
            assert_share("ones", count, draws.len(), 0.5);
        }
        // Who misses the first bit knows nothing.
        let without_first = draws.iter().filter(|(input, target)| {
            let ones: f32 = input[1..].iter().sum();
            ones % 2.0 == *target
        });
        assert_share("without the first", without_first.count(), draws.len(), 0.5);
    }
}
