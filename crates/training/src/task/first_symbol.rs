//! Recall the first symbol.
//!
//! Rule: the first symbol, A or B with equal chance, is the label; then come `gap` distractors, each
//! one of four other symbols. Symbols are one-hot over the six. The class is asked for after the last
//! step, so `T = gap + 1`.
//!
//! Baseline: without memory, chance: cross-entropy ln 2, accuracy 50 %.
//! Solved: at least 99 % of at least 2,000 held-out sequences right.
//!
//! Source: the latching problem of Bengio, Simard & Frasconi 1994, *Learning long-term dependencies
//! with gradient descent is difficult*, and task 2 of Hochreiter & Schmidhuber 1997, *Long short-term
//! memory*, in the plainest form.

use super::rule::{Defaults, Entry, Goal, RTRL, Score, TEXTBOOK, Task};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use std::sync::Arc;

/// The task of this file.
pub const TASKS: &[Entry] = &[Entry {
    name: "first-symbol",
    help: "Recall the first symbol after GAP random ones",
    with_gap: |gap| Arc::new(FirstSymbol { gap }),
    longest_gap: Some(100_000),
    defaults: Defaults {
        gap: 80,
        ..Defaults::SGD
    },
    published: &[TEXTBOOK, RTRL],
}];

/// Symbols that are labels: A, B.
const CLASSES: usize = 2;
/// Labels and distractors together.
const SYMBOLS: usize = 6;

/// Recall the first symbol after `gap` random ones.
#[derive(Clone, Copy)]
struct FirstSymbol {
    gap: usize,
}

impl Task for FirstSymbol {
    fn length(&self) -> usize {
        self.gap + 1
    }

    fn d_input(&self) -> usize {
        SYMBOLS
    }

    fn goal(&self) -> Goal {
        Goal::Class(CLASSES)
    }

    fn sample(&self, rng: &mut ChaCha8Rng, input: &mut [f32], target: &mut [f32]) {
        let label = rng.random_range(0..CLASSES);
        let mut steps = input.chunks_exact_mut(SYMBOLS);
        if let Some(first) = steps.next() {
            first[label] = 1.0;
        }
        for step in steps {
            step[rng.random_range(CLASSES..SYMBOLS)] = 1.0;
        }
        target[0] = label as f32;
    }

    fn chance(&self) -> Score {
        Score::guess(CLASSES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::statistics::{assert_share, draw, one_hot};

    #[test]
    fn the_label_is_the_first_symbol_and_balanced() {
        let draws = draw(&FirstSymbol { gap: 9 }, 20_000);
        for (input, target) in &draws {
            assert_eq!(one_hot(&input[..SYMBOLS]), *target as usize);
        }
        let a = draws.iter().filter(|(_, target)| *target == 0.0).count();
        assert_share("label A", a, draws.len(), 0.5);
    }

    #[test]
    fn the_rest_are_distractors_of_equal_frequency() {
        let draws = draw(&FirstSymbol { gap: 9 }, 5_000);
        let mut counts = [0; SYMBOLS];
        for (input, _) in &draws {
            assert_eq!(input.len(), 10 * SYMBOLS);
            for step in input.chunks(SYMBOLS).skip(1) {
                counts[one_hot(step)] += 1;
            }
        }
        assert_eq!(counts[..CLASSES], [0, 0]);
        for count in &counts[CLASSES..] {
            assert_share("distractor", *count, 9 * draws.len(), 0.25);
        }
    }

    #[test]
    fn chance_is_what_constant_answers_score() {
        let task = FirstSymbol { gap: 3 };
        let draws = draw(&task, 20_000);
        let a = draws.iter().filter(|(_, target)| *target == 0.0).count();
        assert_share("always A", a, draws.len(), task.chance().accuracy);
        // The cross-entropy of saying 50 % is the same for every sequence.
        assert!((task.chance().loss - (-0.5f64.ln())).abs() < 1e-12);
        let accuracy = |accuracy| Score::new(0.1, accuracy);
        assert!(task.solved(accuracy(0.99)) && !task.solved(accuracy(0.9899)));
    }
}
